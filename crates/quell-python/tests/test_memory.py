"""Nothing is left behind: each operation many times, and as much memory in use as before.

Counted are the blocks of Python's allocator, and the bytes of the C library's, which Rust's are: exact, so that few rounds show a leak.
With QUELL_STRESS=200 it is a million of each operation and a hundred thousand interrupts. On a debug build of the interpreter all
references are counted too.
"""

import asyncio
import contextlib
import ctypes
import functools
import gc
import queue
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import quell
import quell.threading
from conftest import PATIENCE, STRESS, Worker

pytestmark = [pytest.mark.timeout(100 * STRESS), pytest.mark.usefixtures("fast_switching")]

#: How often what takes less than a microsecond is done, and what takes a thousand times as long.
OFTEN = 5000 * STRESS
SELDOM = 500 * STRESS

OPERATIONS: dict[str, tuple[Callable[[int], object], int]] = {}


class Stop(BaseException):
    """What these tests interrupt with."""


class Information(ctypes.Structure):
    """What `mallinfo2()` returns."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


try:
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = Information
except AttributeError:
    pytest.skip("needs the C library's mallinfo2()", allow_module_level=True)


def in_use() -> tuple[int, int, int]:
    """Blocks, bytes and references."""
    for _ in range(3):
        gc.collect()
    told = mallinfo()
    references = getattr(sys, "gettotalrefcount", lambda: 0)()
    return sys.getallocatedblocks(), told.uordblks + told.hblkhd, references


def often(function: Callable[[int], object]) -> Callable[[int], object]:
    OPERATIONS[function.__name__] = function, OFTEN
    return function


def seldom(function: Callable[[int], object]) -> Callable[[int], object]:
    OPERATIONS[function.__name__] = function, SELDOM
    return function


# ---- locks and the like


def each(call: Callable[[], object], count: int) -> None:
    for _ in range(count):
        call()


def lock_operations(lock: Any, count: int) -> None:
    for _ in range(count):
        with lock:
            lock.acquire(blocking=False) and lock.release()
        lock.acquire()
        lock.release()
        lock.acquire(timeout=1)
        lock.release()
        repr(lock)


@often
def locks(count):
    lock_operations(quell.Lock(), count)


@often
def recursive_locks(count):
    lock_operations(quell.RLock(), count)


@often
def semaphores(count):
    lock_operations(quell.Semaphore(1), count)
    lock_operations(quell.BoundedSemaphore(1), count)


@often
def conditions(count):
    for condition in (
        quell.Condition(),
        quell.Condition(quell.Lock()),
        quell.Condition(threading.Lock()),
    ):
        for _ in range(count):
            with condition:
                condition.notify()
                condition.notify_all()
                condition.wait(0)
                condition.wait_for(lambda: True)


@often
def events(count):
    event = quell.Event()
    for _ in range(count):
        event.wait(0)
        event.set()
        event.wait()
        event.clear()


@often
def barriers(count):
    barrier = quell.Barrier(1, lambda: None)
    for _ in range(count):
        barrier.wait()
        barrier.reset()


def queue_operations(q: Any, count: int) -> None:
    for number in range(count):
        q.put(number)
        q.put_nowait(float(number))
        q.get()
        q.get(timeout=1)
        with contextlib.suppress(queue.Empty):
            q.get_nowait()
        q.qsize(), q.empty()
        if hasattr(q, "join"):
            q.task_done()
            q.task_done()
            q.join()


class OfItsOwn(quell.Queue):
    def _put(self, item):
        super()._put(item)

    def _get(self):
        return super()._get()


for kind in quell.Queue, quell.LifoQueue, quell.PriorityQueue, quell.SimpleQueue, OfItsOwn:
    OPERATIONS[kind.__name__] = (
        functools.partial(lambda kind, count: queue_operations(kind(), count), kind),
        OFTEN,
    )


@often
def full_queues(count):
    q = quell.Queue(1)
    q.put(0)
    for number in range(count):
        with contextlib.suppress(queue.Full):
            q.put(float(number), block=False)


KINDS = [
    *(
        quell.Lock,
        quell.RLock,
        quell.Condition,
        quell.Semaphore,
        quell.BoundedSemaphore,
        quell.Event,
    ),
    *(quell.Queue, quell.LifoQueue, quell.PriorityQueue, quell.SimpleQueue, OfItsOwn),
    functools.partial(quell.Barrier, 2),
    functools.partial(quell.timeout, 5),
    quell.mask,
]


@often
def objects(count):
    for kind in KINDS:
        each(kind, count // 4)


@often
def objects_in_circles(count):
    class Event(quell.Event):
        pass

    for kind in Event, OfItsOwn:
        for _ in range(count // 10):
            some = kind()
            some.myself = weakref.ref(some), some
    items = [quell.Queue() for _ in range(count // 10)]
    for q in items:
        q.put(q)


# ---- scopes


@often
def scopes(count):
    for _ in range(count):
        with quell.timeout(5), quell.mask(), quell.shield():
            quell.checkpoint()
        with quell.timeout(None) as scope:
            scope.reschedule(None)


@often
def scopes_around_functions(count):
    each(quell.timeout(5)(lambda: None), count)


@seldom
def timeouts_in_waits(count):
    event = quell.Event()
    for _ in range(count):
        with contextlib.suppress(quell.Timeout), quell.timeout(0.00001):
            event.wait()


@seldom
def timeouts_in_running_code(count):
    for _ in range(count):
        with contextlib.suppress(quell.Timeout), quell.timeout(0.00001):
            while True:
                pass


@seldom
def waits_in_vain(count):
    lock, event, condition, q = quell.Lock(), quell.Event(), quell.Condition(), quell.Queue()
    lock.acquire()
    for _ in range(count):
        lock.acquire(timeout=0.00001)
        event.wait(0.00001)
        with condition:
            condition.wait(0.00001)
        with contextlib.suppress(queue.Empty):
            q.get(timeout=0.00001)


# ---- interrupts


@often
def receipts(count):
    me = threading.current_thread()
    with quell.shield():
        for number in range(count):
            receipt = quell.interrupt(me, Stop(number))
            assert receipt.state == "pending"
            assert receipt.withdraw()


@often
def counted_interrupts(count):
    with quell.shield():
        for _ in range(count):
            quell.set_async_exc(threading.get_ident(), Stop)
            quell.set_async_exc(threading.get_ident(), None)


@contextlib.contextmanager
def interrupted(body: Callable[[Any], object]) -> Iterator[Callable[[], None]]:
    """A thread that runs this again and again; what is yielded interrupts it once."""
    ready = quell.Semaphore(0)

    def work():
        while True:
            try:
                body(ready)
            except Stop as stop:
                if stop.args:
                    return

    def interrupt(*last):
        ready.acquire()
        assert quell.interrupt(worker, Stop(*last)).wait(PATIENCE)

    worker = Worker(work)
    worker.start()
    try:
        yield interrupt
    finally:
        interrupt("last")
        worker.done()
    assert worker.error is None


@seldom
def interrupts_of_running_code(count):
    def body(ready):
        ready.release()
        while True:
            pass

    with interrupted(body) as interrupt:
        each(interrupt, count)


@seldom
def interrupts_of_waits(count):
    q = quell.Queue()

    def body(ready):
        ready.release()
        q.get()

    with interrupted(body) as interrupt:
        each(interrupt, count)


@seldom
def interrupts_of_who_holds_locks(count):
    condition = quell.Condition()

    def body(ready):
        with quell.Lock(), condition:
            ready.release()
            condition.wait()

    with interrupted(body) as interrupt:
        each(interrupt, count)


# ---- threads and tasks


@seldom
def threads(count):
    for _ in range(count):
        thread = quell.threading.Thread(target=quell.checkpoint)
        thread.start()
        thread.join()


@seldom
def tasks_of_an_executor(count):
    with quell.ThreadPoolExecutor(1) as executor:
        for _ in range(count):
            executor.submit(int).result()


@seldom
def awaited_operations(count):
    async def main():
        lock, event, q = quell.Lock(), quell.Event(), quell.Queue(1)
        for number in range(count):
            async with lock:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0):
                        await lock.acquire_async()
            task = asyncio.ensure_future(q.get_async())
            await q.put_async(number)
            assert await task == number
            event.set()
            await event.wait_async()

    asyncio.run(main())


@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_is_left_behind(name: str) -> None:
    function, count = OPERATIONS[name]
    # Caches and pools are filled.
    function(count // 4 + 20)
    grown = (0, 0, 0)
    # A leak is there each time; what a table has grown by is not, nor what is given back some thousand rounds later.
    for _ in range(20):
        before = in_use()
        function(count)
        grown = tuple(after - earlier for after, earlier in zip(in_use(), before, strict=True))
        if max(grown[0] * 10, grown[1] // 8, grown[2] * 10) < count:
            return
    pytest.fail(f"after {count} rounds {grown} blocks, bytes and references more")


def test_nothing_keeps_what_a_wait_has_raised(start):
    # Neither the exception nor what its frames hold, whether somebody attaches to the interpreter meanwhile or not.
    class Held:
        pass

    def body():
        held = Held()
        seen.append(weakref.ref(held))
        quell.Queue().get()

    seen = []
    worker = start(body).blocked()
    quell.interrupt(worker)
    error = worker.done().error
    assert isinstance(error, quell.Interrupt)
    worker.error = error = None
    assert seen[0]() is None
