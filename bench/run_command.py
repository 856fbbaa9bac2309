"""The command against `python`: what a start costs, and whether a long computation takes longer under it.

    python bench/run_command.py [--binary FILE] [--reps 120] [--filter REGEX] [--json FILE]
    python bench/run_command.py --book FILE RESULT...

The interpreter that runs this is the one that is measured, and has the package installed; `--binary` is the command that embeds it.
All ways of a row are started in turns, each time in another order, so that what else happens on the machine hits all of them. A figure is
processor time of the whole process, user and system, start and end included; the difference to `python` is the median of those of
the turns. How a file came into the system's memory decides how quickly its pages are found there, which alone makes up to 0.4 ms of
a start: so the command is read from the disk again first, as it would be on any other day. The second form writes the results of several
interpreters into the book's chapter.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import statistics
import sys
import tempfile

# What takes the interpreter's time in a program: loops, calls, objects.
COMPUTATIONS = {
    "loop": "n = 0\nfor i in range(1_500_000):\n    n += i & 7\n",
    "calls": "def f(x):\n    return x + 1\nn = 0\nfor _ in range(1_000_000):\n    n = f(n)\n",
    "objects": "a = []\nfor i in range(10_000):\n    a = [(i, str(i), {i: a}) for i in range(8)]\n",
}
# Far away, but armed; with all three the meter reads its figures too.
LIMITS = ["--timeout", "1h", "--cpu", "1h", "--memory", "1T"]


def spend(command: list[str]) -> float:
    """Milliseconds of processor time that the command takes."""
    # Bytecode is cached, as it is for people.
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "VIRTUAL_ENV")
    }
    if sys.prefix != sys.base_prefix:
        # So that the binary is in the same one, with the same packages.
        environment["VIRTUAL_ENV"] = sys.prefix
    pid = os.posix_spawn(command[0], command, environment)
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        raise SystemExit(f"{command} ended with {os.waitstatus_to_exitcode(status)}")
    return (usage.ru_utime + usage.ru_stime) * 1000


def as_on_any_day(file: str) -> None:
    """Has the file written, and forgotten by the system's memory, so that it is read from the disk."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def in_turns(ways: dict[str, list[str]], reps: int) -> dict[str, list[float]]:
    spent: dict[str, list[float]] = {way: [] for way in ways}
    names = list(ways)
    for way in names:
        spend(ways[way])  # Files come into memory.
    for turn in range(reps):
        first = turn % len(names)
        for way in names[first:] + names[:first]:
            spent[way].append(spend(ways[way]))
    return spent


def measure(arguments: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    # `-m` reads its own modules with any package; the difference to this way is what quell adds to that.
    folder = tempfile.TemporaryDirectory(prefix="quell-bench-")
    pathlib.Path(folder.name, "empty.py").write_text("")
    os.chdir(folder.name)
    python = [sys.executable]
    module = [*python, "-m", "quell", "run"]
    rows = {
        "start": {
            "python": [*python, "-c", "pass"],
            "binary": ["run", "-c", "pass"],
            "binary, limits": ["run", *LIMITS, "-c", "pass"],
            "module": [*module, "-c", "pass"],
            "python -m": [*python, "-m", "empty"],
            "import quell": [*python, "-c", "import quell"],
        }
    }
    for name, code in COMPUTATIONS.items():
        rows[name] = {
            "python": [*python, "-c", code],
            "binary": ["run", *LIMITS, "-c", code],
            "module": [*module, *LIMITS, "-c", code],
        }
    if arguments.binary:
        as_on_any_day(arguments.binary)
    results = {}
    for row, ways in rows.items():
        if not re.search(arguments.filter, row):
            continue
        started = {
            way: command if command[0] == sys.executable else [arguments.binary, *command]
            for way, command in ways.items()
            if command[0] == sys.executable or arguments.binary
        }
        # A long one differs less from one time to the next.
        reps = arguments.reps if row == "start" else max(1, arguments.reps // 6)
        spent = in_turns(started, reps)
        results[row] = {
            way: {
                "milliseconds": statistics.median(times),
                "least": min(times),
                "difference": statistics.median(
                    [mine - theirs for mine, theirs in zip(times, spent["python"], strict=True)]
                ),
                "ratio": statistics.median(
                    [mine / theirs for mine, theirs in zip(times, spent["python"], strict=True)]
                ),
            }
            for way, times in spent.items()
        }
        for way, figures in results[row].items():
            print(
                f"{row:8} {way:15} {figures['milliseconds']:8.2f} ms  least {figures['least']:8.2f}"
                f"  {figures['difference']:+6.2f} ms  {figures['ratio']:.3f}",
                flush=True,
            )
    os.chdir("/")
    folder.cleanup()
    return results


def table(files: list[str]) -> str:
    results = [json.loads(pathlib.Path(name).read_text()) for name in files]
    lines = [
        "- CPython {version}: {date}, {machine}, load {load}, {reps} turns".format(**result)
        for result in results
    ]
    lines += ["", "| | " + " | ".join(result["version"] for result in results) + " |"]
    lines.append("| --- |" + " --- |" * len(results))

    def line(label: str, row: str, way: str, form: str) -> None:
        cells = [
            form.format(**figures) if (figures := result["rows"].get(row, {}).get(way)) else ""
            for result in results
        ]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")

    more = "{milliseconds:.1f} ms, {difference:+.2f}"
    line("`python -c pass`", "start", "python", "{milliseconds:.1f} ms")
    line("`quell run -c pass`", "start", "binary", more)
    line("the same with three limits", "start", "binary, limits", more)
    line("`python -m quell run -c pass`", "start", "module", more)
    line("`python -m` of an empty file", "start", "python -m", more)
    line('`python -c "import quell"`', "start", "import quell", more)
    for row in COMPUTATIONS:
        for way in ("binary", "module"):
            line(f"{row}, three limits, {way}", row, way, "× {ratio:.3f}")
    return "\n".join(lines)


def write_book(page: pathlib.Path, files: list[str]) -> None:
    text = page.read_text()
    pattern = (
        r"(<!-- Generated by `cargo xtask bench run`, from here … -->\n).*(\n<!-- … to here. -->)"
    )
    body = table(files)
    text, found = re.subn(
        pattern, lambda m: f"{m[1]}\n{body}\n{m[2]}", text, count=1, flags=re.DOTALL
    )
    if not found:
        raise SystemExit(f"{page} has no place for the table")
    page.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary")
    parser.add_argument("--reps", type=int, default=120)
    parser.add_argument("--filter", default="")
    parser.add_argument("--json")
    parser.add_argument("--book", type=pathlib.Path)
    parser.add_argument("results", nargs="*")
    arguments = parser.parse_args()
    if arguments.book:
        write_book(arguments.book, arguments.results)
        return
    result = pathlib.Path(arguments.json).absolute() if arguments.json else None
    rows = measure(arguments)
    if result:
        about = {
            "version": platform.python_version(),
            "date": datetime.date.today().isoformat(),
            "machine": f"{platform.system()} {platform.release()} on {platform.machine()}",
            "load": round(os.getloadavg()[0], 1),
            "reps": arguments.reps,
            "rows": rows,
        }
        result.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
