"""Timeouts end their block, only their block, and nothing after it."""

import contextlib
import math
import re
import threading
import time
import traceback

import pytest
import quell
from conftest import PATIENCE, STRESS, spin

SHORT = 0.02
LONG = 3600.0


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


def test_a_regular_expression_in_the_main_thread_is_ended():
    # It keeps the GIL, and looks for signals.
    catastrophe = re.compile(r"(a+)+$")
    begun = time.monotonic()
    for _ in range(3):
        with pytest.raises(quell.Timeout), quell.timeout(SHORT):
            catastrophe.match("a" * 64 + "b")
    assert time.monotonic() - begun < PATIENCE


def test_a_regular_expression_is_ended_though_many_threads_want_the_interpreter(start):
    # Who is to end it takes turns with all of them, and is let in again until it has had its own.
    over, catastrophe = threading.Event(), re.compile(r"(a+)+$")

    def busy():
        while not over.is_set():
            pass

    for _ in range(16):
        start(busy)
    for _ in range(5 * STRESS):
        with pytest.raises(quell.Timeout), quell.timeout(SHORT):
            catastrophe.match("a" * 64 + "b")
    over.set()


def test_a_regular_expression_that_may_not_be_ended_comes_to_its_result():
    """The handler of the signal has given the interpreter's lock up in its middle."""
    slow = re.compile(r"(a+)+$")
    results = []
    with pytest.raises(quell.Timeout), quell.timeout(SHORT):
        with quell.shield():
            results.append(slow.match("a" * 22 + "b"))
            results.append(slow.match("a" * 22).end())
        results.append("past the shield")
    assert results == [None, 22]


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
