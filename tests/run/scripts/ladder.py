"""Scripts that do their best not to end: ``ladder.py NAME``.

They say ``READY`` when they are where the limit has to find them, and what cleanup ran.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import ctypes
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

SCRIPTS: dict[str, Callable[[], None]] = {}


def script(function: Callable[[], None]) -> Callable[[], None]:
    SCRIPTS[function.__name__] = function
    return function


def note(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def ready() -> None:
    note("READY")


def spin() -> NoReturn:
    n = 0
    while True:
        n += 1


# ---------------------------------------------------------------- code that swallows


@script
def swallows_in_sleep() -> None:
    try:
        ready()
        while True:
            try:
                time.sleep(3600)
            except:  # noqa: E722
                pass
    finally:
        note("cleaned up")


@script
def swallows_nested() -> None:
    def level(n: int) -> None:
        while True:
            try:
                level(n - 1) if n else spin()
            except:  # noqa: E722
                pass

    try:
        ready()
        level(10)
    finally:
        note("cleaned up")


@script
def swallows_and_starts_again() -> None:
    def again(n: int) -> None:
        try:
            spin()
        except BaseException:
            again(n + 1)

    try:
        ready()
        again(0)
    finally:
        note("cleaned up")


@script
def swallows_with_suppress() -> None:
    try:
        ready()
        while True:
            with contextlib.suppress(BaseException):
                spin()
    finally:
        note("cleaned up")


@script
def swallows_in_finally() -> None:
    try:
        ready()
        for _ in itertools.count():
            try:
                spin()
            finally:
                continue
    finally:
        note("cleaned up")


@script
def swallows_in_asyncio() -> None:
    async def main() -> None:
        ready()
        while True:
            try:
                while True:
                    await asyncio.sleep(0)
            except BaseException:
                pass

    try:
        asyncio.run(main())
    finally:
        note("cleaned up")


@script
def swallows_in_generator() -> None:
    def items():
        while True:
            try:
                while True:
                    yield 1
            except:  # noqa: E722
                pass

    try:
        ready()
        for _ in items():
            pass
    finally:
        note("cleaned up")


@script
def long_finally() -> None:
    """Cleanup that never ends itself has to be forced."""
    try:
        ready()
        try:
            spin()
        finally:
            note("cleanup started")
            spin()
    finally:
        note("cleaned up")


@script
def excepthook_loops() -> None:
    sys.excepthook = lambda *_: spin()
    try:
        ready()
        spin()
    finally:
        note("cleaned up")


@script
def handles_and_exits() -> None:
    try:
        ready()
        spin()
    except BaseException as error:
        note(f"handled {type(error).__name__}")
        sys.exit(3)


@script
def handles_and_goes_on() -> None:
    """It came back after one second of other work: too long for the grace it has."""
    try:
        ready()
        spin()
    except BaseException as error:
        note(f"handled {type(error).__name__}")
    try:
        spin()
    finally:
        note("cleaned up")


# ---------------------------------------------------------------- native code


def lock_twice() -> None:
    """A mutex of C's that its holder waits for: a native call that keeps the GIL, and that no signal ends."""
    libc = ctypes.PyDLL(None)
    mutex = ctypes.create_string_buffer(256)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)  # lock_twice


@script
def keeps_the_gil() -> None:
    try:
        ready()
        lock_twice()
    finally:
        note("cleaned up")


@script
def sleeps_with_the_gil() -> None:
    try:
        ready()
        # A signal ends it.
        ctypes.PyDLL(None).sleep(3600)
    finally:
        note("cleaned up")


@script
def keeps_the_gil_in_a_thread() -> None:
    libc = ctypes.PyDLL(None)
    thread = threading.Thread(target=libc.sleep, args=(3600,))
    ready()
    thread.start()  # keeps_the_gil_in_a_thread
    thread.join()  # keeps_the_gil_in_a_thread
    note("cleaned up")


@script
def restarts_its_call() -> None:
    """Native code with its own EINTR loop, the GIL released."""
    reader, _writer = os.pipe()
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(1)
    try:
        ready()
        while True:
            libc.usleep(100)
            libc.read(reader, buffer, 1)
    finally:
        note("cleaned up")


# ---------------------------------------------------------------- threads


@script
def thread_blocked_after_main() -> None:
    held = threading.Lock()
    held.acquire()

    def work() -> None:
        try:
            threading.main_thread().join()
            ready()
            held.acquire()
        finally:
            note("cleaned up")

    threading.Thread(target=work, name="stuck").start()


@script
def thread_swallows() -> None:
    def work() -> None:
        try:
            while True:
                try:
                    time.sleep(3600)
                except:  # noqa: E722
                    pass
        finally:
            note("cleaned up")

    threading.Thread(target=work, name="stuck").start()
    ready()


@script
def thread_spins_after_main() -> None:
    def work() -> None:
        try:
            spin()
        finally:
            note("cleaned up")

    threading.Thread(target=work, name="stuck").start()
    ready()


@script
def executor() -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        started = threading.Barrier(5)

        def work(n: int) -> None:
            try:
                started.wait()
                spin() if n % 2 else time.sleep(3600)
            finally:
                note(f"cleaned up {n}")

        futures = [pool.submit(work, n) for n in range(4)]
        started.wait()
        ready()
        concurrent.futures.wait(futures)


@script
def fifty_threads() -> None:
    held = threading.Lock()
    held.acquire()
    started = threading.Barrier(51)

    def work(n: int) -> None:
        try:
            started.wait()
            [spin, held.acquire, threading.Event().wait, lambda: time.sleep(3600)][
                0 if n < 2 else 1 + n % 3
            ]()
        finally:
            note("cleaned up")

    for n in range(50):
        threading.Thread(target=work, args=(n,)).start()
    started.wait()
    ready()


@script
def daemon_threads() -> None:
    started = threading.Barrier(4)

    def work() -> None:
        started.wait()
        spin()

    for _ in range(3):
        threading.Thread(target=work, daemon=True).start()
    started.wait()
    try:
        ready()
        time.sleep(3600)
    finally:
        note("cleaned up")


# ---------------------------------------------------------------- the end of the interpreter


@script
def atexit_loops() -> None:
    def handler() -> None:
        ready()
        spin()  # atexit_loops

    atexit.register(handler)


@script
def atexit_sleeps() -> None:
    def handler() -> None:
        ready()
        time.sleep(3600)  # atexit_sleeps

    atexit.register(handler)


@script
def finalizer_loops() -> None:
    class Thing:
        def __del__(self) -> None:
            ready()
            n = 0
            while True:  # finalizer_loops
                n += 1  # finalizer_loops

    thing = Thing()
    del thing


@script
def finalizer_loops_at_exit() -> None:
    class Thing:
        def __del__(self, write: Callable[[int, bytes], int] = os.write) -> None:
            write(1, b"READY\n")
            n = 0
            while True:
                n += 1

    globals()["thing"] = Thing()


@script
def flush_blocks_at_exit() -> None:
    """The interpreter itself blocks, in the last flush of a pipe that nobody reads."""
    _reader, writer = os.pipe()
    ready()
    os.dup2(writer, 1)
    sys.stdout.write("x" * 1_000_000)


# ---------------------------------------------------------------- signals and surroundings


@script
def ignores_interrupts() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    try:
        ready()
        time.sleep(3600)
    finally:
        note("cleaned up")


@script
def own_handlers() -> None:
    threads = set()

    def handler(number: int, frame: object) -> None:
        threads.add(threading.current_thread() is threading.main_thread())

    for number in (signal.SIGINT, signal.SIGALRM, signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    try:
        ready()
        while True:
            time.sleep(3600)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        note("cleaned up" if threads == {True} else f"handlers ran elsewhere: {threads}")


@script
def blocks_all_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    ready()
    time.sleep(3600)  # blocks_all_signals


@script
def spins_with_all_signals_blocked() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        ready()
        spin()
    finally:
        note("cleaned up")


@script
def takes_every_realtime_signal() -> None:
    for number in range(signal.SIGRTMIN, signal.SIGRTMAX + 1):
        signal.signal(number, lambda *_: None)
    ready()
    time.sleep(3600)


@script
def closes_descriptors() -> None:
    os.closerange(3, 4096)
    try:
        ready()
        spin()
    finally:
        note("cleaned up")


@script
def closes_standard_error() -> None:
    sys.stderr.close()
    with contextlib.suppress(OSError):
        os.close(2)
    try:
        ready()
        time.sleep(3600)
    finally:
        note("cleaned up")


@script
def own_tracer() -> None:
    events = {"before": 0, "now": 0}

    def tracer(frame: Any, event: str, arg: Any) -> Any:
        events["now"] += 1
        return tracer

    sys.settrace(tracer)
    try:
        ready()
        spin()
    finally:
        note("cleaned up" if sys.gettrace() is tracer else "tracer lost")


@script
def takes_every_monitoring_tool() -> None:
    if sys.version_info >= (3, 12):
        for tool in range(6):
            if sys.monitoring.get_tool(tool) is None:
                sys.monitoring.use_tool_id(tool, "script")
    try:
        ready()
        spin()
    finally:
        note("cleaned up")


@script
def replaces_hooks() -> None:
    sys.unraisablehook = lambda _: None
    threading.excepthook = lambda _: None
    sys.breakpointhook = lambda: None
    try:
        ready()
        spin()
    finally:
        note("cleaned up")


@script
def long_switch_interval() -> None:
    sys.setswitchinterval(3600)
    try:
        ready()
        spin()
    finally:
        note("cleaned up")


@script
def shallow_recursion_limit() -> None:
    """No room for another Python frame when the interrupt comes."""

    def down() -> None:
        try:
            down()
        except RecursionError:
            spin()

    try:
        ready()
        down()
    finally:
        note("cleaned up")


# ---------------------------------------------------------------- processes


def deaf(name: str, writer: int) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    note(name)
    os.write(writer, b"x")
    while True:
        time.sleep(3600)


@script
def fork_tree() -> None:
    """A child and a grandchild that ignore what they can; the parent waits for the child."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            deaf("grandchild", writer)
        deaf("child", writer)
    for _ in range(2):
        os.read(reader, 1)
    try:
        ready()
        os.waitpid(child, 0)
    finally:
        note("cleaned up")


@script
def fork_spins() -> None:
    """The child goes on as a Python program of its own, and so does the parent."""
    if os.fork() == 0:
        spin()
    try:
        ready()
        spin()
    finally:
        note("cleaned up")


@script
def detached_grandchild() -> None:
    """In a session of its own, and its parent gone: as daemons make themselves."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            deaf("daemon", writer)
        os._exit(0)
    os.waitpid(child, 0)
    os.read(reader, 1)
    try:
        ready()
        time.sleep(3600)
    finally:
        note("cleaned up")


@script
def shell_tree() -> None:
    process = subprocess.Popen(
        ["sh", "-c", "sleep 3600 & sleep 3600 & echo started; wait"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        ready()
        process.wait()
    finally:
        note("cleaned up")


@script
def children_while_the_gil_is_kept() -> None:
    subprocess.Popen(["sleep", "3600"])
    ready()
    lock_twice()


# ---------------------------------------------------------------- other limits


@script
def burns_in_a_child() -> None:
    """The processor time is that of a child that has been waited for."""
    try:
        ready()
        while True:
            subprocess.run([sys.executable, "-c", "for i in range(10**6): pass"], check=True)
    finally:
        note("cleaned up")


@script
def grows() -> None:
    kept = []
    try:
        ready()
        while True:
            kept.append(bytearray(os.urandom(1 << 16)) * 64)
            time.sleep(0.01)
    except BaseException as error:
        size = sum(map(len, kept))
        kept.clear()
        note(f"handled {type(error).__name__} at {size >> 20} MiB: {vars(error)}")
        raise


@script
def grows_in_a_child() -> None:
    code = "import time; x = bytearray(b'x' * (300 << 20)); time.sleep(3600)"
    try:
        ready()
        subprocess.run([sys.executable, "-c", code], check=True)
    finally:
        note("cleaned up")


@script
def shows_the_limit() -> None:
    try:
        ready()
        spin()
    except BaseException as error:
        names = [cls.__qualname__ for cls in type(error).__mro__]
        note(f"{type(error).__module__} {names} {getattr(error, 'limit', None)!r}")
        note(f"used at least the limit: {getattr(error, 'used', 0) >= getattr(error, 'limit', 1)}")


@script
def spins() -> None:
    try:
        ready()
        spin()
    finally:
        note("cleaned up")


@script
def sleeps() -> None:
    try:
        ready()
        time.sleep(3600)
    finally:
        note("cleaned up")


@script
def interrupt_handler_does_nothing() -> None:
    signal.signal(signal.SIGINT, lambda *_: note("handler"))
    try:
        ready()
        while True:
            time.sleep(3600)
    finally:
        note("cleaned up")


@script
def sums() -> None:
    ready()
    sum(range(10**11))  # sums


if __name__ == "__main__":
    SCRIPTS[sys.argv[1]]()
