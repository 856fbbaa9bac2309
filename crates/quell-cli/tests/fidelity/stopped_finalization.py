"""Threads that still run when the interpreter ends."""
import sys
import threading
import time


def spin():
    while True:
        time.sleep(0)


for _ in range(3):
    threading.Thread(target=spin, daemon=True).start()
print("main ends")
sys.exit(6)
