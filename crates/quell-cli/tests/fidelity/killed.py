"""Ends by a signal; the first argument is its name."""
import os
import signal
import sys

print("before", flush=True)
os.kill(os.getpid(), getattr(signal, sys.argv[1]))
signal.pause()
