"""What still runs when the script has ended: exit functions, finalizers, the last flush. ``shutdown.py NAME``"""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Callable

from stage import ready, run, script, spin


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


if __name__ == "__main__":
    run()
