"""Under a storm of interrupts: none lost, none twice, all in order, no lock leaked.

The counts are for a few seconds; QUELL_STRESS multiplies them.
"""

import collections
import contextlib
import threading
import time

import pytest
import quell
from conftest import PATIENCE, STRESS

pytestmark = [pytest.mark.timeout(100 * STRESS), pytest.mark.usefixtures("fast_switching")]


class Mine(BaseException):
    pass


def noop():
    pass


# Each loop is entered again after every interrupt, with locks of its own; none may be left held.


def acquire_try(a, b):
    x = 0
    while True:
        a.acquire()
        try:
            x += 1
        finally:
            a.release()


def acquire_try_with_calls(a, b):
    x = 0
    while True:
        noop()
        a.acquire()
        try:
            noop()
            x += abs(1)
        finally:
            noop()
            a.release()
            noop()


def with_lock(a, b):
    x = 0
    while True:
        with a:
            x += 1


def with_lock_and_calls(a, b):
    while True:
        noop()
        with a:
            noop()
        noop()


def nested_with(a, b):
    while True:
        with a:
            noop()
            with b:
                noop()
            noop()


def nested_acquire(a, b):
    while True:
        a.acquire()
        b.acquire()  # not protected by a try of its own
        try:
            noop()
        finally:
            b.release()
            a.release()


def released_in_the_other_order(a, b):
    while True:
        a.acquire()
        b.acquire()
        try:
            noop()
        finally:
            a.release()
            b.release()


def body_raises(a, b):
    while True:
        try:
            with a:
                noop()
                raise ValueError
        except ValueError:
            noop()


def take(a):
    a.acquire()


def give(a):
    a.release()


def held_across_functions(a, b):
    while True:
        take(a)
        try:
            noop()
        finally:
            give(a)


def wait_and_notify(a, b):
    while True:
        with a:
            a.notify_all()
            a.wait(0.00005)


def pass_barrier(a, b):
    while True:
        a.wait()


LOOPS = [
    acquire_try,
    acquire_try_with_calls,
    with_lock,
    with_lock_and_calls,
    nested_with,
    nested_acquire,
    released_in_the_other_order,
    body_raises,
    held_across_functions,
]


#: Loops that a semaphore's acquire, which makes no hold, is safe in: by `with`, or by where the gate raises.
PERMITS = [
    acquire_try,
    acquire_try_with_calls,
    with_lock,
    with_lock_and_calls,
    nested_with,
    body_raises,
]


def is_free(lock):
    if isinstance(lock, quell.Barrier):
        return lock.n_waiting == 0 and not lock.broken
    return lock._value == 1 if isinstance(lock, quell.Semaphore) else "unlocked" in repr(lock)


def foreign():
    return quell.Condition(threading.Lock())


def barrier():
    return quell.Barrier(1)


@pytest.mark.parametrize(
    ("make", "loop"),
    [
        *((make, loop) for make in (quell.Lock, quell.RLock, quell.Condition) for loop in LOOPS),
        *((make, loop) for make in (quell.Semaphore, quell.BoundedSemaphore) for loop in PERMITS),
        (foreign, with_lock),
        (foreign, with_lock_and_calls),
        (quell.Condition, wait_and_notify),
        (barrier, pass_barrier),
    ],
    ids=lambda value: value.__name__,
)
def test_no_lock_leaks_and_every_interrupt_is_raised_once_and_in_order(loop, make, start):
    count = 500 * STRESS
    got, leaks, other = [], [], collections.Counter()
    armed = [-1]  # until the mask has been entered

    def victim():
        mask = quell.mask()
        mask.__enter__()
        while len(got) < count:
            a, b = make(), make()
            try:
                armed[0] = len(got) + 1
                # Out of the mask: here, or somewhere in the loop, the interrupt is raised.
                mask.__exit__(None, None, None)
                loop(a, b)
            except Mine as error:
                mask.__enter__()
                got.append(error.args[0])
            except BaseException as error:
                mask.__enter__()
                other[repr(error)] += 1
            if not (is_free(a) and is_free(b)):
                leaks.append(len(got))
        quell.shield().__enter__()

    worker = start(victim)
    receipts = []
    end = time.monotonic() + PATIENCE * 10 * STRESS
    while len(receipts) < count:
        # The next one is sent when the loop has been entered again, or a few ahead.
        if armed[0] + (len(receipts) % 7 == 0) > len(receipts):
            receipts.append(quell.interrupt(worker, Mine(len(receipts))))
        else:
            time.sleep(0)
            assert time.monotonic() < end and worker.is_alive(), (len(got), len(receipts))
    worker.done()
    assert not leaks and not other
    assert got == list(range(count))
    assert all(receipt.state == "delivered" for receipt in receipts)


def test_a_burst_of_100_000_arrives_whole_and_in_order(start):
    count = 100_000 * STRESS
    got, masked = [], threading.Event()

    def victim():
        event = quell.Event()
        with quell.mask():
            masked.set()
            while len(got) < count:
                try:
                    event.wait()
                except Mine as error:
                    got.append(error.args[0])

    worker = start(victim)
    assert masked.wait(PATIENCE)
    receipts = [quell.interrupt(worker, Mine(i)) for i in range(count)]
    worker.done()
    assert worker.error is None
    assert got == list(range(count))
    assert {receipt.state for receipt in receipts} == {"delivered"}


def test_withdrawals_race_deliveries(start):
    rounds = 5000 * STRESS
    got, masked, stop = [], threading.Event(), threading.Event()

    def victim():
        event = quell.Event()
        with quell.mask():
            masked.set()
            while not stop.is_set():
                try:
                    event.wait(0.001)
                except Mine as error:
                    got.append(error.args[0])
            quell.shield().__enter__()

    worker = start(victim)
    assert masked.wait(PATIENCE)
    withdrawn = []
    receipts = []
    for i in range(rounds):
        receipt = quell.interrupt(worker, Mine(i))
        receipts.append(receipt)
        if receipt.withdraw():
            withdrawn.append(i)
    while any(receipt.state == "pending" for receipt in receipts):
        time.sleep(0.001)
    stop.set()
    worker.done()
    assert sorted(got + withdrawn) == list(range(rounds))
    assert got == sorted(got)


class OfItsOwn(quell.Queue):
    """Keeps its items itself."""

    def _put(self, item):
        noop()
        super()._put(item)

    def _get(self):
        noop()
        return super()._get()


def opened(maxsize):
    q = quell.Queue(maxsize)
    assert not q.queue
    return q


QUEUES = {
    "Queue": quell.Queue,
    "LifoQueue": quell.LifoQueue,
    "PriorityQueue": quell.PriorityQueue,
    "SimpleQueue": lambda maxsize: quell.SimpleQueue(),
    "opened Queue": opened,
    "Queue of its own": OfItsOwn,
}

each_queue = pytest.mark.parametrize("make", QUEUES.values(), ids=QUEUES)


@each_queue
def test_no_item_is_lost_or_doubled_in_a_queue(make, start):
    # Interrupts fly at both ends; what was put and not got is still there.
    count = 10_000 * STRESS
    q, done, masked = make(8), threading.Event(), threading.Barrier(3)
    put, got = [], []

    def producer():
        with quell.mask():
            masked.wait(PATIENCE)
            for i in range(count):
                while True:
                    try:
                        q.put(i)
                        put.append(i)
                        break
                    except Mine:
                        pass
            quell.shield().__enter__()

    def consumer():
        with quell.mask():
            masked.wait(PATIENCE)
            while len(got) < count:
                with contextlib.suppress(Mine):
                    got.append(q.get())
            done.set()
            quell.shield().__enter__()

    workers = [start(producer), start(consumer)]
    masked.wait(PATIENCE)
    sent = 0
    while not done.is_set():
        for worker in workers:
            with contextlib.suppress(LookupError):
                quell.interrupt(worker, Mine)
                sent += 1
        time.sleep(0)
        assert all(worker.error is None for worker in workers)
    for worker in workers:
        assert worker.done().error is None
    assert put == list(range(count)) and q.empty() and sent
    in_order = make not in (quell.LifoQueue, quell.PriorityQueue)
    assert (got if in_order else sorted(got)) == put


@each_queue
def test_a_blocked_get_is_interrupted_again_and_again(make, start):
    count = 20_000 * STRESS
    q, got, masked = make(0), [], threading.Event()

    def victim():
        with quell.mask():
            masked.set()
            while len(got) < count:
                try:
                    q.get()
                except Mine as error:
                    got.append(error.args[0])

    worker = start(victim)
    assert masked.wait(PATIENCE)
    receipts = [quell.interrupt(worker, Mine(i)) for i in range(count)]
    assert worker.done().error is None
    assert got == list(range(count))
    assert {receipt.state for receipt in receipts} == {"delivered"}
    q.put("here")
    assert q.get() == "here" and q.empty()


def test_queue_operations_in_running_code_lose_nothing(start):
    # No mask: an interrupt may come anywhere in the loop, but not between the get and the append.
    count = 1000 * STRESS
    q, got = quell.Queue(), []
    raised = [0]
    stop, inside = threading.Event(), threading.Event()

    def victim():
        while not stop.is_set():
            try:
                while True:
                    got.append(q.get())
            except Mine:
                raised[0] += 1
        quell.shield().__enter__()

    def guarded():
        while True:
            try:
                inside.set()
                return victim()
            except Mine:
                raised[0] += 1

    worker = start(guarded)
    assert inside.wait(PATIENCE)
    for i in range(count):
        q.put(2 * i)
        receipt = quell.interrupt(worker, Mine)
        q.put(2 * i + 1)
        assert receipt.wait(PATIENCE)
    stop.set()
    quell.interrupt(worker, Mine)
    worker.done()
    rest = []
    while not q.empty():
        rest.append(q.get())
    assert got + rest == list(range(2 * count))
