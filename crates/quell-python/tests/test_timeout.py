"""Timeouts end their block, only their block, and nothing after it."""

import asyncio
import contextlib
import functools
import gc
import math
import threading
import time
import traceback
import weakref

import pytest
import quell
from conftest import PATIENCE, STRESS

SHORT = 0.02
LONG = 3600.0


def spin():
    while True:
        pass


def blocks():
    """Blocks that never end."""
    lock = quell.Lock()
    lock.acquire()

    def calls():
        while True:
            math.sqrt(2)

    def recursion(depth=200):
        if depth:
            return recursion(depth - 1)
        return spin()

    def swallow_exceptions():
        while True:
            with contextlib.suppress(Exception):
                while True:
                    len("x")

    def swallow_everything():
        while True:
            try:
                while True:
                    pass
            except:  # noqa: E722
                pass

    def swallow_everything_twice():
        while True:
            try:
                swallow_everything()
            except BaseException:
                len("x")

    return {
        "spin": spin,
        "calls": calls,
        "recursion": recursion,
        "generator": lambda: sum(1 for _ in iter(int, 1)),
        "comprehension": lambda: [None for _ in iter(int, 1) if False],
        "Event.wait": quell.Event().wait,
        "Queue.get": quell.Queue().get,
        "swallows Exception": swallow_exceptions,
        "swallows everything": swallow_everything,
        "swallows everything twice": swallow_everything_twice,
    }


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_getting_out_of_handlers_does_not_cut_the_cleanup_around_them(depth):
    log = []

    def nested(level):
        if not level:
            spin()
        while True:
            try:
                nested(level - 1)
            except BaseException:
                pass

    def block():
        try:
            nested(depth)
        finally:
            for i in range(100):
                log.append(i)
            log.append("done")

    with pytest.raises(quell.Timeout), quell.timeout(SHORT):
        block()
    assert log == [*range(100), "done"]


@pytest.mark.parametrize("block", blocks().values(), ids=blocks())
@pytest.mark.parametrize("where", ["main", "thread"])
def test_it_ends_the_block(block, where, start):
    def body():
        begin = time.monotonic()
        with (
            pytest.raises(quell.Timeout, match=r"^timed out after 0\.02 s$") as caught,
            quell.timeout(SHORT) as scope,
        ):
            block()
        assert scope.expired
        assert isinstance(caught.value, TimeoutError)
        assert "ScopeTimeout" not in "".join(traceback.format_exception(caught.value))
        assert SHORT <= time.monotonic() - begin < 10

    if where == "main":
        body()
    else:
        assert start(body).done().error is None


def test_in_the_main_thread_it_ends_a_blocking_call():
    with pytest.raises(quell.Timeout), quell.timeout(SHORT):
        time.sleep(LONG)
    lock = threading.Lock()
    lock.acquire()
    with pytest.raises(quell.Timeout), quell.timeout(SHORT):
        lock.acquire()


def test_a_block_that_ends_in_time_is_left_alone():
    with quell.timeout(LONG) as scope:
        x = 1
    assert x == 1 and not scope.expired
    with quell.timeout(None) as scope:
        assert scope.when() is None
    with pytest.raises(KeyError), quell.timeout(LONG) as scope:
        raise KeyError
    assert not scope.expired


def test_zero_ends_at_the_first_place_inside():
    scope = quell.timeout(0)
    with pytest.raises(quell.Timeout), scope:
        quell.Event().wait()
    assert scope.expired
    with pytest.raises(quell.Timeout), quell.timeout(0):
        spin()
    with pytest.raises(quell.Timeout), quell.timeout_at(time.monotonic() - 5):
        spin()


def test_cleanup_runs_and_the_private_exception_is_not_seen_outside():
    log = []

    def block():
        try:
            spin()
        except Exception:
            log.append("except Exception")
        except BaseException as error:
            log.append(type(error).__name__)
            raise
        finally:
            log.append("finally")

    with pytest.raises(quell.Timeout) as caught, quell.timeout(SHORT):
        block()
    assert log == ["ScopeTimeout", "finally"]
    error = caught.value
    assert error.__cause__ is None and error.__context__ is None
    # The traceback leads to the place that was interrupted.
    frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert frames[-2:] == ["block", "spin"]


def test_an_error_of_the_cleanup_has_the_timeout_as_its_context():
    def block():
        try:
            spin()
        finally:
            raise KeyError("from the cleanup")

    with pytest.raises(KeyError) as caught, quell.timeout(SHORT) as scope:
        block()
    assert scope.expired
    assert type(caught.value.__context__) is quell.Timeout

    def block():
        try:
            spin()
        except BaseException as error:
            raise KeyError("from the handler") from error

    with pytest.raises(KeyError) as caught, quell.timeout(SHORT):
        block()
    assert type(caught.value.__cause__) is quell.Timeout
    assert caught.value.__suppress_context__


def test_what_was_being_handled_becomes_the_context():
    with pytest.raises(quell.Timeout) as caught, quell.timeout(SHORT):
        try:
            raise KeyError
        except KeyError:
            spin()
    assert isinstance(caught.value.__context__, KeyError)


def test_a_block_that_handles_it_and_ends_is_left_normally():
    with quell.timeout(SHORT) as scope:
        with contextlib.suppress(BaseException):
            spin()
    assert scope.expired


def test_nested_the_inner_is_shorter():
    log = []
    with quell.timeout(LONG) as outer:
        try:
            with quell.timeout(SHORT) as inner:
                spin()
        except quell.Timeout:
            log.append("inner")
        log.append("after")
    assert log == ["inner", "after"]
    assert inner.expired and not outer.expired


def test_nested_the_outer_is_shorter_and_passes_through_inner_handlers():
    log = []
    with pytest.raises(quell.Timeout), quell.timeout(SHORT) as outer:
        while True:
            try:
                with quell.timeout(LONG) as inner:
                    spin()
            except quell.Timeout:
                log.append("eaten")
            except Exception:
                log.append("eaten")
    assert log == []
    assert outer.expired and not inner.expired


def test_nested_each_keeps_its_own_deadline():
    begin = time.monotonic()
    count = 0
    with pytest.raises(quell.Timeout), quell.timeout(1) as outer:
        while True:
            with contextlib.suppress(quell.Timeout), quell.timeout(SHORT):
                spin()
            count += 1
    assert outer.expired and count >= 2
    assert 1 <= time.monotonic() - begin < 10


def test_both_at_once():
    for _ in range(20):
        with pytest.raises(quell.Timeout), quell.timeout(SHORT) as outer:
            try:
                with quell.timeout(SHORT):
                    spin()
            except quell.Timeout:
                spin()
        assert outer.expired


@pytest.mark.parametrize("seconds", [-1, -0.001, float("-inf")])
def test_negative_seconds(seconds):
    with pytest.raises(ValueError, match="must not be negative"):
        quell.timeout(seconds)


@pytest.mark.parametrize(
    ("seconds", "error"),
    [(float("nan"), ValueError), ("1", TypeError), ([], TypeError), (1j, TypeError)],
)
def test_bad_seconds(seconds, error):
    with pytest.raises(error, match="of a timeout must"):
        quell.timeout(seconds)
    with pytest.raises(TypeError):
        quell.timeout()


def test_for_ever_and_longer():
    for seconds in (float("inf"), 1e300, 10**30):
        with quell.timeout(seconds) as scope:
            pass
        assert not scope.expired


def test_each_block_needs_its_own():
    scope = quell.timeout(LONG)
    with scope, pytest.raises(RuntimeError, match="already entered"):
        scope.__enter__()
    with pytest.raises(RuntimeError, match="used before"):
        scope.__enter__()
    with pytest.raises(RuntimeError, match="not entered"):
        scope.__exit__(None, None, None)
    with pytest.raises(RuntimeError, match="not entered"):
        quell.timeout(1).__exit__(None, None, None)


def test_it_must_be_left_in_its_own_thread(start):
    scope = quell.timeout(LONG)
    with scope:
        error = start(lambda: scope.__exit__(None, None, None)).done().error
        assert isinstance(error, RuntimeError) and "another thread" in str(error)


def test_when_and_reschedule():
    scope = quell.timeout(LONG)
    assert scope.when() is None
    begin = time.monotonic()
    with scope:
        assert (
            begin + LONG <= scope.when() + 1e-3 and scope.when() <= time.monotonic() + LONG + 1e-3
        )
        scope.reschedule(None)
        assert scope.when() is None
        scope.reschedule(2 * LONG)
        assert abs(scope.when() - time.monotonic() - 2 * LONG) < 5
    with pytest.raises(RuntimeError, match="is over"):
        scope.reschedule(1)
    with pytest.raises(ValueError, match="negative"):
        quell.timeout(1).reschedule(-1)

    scope = quell.timeout(SHORT)
    with scope:
        scope.reschedule(LONG)
        time.sleep(3 * SHORT)
    assert not scope.expired

    with pytest.raises(quell.Timeout, match=r"0\.02"), quell.timeout(LONG) as scope:
        scope.reschedule(SHORT)
        spin()
    assert scope.expired

    with pytest.raises(quell.Timeout), quell.timeout(None) as scope:
        scope.reschedule(0)
        spin()

    scope = quell.timeout(LONG)
    scope.reschedule(SHORT)
    with pytest.raises(quell.Timeout), scope:
        spin()


def test_an_expired_one_cannot_be_rescheduled():
    log = []
    with pytest.raises(quell.Timeout), quell.timeout(SHORT) as scope:
        try:
            spin()
        finally:
            try:
                scope.reschedule(LONG)
            except RuntimeError as error:
                log.append(str(error))
    assert log == ["this timeout has expired: its block is being interrupted"]


def test_timeout_at():
    when = time.monotonic() + SHORT
    with pytest.raises(quell.Timeout), quell.timeout_at(when) as scope:
        assert scope.when() == when
        spin()
    assert time.monotonic() >= when
    with quell.timeout_at(None):
        pass
    with pytest.raises(TypeError):
        quell.timeout_at("noon")


def test_as_a_decorator():
    @quell.timeout(SHORT)
    def never(a, *, b):
        """Never ends."""
        assert (a, b) == (1, 2)
        spin()

    for _ in range(3):
        with pytest.raises(quell.Timeout):
            never(1, b=2)
    assert never.__name__ == "never" and never.__doc__ == "Never ends."

    class Class:
        @quell.timeout(LONG)
        def method(self, x):
            return self, x

        @classmethod
        @quell.timeout(LONG)
        def of_class(cls):
            return cls

    instance = Class()
    assert instance.method(3) == (instance, 3) and Class.of_class() is Class
    assert quell.timeout(LONG)(functools.partial(divmod, 7))(2) == (3, 1)

    @quell.timeout(LONG)
    def recursive(n):
        return n and recursive(n - 1)

    assert recursive(50) == 0


def test_it_decorates_only_what_runs_when_called():
    async def coroutine():
        pass

    def generator():
        yield

    async def asynchronous_generator():
        yield

    for function in (coroutine, generator, asynchronous_generator, functools.partial(coroutine)):
        with pytest.raises(TypeError, match="cannot decorate"):
            quell.timeout(1)(function)
    with pytest.raises(TypeError, match="decorates a function, not 5"):
        quell.timeout(1)(5)


def test_repr():
    scope = quell.timeout(LONG)
    assert repr(scope) == "<quell.timeout(3600): not entered>"
    with scope:
        assert repr(scope) == "<quell.timeout(3600): entered>"
    assert repr(scope) == "<quell.timeout(3600): left>"


def test_a_scope_that_was_entered_by_hand_and_forgotten_does_not_go_off():
    scope = quell.timeout(SHORT)
    scope.__enter__()
    reference = weakref.ref(scope)
    del scope
    gc.collect()
    assert reference() is None
    time.sleep(3 * SHORT)


def test_nothing_is_raised_in_the_consumer_of_a_generator(start):
    # PEP 789.
    def numbers():
        with quell.timeout(SHORT):
            yield 1
            yield 2
            spin()

    def consume():
        iterator = numbers()
        assert next(iterator) == 1
        # Due while the generator is suspended: neither in Python code, nor in a wait, nor in a call.
        end = time.monotonic() + 5 * SHORT
        while time.monotonic() < end:
            pass
        assert quell.Event().wait(3 * SHORT) is False
        time.sleep(3 * SHORT)
        # It goes off when the generator runs again.
        with pytest.raises(quell.Timeout):
            for _ in iterator:
                pass

    consume()
    assert start(consume).done().error is None


def test_a_generator_that_is_closed_takes_its_timeout_along():
    def numbers():
        with quell.timeout(SHORT):
            yield 1

    iterator = numbers()
    next(iterator)
    time.sleep(2 * SHORT)
    iterator.close()
    time.sleep(2 * SHORT)
    iterator = numbers()
    next(iterator)
    del iterator
    time.sleep(2 * SHORT)


def test_entered_through_an_exit_stack_in_a_generator():
    def numbers():
        with contextlib.ExitStack() as stack:
            stack.enter_context(quell.timeout(SHORT))
            yield 1
            spin()

    iterator = numbers()
    next(iterator)
    end = time.monotonic() + 5 * SHORT
    while time.monotonic() < end:
        pass
    with pytest.raises(quell.Timeout):
        next(iterator)
    with pytest.raises(quell.Timeout), contextlib.ExitStack() as stack:
        stack.enter_context(quell.timeout(SHORT))
        spin()


def test_in_a_context_manager_made_of_a_generator_it_covers_the_with_block():
    @contextlib.contextmanager
    def limited():
        with quell.timeout(SHORT):
            yield

    with pytest.raises(quell.Timeout), limited():
        spin()
    with pytest.raises(quell.Timeout), limited(), quell.timeout(LONG):
        quell.Event().wait()
    with limited():
        pass

    def numbers():
        with limited():
            yield 1
            spin()

    iterator = numbers()
    next(iterator)
    end = time.monotonic() + 5 * SHORT
    while time.monotonic() < end:
        pass
    with pytest.raises(quell.Timeout):
        next(iterator)


def test_in_a_coroutine_it_does_not_end_other_tasks():
    async def limited(log):
        try:
            with quell.timeout(SHORT):
                await asyncio.sleep(5 * SHORT)
                spin()
        except quell.Timeout:
            log.append("timeout")

    async def other(log):
        end = time.monotonic() + 4 * SHORT
        while time.monotonic() < end:
            await asyncio.sleep(0)
        log.append("other")

    async def main():
        log = []
        await asyncio.gather(limited(log), other(log))
        return log

    assert sorted(asyncio.run(main())) == ["other", "timeout"]


def test_a_lock_taken_outside_delays_it_until_the_release():
    lock = quell.Lock()
    lock.acquire()
    with quell.timeout(SHORT) as scope:
        end = time.monotonic() + 3 * SHORT
        while time.monotonic() < end:
            pass
    lock.release()
    assert not scope.expired


def test_a_shield_delays_it():
    log = []
    with pytest.raises(quell.Timeout), quell.timeout(SHORT):
        with quell.shield():
            assert quell.Event().wait(3 * SHORT) is False
            log.append("waited")
        log.append("not reached")
    assert log == ["waited"]


def test_nothing_escapes_under_contention(start, fast_switching):
    # The deadline falls together with the end of the block; what does not hit the block must not hit what follows.
    stop = threading.Event()

    def compete():
        while not stop.is_set():
            pass

    start(compete)
    rounds, expired, escaped = 3000 * STRESS, 0, 0
    for i in range(rounds):
        scope = quell.timeout((i % 50) * 4e-6)
        try:
            try:
                with scope:
                    for _ in range(i % 30):
                        pass
            except quell.Timeout:
                expired += 1
                assert scope.expired
            for _ in range(10):
                pass
        except BaseException:
            escaped += 1
    stop.set()
    assert escaped == 0
    assert 0 < expired < rounds


def test_many_threads_at_once(start):
    def body():
        for _ in range(20):
            with pytest.raises(quell.Timeout), quell.timeout(0.002):
                quell.Event().wait()
            with quell.timeout(PATIENCE):
                pass

    for worker in [start(body) for _ in range(20)]:
        assert worker.done().error is None


def test_a_wait_inside_a_with_lock_is_ended():
    # The lock's `with` releases it on the way out, so the wait may be interrupted although the lock is held.
    for make in (quell.Lock, quell.RLock):
        lock = make()
        with pytest.raises(quell.Timeout), quell.timeout(SHORT), lock:
            quell.Event().wait()
        assert lock.acquire(False)
        lock.release()
        with lock:
            with pytest.raises(quell.Timeout), quell.timeout(SHORT):
                quell.Queue().get()
            assert not lock.acquire(False) or make is quell.RLock
