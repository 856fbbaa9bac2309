"""SimpleQueue does what queue.SimpleQueue does."""

import gc
import pickle
import queue
import signal
import sys
import weakref

import pytest
import quell
from conftest import outcome


def test_the_order():
    q = quell.SimpleQueue()
    for i in range(100):
        q.put(i)
    assert q.qsize() == 100 and not q.empty()
    assert [q.get() for _ in range(100)] == list(range(100))
    assert q.empty()


CALLS = [
    ("put", (1,), {}),
    ("put", (), {"item": 1}),
    ("put", (1, False, "whenever"), {}),
    ("put", (1,), {"block": True, "timeout": -5}),
    ("put_nowait", (1,), {}),
    ("put_nowait", (), {"item": 1}),
    ("get", (False,), {}),
    ("get", (True, 0.01), {}),
    ("get", (True, 0), {}),
    ("get", (), {"timeout": -1}),
    ("get", (), {"timeout": 1e300}),
    ("get", (False, -1), {}),
    ("get_nowait", (), {}),
    ("qsize", (), {}),
    ("empty", (), {}),
]


@pytest.mark.parametrize("filled", [0, 1, 2])
@pytest.mark.parametrize(("name", "args", "kwargs"), CALLS, ids=str)
def test_same_calls_same_answers(filled, name, args, kwargs):
    mine, other = quell.SimpleQueue(), queue.SimpleQueue()
    for i in range(filled):
        mine.put(i)
        other.put(i)
    ours = outcome(getattr(mine, name), *args, **kwargs)
    theirs = outcome(getattr(other, name), *args, **kwargs)
    assert ours == theirs
    assert mine.qsize() == other.qsize()


@pytest.mark.parametrize(
    ("name", "args"),
    [("put", ()), ("put", (1, 2, 3, 4)), ("get", (1, 2, 3)), ("get", (1, "x"))],
    ids=str,
)
def test_wrong_calls_are_refused(name, args):
    for make in (quell.SimpleQueue, queue.SimpleQueue):
        with pytest.raises(TypeError):
            getattr(make(), name)(*args)


def test_get_waits(start):
    q = quell.SimpleQueue()
    getters = [start(q.get), start(lambda: q.get(timeout=100))]
    for getter in getters:
        getter.blocked()
    q.put(1)
    q.put(2)
    assert sorted(getter.done().result for getter in getters) == [1, 2]


def test_construction():
    for wrong in ((1,), (None,)):
        with pytest.raises(TypeError, match="takes no arguments"):
            quell.SimpleQueue(*wrong)
    with pytest.raises(TypeError):
        quell.SimpleQueue(maxsize=1)

    class Named(quell.SimpleQueue):
        def __init__(self, name):
            self.name = name

    q = Named("mine")
    q.put(1)
    assert q.name == "mine" and q.get() == 1
    assert repr(quell.SimpleQueue[int]) == "quell.SimpleQueue[int]"
    assert not isinstance(q, quell.Queue)


def test_weak_references_and_pickling():
    q = quell.SimpleQueue()
    assert weakref.ref(q)() is q
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(q)


def test_the_collector_sees_the_items():
    class Item:
        pass

    q = quell.SimpleQueue()
    item = Item()
    item.queue = q
    q.put(item)
    reference = weakref.ref(item)
    assert item in gc.get_referents(q)
    del item, q
    gc.collect()
    assert reference() is None


def test_references_are_counted():
    q, item = quell.SimpleQueue(), object()
    before = sys.getrefcount(item)
    for _ in range(10):
        q.put(item)
    assert sys.getrefcount(item) == before + 10
    for _ in range(10):
        q.get()
    assert sys.getrefcount(item) == before


def test_put_in_a_signal_handler():
    q = quell.SimpleQueue()
    old = signal.signal(signal.SIGALRM, lambda *_: q.put("signal"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        assert q.get(timeout=30) == "signal"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def test_put_in_finalizers():
    q = quell.SimpleQueue()

    class Noisy:
        def __del__(self):
            q.put("gone")

    for _ in range(100):
        circle = Noisy()
        circle.itself = circle
        q.put(circle)
        del circle
        assert q.get() is not None
    gc.collect()
    assert q.qsize() == 100
