"""Event does what threading.Event does."""

import re
import threading
import weakref

import pytest
import quell
from conftest import outcome


def test_set_clear_wait():
    event = quell.Event()
    assert not event.is_set() and event.wait(0) is False and event.wait(timeout=0.001) is False
    assert event.set() is None
    assert event.is_set() and event.wait() is True and event.wait(5) is True
    assert event.clear() is None
    assert not event.is_set()


@pytest.mark.parametrize("timeout", [0, 0.0, -1, -0.5, 0.01, float("nan"), False, None, 1e20, "1"])
@pytest.mark.parametrize("is_set", [False, True])
def test_wait_takes_the_same_timeouts(timeout, is_set):
    if timeout is None and not is_set:
        pytest.skip("would wait for ever")
    mine, other = quell.Event(), threading.Event()
    if is_set:
        mine.set()
        other.set()
    ours, theirs = outcome(mine.wait, timeout), outcome(other.wait, timeout)
    if isinstance(theirs, tuple):
        assert isinstance(ours, tuple) and ours[0] is theirs[0]
    else:
        assert ours is theirs


def test_arguments():
    event = quell.Event()
    for call in (lambda: event.wait(1, 2), lambda: event.wait(time=1), lambda: quell.Event(1)):
        with pytest.raises(TypeError):
            call()


def test_repr():
    def shape(event):
        return re.sub(r"0x[0-9a-f]+", "ADDRESS", repr(event)).replace("quell", "threading")

    mine, other = quell.Event(), threading.Event()
    assert shape(mine) == shape(other)
    mine.set()
    other.set()
    assert shape(mine) == shape(other)


def test_a_subclass_has_its_own_constructor():
    class Flag(quell.Event):
        def __init__(self, name):
            super().__init__()
            self.name = name

    assert Flag("x").name == "x"
    event = Flag("x")
    assert weakref.ref(event)() is event


def test_deprecated_name():
    with pytest.warns(DeprecationWarning, match="isSet"):
        assert quell.Event().isSet() is False


def test_set_wakes_everybody(start):
    event = quell.Event()
    workers = [start(event.wait) for _ in range(5)]
    for worker in workers:
        worker.blocked()
    event.set()
    event.clear()
    for worker in workers:
        assert worker.done().result is True


def test_at_fork_reinit_keeps_the_flag():
    event = quell.Event()
    event.set()
    event._at_fork_reinit()
    assert event.is_set()
