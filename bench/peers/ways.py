"""The ways to give a function a time limit, each used as its own documentation says.

A way runs `function()` under a limit and either returns, or raises what the way raises when the time is up, which `is_timeout`
recognises. Packages are imported by the way that needs them, when it is prepared: a cell measures one. What limits a whole program
stands in `PROGRAMS`.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

#: Runs a function under a limit of so many seconds.
Limited = Callable[[float, Callable[[], None]], Any]


class OutOfTime(BaseException):
    """What the recipes raise, and what stands for a package's own way to say that the time is up."""


class Way:
    """One row of the table."""

    def __init__(self, prepare: Callable[[], Limited], form: str, source: str, **more: Any) -> None:
        self.prepare = prepare
        #: How it is used, in one line of code.
        self.form = form
        #: Whose documentation says so.
        self.source = source
        #: The distribution to ask for its version; None: part of Python.
        self.package: str | None = more.pop("package", None)
        #: Names of the exceptions that say that the time is up.
        self.errors: tuple[str, ...] = more.pop("errors")
        #: Whether the function runs in a process of its own.
        self.process: bool = more.pop("process", False)
        assert not more, more

    def is_timeout(self, error: BaseException) -> bool:
        return any(kind.__name__ in self.errors for kind in type(error).__mro__)


WAYS: dict[str, Way] = {}


def way(name: str, form: str, source: str, **more: Any) -> Callable[[Callable[[], Limited]], None]:
    def enter(prepare: Callable[[], Limited]) -> None:
        WAYS[name] = Way(prepare, form, source, **more)

    return enter


def of_block(block: Callable[[float], AbstractContextManager[Any]]) -> Limited:
    """The way of a context manager that raises."""

    def limited(seconds: float, function: Callable[[], None]) -> None:
        with block(seconds):
            function()

    return limited


@way(
    "quell.timeout, patched",
    "quell.patch(); with quell.timeout(s): f()",
    "[the guide](python.md), [the chapter on patch](patch.md)",
    errors=("Timeout",),
)
def quell_patched() -> Limited:
    import quell

    quell.patch()
    return of_block(quell.timeout)


@way(
    "quell.timeout",
    "with quell.timeout(s): f()",
    "[the guide](python.md#time-out-any-function)",
    errors=("Timeout",),
)
def quell_timeout() -> Limited:
    import quell

    return of_block(quell.timeout)


@way(
    "quell.ThreadPoolExecutor, patched",
    "quell.patch(); executor.submit_timeout(s, f).result()",
    "[the guide](python.md#a-pool-whose-tasks-can-be-stopped), [the chapter on patch](patch.md)",
    errors=("Timeout",),
)
def quell_executor() -> Limited:
    import quell

    quell.patch()
    executor = quell.ThreadPoolExecutor(max_workers=2)

    def limited(seconds: float, function: Callable[[], None]) -> None:
        executor.submit_timeout(seconds, function).result()

    return limited


@way(
    "SetAsyncExc recipe",
    "threading.Timer(s, PyThreadState_SetAsyncExc, [ident, exc])",
    "the C API reference; the recipe of many answers and blog posts",
    errors=("OutOfTime",),
)
def recipe_of_async_exc() -> Limited:
    api = ctypes.PyDLL(None)
    api.PyThreadState_SetAsyncExc.argtypes = [ctypes.c_ulong, ctypes.py_object]

    @contextlib.contextmanager
    def block(seconds: float) -> Iterator[None]:
        ident = threading.get_ident()
        timer = threading.Timer(seconds, api.PyThreadState_SetAsyncExc, [ident, OutOfTime])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    return of_block(block)


@way(
    "setitimer recipe",
    "signal.signal(SIGALRM, raises); signal.setitimer(ITIMER_REAL, s)",
    "the example of the module signal in the library reference, with setitimer in place of alarm",
    errors=("OutOfTime",),
)
def recipe_of_setitimer() -> Limited:
    def raises(_signum: int, _frame: object) -> None:
        raise OutOfTime

    @contextlib.contextmanager
    def block(seconds: float) -> Iterator[None]:
        before = signal.signal(signal.SIGALRM, raises)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    return of_block(block)


def of_stopit(block: Any) -> Limited:
    """A block of stopit's swallows its exception, and tells by its state."""

    def limited(seconds: float, function: Callable[[], None]) -> None:
        with block(seconds) as scope:
            function()
        if scope.state == scope.TIMED_OUT:
            raise OutOfTime

    return limited


@way(
    "stopit, threads",
    "with stopit.ThreadingTimeout(s) as scope: f()",
    "its README",
    package="stopit",
    errors=("OutOfTime", "TimeoutException"),
)
def stopit_threads() -> Limited:
    import stopit  # type: ignore[import-untyped]

    return of_stopit(stopit.ThreadingTimeout)


@way(
    "stopit, signals",
    "with stopit.SignalTimeout(s) as scope: f()",
    "its README; whole seconds in its documentation, so the limit is rounded up",
    package="stopit",
    errors=("OutOfTime", "TimeoutException"),
)
def stopit_signals() -> Limited:
    import stopit

    limited = of_stopit(stopit.SignalTimeout)
    return lambda seconds, function: limited(-int(-seconds // 1), function)


@way(
    "func_timeout",
    "func_timeout.func_timeout(s, f)",
    "its README",
    package="func-timeout",
    errors=("FunctionTimedOut",),
)
def func_timeout() -> Limited:
    import func_timeout  # type: ignore[import-untyped]

    return func_timeout.func_timeout  # type: ignore[no-any-return]


@way(
    "timeout-decorator",
    "timeout_decorator.timeout(s)(f)()",
    "its README; signals, its default",
    package="timeout-decorator",
    errors=("TimeoutError",),
)
def timeout_decorator() -> Limited:
    import timeout_decorator  # type: ignore[import-untyped]

    return lambda seconds, function: timeout_decorator.timeout(seconds)(function)()


@way(
    "wrapt_timeout_decorator, process",
    "timeout(s, use_signals=False)(f)()",
    "its README; the form for threads",
    package="wrapt-timeout-decorator",
    errors=("TimeoutError",),
    process=True,
)
def wrapt_timeout_decorator() -> Limited:
    from wrapt_timeout_decorator import timeout

    return lambda seconds, function: timeout(seconds, use_signals=False)(function)()


@way(
    "interruptingcow",
    "with interruptingcow.timeout(s, RuntimeError): f()",
    "its README",
    package="interruptingcow",
    errors=("OutOfTime",),
)
def interruptingcow() -> Limited:
    import interruptingcow  # type: ignore[import-untyped]

    return of_block(lambda seconds: interruptingcow.timeout(seconds, OutOfTime))


@way(
    "pebble, process",
    "pebble.concurrent.process(timeout=s)(f)().result()",
    "its README",
    package="pebble",
    errors=("TimeoutError",),
    process=True,
)
def pebble() -> Limited:
    from pebble import concurrent

    return lambda seconds, function: concurrent.process(function, timeout=seconds)().result()


@way(
    "Future.result(timeout)",
    "executor.submit(f).result(timeout=s)",
    "the library reference, concurrent.futures",
    errors=("TimeoutError",),
)
def future() -> Limited:
    from concurrent.futures import ThreadPoolExecutor

    executor = ThreadPoolExecutor(max_workers=8)
    return lambda seconds, function: executor.submit(function).result(timeout=seconds)


@way(
    "asyncio.timeout, to_thread",
    "async with asyncio.timeout(s): await asyncio.to_thread(f)",
    "the library reference, asyncio",
    errors=("TimeoutError",),
)
def asyncio_to_thread() -> Limited:
    import asyncio

    def limited(seconds: float, function: Callable[[], None]) -> None:
        async def main() -> None:
            async with asyncio.timeout(seconds):
                await asyncio.to_thread(function)

        asyncio.run(main())

    return limited


@way(
    "trio, abandon_on_cancel",
    "with trio.fail_after(s): await trio.to_thread.run_sync(f, abandon_on_cancel=True)",
    "its reference",
    package="trio",
    errors=("TooSlowError",),
)
def trio_threads() -> Limited:
    import trio

    def limited(seconds: float, function: Callable[[], None]) -> None:
        async def main() -> None:
            with trio.fail_after(seconds):
                await trio.to_thread.run_sync(function, abandon_on_cancel=True)

        trio.run(main)

    return limited


@way(
    "anyio, abandon_on_cancel",
    "with anyio.fail_after(s): await anyio.to_thread.run_sync(f, abandon_on_cancel=True)",
    "its documentation, on the asyncio backend",
    package="anyio",
    errors=("TimeoutError",),
)
def anyio_threads() -> Limited:
    import anyio
    import anyio.to_thread

    def limited(seconds: float, function: Callable[[], None]) -> None:
        async def main() -> None:
            with anyio.fail_after(seconds):
                await anyio.to_thread.run_sync(function, abandon_on_cancel=True)

        anyio.run(main)

    return limited


@way(
    "gevent, patched",
    "gevent.monkey.patch_all(); with gevent.Timeout(s): f()",
    "its documentation; the block is a greenlet's",
    package="gevent",
    errors=("Timeout",),
)
def gevent_patched() -> Limited:
    # Everything is patched when this module is imported: see cell.py.
    import gevent

    return of_block(gevent.Timeout)


@way(
    "rq, TimerDeathPenalty",
    "with TimerDeathPenalty(s, JobTimeoutException): f()",
    "its source: what its worker runs a job in, where there are no signals",
    package="rq",
    errors=("JobTimeoutException",),
)
def rq_timer() -> Limited:
    from rq.timeouts import JobTimeoutException, TimerDeathPenalty

    return of_block(lambda seconds: TimerDeathPenalty(seconds, JobTimeoutException))


@way(
    "Prefect, cancel_sync_after",
    "with cancel_sync_after(s): f()",
    "its source: what task(timeout_seconds=) runs a function in",
    package="prefect",
    errors=("CancelledError", "TimeoutError"),
)
def prefect() -> Limited:
    from prefect._internal.concurrency.cancellation import cancel_sync_after

    return of_block(cancel_sync_after)


class Program(NamedTuple):
    """A row whose limit is one for a whole program: how to start the program with a workload in it."""

    #: From a limit in seconds, the file of the workloads, the name of one, and where it is to run; None: not there.
    command: Callable[[float, str, str, str], list[str] | None]
    form: str
    source: str
    package: str | None


def quell_run(seconds: float, file: str, workload: str, where: str) -> list[str]:
    run = [
        sys.executable,
        "-m",
        "quell",
        "run",
        "--timeout",
        f"{seconds}s",
        "--grace",
        "1s",
        "--quiet",
    ]
    return [*run, file, workload, "main" if where == "main" else "worker"]


def pytest_timeout(method: str) -> Callable[[float, str, str, str], list[str] | None]:
    def command(seconds: float, _file: str, workload: str, where: str) -> list[str] | None:
        if where != "main":
            return None
        pytest = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider"]
        test = __file__.replace("ways.py", "pytest_cell.py")
        return [
            *pytest,
            f"--timeout={seconds}",
            f"--timeout-method={method}",
            f"{test}::test[{workload}]",
        ]

    return command


PROGRAMS = {
    "quell run": Program(
        quell_run, "quell run --timeout 5s script.py", "[its chapter](run.md)", None
    ),
    "pytest-timeout, signal": Program(
        pytest_timeout("signal"), "pytest --timeout=5", "its README", "pytest-timeout"
    ),
    "pytest-timeout, thread": Program(
        pytest_timeout("thread"),
        "pytest --timeout=5 --timeout-method=thread",
        "its README",
        "pytest-timeout",
    ),
}
