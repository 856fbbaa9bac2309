"""One cell of the table: a function that runs away, under one way to limit it, in a process of its own.

    cell.py WAY WORKLOAD (main | other) SECONDS

The workloads are those of the command's own suite (tests/run/scripts/workloads.py, which is on the path): each prints READY, runs
away, and prints "cleaned up" in its `finally`. This prints how the call ended (ENDED, with the name of the exception), whether the
function still runs in this process afterwards (RUNNING or GONE), and SWALLOWED if a handler of the workload's own has eaten what it
was sent. A cell that hangs prints no more, and is ended by measure.py, which judges.
"""

from __future__ import annotations

import os
import sys

if sys.argv[1].startswith("gevent"):
    import gevent.monkey  # type: ignore[import-not-found]

    gevent.monkey.patch_all()

import threading
import time
from collections.abc import Callable
from types import FrameType

import ways
import workloads

#: Seconds after which a call that has ended should have stopped its function as well.
SETTLED = 1.0


def tell(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def running(function: Callable[[], None]) -> FrameType | None:
    """The frame in which a thread of this process runs the function."""
    for top in sys._current_frames().values():
        frame: FrameType | None = top
        while frame is not None:
            if frame.f_code is function.__code__:
                return frame
            frame = frame.f_back
    return None


def watch(function: Callable[[], None], seconds: float) -> None:
    """Say so if a handler of the function's own has swallowed an exception."""
    time.sleep(seconds)
    frame = running(function)
    if frame is not None and frame.f_locals.get("n", 0) < 0:
        tell("SWALLOWED")


def run(way: ways.Way, function: Callable[[], None], seconds: float) -> None:
    limited = way.prepare()
    threading.Thread(target=watch, args=[function, seconds + SETTLED], daemon=True).start()
    begun = time.monotonic()
    try:
        limited(seconds, function)
        how = "returned"
    except BaseException as error:
        kind = "timeout" if way.is_timeout(error) else "error"
        how = f"{kind} {type(error).__name__}: {str(error).splitlines()[:1]}"
    tell(f"ENDED {time.monotonic() - begun:.3f} {how}")
    end = time.monotonic() + SETTLED
    while running(function) is not None and time.monotonic() < end:
        time.sleep(0.01)
    tell("RUNNING" if running(function) is not None else "GONE")
    leave()


def start(function: Callable[[], None], where: str) -> None:
    """Call the function, which ends with leave(), in the main thread or in another one."""
    if where == "main":
        function()
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def leave() -> None:
    """End the process, whatever still runs in it."""
    os._exit(0)


def main() -> None:
    name, workload, where, seconds = sys.argv[1:]
    way, function = ways.WAYS[name], workloads.WORKLOADS[workload]
    start(lambda: run(way, function, float(seconds)), where)


if __name__ == "__main__":
    main()
