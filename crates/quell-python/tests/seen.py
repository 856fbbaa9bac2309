"""What the tests of looks and of deadlocks share: threads as quell.threads() sees them, and rings of threads that want locks."""

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import quell
from conftest import Worker, spin_until

Start = Callable[[Callable[[], object]], Worker]


@pytest.fixture(autouse=True)
def off() -> Iterator[None]:
    """Detection is off before and after each test."""
    assert quell.detection() == "off"
    yield
    quell.set_detection("off")


def info(thread: threading.Thread) -> quell.ThreadInfo:
    """What is known of a thread."""
    # An ident is used again by the system.
    alive = (t for t in quell.threads() if t.state != "finished")
    (found,) = (t for t in alive if t.ident == thread.ident)
    return found


def line_of(function: Callable[..., object], text: str) -> int:
    """The line of a function's source in which a text stands."""
    code = function.__code__
    lines = Path(code.co_filename).read_text().splitlines()
    for number in range(code.co_firstlineno, len(lines)):
        if text in lines[number]:
            return number + 1
    raise AssertionError(text)


def waits(thread: threading.Thread) -> quell.Waiting:
    """What a thread waits for, as soon as it does."""
    spin_until(lambda: info(thread).waits)
    waiting = info(thread).waits
    assert waiting
    return waiting


def waiting(thread: threading.Thread) -> bool:
    """Whether the thread is in a wait of quell's."""
    return any(t.ident == thread.ident and t.waits for t in quell.threads())


def wants(thread: threading.Thread, lock: Any) -> bool:
    """Whether the thread waits for this lock, or for that of this condition."""
    seen = info(thread).waits
    return seen is not None and seen.object is getattr(lock, "_lock", lock)


class Ring:
    """Threads of which each holds a lock and then wants the next one's: the last one closes the circle."""

    def __init__(self, start: Start, locks: Sequence[Any]) -> None:
        self.locks = locks
        holding = quell.Barrier(len(locks) + 1)
        self.turns = [quell.Event() for _ in locks]
        self.workers = [start(partial(self.run, n, holding)) for n in range(len(locks))]
        holding.wait()

    def run(self, number: int, holding: quell.Barrier) -> str:
        with self.locks[number]:
            holding.wait()
            self.turns[number].wait()
            with self.locks[(number + 1) % len(self.locks)]:
                return "both"

    def close(self) -> None:
        """Let them want, the first one first, the last one last."""
        for worker, turn in zip(self.workers[:-1], self.turns, strict=False):
            turn.set()
            spin_until(partial(in_lock, worker))
        self.turns[-1].set()

    def outcomes(self) -> list[object]:
        return [type(w.error) if w.done().error else w.result for w in self.workers]


def in_lock(thread: threading.Thread) -> bool:
    """Whether the thread waits for a lock or for the end of another thread."""
    return any(
        t.ident == thread.ident
        and t.waits
        and t.waits.kind.split(".")[-1] in {"Lock", "RLock", "Thread"}
        for t in quell.threads()
    )


def locks(
    count: int, kind: type[quell.Lock] | type[quell.RLock] = quell.Lock
) -> list[quell.Lock | quell.RLock]:
    return [kind() for _ in range(count)]
