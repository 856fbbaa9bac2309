"""quell.ThreadPoolExecutor: tasks that can be stopped, and nothing else with them."""

import asyncio
import concurrent.futures
import contextvars
import gc
import random
import threading
import time
import weakref

import pytest
import quell
from conftest import PATIENCE, STRESS, disturb, python, spin, spin_until


class Mine(BaseException):
    pass


@pytest.fixture
def pool():
    with quell.ThreadPoolExecutor(2) as executor:
        yield executor
        executor.shutdown(interrupt=True)


def block():
    quell.Event().wait()


def swallow():
    """Ends only when it has been told often enough."""
    seen = 0
    while seen < 3:
        try:
            block()
        except quell.Interrupt:
            seen += 1


class Begun:
    """A function that says when it has begun, and what it was ended by."""

    def __init__(self, function=block):
        self.function, self.begun, self.ended = function, threading.Event(), None

    def __call__(self):
        try:
            self.begun.set()
            return self.function()
        except BaseException as error:
            self.ended = type(error)
            raise

    def on(self, executor, submit="submit", *args):
        future = getattr(executor, submit)(*args, self)
        assert self.begun.wait(PATIENCE)
        return future


def test_it_is_one_of_the_standard_library(pool):
    assert isinstance(pool, concurrent.futures.ThreadPoolExecutor)
    future = pool.submit(pow, 2, 5, mod=7)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(PATIENCE) == 4 and future.exception() is None
    assert list(pool.map(str, range(3))) == ["0", "1", "2"]
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 // 0).result()
    assert set(vars(concurrent.futures.Future())) <= set(vars(future))
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
        assert error.__traceback__.tb_next is not None
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


def test_interrupts_reach_neither_the_worker_nor_the_next_task(caplog):
    """Cancelled and limited at every moment, a task ends as one of these or as it would have: once, and nothing else is hurt."""
    with quell.ThreadPoolExecutor(2) as executor:
        idents = [executor.submit(threading.get_ident).result(PATIENCE)]

        def work(n):
            for _ in range(n % 50):
                pass
            return n

        numbers, ends = random.Random(3), {"result": 0, "cancelled": 0, "limit": 0, "mine": 0}
        for _ in range(100 * STRESS):
            futures = []
            for n in range(100):
                seconds = numbers.random() * 1e-4 if n % 3 == 0 else None
                futures.append(executor.submit_timeout(seconds, work, n))
                if n % 2 == 0:
                    numbers.choice(futures).cancel(interrupt=True)
                if n % 10 == 0:
                    quell.interrupt(idents[0], Mine)
            for n, future in enumerate(futures):
                try:
                    assert future.result(PATIENCE) == n
                    ends["result"] += 1
                except concurrent.futures.CancelledError:
                    ends["cancelled"] += 1
                except quell.Timeout:
                    assert n % 3 == 0
                    ends["limit"] += 1
                except Mine:
                    ends["mine"] += 1
        assert len(executor._threads) <= 2 and all(t.is_alive() for t in executor._threads)
        assert executor.submit(int).result(PATIENCE) == 0
    assert all(ends[kind] for kind in ("result", "cancelled")), ends
    assert not caplog.records


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

        disturb(start, submits, lambda: round_, Mine, 2000 * STRESS)
        executor.shutdown()
    assert got and sorted(ran) == got


def test_room(start):
    with quell.ThreadPoolExecutor(1, queue_size=1) as executor:
        running = Begun().on(executor)
        waiting = executor.submit(int)
        worker = start(lambda: executor.submit(int, 7)).blocked()
        quell.interrupt(worker, Mine)
        assert isinstance(worker.done().error, Mine)
        worker = start(lambda: executor.submit(int, 8)).blocked()
        assert running.cancel(interrupt=True)
        assert worker.done().result.result(PATIENCE) == 8 and waiting.result(PATIENCE) == 0


def test_context():
    variable = contextvars.ContextVar("variable", default=0)
    with quell.ThreadPoolExecutor(1) as executor:
        variable.set(1)

        def task():
            before = variable.get()
            variable.set(2)
            return before

        futures = [executor.submit(task) for _ in range(2)]
        variable.set(3)
        assert [future.result(PATIENCE) for future in futures] == [1, 1]
        assert variable.get() == 3


def test_initializers(caplog):
    seen = []
    with quell.ThreadPoolExecutor(1, "named", seen.append, (1,)) as executor:
        assert executor.submit(threading.current_thread).result(PATIENCE).name == "named_0"
    assert seen == [1]
    with quell.ThreadPoolExecutor(1, initializer=lambda: 1 // 0) as executor:
        futures = []
        with pytest.raises(concurrent.futures.thread.BrokenThreadPool, match="initializer failed"):
            while True:
                futures.append(executor.submit(int))
        for future in futures:
            assert isinstance(
                future.exception(PATIENCE), concurrent.futures.thread.BrokenThreadPool
            )
    assert "Exception in initializer" in caplog.text


def test_shutdown(start):
    executor = quell.ThreadPoolExecutor(1)
    running, waiting = Begun().on(executor), executor.submit(int)
    worker = start(executor.shutdown).blocked()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(int)
    quell.interrupt(worker, Mine)
    assert isinstance(worker.done().error, Mine)
    executor.shutdown(wait=False)
    assert running.running() and not waiting.done()
    executor.shutdown(interrupt=True)
    assert running.cancelled() and waiting.cancelled()
    assert not any(thread.is_alive() for thread in executor._threads)
    executor.shutdown()
    executor = quell.ThreadPoolExecutor(1)
    running, waiting = Begun().on(executor), executor.submit(int)
    executor.shutdown(wait=False, cancel_futures=True)
    assert waiting.cancelled() and running.running()
    assert running.cancel(interrupt=True)
    executor.shutdown()


def test_shutdown_ends_what_is_just_begun():
    for round_ in range(200 * STRESS):
        executor = quell.ThreadPoolExecutor(2)
        futures = [executor.submit(block) for _ in range(4)]
        if round_ % 2:
            spin_until(lambda: futures[0].running())  # noqa: B023
        executor.shutdown(interrupt=True)
        assert all(future.cancelled() for future in futures)


def test_an_executor_that_is_gone_ends_its_workers():
    executor = quell.ThreadPoolExecutor(2)
    futures = [executor.submit(int) for _ in range(10)]
    threads, reference = list(executor._threads), weakref.ref(executor)
    del executor
    gc.collect()
    assert reference() is None
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert [future.result(PATIENCE) for future in futures] == [0] * 10


def test_the_interpreter_waits_for_tasks_at_its_end():
    code = """
        import quell, time
        executor = quell.ThreadPoolExecutor(1)
        executor.submit(time.sleep, 0.05)
        executor.submit(print, "done")
    """
    assert python(code).stdout == "done\n"


def test_after_a_fork():
    code = """
        import os, quell
        executor = quell.ThreadPoolExecutor(2)
        assert executor.submit(int).result() == 0
        if os.fork() == 0:
            with quell.ThreadPoolExecutor(2) as other:
                print(other.submit(int, 5).result(), flush=True)
        else:
            _, status = os.wait()
            print(status, executor.submit(int, 6).result())
    """
    assert python(code).stdout == "5\n0 6\n"


def test_asyncio():
    async def main():
        with quell.ThreadPoolExecutor(1) as executor:
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(executor, int, "5") == 5
            task = Begun()
            future = executor.submit(task)
            loop.call_later(0.01, lambda: future.cancel(interrupt=True))
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wrap_future(future)

    asyncio.run(main())


def test_nothing_is_kept():
    """Neither the exception of a task nor its arguments."""

    class Thing:
        pass

    with quell.ThreadPoolExecutor(1) as executor:
        for function in (lambda thing: None, lambda thing: 1 // 0):
            thing = Thing()
            reference = weakref.ref(thing)
            future = executor.submit(function, thing)
            concurrent.futures.wait([future], PATIENCE)
            del thing, future
            spin_until(lambda: gc.collect() is not None and reference() is None)  # noqa: B023


def test_mistakes():
    for wrong, error in (
        ({"max_workers": 0}, ValueError),
        ({"initializer": 5}, TypeError),
        ({"timeout": -1}, ValueError),
        ({"timeout": "1"}, TypeError),
        ({"queue_size": -1}, ValueError),
        ({"queue_size": 1.5}, TypeError),
    ):
        with pytest.raises(error):
            quell.ThreadPoolExecutor(**wrong)
    with quell.ThreadPoolExecutor(1) as executor:
        with pytest.raises(ValueError, match="must not be negative"):
            executor.submit_timeout(-1, int)
        assert executor.submit(int).result(PATIENCE) == 0
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(int)
