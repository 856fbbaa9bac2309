"""Loops that never end, in every shape that compiles to something different."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from typing import Any

from .forms import caught, loop, loop_as_written, nothing

#: Set by who runs the shapes.
Stop: type[BaseException] = BaseException


@loop
def while_pass() -> None:
    try:
        while True:
            pass
    except Stop:
        caught()


@loop
def while_body() -> None:
    n = 0
    try:
        while True:
            n += 1
    except Stop:
        caught()


@loop
def while_call() -> None:
    try:
        while True:
            nothing()
    except Stop:
        caught()


@loop
def while_after_prefix() -> None:
    try:
        n = 0
        while True:
            n += 1
    except Stop:
        caught()


@loop
def while_condition() -> None:
    n = 0
    try:
        while n >= 0:
            n += 1
    except Stop:
        caught()


@loop
def for_iter() -> None:
    try:
        for _ in iter(int, 1):
            pass
    except Stop:
        caught()


@loop
def with_lock_around() -> None:
    held = threading.Lock()
    try:
        with held:
            while True:
                pass
    except Stop:
        if not held.locked():
            caught()


@loop
def acquire_try() -> None:
    held = threading.Lock()
    try:
        held.acquire()
        try:
            while True:
                pass
        finally:
            held.release()
    except Stop:
        if not held.locked():
            caught()


@loop_as_written
def try_inside() -> None:
    n = 0
    while True:
        try:
            n += 1
        except Stop:
            caught()
            return


@loop_as_written
def try_finally_inside() -> None:
    n = 0
    while True:
        try:
            n += 1
        except Stop:
            caught()
            return
        finally:
            n -= 1


@loop_as_written
def try_inside_with_call() -> None:
    while True:
        try:
            nothing()
        except Stop:
            caught()
            return


def counting() -> Iterator[int]:
    n = 0
    while True:
        yield n
        n += 1


@loop
def over_generator() -> None:
    try:
        for _ in counting():
            pass
    except Stop:
        caught()


@loop
def generator_with_finally() -> None:
    closed = []

    def items() -> Generator[int, None, None]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    source = items()
    try:
        for i in source:
            i + 1
    except Stop:
        # Raised inside it, it is finished; raised outside, it is closed here.
        source.close()
        if closed:
            caught()


@loop
def generator_expression() -> None:
    try:
        sum(1 for _ in iter(int, 1))
    except Stop:
        caught()


@loop
def comprehension_inside() -> None:
    try:
        while True:
            [i for i in range(1000)]
    except Stop:
        caught()


@loop
def endless_comprehension() -> None:
    try:
        {0 for _ in iter(int, 1)}
    except Stop:
        caught()


def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


@loop
def recursion() -> None:
    try:
        fibonacci(60)
    except Stop:
        caught()


@loop
def deep_finally() -> None:
    unwound: list[int] = []

    def down(n: int) -> None:
        try:
            if n:
                return down(n - 1)
            while True:
                pass
        finally:
            unwound.append(n)

    try:
        down(300)
    except Stop:
        # All of them, from where it was raised outwards.
        if unwound == list(range(unwound[0], 301)):
            caught()


async def one() -> int:
    return 1


@loop
def coroutine() -> None:
    async def main() -> None:
        while True:
            await one()

    coro: Coroutine[Any, Any, None] = main()
    try:
        coro.send(None)
    except Stop:
        caught()


@loop
def asyncio_run() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(0)

    try:
        asyncio.run(main())
    except Stop:
        caught()


@loop
def asynchronous_generator() -> None:
    async def items() -> AsyncIterator[int]:
        while True:
            yield 1

    async def main() -> None:
        async for _ in items():
            pass

    try:
        asyncio.run(main())
    except Stop:
        caught()


@loop
def sort_key() -> None:
    items = list(range(2000))
    try:
        while True:
            sorted(items, key=lambda v: -v)
    except Stop:
        caught()


@loop
def reduce_lambda() -> None:
    try:
        functools.reduce(lambda a, b: a, iter(int, 1))
    except Stop:
        caught()


@loop
def reduce_function() -> None:
    def second(a: int, b: int) -> int:
        return b

    try:
        functools.reduce(second, iter(int, 1))
    except Stop:
        caught()


class Endless:
    def __iter__(self) -> Endless:
        return self

    def __next__(self) -> int:
        return 1


@loop
def python_iterator() -> None:
    try:
        for _ in Endless():
            pass
    except Stop:
        caught()


@loop_as_written
def exec_body() -> None:
    names = {"Stop": Stop, "caught": caught}
    exec("try:\n while True: pass\nexcept Stop: caught()", names)


@loop_as_written
def exec_body_with_finally() -> None:
    done: list[bool] = []

    def caught_if_done() -> None:
        if done:
            caught()

    names = {"Stop": Stop, "caught": caught_if_done, "done": done}
    exec("try:\n try:\n  while True: pass\n finally: done.append(1)\nexcept Stop: caught()", names)


@loop
def class_body() -> None:
    class _Body:
        try:
            while True:
                pass
        except Stop:
            caught()


@loop
def eval_comprehension() -> None:
    try:
        eval("[0 for _ in iter(int, 1)]")
    except Stop:
        caught()


@loop
def nested_for_with_continue() -> None:
    try:
        while True:
            for i in range(100):
                if i & 1:
                    continue
                else:
                    i + 1
    except Stop:
        caught()


@loop
def match_statement() -> None:
    n = 0
    try:
        while True:
            match n:
                case 0:
                    n = 1
                case 1:
                    n = 0
    except Stop:
        caught()


class Operand:
    def __add__(self, other: Operand) -> Operand:
        return self

    @property
    def number(self) -> int:
        return 1


@loop
def operators_and_properties() -> None:
    o = Operand()
    try:
        while True:
            o + o
            o.number
    except Stop:
        caught()


@loop_as_written
def exception_groups() -> None:
    n = 0
    try:
        while True:
            try:
                n += 1
            except* ValueError:
                pass
    except BaseException as error:
        # Inside the try it arrives in a group, which is how the language defines except*.
        if isinstance(error, Stop) or (
            isinstance(error, BaseExceptionGroup) and error.subgroup(Stop) is not None
        ):
            caught()


@loop
def context_manager_stack() -> None:
    try:
        with contextlib.ExitStack() as stack:
            stack.callback(nothing)
            while True:
                pass
    except Stop:
        caught()


@loop
def long_native_steps() -> None:
    """Python code that is seen for a moment only, between long stretches that keep the GIL."""

    def zero(_: int) -> int:
        return 0

    try:
        list(map(zero, map(sum, [range(200_000)] * 100_000)))
    except Stop:
        caught()


@loop
def short_sleeps() -> None:
    """Python code that is seen for a moment only, between sleeps."""

    def zero(_: None) -> int:
        return 0

    try:
        list(map(zero, map(time.sleep, [0.01] * 100_000)))
    except Stop:
        caught()
