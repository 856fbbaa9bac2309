"""Debuggers, profilers and coverage tools at work while interrupts fly: they see what they would see without, and the interrupts
arrive.
"""

import bdb
import collections
import cProfile
import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
import quell
from conftest import PATIENCE, STRESS

pytestmark = pytest.mark.usefixtures("fast_switching")


class Stop(BaseException):
    """What these tests interrupt with."""


def interrupted_rounds(start: Any, rounds: int, around: Any, body: Any) -> None:
    """A thread in which `body` runs for ever, inside `around`, until it is interrupted, so many times."""
    ready = threading.Semaphore(0)
    caught: list[object] = []

    def work() -> None:
        for _ in range(rounds):
            with around():
                try:
                    ready.release()
                    body()
                except Stop as stop:
                    caught.append(stop.args)

    worker = start(work)
    for number in range(rounds):
        assert ready.acquire(timeout=PATIENCE)
        assert quell.interrupt(worker, Stop(number)).wait(PATIENCE)
    assert worker.done().error is None
    assert caught == [(number,) for number in range(rounds)]


class Program:
    """What is watched: it counts itself."""

    def __init__(self) -> None:
        self.steps = 0

    def step(self, n: int) -> int:
        self.steps += 1
        return n + 1

    def run(self) -> None:
        n = 0
        while True:
            n = self.step(n)


def test_a_profile_counts_the_calls(start: Any) -> None:
    rounds = 100 * STRESS
    program, profile = Program(), cProfile.Profile()
    interrupted_rounds(start, rounds, lambda: profile, program.run)
    calls = {
        entry.code.co_name: entry.callcount
        for entry in profile.getstats()
        if not isinstance(entry.code, str)
    }
    # One may be interrupted before it begins, or as it begins.
    assert 0 < calls["run"] <= rounds
    assert 0 <= calls["step"] - program.steps <= rounds


def test_a_profile_function_sees_calls_and_returns(start: Any) -> None:
    rounds = 100 * STRESS
    program, seen = Program(), collections.Counter[tuple[str, str]]()

    def profiler(frame: Any, event: str, _argument: object) -> None:
        seen[event, frame.f_code.co_name] += 1

    class Profiled:
        def __enter__(self) -> None:
            sys.setprofile(profiler)

        def __exit__(self, *exc: object) -> None:
            assert sys.getprofile() is profiler
            sys.setprofile(None)

    interrupted_rounds(start, rounds, Profiled, program.run)
    assert 0 < seen["call", "run"] == seen["return", "run"] <= rounds
    assert seen["call", "step"] == seen["return", "step"]
    assert 0 <= seen["call", "step"] - program.steps <= rounds


class Debugger(bdb.Bdb):
    """Counts the stops at a breakpoint, and goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.stops = collections.Counter[str]()

    def user_line(self, frame: Any) -> None:
        if self.break_here(frame):
            self.stops[frame.f_code.co_name] += 1
        self.set_continue()

    def __enter__(self) -> None:
        sys.settrace(self.trace_dispatch)

    def __exit__(self, *exc: object) -> None:
        sys.settrace(None)


def test_a_debugger_stops_at_each_breakpoint(start: Any) -> None:
    rounds = 60 * STRESS
    program, debugger = Program(), Debugger()
    line = Program.step.__code__.co_firstlineno + 1
    debugger.reset()
    assert debugger.set_break(__file__, line) is None
    try:
        interrupted_rounds(start, rounds, lambda: debugger, program.run)
    finally:
        debugger.clear_all_breaks()
    assert debugger.stops["step"] >= program.steps > 0
    assert debugger.stops["step"] - program.steps <= rounds


def test_pdb_steps_through_a_program_that_is_being_interrupted(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        textwrap.dedent("""
            import threading
            import quell
            class Stop(BaseException): pass
            main = threading.main_thread()
            ready = threading.Semaphore(0)
            def send():
                for i in range(20):
                    ready.acquire()
                    assert quell.interrupt(main, Stop(i)).wait(30)
            def work():
                n = 0
                while True:
                    n += 1
            sender = threading.Thread(target=send)
            sender.start()
            got = []
            for i in range(20):
                try:
                    ready.release()
                    work()
                except Stop as stop:
                    got.append(stop.args[0])
            sender.join()
            here = "the end"
            print(here)
        """)
    )
    commands = "b 26\nc\np got == list(range(20))\nn\np here\nq\n"
    ended = subprocess.run(
        [sys.executable, "-m", "pdb", "program.py"],
        input=commands,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=PATIENCE * 2,
        check=False,
    )
    assert "(Pdb) True" in ended.stdout, ended.stdout + ended.stderr
    assert "'the end'" in ended.stdout, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr, ended.stderr


COVERED = """
import threading
import quell
class Stop(BaseException): pass
ready = threading.Semaphore(0)
def odd(n):
    return n % 2
def work():
    n = 0
    while True:
        if odd(n):
            n += 1
        else:
            n += 3
        if n < 0:
            print("not run")
def target():
    for i in range(100):
        try:
            ready.release()
            work()
        except Stop:
            caught.append(i)
        else:
            print("not run either")
caught = []
thread = threading.Thread(target=target)
thread.start()
for i in range(100):
    ready.acquire()
    assert quell.interrupt(thread, Stop).wait(30)
thread.join()
assert caught == list(range(100))
"""


@pytest.mark.parametrize(
    "core",
    [
        "ctrace",
        "pytrace",
        pytest.param(
            "sysmon",
            marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="needs sys.monitoring"),
        ),
    ],
)
def test_coverage_of_lines_and_branches_is_that_of_the_program(core: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(COVERED)
    lines = COVERED.splitlines()
    missing = [number for number, line in enumerate(lines, 1) if "not run" in line]
    run = [sys.executable, "-m", "coverage"]
    # Branches by sys.monitoring are there from 3.14 on.
    branch = [] if core == "sysmon" and sys.version_info < (3, 14) else ["--branch"]
    subprocess.run(
        [*run, "run", *branch, "program.py"],
        check=True,
        cwd=tmp_path,
        timeout=PATIENCE * 4,
        env={**os.environ, "COVERAGE_CORE": core},
    )
    subprocess.run([*run, "json", "-q"], check=True, cwd=tmp_path, capture_output=True)
    data = json.loads((tmp_path / "coverage.json").read_text())["files"]["program.py"]
    assert data["missing_lines"] == missing
    if branch:
        assert sorted(data["missing_branches"]) == [[missing[0] - 1, missing[0]]]
