"""What a hand-off between two threads costs at least, beside what locks and queues make of it.

    python bench/hand_off.py [--reps 15] [--rounds 2000] [--filter REGEX]

Each round is two hand-offs: there and back. Of threads that sleep, none beat those that have no GIL and wake and wait for bare futexes;
and none that run Python code beat the same with the GIL: given up for the sleep, taken after it. Threads that stay awake do, as
quell's may. In the one form the waker
has the GIL while it wakes, as who calls `release()` or `put()` has, so that the other finds it taken; in the other it gives
the GIL up first, which only a wake-up and a wait in one call could. The functions are a few lines of C, compiled here.

All are measured in turns, in time on the clock. Afterwards, where strace is installed, the system calls on futexes in a round.
"""

import argparse
import ctypes
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable

import quell
from python_primitives import (
    Work,
    classes,
    pair,
    ping_pong_event,
    ping_pong_lock,
    ping_pong_queue,
)

SOURCE = r"""
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *PyEval_SaveThread(void);
extern void PyEval_RestoreThread(void *);

static void wake(atomic_int *word) {
    atomic_store(word, 1);
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}

static void wait(atomic_int *word) {
    while (!atomic_exchange(word, 0))
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0);
}

/* `first` wakes the other one before it waits. */
void bare(atomic_int *mine, atomic_int *other, int first, long rounds) {
    for (; rounds > 0; rounds--) {
        if (first) wake(other);
        wait(mine);
        if (!first) wake(other);
    }
}

/* The same for a caller that has the GIL, and gives it up to wait. */
void with_gil(atomic_int *mine, atomic_int *other, int first, long rounds) {
    for (; rounds > 0; rounds--) {
        if (first) wake(other);
        void *state = PyEval_SaveThread();
        wait(mine);
        PyEval_RestoreThread(state);
        if (!first) wake(other);
    }
}

/* The same, given up before the wake-up. */
void gil_first(atomic_int *mine, atomic_int *other, int first, long rounds) {
    int begun = first;
    for (; rounds > 0; rounds--) {
        void *state = PyEval_SaveThread();
        if (begun) wake(other);
        wait(mine);
        PyEval_RestoreThread(state);
        begun = 1;
    }
    if (!first) wake(other);
}
"""


def in_c(library: ctypes.CDLL, name: str) -> Work:
    play = getattr(library, name)
    play.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_long]
    play.restype = None

    def run(n: int) -> float:
        # A line of the cache each.
        words = (ctypes.c_int * 64)()
        p, q = ctypes.addressof(words), ctypes.addressof(words) + 128
        return pair(lambda: play(p, q, 1, n), lambda: play(q, p, 0, n)) / n

    return run


def functions(folder: pathlib.Path) -> dict[str, Work]:
    compiler = shutil.which("cc")
    if compiler is None:
        sys.exit("bench/hand_off.py needs a C compiler: no cc was found")
    source, library = folder / "hand_off.c", folder / "hand_off.so"
    source.write_text(SOURCE)
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
    free, attached = ctypes.CDLL(str(library)), ctypes.PyDLL(str(library))
    return {
        "futexes, no GIL": in_c(free, "bare"),
        "futexes and the GIL, given up first": in_c(attached, "gil_first"),
        "futexes and the GIL": in_c(attached, "with_gil"),
    }


def contenders() -> dict[str, Work]:
    works = {}
    for name, work in (
        ("Lock", ping_pong_lock),
        ("SimpleQueue", ping_pong_queue),
        ("Queue", ping_pong_queue),
        ("Event", ping_pong_event),
    ):
        for side, make in zip(("threading's", "quell's"), classes(name), strict=True):
            if side == "threading's" and "Queue" in name:
                side = "queue's"
            works[f"{side} {name}"] = work(make)
    return works


def futex_calls(name: str, rounds: int) -> str:
    """How many in a round, and of these how many wait and how many wake."""
    strace = shutil.which("strace")
    if strace is None:
        return ""

    def calls(n: int) -> list[int]:
        with tempfile.NamedTemporaryFile("r") as log:
            command = [strace, "-f", "-o", log.name, "-e", "trace=futex", sys.executable, __file__]
            subprocess.run([*command, "--one", name, "--rounds", str(n)], check=True)
            text = log.read()
        return [len(re.findall(rf"FUTEX_{what}", text)) for what in ("WAIT", "WAKE")]

    before, after = calls(rounds), calls(3 * rounds)
    waits, wakes = ((b - a) / rounds / 2 for a, b in zip(before, after, strict=True))
    return f"{waits + wakes:9.1f}{waits:8.1f}{wakes:8.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--reps", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=2_000)
    parser.add_argument("--filter", default="")
    parser.add_argument("--calls", action="store_true", help="count the system calls as well")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        works = functions(pathlib.Path(folder)) | contenders()
        if options.one:
            works[options.one](options.rounds)
            return
        works = {name: work for name, work in works.items() if re.search(options.filter, name)}
        times: dict[str, list[float]] = {name: [] for name in works}
        for work in works.values():
            work(50)
        for rep in range(options.reps):
            order: list[tuple[str, Callable[[int], float]]] = list(works.items())
            for name, work in order if rep % 2 else reversed(order):
                times[name].append(work(options.rounds) * 1e6)
    print(f"Python {sys.version.split()[0]}, quell {quell.__version__}: µs for a round")
    print(f"{'':40}{'median':>9}{'least':>8}" + "    calls   waits   wakes" * options.calls)
    for name, measured in times.items():
        line = f"{name:40}{statistics.median(measured):9.1f}{min(measured):8.1f}"
        print(line + (futex_calls(name, 300) if options.calls else ""), flush=True)


if __name__ == "__main__":
    main()
