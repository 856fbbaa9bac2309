"""Twenty-four calls that block for ever in somebody else's code.

    blocking.py NAME (main | worker)

The script has an ``except`` and a ``finally`` around the call and says which of them ran.
"""

from __future__ import annotations

import concurrent.futures
import fcntl
import os
import queue
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable

Call = Callable[[], object]
CASES: dict[str, Callable[[], Call]] = {}

SLEEPER = ["sleep", "3600"]


def case(prepare: Callable[[], Call]) -> Callable[[], Call]:
    """Registers a function that prepares the call; what the call needs lives in its closure."""
    CASES[prepare.__name__] = prepare
    return prepare


def note(text: str) -> None:
    os.write(1, text.encode() + b"\n")


@case
def sleep() -> Call:
    return lambda: time.sleep(3600)


@case
def recv() -> Call:
    pair = socket.socketpair()
    return lambda: pair[0].recv(1)


@case
def recv_with_timeout() -> Call:
    pair = socket.socketpair()
    pair[0].settimeout(3600)
    return lambda: pair[0].recv(1)


@case
def accept() -> Call:
    server = socket.create_server(("127.0.0.1", 0))
    return server.accept


@case
def select_select() -> Call:
    pair = socket.socketpair()
    return lambda: select.select([pair[0]], [], [])


@case
def poll() -> Call:
    pair = socket.socketpair()
    poller = select.poll()
    poller.register(pair[0], select.POLLIN)
    return lambda: (poller.poll(), pair)


@case
def epoll() -> Call:
    pair = socket.socketpair()
    poller = select.epoll()
    poller.register(pair[0], select.EPOLLIN)
    return lambda: (poller.poll(), pair)


@case
def os_read() -> Call:
    reader, _writer = os.pipe()
    return lambda: os.read(reader, 1)


@case
def buffered_read() -> Call:
    reader, _writer = os.pipe()
    file = open(reader, "rb")
    return lambda: file.read(1)


@case
def line_iteration() -> Call:
    reader, _writer = os.pipe()
    file = open(reader, "rb")

    def read() -> None:
        for _ in file:
            return
        note("a false end of file")

    return read


@case
def os_write_to_full_pipe() -> Call:
    _reader, writer = os.pipe()

    def write() -> None:
        while True:
            os.write(writer, b"x" * 65536)

    return write


@case
def lock() -> Call:
    held = threading.Lock()
    held.acquire()
    return held.acquire


@case
def lock_with_timeout() -> Call:
    held = threading.Lock()
    held.acquire()
    return lambda: held.acquire(timeout=3600)


@case
def rlock() -> Call:
    held = threading.RLock()
    taken = threading.Event()

    def hold() -> None:
        held.acquire()
        taken.set()
        threading.Event().wait()

    threading.Thread(target=hold, daemon=True).start()
    taken.wait()
    return held.acquire


@case
def event() -> Call:
    return threading.Event().wait


@case
def condition() -> Call:
    condition = threading.Condition()

    def wait() -> None:
        with condition:
            condition.wait()

    return wait


@case
def queue_get() -> Call:
    items: queue.Queue[int] = queue.Queue()
    return items.get


@case
def thread_join() -> Call:
    other = threading.Thread(target=threading.Event().wait, daemon=True)
    other.start()
    return other.join


@case
def popen_wait() -> Call:
    return subprocess.Popen(SLEEPER).wait


@case
def popen_communicate() -> Call:
    return subprocess.Popen(SLEEPER, stdout=subprocess.PIPE, stderr=subprocess.PIPE).communicate


@case
def subprocess_run() -> Call:
    return lambda: subprocess.run(SLEEPER)


@case
def flock() -> Call:
    file = tempfile.NamedTemporaryFile()
    holder, waiter = open(file.name, "w"), open(file.name, "w")
    fcntl.flock(holder, fcntl.LOCK_EX)
    return lambda: (fcntl.flock(waiter, fcntl.LOCK_EX), holder, file)


@case
def input_from_pipe() -> Call:
    reader, _writer = os.pipe()
    os.dup2(reader, 0)
    sys.stdin = open(0, closefd=False)
    return input


@case
def future_result() -> Call:
    future: concurrent.futures.Future[int] = concurrent.futures.Future()
    return future.result


def body(call: Call) -> None:
    try:
        note("READY")
        call()
        note("returned")
    except BaseException as error:
        note(f"except {type(error).__name__}")
    finally:
        note("finally")


def main() -> None:
    name, where = sys.argv[1:]
    call = CASES[name]()
    if where == "main":
        body(call)
        note("end of the script")
        return
    worker = threading.Thread(target=body, args=(call,), name="worker")
    try:
        worker.start()
        worker.join()
    except BaseException as error:
        note(f"main except {type(error).__name__}")


if __name__ == "__main__":
    main()
