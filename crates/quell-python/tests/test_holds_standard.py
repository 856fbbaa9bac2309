"""Who holds the standard library's own locks, and since which line, where quell.patch() has replaced what acquires them."""

import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import quell
from conftest import spin_until
from seen import Start, info, line_of, off, waiting, waits, wants  # noqa: F401

pytestmark = pytest.mark.usefixtures("patched")


def test_a_recursive_lock_that_is_released_once_is_held_as_before() -> None:
    quell.set_detection("fail")
    lock = threading.RLock()
    with lock:
        with lock:
            pass
        (hold,) = quell.threads()[0].holds
        assert hold.object is lock
        assert hold.taken
        assert hold.taken.line == line_of(
            test_a_recursive_lock_that_is_released_once_is_held_as_before, "with lock:"
        )
    assert quell.threads()[0].holds == ()


def test_a_condition_takes_its_lock_again_as_often_as_it_had_it(start: Start) -> None:
    quell.set_detection("report")
    condition, inside = threading.Condition(), threading.Event()

    def waits_there() -> str:
        with condition, condition:
            inside.set()
            condition.wait()
        return "released"

    waiter = start(waits_there)
    assert inside.wait(30)
    with condition:
        condition.notify()
        spin_until(lambda: wants(waiter, condition) and waits(waiter).seconds > 0.01)
    assert waiter.done().result == "released"
    assert condition.acquire(blocking=False)
    condition.release()


def test_notes_end_with_detection_and_with_the_patch() -> None:
    held = threading.Lock()
    for end in [lambda: quell.set_detection("off"), quell.unpatch]:
        quell.set_detection("fail")
        with held:
            (hold,) = quell.threads()[0].holds
            assert hold.object is held
            assert hold.kind == "threading.Lock"
            assert hold.taken
            assert hold.taken.function == test_notes_end_with_detection_and_with_the_patch.__name__
            end()
            assert quell.threads()[0].holds == ()
        quell.set_detection("off")
        quell.patch()
        # What was acquired in between has no holder.
        held.acquire()
        quell.set_detection("fail")
        assert quell.threads()[0].holds == ()
        held.release()
        quell.set_detection("off")
    quell.unpatch()


def test_locks_that_are_dropped_while_held_are_not_kept() -> None:
    quell.set_detection("fail")
    alive = []
    for _ in range(1000):
        lock = threading.Lock()
        lock.acquire()
        alive.append(weakref.ref(lock))
        del lock
    assert sum(ref() is not None for ref in alive) <= 128


def test_what_is_seen_of_a_wait(start: Start) -> None:
    quell.set_detection("report")
    lock, go = threading.Lock(), threading.Event()

    def hold() -> None:
        with lock:
            go.wait()

    holder = start(hold)
    spin_until(lambda: any(h.object is lock for h in info(holder).holds))
    waiter = start(lambda: lock.acquire(timeout=60))
    seen = waits(waiter)
    assert (seen.kind, seen.object is lock, seen.holder) == ("threading.Lock", True, holder.ident)
    assert seen.taken
    assert seen.taken.line == line_of(hold, "with lock:")
    text = repr(seen)
    assert f"threading.Lock {id(lock):#x} at {__file__}:" in text
    assert f", which {holder.name} acquired at {__file__}:{seen.taken.line} in" in text
    go.set()
    holder.done()
    assert waiter.done().result is True


def test_who_has_an_rlock_is_seen_without_detection(start: Start) -> None:
    lock, go = threading.RLock(), threading.Event()

    def hold() -> None:
        with lock:
            go.wait()

    holder = start(hold)
    spin_until(lambda: waiting(holder))
    waiter = start(lambda: lock.acquire(timeout=60))
    seen = waits(waiter)
    assert (seen.kind, seen.holder, seen.taken) == ("threading.RLock", holder.ident, None)
    joiner = start(holder.join)
    seen = waits(joiner)
    assert (seen.kind, seen.holder) == ("Thread", holder.ident)
    go.set()
    holder.done()
    waiter.done()
    joiner.done()


@pytest.mark.parametrize("kind", [threading.Lock, threading.RLock])
def test_who_is_given_a_lock_holds_it(kind: Callable[[], Any], start: Start) -> None:
    # From 3.14 on one who has waited for a millisecond has it of the one who releases it.
    quell.set_detection("report")
    lock, go = kind(), threading.Event()

    def hold() -> None:
        with lock:
            go.wait()

    with lock:
        waiter = start(hold)
        spin_until(lambda: wants(waiter, lock) and waits(waiter).seconds > 0.01)
        waiting = waits(waiter)
        assert waiting.holder == threading.get_ident()
    assert quell.threads()[0].holds == ()
    spin_until(lambda: info(waiter).holds)
    other = start(lambda: lock.acquire(timeout=60))
    waiting = waits(other)
    assert waiting.holder == waiter.ident
    assert waiting.taken
    assert waiting.taken.line == line_of(hold, "with lock:")
    go.set()
    waiter.done()
    assert other.done().result is True


@pytest.mark.parametrize("kind", [threading.Lock, threading.RLock])
def test_who_acquires_after_the_patch_has_ended_leaves_no_note(
    kind: Callable[[], Any], start: Start
) -> None:
    quell.set_detection("fail")
    lock = kind()
    with lock:
        waiter = start(lambda: lock.acquire() and lock.release())
        spin_until(lambda: wants(waiter, lock))
        quell.unpatch()
    waiter.done()
    lock.acquire()
    quell.patch()
    assert not any(thread.holds for thread in quell.threads())
    lock.release()
    quell.unpatch()
