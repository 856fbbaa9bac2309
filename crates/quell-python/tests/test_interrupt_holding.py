"""Interrupts of threads that hold locks of the package, or are about to: when they are raised, and what is held then."""

import contextlib
import threading

import quell
from conftest import PATIENCE, spin_until


class Mine(Exception):
    pass


def test_while_nothing_would_release_the_lock_the_interrupt_waits_for_the_release(start):
    for make in (quell.Lock, quell.RLock):
        lock = make()
        inside, go = threading.Event(), threading.Event()
        seen = []

        def body(lock=lock, inside=inside, go=go, seen=seen):
            try:
                lock.acquire()
                lock.acquire(False)
                inside.set()
                spin_until(go.is_set)
                seen.append("still inside")
                if lock.acquire(False):  # an RLock: the inner releases do not deliver
                    lock.release()
                    lock.release()
                    seen.append("outer hold left")
                lock.release()
                seen.append("not reached")
            except Mine:
                seen.append("raised")
                # Free when it is raised.
                seen.append(lock.acquire(False))

        worker = start(body)
        inside.wait(PATIENCE)
        receipt = quell.interrupt(worker, Mine)
        assert not receipt.wait(0.02) and receipt.state == "pending"
        go.set()
        worker.done()
        assert receipt.state == "delivered"
        outer = ["outer hold left"] if make is quell.RLock else []
        assert seen == ["still inside", *outer, "raised", True]


def test_only_the_release_of_the_last_lock_delivers(start):
    first, second = quell.Lock(), quell.Lock()
    inside, go, log = threading.Event(), threading.Event(), []

    def body():
        first.acquire()
        second.acquire()
        inside.set()
        spin_until(go.is_set)
        first.release()
        log.append("first released")
        second.release()
        log.append("not reached")

    worker = start(body)
    inside.wait(PATIENCE)
    quell.interrupt(worker, Mine)
    go.set()
    assert isinstance(worker.done().error, Mine)
    assert log == ["first released"]
    assert not first.locked() and not second.locked()


def test_an_exception_in_flight_becomes_the_context(start):
    lock, inside, go = quell.Lock(), threading.Event(), threading.Event()

    # Acquired by a function, so that nothing is raised before the release.
    def acquire():
        lock.acquire()

    def exit_stack():
        with contextlib.ExitStack() as stack:
            stack.enter_context(lock)
            inside.set()
            spin_until(go.is_set)
            raise KeyError("in flight")

    def try_statement():
        acquire()
        try:
            inside.set()
            spin_until(go.is_set)
            raise KeyError("in flight")
        finally:
            lock.release()

    for body in (exit_stack, try_statement):
        inside.clear()
        go.clear()
        worker = start(body)
        inside.wait(PATIENCE)
        quell.interrupt(worker, Mine)
        go.set()
        error = worker.done().error
        assert isinstance(error, Mine)
        assert isinstance(error.__context__, KeyError)
        assert not lock.locked()


def test_an_acquire_with_an_interrupt_pending_raises_and_takes_nothing(start):
    lock, shielded, go = quell.Lock(), threading.Event(), threading.Event()

    def body():
        scope = quell.shield()
        scope.__enter__()
        shielded.set()
        spin_until(go.is_set)
        try:
            scope.__exit__(None, None, None)
        finally:
            assert lock.acquire() and lock.locked()

    worker = start(body)
    shielded.wait(PATIENCE)
    first = quell.interrupt(worker, Mine(1))
    second = quell.interrupt(worker, Mine(2))
    go.set()
    error = worker.done().error
    assert isinstance(error, Mine) and error.args == (2,)
    assert isinstance(error.__context__, Mine) and error.__context__.args == (1,)
    assert first.state == second.state == "delivered"
    assert not lock.locked()


def test_release_by_another_thread_ends_the_hold(start):
    lock, held, go = quell.Lock(), threading.Event(), threading.Event()

    def body():
        lock.acquire()
        held.set()
        spin_until(go.is_set)
        while True:
            pass

    worker = start(body)
    held.wait(PATIENCE)
    receipt = quell.interrupt(worker, Mine)
    assert not receipt.wait(0.02)
    lock.release()
    go.set()
    assert isinstance(worker.done().error, Mine)
