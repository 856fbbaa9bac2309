"""What a timeout is made from and can be asked; timeouts as decorators."""

import functools
import gc
import time
import weakref

import pytest
import quell
from conftest import spin

SHORT = 0.02
LONG = 3600.0


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
