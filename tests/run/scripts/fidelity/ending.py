"""Threads, exit handlers, finalizers and what is printed last."""

import atexit
import sys
import threading
import weakref


class Thing:
    def __del__(self) -> None:
        print("finalized")


def late() -> None:
    threading.main_thread().join()
    print("thread after main", threading.main_thread().is_alive())


def daemon(waiting: threading.Event) -> None:
    started.set()
    waiting.wait()
    print("never")


started = threading.Event()
for n in range(3):
    atexit.register(print, "atexit", n)
threading.Thread(target=late).start()
threading.Thread(target=daemon, args=(threading.Event(),), daemon=True).start()
started.wait()
thing = Thing()
weakref.finalize(thing, print, "finalize")
print("end of main", sys.is_finalizing())
