"""How a task is suspended until it is woken, by the event loop that runs it: asyncio's, or trio's (and so anyio's).

For the native coroutines alone. One suspension is good for one wait; wake() may be called in any thread, at any time, and more than
once.
"""

import sys
from collections.abc import Generator
from typing import Any, Protocol


class Suspension(Protocol):
    def wake(self) -> None: ...
    def __await__(self) -> Generator[Any, Any, None]: ...


class _Asyncio:
    __slots__ = ("_future", "_loop")

    def __init__(self) -> None:
        # Whoever runs such a loop has imported this, and others need not.
        self._loop: Any = sys.modules["asyncio"].get_running_loop()
        self._future: Any = self._loop.create_future()

    def wake(self) -> None:
        # A loop that is closed has no task left to wake.
        if not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(self._resume)
            except RuntimeError:
                if not self._loop.is_closed():
                    raise

    def _resume(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    def __await__(self) -> Generator[Any, Any, None]:
        iterator: Generator[Any, Any, None] = self._future.__await__()
        return iterator


class _Trio:
    __slots__ = ("_insists", "_task", "_token", "_trio", "_waits")

    def __init__(self, insists: bool) -> None:
        self._insists = insists
        self._trio: Any = sys.modules["trio"]
        self._token = self._trio.lowlevel.current_trio_token()
        self._task = self._trio.lowlevel.current_task()
        self._waits = False

    def wake(self) -> None:
        try:
            self._token.run_sync_soon(self._resume)
        except self._trio.RunFinishedError:
            pass

    def _resume(self) -> None:
        if self._waits:
            self._waits = False
            self._trio.lowlevel.reschedule(self._task)

    def _abort(self, _raise_cancel: object) -> Any:
        if self._insists:
            return self._trio.lowlevel.Abort.FAILED
        self._waits = False
        return self._trio.lowlevel.Abort.SUCCEEDED

    def __await__(self) -> Generator[Any, Any, None]:
        self._waits = True
        iterator: Generator[Any, Any, None]
        iterator = self._trio.lowlevel.wait_task_rescheduled(self._abort).__await__()
        return iterator


def _in_trio() -> bool:
    trio: Any = sys.modules.get("trio")
    if trio is None:
        return False
    # One of the two loops may run inside the other; this knows which of them runs the task.
    sniffio: Any = sys.modules.get("sniffio")
    if sniffio is not None:
        try:
            return bool(sniffio.current_async_library() == "trio")
        except sniffio.AsyncLibraryNotFoundError:
            return False
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True


def suspension(insists: bool) -> Suspension:
    """One for the running task. RuntimeError if there is none of a loop that is known here.

    If it insists, the task cannot be cancelled in it. (One of asyncio can, and the operation suspends it again.)
    """
    if _in_trio():
        return _Trio(insists)
    try:
        return _Asyncio()
    except (KeyError, RuntimeError):
        raise RuntimeError(
            "awaited in no task of asyncio, trio or anyio; outside of tasks use the blocking form"
        ) from None
