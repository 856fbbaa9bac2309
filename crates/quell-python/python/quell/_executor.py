"""ThreadPoolExecutor, whose tasks can be stopped. See its docstring.

What a task takes is native: see the folder src/executor. What is here starts and ends workers.

A worker is in a shield all its life: nothing is raised in its loop. A task is run natively, outside of the shield, and within a
scope of its own that `Future.cancel(interrupt=True)` and the task's limit end.
"""

import concurrent.futures as _futures
import concurrent.futures.thread as _thread
import os as _os
import queue as _queue
import time as _time
import weakref as _weakref
from collections import deque as _deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, LOGGER
from itertools import islice as _islice
from threading import current_thread
from typing import Any, TypeVar

from . import ShutDown
from ._quell import Lock, Queue, _Crew, _Future, _Pool, _Worker
from ._quell import shield as _shield
from .threading import Thread

# With what type checkers do not know of.
_standard: Any = _thread

_R = TypeVar("_R")


# What the standard class keeps in attributes, the native half has behind properties.
class Future(_Future, _futures.Future[_R]):  # pyright: ignore[reportIncompatibleVariableOverride]
    """The result of a task: a concurrent.futures.Future. wait(), as_completed() and asyncio.wrap_future() take it.

    Waiting for it, by result() or exception(), is an interruption point.
    """


class _Stop:
    """What the interpreter's exit takes for the queue of a worker: it puts None, and that shuts the queue down."""

    def __init__(self, queue: "Queue[Any]") -> None:
        self._queue = queue

    def put(self, _none: None) -> None:
        self._queue.shutdown()


class _WorkerThread(Thread):
    """Its thread is in a shield from its first statement to its end."""

    def _bootstrap(self) -> None:
        _shield().__enter__()
        super()._bootstrap()


def _work(
    reference: "_weakref.ref[ThreadPoolExecutor]",
    worker: _Worker,
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
) -> None:
    """What a worker does."""
    if initializer is not None:
        try:
            worker.call(initializer, initargs)
        except BaseException:
            LOGGER.critical("Exception in initializer:", exc_info=True)
            executor = reference()
            if executor is not None:
                executor._initializer_failed()
            return
    # The loop is Python code, so that other threads and the garbage collector have their turn between two tasks.
    step = worker.step
    goes_on = True
    while goes_on:
        try:
            while step():
                pass
            goes_on = False
        except BaseException:
            # Of somebody's callback; the task has come to its end.
            LOGGER.critical("Exception in worker", exc_info=True)
    executor = reference()
    if executor is not None:
        executor._shutdown = True


class ThreadPoolExecutor(_Pool, _futures.ThreadPoolExecutor):
    """A concurrent.futures.ThreadPoolExecutor whose running tasks can be stopped.

        with quell.ThreadPoolExecutor(4, timeout=30) as executor:
            future = executor.submit(work, 1)
            future.cancel(interrupt=True)  # ends it wherever it is

    max_workers, thread_name_prefix, initializer, initargs: as there. Besides:

    timeout: the seconds that a task may run; one that takes longer is interrupted wherever it is and ends with quell.Timeout.
        submit_timeout() gives a task a limit of its own. None: no limit.
    queue_size: how many tasks may wait for a worker; submit() waits for room, an interruption point. 0: any number.
    interrupt_on_cancel: cancel() of a future ends its task even if it runs, as cancel(interrupt=True) does. For those who call it
        without knowing of `interrupt`, such as asyncio when a task that awaits run_in_executor() is cancelled.

    A task runs in a copy of the context (contextvars) in which it was submitted. An interrupt that is aimed at a task, by cancel(), by its
    limit, or by quell.interrupt() at the worker's thread, never reaches the worker's loop or another task; if the task has ended
    meanwhile, it is taken back.

    In the child of a fork the executor has no workers, and starts new ones for what is submitted there. Tasks that waited run in the
    parent alone; in the child their futures are cancelled, and those of tasks that ran end with a BrokenThreadPool.
    """

    # In the place of the base class's.
    _broken: Any
    _initializer: Any
    _shutdown_lock: Lock  # type: ignore[assignment]
    _threads: set[Thread]
    _work_queue: "Queue[Any]"  # type: ignore[assignment]

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        timeout: float | None = None,
        queue_size: int = 0,
        interrupt_on_cancel: bool = False,
    ) -> None:
        # Checks the arguments, and makes what others may look at. What follows replaces the rest.
        _futures.ThreadPoolExecutor.__init__(
            self, max_workers, thread_name_prefix, initializer, initargs
        )
        if not isinstance(queue_size, int):
            raise TypeError(f"queue_size must be an int, not {type(queue_size).__name__}")
        if queue_size < 0:
            raise ValueError(f"queue_size must not be negative: {queue_size}; 0 means any number")
        self._initializer, self._initargs = initializer, initargs
        self._work_queue = Queue(queue_size)  # pyright: ignore[reportIncompatibleVariableOverride]
        self._shutdown_lock = Lock()
        self._workers: dict[Thread, _Worker] = {}
        self._crew = _Crew(self._work_queue)
        self._open(self._crew, timeout, interrupt_on_cancel)
        # Counted by the crew.
        del self._idle_semaphore
        _executors.add(self)

    def _refusal(self) -> Exception:
        """What is to be said to who submits a task too late."""
        if self._broken:
            return _thread.BrokenThreadPool(self._broken)
        when = "interpreter shutdown" if _standard._shutdown else "shutdown"
        return RuntimeError(f"cannot schedule new futures after {when}")

    def _adjust_thread_count(self) -> None:
        """Starts a worker, for the task that is being submitted."""
        # In a shield, because what is begun here is not to be left half done.
        with _shield(), self._shutdown_lock, _standard._global_shutdown_lock:
            if self._broken or self._shutdown or _standard._shutdown:
                raise self._refusal()
            count = len(self._threads)
            if count >= self._max_workers:
                return
            queue = self._work_queue

            def gone(_reference: object) -> None:
                queue.shutdown()

            worker = _Worker(self._crew)
            thread = _WorkerThread(
                name=f"{self._thread_name_prefix}_{count}",
                target=_work,
                args=(_weakref.ref(self, gone), worker, self._initializer, self._initargs),
            )
            thread.start()
            self._workers[thread] = worker
            self._threads.add(thread)
            _standard._threads_queues[thread] = _Stop(queue)

    def _initializer_failed(self) -> None:
        with self._shutdown_lock:
            self._broken = "A thread initializer failed, the thread pool is not usable anymore"
            self._work_queue.shutdown()
        for future in self._left():
            future.set_exception(_thread.BrokenThreadPool(self._broken))

    def _after_fork(self) -> None:
        """In the child, where there is no other thread than the one that forked, which may be a worker."""
        self._shutdown_lock = Lock()  # pyright: ignore[reportIncompatibleVariableOverride]
        self._crew.nobody()
        here = current_thread()
        # Callbacks are not called: whom they would tell is in the parent.
        for future in self._left():
            future._state = CANCELLED_AND_NOTIFIED
        for thread, worker in list(self._workers.items()):
            if thread is here:
                continue
            del self._workers[thread]
            future_there = worker.at()
            if future_there is not None:
                future_there._exception = _thread.BrokenThreadPool(
                    "the task runs in the process that this one was forked from"
                )
                future_there._state = FINISHED
        self._threads = set(self._workers)  # pyright: ignore[reportIncompatibleVariableOverride]

    def _left(self) -> Iterator[Future[Any]]:
        """Takes what is left in the queue."""
        while True:
            try:
                yield self._work_queue.get_nowait()
            except (_queue.Empty, ShutDown):
                return

    def map(
        self,
        fn: Callable[..., _R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[_R]:
        """The results of fn(*items) for the items of the iterables, in their order; as map(), but the calls are tasks.

        timeout: the seconds that all of it may take, from this call on; then the iterator raises TimeoutError. chunksize means
        nothing here.
        buffersize: at most so many tasks are submitted whose results have not been taken; the rest of the iterables is read as they
        are. None: all of it is read now, and submitted.

        Waiting for the next result is an interruption point. If the iterator is left before its end, by an exception of a task or in
        any other way, the tasks that have not begun are cancelled; the others too if interrupt_on_cancel is set.
        """
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        end = None if timeout is None else _time.monotonic() + timeout
        calls = zip(*iterables, strict=False)
        futures: _deque[Future[_R]] = _deque()
        try:
            for args in _islice(calls, buffersize):
                futures.append(self.submit(fn, *args))
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        # The iterator does not keep the executor.
        return _results(_weakref.ref(self), fn, calls, futures, end)

    def shutdown(
        self, wait: bool = True, *, cancel_futures: bool = False, interrupt: bool = False
    ) -> None:
        """Take no more tasks; those that wait for a worker are still run.

        cancel_futures: those that wait are cancelled instead. interrupt: and those that run are ended, as by
        Future.cancel(interrupt=True). wait: returns when all workers have ended, an interruption point; who is interrupted there
        has shut the executor down nevertheless, and may wait again.
        """
        with self._shutdown_lock:
            self._shutdown = True
            self._work_queue.shutdown()
        if cancel_futures or interrupt:
            for future in self._left():
                future.cancel()
        if interrupt:
            for worker in list(self._workers.values()):
                worker.close()
        if wait:
            for thread in list(self._threads):
                thread.join()


def _results(
    reference: "_weakref.ref[ThreadPoolExecutor]",
    fn: Callable[..., _R],
    calls: "Iterator[tuple[Any, ...]]",
    futures: "_deque[Future[_R]]",
    end: float | None,
) -> Iterator[_R]:
    """What map() returns."""
    try:
        while futures:
            # As one is taken another one is submitted, if there are any left.
            executor = reference()
            if executor is not None:
                futures.extend(executor.submit(fn, *args) for args in _islice(calls, 1))
            del executor
            yield _result(futures, end)
    finally:
        for future in futures:
            future.cancel()


def _result(futures: "_deque[Future[_R]]", end: float | None) -> _R:
    """The result of the first one, which is not kept. One that is not waited for to its end is cancelled."""
    future = futures.popleft()
    try:
        result: _R = future.result(None if end is None else end - _time.monotonic())
        return result
    finally:
        future.cancel()
        # Its exception's traceback has this frame.
        del future


# Those whose workers are gone in the child of a fork.
_executors: "_weakref.WeakSet[ThreadPoolExecutor]" = _weakref.WeakSet()


def _after_fork() -> None:
    for executor in list(_executors):
        executor._after_fork()


_os.register_at_fork(after_in_child=_after_fork)
