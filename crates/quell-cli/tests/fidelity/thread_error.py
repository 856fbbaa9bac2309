"""Exceptions in threads."""
import sys
import threading


def fails():
    raise ValueError("in a thread")


def leaves():
    sys.exit("ignored in a thread")


for target in (fails, leaves):
    thread = threading.Thread(target=target, name=target.__name__)
    thread.start()
    thread.join()
print("main ends")
