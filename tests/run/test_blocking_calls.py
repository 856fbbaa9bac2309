"""Twenty-four calls that block in somebody else's code are interrupted, not killed: the script's own
``except`` and ``finally`` run and the script goes on to its end by itself."""

from __future__ import annotations

import pytest
from harness import SCRIPTS, Run, Way

SCRIPT = SCRIPTS / "blocking.py"

CASES = [
    "sleep",
    "recv",
    "recv_with_timeout",
    "accept",
    "select_select",
    "poll",
    "epoll",
    "os_read",
    "buffered_read",
    "line_iteration",
    "os_write_to_full_pipe",
    "lock",
    "lock_with_timeout",
    "rlock",
    "event",
    "condition",
    "queue_get",
    "thread_join",
    "popen_wait",
    "popen_communicate",
    "subprocess_run",
    "flock",
    "input_from_pipe",
    "future_result",
]


def test_there_are_twenty_four() -> None:
    assert len(set(CASES)) == 24


@pytest.mark.parametrize("name", CASES)
def test_in_the_main_thread(way: Way, name: str) -> None:
    run = way.limited(SCRIPT, name, "main", timeout=0.2)
    assert run.lines == ["READY", "except TimeLimit", "finally", "end of the script"], str(run)
    assert run.report is not None
    assert run.report["ended"] == "unwound", str(run)
    assert run.report["delivered"] is True, str(run)
    # The script handled it: there is nothing for Python to print.
    assert "Traceback" not in run.stderr, str(run)


@pytest.mark.parametrize("name", CASES)
def test_in_a_worker(way: Way, name: str) -> None:
    run = way.limited(SCRIPT, name, "worker", timeout=0.2)
    check_worker(run)
    assert run.report is not None
    # By the call itself, which was patched, and not by the main thread's identity.
    assert [thread["in_call"] for thread in run.report["threads"] if not thread["daemon"]] == [True]


@pytest.mark.parametrize("name", ["recv", "lock", "popen_wait"])
def test_in_a_worker_without_the_patch(way: Way, name: str) -> None:
    run = way.limited(SCRIPT, name, "worker", timeout=0.2, options=["--no-patch"])
    check_worker(run)
    assert run.report is not None
    assert not any(thread["in_call"] for thread in run.report["threads"]), str(run)


def check_worker(run: Run) -> None:
    assert run.lines == ["READY", "main except TimeLimit", "except TimeLimit", "finally"], str(run)
    assert run.report is not None
    assert run.report["ended"] == "unwound", str(run)
    assert "Traceback" not in run.stderr, str(run)
