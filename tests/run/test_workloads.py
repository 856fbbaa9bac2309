"""Ten ways to run away: every one of them ends within limit + grace with exit code 124, its cleanup
runs wherever Python can run, and the report says where it was."""

from __future__ import annotations

from typing import Any

import pytest
from harness import SCRIPTS, Run, Way, tagged

SCRIPT = SCRIPTS / "workloads.py"

WORKLOADS = [
    "busy_loop",
    "sleep",
    "lock",
    "queue_get",
    "recv",
    "child_process",
    "long_sum",
    "regex",
    "except_exception",
    "bare_except",
]

#: Native code that keeps the GIL and never looks for signals: nothing in the process can reach it.
UNREACHABLE_IN_MAIN = {"long_sum"}
#: The regular expression engine looks for signals, but keeps the GIL, and signals belong to the main
#: thread, which waits for that GIL.
UNREACHABLE_IN_WORKER = {"long_sum", "regex"}

#: Calls that end up in Python code of the standard library, which may be where the report finds them.
LIBRARY = {"queue_get": ("queue.py", "threading.py"), "child_process": ("subprocess.py",)}


def is_at(place: dict[str, Any], name: str) -> bool:
    """Whether a place in a report is one of the workload's own lines, or in the library it called."""
    file = str(place["file"])
    if file.endswith("workloads.py"):
        return place["function"] == name and place["line"] in tagged(SCRIPT, name)
    return file.endswith(LIBRARY.get(name, ()))


def main_is_at(run: Run, name: str) -> bool:
    return run.report is not None and is_at(run.report["main"], name)


def worker_is_at(run: Run, name: str) -> bool:
    """Whether the report found the worker there. Its name is Python's to tell, which takes the GIL."""
    threads = run.report["threads"] if run.report else []
    places = [thread for thread in threads if thread["name"] in ("worker", None)]
    return len(places) == 1 and is_at(places[0], name)


@pytest.mark.parametrize("name", WORKLOADS)
def test_in_the_main_thread(way: Way, name: str) -> None:
    run = way.limited(SCRIPT, name, "main", settled=lambda run: main_is_at(run, name))
    assert run.report is not None
    if name in UNREACHABLE_IN_MAIN:
        assert run.report["ended"] == "killed", str(run)
        assert run.lines == ["READY"], str(run)
        # The traceback that takes the place of the one Python could not print.
        line = min(tagged(SCRIPT, name))
        assert "workloads.py" in run.stderr, str(run)
        assert str(line) in run.stderr and name in run.stderr, str(run)
    else:
        assert run.report["ended"] == "unwound", str(run)
        assert run.report["delivered"] is True, str(run)
        assert run.lines == ["READY", "cleaned up"], str(run)
        assert "TimeLimit" in run.stderr, str(run)


@pytest.mark.parametrize("name", WORKLOADS)
def test_in_a_worker_that_the_script_waits_for(way: Way, name: str) -> None:
    run = way.limited(SCRIPT, name, "worker", settled=lambda run: worker_is_at(run, name))
    assert run.report is not None
    if name in UNREACHABLE_IN_WORKER:
        assert run.report["ended"] == "killed", str(run)
        assert run.lines == ["READY"], str(run)
        line = min(tagged(SCRIPT, name))
        assert "workloads.py" in run.stderr, str(run)
        assert str(line) in run.stderr and name in run.stderr, str(run)
    else:
        assert run.report["ended"] == "unwound", str(run)
        assert run.lines == ["READY", "main cleaned up", "cleaned up"], str(run)


def test_the_report_for_people_names_the_line(way: Way) -> None:
    run = way.run(
        SCRIPT,
        "busy_loop",
        "main",
        options=["--timeout", "1s"],
        report=False,
    )
    assert run.code == 124, str(run)
    told = [line for line in run.stderr.splitlines() if line.startswith("quell:")]
    assert told, str(run)
    wanted = [f"workloads.py:{line}" for line in tagged(SCRIPT, "busy_loop")]
    assert any(place in line and "busy_loop" in line for line in told for place in wanted), str(run)
    assert any("time limit of 1s" in line for line in told), str(run)
    # Python's own traceback comes before it.
    assert run.stderr.index("Traceback (most recent call last)") < run.stderr.index(told[0]), str(
        run
    )


def test_quiet_says_nothing(way: Way) -> None:
    run = way.run(SCRIPT, "busy_loop", "main", options=["--timeout", "1s", "--quiet"], report=False)
    assert run.code == 124, str(run)
    assert "quell:" not in run.stderr, str(run)
