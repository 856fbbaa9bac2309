"""The Python primitives against the standard library's: nanoseconds for each operation, in one run.

    python bench/python_primitives.py [--reps 31] [--filter REGEX] [--json FILE]
    python bench/python_primitives.py --book FILE RESULT...

Both sides are measured in turns, so that noise hits both; the table gives medians. One thread is measured with
its processor time, two threads with wall time. The second form writes the results of several interpreters into the book's
chapter, and draws them.
"""

import argparse
import asyncio
import concurrent.futures
import dataclasses
import gc
import json
import os
import pathlib
import platform
import queue
import re
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import quell
from python_plot import Line, Mark, plot

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


def pair(*functions: Callable[[], None]) -> float:
    threads = [threading.Thread(target=f) for f in functions]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begin


def transfer(make: Callable[[], Any], pairs: int = 1) -> Work:
    """Items from some threads to as many others; seconds for one."""

    def run(n: int) -> float:
        q = make()

        def put() -> None:
            for i in range(n):
                q.put(i)

        def get() -> None:
            for _ in range(n):
                q.get()

        return pair(*[put, get] * pairs) / n / pairs

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


def ping_pong_condition(make: Callable[[], Any]) -> Work:
    def run(n: int) -> float:
        condition = make()
        turn = [0]

        def player(me: int) -> Callable[[], None]:
            def play() -> None:
                for _ in range(n):
                    with condition:
                        while turn[0] != me:
                            condition.wait()
                        turn[0] = 1 - me
                        condition.notify()

            return play

        return pair(player(0), player(1)) / n

    return run


def nothing() -> None:
    """A task."""


def one_task_at_a_time(make: Callable[[], Any]) -> Work:
    """A task for the one worker, and its result before the next."""

    def run(n: int) -> float:
        with make() as executor:
            submit = executor.submit
            submit(nothing).result()
            begin = time.perf_counter()
            for _ in range(n):
                submit(nothing).result()
            return (time.perf_counter() - begin) / n

    return run


def batch_of_tasks(make: Callable[[], Any]) -> Work:
    """All of them are submitted before the first result is asked for."""

    def run(n: int) -> float:
        with make() as executor:
            submit = executor.submit
            submit(nothing).result()
            begin = time.perf_counter()
            for future in [submit(nothing) for _ in range(n)]:
                future.result()
            return (time.perf_counter() - begin) / n

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


class Stop(BaseException):
    """What is raised to measure how long that takes."""


def latency(body: Callable[[Callable[[], object]], object]) -> Work:
    """From the interrupt to the moment its exception is caught, the median; `body` calls its argument and goes on for ever."""

    def run(n: int) -> float:
        ready, sent, caught = threading.Semaphore(0), [], []

        def work() -> None:
            for _ in range(n):
                try:
                    body(ready.release)
                except Stop:
                    caught.append(time.perf_counter())

        thread = threading.Thread(target=work)
        thread.start()
        for _ in range(n):
            ready.acquire()
            # For what comes after the call: the wait, the loop.
            time.sleep(0.0005)
            sent.append(time.perf_counter())
            quell.interrupt(thread, Stop).wait()
        thread.join()
        return statistics.median(b - a for a, b in zip(sent, caught, strict=True))

    return run


def blocked(go: Callable[[], object]) -> None:
    go()
    quell.Event().wait()


def busy(go: Callable[[], object]) -> None:
    go()
    while True:
        pass


def busy_inside_a_lock(go: Callable[[], object]) -> None:
    with quell.Lock():
        go()
        while True:
            pass


def empty() -> Work:
    return loop(lambda: None, "pass")


def classes(name: str) -> tuple[Any, Any]:
    modules = queue, threading, concurrent.futures
    standard = next(module for module in modules if hasattr(module, name))
    return getattr(standard, name), getattr(quell, name)


def both(name: str, statement: str, *args: Any) -> tuple[Work, Work]:
    theirs, ours = classes(name)
    return loop(lambda: theirs(*args), statement), loop(lambda: ours(*args), statement)


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


def duration(nanoseconds: float) -> str:
    if nanoseconds >= 50_000:
        return f"{nanoseconds / 1000:.0f} µs"
    return f"{nanoseconds:.0f} ns"


@dataclasses.dataclass
class Row:
    """One thing that is measured."""

    name: str
    make: Callable[[], tuple[Work, Work]]
    #: The largest ratio of ours over theirs that is good enough, or nanoseconds.
    ratio: float | None = None
    nanoseconds: float | None = None
    #: How often, where several threads take part: enough that starting them does not count, and that the interpreter lets others run
    #: in between, which it does every 5 ms.
    count: int | None = None

    def goal(self) -> str:
        goals = []
        if self.nanoseconds:
            goals.append(f"≤ {duration(self.nanoseconds)}")
        if self.ratio:
            goals.append(
                f"{1 / self.ratio:.0f} × faster" if self.ratio < 0.2 else f"≤ {self.ratio:.2f}"
            )
        return ", ".join(goals)

    def reached(self, ours: float, ratio: float) -> bool | None:
        if self.ratio is None and self.nanoseconds is None:
            return None
        return (self.ratio is None or ratio <= self.ratio) and (
            self.nanoseconds is None or ours <= self.nanoseconds
        )


SEMAPHORES = ("Semaphore", "BoundedSemaphore")

ROWS = [
    Row("Lock acquire + release", lambda: both("Lock", "o.acquire()\no.release()"), 0.40),
    Row("Lock with", lambda: both("Lock", "with o: pass"), 0.35),
    Row(
        "Lock acquire(timeout=1) + release",
        lambda: both("Lock", "o.acquire(timeout=1)\no.release()"),
    ),
    Row("RLock acquire + release", lambda: both("RLock", "o.acquire()\no.release()"), 0.40),
    Row("RLock with", lambda: both("RLock", "with o: pass"), 0.35),
    *(
        Row(
            f"{name} acquire + release",
            lambda name=name: both(name, "o.acquire()\no.release()"),
            1 / 30,
        )
        for name in SEMAPHORES
    ),
    Row("Condition with + notify", lambda: both("Condition", "with o: o.notify()"), 1 / 8),
    Row("Event set", lambda: both("Event", "o.set()"), 1 / 40),
    Row("Event wait (set)", set_event, 1 / 25),
    Row("Barrier(1) wait", lambda: both("Barrier", "o.wait()", 1), 1 / 50),
    Row("Queue put + get", lambda: both("Queue", "o.put(x)\no.get()"), 1 / 50),
    Row("LifoQueue put + get", lambda: both("LifoQueue", "o.put(x)\no.get()"), 1 / 50),
    Row("PriorityQueue put + get", lambda: both("PriorityQueue", "o.put(x)\no.get()"), 1 / 20),
    Row(
        "PriorityQueue 10 puts + 10 gets",
        lambda: both("PriorityQueue", "for i in range(10): o.put(i)\nfor i in range(10): o.get()"),
    ),
    Row("SimpleQueue put + get", lambda: both("SimpleQueue", "o.put(x)\no.get()"), 0.90),
    Row(
        "with timeout(5), against asyncio.timeout",
        lambda: against(asyncio_timeout(), "with quell.timeout(5): pass"),
        0.25,
        500,
    ),
    Row("with mask()", lambda: against(empty(), "with quell.mask(): pass"), nanoseconds=100),
    Row("with shield()", lambda: against(empty(), "with quell.shield(): pass"), nanoseconds=100),
    *(
        Row(
            f"interrupt to raise: {name}",
            lambda body=body: (empty(), latency(body)),
            nanoseconds=goal,
            count=20,
        )
        for name, body, goal in (
            ("blocked", blocked, 100_000),
            ("busy loop", busy, 300_000),
            ("busy loop inside with lock", busy_inside_a_lock, 500_000),
        )
    ),
    Row("create a Lock", lambda: creation("Lock")),
    Row("create a Queue", lambda: creation("Queue")),
    Row("Queue, 1 to 1", lambda: threads(transfer, "Queue"), 0.06, count=100_000),
    Row(
        "Queue, 2 to 2",
        lambda: threads(lambda make: transfer(make, 2), "Queue"),
        0.06,
        count=50_000,
    ),
    Row("Queue(100), 1 to 1", lambda: threads(transfer, "Queue", 100), 0.40, count=20_000),
    Row("Event ping-pong", lambda: threads(ping_pong_event, "Event"), 0.60, count=2_000),
    Row("Queue ping-pong", lambda: threads(ping_pong_queue, "Queue"), 0.60, count=2_000),
    Row("Condition ping-pong", lambda: threads(ping_pong_condition, "Condition"), 1.0, count=2_000),
    Row("Lock ping-pong", lambda: threads(ping_pong_lock, "Lock"), 1.0, count=2_000),
    Row("SimpleQueue ping-pong", lambda: threads(ping_pong_queue, "SimpleQueue"), 1.0, count=2_000),
    Row(
        "executor submit + result",
        lambda: threads(one_task_at_a_time, "ThreadPoolExecutor", 1),
        0.80,
        count=2_000,
    ),
    Row(
        "executor batch of 10,000",
        lambda: threads(batch_of_tasks, "ThreadPoolExecutor", 1),
        0.30,
        count=10_000,
    ),
]


def count_for(row: Row, work: Work, milliseconds: float) -> int:
    work(20)
    if row.count:
        return max(20, int(row.count * milliseconds / 2))
    one = max(work(50), 1e-9)
    return max(5, int(milliseconds / 1000 / one / REPEATED))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    gc.disable()
    results: dict[str, Any] = {}
    print(f"Python {platform.python_version()}, ns for one, medians of {options.reps}")
    print(f"{'':42}{'theirs':>10}{'ours':>10}{'ratio':>8}  goal")
    rows = [row for row in ROWS if re.search(options.filter, row.name)]
    if not rows:
        raise SystemExit(f"no row's name matches {options.filter!r}")
    for row in rows:
        try:
            works = row.make()
        except AttributeError as error:
            print(f"{row.name}: {error}")
            continue
        counts = [count_for(row, work, options.milliseconds) for work in works]
        times: tuple[list[float], list[float]] = ([], [])
        for rep in range(options.reps):
            for i in (0, 1) if rep % 2 else (1, 0):
                times[i].append(works[i](counts[i]) * 1e9)
        ratios = sorted(b / a for a, b in zip(*times, strict=True))
        theirs, ours = (statistics.median(t) for t in times)
        ratio = statistics.median(ratios)
        results[row.name] = {
            "theirs": theirs,
            "ours": ours,
            "ratio": ratio,
            "quartiles": [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]],
        }
        print(f"{row.name:42}{theirs:10.1f}{ours:10.1f}{ratio:8.3f}  {row.goal()}", flush=True)
    return {
        "python": platform.python_version(),
        "measured": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.release()} on {platform.machine()}",
        "load": os.getloadavg()[0],
        "repetitions": options.reps,
        "rows": results,
    }


BEGIN = "<!-- Generated by `cargo xtask bench python`, from here … -->"
END = "<!-- … to here. -->"


def cell(row: Row, result: dict[str, Any] | None) -> str:
    if result is None:
        return ""
    ours, ratio = result["ours"], result["ratio"]
    text = f"{1 / ratio:.1f} × faster" if ratio < 0.2 else f"{ratio:.2f}"
    if row.ratio is None and row.nanoseconds:
        text = duration(ours)
    elif row.nanoseconds:
        text = f"{duration(ours)}, {text}"
    else:
        text += f" ({duration(ours)})"
    return f"**{text}**" if row.reached(ours, ratio) is False else text


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        f"- CPython {r['python']}: {r['measured']}, {r['machine']}, load {r['load']:.1f}, "
        f"{r['repetitions']} repetitions"
        for r in results
    ]
    lines += ["", "| | goal | " + " | ".join(r["python"] for r in results) + " |"]
    lines += ["| --- | --- |" + " --- |" * len(results)]
    for row in ROWS:
        cells = [cell(row, r["rows"].get(row.name)) for r in results]
        if any(cells):
            lines.append(f"| {row.name} | {row.goal()} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def lines(results: list[dict[str, Any]]) -> list[Line]:
    """The rows of the plot: those in which the two sides do the same."""
    drawn = []
    for row in ROWS:
        marks = []
        for number, result in enumerate(results):
            if (r := result["rows"].get(row.name)) and (row.ratio or not row.nanoseconds):
                lower, upper = r["quartiles"]
                missed = row.reached(r["ours"], r["ratio"]) is False
                marks.append(Mark(number, lower, r["ratio"], upper, missed))
        if marks:
            drawn.append(Line(row.name, row.ratio, marks))
    return drawn


PLOT = "performance/python.svg"


def write_book(chapter: pathlib.Path, files: list[str]) -> None:
    results = [json.loads(pathlib.Path(file).read_text()) for file in files]
    (chapter.parent / PLOT).write_text(plot([r["python"] for r in results], lines(results)))
    text = chapter.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    picture = f"![quell over the standard library]({PLOT})"
    chapter.write_text(f"{before}{BEGIN}\n\n{table(results)}\n\n{picture}\n\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--reps", type=int, default=31)
    parser.add_argument("--milliseconds", type=float, default=2)
    parser.add_argument("--filter", default="")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--book", type=pathlib.Path)
    parser.add_argument("results", nargs="*")
    options = parser.parse_args()
    if options.book:
        write_book(options.book, options.results)
        return
    results = measure(options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
