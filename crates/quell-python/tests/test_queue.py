"""Queue, LifoQueue and PriorityQueue do what those of the module queue do."""

import gc
import pickle
import queue
import sys
import threading
import time
import weakref

import pytest
import quell
from conftest import outcome

KINDS = ["Queue", "LifoQueue", "PriorityQueue"]

each_kind = pytest.mark.parametrize("make", [getattr(quell, name) for name in KINDS], ids=KINDS)


@pytest.mark.parametrize(
    ("make", "order"),
    [
        (quell.Queue, lambda items: items),
        (quell.LifoQueue, lambda items: items[::-1]),
        (quell.PriorityQueue, sorted),
    ],
    ids=KINDS,
)
def test_the_order(make, order):
    q = make()
    items = [37 * i % 100 for i in range(100)]
    for item in items:
        q.put(item)
    assert q.qsize() == 100 and not q.empty() and not q.full()
    assert [q.get() for _ in range(100)] == order(items)
    assert q.empty()


def test_the_classes_are_related_as_the_standard_librarys():
    assert quell.LifoQueue.__mro__ == (quell.LifoQueue, quell.Queue, object)
    assert quell.PriorityQueue.__mro__ == (quell.PriorityQueue, quell.Queue, object)
    assert isinstance(quell.PriorityQueue(), quell.Queue)


def test_the_exceptions_are_the_standard_librarys():
    assert quell.Empty is queue.Empty and quell.Full is queue.Full
    if sys.version_info >= (3, 13):
        assert quell.ShutDown is queue.ShutDown
    else:
        assert issubclass(quell.ShutDown, Exception)


CALLS = [
    ("put", (1,), {}),
    ("put", (1, False), {}),
    ("put", (1, True, 0.01), {}),
    ("put", (), {"item": 1, "block": False}),
    ("put", (1,), {"timeout": 0.01}),
    ("put", (1,), {"timeout": -1}),
    ("put", (1, False, -1), {}),
    ("put", (1, True, None), {}),
    ("get", (), {}),
    ("get", (False,), {}),
    ("get", (True, 0.01), {}),
    ("get", (), {"block": False, "timeout": -1}),
    ("get", (), {"timeout": -1}),
    ("get", (), {"timeout": 0}),
    ("put_nowait", (1,), {}),
    ("get_nowait", (), {}),
    ("qsize", (), {}),
    ("empty", (), {}),
    ("full", (), {}),
    ("task_done", (), {}),
]

#: Those that wait for ever where there is no room, or no item.
PATIENT = [CALLS[0], CALLS[7], CALLS[8]]


def cases():
    for maxsize in (-1, 0, 1, 2):
        for filled in range(maxsize + 1 if maxsize > 0 else 3):
            for call in CALLS:
                stuck = filled == maxsize if call[0] == "put" else not filled
                if maxsize <= 0 and call[0] == "put":
                    stuck = False
                if not (stuck and call in PATIENT):
                    yield pytest.param(maxsize, filled, *call, id=f"{maxsize}-{filled}-{call}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("maxsize", "filled", "name", "args", "kwargs"), list(cases()))
def test_same_calls_same_answers(kind, maxsize, filled, name, args, kwargs):
    mine, other = getattr(quell, kind)(maxsize), getattr(queue, kind)(maxsize)
    for i in range(filled):
        mine.put(i)
        other.put(i)
    ours = outcome(getattr(mine, name), *args, **kwargs)
    theirs = outcome(getattr(other, name), *args, **kwargs)
    assert ours == theirs
    assert mine.qsize() == other.qsize()
    assert mine.unfinished_tasks == other.unfinished_tasks


def test_a_timeout_that_no_clock_reaches():
    with pytest.raises(OverflowError):
        quell.Queue().get(timeout=1e20)
    q = quell.Queue(1)
    q.put(1)
    with pytest.raises(OverflowError):
        q.put(2, timeout=float("inf"))


def test_wrong_arguments():
    q = quell.Queue()
    for call in (q.put, lambda: q.put(1, 2, 3, 4), lambda: q.put(1, item=2), lambda: q.get(1, 2, 3),
                 lambda: q.get(blocking=True), lambda: quell.Queue(1, 2), lambda: quell.Queue("x")):  # fmt: skip
        with pytest.raises(TypeError):
            call()
    with pytest.raises(ValueError, match="non-negative"):
        q.get(timeout=float("nan"))


def test_maxsize_can_be_changed(start):
    q = quell.Queue(1)
    q.put(1)
    worker = start(lambda: q.put(2)).blocked()
    q.maxsize = 2
    worker.done()
    assert worker.error is None and q.qsize() == 2
    q.maxsize = 1
    assert q.full()
    q.get()
    with pytest.raises(queue.Full):
        q.put_nowait(3)


@each_kind
def test_task_done_and_join(make, start):
    q = make()
    q.put("a")
    q.put("b")
    worker = start(q.join).blocked()
    q.get()
    q.get()
    q.task_done()
    assert worker.is_alive()
    q.task_done()
    worker.done()
    q.join()
    with pytest.raises(ValueError, match=r"^task_done\(\) called too many times$"):
        q.task_done()


@each_kind
def test_shutdown(make):
    q = make()
    q.put(1)
    assert not q.is_shutdown
    q.shutdown()
    assert q.is_shutdown
    with pytest.raises(quell.ShutDown):
        q.put(2)
    with pytest.raises(quell.ShutDown):
        q.put_nowait(2)
    assert q.get() == 1
    for call in (q.get, q.get_nowait, lambda: q.get(timeout=1)):
        with pytest.raises(quell.ShutDown):
            call()


@each_kind
def test_immediate_shutdown_drops_what_is_left(make, start):
    q = make(2)
    q.put(1)
    q.put(2)
    putter = start(lambda: q.put(3)).blocked()
    joiner = start(q.join).blocked()
    q.shutdown(immediate=True)
    assert isinstance(putter.done().error, quell.ShutDown)
    assert joiner.done().error is None
    assert q.qsize() == 0 and q.unfinished_tasks == 0


@each_kind
def test_timeouts_are_kept(make):
    q = make(1)
    begin = time.monotonic()
    with pytest.raises(queue.Empty):
        q.get(timeout=0.05)
    q.put(1)
    with pytest.raises(queue.Full):
        q.put(2, timeout=0.05)
    assert time.monotonic() - begin >= 0.1


@each_kind
def test_generic_alias_and_repr(make):
    assert repr(make[int]) == f"quell.{make.__name__}[int]"
    assert repr(make()).startswith(f"<quell.{make.__name__} object at 0x")
    assert type(make[int](3)) is make


@each_kind
def test_subclass(make):
    class Counting(make):
        def __init__(self, extra):
            super().__init__(maxsize=3)
            self.extra = extra
            self.puts = 0

        def put(self, item, block=True, timeout=None):
            self.puts += 1
            super().put(item, block, timeout)

    q = Counting("x")
    assert q.maxsize == 3 and q.extra == "x"
    q.put(1)
    assert q.puts == 1 and q.get() == 1
    # As in the standard library, these go through the others.
    q.put_nowait(2)
    assert q.puts == 2 and q.get_nowait() == 2


@each_kind
def test_attributes_of_its_own(make):
    q = make()
    q.name = "mine"
    assert q.name == "mine" and vars(q) == {"name": "mine"}
    q.itself = q
    reference = weakref.ref(q)
    del q
    gc.collect()
    assert reference() is None


@each_kind
def test_weak_references_and_pickling(make):
    q = make()
    assert weakref.ref(q)() is q
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(q)


@each_kind
def test_the_collector_sees_the_items(make):
    class Item:
        pass

    q = make()
    item = Item()
    item.queue = q
    q.put(item)
    reference = weakref.ref(item)
    holder = q.queue if make is quell.PriorityQueue else q
    assert item in gc.get_referents(holder)
    del holder, item, q
    gc.collect()
    assert reference() is None


@each_kind
def test_items_die_with_their_queue(make):
    class Item:
        pass

    q = make()
    item = Item()
    reference = weakref.ref(item)
    q.put(item)
    del item
    assert reference() is not None
    del q
    assert reference() is None


@each_kind
def test_many_producers_and_consumers(make, start, fast_switching):
    for maxsize in (0, 1, 7):
        q = make(maxsize)
        count, threads = 3000, 3

        def produce(q=q, count=count):
            for i in range(count):
                q.put(i)

        def consume(q=q, count=count):
            return sum(q.get() for _ in range(count))

        consumers = [start(consume) for _ in range(threads)]
        producers = [start(produce) for _ in range(threads)]
        assert all(p.done().error is None for p in producers)
        assert sum(c.done().result for c in consumers) == threads * sum(range(count))
        assert q.empty()


def test_one_thread_gets_items_in_the_order_each_put_them(start, fast_switching):
    q = quell.Queue(3)

    def produce(name):
        for i in range(1000):
            q.put((name, i))

    for name in "ab":
        start(lambda name=name: produce(name))
    got = [q.get() for _ in range(2000)]
    for name in "ab":
        assert [i for n, i in got if n == name] == list(range(1000))
    assert threading.active_count() >= 1
