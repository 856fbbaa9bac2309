"""quell.ThreadPoolExecutor as a whole: what it is made with, who its workers are, and how it ends."""

import asyncio
import concurrent.futures
import contextvars
import gc
import threading
import weakref

import pytest
import quell
from conftest import PATIENCE, STRESS, python, spin_until
from tasks import Begun, Mine, block


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


def test_every_worker_that_there_may_be_is_there():
    """Tasks that need each other find as many workers, whatever the workers were at before."""
    with quell.ThreadPoolExecutor(4) as executor:
        for _ in range(200 * STRESS):
            barrier = quell.Barrier(4)
            executor.submit(int)
            futures = [executor.submit(barrier.wait) for _ in range(4)]
            assert sorted(future.result(PATIENCE) for future in futures) == [0, 1, 2, 3]
        assert len(executor._threads) == 4


def test_the_arguments_of_submit(pool):
    def task(*args, **kwargs):
        return args, kwargs

    assert pool.submit(task).result() == ((), {})
    assert pool.submit(task, 1, fn=2, self=3).result() == ((1,), {"fn": 2, "self": 3})
    assert pool.submit_timeout(None, task, 1, seconds=2).result() == ((1,), {"seconds": 2})
    for wrong in (
        lambda: pool.submit(),
        lambda: pool.submit(fn=task),
        lambda: pool.submit_timeout(1),
        lambda: pool.submit_timeout(),
    ):
        with pytest.raises(TypeError, match="missing"):
            wrong()
    assert isinstance(pool.submit(None).exception(PATIENCE), TypeError)
    with pytest.raises(TypeError, match="must be a number"):
        pool.submit_timeout("1", task)


def test_more_workers_than_at_first():
    """Whoever reaches in and changes the number has so many."""
    with quell.ThreadPoolExecutor(1) as executor:
        running = Begun().on(executor)
        executor._max_workers = 2
        assert executor.submit(int, 1).result(PATIENCE) == 1
        assert executor._work_queue.qsize() == 0
        executor._work_queue.put(None)
        assert executor.submit(int, 2).result(PATIENCE) == 2
        assert running.cancel(interrupt=True)


def test_map(pool):
    assert list(pool.map(pow, [1, 2, 3], [2, 2, 2])) == [1, 4, 9]
    assert list(pool.map(int, [])) == []
    begun, many = [], iter(range(100))
    results = pool.map(lambda n: begun.append(n) or n, many, buffersize=3)
    assert next(many) == 3 and [next(results), next(results)] == [0, 1]
    assert next(many) == 6
    results.close()
    with pytest.raises(TimeoutError):
        list(pool.map(lambda _: block(), [1], timeout=0.01))
    pool.shutdown(wait=False, interrupt=True)
    for wrong, error in ((0, ValueError), ("1", TypeError)):
        with pytest.raises(error):
            pool.map(int, [1], buffersize=wrong)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.map(int, [1])


def test_a_map_that_fails_takes_back_the_rest():
    with quell.ThreadPoolExecutor(1) as executor:
        ran, gate = [], quell.Event()

        def task(n):
            ran.append(n)
            if n == 1:
                gate.wait()
            return 1 // n

        with pytest.raises(ZeroDivisionError):
            list(executor.map(task, range(1000)))
        gate.set()
        assert executor.submit(int).result(PATIENCE) == 0 and len(ran) <= 2
        # What cannot be submitted is not, and nothing of it.
        ran.clear()
        gate.clear()
        executor.submit(gate.wait)

        def wrong():
            yield from range(1, 10)
            raise Mine

        with pytest.raises(Mine):
            executor.map(task, wrong())
        gate.set()
        assert executor.submit(int).result(PATIENCE) == 0 and not ran


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


def test_an_initializer_is_interrupted(caplog):
    ident, begun = [], threading.Event()

    def initializer():
        ident.append(threading.get_ident())
        begun.set()
        block()

    with quell.ThreadPoolExecutor(1, initializer=initializer) as executor:
        future = executor.submit(int)
        assert begun.wait(PATIENCE)
        assert quell.interrupt(ident[0], Mine).wait(PATIENCE)
        error = future.exception(PATIENCE)
        assert isinstance(error, concurrent.futures.thread.BrokenThreadPool)
        with pytest.raises(concurrent.futures.thread.BrokenThreadPool):
            executor.submit(int)
    assert "Exception in initializer" in caplog.text and "Mine" in caplog.text


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
    """The child has the executor, without its workers and its tasks; the parent has everything."""
    code = """
        import os, quell
        from concurrent.futures import CancelledError
        from concurrent.futures.thread import BrokenThreadPool

        begun, go = quell.Event(), quell.Event()
        executor = quell.ThreadPoolExecutor(1)
        running = executor.submit(lambda: (begun.set(), go.wait()))
        begun.wait()
        waiting = executor.submit(int, 1)
        if os.fork() == 0:
            try:
                waiting.result()
            except CancelledError:
                print("cancelled", flush=True)
            assert isinstance(running.exception(), BrokenThreadPool)
            print(executor.submit(int, 5).result(), flush=True)
            with quell.ThreadPoolExecutor(2) as other:
                print(other.submit(int, 6).result(), flush=True)
            executor.shutdown()
        else:
            _, status = os.wait()
            go.set()
            print(status, waiting.result(), running.result()[1], executor.submit(int, 7).result())
    """
    assert python(code).stdout == "cancelled\n5\n6\n0 1 True 7\n"


def test_a_task_forks():
    """In the child it goes on, as the one worker that there is."""
    code = """
        import os, quell
        executor = quell.ThreadPoolExecutor(2)

        def task():
            pid = os.fork()
            if pid == 0:
                inner = executor.submit(int, 5).result()
                print(len(executor._threads), inner, flush=True)
                os._exit(0)
            return os.waitpid(pid, 0)[1]

        print(executor.submit(task).result())
    """
    assert python(code).stdout == "2 5\n0\n"


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


def test_asyncio_cancels_what_runs():
    """As the loop's default executor, for to_thread(), wait_for() and timeout()."""

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(quell.ThreadPoolExecutor(2, interrupt_on_cancel=True))
        for begin in (asyncio.to_thread, lambda task: loop.run_in_executor(None, task)):
            task = Begun()
            waiting = asyncio.ensure_future(begin(task))
            while not task.begun.is_set():
                await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            while task.ended is None:
                await asyncio.sleep(0.001)
            assert task.ended is quell.TaskCancelled
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(begin(block), 0.02)
        assert await asyncio.to_thread(int, "7") == 7
        # All of them have ended: the loop waits for its executor.

    asyncio.run(main())


def test_the_interpreter_ends_while_tasks_run():
    """It waits for them, as the standard library does; whoever cannot wait ends them."""
    code = """
        import atexit, quell, threading
        executor = quell.ThreadPoolExecutor(2)
        begun = quell.Event()

        def task():
            try:
                begun.set()
                quell.Event().wait()
            finally:
                print("cleaned up", flush=True)

        future = executor.submit(task)
        begun.wait()
        threading._register_atexit(lambda: executor.shutdown(wait=False, interrupt=True))
    """
    assert python(code).stdout == "cleaned up\n"


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
