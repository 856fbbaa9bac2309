"""Native code: what keeps the GIL, and what begins its call again after a signal. ``native.py NAME``"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading

from stage import note, ready, run, script


def lock_twice() -> None:
    """A mutex of C's that its holder waits for: a native call that keeps the GIL, and that no signal ends."""
    libc = ctypes.PyDLL(None)
    mutex = ctypes.create_string_buffer(256)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)  # lock_twice


@script
def keeps_the_gil() -> None:
    try:
        ready()
        lock_twice()
    finally:
        note("cleaned up")


@script
def sleeps_with_the_gil() -> None:
    try:
        ready()
        # A signal ends it.
        ctypes.PyDLL(None).sleep(3600)
    finally:
        note("cleaned up")


@script
def keeps_the_gil_in_a_thread() -> None:
    libc = ctypes.PyDLL(None)
    thread = threading.Thread(target=libc.sleep, args=(3600,))
    ready()
    thread.start()  # keeps_the_gil_in_a_thread
    thread.join()  # keeps_the_gil_in_a_thread
    note("cleaned up")


@script
def restarts_its_call() -> None:
    """Native code with its own EINTR loop, the GIL released."""
    reader, _writer = os.pipe()
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(1)
    try:
        ready()
        while True:
            libc.usleep(100)
            libc.read(reader, buffer, 1)
    finally:
        note("cleaned up")


@script
def sums() -> None:
    ready()
    sum(range(10**11))  # sums


@script
def children_while_the_gil_is_kept() -> None:
    subprocess.Popen(["sleep", "3600"])
    ready()
    lock_twice()


if __name__ == "__main__":
    run()
