"""The ways to stop a function after a time limit, side by side: what each does with ten functions that run away.

    python bench/peers/measure.py [--ways REGEX] [--workloads REGEX] [--scopes REGEX] [--jobs 4] [--quick] [--json FILE]
    python bench/peers/measure.py --book FILE RESULT

The interpreter that runs this is the one that is measured, and has quell and pip. For the other packages (requirements.txt, beside
this) an environment of its own is made in the folder `--environment`, and each cell runs there in a process of its own, under a time
limit that holds whatever happens in it. The second form writes a result into the book's chapter.

ways.py: the rows, and how each is used. cell.py, pytest_cell.py, scopes.py: what runs in a process. judge.py: what it means. table.py: the
chapter.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import datetime
import json
import os
import pathlib
import platform
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import table
from judge import Cell, judge, judge_program
from ways import PROGRAMS, WAYS

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
SCRIPT = ROOT / "tests/run/scripts/workloads.py"
WHERE = ("main", "other")
#: The limit that is set, and how long after it a cell is given up.
LIMIT, PATIENCE = 0.5, 4.0
#: How long a process may take until its function begins: some packages are large.
START = 60.0
#: What scopes.py measures of each way, and how long one may take.
SCOPES, LONGEST = ("cost", "outer", "inner", "late"), 120.0


def environment(folder: pathlib.Path) -> pathlib.Path:
    """The interpreter of an environment with the other packages and quell in it; made anew if what it is made from has changed."""
    import quell

    made_from = f"{sys.version}\n{(HERE / 'requirements.txt').read_text()}"
    python, stamp = folder / "bin/python", folder / "made-from.txt"
    if not stamp.exists() or stamp.read_text() != made_from:
        shutil.rmtree(folder, ignore_errors=True)
        # Not in this interpreter's: a package of the tests must not stand in for one that is missing there.
        base = pathlib.Path(
            sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}"
        )
        subprocess.run([base, "-I", "-m", "venv", "--without-pip", folder], check=True)
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
        subprocess.run(
            [*pip, "--disable-pip-version-check", "--requirement", HERE / "requirements.txt"],
            check=True,
        )
        stamp.write_text(made_from)
    # quell is the one that this interpreter has, and nothing else of its packages.
    ours = pathlib.Path(quell.__file__).parent
    site = folder / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages/quell"
    site.unlink(missing_ok=True)
    site.symlink_to(ours)
    return python


@contextlib.contextmanager
def process(command: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process of its own session and folder, and what it prints into; nothing of it is left afterwards."""
    with tempfile.TemporaryDirectory(prefix="quell-peers-") as folder:
        surroundings = {
            **os.environ,
            "PYTHONPATH": str(SCRIPT.parent),
            "HOME": folder,
            "PREFECT_HOME": folder,
        }
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=surroundings,
            start_new_session=True,
        )
        assert started.stdout is not None
        try:
            yield started, started.stdout.fileno()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.stdout.close()
            started.wait()


def lines_of(command: list[str], start: float, patience: float) -> tuple[list[str], int | None]:
    """The lines that a process prints, and its exit code; None if it has not ended `patience` seconds after its line READY.

    Its output may stay open when it has ended: a child of its own has it too.
    """
    with process(command) as (started, stream):
        text = b""
        end, ready, code = time.monotonic() + start, False, None
        while True:
            code = started.poll()
            while select.select([stream], [], [], 0.02 if code is None else 0)[0]:
                piece = os.read(stream, 65536)
                text += piece
                if not piece:
                    break
            if not ready and b"READY\n" in text:
                ready, end = True, time.monotonic() + patience
            if code is not None or time.monotonic() > end:
                return text.decode(errors="replace").splitlines(), code


def cell(python: str, name: str, workload: str, where: str, limit: float) -> Cell:
    """What a way does with a workload."""
    command = [python, str(HERE / "cell.py"), name, workload, where, str(limit)]
    return judge(*lines_of(command, START, limit + PATIENCE), limit, WAYS[name].process)


class Measurement:
    """One run of all of it."""

    def __init__(self, python: pathlib.Path, arguments: argparse.Namespace) -> None:
        self.python = str(python)
        self.quick: bool = arguments.quick
        self.pool = concurrent.futures.ThreadPoolExecutor(arguments.jobs)
        self.ways = [name for name in [*WAYS, *PROGRAMS] if re.search(arguments.ways, name)]
        self.workloads = [name for name in table.COLUMNS if re.search(arguments.workloads, name)]
        self.asked = [what for what in SCOPES if re.search(arguments.scopes, what)]

    def cell(self, name: str, workload: str, where: str) -> Cell | None:
        if name in WAYS:
            answer = cell(self.python, name, workload, where, LIMIT)
        else:
            command = PROGRAMS[name].command(LIMIT, str(SCRIPT), workload, where)
            if command is None:
                return None
            command = [self.python, *command[1:]]
            answer = judge_program(*lines_of(command, START, LIMIT + PATIENCE))
        print(f"{name:36} {workload:18} {where:6} {answer.answer} {answer.note}", flush=True)
        return answer

    def cells(self) -> dict[str, dict[str, dict[str, Cell]]]:
        wanted = [
            (name, workload, where)
            for name in self.ways
            for workload in self.workloads
            for where in WHERE
        ]
        answers = self.pool.map(lambda which: self.cell(*which), wanted)
        rows: dict[str, dict[str, dict[str, Cell]]] = {name: {} for name in self.ways}
        for (name, workload, where), answer in zip(wanted, answers, strict=True):
            if answer is not None:
                rows[name].setdefault(where, {})[workload] = answer
        return rows

    def scope(self, name: str, where: str, what: str) -> str:
        count = ["500" if self.quick else "5000"] if what == "late" else []
        command = [self.python, str(HERE / "scopes.py"), name, where, what, *count]
        lines, code = lines_of(command, LONGEST, 0)
        answer = lines[-1] if lines else "hung" if code is None else f"ended by {code}"
        print(f"{name:36} {what:18} {where:6} {answer}", flush=True)
        return answer

    def scopes(self) -> dict[str, dict[str, dict[str, str]]]:
        """One after the other: here times count."""
        return {
            name: {
                where: {
                    what: self.scope(name, where, what)
                    for what in self.asked
                    if what == "cost" or not WAYS[name].process
                }
                for where in WHERE
            }
            for name in self.ways
            if name in WAYS
        }

    def versions(self) -> dict[str, str]:
        packages = sorted({way.package for way in [*WAYS.values(), *PROGRAMS.values()]} - {None})
        ask = f"import importlib.metadata as m; [print(m.version(p)) for p in {packages}]"
        lines, _ = lines_of([self.python, "-c", ask], START, 0)
        return dict(zip(packages, lines, strict=True))  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ways", default="")
    parser.add_argument("--workloads", default="")
    parser.add_argument("--scopes", default="")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--quick", action="store_true", help="few trials")
    parser.add_argument("--environment", type=pathlib.Path, default=ROOT / "target/venv/peers")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--book", type=pathlib.Path)
    parser.add_argument("result", nargs="?", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.book:
        table.write(arguments.book, json.loads(arguments.result.read_text()))
        return
    measurement = Measurement(environment(arguments.environment.absolute()), arguments)
    result: dict[str, Any] = {
        "version": platform.python_version(),
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.system()} {platform.release()} on {platform.machine()}",
        "load": round(os.getloadavg()[0], 1),
        "packages": measurement.versions(),
        "cells": measurement.cells(),
        "scopes": measurement.scopes(),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
