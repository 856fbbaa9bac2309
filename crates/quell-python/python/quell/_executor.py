"""ThreadPoolExecutor, whose tasks can be stopped. See its docstring.

A worker is in a shield all its life: nothing is raised in its loop. A task is run by `_Task.run()`, natively, outside of the shield,
and within a scope of its own that `Future.cancel(interrupt=True)` and the task's limit end. See scopes/task.rs.

Nobody holds a lock while a task is submitted. What says that no more are taken is the queue itself: it is shut down, with the executor,
with the interpreter, when the executor is gone or broken; then `put` fails, and `get` does when nothing is left.
"""

import concurrent.futures as _futures
import concurrent.futures.thread as _thread
import queue as _queue
import weakref as _weakref
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, LOGGER, PENDING
from contextvars import copy_context
from typing import Any, Generic, ParamSpec, TypeVar

from . import ShutDown
from ._quell import Condition, Lock, Queue, Semaphore, _Task
from ._quell import shield as _shield
from .threading import Thread

# With what type checkers do not know of.
_standard: Any = _thread

_R = TypeVar("_R")
_P = ParamSpec("_P")


class Future(_futures.Future[_R]):
    """The result of a task: a concurrent.futures.Future. wait(), as_completed() and asyncio.wrap_future() take it.

    Waiting for it, by result() or exception(), is an interruption point.
    """

    # The same attributes as those of the base class, whose __init__ makes a Condition of Python code.
    def __init__(self) -> None:
        self._condition = Condition()  # type: ignore[assignment]
        self._state = PENDING
        self._result = None
        self._exception = None
        self._waiters = []
        self._done_callbacks: list[Callable[[_futures.Future[_R]], object]] = []
        self._task: _Task | None = None

    def cancel(self, *, interrupt: bool = False) -> bool:
        """Cancel the task if it has not begun; with `interrupt`, end it if it has.

        A running task is ended by a quell.TaskCancelled (an Interrupt, a BaseException) that is raised in it wherever it is; its
        handlers and finally clauses run, and then the future is cancelled. One that swallows it gets another one.

        True: the task will not begin, or has been told to end, which takes a moment: see wait() and exception(). It may still
        come to its result in that moment. False: it is over, or is running and `interrupt` was not asked for. The interrupt never
        reaches the worker or its next task.
        """
        if super().cancel():
            return True
        task = self._task
        return interrupt and task is not None and task.cancel()

    def _ended_cancelled(self) -> None:
        """The running task was ended by its cancellation: as if it had never begun."""
        with self._condition:
            self._state = CANCELLED_AND_NOTIFIED
            for waiter in self._waiters:
                waiter.add_cancelled(self)
            self._condition.notify_all()
        self._invoke_callbacks()  # type: ignore[attr-defined]


class _WorkItem(Generic[_R]):
    """A task: a call to be made, and the future for what comes of it."""

    __slots__ = ("args", "context", "fn", "future", "kwargs")

    def __init__(
        self,
        future: Future[_R],
        fn: Callable[..., _R],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.future = future
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.context = copy_context()

    def run(self) -> None:
        """Make the call, in a shield."""
        future = self.future
        task = future._task
        assert task is not None
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = task.run(self.context, self.fn, self.args, self.kwargs)
        except BaseException as error:
            future._task = None
            if task.cancelled_by(error):
                future._ended_cancelled()
            else:
                future.set_exception(error)
            # Break a reference cycle with the exception.
            self = future = None  # type: ignore[assignment]
        else:
            future._task = None
            future.set_result(result)


class _Stop:
    """What the interpreter's exit takes for the queue of a worker: it puts None, and that shuts the queue down."""

    def __init__(self, queue: "Queue[Any]") -> None:
        self._queue = queue

    def put(self, _none: None) -> None:
        self._queue.shutdown()


class _Place:
    """Where a worker says what it is at, and is told to end that, and whatever it may begin.

    The worker writes `future` and then reads `closed`, who closes it the other way round: one of them sees what the other wrote.
    """

    __slots__ = ("closed", "future")

    def __init__(self) -> None:
        self.future: Future[Any] | None = None
        self.closed = False

    def close(self) -> None:
        self.closed = True
        future = self.future
        if future is not None:
            future.cancel(interrupt=True)


class _Worker(Thread):
    """Its thread is in a shield from its first statement to its end."""

    def _bootstrap(self) -> None:
        _shield().__enter__()
        super()._bootstrap()


def _work(
    reference: "_weakref.ref[ThreadPoolExecutor]",
    queue: "Queue[_WorkItem[Any]]",
    place: "_Place",
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
) -> None:
    """What a worker does."""
    if initializer is not None:
        try:
            _Task().run(copy_context(), initializer, initargs, None)
        except BaseException:
            LOGGER.critical("Exception in initializer:", exc_info=True)
            executor = reference()
            if executor is not None:
                executor._initializer_failed()
            return
    get, get_nowait = queue.get, queue.get_nowait
    try:
        # The first is for the task that the worker was started for, which may not be there yet: it is not idle.
        item = get()
        while True:
            place.future = item.future
            if place.closed:
                item.future.cancel(interrupt=True)
            item.run()
            place.future = None
            del item
            try:
                item = get_nowait()
            except _queue.Empty:
                executor = reference()
                if executor is not None:
                    executor._idle_semaphore.release()
                del executor
                item = get()
    except ShutDown:
        executor = reference()
        if executor is not None:
            executor._shutdown = True
    except BaseException:
        LOGGER.critical("Exception in worker", exc_info=True)


class ThreadPoolExecutor(_futures.ThreadPoolExecutor):
    """A concurrent.futures.ThreadPoolExecutor whose running tasks can be stopped.

        with quell.ThreadPoolExecutor(4, timeout=30) as executor:
            future = executor.submit(work, 1)
            future.cancel(interrupt=True)  # ends it wherever it is

    max_workers, thread_name_prefix, initializer, initargs: as there. Besides:

    timeout: the seconds that a task may run; one that takes longer is interrupted wherever it is and ends with quell.Timeout.
        submit_timeout() gives a task a limit of its own. None: no limit.
    queue_size: how many tasks may wait for a worker; submit() waits for room, an interruption point. 0: any number.

    A task runs in a copy of the context (contextvars) in which it was submitted. An interrupt that is aimed at a task, by cancel(), by its
    limit, or by quell.interrupt() at the worker's thread, never reaches the worker's loop or another task; if the task has ended
    meanwhile, it is taken back.
    """

    # In the place of the base class's.
    _broken: Any
    _idle_semaphore: Semaphore  # type: ignore[assignment]
    _initializer: Any
    _shutdown_lock: Lock  # type: ignore[assignment]
    _threads: set[Thread]
    _work_queue: "Queue[_WorkItem[Any]]"  # type: ignore[assignment]

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        timeout: float | None = None,
        queue_size: int = 0,
    ) -> None:
        # Checks the arguments, and makes what others may look at. What follows replaces the rest.
        super().__init__(max_workers, thread_name_prefix, initializer, initargs)
        _Task(timeout)
        if not isinstance(queue_size, int):
            raise TypeError(f"queue_size must be an int, not {type(queue_size).__name__}")
        if queue_size < 0:
            raise ValueError(f"queue_size must not be negative: {queue_size}; 0 means any number")
        self._timeout = timeout
        self._initializer, self._initargs = initializer, initargs
        self._work_queue = Queue(queue_size)
        self._idle_semaphore = Semaphore(0)
        self._shutdown_lock = Lock()
        self._places: list[_Place] = []
        self._put = self._work_queue.put

    def submit(self, fn: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_R]:
        """Have a worker call fn(*args, **kwargs). Returns a Future for the result.

        Waits only if the executor has a queue_size and as many tasks wait: an interruption point; who is interrupted there has
        submitted nothing. RuntimeError after shutdown(), BrokenThreadPool if an initializer has failed.
        """
        return self._submit(self._timeout, fn, args, kwargs)

    def submit_timeout(
        self, seconds: float | None, fn: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Future[_R]:
        """As submit(), for a task that may run for so many seconds, whatever the executor's limit; None means no limit.

        The time counts from when a worker begins with it. Past it the task is interrupted wherever it is, and ends with quell.Timeout.
        """
        return self._submit(seconds, fn, args, kwargs)

    def _submit(
        self,
        seconds: float | None,
        fn: Callable[..., _R],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Future[_R]:
        if self._broken or self._shutdown or _standard._shutdown:
            raise self._refusal()
        future: Future[_R] = Future()
        future._task = _Task(seconds)
        item = _WorkItem(future, fn, args, kwargs)  # type: ignore[arg-type]
        # A worker that counts as idle is spoken for, or another one is started. Should this end before the task is in the queue,
        # one worker is idle that does not count as such.
        if not self._idle_semaphore.acquire(False):
            self._adjust_thread_count()
        try:
            # In one statement: nobody is interrupted who has submitted a task and does not get its future.
            return (self._put(item), future)[1]
        except ShutDown:
            raise self._refusal() from None

    def _refusal(self) -> Exception:
        """What is to be said to who submits a task too late."""
        if self._broken:
            return _thread.BrokenThreadPool(self._broken)
        when = "interpreter shutdown" if _standard._shutdown else "shutdown"
        return RuntimeError(f"cannot schedule new futures after {when}")

    def _adjust_thread_count(self) -> None:
        if len(self._threads) >= self._max_workers:
            return
        # In a shield, because what is begun here is not to be left half done.
        with _shield(), self._shutdown_lock, _standard._global_shutdown_lock:
            count = len(self._threads)
            if count >= self._max_workers or self._shutdown or _standard._shutdown:
                return

            def gone(_reference: object, queue: "Queue[Any]" = self._work_queue) -> None:
                queue.shutdown()

            place = _Place()
            reference = _weakref.ref(self, gone)
            queue = self._work_queue
            thread = _Worker(
                name=f"{self._thread_name_prefix}_{count}",
                target=_work,
                args=(reference, queue, place, self._initializer, self._initargs),
            )
            thread.start()
            self._places.append(place)
            self._threads.add(thread)
            _standard._threads_queues[thread] = _Stop(queue)

    def _initializer_failed(self) -> None:
        with self._shutdown_lock:
            self._broken = "A thread initializer failed, the thread pool is not usable anymore"
            self._work_queue.shutdown()
        for item in self._left():
            item.future.set_exception(_standard.BrokenThreadPool(self._broken))

    def _left(self) -> Iterable[_WorkItem[Any]]:
        """Takes what is left in the queue."""
        while True:
            try:
                yield self._work_queue.get_nowait()
            except (_queue.Empty, ShutDown):
                return

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
            for item in self._left():
                item.future.cancel()
        if interrupt:
            for place in self._places:
                place.close()
        if wait:
            for thread in self._threads:
                thread.join()
