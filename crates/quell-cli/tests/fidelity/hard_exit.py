"""Leaves without any end."""
import atexit
import os

atexit.register(print, "never")
print("never flushed", end="")
os._exit(7)
