"""The `…_async` methods: tasks of asyncio and of trio, with threads at the other end."""

import asyncio
import gc
import threading

import pytest
import quell
from conftest import PATIENCE, STRESS

trio = pytest.importorskip("trio")
pytest.importorskip("trio.testing")


class Asyncio:
    """What the tests use of an event loop."""

    name = "asyncio"

    @staticmethod
    def run(main):
        async def limited():
            return await asyncio.wait_for(main(), PATIENCE)

        return asyncio.run(limited())

    @staticmethod
    async def gather(*functions):
        return await asyncio.gather(*(function() for function in functions))

    @staticmethod
    async def cancelled(function, when):
        """Starts the function, waits for `when` to be true, cancels it; whether it was cancelled."""
        task = asyncio.ensure_future(function())
        while not when():
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return True
        return False

    @staticmethod
    async def told_and_cancelled(function, tell):
        """Starts the function, calls `tell` until it is true, cancels it in the same step; whether it was cancelled."""
        task = asyncio.ensure_future(function())
        while not tell():
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return True
        return False

    sleep = staticmethod(asyncio.sleep)


class Trio:
    name = "trio"

    @staticmethod
    def run(main):
        async def limited():
            with trio.fail_after(PATIENCE):
                return await main()

        return trio.run(limited)

    @staticmethod
    async def gather(*functions):
        results = [None] * len(functions)

        async def keep(i, function):
            results[i] = await function()

        async with trio.open_nursery() as nursery:
            for i, function in enumerate(functions):
                nursery.start_soon(keep, i, function)
        return results

    @staticmethod
    async def cancelled(function, when):
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:

                async def cancel():
                    while not when():
                        await trio.sleep(0)
                    await trio.testing.wait_all_tasks_blocked()
                    scope.cancel()

                nursery.start_soon(cancel)
                await function()
        return scope.cancelled_caught

    @staticmethod
    async def told_and_cancelled(function, tell):
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:

                async def cancel():
                    while not tell():
                        await trio.sleep(0)
                    scope.cancel()

                nursery.start_soon(cancel)
                await function()
        return scope.cancelled_caught

    @staticmethod
    async def sleep(seconds):
        await trio.sleep(seconds)


each_loop = pytest.mark.parametrize("loop", [Asyncio, Trio], ids=["asyncio", "trio"])


def opened(maxsize=0):
    q = quell.Queue(maxsize)
    assert not q.queue
    return q


QUEUES = {
    "Queue": quell.Queue,
    "LifoQueue": quell.LifoQueue,
    "PriorityQueue": quell.PriorityQueue,
    "opened Queue": opened,
    "SimpleQueue": lambda maxsize=0: quell.SimpleQueue(),
}

each_queue = pytest.mark.parametrize("make", QUEUES.values(), ids=QUEUES)
each_bounded_queue = pytest.mark.parametrize(
    "make", list(QUEUES.values())[:4], ids=list(QUEUES)[:4]
)


@each_loop
def test_what_needs_no_wait_is_done_at_once(loop):
    async def main():
        lock, event, q = quell.Lock(), quell.Event(), quell.Queue(1)
        assert await lock.acquire_async() is True and lock.locked()
        lock.release()
        event.set()
        assert await event.wait_async() is True
        assert await q.put_async("item") is None
        assert await q.get_async() == "item"
        q.task_done()
        assert await q.join_async() is None

    loop.run(main)


@each_loop
@each_queue
def test_a_thread_puts_and_a_task_gets(loop, make, start):
    q, count = make(), 300

    async def main():
        return [await q.get_async() for _ in range(count)]

    worker = start(lambda: [q.put(i) for i in range(count)])
    assert sorted(loop.run(main)) == list(range(count))
    assert worker.done().error is None


@each_loop
@each_bounded_queue
def test_a_task_puts_and_a_thread_gets(loop, make, start):
    q, count = make(2), 300

    async def main():
        for i in range(count):
            await q.put_async(i)
        await q.join_async()

    def work():
        got = []
        for _ in range(count):
            got.append(q.get())
            q.task_done()
        return got

    worker = start(work)
    loop.run(main)
    assert sorted(worker.done().result) == list(range(count))


@each_loop
@each_bounded_queue
def test_tasks_at_both_ends(loop, make):
    q, count = make(2), 200

    async def put():
        for i in range(count):
            await q.put_async(i)

    async def get():
        return [await q.get_async() for _ in range(count)]

    async def main():
        return await loop.gather(put, get, get, put)

    _, first, second, _ = loop.run(main)
    assert sorted(first + second) == sorted([*range(count)] * 2)
    assert q.empty()


@each_loop
@each_queue
def test_a_cancelled_get_has_taken_nothing(loop, make):
    async def main():
        q = make()
        assert await loop.cancelled(q.get_async, lambda: True)
        q.put("item")
        assert await q.get_async() == "item" and q.empty()

    loop.run(main)


@each_loop
@each_bounded_queue
def test_a_cancelled_put_has_put_nothing(loop, make):
    async def main():
        q = make(1)
        q.put(1)
        assert await loop.cancelled(lambda: q.put_async(2), lambda: True)
        assert q.get() == 1 and q.empty()

    loop.run(main)


@each_queue
def test_an_item_that_came_with_the_cancellation_stays_in_the_queue(make):
    async def main():
        q = make()
        first = asyncio.ensure_future(q.get_async())
        second = asyncio.ensure_future(q.get_async())
        await asyncio.sleep(0)
        # Handed to the first, which never sees it.
        q.put("item")
        first.cancel()
        assert await second == "item" and first.cancelled()
        third = asyncio.ensure_future(q.get_async())
        await asyncio.sleep(0)
        q.put("other")
        third.cancel()
        await asyncio.wait([third])
        assert third.cancelled() and q.get(block=False) == "other"

    asyncio.run(main())


@each_loop
def test_cancellations_under_traffic_lose_nothing(loop, start):
    # Tasks get and are cancelled, threads put: what comes out is what went in, once each.
    count = 2000 * STRESS
    q, got = quell.Queue(), []
    worker = start(lambda: [q.put(i) for i in range(count)])

    async def get():
        while True:
            got.append(await q.get_async())

    async def main():
        while len(got) < count:
            before = len(got)
            await loop.cancelled(get, lambda n=before: len(got) > n)

    loop.run(main)
    assert worker.done().error is None
    assert sorted(got) == list(range(count)) and q.empty()


@each_loop
def test_a_lock_between_a_task_and_a_thread(loop, start):
    lock, rounds, inside = quell.Lock(), 300, []

    def work():
        for _ in range(rounds):
            with lock:
                inside.append(threading.get_ident())
                assert len(inside) == 1
                inside.pop()

    async def task():
        for _ in range(rounds):
            async with lock:
                inside.append("task")
                await loop.sleep(0)
                assert len(inside) == 1
                inside.pop()

    async def main():
        await loop.gather(task, task)

    worker = start(work)
    loop.run(main)
    assert worker.done().error is None and not lock.locked()


@each_loop
def test_a_cancelled_acquire_has_not_got_the_lock(loop):
    async def main():
        lock = quell.Lock()
        lock.acquire()
        assert await loop.cancelled(lock.acquire_async, lambda: True)
        lock.release()
        assert lock.acquire(blocking=False)

    loop.run(main)


def test_a_lock_that_was_handed_over_with_the_cancellation_is_free():
    async def main():
        lock = quell.Lock()
        lock.acquire()
        task = asyncio.ensure_future(lock.acquire_async())
        await asyncio.sleep(0)
        lock.release()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() and not lock.locked()

    asyncio.run(main())


@each_loop
def test_an_event_wakes_tasks_and_threads(loop, start):
    event = quell.Event()
    waiter = start(event.wait).blocked()

    async def main():
        async def setter():
            await loop.sleep(0)
            event.set()

        return await loop.gather(event.wait_async, event.wait_async, setter)

    assert loop.run(main) == [True, True, None]
    assert waiter.done().result is True


@each_loop
@each_bounded_queue
def test_shutdown_wakes_tasks(loop, make):
    async def main():
        q = make(1)

        async def refused(operation):
            with pytest.raises(quell.ShutDown):
                await operation()

        async def shut():
            await loop.sleep(0)
            q.shutdown()

        await loop.gather(lambda: refused(q.get_async), lambda: refused(q.get_async), shut)
        with pytest.raises(quell.ShutDown):
            await q.put_async(1)

    loop.run(main)


@each_loop
def test_a_queue_that_is_opened_while_tasks_wait(loop):
    async def main():
        q = quell.Queue(1)

        async def open_it():
            await loop.sleep(0)
            assert not q.queue
            await q.put_async("item")

        got, _ = await loop.gather(q.get_async, open_it)
        assert got == "item"

    loop.run(main)


@each_loop
def test_interrupts_stay_out(loop, start):
    # A task is not a thread: its waits are no interruption points, and the interrupt comes afterwards.
    q, raised = quell.Queue(), []

    def work():
        with quell.shield():
            loop.run(lambda: q.get_async())
        raised.append(False)

    def guarded():
        try:
            work()
        except quell.Interrupt:
            raised.append(True)

    worker = start(guarded).blocked()
    quell.interrupt(worker)
    q.put("item")
    worker.done()
    assert raised == [True] and q.empty()


def test_anyio():
    anyio = pytest.importorskip("anyio")
    for backend in ("asyncio", "trio"):
        q = quell.Queue(1)

        async def main(q=q):
            async with anyio.create_task_group() as group:
                group.start_soon(q.put_async, 1)
                group.start_soon(q.put_async, 2)
                return {await q.get_async(), await q.get_async()}

        assert anyio.run(main, backend=backend) == {1, 2}


def test_outside_of_tasks():
    q = quell.Queue()
    operation = q.get_async()
    with pytest.raises(RuntimeError, match="in no task"):
        operation.send(None)
    with pytest.raises(RuntimeError, match="has been awaited already"):
        operation.send(None)
    q.put(1)
    assert q.get() == 1


def test_an_operation_is_a_coroutine():
    q = quell.Queue()
    operation = q.put_async(1)
    assert asyncio.iscoroutine(operation) and "not awaited yet" in repr(operation)
    operation.close()
    with pytest.raises(RuntimeError, match="has been awaited already"):
        operation.send(None)
    operation = q.put_async(2)
    with pytest.raises(KeyError):
        operation.throw(KeyError("x"))
    assert q.empty()


def test_one_that_is_never_awaited_is_told():
    q = quell.Queue()
    with pytest.warns(RuntimeWarning, match=r"put_async\(\) was never awaited"):
        q.put_async(1)
        gc.collect()
    assert q.empty()


def test_results_of_every_kind():
    async def main():
        q = quell.Queue()
        for item in (None, (), (1, 2), ValueError("x"), StopIteration(3)):
            q.put(item)
            assert await q.get_async() is item

    asyncio.run(main())
