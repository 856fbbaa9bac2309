"""The Python primitives against the standard library's: nanoseconds for each operation, in one run.

    python bench/python_primitives.py [--reps 31] [--filter REGEX] [--json FILE]

Both sides are measured in turns, so that noise hits both; the table gives medians. One thread is measured with
its processor time, two threads with wall time.
"""

import argparse
import asyncio
import gc
import json
import queue
import re
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import quell

Work = Callable[[int], float]
REPEATED = 10


def loop(make: Callable[[], Any], statement: str) -> Work:
    """Work that runs the statement on a new `o` so many times and returns seconds for one."""
    lines = statement.split("\n")
    body = "".join(f"        {line}\n" for _ in range(REPEATED) for line in lines)
    source = f"def work(n, o, x, clock):\n    begin = clock()\n    for _ in range(n):\n{body}"
    source += "    return clock() - begin\n"
    names: dict[str, Any] = {"quell": quell}
    exec(source, names)
    instance, work = make(), names["work"]

    def run(n: int) -> float:
        return float(work(n, instance, None, time.thread_time)) / n / REPEATED

    return run


def filled(event: Any) -> Any:
    event.set()
    return event


def pair(a: Callable[[], None], b: Callable[[], None]) -> float:
    threads = [threading.Thread(target=f) for f in (a, b)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begin


def transfer(make: Callable[[], Any]) -> Work:
    """Items from one thread to another; seconds for one."""

    def run(n: int) -> float:
        q = make()

        def put() -> None:
            for i in range(n):
                q.put(i)

        def get() -> None:
            for _ in range(n):
                q.get()

        return pair(put, get) / n

    return run


def ping_pong_queue(make: Callable[[], Any]) -> Work:
    def run(n: int) -> float:
        p, q = make(), make()

        def ping() -> None:
            for _ in range(n):
                p.put(1)
                q.get()

        def pong() -> None:
            for _ in range(n):
                p.get()
                q.put(1)

        return pair(ping, pong) / n

    return run


def ping_pong_event(make: Callable[[], Any]) -> Work:
    def run(n: int) -> float:
        p, q = make(), make()

        def ping() -> None:
            for _ in range(n):
                p.set()
                q.wait()
                q.clear()

        def pong() -> None:
            for _ in range(n):
                p.wait()
                p.clear()
                q.set()

        return pair(ping, pong) / n

    return run


def ping_pong_lock(make: Callable[[], Any]) -> Work:
    def run(n: int) -> float:
        p, q = make(), make()
        p.acquire()
        q.acquire()

        def ping() -> None:
            for _ in range(n):
                p.release()
                q.acquire()

        def pong() -> None:
            for _ in range(n):
                p.acquire()
                q.release()

        return pair(ping, pong) / n

    return run


def asyncio_timeout() -> Work:
    def run(n: int) -> float:
        async def work() -> float:
            begin = time.thread_time()
            for _ in range(n * REPEATED):
                async with asyncio.timeout(5):
                    pass
            return time.thread_time() - begin

        return asyncio.run(work()) / n / REPEATED

    return run


def empty() -> Work:
    return loop(lambda: None, "pass")


def classes(name: str) -> tuple[Any, Any]:
    standard = queue if name == "Queue" else threading
    return getattr(standard, name), getattr(quell, name)


def both(name: str, statement: str) -> tuple[Work, Work]:
    theirs, ours = classes(name)
    return loop(theirs, statement), loop(ours, statement)


def set_event() -> tuple[Work, Work]:
    theirs, ours = classes("Event")
    statement = "o.wait()"
    return loop(lambda: filled(theirs()), statement), loop(lambda: filled(ours()), statement)


def creation(name: str) -> tuple[Work, Work]:
    theirs, ours = classes(name)
    return loop(lambda: theirs, "o()"), loop(lambda: ours, "o()")


def threads(work: Callable[[Callable[[], Any]], Work], name: str, *args: Any) -> tuple[Work, Work]:
    theirs, ours = classes(name)
    return work(lambda: theirs(*args)), work(lambda: ours(*args))


def against(theirs: Work, statement: str) -> tuple[Work, Work]:
    return theirs, loop(lambda: None, statement)


#: name, goal (ours over theirs, or nanoseconds), theirs and ours
ROWS: list[tuple[str, str, tuple[Work, Work]]] = [
    ("Lock acquire + release", "≤ .40", both("Lock", "o.acquire()\no.release()")),
    ("Lock with", "≤ .35", both("Lock", "with o: pass")),
    ("Lock acquire(timeout=1) + release", "", both("Lock", "o.acquire(timeout=1)\no.release()")),
    ("RLock acquire + release", "≤ .40", both("RLock", "o.acquire()\no.release()")),
    ("RLock with", "≤ .35", both("RLock", "with o: pass")),
    ("Event set", "≤ .025", both("Event", "o.set()")),
    ("Event wait (set)", "≤ .04", set_event()),
    ("Queue put + get", "≤ .02", both("Queue", "o.put(x)\no.get()")),
    (
        "with timeout(5), against asyncio.timeout",
        "≤ 500 ns, ≤ .25",
        against(asyncio_timeout(), "with quell.timeout(5): pass"),
    ),
    ("with mask()", "≤ 100 ns", against(empty(), "with quell.mask(): pass")),
    ("with shield()", "≤ 100 ns", against(empty(), "with quell.shield(): pass")),
    ("create a Lock", "", creation("Lock")),
    ("Queue, two threads", "≤ .06", threads(transfer, "Queue")),
    ("Queue(100), two threads", "≤ .40", threads(transfer, "Queue", 100)),
    ("Event ping-pong", "≤ .60", threads(ping_pong_event, "Event")),
    ("Queue ping-pong", "≤ .60", threads(ping_pong_queue, "Queue")),
    ("Lock ping-pong", "≤ 1.0", threads(ping_pong_lock, "Lock")),
]


#: How often, where two threads take part: starting them must not count.
PAIRS = {
    "Queue, two threads": 20_000,
    "Queue(100), two threads": 20_000,
    "Event ping-pong": 2_000,
    "Queue ping-pong": 2_000,
    "Lock ping-pong": 2_000,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--reps", type=int, default=31)
    parser.add_argument("--milliseconds", type=float, default=2)
    parser.add_argument("--filter", default="")
    parser.add_argument("--json")
    options = parser.parse_args()
    gc.disable()
    results = {}
    print(f"Python {sys.version.split()[0]}, ns for one, medians of {options.reps}")
    print(f"{'':42}{'theirs':>10}{'ours':>10}{'ratio':>8}  goal")
    for name, goal, (theirs, ours) in ROWS:
        if not re.search(options.filter, name):
            continue
        counts = []
        for work in (theirs, ours):
            work(20)
            if name in PAIRS:
                counts.append(PAIRS[name])
                continue
            one = max(work(50), 1e-9)
            counts.append(max(20, int(options.milliseconds / 1000 / one / REPEATED)))
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(options.reps):
            for i, work in enumerate((theirs, ours)):
                times[i].append(work(counts[i]) * 1e9)
        ratio = statistics.median(b / a for a, b in zip(*times, strict=True))
        medians = [statistics.median(t) for t in times]
        results[name] = {"theirs": medians[0], "ours": medians[1], "ratio": ratio, "goal": goal}
        print(f"{name:42}{medians[0]:10.1f}{medians[1]:10.1f}{ratio:8.3f}  {goal}", flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"python": sys.version.split()[0], "rows": results}, file, indent=2)


if __name__ == "__main__":
    main()
