"""Strict delivery: while a thread holds locks of quell, an interrupt is raised where an exception would release each of them,
and nowhere else.

A guarded case spins for ever while it holds its locks: the interrupt must come there. A bare case spends its middle where an
exception would leave a lock held; the middle must be whole, and the interrupt must come after it. Whatever the case, all locks
are free in the end, and force makes no difference to that.
"""

# The shapes of these functions are what is tested.
# ruff: noqa: E722, B012, SIM105, SIM117

import contextlib
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import quell
from conftest import PATIENCE, STRESS, Middle, nothing
from conftest import spin as forever


class Mine(BaseException):
    """What these tests interrupt with."""


# ---- guarded


def with_statement(a: Any, b: Any, m: Middle) -> None:
    with a:
        m.begin()
        while True:
            pass


def with_statement_around_calls(a: Any, b: Any, m: Middle) -> None:
    with a:
        m.begin()
        while True:
            nothing()


def with_statement_of_two(a: Any, b: Any, m: Middle) -> None:
    with a, b:
        m.begin()
        forever()


def with_statement_in_a_try(a: Any, b: Any, m: Middle) -> None:
    try:
        with a:
            m.begin()
            forever()
    except ValueError:
        pytest.fail("another exception")


def try_in_a_with_statement(a: Any, b: Any, m: Middle) -> None:
    with a:
        try:
            m.begin()
            forever()
        except ValueError:
            pytest.fail("another exception")


def handler_in_a_with_statement(a: Any, b: Any, m: Middle) -> None:
    with a:
        try:
            raise ValueError
        except ValueError:
            m.begin()
            forever()


def acquire_then_finally(a: Any, b: Any, m: Middle) -> None:
    a.acquire()
    try:
        m.begin()
        while True:
            pass
    finally:
        a.release()


def acquire_if_then_finally(a: Any, b: Any, m: Middle) -> None:
    if a.acquire(timeout=PATIENCE):
        try:
            m.begin()
            forever()
        finally:
            a.release()


def acquire_or_give_up_then_finally(a: Any, b: Any, m: Middle) -> None:
    if not a.acquire(blocking=False):
        return
    count = 0
    try:
        m.begin()
        while True:
            count += 1
    finally:
        a.release()


def acquire_then_except_and_finally(a: Any, b: Any, m: Middle) -> None:
    a.acquire()
    try:
        m.begin()
        forever()
    except ValueError:
        pytest.fail("another exception")
    finally:
        a.release()


def handler_before_a_finally(a: Any, b: Any, m: Middle) -> None:
    a.acquire()
    try:
        raise ValueError
    except ValueError:
        m.begin()
        forever()
    finally:
        a.release()


def acquire_then_except(a: Any, b: Any, m: Middle) -> None:
    a.acquire()
    try:
        m.begin()
        forever()
    except:
        a.release()
        raise


def acquire_then_except_base_exception(a: Any, b: Any, m: Middle) -> None:
    a.acquire()
    try:
        m.begin()
        forever()
    except BaseException:
        a.release()
        raise


def acquire_each_with_its_own_finally(a: Any, b: Any, m: Middle) -> None:
    a.acquire()
    try:
        b.acquire()
        try:
            m.begin()
            forever()
        finally:
            b.release()
    finally:
        a.release()


def held_by_a_caller(a: Any, b: Any, m: Middle) -> None:
    def inner(depth: int) -> None:
        if depth:
            inner(depth - 1)
        m.begin()
        while True:
            pass

    with a:
        inner(5)


def held_by_a_generator_that_runs(a: Any, b: Any, m: Middle) -> None:
    def numbers() -> Iterator[int]:
        with a:
            m.begin()
            while True:
                pass
        yield 1

    next(numbers())


def before_an_acquire(a: Any, b: Any, m: Middle) -> None:
    with a:
        while True:
            with b:
                m.begin()


GUARDED = [
    with_statement,
    with_statement_around_calls,
    with_statement_of_two,
    with_statement_in_a_try,
    try_in_a_with_statement,
    handler_in_a_with_statement,
    acquire_then_finally,
    acquire_if_then_finally,
    acquire_or_give_up_then_finally,
    acquire_then_except_and_finally,
    handler_before_a_finally,
    acquire_then_except,
    acquire_then_except_base_exception,
    acquire_each_with_its_own_finally,
    held_by_a_caller,
    held_by_a_generator_that_runs,
    before_an_acquire,
]

# ---- bare


def without_a_try(a: Any, b: Any, m: Middle) -> None:
    a.acquire()
    m.begin()
    while not m.sent:
        pass
    for i in range(4000):
        i + 1
    m.end()
    a.release()
    forever()


def with_a_call_before_the_try(a: Any, b: Any, m: Middle) -> None:
    a.acquire()
    nothing()
    try:
        m.run()
    finally:
        a.release()
    forever()


def before_a_try_for_one_exception(a: Any, b: Any, m: Middle) -> None:
    a.acquire()
    try:
        m.run()
    except ValueError:
        pass
    a.release()
    forever()


def before_a_with_statement_of_another(a: Any, b: Any, m: Middle) -> None:
    a.acquire()
    with b:
        m.run()
    a.release()
    forever()


def two_before_one_try(a: Any, b: Any, m: Middle) -> None:
    a.acquire()
    b.acquire()
    try:
        m.run()
    finally:
        b.release()
        a.release()
    forever()


def take(lock: Any) -> None:
    lock.acquire()


def acquired_in_a_function(a: Any, b: Any, m: Middle) -> None:
    take(a)
    try:
        m.run()
    finally:
        a.release()
    forever()


def inside_the_finally(a: Any, b: Any, m: Middle) -> None:
    a.acquire()
    try:
        nothing()
    finally:
        m.begin()
        while not m.sent:
            pass
        for i in range(4000):
            i + 1
        m.end()
        a.release()
    forever()


def inside_the_except(a: Any, b: Any, m: Middle) -> None:
    a.acquire()
    try:
        raise KeyError
    except:
        m.run()
        a.release()
    forever()


def after_the_try(a: Any, b: Any, m: Middle) -> None:
    a.acquire()
    try:
        nothing()
    except:
        a.release()
        raise
    m.run()
    a.release()
    forever()


@contextlib.contextmanager
def locked(lock: Any) -> Iterator[None]:
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def held_by_a_suspended_generator(a: Any, b: Any, m: Middle) -> None:
    with locked(a):
        m.run()
    forever()


def held_by_an_exit_stack(a: Any, b: Any, m: Middle) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(a)
        m.run()
    forever()


def acquired_again_without_a_try(a: Any, b: Any, m: Middle) -> None:
    with a:
        # An RLock is acquired again; of others the second one.
        again = a if isinstance(a, quell.RLock) else b
        again.acquire()
        m.run()
        again.release()
    forever()


def take_and_check(lock: Any, check: Callable[[], object]) -> None:
    lock.acquire()
    try:
        check()
    except BaseException:
        lock.release()
        raise


def acquired_by_the_same_function_twice(a: Any, b: Any, m: Middle) -> None:
    # The second call stands where the first has stood, and guards only what it acquires itself.
    take_and_check(a, nothing)
    take_and_check(b, m.run)
    b.release()
    a.release()
    forever()


def acquired_in_a_loop(a: Any, b: Any, m: Middle) -> None:
    for lock in (a, b):
        lock.acquire()
        try:
            if lock is b:
                m.run()
        except:
            lock.release()
            raise
    b.release()
    a.release()
    forever()


BARE = [
    without_a_try,
    with_a_call_before_the_try,
    before_a_try_for_one_exception,
    before_a_with_statement_of_another,
    two_before_one_try,
    acquired_in_a_function,
    inside_the_finally,
    inside_the_except,
    after_the_try,
    held_by_a_suspended_generator,
    held_by_an_exit_stack,
    acquired_again_without_a_try,
    acquired_by_the_same_function_twice,
    acquired_in_a_loop,
]

LOCKS = [quell.Lock, quell.RLock, quell.Condition]


def is_free(lock: Any) -> bool:
    return "unlocked" in repr(lock)


def interrupted(start: Any, case: Any, make: Any, **options: bool) -> tuple[Middle, Any, bool]:
    """Interrupts a case in its middle; the middle, the error, and whether the locks are free."""
    a, b, middle = make(), make(), Middle()
    worker = start(lambda: case(a, b, middle))
    middle.interrupt(worker, Mine, **options)
    return middle, worker.error, is_free(a) and is_free(b)


@pytest.mark.parametrize("make", LOCKS)
@pytest.mark.parametrize("case", GUARDED, ids=lambda case: case.__name__)
def test_is_raised_where_the_locks_would_be_released(start: Any, case: Any, make: Any) -> None:
    for _ in range(3 * STRESS):
        _, error, free = interrupted(start, case, make)
        assert free
        names = {frame.name for frame in traceback.extract_tb(error.__traceback__)}
        assert case.__name__ in names


@pytest.mark.parametrize("force", [False, True], ids=["polite", "force"])
@pytest.mark.parametrize("make", LOCKS)
@pytest.mark.parametrize("case", BARE, ids=lambda case: case.__name__)
def test_is_not_raised_where_a_lock_would_be_left_held(
    start: Any, fast_switching: None, case: Any, make: Any, force: bool
) -> None:
    for _ in range(4 * STRESS):
        middle, _, free = interrupted(start, case, make, force=force)
        assert free
        assert middle.whole


def test_a_release_that_cleans_up_after_an_interrupt_lets_it_go_first(start: Any) -> None:
    lock, seen = quell.Lock(), []
    shield, shielded, sent = quell.shield(), threading.Event(), threading.Event()

    def body() -> None:
        shield.__enter__()
        shielded.set()
        sent.wait(PATIENCE)
        try:
            try:
                with lock:
                    shield.__exit__(None, None, None)
            except Mine as error:
                seen.append(error.args[0])
                forever()
        except Mine as error:
            seen.append(error.args[0])

    worker = start(body)
    assert shielded.wait(PATIENCE)
    receipts = [quell.interrupt(worker, Mine(n)) for n in range(2)]
    sent.set()
    assert worker.done().error is None
    assert seen == [0, 1]
    assert {receipt.state for receipt in receipts} == {"delivered"}
    assert not lock.locked()


def test_a_wait_is_interrupted_where_the_lock_would_be_released(start: Any) -> None:
    lock, event = quell.Lock(), quell.Event()

    def body() -> None:
        if lock.acquire(timeout=PATIENCE):
            try:
                event.wait()
            finally:
                lock.release()

    worker = start(body).blocked()
    quell.interrupt(worker, Mine)
    assert isinstance(worker.done().error, Mine)
    assert not lock.locked()
