"""Ten ways to run away, each with cleanup that has to run.

    workloads.py NAME (main | worker)

``main`` runs the workload in the main thread, ``worker`` in a thread that the main thread joins. The
lines on which a workload may be found when its limit comes are marked with its name.
"""

from __future__ import annotations

import os
import queue
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

WORKLOADS: dict[str, Callable[[], None]] = {}

#: From where the loops that swallow exceptions count on when they have swallowed one: who looks at `n` can tell.
SWALLOWED = -(2**60)


def workload(function: Callable[[], None]) -> Callable[[], None]:
    WORKLOADS[function.__name__] = function
    return function


def note(text: str) -> None:
    os.write(1, text.encode() + b"\n")


@workload
def busy_loop() -> None:
    n = 0
    try:
        note("READY")
        while True:  # busy_loop
            n += 1  # busy_loop
    finally:
        note("cleaned up")


@workload
def sleep() -> None:
    import time

    try:
        note("READY")
        time.sleep(3600)  # sleep
    finally:
        note("cleaned up")


@workload
def lock() -> None:
    held = threading.Lock()
    held.acquire()
    try:
        note("READY")
        held.acquire()  # lock
    finally:
        note("cleaned up")


@workload
def queue_get() -> None:
    items: queue.Queue[int] = queue.Queue()
    try:
        note("READY")
        items.get()  # queue_get
    finally:
        # The queue's own cleanup ran as well: nobody holds its mutex. (gevent's queue has none.)
        mutex = getattr(items, "mutex", None)
        left_locked = mutex is not None and not mutex.acquire(blocking=False)
        note("mutex left locked" if left_locked else "cleaned up")


@workload
def recv() -> None:
    ours, theirs = socket.socketpair()
    try:
        note("READY")
        ours.recv(1)  # recv
    finally:
        ours.close()
        theirs.close()
        note("cleaned up")


@workload
def child_process() -> None:
    try:
        note("READY")
        subprocess.run(["sleep", "3600"], check=True)  # child_process
    finally:
        note("cleaned up")


@workload
def long_sum() -> None:
    try:
        note("READY")
        sum(range(10**10))  # long_sum
    finally:
        note("cleaned up")


@workload
def regex() -> None:
    catastrophe = re.compile(r"(a+)+$")
    try:
        note("READY")
        catastrophe.match("a" * 64 + "b")  # regex
    finally:
        note("cleaned up")


@workload
def except_exception() -> None:
    n = 0
    try:
        note("READY")
        while True:  # except_exception
            try:  # except_exception
                while True:  # except_exception
                    n += 1  # except_exception
            except Exception:  # except_exception
                n = SWALLOWED  # except_exception
    finally:
        note("cleaned up")


@workload
def bare_except() -> None:
    n = 0
    try:
        note("READY")
        while True:  # bare_except
            try:  # bare_except
                while True:  # bare_except
                    n += 1  # bare_except
            except:  # noqa: E722  # bare_except
                n = SWALLOWED  # bare_except
    finally:
        note("cleaned up")


def main() -> None:
    name, where = sys.argv[1:]
    if where == "main":
        WORKLOADS[name]()
        return
    worker = threading.Thread(target=WORKLOADS[name], name="worker")
    try:
        worker.start()
        worker.join()
    finally:
        note("main cleaned up")


if __name__ == "__main__":
    main()
