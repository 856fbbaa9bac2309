"""quell.patch: the blocking calls of the standard library, interruptible in every thread."""

from collections.abc import Iterable
from types import TracebackType
from typing import NamedTuple

from ._quell import _patch, _patchable, _unpatch


class Patchable(NamedTuple):
    """A function that `patch` can replace: its name, its group, and whether it is replaced now."""

    name: str
    group: str
    replaced: bool


#: What blocks and is not reached, and what happens there instead.
NOT_COVERED = {
    "socket.getaddrinfo, gethostbyname and other look-ups, also of users and groups (pwd, grp)": (
        "the C library waits in a loop of its own"
    ),
    "waits inside C libraries: database drivers (sqlite3 for a locked database, psycopg), curses, "
    "tkinter's main loop, functions called by ctypes": ("as the above; use their own time limits"),
    "os.system": "the C library waits for the command; use subprocess",
    "computations that let other threads run: hashlib, zlib, lzma, bz2, numpy": (
        "the interrupt is raised when they return"
    ),
    "time.sleep and all others in a thread that was already inside one when it was patched": (
        "that call goes on as it began"
    ),
    "input() at a terminal with the module readline": "the line editor reads by itself",
    "io.FileIO(path) of a FIFO": "use open()",
    "opening what is no FIFO and makes the opener wait, such as a serial line": "not patched",
    "termios.tcdrain, tcsetattr; fcntl.ioctl; closing a socket with SO_LINGER": "not patched",
    "os.fsync, mmap.flush, os.pread and whatever else waits for a disk": (
        "the system does not let go of it"
    ),
    "RLock._acquire_restore, with which Condition.wait takes its lock back": (
        "it must have the lock before it may end"
    ),
    "the locks inside buffered files, while another thread reads or writes the same one": (
        "interrupt that other thread"
    ),
    "code that holds the interpreter's lock, and system calls in uninterruptible sleep": (
        "nothing in the process reaches them"
    ),
}


class Patch:
    """What one call of `patch` has replaced, and the way back.

    A context manager: leaving the block undoes it.
    """

    __slots__ = ("_names", "_refused")

    def __init__(self, names: Iterable[str], refused: dict[str, str]) -> None:
        self._names = list(names)
        self._refused = refused

    @property
    def refused(self) -> dict[str, str]:
        """Functions that could not be replaced, and why."""
        return self._refused

    @property
    def replaced(self) -> tuple[str, ...]:
        """The functions that are replaced now."""
        return tuple(p.name for p in patchable() if p.replaced and p.name in self._names)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The functions that will be replaced as soon as their module is imported."""
        return tuple(p.name for p in patchable() if not p.replaced and p.name in self._names)

    @property
    def not_covered(self) -> dict[str, str]:
        """What blocks and is not reached, and what happens there instead."""
        return dict(NOT_COVERED)

    def undo(self) -> None:
        """Take it back. What was there before comes back, unless another `patch` wants it replaced as well.

        A thread that is inside one of the functions stays in it, and can be interrupted there; but one that waits for a lock of
        CPython 3.14 or for a SimpleQueue goes on in the original. A second call does nothing.
        """
        names, self._names = self._names, []
        if self in _active:
            _active.remove(self)
        _unpatch(names)

    def __enter__(self) -> "Patch":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.undo()

    def __repr__(self) -> str:
        return (
            f"<quell.Patch: {len(self.replaced)} replaced, {len(self.waiting)} waiting, "
            f"{len(self.refused)} refused>"
        )


_active: list[Patch] = []


def patch(*names: str, exclude: Iterable[str] = ()) -> Patch:
    """Make blocking calls of the standard library interruptible in every thread.

        quell.patch()                     # everything
        quell.patch("socket", "ssl")      # groups
        quell.patch("time.sleep")         # a function
        with quell.patch(exclude=["os"]): # for a while
            ...

    What is replaced is the implementation, inside the function objects of CPython. So it reaches who has one already: `from time
    import sleep` of long ago, bound methods, subclasses. Each does what it did, with the same arguments, errors, timeouts and
    audit events; but an interrupt (`quell.interrupt`, `quell.timeout`) that finds a thread blocked in it is raised there, and
    the call has had no effect. In the main thread, which a signal reaches in any blocking call, the original runs as ever.

    Imports nothing: what belongs to a module that is not loaded is replaced when it is. May be called more often: each call is
    undone by itself, and what was there comes back with the last.

    Raises ValueError for a name that is not in `patchable()`, and RuntimeError on an interpreter whose insides are not known:
    then nothing is replaced. What cannot be reached is in `Patch.not_covered` and in the book.
    """
    if isinstance(exclude, str):
        raise TypeError(f"exclude is a list of names: exclude=[{exclude!r}]")
    replaced, waiting, refused = _patch(list(names), list(exclude))
    done = Patch([*replaced, *waiting], dict(refused))
    _active.append(done)
    return done


def unpatch() -> None:
    """Undo every `patch` that has not been undone."""
    for active in list(_active):
        active.undo()


def patchable() -> tuple[Patchable, ...]:
    """All that `patch` can replace."""
    return tuple(Patchable(*entry) for entry in _patchable())


# As users see them.
for _public in (Patch, Patchable, patch, unpatch, patchable):
    _public.__module__ = "quell"
