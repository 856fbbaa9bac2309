"""Places where an exception would be swallowed or would leave a body half done."""

from __future__ import annotations

import ctypes
import gc
import io
import logging
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator
from typing import Any

from .forms import LOG, caught, nothing, place

#: Set by who runs the shapes.
Stop: type[BaseException] = BaseException


class Sender:
    """Lets a body say that it is running, and keeps it running until the interrupt is on its way.

    ``inside`` is the body. Its first visit calls ``entered``, goes on until ``sent`` is set, and then
    for a while more with the interrupt pending. Alone (``shapes_alone.py NAME``) there is nobody to wait
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
    me = threading.get_ident()

    def callback(phase: str, info: dict[str, int]) -> None:
        nonlocal watching
        if watching and threading.get_ident() == me and phase == "start":
            watching = False
            sender.inside()

    gc.callbacks.append(callback)
    try:
        # While another thread collects, this does nothing.
        while watching:
            gc.collect()
        for_ever()
    except Stop:
        caught()
    finally:
        gc.callbacks.remove(callback)


class Unraised:
    def __del__(self) -> None:
        raise ValueError


@place
def unraisable_hook() -> None:
    def hook(unraisable: Any) -> None:
        if unraisable.exc_type is ValueError:
            sender.inside()

    old, sys.unraisablehook = sys.unraisablehook, hook
    try:
        thing: Any = Unraised()
        thing = None  # noqa: F841
        for_ever()
    except Stop:
        caught()
    finally:
        sys.unraisablehook = old


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
    "unraisable_hook",
    "generator_closed_by_collector",
    "generator_closed",
    "file_finalizer",
    "context_exit",
    "finally_body",
}
