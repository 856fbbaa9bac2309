"""From 3.12 the interpreter puts a frame of its own below an ``__init__`` that it calls without going through
``type.__call__``. Its code object is a constant in read-only memory, and nothing may be kept with it."""

from __future__ import annotations

import threading

import quell


class Stop(BaseException):
    pass


class Spins:
    def __init__(self, entered: threading.Event | None) -> None:
        if entered is not None:
            entered.set()
            while True:
                pass


def make(entered: threading.Event | None) -> Spins:
    return Spins(entered)


def test_a_thread_inside_a_constructor_is_interrupted() -> None:
    # Until the call is specialised.
    for _ in range(1000):
        make(None)
    entered = threading.Event()
    stopped = threading.Event()

    def target() -> None:
        try:
            make(entered)
        except Stop:
            stopped.set()

    thread = threading.Thread(target=target)
    thread.start()
    entered.wait()
    quell.interrupt(thread, Stop)
    thread.join()
    assert stopped.is_set()
