"""Loops that never end, in every shape that compiles to something different; places where an
exception would be swallowed or would leave a body half done; and every way to enter a function.

Each shape is a function that keeps looping inside its own ``try``, and calls ``caught()`` in the
``except Stop`` of it. Where the exception lands in a ``try`` depends on what the compiler made of all
of it, so each is also made into more functions: with a ``finally`` on the same ``try``, with one on a
``try`` inside it, and all of these with every loop written on one line, as in ``while True: pass``.
:data:`Stop` is set by who runs them.

    shapes.py NAME [FORM]    runs one shape until something stops it
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import ctypes
import functools
import gc
import inspect
import io
import logging
import os
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import Any

Stop: type[BaseException] = BaseException

#: What the running shape has done.
LOG: list[str] = []

#: What each form has to leave in the log.
FORMS = {
    "except": ["except"],
    "except, finally": ["except", "finally"],
    "finally, except": ["finally", "except"],
    "except; one line": ["except"],
    "except, finally; one line": ["except", "finally"],
    "finally, except; one line": ["finally", "except"],
}

Shape = Callable[..., None]
LOOPS: dict[str, dict[str, Shape]] = {}
PLACES: dict[str, dict[str, Shape]] = {}
CALLEES: dict[str, dict[str, Shape]] = {}


def caught() -> None:
    LOG.append("except")


def cleaned() -> None:
    LOG.append("finally")


class _Reform(ast.NodeTransformer):
    """Puts a ``finally`` on, or into, the ``try`` that has the ``except Stop``, and loops on one line."""

    def __init__(self, form: str) -> None:
        self.form, _, self.line = form.partition("; ")

    def visit_Try(self, node: ast.Try) -> ast.AST:
        if not any(isinstance(h.type, ast.Name) and h.type.id == "Stop" for h in node.handlers):
            return self.generic_visit(node)
        if self.line:
            for statement in node.body:
                for part in ast.walk(statement):
                    if isinstance(part, (ast.While, ast.For)):
                        self.on_one_line(part)
        finish: list[ast.stmt] = [ast.copy_location(statement, node) for statement in _FINISH]
        if self.form == "except, finally":
            node.finalbody = [*node.finalbody, *finish]
        elif self.form == "finally, except":
            inner = ast.Try(body=node.body, handlers=[], orelse=[], finalbody=finish)
            node.body = [ast.copy_location(inner, node.body[0])]
        return node

    def on_one_line(self, loop: ast.While | ast.For) -> None:
        for part in ast.walk(loop):
            if hasattr(part, "lineno"):
                part.lineno = part.end_lineno = loop.lineno  # type: ignore[attr-defined]


_FINISH = ast.parse("cleaned()").body


def _forms(function: Shape) -> dict[str, Shape]:
    lines, first = inspect.getsourcelines(function)
    forms = {"except": function}
    for form in list(FORMS)[1:]:
        tree = ast.parse(textwrap.dedent("".join(lines)))
        tree = _Reform(form).visit(tree)
        assert isinstance(tree.body[0], ast.FunctionDef)
        tree.body[0].decorator_list = []
        ast.increment_lineno(ast.fix_missing_locations(tree), first - 1)
        made: dict[str, Shape] = {}
        exec(compile(tree, __file__, "exec"), globals(), made)
        forms[form] = made[function.__name__]
    return forms


def loop(function: Shape) -> Shape:
    LOOPS[function.__name__] = _forms(function)
    return function


def loop_as_written(function: Shape) -> Shape:
    """For shapes whose ``try`` is inside the loop, in a string, or of another kind."""
    LOOPS[function.__name__] = {"except": function}
    return function


def place(function: Shape) -> Shape:
    PLACES[function.__name__] = _forms(function)
    return function


def callee(function: Shape) -> Shape:
    CALLEES[function.__name__] = _forms(function)
    return function


def nothing() -> None:
    pass


# ---------------------------------------------------------------- loops


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


# ---------------------------------------------------------------- places


class Sender:
    """Lets a body say that it is running, and keeps it running until the interrupt is on its way.

    ``inside`` is the body. Its first visit calls ``entered``, goes on until ``sent`` is set, and then
    for a while more with the interrupt pending. Alone (``shapes.py NAME``) there is nobody to wait
    for: the body then takes so long that the limit falls into it.
    """

    def __init__(self) -> None:
        self.entered: Callable[[], None] = nothing
        self.sent = threading.Event()
        self.alone = False
        self.visits = 0

    def inside(self) -> None:
        self.visits += 1
        if self.visits > 1:
            return
        self.entered()
        if self.alone:
            until = time.monotonic() + 0.4
            while time.monotonic() < until:
                pass
        else:
            # Not a wait: the body has to be running Python code when the interrupt comes.
            while not self.sent.is_set():
                pass
            for i in range(3000):
                i + 1
        LOG.append("body")


sender = Sender()


def for_ever() -> None:
    n = 0
    while True:
        n += 1


class Finalized:
    def __del__(self) -> None:
        sender.inside()


@place
def finalizer() -> None:
    try:
        thing: Finalized | None = Finalized()
        thing = None  # noqa: F841
        for_ever()
    except Stop:
        caught()


class FinalizedByClose:
    def close(self) -> None:
        sender.inside()

    __del__ = close


@place
def finalizer_under_another_name() -> None:
    try:
        thing: FinalizedByClose | None = FinalizedByClose()
        thing = None  # noqa: F841
        for_ever()
    except Stop:
        caught()


@place
def finalizer_at_return() -> None:
    def short() -> int:
        thing = Finalized()  # noqa: F841
        return 1

    try:
        short()
        for_ever()
    except Stop:
        caught()


@place
def finalizer_in_list_clear() -> None:
    try:
        things = [Finalized()]
        things.clear()
        for_ever()
    except Stop:
        caught()


@place
def finalizer_in_collection() -> None:
    try:
        thing: Any = Finalized()
        thing.itself = thing
        thing = None
        gc.collect()
        for_ever()
    except Stop:
        caught()


class Referent:
    pass


@place
def weakref_callback() -> None:
    try:
        thing: Referent | None = Referent()
        reference = weakref.ref(thing, lambda _: sender.inside())  # noqa: F841
        thing = None
        for_ever()
    except Stop:
        caught()


@place
def weakref_method_callback() -> None:
    class Callback:
        def gone(self, _: object) -> None:
            sender.inside()

    try:
        thing: Referent | None = Referent()
        reference = weakref.ref(thing, Callback().gone)  # noqa: F841
        thing = None
        for_ever()
    except Stop:
        caught()


@place
def weakref_finalize() -> None:
    try:
        thing: Referent | None = Referent()
        weakref.finalize(thing, sender.inside)
        thing = None
        for_ever()
    except Stop:
        caught()


@place
def collector_callback() -> None:
    watching = True

    def callback(phase: str, info: dict[str, int]) -> None:
        if watching and phase == "start":
            sender.inside()

    gc.callbacks.append(callback)
    try:
        gc.collect()
        watching = False
        for_ever()
    except Stop:
        caught()
    finally:
        gc.callbacks.remove(callback)


def generator_with_cleanup() -> Generator[int, None, None]:
    try:
        yield 1
    finally:
        sender.inside()


@place
def generator_closed_by_collector() -> None:
    try:
        source: Any = generator_with_cleanup()
        next(source)
        source = None
        for_ever()
    except Stop:
        caught()


@place
def generator_closed() -> None:
    try:
        source = generator_with_cleanup()
        next(source)
        source.close()
        for_ever()
    except Stop:
        caught()


@place
def ctypes_callback() -> None:
    """What is raised in a callback from C is swallowed, and the place cannot be recognised."""

    def compare(_left: int | None, _right: int | None) -> int:
        sender.inside()
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    numbers = (ctypes.c_int * 4)(1, 2, 3, 4)
    try:
        ctypes.CDLL(None).qsort(numbers, 4, 4, kind(compare))
        for_ever()
    except Stop:
        caught()


@place
def file_finalizer() -> None:
    class Raw(io.RawIOBase):
        def close(self) -> None:
            if not self.closed:
                sender.inside()
                super().close()

    try:
        file: Raw | None = Raw()
        file = None  # noqa: F841
        for_ever()
    except Stop:
        caught()


@place
def context_exit() -> None:
    class Manager:
        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            sender.inside()

    try:
        with Manager():
            pass
        for_ever()
    except Stop:
        caught()


@place
def finally_body() -> None:
    try:
        try:
            nothing()
        finally:
            sender.inside()
        for_ever()
    except Stop:
        caught()


@place
def except_body() -> None:
    try:
        try:
            raise ValueError
        except ValueError:
            sender.inside()
        for_ever()
    except Stop:
        caught()


@place
def equality_in_dictionary() -> None:
    class Key:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            sender.inside()
            return True

    try:
        {Key(): 1}.get(Key())
        for_ever()
    except Stop:
        caught()


@place
def attribute_lookup() -> None:
    class Lazy:
        def __getattr__(self, name: str) -> object:
            sender.inside()
            raise AttributeError(name)

    try:
        hasattr(Lazy(), "missing")
        for_ever()
    except Stop:
        caught()


@place
def key_function() -> None:
    def key(value: int) -> int:
        sender.inside()
        return value

    try:
        sorted([1, 2], key=key)
        for_ever()
    except Stop:
        caught()


@place
def logging_handler() -> None:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                sender.inside()
            except Exception:
                self.handleError(record)

    log = logging.Logger("shapes")
    log.addHandler(Handler())
    try:
        log.error("something")
        for_ever()
    except Stop:
        caught()


#: Where Python would swallow the exception, and where cleanup would be left half done: there the
#: interrupt has to wait until the body is complete.
WHOLE_BODY = {
    "finalizer",
    "finalizer_under_another_name",
    "finalizer_at_return",
    "finalizer_in_list_clear",
    "finalizer_in_collection",
    "weakref_callback",
    "weakref_method_callback",
    "weakref_finalize",
    "collector_callback",
    "generator_closed_by_collector",
    "generator_closed",
    "file_finalizer",
    "context_exit",
    "finally_body",
}


# ---------------------------------------------------------------- callees
# The interrupt comes while the thread is blocked in `with held:`, which has no safe point after it;
# then the thread enters a function that nobody has looked at, in every way there is to enter one.


def endless() -> str:
    while True:
        pass


class Enter:
    def __add__(self, other: int) -> str:
        return endless()

    def __getattr__(self, name: str) -> str:
        return endless()

    def __iter__(self) -> Enter:
        return self

    def __next__(self) -> str:
        return endless()

    def __getitem__(self, key: int) -> str:
        return endless()


@callee
def by_call(held: threading.Lock) -> None:
    try:
        with held:
            endless()
    except Stop:
        caught()


@callee
def by_operator(held: threading.Lock) -> None:
    e = Enter()
    try:
        with held:
            e + 1
    except Stop:
        caught()


@callee
def by_attribute(held: threading.Lock) -> None:
    e = Enter()
    try:
        with held:
            e.anything
    except Stop:
        caught()


@callee
def by_next(held: threading.Lock) -> None:
    e = Enter()
    try:
        with held:
            for _ in e:
                return
    except Stop:
        caught()


@callee
def by_item(held: threading.Lock) -> None:
    e = Enter()
    try:
        with held:
            e[0]
    except Stop:
        caught()


@callee
def by_map(held: threading.Lock) -> None:
    m = map(lambda _: endless(), [1])
    try:
        with held:
            [*m][0]
    except Stop:
        caught()


@callee
def by_new_generator(held: threading.Lock) -> None:
    def items() -> Iterator[str]:
        yield endless()

    m = items()
    try:
        with held:
            for _ in m:
                return
    except Stop:
        caught()


@callee
def by_suspended_generator(held: threading.Lock) -> None:
    def items() -> Iterator[int]:
        yield 0
        while True:
            pass

    m = items()
    next(m)
    try:
        with held:
            for _ in m:
                return
    except Stop:
        caught()


@callee
def by_exec(held: threading.Lock) -> None:
    try:
        with held:
            exec("class C:\n while True: pass")
    except Stop:
        caught()


def opening(shape: Shape) -> int:
    """The line on which a shape's ``try``, or the loop around it, begins."""
    lines, first = inspect.getsourcelines(shape)
    for offset, line in enumerate(lines):
        if line.strip().startswith(("try:", "while ", "for ", "exec(")):
            return first + offset
    raise AssertionError(f"{shape.__name__} has no try")


def outcome_of(error: BaseException, shape: Shape) -> str:
    """What to call an interrupt that left the shape: too early for its ``try``, or past it."""
    at = error.__traceback__
    assert at is not None
    while at.tb_next:
        at = at.tb_next
    code, line = at.tb_frame.f_code, at.tb_lineno
    if code.co_name in EARLY or code is shape.__code__ and line < opening(shape):
        return "early"
    if code.co_filename == "<string>" and line == 0:
        return "early"
    return f"escaped from {code.co_name}:{line}"


#: What runs before a shape.
EARLY = {"announce", "main", "target"}


def announce() -> None:
    os.write(1, b"READY\n")


def main() -> None:
    global Stop
    import quell

    Stop = quell.TimeLimit
    name, form = [*sys.argv[1:], "except"][:2]
    shape = {**LOOPS, **PLACES, **CALLEES}[name][form]
    sender.alone = True
    sender.entered = announce
    try:
        if name not in PLACES:
            announce()
        shape(threading.Lock()) if name in CALLEES else shape()
        print(*LOG)
    except Stop as error:
        print(outcome_of(error, shape))


if __name__ == "__main__":
    main()
