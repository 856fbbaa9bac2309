"""Exceptions that nobody can catch: what becomes of an interrupt that is raised where one would be swallowed.

Where it is not raised is in `places.py`, for `test_soak.py`.
"""

import _thread
import collections
import contextlib
import ctypes
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import quell
from conftest import PATIENCE, STRESS


class Stop(BaseException):
    """What these tests interrupt with."""


def spin(go: threading.Event) -> None:
    go.set()
    while True:
        pass


@pytest.fixture
def ignored(monkeypatch: Any) -> list[type]:
    """The types of the exceptions that the interpreter says it ignores."""
    ignored: list[type] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: ignored.append(told.exc_type))
    return ignored


def test_what_force_raises_in_a_callback_of_ctypes_comes_again(
    start: Any, ignored: list[type]
) -> None:
    """The callback cannot let an exception through: the interpreter reports it as ignored."""
    compare_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    go = threading.Event()
    calls: list[int] = []

    def compare(_a: int, _b: int) -> int:
        calls.append(1)
        if len(calls) == 1:
            spin(go)
        return 0

    def sort() -> None:
        numbers = (ctypes.c_int * 4)(1, 2, 3, 4)
        ctypes.CDLL(None).qsort(numbers, 4, 4, compare_type(compare))
        while True:
            pass

    worker = start(sort)
    assert go.wait(PATIENCE)
    delivery = quell.interrupt(worker, Stop, force=True)
    assert isinstance(worker.done().error, Stop)
    assert len(calls) > 1, "the callback was cut, the sort went on"
    assert delivery.state == "delivered"
    assert ignored == [], "the user's hook is for what was really ignored"


def test_force_ends_a_function_of_sqlite_that_never_returns(start: Any) -> None:
    go = threading.Event()

    def query() -> None:
        connection = sqlite3.connect(":memory:")
        try:
            connection.create_function("called", 0, lambda: spin(go))
            connection.execute("select called()").fetchall()
        finally:
            connection.close()

    worker = start(query)
    assert go.wait(PATIENCE)
    delivery = quell.interrupt(worker, Stop, force=True)
    assert isinstance(worker.done().error, sqlite3.OperationalError)
    assert delivery.state == "delivered"


def wait_for_item() -> tuple[Callable[[], object], Callable[[], object]]:
    items = quell.Queue[bool]()
    return items.get, lambda: items.put(True)


def wait_for_event() -> tuple[Callable[[], object], Callable[[], object]]:
    event = quell.Event()
    return event.wait, event.set


def wait_for_lock() -> tuple[Callable[[], object], Callable[[], object]]:
    lock = quell.Lock()
    lock.acquire()

    def wait() -> bool:
        with lock:
            return True

    return wait, lock.release


def wait_for_notification() -> tuple[Callable[[], object], Callable[[], object]]:
    condition = quell.Condition()

    def wait() -> bool:
        with condition:
            return condition.wait()

    def notify() -> None:
        with condition:
            condition.notify()

    return wait, notify


@pytest.mark.parametrize(
    "prepare", [wait_for_item, wait_for_event, wait_for_lock, wait_for_notification]
)
def test_a_wait_in_a_function_of_sqlite_is_left_alone(
    start: Any, prepare: Callable[[], tuple[Callable[[], object], Callable[[], object]]]
) -> None:
    wait, end = prepare()
    got: list[object] = []

    def query() -> None:
        connection = sqlite3.connect(":memory:")
        try:
            connection.create_function("called", 0, lambda: got.append(wait()))
            connection.execute("select called()").fetchall()
            while True:
                pass
        finally:
            connection.close()

    worker = start(query).blocked()
    delivery = quell.interrupt(worker, Stop)
    # It has looked, and sleeps again.
    worker.blocked()
    assert delivery.state == "pending"
    end()
    assert isinstance(worker.done().error, Stop)
    assert got == [True]


def test_an_interrupt_that_ends_a_thread_of_no_class_is_delivered(ignored: list[type]) -> None:
    """No frame is left: the hook is told, as of any exception that ends such a thread."""
    go = threading.Event()
    ident = _thread.start_new_thread(spin, (go,))
    assert go.wait(PATIENCE)
    delivery = quell.interrupt(ident, Stop)
    assert delivery.wait(PATIENCE)
    while not ignored:
        pass
    assert ignored == [Stop]
    assert delivery.state == "delivered"


def test_threads_that_end_are_interrupted_in_time_or_not_at_all(
    ignored: list[type], fast_switching: None, monkeypatch: Any
) -> None:
    ended = []
    monkeypatch.setattr(threading, "excepthook", lambda told: ended.append(told.exc_value))
    receipts = []
    for number in range(500 * STRESS):
        go = threading.Event()
        thread = threading.Thread(target=go.set)
        thread.start()
        go.wait()
        for _ in range(number % 4):
            time.sleep(0)
        with contextlib.suppress(LookupError):
            receipts.append(quell.interrupt(thread, Stop(number)))
        thread.join()
    assert not ignored
    states = collections.Counter(receipt.wait(PATIENCE) and receipt.state for receipt in receipts)
    assert set(states) <= {"delivered", "target exited"}
    assert states["delivered"] == len(ended)


def test_others_unraisable_exceptions_still_reach_the_hook(start: Any, ignored: list[type]) -> None:
    go = threading.Event()
    worker = start(lambda: spin(go))
    assert go.wait(PATIENCE)
    quell.interrupt(worker, Stop)
    worker.done()

    class Loud:
        def __del__(self) -> None:
            raise ValueError

    Loud()
    assert ignored == [ValueError]
