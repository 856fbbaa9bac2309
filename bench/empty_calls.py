"""What calls take that do nothing, beside quell's and the standard library's: that is the interpreter's part, and a bound.

    python bench/empty_calls.py [--reps 31] [--filter REGEX]

The classes whose methods do nothing are a C extension, `empty_calls.c`, compiled here. Their methods take the arguments of the real ones.
All are measured in turns, in processor time; the table gives medians, and how many times faster than the standard library that is.
"""

import argparse
import collections
import dataclasses
import gc
import importlib.machinery
import importlib.util
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from typing import Any

import quell
from python_primitives import REPEATED, Work, classes, loop


@dataclasses.dataclass
class Operation:
    """An operation, with the goal: how many times faster than the standard library it is to be."""

    name: str
    statement: str
    goal: int
    #: Of `empty_calls`, with what they do.
    empty: dict[str, str]

    def works(self, calls: Any) -> dict[str, Work]:
        theirs, ours = classes(self.name)
        works = {"the standard library": loop(theirs, self.statement)}
        for what, name in self.empty.items():
            works[what] = loop(getattr(calls, name), self.statement)
        if "put" in self.statement:
            works["collections.deque"] = loop(collections.deque, "o.append(x)\no.popleft()")
        works["quell"] = loop(ours, self.statement)
        return works


QUEUE = {
    "two calls that do nothing": "Empty",
    "the same, one item is kept": "Box",
    "the same, and there is room for attributes": "Attributes",
}
OPERATIONS = [
    Operation("Queue", "o.put(x)\no.get()", 50, QUEUE),
    Operation("LifoQueue", "o.put(x)\no.get()", 50, QUEUE),
    Operation(
        "Condition",
        "with o: o.notify()",
        8,
        {
            "nothing is done, nothing is bound": "Unbound",
            "nothing is done, entry and exit are bound": "Bound",
        },
    ),
]


def compiled(folder: pathlib.Path) -> Any:
    compiler = shutil.which("cc")
    if compiler is None:
        sys.exit("bench/empty_calls.py needs a C compiler: no cc was found")
    source = pathlib.Path(__file__).with_suffix(".c")
    library = folder / "empty_calls.so"
    include = sysconfig.get_path("include")
    command = [compiler, "-shared", "-fPIC", "-O2", "-I", include, "-o", library, source]
    subprocess.run(command, check=True)
    loader = importlib.machinery.ExtensionFileLoader("empty_calls", str(library))
    spec = importlib.util.spec_from_file_location("empty_calls", library, loader=loader)
    if spec is None:
        sys.exit(f"cannot load {library}")
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--reps", type=int, default=31)
    parser.add_argument("--filter", default="")
    options = parser.parse_args()
    gc.disable()
    print(f"Python {sys.version.split()[0]}, quell {quell.__version__}, medians of {options.reps}")
    with tempfile.TemporaryDirectory() as folder:
        calls = compiled(pathlib.Path(folder))
        for operation in OPERATIONS:
            if not re.search(options.filter, operation.name):
                continue
            works = operation.works(calls)
            counts = {}
            for name, work in works.items():
                work(1000)
                counts[name] = max(10, int(0.01 / REPEATED / work(1000)))
            times: dict[str, list[float]] = {name: [] for name in works}
            for rep in range(options.reps):
                order = list(works)
                for name in order if rep % 2 else reversed(order):
                    times[name].append(works[name](counts[name]) * 1e9)
            theirs = times["the standard library"]
            goal = statistics.median(theirs) / operation.goal
            print(
                f"\n{operation.name}: {operation.statement!r}, goal {operation.goal} times faster: {goal:.1f} ns"
            )
            for name, measured in times.items():
                faster = statistics.median(a / b for a, b in zip(theirs, measured, strict=True))
                print(
                    f"  {name:44}{statistics.median(measured):8.1f} ns{faster:8.1f} ×", flush=True
                )


if __name__ == "__main__":
    main()
