"""Polite delivery: where Python code is setting up or cleaning up, an interrupt waits until that is done.

Each case runs to a place in its middle, says so, and goes on for a while; it is interrupted then. The middle must be
whole, and the interrupt must come soon after. With `force=True` the same places are cut.
"""

# The shapes of these functions are what is tested.
# ruff: noqa: B012, SIM105, SIM117, E731

import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import quell
from conftest import PATIENCE, STRESS, Middle, nothing
from conftest import spin as forever

pytestmark = pytest.mark.timeout(120 * STRESS)


class Stop(BaseException):
    """What these tests interrupt with."""


def finally_after_success(m: Middle) -> None:
    try:
        nothing()
    finally:
        m.run()
    forever()


def finally_with_a_loop_of_its_own(m: Middle) -> None:
    try:
        nothing()
    finally:
        m.begin()
        while not m.sent:
            pass
        for i in range(4000):
            i + 1
        m.end()
    forever()


def finally_after_an_exception(m: Middle) -> None:
    try:
        try:
            raise KeyError
        finally:
            m.begin()
            while not m.sent:
                pass
            n = 0
            while n < 4000:
                n += 1
            m.end()
    except KeyError:
        pass
    forever()


def except_that_raises_again(m: Middle) -> None:
    try:
        try:
            raise KeyError
        except BaseException:
            m.run()
            raise
    except KeyError:
        pass
    forever()


def finally_after_return(m: Middle) -> None:
    def function() -> int:
        try:
            # Not a constant: the compiler makes plain code of a try whose body cannot raise.
            return abs(1)
        finally:
            m.begin()
            while not m.sent:
                pass
            for i in range(4000):
                i + 1
            m.end()

    function()
    forever()


def finally_after_break(m: Middle) -> None:
    for _ in range(3):
        try:
            nothing()
            break
        finally:
            m.begin()
            while not m.sent:
                pass
            for i in range(4000):
                i + 1
            m.end()
    forever()


def finally_after_continue(m: Middle) -> None:
    for _ in range(1):
        try:
            nothing()
            continue
        finally:
            m.begin()
            while not m.sent:
                pass
            for i in range(4000):
                i + 1
            m.end()
    forever()


def finally_in_a_generator(m: Middle) -> None:
    def numbers() -> Iterator[int]:
        try:
            yield 1
        finally:
            m.run()

    for _ in numbers():
        pass
    forever()


def enter_of_a_manager(m: Middle) -> None:
    class Manager:
        def __enter__(self) -> None:
            m.run()

        def __exit__(self, *exc: object) -> None:
            pass

    with Manager():
        forever()


def exit_of_a_manager(m: Middle) -> None:
    class Manager:
        def __enter__(self) -> None:
            pass

        def __exit__(self, *exc: object) -> None:
            m.run()

    with Manager():
        nothing()
    forever()


def exit_of_a_manager_after_an_exception(m: Middle) -> None:
    class Manager:
        def __enter__(self) -> None:
            pass

        def __exit__(self, *exc: object) -> bool:
            m.run()
            return True

    with Manager():
        raise KeyError
    forever()


def set_up_of_a_contextmanager(m: Middle) -> None:
    @contextlib.contextmanager
    def manager() -> Iterator[None]:
        m.run()
        yield

    with manager():
        forever()


def tear_down_of_a_contextmanager(m: Middle) -> None:
    @contextlib.contextmanager
    def manager() -> Iterator[None]:
        yield
        m.run()

    with manager():
        nothing()
    forever()


def run_coroutine(coroutine: Any) -> None:
    with contextlib.suppress(StopIteration):
        coroutine.send(None)


def enter_of_an_async_manager(m: Middle) -> None:
    @contextlib.asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        m.run()
        yield

    async def main() -> None:
        async with manager():
            forever()

    run_coroutine(main())


def exit_of_an_async_manager(m: Middle) -> None:
    @contextlib.asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        yield
        m.run()

    async def main() -> None:
        async with manager():
            nothing()
        forever()

    run_coroutine(main())


class PythonLock:
    """A lock written in Python, which takes a while to acquire."""

    def __init__(self, m: Middle) -> None:
        self.m = m
        self.released = False

    def acquire(self) -> bool:
        self.m.run()
        return True

    def release(self) -> None:
        self.released = True


def acquire_of_a_python_lock_before_try(m: Middle) -> None:
    lock = PythonLock(m)
    lock.acquire()
    try:
        forever()
    finally:
        lock.release()


CASES = [
    finally_after_success,
    finally_with_a_loop_of_its_own,
    finally_after_an_exception,
    except_that_raises_again,
    finally_after_return,
    finally_after_break,
    finally_after_continue,
    finally_in_a_generator,
    enter_of_a_manager,
    exit_of_a_manager,
    exit_of_a_manager_after_an_exception,
    set_up_of_a_contextmanager,
    tear_down_of_a_contextmanager,
    enter_of_an_async_manager,
    exit_of_an_async_manager,
    acquire_of_a_python_lock_before_try,
]


def interrupted_in_the_middle(start: Any, case: Callable[[Middle], None], force: bool) -> bool:
    """Interrupts a case in its middle; whether the middle was whole."""
    middle = Middle()
    middle.interrupt(start(lambda: case(middle)), Stop, force=force)
    return middle.whole


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_is_not_cut(start: Any, fast_switching: None, case: Callable[[Middle], None]) -> None:
    for _ in range(20 * STRESS):
        assert interrupted_in_the_middle(start, case, force=False)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_is_cut_by_force(start: Any, fast_switching: None, case: Callable[[Middle], None]) -> None:
    for _ in range(20 * STRESS):
        assert not interrupted_in_the_middle(start, case, force=True)


def acquire_then_try(lock: Any) -> None:
    n = 0
    while True:
        lock.acquire()
        try:
            n += 1
        finally:
            lock.release()


def acquire_then_try_with_calls(lock: Any) -> None:
    n = 0
    while True:
        abs(n)
        lock.acquire()
        try:
            n += abs(1)
        finally:
            lock.release()


def acquire_if_then_try(lock: Any) -> None:
    n = 0
    while True:
        if lock.acquire(timeout=1):
            try:
                n += 1
            finally:
                lock.release()


def with_statement(lock: Any) -> None:
    n = 0
    while True:
        with lock:
            n += 1


def with_statement_and_handler(lock: Any) -> None:
    while True:
        with lock:
            try:
                raise ValueError
            except ValueError:
                nothing()


def with_statement_of_two(locks: Any) -> None:
    n = 0
    while True:
        with locks[0], locks[1]:
            n += 1


def with_statements_nested(locks: Any) -> None:
    while True:
        with locks[0]:
            with locks[1]:
                nothing()


def with_statement_and_calls(lock: Any) -> None:
    n = 0
    while True:
        abs(n)
        with lock:
            n += abs(1)


def set_wait_clear(event: Any) -> None:
    while True:
        event.set()
        event.wait()
        event.clear()


def wait_in_vain(condition: Any) -> None:
    while True:
        with condition:
            condition.notify_all()
            condition.wait(0.00005)


def pass_barrier(barrier: Any) -> None:
    while True:
        barrier.wait()


def put_get(q: Any) -> None:
    while True:
        q.put(1)
        q.get()


def get_in_vain(q: Any) -> None:
    while True:
        with contextlib.suppress(queue.Empty):
            q.get(timeout=0.00005)


def lock_is_free(lock: Any) -> bool:
    return not lock.locked()


def both_are_free(locks: Any) -> bool:
    return not locks[0].locked() and not locks[1].locked()


def two_locks() -> Any:
    return threading.Lock(), threading.Lock()


def rlock_is_free(lock: Any) -> bool:
    return not lock._is_owned()


def condition_is_free(condition: Any) -> bool:
    return not condition._lock._is_owned()


def semaphore_is_whole(semaphore: Any) -> bool:
    return not semaphore._cond._lock.locked() and semaphore._value == 1


def event_is_free(event: Any) -> bool:
    return not event._cond._lock.locked()


def barrier_is_whole(barrier: Any) -> bool:
    return not barrier._cond._lock.locked() and barrier.n_waiting == 0


def queue_is_free(q: Any) -> bool:
    return not q.mutex.locked()


STANDARD = {
    "Lock, acquire then try": (threading.Lock, acquire_then_try, lock_is_free),
    "Lock, acquire then try, calls": (threading.Lock, acquire_then_try_with_calls, lock_is_free),
    "Lock, if acquire then try": (threading.Lock, acquire_if_then_try, lock_is_free),
    "Lock, with": (threading.Lock, with_statement, lock_is_free),
    "Lock, with, calls": (threading.Lock, with_statement_and_calls, lock_is_free),
    "Lock, with, a handler": (threading.Lock, with_statement_and_handler, lock_is_free),
    "two Locks, with": (two_locks, with_statement_of_two, both_are_free),
    "two Locks, with in with": (two_locks, with_statements_nested, both_are_free),
    "RLock, acquire then try": (threading.RLock, acquire_then_try, rlock_is_free),
    "RLock, with": (threading.RLock, with_statement, rlock_is_free),
    "Condition, with": (threading.Condition, with_statement, condition_is_free),
    "Condition, acquire then try": (threading.Condition, acquire_then_try, condition_is_free),
    "Condition, wait in vain": (threading.Condition, wait_in_vain, condition_is_free),
    "Semaphore, with": (threading.Semaphore, with_statement, semaphore_is_whole),
    "Semaphore, acquire then try": (threading.Semaphore, acquire_then_try, semaphore_is_whole),
    "BoundedSemaphore, with": (threading.BoundedSemaphore, with_statement, semaphore_is_whole),
    "BoundedSemaphore, acquire then try": (
        threading.BoundedSemaphore,
        acquire_then_try,
        semaphore_is_whole,
    ),
    "Barrier, wait": (lambda: threading.Barrier(1), pass_barrier, barrier_is_whole),
    "Event, set wait clear": (threading.Event, set_wait_clear, event_is_free),
    "Queue, put get": (queue.Queue, put_get, queue_is_free),
    "Queue, get in vain": (queue.Queue, get_in_vain, queue_is_free),
}


@pytest.mark.parametrize("row", STANDARD.values(), ids=STANDARD.keys())
def test_the_standard_librarys_own_locks_do_not_leak(
    start: Any, fast_switching: None, row: tuple[Any, Any, Any]
) -> None:
    make, loop, is_whole = row
    rounds = 1000 * STRESS
    ready = threading.Semaphore(0)
    leaks = []

    def victim() -> None:
        for round_ in range(rounds):
            shared = make()
            try:
                ready.release()
                loop(shared)
            except Stop as stop:
                assert stop.args == (round_,)
            if not is_whole(shared):
                leaks.append(round_)

    worker = start(victim)
    for round_ in range(rounds):
        assert ready.acquire(timeout=PATIENCE)
        assert quell.interrupt(worker, Stop(round_)).wait(PATIENCE)
    worker.done()
    assert worker.error is None
    assert leaks == []
