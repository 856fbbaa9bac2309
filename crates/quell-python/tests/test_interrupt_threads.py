"""Interrupts of threads that begin and end: of the right one, and of none that was not meant."""

import _thread
import collections
import contextlib
import threading

import pytest
import quell
from conftest import PATIENCE, STRESS, disturb, give_way_until


class Mine(Exception):
    pass


def test_a_thread_object_is_never_taken_for_a_later_thread_with_its_ident(start):
    first = start(lambda: None).done()
    event = quell.Event()
    later = []
    while first.ident not in [worker.ident for worker in later] and len(later) < 50:
        later.append(start(event.wait))
    with pytest.raises(LookupError):
        quell.interrupt(first)
    event.set()
    assert all(worker.done().error is None for worker in later)


def test_a_thread_that_is_being_started_can_be_interrupted(start, monkeypatch):
    # `start()` returns a moment before the thread is in threading's table. What is pending then is raised in run().
    starting, held, release, raised = threading.Event(), threading.Event(), threading.Event(), []

    class Starting(threading.Thread):
        def _set_native_id(self):
            super()._set_native_id()
            starting.set()
            held.wait(PATIENCE)

    def hold_the_table():
        starting.wait(PATIENCE)
        with threading._active_limbo_lock:
            held.set()
            release.wait(PATIENCE)

    monkeypatch.setattr(threading, "excepthook", lambda told: raised.append(told.exc_type))
    worker = Starting(target=lambda: [None for _ in iter(int, 1)])
    holder = start(hold_the_table)
    worker.start()
    assert worker.ident not in threading._active
    receipt = quell.interrupt(worker, Mine)
    release.set()
    holder.done()
    worker.join(PATIENCE)
    assert not worker.is_alive() and receipt.state == "delivered"
    assert raised == [Mine]
    assert worker not in threading._limbo and worker not in threading.enumerate()


def test_a_thread_is_interrupted_as_it_starts_and_as_it_ends(monkeypatch, capfd):
    told = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_type))
    before, states = set(threading.enumerate()), collections.Counter()
    for round_ in range(1000 * STRESS):
        worker = threading.Thread(target=lambda: None)
        worker.start()
        receipts = []
        with contextlib.suppress(LookupError):
            for _ in range(round_ % 4):
                receipts.append(quell.interrupt(worker, Mine))
        worker.join(PATIENCE)
        assert all(receipt.wait(PATIENCE) for receipt in receipts)
        states.update(receipt.state for receipt in receipts)
    assert set(told) <= {Mine} and len(told) <= states["delivered"]
    assert set(threading.enumerate()) <= before and not threading._limbo
    assert capfd.readouterr().err == ""


def test_who_starts_threads_is_interrupted_and_not_they(start, fast_switching):
    """CPython 3.11 gives a new thread its starter's ident until it begins."""
    begun, started, before = [], 0, set(threading.enumerate())

    def all_begun():
        return len(begun) == started

    def starts(goes_on):
        nonlocal started
        while goes_on():
            # Of the module _thread: nothing of a thread object runs in it, and nothing catches what is raised.
            with quell.shield():
                started += 1
                _thread.start_new_thread(begun.append, (started,))
            # On one processor threads come faster than they go, and then wait for each other most of the time.
            give_way_until(all_begun)

    worker = disturb(start, starts, lambda: started, Mine, 300 * STRESS)
    give_way_until(all_begun)
    assert sorted(begun) == list(range(1, started + 1))
    assert set(threading.enumerate()) <= before | {worker}
