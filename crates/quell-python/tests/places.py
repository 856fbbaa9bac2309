"""Places in which an exception would be swallowed: by the interpreter, by a C library, by an event loop.

Each runs `inside`, which says `go()` once it may be interrupted, and is told when the interrupt has been sent. It must not be cut; then
the place spins, so that the interrupt comes.
"""

# ruff: noqa: SIM117

import asyncio
import contextlib
import ctypes
import gc
import io
import readline
import socket
import sqlite3
import sys
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

from shapes import nothing

PLACES: dict[str, Callable[..., Any]] = {}


def place(function):
    """A place that must not be cut: it runs `inside` to its end, and returns to a loop."""
    PLACES[function.__name__] = function
    return function


def inside(go, log):
    log.append("begun")
    is_sent = go()
    while not is_sent():
        pass
    # It would come in one of these.
    for i in range(400):
        i + 1
    log.append("done")


def spin():
    while True:
        pass


@place
def a_del_method(go, log):
    class Dying:
        def __del__(self):
            inside(go, log)

    dying = Dying()
    del dying
    spin()


@place
def a_del_method_by_another_name(go, log):
    class Dying:
        def close(self):
            inside(go, log)

        __del__ = close

    Dying()
    spin()


@place
def a_del_method_at_the_end_of_a_function(go, log):
    class Dying:
        def __del__(self):
            inside(go, log)

    def function():
        dying = Dying()
        return dying is not None

    function()
    spin()


@place
def a_del_method_called_by_a_list(go, log):
    class Dying:
        def __del__(self):
            inside(go, log)

    [Dying()].clear()
    spin()


@place
def a_callback_of_a_weak_reference(go, log):
    class Dying:
        pass

    dying = Dying()
    reference = weakref.ref(dying, lambda _: inside(go, log))
    del dying
    spin()
    return reference


@place
def a_method_as_callback_of_a_weak_reference(go, log):
    class Dying:
        def told(self, reference):
            inside(go, log)

    dying = Dying()
    reference = weakref.ref(dying, Dying().told)
    del dying
    spin()
    return reference


@place
def a_finalizer(go, log):
    class Dying:
        pass

    dying = Dying()
    weakref.finalize(dying, inside, go, log)
    del dying
    spin()


def cleans_up(go, log):
    """A generator in whose cleanup it happens."""
    try:
        yield 1
    finally:
        inside(go, log)


@place
def a_generator_that_is_dropped(go, log):
    some = cleans_up(go, log)
    next(some)
    del some
    spin()


@place
def a_generator_that_is_closed(go, log):
    some = cleans_up(go, log)
    next(some)
    some.close()
    spin()


@place
def a_file_that_is_dropped(go, log):
    class Raw(io.RawIOBase):
        def close(self):
            if not self.closed:
                inside(go, log)
                super().close()

    Raw()
    spin()


@place
def an_exit(go, log):
    class Manager:
        def __enter__(self):
            pass

        def __exit__(self, *exc):
            inside(go, log)

    with Manager():
        pass
    spin()


@place
def a_finally_clause(go, log):
    try:
        nothing()
    finally:
        inside(go, log)
    spin()


def collect_with_callback(go, log):
    """Not a place of its own: callbacks of the collector are the process's. While another thread collects, or is in a callback of
    its own collection, nobody else can: then it is tried again."""
    on, me = [True], threading.get_ident()

    def told(phase, info):
        if on and phase == "start" and threading.get_ident() == me:
            on.clear()
            inside(go, log)

    gc.callbacks.append(told)
    try:
        while on:
            gc.collect(0)
    finally:
        gc.callbacks.remove(told)


@place
def a_callback_of_the_collector(go, log):
    collect_with_callback(go, log)
    spin()


a_callback_of_the_collector.slow = True


# ---- functions that a C library calls


def first(function, result):
    """A function that does something when it is first called, and returns the same each time."""
    calls = iter([function])

    def call(*_arguments):
        next(calls, nothing)()
        return result

    return call


@place
def a_comparison_of_qsort(go, log):
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    numbers = (ctypes.c_int * 4)(1, 2, 3, 4)
    ctypes.CDLL(None).qsort(numbers, 4, 4, compare(first(lambda: inside(go, log), 0)))
    spin()


@place
def a_hook_of_readline(go, log):
    library = ctypes.CDLL(readline.__file__)
    hook = ctypes.CFUNCTYPE(ctypes.c_int).in_dll(library, "rl_startup_hook")
    readline.set_startup_hook(first(lambda: inside(go, log), 0))
    try:
        hook()
    finally:
        readline.set_startup_hook(None)
    spin()


@contextlib.contextmanager
def database():
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("create table numbers (number)")
        connection.execute("insert into numbers values (2), (1)")
        yield connection


@place
def a_function_of_sqlite(go, log):
    with database() as connection:
        connection.create_function("called", 0, first(lambda: inside(go, log), 1))
        connection.execute("select called()").fetchall()
    spin()


@place
def an_aggregate_of_sqlite(go, log):
    class Aggregate:
        def step(self, *_):
            pass

        def finalize(self):
            inside(go, log)
            return 1

    with database() as connection:
        connection.create_aggregate("called", 1, Aggregate)
        connection.execute("select called(number) from numbers").fetchall()
    spin()


@place
def a_collation_of_sqlite(go, log):
    with database() as connection:
        connection.create_collation("called", first(lambda: inside(go, log), 0))
        connection.execute(
            "select cast(number as text) as t from numbers order by t collate called"
        ).fetchall()
    spin()


@place
def a_progress_handler_of_sqlite(go, log):
    with database() as connection:
        connection.set_progress_handler(first(lambda: inside(go, log), 0), 1)
        connection.execute("select * from numbers order by number").fetchall()
    spin()


@place
def an_authorizer_of_sqlite(go, log):
    with database() as connection:
        connection.set_authorizer(first(lambda: inside(go, log), sqlite3.SQLITE_OK))
        connection.execute("select * from numbers").fetchall()
        connection.set_authorizer(None)
    spin()


@place
def a_trace_of_sqlite(go, log):
    with database() as connection:
        connection.set_trace_callback(first(lambda: inside(go, log), None))
        connection.execute("select * from numbers").fetchall()
        connection.set_trace_callback(None)
    spin()


@place
def a_sort_key_below_a_function_of_sqlite(go, log):
    def called():
        sorted([1], key=lambda _: inside(go, log))
        return 1

    with database() as connection:
        connection.create_function("called", 0, called)
        for _ in connection.execute("select called()"):
            pass
    spin()


@place
def a_warning_that_a_finalizer_shows(go, log):
    """Of a socket that nobody has closed."""

    def show(*_arguments, **_keywords):
        inside(go, log)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        socket.socket()
    spin()


@place
def a_callback_of_an_event_loop(go, log):
    async def main():
        asyncio.get_running_loop().call_soon(inside, go, log)
        while True:
            await asyncio.sleep(0)

    asyncio.run(main())


a_callback_of_an_event_loop.slow = True


# ---- what is cut, but comes


def cut(function):
    """A place that nothing tells from others: its body is cut, and the interrupt comes all the same."""
    place(function).cut = True
    return function


@cut
def a_hook_of_asynchronous_generators(go, log):
    async def numbers():
        yield 1

    old = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(finalizer=lambda _: inside(go, log))
    try:
        some = numbers()
        with contextlib.suppress(StopIteration):
            some.__anext__().send(None)
        del some
    finally:
        sys.set_asyncgen_hooks(*old)
    # Not in another function: what has dropped it once might do so again.
    while True:
        pass
