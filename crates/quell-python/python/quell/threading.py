"""The module threading with primitives whose waits can be interrupted and that never leak.

    from quell import threading

    thread = threading.Thread(target=work)
    thread.start()
    thread.interrupt()  # raises quell.Interrupt in it
    thread.join()       # can be interrupted itself

Lock, RLock, Condition, Semaphore, BoundedSemaphore, Event and Barrier are quell's. Thread and Timer are subclasses of the
standard library's. Everything else, public and private, is the standard module's own.
"""

import sys
import threading as _threading
from threading import (
    TIMEOUT_MAX,
    BrokenBarrierError,
    ExceptHookArgs,
    ThreadError,
    active_count,
    current_thread,
    enumerate,
    get_ident,
    get_native_id,
    getprofile,
    gettrace,
    local,
    main_thread,
    setprofile,
    settrace,
    stack_size,
)
from time import monotonic as _monotonic
from types import ModuleType as _ModuleType

from ._quell import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    RLock,
    Semaphore,
)
from ._quell import Delivery as _Delivery
from ._quell import interrupt as _interrupt
from ._quell import (
    shield as _shield,
)

if sys.version_info >= (3, 12):
    from threading import setprofile_all_threads, settrace_all_threads

# What type checkers take for true.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable as _Callable
    from collections.abc import Iterable as _Iterable
    from collections.abc import Mapping as _Mapping
    from threading import excepthook
    from typing import Any as _Any

__all__ = [
    "TIMEOUT_MAX",
    "Barrier",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "Condition",
    "Event",
    "ExceptHookArgs",
    "Lock",
    "RLock",
    "Semaphore",
    "Thread",
    "ThreadError",
    "Timer",
    "active_count",
    "current_thread",
    "enumerate",
    "excepthook",
    "get_ident",
    "get_native_id",
    "getprofile",
    "gettrace",
    "local",
    "main_thread",
    "setprofile",
    "settrace",
    "stack_size",
]
if sys.version_info >= (3, 12):
    __all__ += ["setprofile_all_threads", "settrace_all_threads"]
if not TYPE_CHECKING:
    # What a later version may add.
    __all__ += [name for name in _threading.__all__ if name not in __all__]
    del TYPE_CHECKING


class Thread(_threading.Thread):
    """A thread that can be interrupted, and whose join() can be.

    Takes the arguments of threading.Thread. Any other thread can be interrupted as well, by quell.interrupt(thread).
    """

    # Set when the thread has run. Made by start().
    _ended: Event | None = None

    def start(self) -> None:
        """Start the thread, and wait until it has begun: a moment in which nothing interrupts the caller."""
        if self._ended is None:
            self._ended = Event()
            self._ended._is_end(False)
        with _shield():
            super().start()

    def _bootstrap(self) -> None:
        if self._ended is not None:
            self._ended._is_end(True)
        try:
            super()._bootstrap()  # type: ignore[misc]
        finally:
            if self._ended is not None:
                self._ended.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread ends, for `timeout` seconds at most.

        An interruption point: who is interrupted has not joined, and the thread runs on.
        """
        # Of a thread that was not started, that has ended, or that calls this, threading says what there is to say.
        if self._ended is not None and self.is_alive() and self is not current_thread():
            begun = _monotonic()
            if not self._ended.wait(timeout):
                return
            if timeout is not None:
                timeout = max(0.0, timeout - (_monotonic() - begun))
        # What is left are the interpreter's own last steps in that thread.
        super().join(timeout)

    def interrupt(
        self,
        exc: BaseException | type[BaseException] | None = None,
        *,
        force: bool = False,
        impersonate: bool = False,
    ) -> _Delivery:
        """Raise an exception in the thread: quell.Interrupt unless given. See quell.interrupt()."""
        return _interrupt(self, exc, force=force, impersonate=impersonate)


class Timer(Thread, _threading.Timer):
    """Call a function after some time, unless cancel() is called first. Used like threading.Timer.

    The wait is an interruption point of the timer's own thread: interrupt() ends it as well, with an exception.
    """

    def __init__(
        self,
        interval: float,
        function: "_Callable[..., object]",
        args: "_Iterable[_Any] | None" = None,
        kwargs: "_Mapping[str, _Any] | None" = None,
    ) -> None:
        _threading.Timer.__init__(self, interval, function, args, kwargs)
        self.finished: Event = Event()  # type: ignore[assignment]


class _Module(_ModuleType):
    """What this module looks up in the standard one each time: all but its own names, and the hook, which can be replaced."""

    @property
    def excepthook(self) -> object:
        return _threading.excepthook

    @excepthook.setter
    def excepthook(self, hook: "_Callable[[ExceptHookArgs], object]") -> None:
        _threading.excepthook = hook

    def __getattr__(self, name: str) -> object:
        try:
            return getattr(_threading, name)
        except AttributeError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None

    def __dir__(self) -> list[str]:
        return sorted({*globals(), *dir(_threading)})


sys.modules[__name__].__class__ = _Module
del sys
