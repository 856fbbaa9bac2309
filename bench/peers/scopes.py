"""What a way costs, whether its limits nest, and whether it raises outside of what it limits; each in a process of its own.

    scopes.py WAY (main | other) (cost | outer | inner | late) [COUNT]

cost   microseconds for a limit that is far away around a function that does nothing: the median of nine.
outer  a short limit around a shorter call with a limit of its own that ends in time, and then a loop: does the outer one end the loop?
inner  a short limit around a loop with a long one, whose exception is handled there: does the outer one come through that handler?
late   COUNT calls that take about as long as their limit, while another thread competes: how often does the exception come when the
       call is over?

Prints one line.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Callable

import cell
import ways

SHORT, LONG = 0.3, 3600.0


def nothing() -> None:
    pass


def loop() -> None:
    """Long, and not for ever: what abandons it has to be able to end."""
    end = time.monotonic() + 3
    n = 0
    while time.monotonic() < end:
        n += 1


def cost(_way: ways.Way, limited: ways.Limited) -> str:
    def timed(count: int) -> float:
        begun = time.perf_counter()
        for _ in range(count):
            limited(LONG, nothing)
        return time.perf_counter() - begun

    timed(2)
    count = max(1, min(20_000, int(0.05 / (timed(3) / 3))))
    return f"{statistics.median(timed(count) / count for _ in range(9)) * 1e6:.3g}"


def outer(way: ways.Way, limited: ways.Limited) -> str:
    def function() -> None:
        limited(SHORT / 3, nothing)
        loop()

    begun = time.monotonic()
    try:
        limited(SHORT, function)
    except BaseException as error:
        if not way.is_timeout(error):
            return f"error: {type(error).__name__}: {error}"
        return "kept" if time.monotonic() - begun < 2 else "late"
    return "lost"


def inner(way: ways.Way, limited: ways.Limited) -> str:
    handled = False
    begun = time.monotonic()

    def function() -> None:
        nonlocal handled
        try:
            limited(LONG, loop)
            # The block itself may have taken it for its own.
            handled = time.monotonic() - begun < 2
        except BaseException as error:
            # What somebody writes who means the inner limit: `except TheTimeout:`.
            if not way.is_timeout(error):
                raise
            handled = True
        loop()

    try:
        limited(SHORT, function)
    except BaseException as error:
        if handled:
            return "swallowed"
        if not way.is_timeout(error):
            return f"error: {type(error).__name__}: {error}"
        return "kept" if time.monotonic() - begun < 2 else "late"
    return "swallowed" if handled else "lost"


def late(way: ways.Way, limited: ways.Limited, count: int) -> str:
    sys.setswitchinterval(1e-5)
    over = False

    def compete() -> None:
        n = 0
        while not over:
            n += 1

    threading.Thread(target=compete, daemon=True).start()

    def until(end: float) -> Callable[[], None]:
        def function() -> None:
            while time.perf_counter() < end:
                pass

        return function

    trial = escaped = 0
    while trial < count:
        # Whatever comes here, and not out of the call, has escaped.
        try:
            while trial < count:
                trial += 1
                seconds = 0.001
                try:
                    # From 90% to 110% of the limit.
                    end = time.perf_counter() + seconds * (0.9 + trial % 21 / 100)
                    limited(seconds, until(end))
                except BaseException as error:
                    if not way.is_timeout(error):
                        raise
                for _ in range(300):
                    pass
        except BaseException as error:
            if not way.is_timeout(error):
                raise
            escaped += 1
    over = True
    return f"{escaped} of {count}"


def main() -> None:
    name, where, what, *count = sys.argv[1:]
    way = ways.WAYS[name]

    def run() -> None:
        try:
            if what != "cost" and "gevent" in sys.modules:
                raise RuntimeError("a loop in a greenlet gives way to none")
            measured: dict[str, Callable[..., str]] = {
                "cost": cost,
                "outer": outer,
                "inner": inner,
                "late": late,
            }
            answer = measured[what](way, way.prepare(), *map(int, count))
        except BaseException as error:
            answer = f"error: {type(error).__name__}: {str(error).splitlines()[:1]}"
        cell.tell(answer)
        cell.leave()

    cell.start(run, where)


if __name__ == "__main__":
    main()
