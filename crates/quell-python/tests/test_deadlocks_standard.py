"""Deadlocks of the standard library's own locks and joins are seen, where quell.patch() has replaced their waits."""

import _thread
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import quell
from conftest import STRESS, spin_until
from dining import Table
from seen import Ring, Start, in_lock, info, line_of, off, waits, wants  # noqa: F401

pytestmark = pytest.mark.usefixtures("patched")

KINDS: list[Callable[[], Any]] = [threading.Lock, threading.RLock, threading.Condition]


def on_lock() -> threading.Condition:
    return threading.Condition(threading.Lock())


# ---- what is found


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("kind", [*KINDS, on_lock])
def test_the_one_that_closes_the_circle_fails(
    count: int, kind: Callable[[], Any], start: Start
) -> None:
    quell.set_detection("fail")
    ring = Ring(start, [kind() for _ in range(count)])
    ring.close()
    assert ring.outcomes() == ["both"] * (count - 1) + [quell.Deadlock]
    error = ring.workers[-1].error
    assert isinstance(error, quell.Deadlock)
    order = [count - 1, *range(count - 1)]
    assert [t.ident for t in error.threads] == [ring.workers[n].ident for n in order]
    taken = line_of(Ring.run, "with self.locks[number]:")
    wanted = line_of(Ring.run, "with self.locks[(number + 1)")
    for at, thread in enumerate(error.threads):
        assert thread.waits
        assert thread.waits.holder == error.threads[(at + 1) % count].ident
        assert thread.waits.kind.startswith("threading.")
        assert thread.waits.taken
        assert (thread.waits.taken.function, thread.waits.taken.line) == ("Ring.run", taken)
    text = str(error)
    assert text.count(f"seen.py:{wanted} in Ring.run, which ") == count
    assert text.count(f"acquired at {Ring.run.__code__.co_filename}:{taken} in Ring.run") == count
    # All are free again.
    for lock in ring.locks:
        with lock:
            pass


@pytest.mark.parametrize("kind", KINDS)
def test_a_circle_of_both_kinds_of_locks(kind: Callable[[], Any], start: Start) -> None:
    quell.set_detection("fail")
    ring = Ring(start, [quell.Lock(), kind(), quell.RLock(), kind()])
    ring.close()
    assert ring.outcomes() == ["both"] * 3 + [quell.Deadlock]


def test_a_thread_that_waits_for_itself() -> None:
    # In the main thread: it is watched too.
    quell.set_detection("fail")
    lock = threading.Lock()
    with lock, pytest.raises(quell.Deadlock, match="of a thread with itself"):
        lock.acquire()
    lock.acquire()
    try:
        with pytest.raises(quell.Deadlock, match="which it acquired at"), lock:
            pass
    finally:
        lock.release()
    again = threading.RLock()
    with again, again:
        pass


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("kind", [threading.Lock, threading.RLock])
def test_a_join(inside: bool, kind: Callable[[], Any], start: Start) -> None:
    quell.set_detection("fail")
    lock, go = kind(), threading.Event()

    def work() -> None:
        go.wait()
        with lock:
            pass

    worker = start(work)

    def join() -> None:
        with lock:
            if not inside:
                go.set()
                spin_until(lambda: wants(worker, lock))
            worker.join()

    joiner = start(join)
    if inside:
        spin_until(lambda: waits(joiner).kind == "Thread")
        go.set()
    failed = joiner.done().error or worker.done().error
    assert isinstance(failed, quell.Deadlock)
    assert (failed is joiner.error) == (not inside)
    assert f"waits for the end of {worker.name} at {__file__}:" in str(failed)
    worker.done()
    assert not worker.is_alive()


def test_the_main_thread_joins(start: Start) -> None:
    # The eldest is the main thread, and fails though another has closed the circle.
    quell.set_detection("eldest")
    lock = threading.Lock()

    def work() -> str:
        spin_until(lambda: waits(threading.main_thread()).kind == "Thread")
        with lock:
            return "done"

    with lock:
        worker = start(work)
        with pytest.raises(quell.Deadlock, match="MainThread waits for the end of"):
            worker.join()
        assert worker.is_alive()
    assert worker.done().result == "done"


@pytest.mark.parametrize("make", [threading.RLock, threading.Lock])
@pytest.mark.parametrize("closes", [True, False])
def test_a_condition_that_takes_its_lock_again(
    make: Callable[[], Any], closes: bool, start: Start
) -> None:
    # It cannot fail, whoever closes the circle: the other does.
    quell.set_detection("fail")
    condition, other = threading.Condition(make()), threading.Lock()
    inside = threading.Event()

    def waits_there() -> str:
        with other, condition:
            inside.set()
            condition.wait()
            return "notified"

    waiter = start(waits_there)
    assert inside.wait(30)

    def notifies() -> None:
        with condition:
            condition.notify()
            if not closes:
                spin_until(lambda: wants(waiter, condition))
            with other:
                pass

    assert isinstance(start(notifies).done().error, quell.Deadlock)
    assert waiter.done().result == "notified"


@pytest.mark.parametrize("make", [threading.RLock, threading.Lock])
def test_what_a_condition_has_taken_again_is_held_as_before(
    make: Callable[[], Any], start: Start
) -> None:
    quell.set_detection("fail")
    condition, other, both = threading.Condition(make()), threading.Lock(), threading.Barrier(2)
    inside = threading.Event()

    def waits_first() -> str:
        with condition:
            inside.set()
            condition.wait()
            both.wait()
            with other:
                return "both"

    one = start(waits_first)
    assert inside.wait(30)
    with condition:
        condition.notify()

    def crosses() -> None:
        with other:
            both.wait()
            spin_until(lambda: wants(one, other))
            with condition:
                pass

    error = start(crosses).done().error
    assert isinstance(error, quell.Deadlock)
    taken = line_of(waits_first, "with condition:")
    assert f":{taken} in test_what_a_condition" in str(error)
    assert one.done().result == "both"


def test_an_rlock_that_was_acquired_before_detection_was_switched_on(start: Start) -> None:
    ring = Ring(start, [threading.RLock(), threading.RLock()])
    ring.turns[0].set()
    spin_until(lambda: in_lock(ring.workers[0]))
    quell.set_detection("fail")
    ring.turns[1].set()
    assert ring.outcomes() == ["both", quell.Deadlock]
    assert "which it" not in str(ring.workers[1].error)


@pytest.mark.parametrize(("policy", "victim"), [("youngest", 2), ("eldest", 0)])
@pytest.mark.parametrize("kind", [threading.Lock, threading.RLock])
def test_who_fails_by_age(policy: str, victim: int, kind: Callable[[], Any], start: Start) -> None:
    quell.set_detection(policy)  # type: ignore[arg-type]
    ring = Ring(start, [kind() for _ in range(3)])
    for number in [2, 0, 1]:
        ring.turns[number].set()
        if number != 1:
            spin_until(partial(in_lock, ring.workers[number]))
    outcomes = ring.outcomes()
    assert [n for n, outcome in enumerate(outcomes) if outcome is quell.Deadlock] == [victim]
    assert outcomes.count("both") == 2


# ---- what is no deadlock


def test_locks_that_are_signals(start: Start) -> None:
    # Acquired here, released there: no thread is the one that must give them back.
    reports: list[quell.Deadlock] = []
    quell.set_detection(reports.append)
    ping, pong = threading.Lock(), threading.Lock()
    ping.acquire()
    pong.acquire()

    def answers() -> None:
        for _ in range(20):
            ping.acquire()
            pong.release()

    worker = start(answers)
    for _ in range(20):
        ping.release()
        pong.acquire()
    worker.join()
    done = _thread.allocate_lock()
    done.acquire()
    _thread.start_new_thread(done.release, ())
    done.acquire()
    assert reports == []


def test_the_standard_librarys_own_signals(start: Start) -> None:
    reports: list[quell.Deadlock] = []
    quell.set_detection(reports.append)
    event, condition = threading.Event(), threading.Condition()
    barrier, semaphore = threading.Barrier(2), threading.Semaphore(0)

    def work() -> None:
        event.wait()
        barrier.wait()
        semaphore.release()
        with condition:
            condition.notify()

    with condition:
        worker = start(work)
        event.set()
        barrier.wait()
        semaphore.acquire()
        condition.wait()
    worker.join()
    assert reports == []
    assert quell.threads()[0].holds == ()


def test_a_lock_that_another_thread_has_released(start: Start) -> None:
    quell.set_detection("fail")
    lock = threading.Lock()
    with suppress(RuntimeError), lock:
        start(lock.release).done()
        assert quell.threads()[0].holds == ()
        assert lock.acquire()
        start(lock.release).done()


def test_a_wait_with_a_timeout_is_in_no_circle() -> None:
    quell.set_detection("fail")
    lock = threading.Lock()
    with lock:
        assert not lock.acquire(timeout=0.01)
        assert not lock.acquire(blocking=False)


def test_in_a_shield_nobody_fails(start: Start) -> None:
    quell.set_detection("fail")
    a, b, both = threading.Lock(), threading.Lock(), threading.Barrier(2)

    def shielded() -> str:
        with a, quell.shield():
            both.wait()
            with b:
                return "both"

    one = start(shielded)

    def other() -> None:
        with b:
            both.wait()
            spin_until(lambda: wants(one, b))
            with a:
                pass

    assert isinstance(start(other).done().error, quell.Deadlock)
    assert one.done().result == "both"


# ---- the main thread; fork; under fire


def test_signals_and_interrupts_of_the_main_thread(start: Start) -> None:
    # It waits in quell's way while deadlocks are looked for.
    quell.set_detection("fail")
    lock, main = threading.Lock(), threading.main_thread()
    ran: list[int] = []
    old = signal.signal(signal.SIGUSR1, lambda number, _: ran.append(number))

    def disturb() -> None:
        spin_until(lambda: wants(main, lock))
        while not ran:
            signal.pthread_kill(main.ident or 0, signal.SIGUSR1)
            time.sleep(0.001)
        lock.release()

    try:
        assert lock.acquire()
        worker = start(disturb)
        assert lock.acquire()
        worker.done()
        assert ran

        def interrupt() -> None:
            spin_until(lambda: wants(main, lock))
            quell.interrupt(main, ZeroDivisionError)

        worker = start(interrupt)
        with pytest.raises(ZeroDivisionError):
            lock.acquire()
        worker.done()
        assert not lock.acquire(timeout=0.01)
    finally:
        signal.signal(signal.SIGUSR1, old)
    lock.release()


def test_in_the_child_of_a_fork(start: Start) -> None:
    quell.set_detection("fail")
    theirs, mine, go = threading.Lock(), threading.Lock(), threading.Event()

    def hold() -> None:
        with theirs:
            go.wait()

    holder = start(hold)
    spin_until(lambda: info(holder).holds)
    with mine:
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                (hold_of_mine,) = quell.threads()[0].holds
                assert hold_of_mine.object is mine
                assert len(quell.threads()) == 1
                with pytest.raises(quell.Deadlock):
                    mine.acquire()
                assert not theirs.acquire(timeout=0.01)
                os._exit(0)
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    go.set()
    holder.done()


@pytest.mark.parametrize("kind", [threading.Lock, threading.RLock])
def test_philosophers(kind: Callable[[], Any], fast_switching: None) -> None:
    meals = 40 * STRESS
    quell.set_detection("fail")
    table = Table([kind() for _ in range(4)], lambda eaten: eaten < meals)
    table.disturb(["youngest", "eldest", "fail"])
    table.done()
    assert table.eaten == [meals] * 4
