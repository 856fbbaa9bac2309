"""Each limit, several at once, and the exception that is raised at one."""

from __future__ import annotations

import pytest
from harness import READY, Way, ladder, said


def test_the_limit_says_what_it_was(way: Way) -> None:
    run = way.limited(ladder("shows_the_limit"), "shows_the_limit")
    assert run.lines == [
        READY,
        f"quell ['TimeLimit', 'Limit', 'BaseException', 'object'] {run.limit!r}",
        "used at least the limit: True",
    ], str(run)


def test_processor_time(way: Way) -> None:
    run = way.run(ladder("spins"), "spins", options=["--cpu", "300ms"])
    assert run.code == 124, str(run)
    assert run.lines == [READY, "cleaned up"], str(run)
    assert "CpuLimit" in run.stderr, str(run)
    assert run.report is not None
    assert run.report["limit"]["kind"] == "cpu", str(run)
    assert 0.3 <= run.report["limit"]["used"] <= 0.6, str(run)


def test_processor_time_of_children(way: Way) -> None:
    run = way.run(ladder("burns_in_a_child"), "burns_in_a_child", options=["--cpu", "300ms"])
    assert run.code == 124, str(run)
    assert run.lines == [READY, "cleaned up"], str(run)
    assert run.report is not None
    assert run.report["limit"]["kind"] == "cpu", str(run)


def test_sleeping_uses_no_processor_time(way: Way) -> None:
    code = "import time; time.sleep(0.8); print('slept')"
    run = way.run("-c", code, options=["--cpu", "500ms"])
    assert (run.code, run.stdout) == (0, "slept\n"), str(run)


def test_memory(way: Way) -> None:
    run = way.run(ladder("grows"), "grows", options=["--memory", "150M"])
    assert run.code == 124, str(run)
    assert run.lines[1].startswith("handled MemoryLimit at "), str(run)
    assert f"'limit': {150 * 10**6}" in run.lines[1] or f"'limit': {150 << 20}" in run.lines[1], (
        str(run)
    )
    assert run.report is not None
    assert run.report["limit"]["kind"] == "memory", str(run)
    limit = run.report["limit"]["limit"]
    assert limit <= run.report["limit"]["used"] <= 2 * limit, str(run)


def test_memory_of_children(way: Way) -> None:
    run = way.run(ladder("grows_in_a_child"), "grows_in_a_child", options=["--memory", "200M"])
    assert run.code == 124, str(run)
    assert run.lines == [READY, "cleaned up"], str(run)
    assert not run.survivors, str(run)
    assert run.report is not None
    assert run.report["limit"]["kind"] == "memory", str(run)


def test_memory_below_the_limit(way: Way) -> None:
    run = way.run("-c", "x = bytearray(50 << 20); print(len(x))", options=["--memory", "1GiB"])
    assert (run.code, run.stdout) == (0, f"{50 << 20}\n"), str(run)


def test_the_first_of_several_limits(way: Way) -> None:
    run = way.run(
        ladder("spins"), "spins", options=["--timeout", "30s", "--cpu", "250ms", "--memory", "2G"]
    )
    assert run.code == 124, str(run)
    assert run.report is not None
    assert run.report["limit"]["kind"] == "cpu", str(run)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("KeyboardInterrupt", "KeyboardInterrupt"),
        ("TimeoutError", "TimeoutError"),
        ("limits_of_our_own:TooLong", "TooLong"),
        ("concurrent.futures:TimeoutError", "TimeoutError"),
    ],
)
def test_another_exception(way: Way, name: str, shown: str) -> None:
    run = way.limited(
        ladder("handles_and_exits"), "handles_and_exits", options=["--exception", name]
    )
    assert said(run) == [f"handled {shown}"], str(run)
    assert run.report is not None
    assert run.report["exception"].endswith(shown), str(run)


def test_another_exception_that_nobody_handles(way: Way) -> None:
    run = way.limited(ladder("spins"), "spins", options=["--exception", "KeyboardInterrupt"])
    assert said(run) == ["cleaned up"], str(run)
    assert "KeyboardInterrupt" in run.stderr, str(run)


@pytest.mark.parametrize("name", ["no_such_name", "int", "", ":", "builtins:", ":ValueError"])
def test_an_exception_that_is_none(way: Way, name: str) -> None:
    run = way.run(ladder("spins"), "spins", options=["--timeout", "250ms", "--exception", name])
    assert run.code == 125, str(run)
    assert run.stdout == "", str(run)
    assert "quell" in run.stderr and "--exception" in run.stderr, str(run)
    assert "Traceback" not in run.stderr, str(run)


@pytest.mark.parametrize(
    "name",
    [
        "no_such_module:Class",
        "limits_of_our_own:Missing",
        "limits_of_our_own:NotAnException",
        "limits_of_our_own:NeedsArguments",
    ],
)
def test_an_exception_that_cannot_be_made(way: Way, name: str) -> None:
    """Its module is imported when the limit is reached, as an earlier import could change what the
    script sees. What cannot be raised then is replaced, and the report says so."""
    run = way.limited(
        ladder("handles_and_exits"), "handles_and_exits", options=["--exception", name]
    )
    assert said(run) == ["handled TimeLimit"], str(run)
    assert run.report is not None
    assert any(name.partition(":")[0] in note for note in run.report["notes"]), str(run)
