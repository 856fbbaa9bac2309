"""What a call that need not wait costs under `quell.patch()`: the table in the book's chapter on it.

    python bench/patch_calls.py [REPETITIONS]

Each call is made in turns with the patch and without, in a thread of its own, where what replaces it runs, and in the main
thread, where only the way to the original is longer. Processor time; the median of the repetitions, and of the differences.
"""

import os
import platform
import queue
import select
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable

import quell

CALLS = 1000

Case = Callable[[], Callable[[], object]]


def sleep() -> Callable[[], object]:
    return lambda: time.sleep(0)


def recv() -> Callable[[], object]:
    a, b = socket.socketpair()
    b.sendall(bytes(CALLS))
    return lambda: a.recv(1)


def recv_with_a_timeout() -> Callable[[], object]:
    a, b = socket.socketpair()
    a.settimeout(10)
    b.sendall(bytes(CALLS))
    return lambda: a.recv(1)


def read() -> Callable[[], object]:
    r, w = os.pipe()
    os.write(w, bytes(CALLS))
    reader, writer = open(r, "rb", 0), open(w, "wb", 0)

    def read(fd: int = r, _keep: object = (reader, writer)) -> bytes:
        return os.read(fd, 1)

    return read


def lock() -> Callable[[], object]:
    lock = threading.Lock()

    def acquire_and_release() -> None:
        lock.acquire()
        lock.release()

    return acquire_and_release


def lock_beside_a_waiter() -> Callable[[], object]:
    """Another thread waits for another lock all the while."""
    held = threading.Lock()
    held.acquire()
    thread = threading.Thread(target=held.acquire)
    thread.start()
    call = lock()
    call.over = lambda: (held.release(), thread.join())  # type: ignore[attr-defined]
    return call


def with_rlock() -> Callable[[], object]:
    lock = threading.RLock()

    def with_lock() -> None:
        with lock:
            pass

    return with_lock


def select_ready() -> Callable[[], object]:
    a, b = socket.socketpair()
    b.send(b"x")
    return lambda: select.select([a], [], [])


def simple_queue() -> Callable[[], object]:
    items: queue.SimpleQueue[None] = queue.SimpleQueue()
    for _ in range(CALLS):
        items.put(None)
    return items.get


CASES: dict[str, Case] = {
    "`time.sleep(0)`": sleep,
    "`socket.recv`, ready": recv,
    "the same with a timeout": recv_with_a_timeout,
    "`os.read`, ready": read,
    "`Lock.acquire` and `release`, free": lock,
    "the same while somebody waits for another lock": lock_beside_a_waiter,
    "`with RLock`, free": with_rlock,
    "`select.select`, ready": select_ready,
    "`SimpleQueue.get`, ready": simple_queue,
}


def measure(case: Case) -> float:
    """Nanoseconds of one call."""
    call = case()
    begin = time.thread_time_ns()
    for _ in range(CALLS):
        call()
    taken = (time.thread_time_ns() - begin) / CALLS
    getattr(call, "over", lambda: None)()
    return taken


def compare(case: Case, repetitions: int) -> tuple[float, float]:
    """A call without the patch, and what the patch adds."""
    plain, added = [], []
    for _ in range(repetitions):
        without = measure(case)
        with quell.patch():
            added.append(measure(case) - without)
        plain.append(without)
    return statistics.median(plain), statistics.median(added)


def table(repetitions: int) -> list[str]:
    lines = [f"| {platform.python_version()} | without | with, in a thread | in the main thread |"]
    lines.append("| --- | --- | --- | --- |")
    for name, case in CASES.items():
        found: list[tuple[float, float]] = []
        thread = threading.Thread(
            target=lambda case=case, found=found: found.append(compare(case, repetitions))
        )
        thread.start()
        thread.join()
        found.append(compare(case, repetitions))
        (plain, added), (_, main) = found
        lines.append(f"| {name} | {plain:.0f} ns | {added:+.0f} ns | {main:+.0f} ns |")
    return lines


if __name__ == "__main__":
    print(f"load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    print("\n".join(table(int(sys.argv[1]) if len(sys.argv) > 1 else 31)))
