"""Queues whose insides are used: methods that a subclass replaces, and queue, mutex and the count as attributes."""

import collections
import gc
import heapq
import math
import queue
import random
import threading
import weakref

import pytest
import quell
from conftest import disturb, python, spin_until

KINDS = ["Queue", "LifoQueue", "PriorityQueue"]

each_kind = pytest.mark.parametrize("kind", KINDS)


class Mine(BaseException):
    pass


def logging(base):
    """A subclass that replaces all four methods and logs their calls, with whether the mutex was held."""

    class Logging(base):
        def __init__(self, maxsize=0):
            self.log = []
            super().__init__(maxsize)

        def _note(self, *what):
            self.log.append((*what, self.mutex.locked()))

        def _init(self, maxsize):
            self.log.append(("init", maxsize))
            super()._init(maxsize)

        def _qsize(self):
            self._note("qsize")
            return super()._qsize()

        def _put(self, item):
            self._note("put", item)
            super()._put(item)

        def _get(self):
            item = super()._get()
            self._note("get", item)
            return item

    return Logging


@each_kind
def test_replaced_methods_are_called_as_by_the_standard_library(kind):
    logs = []
    for module in (queue, quell):
        q = logging(getattr(module, kind))(2)
        q.put(3)
        q.put(1)
        with pytest.raises(queue.Full):
            q.put_nowait(7)
        with pytest.raises(queue.Full):
            q.put(7, timeout=0.001)
        assert q.qsize() == 2 and q.full() and not q.empty()
        q.get()
        q.get_nowait()
        with pytest.raises(queue.Empty):
            q.get(block=False)
        q.task_done()
        q.task_done()
        q.join()
        # How often a wait looks is its own business.
        logs.append([entry for entry in q.log if entry[0] != "qsize"])
        assert all(entry[-1] for entry in q.log[1:])
    assert logs[0] == logs[1]


def test_one_replaced_method_is_enough():
    class Unique(quell.Queue):
        def _put(self, item):
            if item not in self.queue:
                super()._put(item)

    q = Unique()
    for item in "abba":
        q.put(item)
    assert list(q.queue) == ["a", "b"] and q.qsize() == 2 and q.unfinished_tasks == 4


def test_a_container_of_its_own():
    class OrderedSet(quell.Queue):
        def _init(self, maxsize):
            self.queue = {}

        def _put(self, item):
            self.queue[item] = None

        def _get(self):
            item = next(iter(self.queue))
            del self.queue[item]
            return item

    q = OrderedSet(3)
    for item in (1, 2, 1):
        q.put(item)
    assert q.qsize() == 2 and (q.get(), q.get()) == (1, 2) and q.empty()


def test_methods_from_another_base():
    class Newest:
        def _get(self):
            return self.queue.pop()

    class Stack(Newest, quell.Queue):
        pass

    q = Stack()
    q.put(1)
    q.put(2)
    assert q.get() == 2


@pytest.mark.parametrize(
    ("kind", "container"),
    [
        ("Queue", collections.deque([3, 1, 2])),
        ("LifoQueue", [3, 1, 2]),
        ("PriorityQueue", [1, 3, 2]),
    ],
    ids=KINDS,
)
def test_the_container(kind, container):
    q = getattr(quell, kind)()
    for item in (3, 1, 2):
        q.put(item)
    assert q.queue == container and type(q.queue) is type(container)
    assert q.qsize() == 3 and q.unfinished_tasks == 3
    q.put(4)
    assert len(q.queue) == 4
    assert sorted(q.get() for _ in range(4)) == [1, 2, 3, 4]
    assert not q.queue


@each_kind
def test_a_queue_is_emptied_as_people_do(kind, start):
    q = getattr(quell, kind)()
    for item in range(5):
        q.put(item)
    joiner = start(q.join).blocked()
    with q.mutex:
        unfinished = q.unfinished_tasks - len(q.queue)
        q.queue.clear()
        q.unfinished_tasks = unfinished
    assert q.empty() and q.unfinished_tasks == 0
    q.put(1)
    assert q.get() == 1
    q.task_done()
    assert joiner.done().error is None


@each_kind
def test_the_mutex_keeps_others_out(kind, start):
    q = getattr(quell, kind)()
    with q.mutex:
        putter = start(lambda: q.put(1)).blocked()
        assert not q.queue
    assert putter.done().error is None and q.get() == 1


@each_kind
def test_who_waits_goes_on_waiting_when_the_queue_is_opened(kind, start):
    q = getattr(quell, kind)(2)
    getters = [start(lambda: q.get(timeout=100)), start(q.get)]
    for getter in getters:
        getter.blocked()
    assert not q.queue
    for getter in getters:
        getter.blocked()
    q.put(1)
    q.put(2)
    assert sorted(getter.done().result for getter in getters) == [1, 2]

    q = getattr(quell, kind)(2)
    q.put(1)
    q.put(2)
    putters = [start(lambda: q.put(3, timeout=100)), start(lambda: q.put(4)), start(q.join)]
    for putter in putters:
        putter.blocked()
    assert sorted(q.queue) == [1, 2]
    for putter in putters:
        putter.blocked()
    assert sorted([q.get() for _ in range(4)]) == [1, 2, 3, 4]
    for _ in range(4):
        q.task_done()
    for putter in putters:
        assert putter.done().error is None


@each_kind
def test_opening_in_the_middle_of_traffic_loses_nothing(kind, start, fast_switching):
    for opens in range(20):
        q, count = getattr(quell, kind)(3), 300

        def produce(q=q, count=count):
            for i in range(count):
                q.put(i)

        def consume(q=q, count=count):
            return [q.get() for _ in range(count)]

        workers = [start(produce), start(produce)]
        consumers = [start(consume), start(consume)]
        spin_until(lambda q=q, opens=opens: q.unfinished_tasks >= 20 * opens)
        assert len(q.queue) <= 3
        for worker in workers:
            assert worker.done().error is None
        got = [item for consumer in consumers for item in consumer.done().result]
        assert collections.Counter(got) == collections.Counter([*range(count)] * 2)
        assert q.unfinished_tasks == 2 * count and q.empty()


@each_kind
def test_a_queue_that_was_shut_down_stays_so_when_it_is_opened(kind):
    q = getattr(quell, kind)()
    q.put(1)
    q.shutdown()
    assert list(q.queue) == [1] and q.is_shutdown
    with pytest.raises(quell.ShutDown):
        q.put(2)
    assert q.get() == 1
    with pytest.raises(quell.ShutDown):
        q.get()


def test_the_collector_sees_through_an_open_queue():
    class Item:
        pass

    q = quell.Queue()
    item = Item()
    item.queue = q
    q.put(item)
    assert list(q.queue) == [item]
    reference = weakref.ref(item)
    del item, q
    gc.collect()
    assert reference() is None


def test_a_put_that_fails_passes_the_room_on(start):
    class Picky(quell.Queue):
        def _put(self, item):
            if item == "bad":
                raise ValueError(item)
            super()._put(item)

    q = Picky(1)
    q.put("first")
    bad = start(lambda: q.put("bad")).blocked()
    good = start(lambda: q.put("good")).blocked()
    assert q.get() == "first"
    assert isinstance(bad.done().error, ValueError) and good.done().error is None
    assert q.get() == "good" and q.unfinished_tasks == 2


def test_a_get_that_fails_passes_the_item_on(start):
    class Picky(quell.Queue):
        fails = 1

        def _get(self):
            if self.fails:
                self.fails -= 1
                raise ValueError
            return super()._get()

    q = Picky()
    first, second = start(q.get).blocked(), start(q.get).blocked()
    q.put("item")
    assert {repr(w.done().error) for w in (first, second)} == {"ValueError()", "None"}
    assert {first.result, second.result} == {"item", None}


def test_interrupts_do_not_cut_replaced_methods(start, fast_switching):
    class Counted(quell.Queue):
        def _init(self, maxsize):
            super()._init(maxsize)
            self.count = 0

        def _put(self, item):
            self.count += 1
            super()._put(item)

        def _get(self):
            item = super()._get()
            self.count -= 1
            return item

    q, turns = Counted(), 0

    def put_and_get(goes_on):
        nonlocal turns
        while goes_on():
            q.put(1)
            q.get()
            assert q.count == len(q.queue)
            turns += 1

    disturb(start, put_and_get, lambda: turns, Mine, 300)
    assert q.count == len(q.queue) and not q.mutex.locked()


# ---- the heap


class Key:
    """An item whose comparison does what the test wants."""

    def __init__(self, value, then=lambda: None):
        self.value, self.then = value, then

    def __lt__(self, other):
        self.then()
        other.then()
        return self.value < other.value


def _a_tuple(chance):
    first = [(), (chance.randrange(5),), (chance.randrange(50), chance.random())]
    return chance.choice(first)


@pytest.mark.parametrize(
    "make",
    [
        lambda chance: chance.randrange(50),
        lambda chance: chance.choice([chance.randrange(9), chance.random() * 9, math.nan]),
        lambda chance: chance.choice("abcdefgh") * chance.randrange(4),
        lambda chance: (chance.randrange(50), chance.random()),
        lambda chance: (chance.choice([1, 2, 1.5, math.nan, True]), chance.random()),
        lambda chance: Key(chance.randrange(50)),
        lambda chance: (chance.randrange(9), Key(chance.randrange(9))),
        _a_tuple,
    ],
    ids=["int", "number", "str", "pair", "pair of numbers", "object", "pair of objects", "tuple"],
)
def test_the_heap_is_that_of_heapq(make):
    chance = random.Random(5)
    q, heap = quell.PriorityQueue(), []
    for _ in range(3000):
        if chance.random() < 0.55:
            item = make(chance)
            q.put(item)
            heapq.heappush(heap, item)
        elif heap:
            assert q.get() is heapq.heappop(heap)
        assert q.queue == heap


def test_a_full_heap_takes_nothing_more(start):
    q = quell.PriorityQueue(2)
    for item in (2, 1):
        q.put(item)
    with pytest.raises(quell.Full):
        q.put(0, block=False)
    with pytest.raises(quell.Full):
        q.put(0, timeout=0.001)
    putter = start(lambda: q.put(0)).blocked()
    assert q.queue == [1, 2] and q.unfinished_tasks == 2
    assert q.get() == 1 and putter.done().error is None
    assert q.get() == 0 and q.unfinished_tasks == 3


def test_a_comparison_that_raises_changes_nothing():
    def fail():
        raise ValueError("no order")

    chance = random.Random(6)
    q = quell.PriorityQueue()
    items = [Key(value) for value in range(30)]
    for item in items:
        q.put(item)
    failures = 0
    for _ in range(200):
        chosen, before, count = chance.choice(q.queue), list(q.queue), q.unfinished_tasks
        with pytest.raises(ValueError, match="no order"):
            q.put(Key(chance.randrange(30), fail))
        assert q.queue == before and q.unfinished_tasks == count
        chosen.then = fail
        try:
            taken = q.get()
        except ValueError:
            failures += 1
            assert q.queue == before
        else:
            assert taken.value == 0
            chosen.then = lambda: None
            q.put(taken)
        chosen.then = lambda: None
    assert 10 < failures < 190
    assert [q.get().value for _ in range(30)] == list(range(30))


def test_items_without_order():
    q = quell.PriorityQueue()
    q.put(object())
    with pytest.raises(TypeError, match="'<' not supported"):
        q.put(object())
    assert q.qsize() == 1 and q.unfinished_tasks == 1


def test_threads_meet_in_a_comparison(start, fast_switching):
    q, threads, count = quell.PriorityQueue(5), 3, 150
    pause = threading.Event()

    def produce():
        for i in range(count):
            q.put(Key(i, lambda: pause.wait(1e-5)))

    def consume():
        return [q.get().value for _ in range(count)]

    consumers = [start(consume) for _ in range(threads)]
    producers = [start(produce) for _ in range(threads)]
    for producer in producers:
        assert producer.done().error is None
    got = [value for consumer in consumers for value in consumer.done().result]
    assert collections.Counter(got) == collections.Counter([*range(count)] * threads)


def test_a_comparison_that_is_interrupted_has_changed_nothing(start, fast_switching):
    q, turns = quell.PriorityQueue(), 0

    def take_and_put_back(goes_on):
        nonlocal turns
        while goes_on():
            for value in range(8 if q.empty() else 0):
                q.put(Key(value))
            q.put(q.get())
            turns += 1

    disturb(start, take_and_put_back, lambda: turns, Mine, 300)
    # An item that a get had returned was lost with the frame that had it, not in the queue.
    values = [item.value for item in q.queue]
    assert len(set(values)) == len(values)
    assert [q.get().value for _ in values] == sorted(values)
    assert not q.mutex.locked()


def test_who_changes_the_heap_in_a_comparison_is_told():
    q = quell.PriorityQueue()
    for value in range(4):
        q.put(Key(value))
    spoiler = Key(9, lambda: q.queue.append(Key(10)))
    with pytest.raises(RuntimeError, match="changed size"):
        q.put(spoiler)
    assert spoiler not in q.queue
    q.queue[1].then = q.queue.clear
    with pytest.raises(RuntimeError, match="changed size"):
        q.get()
    assert q.empty()


# ---- the conditions


each_class = pytest.mark.parametrize("kind", [getattr(quell, name) for name in KINDS], ids=KINDS)


@each_class
def test_the_conditions_are_of_the_mutex(kind):
    q = kind()
    for name in ("not_empty", "not_full", "all_tasks_done"):
        told = getattr(q, name)
        assert type(told) is quell.Condition and told is getattr(q, name)
        with told:
            assert q.mutex.locked()
        with pytest.raises(AttributeError):
            setattr(q, name, told)


@each_kind
def test_the_conditions_are_whole_before_anybody_has_asked_for_their_class(kind):
    python(f"""
        import quell
        q = quell.{kind}()
        with q.not_empty:
            q.not_empty.notify()
            assert q.not_empty.wait(0) is False
    """)


@each_class
def test_join_with_a_time_limit(kind, start):
    # The recipe that programs use, since join() takes no time-out.
    q = kind()
    for i in range(3):
        q.put(i)

    def join(timeout):
        with q.all_tasks_done:
            return q.all_tasks_done.wait_for(lambda: q.unfinished_tasks == 0, timeout)

    assert join(0.001) is False
    worker = start(lambda: join(30)).blocked()
    for _ in range(3):
        q.get()
        q.task_done()
    assert worker.done().result is True


@each_class
def test_emptying_a_queue_by_hand(kind, start):
    # The other one: everything that waits is thrown away, under the mutex.
    q = kind(2)
    q.put(1)
    q.put(2)
    joiner, putter = start(q.join).blocked(), start(lambda: q.put(3)).blocked()
    with q.mutex:
        q.queue.clear()
        q.unfinished_tasks = 0
        q.not_full.notify_all()
        q.all_tasks_done.notify_all()
    assert putter.done().error is None and q.get() == 3
    q.task_done()
    assert joiner.done().error is None


@each_class
def test_waiting_for_an_item_without_taking_it(kind, start):
    q = kind()

    def wait():
        with q.not_empty:
            while not q.queue:
                q.not_empty.wait()
            return len(q.queue)

    worker = start(wait).blocked()
    q.put("item")
    assert worker.done().result == 1 and q.get() == "item"


@each_class
def test_a_thread_that_gets_and_one_that_looks_are_in_one_line(kind, start):
    q = kind()
    getter = start(q.get)
    assert q.not_empty is not None
    getter.blocked()
    with q.mutex:
        q.queue.append("item")
        q.not_empty.notify()
    assert getter.done().result == "item"


@each_class
def test_an_interrupted_wait_for_a_condition_of_a_queue_passes_nothing_by(kind, start):
    q = kind()

    def look():
        with q.not_empty:
            q.not_empty.wait()

    worker = start(look).blocked()
    getter = start(q.get).blocked()
    quell.interrupt(worker)
    assert isinstance(worker.done().error, quell.Interrupt)
    q.put("item")
    assert getter.done().result == "item" and not q.mutex.locked()
