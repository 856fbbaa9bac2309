"""quell.ThreadPoolExecutor: tasks that can be stopped, and nothing else with them."""

import asyncio
import concurrent.futures
import random
import sys
import threading
import time

import pytest
import quell
from conftest import PATIENCE, STRESS, disturb, python, spin, spin_until
from tasks import Begun, Mine, block, swallow


def test_it_is_one_of_the_standard_library(pool):
    assert isinstance(pool, concurrent.futures.ThreadPoolExecutor)
    future = pool.submit(pow, 2, 5, mod=7)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(PATIENCE) == 4 and future.exception() is None
    assert list(pool.map(str, range(3))) == ["0", "1", "2"]
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 // 0).result()
    done, left = concurrent.futures.wait([future, pool.submit(int)], PATIENCE)
    assert len(done) == 2 and not left
    assert next(concurrent.futures.as_completed([future], PATIENCE)) is future


@pytest.mark.parametrize("function", [block, spin, swallow])
def test_a_running_task_is_cancelled(pool, function):
    task, calls = Begun(function), []
    future = task.on(pool)
    future.add_done_callback(calls.append)
    assert future.running() and not future.cancel() and not future.cancel(interrupt=False)
    assert future.cancel(interrupt=True)
    concurrent.futures.wait([future], PATIENCE)
    if function is swallow and not future.cancelled():
        assert future.result() is None
    else:
        with pytest.raises(concurrent.futures.CancelledError):
            future.result()
        assert future.cancelled() and future.done() and not future.running()
        assert task.ended is quell.TaskCancelled
    assert calls == [future]
    assert pool.submit(int).result(PATIENCE) == 0


def test_who_waits_for_several_sees_that_one_is_cancelled(pool):
    futures = [Begun().on(pool), Begun().on(pool)]
    timer = threading.Timer(0.01, futures[1].cancel, kwargs={"interrupt": True})
    timer.start()
    done, left = concurrent.futures.wait(
        futures, PATIENCE, return_when=concurrent.futures.FIRST_COMPLETED
    )
    assert done == {futures[1]} and left == {futures[0]}
    assert futures[0].cancel(interrupt=True)
    assert set(concurrent.futures.as_completed(futures, PATIENCE)) == set(futures)


def test_a_task_that_waits_or_is_over(pool):
    running = [Begun().on(pool), Begun().on(pool)]
    waiting = pool.submit(int)
    assert waiting.cancel(interrupt=True) and waiting.cancelled()
    for future in running:
        assert future.cancel(interrupt=True)
    finished = pool.submit(int)
    assert finished.result(PATIENCE) == 0
    assert not finished.cancel(interrupt=True) and finished.result() == 0
    failed = pool.submit(int, "x")
    assert isinstance(failed.exception(PATIENCE), ValueError)
    assert not failed.cancel(interrupt=True)
    # Cancelled once and again.
    assert running[0].cancel(interrupt=True) in (True, False)
    assert concurrent.futures.wait(running, PATIENCE).not_done == set()
    assert all(future.cancelled() for future in running)


def test_a_limit(pool):
    for function in (block, spin):
        future = pool.submit_timeout(0.02, function)
        error = future.exception(PATIENCE)
        assert type(error) is quell.Timeout and str(error) == "timed out after 0.02 s"
        assert error.__traceback__.tb_frame.f_code.co_name == function.__name__
    assert pool.submit_timeout(PATIENCE, pow, 2, 3).result(PATIENCE) == 8
    with quell.ThreadPoolExecutor(1, timeout=0.02) as limited:
        first, second = limited.submit(block), limited.submit(int)
        assert isinstance(first.exception(PATIENCE), quell.Timeout)
        assert second.result(PATIENCE) == 0
        assert limited.submit_timeout(None, time.sleep, 0.05).result(PATIENCE) is None


def test_the_limits_of_a_task_of_its_own(pool):
    def inner():
        with pytest.raises(quell.Timeout), quell.timeout(0.01):
            block()
        with quell.timeout(PATIENCE):
            block()

    error = pool.submit_timeout(0.05, inner).exception(PATIENCE)
    assert type(error) is quell.Timeout and str(error) == "timed out after 0.05 s"


def test_an_interrupt_of_the_worker_is_the_running_tasks_alone(pool):
    ident, again = [], threading.Event()

    def task():
        ident.append(threading.get_ident())
        again.set()
        block()

    future = pool.submit(task)
    assert again.wait(PATIENCE)
    receipt = quell.interrupt(ident[0], Mine)
    assert type(future.exception(PATIENCE)) is Mine and receipt.state == "delivered"
    # Idle now: what comes is nobody's, and the next task takes it back.
    (thread,) = (thread for thread in pool._threads if thread.ident == ident[0])
    with quell.ThreadPoolExecutor(1) as other:
        worker = other.submit(threading.current_thread).result(PATIENCE)
        receipt = quell.interrupt(worker, Mine)
        assert other.submit(int).result(PATIENCE) == 0
        assert receipt.state == "withdrawn"
    assert thread.is_alive()


def test_what_is_pending_when_a_task_begins_is_not_raised_in_it():
    with quell.ThreadPoolExecutor(1) as executor:
        worker = executor.submit(threading.current_thread).result(PATIENCE)
        receipt = quell.interrupt(worker, Mine)
        # In Python code, where it would be raised.
        executor.submit(spin_until, lambda: receipt.state != "pending").result(PATIENCE)
        assert receipt.state == "withdrawn"


def test_what_is_pending_when_a_task_ends_is_taken_back_at_once():
    def task():
        # Never left, as by code that ends in its middle.
        quell.shield().__enter__()
        return quell.interrupt(threading.current_thread(), Mine)

    with quell.ThreadPoolExecutor(1) as executor:
        receipt = executor.submit(task).result(PATIENCE)
        # Before there is another task.
        assert receipt.state == "withdrawn"


def test_interrupts_reach_neither_the_worker_nor_the_next_task(caplog, fast_switching):
    """Each task is aimed at, at any moment of it, before and after: it ends as one of these or as it would have, once, and nothing
    else is hurt."""
    numbers = random.Random(3)
    ends = {"result": 0, "never began": 0, "cancelled": 0, "limit": 0, "mine": 0}
    with quell.ThreadPoolExecutor(2) as executor:
        ident = executor.submit(threading.get_ident).result(PATIENCE)
        for _ in range(20 * STRESS):
            futures, begun = [], set()

            def work(n, begun=begun):
                begun.add(n)
                for _ in range(n % 40 * 500):
                    pass
                return n

            for n in range(100):
                seconds = numbers.random() * 3e-4 if n % 4 == 0 else None
                futures.append(executor.submit_timeout(seconds, work, n))
                if n % 4 == 0:
                    continue
                if numbers.randrange(4):
                    spin_until(lambda: futures[-1].running() or futures[-1].done())  # noqa: B023
                for _ in range(numbers.randrange(5000)):
                    pass
                if n % 4 == 1:
                    futures[-1].cancel(interrupt=True)
                elif n % 4 == 2:
                    numbers.choice(futures[-3:]).cancel(interrupt=True)
                else:
                    quell.interrupt(ident, Mine)
            for n, future in enumerate(futures):
                try:
                    assert future.result(PATIENCE) == n
                    ends["result"] += 1
                except concurrent.futures.CancelledError:
                    ends["cancelled" if n in begun else "never began"] += 1
                except quell.Timeout:
                    assert n % 4 == 0
                    ends["limit"] += 1
                except Mine:
                    ends["mine"] += 1
        assert len(executor._threads) <= 2 and all(t.is_alive() for t in executor._threads)
        assert executor.submit(int).result(PATIENCE) == 0
    assert all(ends.values()), ends
    assert not caplog.records


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="nothing lets other threads run while an interrupt is sent"
)
def test_an_interrupt_that_is_being_sent_as_its_task_ends():
    """The worker waits until it has been sent, and takes it back: the next task does not begin before."""
    ended = python(
        """
        import quell, sys

        executor = quell.ThreadPoolExecutor(1)
        begun, over, begun_too, over_too = (quell.Event() for _ in range(4))

        def task(begun, over):
            begun.set()
            over.wait()
            return "done"

        def worker_waits_for_the_sender():
            worker = next(t for t in quell.threads() if t.name == "_0")
            return worker.waits and worker.waits.object not in {over, over_too}

        sending = []

        def hook(event, _arguments):
            # The sender prepares itself: it has begun to send, and is not done yet.
            if event == "sys.monitoring.register_callback" and not sending:
                sending.append(event)
                over.set()
                while not (begun_too.is_set() or worker_waits_for_the_sender()):
                    pass

        first = executor.submit(task, begun, over)
        second = executor.submit(task, begun_too, over_too)
        begun.wait()
        executor._threads.copy().pop().name = "_0"
        sys.addaudithook(hook)
        assert first.cancel(interrupt=True)
        assert sending
        begun_too.wait()
        over_too.set()
        print(first.result(), second.result())
        executor.shutdown()
        """
    )
    assert ended.stdout == "done done\n"


def test_who_submits_is_interrupted(start, fast_switching):
    """At every moment: whose task is submitted has its future, and no other task runs."""
    ran, got, round_ = [], [], 0
    with quell.ThreadPoolExecutor(2) as executor:

        def submits(goes_on):
            nonlocal round_
            while goes_on():
                round_ += 1
                number, future = round_, None
                try:
                    future = executor.submit(ran.append, number)
                finally:
                    if future is not None:
                        got.append(number)

        disturb(start, submits, lambda: round_, Mine, 100 * STRESS)
        executor.shutdown()
    assert got and sorted(ran) == got


def test_cancel_interrupts_if_the_executor_was_made_so():
    with quell.ThreadPoolExecutor(1, interrupt_on_cancel=True) as executor:
        task = Begun()
        future = task.on(executor)
        assert not future.cancel(interrupt=False) and future.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(PATIENCE)
        assert task.ended is quell.TaskCancelled
        # Of those that map() submits too.
        task = Begun()
        with pytest.raises(TimeoutError):
            list(executor.map(lambda _: task(), [1], timeout=0.05))
        assert executor.submit(int).result(PATIENCE) == 0


def test_a_task_that_interrupts_itself(pool):
    def task():
        quell.interrupt(threading.current_thread(), Mine)
        spin()

    assert type(pool.submit(task).exception(PATIENCE)) is Mine

    def late():
        return quell.interrupt(threading.current_thread(), Mine)

    with quell.ThreadPoolExecutor(1) as executor:
        ended = executor.submit(late)
        # Raised in it, or taken back: nobody else's.
        assert executor.submit(int).result(PATIENCE) == 0
        if ended.exception() is None:
            assert ended.result().state == "withdrawn"


def test_tasks_of_tasks(pool):
    def sum_of(numbers):
        if len(numbers) == 1:
            return numbers[0]
        # It does not wait for a worker: there need not be one.
        futures = [pool.submit(int, n) for n in numbers]
        return sum(
            concurrent.futures.Future.result(f) if f.done() else n
            for f, n in zip(futures, numbers, strict=True)
        )

    assert pool.submit(sum_of, [1, 2, 3]).result(PATIENCE) == 6
    inner = pool.submit(lambda: pool.submit(block)).result(PATIENCE)
    assert inner.cancel(interrupt=True)
    outer = Begun(lambda: Begun().on(pool).result())
    future = outer.on(pool)
    assert future.cancel(interrupt=True)
    concurrent.futures.wait([future], PATIENCE)
    assert future.cancelled() and outer.ended is quell.TaskCancelled


def test_generators_and_event_loops_inside(pool):
    seen = []

    def generator():
        try:
            seen.append("in generator")
            while True:
                yield
        finally:
            seen.append("closed")

    async def main():
        try:
            seen.append("in main")
            while True:
                await asyncio.sleep(0)
        finally:
            seen.append("closed")

    for function in (lambda: [None for _ in generator()], lambda: asyncio.run(main())):
        seen.clear()
        future = pool.submit(function)
        spin_until(lambda: seen)
        assert future.cancel(interrupt=True)
        concurrent.futures.wait([future], PATIENCE)
        assert future.cancelled() and seen[1:] == ["closed"]


def test_a_callback_that_fails_costs_no_worker(caplog):
    def callback(_future):
        raise Mine

    with quell.ThreadPoolExecutor(1) as executor:
        gate = quell.Event()
        future = executor.submit(gate.wait)
        future.add_done_callback(callback)
        gate.set()
        assert executor.submit(int, 3).result(PATIENCE) == 3
        assert future.result() is True and len(executor._threads) == 1
    assert "Exception in worker" in caplog.text


def test_somebody_else_ends_a_task(caplog):
    with quell.ThreadPoolExecutor(1) as executor:
        running = Begun(lambda: None)
        gate = quell.Event()
        first = executor.submit(gate.wait)
        spin_until(first.running)
        waiting = executor.submit(running)
        waiting.set_result(5)
        first.set_result(6)
        gate.set()
        assert executor.submit(int).result(PATIENCE) == 0
        assert (first.result(), waiting.result()) == (6, 5) and not running.begun.is_set()
    assert caplog.text.count("in unexpected state: FINISHED") == 2
