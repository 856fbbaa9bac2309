"""Shapes of code to be interrupted: loops of every kind, generators, coroutines. Callbacks are in `callbacks.py`, the places in which
an exception would be swallowed in `places.py`.

A shape calls `go()` once it is ready, inside its own `try`; from then on an interrupt may come at any moment. It returns the
`Stop` that its own `except` has caught, and notes in `log` what must have been done by then.
"""

# The shapes are what is tested.
# ruff: noqa: B007, B012, B018, B023, C416, C417, E731, RET507, S102, SIM105, SIM113, SIM117

import asyncio
import logging
import queue
import threading
import types
from collections.abc import Callable
from typing import Any

import quell

SHAPES: dict[str, tuple[Callable[..., Any], list[object]]] = {}


class Stop(BaseException):
    """What shapes are interrupted with."""


def shape(function):
    """A shape, that has nothing to note."""
    SHAPES[function.__name__] = function, []
    return function


def noting(*expected):
    """A shape that notes these, in this order."""

    def add(function):
        SHAPES[function.__name__] = function, list(expected)
        return function

    return add


def nothing():
    pass


# ---- loops


@shape
def endless(go, log):
    try:
        go()
        while True:
            pass
    except Stop as stop:
        return stop


@shape
def counting(go, log):
    n = 0
    try:
        go()
        while True:
            n += 1
    except Stop as stop:
        return stop


@shape
def calling(go, log):
    try:
        go()
        while True:
            nothing()
    except Stop as stop:
        return stop


@shape
def conditional(go, log):
    n = 0
    try:
        go()
        while n >= 0:
            n += 1
    except Stop as stop:
        return stop


@shape
def over_an_iterator(go, log):
    try:
        go()
        for _ in iter(int, 1):
            pass
    except Stop as stop:
        return stop


@shape
def with_inner_loop_and_continue(go, log):
    try:
        go()
        while True:
            for i in range(100):
                if i & 1:
                    continue
                else:
                    i + 1
    except Stop as stop:
        return stop


@shape
def with_match(go, log):
    n = 0
    try:
        go()
        while True:
            match n:
                case 0:
                    n = 1
                case 1:
                    n = 0
    except Stop as stop:
        return stop


@shape
def with_a_try_inside(go, log):
    go()
    n = 0
    while True:
        try:
            n += 1
        except Stop as stop:
            return stop


with_a_try_inside.may_escape = True


@shape
def with_a_try_and_a_call_inside(go, log):
    go()
    while True:
        try:
            nothing()
        except Stop as stop:
            return stop


with_a_try_and_a_call_inside.may_escape = True


@noting("finally")
def finally_inside(go, log):
    try:
        try:
            go()
            while True:
                pass
        finally:
            log.append("finally")
    except Stop as stop:
        return stop


@noting("inner", "outer")
def finally_nested(go, log):
    n = 0
    try:
        try:
            try:
                go()
                while n >= 0:
                    n += 1
            finally:
                log.append("inner")
        finally:
            log.append("outer")
    except Stop as stop:
        return stop


@noting("free")
def inside_a_standard_lock(go, log):
    lock = threading.Lock()
    try:
        with lock:
            go()
            while True:
                pass
    except Stop as stop:
        log.append("locked" if lock.locked() else "free")
        return stop


@noting("free")
def inside_a_lock(go, log):
    lock = quell.Lock()
    try:
        with lock:
            go()
            while True:
                pass
    except Stop as stop:
        log.append("locked" if lock.locked() else "free")
        return stop


@noting("finally", "free")
def inside_an_acquired_lock(go, log):
    lock = quell.RLock()
    try:
        lock.acquire()
        try:
            go()
            n = 0
            while n >= 0:
                n += 1
        finally:
            log.append("finally")
            lock.release()
    except Stop as stop:
        log.append("free" if "unlocked" in repr(lock) else "locked")
        return stop


@noting("free")
def around_locks(go, log):
    first, second = quell.Lock(), threading.Lock()
    try:
        go()
        while True:
            with first:
                nothing()
                with second:
                    nothing()
            nothing()
    except Stop as stop:
        log.append("locked" if first.locked() or second.locked() else "free")
        return stop


# ---- functions


def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


@shape
def recursion(go, log):
    try:
        go()
        fibonacci(60)
    except Stop as stop:
        return stop


@noting(*range(51))
def a_deep_stack(go, log):
    def deep(n):
        try:
            if n:
                return deep(n - 1)
            go()
            while True:
                pass
        finally:
            log.append(n)

    try:
        deep(50)
    except Stop as stop:
        return stop


class Operators:
    def __add__(self, other):
        return self

    @property
    def value(self):
        return 1

    def __iter__(self):
        return self

    def __next__(self):
        return 1


@shape
def operators(go, log):
    o = Operators()
    try:
        go()
        while True:
            o + o
            o.value
    except Stop as stop:
        return stop


@shape
def an_iterator_in_python(go, log):
    try:
        go()
        for _ in Operators():
            pass
    except Stop as stop:
        return stop


@shape
def executed_text(go, log):
    names = {"Stop": Stop, "go": go}
    exec(
        "try:\n    go()\n    while True: pass\nexcept Stop as stop:\n    caught = stop\n",
        names,
    )
    return names["caught"]


@shape
def evaluated_text(go, log):
    try:
        eval("[go()] + [0 for _ in iter(int, 1)]", {"go": go})
    except Stop as stop:
        return stop


@shape
def a_class_body(go, log):
    class Body:
        caught = None
        try:
            go()
            while True:
                pass
        except Stop as stop:
            caught = stop

    return Body.caught


# ---- generators, comprehensions, coroutines


def count():
    n = 0
    while True:
        yield n
        n += 1


@shape
def over_a_generator(go, log):
    try:
        go()
        for _ in count():
            pass
    except Stop as stop:
        return stop


@noting("finally")
def over_a_generator_with_a_finally(go, log):
    def ones():
        try:
            while True:
                yield 1
        finally:
            log.append("finally")

    numbers = ones()
    next(numbers)
    try:
        go()
        for n in numbers:
            n + 1
    except Stop as stop:
        numbers.close()
        return stop


@shape
def delegating_generators(go, log):
    def outer():
        yield from count()

    try:
        go()
        for _ in outer():
            pass
    except Stop as stop:
        return stop


@shape
def a_generator_expression(go, log):
    try:
        go()
        sum(1 for _ in iter(int, 1))
    except Stop as stop:
        return stop


@shape
def comprehensions(go, log):
    try:
        go()
        while True:
            [i for i in range(100)]
    except Stop as stop:
        return stop


@shape
def an_endless_comprehension(go, log):
    try:
        go()
        {0 for _ in iter(int, 1)}
    except Stop as stop:
        return stop


async def one():
    return 1


@shape
def coroutines(go, log):
    async def main():
        while True:
            await one()

    try:
        go()
        main().send(None)
    except Stop as stop:
        return stop


@types.coroutine
def give_way():
    yield


@shape
def coroutines_that_suspend(go, log):
    async def main():
        while True:
            await give_way()

    task = main()
    try:
        go()
        while True:
            task.send(None)
    except Stop as stop:
        task.close()
        return stop


@noting("finally")
def a_coroutine_with_a_finally(go, log):
    async def main():
        try:
            go()
            while True:
                await one()
        finally:
            log.append("finally")

    try:
        main().send(None)
    except Stop as stop:
        return stop


@shape
def an_asynchronous_generator(go, log):
    async def numbers():
        while True:
            yield 1

    async def main():
        async for _ in numbers():
            pass

    try:
        go()
        main().send(None)
    except Stop as stop:
        return stop


def run_quietly(main):
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


@shape
def a_task_of_asyncio(go, log):
    async def main():
        go()
        while True:
            await asyncio.sleep(0)

    try:
        run_quietly(main())
    except Stop as stop:
        return stop


a_task_of_asyncio.slow = True

# ---- the standard library


@shape
def a_handler_of_logging(go, log):
    class Handler(logging.Handler):
        def emit(self, record):
            nothing()

    logger = logging.Logger("shapes")
    logger.addHandler(Handler())
    try:
        go()
        while True:
            logger.error("text")
    except Stop as stop:
        return stop


@shape
def standard_queues(go, log):
    numbers = queue.Queue()
    try:
        go()
        while True:
            numbers.put(1)
            numbers.get()
    except Stop as stop:
        return stop


@shape
def queues(go, log):
    numbers = quell.Queue()
    try:
        go()
        while True:
            numbers.put(1)
            numbers.get()
    except Stop as stop:
        return stop


@shape
def waits(go, log):
    numbers = quell.Queue()
    try:
        go()
        numbers.get()
    except Stop as stop:
        return stop
