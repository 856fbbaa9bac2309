"""The `…_async` methods of conditions, semaphores and barriers: tasks of asyncio and of trio, with threads beside them."""

import asyncio
import threading

import pytest
import quell
from conftest import STRESS
from test_async import each_loop, trio


def condition():
    return quell.Condition(quell.Lock())


# ---- semaphores

each_semaphore = pytest.mark.parametrize("make", [quell.Semaphore, quell.BoundedSemaphore])


@each_loop
@each_semaphore
def test_so_many_tasks_and_threads_at_once(loop, make, start):
    semaphore, inside, rounds = make(2), [], 200

    def work():
        for _ in range(rounds):
            with semaphore:
                inside.append(1)
                assert len(inside) <= 2
                inside.pop()

    async def task():
        for _ in range(rounds):
            async with semaphore:
                inside.append(1)
                await loop.sleep(0)
                assert len(inside) <= 2
                inside.pop()

    async def main():
        await loop.gather(task, task, task)

    worker = start(work)
    loop.run(main)
    assert worker.done().error is None and semaphore._value == 2


@each_loop
@each_semaphore
def test_a_cancelled_acquire_has_taken_no_permit(loop, make):
    async def main():
        semaphore = make(1)
        assert await semaphore.acquire_async() is True
        assert await loop.cancelled(semaphore.acquire_async, lambda: True)
        semaphore.release()
        assert semaphore._value == 1

    loop.run(main)


def test_a_permit_that_came_with_the_cancellation_is_there():
    async def main():
        semaphore = quell.Semaphore(0)
        task = asyncio.ensure_future(semaphore.acquire_async())
        await asyncio.sleep(0)
        semaphore.release()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() and semaphore._value == 1

    asyncio.run(main())


@each_loop
def test_a_bounded_semaphore_that_was_given_back_twice(loop):
    async def main():
        semaphore = quell.BoundedSemaphore(1)
        with pytest.raises(ValueError, match="released too many times"):
            async with semaphore:
                semaphore.release()
        assert semaphore._value == 1

    loop.run(main)


@each_loop
def test_a_permit_of_a_task_is_no_hold_of_its_thread(loop, start):
    # `async with` in one task, `with` in the thread of the loop: each gives its own permit back.
    semaphore = quell.Semaphore(2)

    async def main():
        async with semaphore:
            with semaphore:
                assert semaphore._value == 0
            assert semaphore._value == 1
        assert semaphore._value == 2

    loop.run(main)


# ---- conditions


@each_loop
def test_a_task_waits_for_a_thread_and_a_thread_for_a_task(loop, start):
    changed, turns, rounds = condition(), [], 100

    def work():
        with changed:
            for i in range(rounds):
                changed.wait_for(lambda n=2 * i + 1: len(turns) == n)
                turns.append("thread")
                changed.notify_all()

    async def main():
        async with changed:
            for i in range(rounds):
                assert await changed.wait_for_async(lambda n=2 * i: len(turns) == n) is True
                turns.append("task")
                changed.notify_all()

    worker = start(work)
    loop.run(main)
    assert worker.done().error is None and turns == ["task", "thread"] * rounds


@each_loop
def test_a_wait_has_the_lock_when_it_ends(loop):
    async def main():
        changed = condition()

        async def wait():
            async with changed:
                assert await changed.wait_async() is True
                assert changed._is_owned()

        async def notify():
            await loop.sleep(0)
            async with changed:
                changed.notify()

        await loop.gather(wait, notify)
        assert not changed._is_owned()

    loop.run(main)


@each_loop
def test_a_cancelled_wait_has_the_lock_again_before_it_ends(loop):
    # The lock is another task's when the cancellation comes: the wait goes on until it is free.
    async def main():
        changed, order = condition(), []

        async def wait():
            async with changed:
                try:
                    await changed.wait_async()
                finally:
                    order.append(("waited", len(order)))
                    assert changed._is_owned()

        async def other():
            while not waiting():
                await loop.sleep(0)
            async with changed:
                order.append("other has it")
                for _ in range(20):
                    await loop.sleep(0)
                order.append("other gives it")

        def waiting():
            return "1)>" in repr(changed)

        async def waiter():
            assert await loop.cancelled(wait, lambda: order)

        await loop.gather(waiter, other)
        assert order[0] == "other has it" and not changed._is_owned()
        # A wait that gave up its lock for good would have come first, and left a lock to be released that is another's.
        assert order.index("other gives it") < order.index(("waited", 2))

    loop.run(main)


@each_loop
def test_a_notification_that_meets_a_cancellation_goes_to_the_next(loop):
    async def main():
        changed, got = condition(), []

        async def wait(name):
            async with changed:
                await changed.wait_async()
                got.append(name)

        def notify():
            with changed:
                changed.notify()

        def tell():
            if "2)>" not in repr(changed) or changed._is_owned():
                return False
            notify()
            return True

        async def notified_and_cancelled():
            cancelled = await loop.told_and_cancelled(lambda: wait("first"), tell)
            if not cancelled:
                notify()
            return cancelled

        async def second():
            while "1)>" not in repr(changed):
                await loop.sleep(0)
            await wait("second")

        cancelled, _ = await loop.gather(notified_and_cancelled, second)
        # Whichever was faster, the one notification has reached one of them.
        assert got == (["second"] if cancelled else ["first", "second"])

    for _ in range(20):
        loop.run(main)


@each_loop
def test_cancellations_of_waits_under_traffic_lose_no_notification(loop, start):
    # Tokens are made by a thread, one notification each; tasks take them and are cancelled all the time.
    changed, tokens, taken, count = condition(), [], [], 1000 * STRESS

    def produce():
        for i in range(count):
            with changed:
                tokens.append(i)
                changed.notify()

    async def consume():
        async with changed:
            while True:
                while not tokens:
                    await changed.wait_async()
                taken.append(tokens.pop())

    async def main():
        async def steady():
            async with changed:
                while len(taken) < count:
                    while not tokens and len(taken) < count:
                        await changed.wait_async()
                    if tokens:
                        taken.append(tokens.pop())

        async def cancelled_often():
            while len(taken) < count:
                before = len(taken)
                # Not only when there was something: the waits are what is cancelled.
                looks = iter(range(5))
                await loop.cancelled(
                    consume, lambda n=before, i=looks: len(taken) > n or next(i, None) is None
                )
            async with changed:
                changed.notify_all()

        await loop.gather(steady, cancelled_often)

    worker = start(produce)
    loop.run(main)
    assert worker.done().error is None
    assert sorted(taken) == list(range(count)) and not changed._is_owned()


@each_loop
def test_only_a_condition_of_a_lock_is_for_tasks(loop):
    async def main():
        for changed in (quell.Condition(), quell.Condition(threading.Lock())):
            with pytest.raises(TypeError, match=r"Condition of a quell\.Lock"):
                async with changed:
                    pass
            with changed, pytest.raises(TypeError, match=r"Condition of a quell\.Lock"):
                await changed.wait_async()
        changed = condition()
        with pytest.raises(RuntimeError, match="cannot wait on un-acquired lock"):
            await changed.wait_async()
        with pytest.raises(RuntimeError, match="cannot wait on un-acquired lock"):
            await changed.wait_for_async(lambda: False)
        assert await changed.wait_for_async(lambda: "value") == "value"

    loop.run(main)


def test_a_wait_that_is_closed_releases_nobody_elses_lock():
    changed = condition()

    async def wait():
        async with changed:
            await changed.wait_async()

    async def main():
        coroutine = wait()
        coroutine.send(None)
        assert not changed._is_owned()
        changed.acquire()
        coroutine.close()
        assert changed._is_owned()
        changed.release()
        coroutine = wait()
        coroutine.send(None)
        coroutine.close()
        assert not changed._is_owned()

    asyncio.run(main())


# ---- barriers


@each_loop
def test_tasks_and_threads_meet(loop, start):
    acted, rounds = [], 50
    barrier = quell.Barrier(4, lambda: acted.append(1))

    def work():
        return [barrier.wait() for _ in range(rounds)]

    async def task():
        return [await barrier.wait_async() for _ in range(rounds)]

    async def main():
        return await loop.gather(task, task)

    workers = [start(work), start(work)]
    results = loop.run(main) + [worker.done().result for worker in workers]
    for indices in zip(*results, strict=True):
        assert sorted(indices) == [0, 1, 2, 3]
    assert len(acted) == rounds and barrier.n_waiting == 0


@each_loop
def test_a_cancelled_party_breaks_the_barrier(loop, start):
    barrier = quell.Barrier(3)

    async def main():
        worker = start(barrier.wait).blocked()
        assert await loop.cancelled(barrier.wait_async, lambda: barrier.n_waiting == 2)
        assert isinstance(worker.done().error, threading.BrokenBarrierError) and barrier.broken
        with pytest.raises(threading.BrokenBarrierError):
            await barrier.wait_async()
        barrier.reset()
        assert barrier.n_waiting == 0

    loop.run(main)


@each_loop
def test_a_task_waits_for_the_action_of_a_thread(loop, start):
    acting, go = threading.Event(), threading.Event()

    def action():
        acting.set()
        go.wait()

    barrier = quell.Barrier(2, action)

    async def main():
        async def first():
            assert await barrier.wait_async() == 0

        async def late():
            # Comes while the action runs: waits at the gate, and is in the next round.
            while barrier.n_waiting != 1:
                await loop.sleep(0)
            start(barrier.wait)
            while not acting.is_set():
                await loop.sleep(0)

            async def release():
                await loop.sleep(0)
                go.set()

            async def next_round():
                assert await barrier.wait_async() == 0

            async def other():
                while barrier.n_waiting != 1 or not go.is_set():
                    await loop.sleep(0)
                assert await barrier.wait_async() == 1

            await loop.gather(next_round, release, other)

        await loop.gather(first, late)
        assert not barrier.broken

    loop.run(main)


def test_a_party_that_is_cancelled_when_all_have_come_is_through():
    async def main():
        barrier = quell.Barrier(2)
        task = asyncio.ensure_future(barrier.wait_async())
        await asyncio.sleep(0)
        assert await barrier.wait_async() == 1
        task.cancel()
        await asyncio.wait([task])
        assert not barrier.broken and barrier.n_waiting == 0

    asyncio.run(main())


def test_rlock_has_no_such_form():
    assert not hasattr(quell.RLock(), "acquire_async")
    assert trio is not None
