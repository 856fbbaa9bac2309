"""quell.queue stands in for the module queue."""

import queue

import pytest
import quell
import quell.queue

OURS = {"LifoQueue", "PriorityQueue", "Queue", "SimpleQueue"}


def test_everything_is_there():
    own = {"__file__", "__name__", "__doc__", "__spec__", "__loader__", "__package__", "__cached__"}
    for name, value in vars(queue).items():
        if name in own | {"__all__"}:
            continue
        if name in OURS:
            assert getattr(quell.queue, name) is getattr(quell, name)
        else:
            assert getattr(quell.queue, name) is value, name
    assert set(queue.__all__) <= set(quell.queue.__all__) <= {*queue.__all__, "ShutDown"}
    assert set(dir(queue)) <= set(dir(quell.queue))


def test_the_exceptions_are_the_standard_librarys():
    from quell import queue as stand_in

    assert stand_in.Empty is queue.Empty and stand_in.Full is queue.Full
    assert stand_in.ShutDown is quell.ShutDown
    with pytest.raises(queue.Empty):
        stand_in.Queue().get_nowait()


def test_star_import():
    names = {}
    exec("from quell.queue import *", names)
    assert {name: names[name] for name in quell.queue.__all__} == {
        name: getattr(quell.queue, name) for name in quell.queue.__all__
    }
