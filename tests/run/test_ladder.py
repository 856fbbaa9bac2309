"""It always ends: within limit + grace with exit code 124, whatever the script does, and with as much
of the script's own cleanup as Python can run."""

from __future__ import annotations

import json
import pathlib

import pytest
from harness import SLACK, Way, ladder, said, tagged

#: What unwinds, and what it has to say before it does.
UNWINDS = {
    "swallows_in_sleep": ["cleaned up"],
    "sleeps_with_the_gil": ["cleaned up"],
    "swallows_nested": ["cleaned up"],
    "swallows_and_starts_again": ["cleaned up"],
    "swallows_with_suppress": ["cleaned up"],
    "swallows_in_finally": ["cleaned up"],
    "swallows_in_asyncio": ["cleaned up"],
    "swallows_in_generator": ["cleaned up"],
    "long_finally": ["cleanup started", "cleaned up"],
    "handles_and_exits": ["handled TimeLimit"],
    "handles_and_goes_on": ["handled TimeLimit", "cleaned up"],
    "thread_blocked_after_main": ["cleaned up"],
    "thread_swallows": ["cleaned up"],
    "thread_spins_after_main": ["cleaned up"],
    "executor": [f"cleaned up {n}" for n in range(4)],
    "fifty_threads": ["cleaned up"] * 50,
    "daemon_threads": ["cleaned up"],
    "ignores_interrupts": ["cleaned up"],
    "own_handlers": ["cleaned up"],
    "blocks_all_signals": ["cleaned up"],
    "blocks_all_signals_and_reads": ["cleaned up"],
    "spins_with_all_signals_blocked": ["cleaned up"],
    "closes_standard_error": ["cleaned up"],
    "uses_up_descriptors": ["cleaned up"],
    "uses_up_descriptors_and_sleeps": ["cleaned up"],
    "uses_up_descriptors_in_a_thread": ["cleaned up"],
    "own_tracer": ["cleaned up"],
    "takes_every_monitoring_tool": ["cleaned up"],
    "replaces_hooks": ["cleaned up"],
    "shallow_recursion_limit": ["cleaned up"],
    "fork_tree": ["child", "cleaned up", "grandchild"],
    "fork_spins": ["cleaned up"],
    "detached_grandchild": ["cleaned up", "daemon"],
    "shell_tree": ["cleaned up"],
}

#: What nothing inside the process can reach; with the tag of the line the tracebacks have to show.
KILLED = {
    "keeps_the_gil": "lock_twice",
    "keeps_the_gil_in_a_thread": "keeps_the_gil_in_a_thread",
    "finalizer_loops": "finalizer_loops",
    "children_while_the_gil_is_kept": None,
    "sums": "sums",
}

#: Where either is right: what is asked is that it ends in time.
ENDS = [
    "excepthook_loops",
    "restarts_its_call",
    "atexit_loops",
    "atexit_sleeps",
    "finalizer_loops_at_exit",
    "flush_blocks_at_exit",
    "blocks_all_signals_and_waits_for_one",
    "takes_every_realtime_signal",
    "closes_descriptors",
    "long_switch_interval",
]


@pytest.mark.parametrize("name", UNWINDS)
def test_unwinds(way: Way, name: str) -> None:
    # Time enough before force, which may cut the cleanup that is looked for, on a machine with more to do.
    run = way.limited(ladder(name), name, grace=3.0)
    assert said(run) == sorted(UNWINDS[name]), str(run)
    assert run.report is not None
    assert run.report["ended"] == "unwound", str(run)


@pytest.mark.parametrize("name", KILLED)
def test_is_killed_with_tracebacks(way: Way, name: str) -> None:
    run = way.limited(ladder(name), name, grace=0.5)
    assert said(run) == [], str(run)
    assert run.report is not None
    assert run.report["ended"] == "killed", str(run)
    tag = KILLED[name]
    if tag is not None:
        lines = tagged(ladder(name), tag)
        assert ladder(name).name in run.stderr, str(run)
        assert any(str(line) in run.stderr for line in lines), str(run)


@pytest.mark.parametrize("name", ENDS)
def test_ends(way: Way, name: str) -> None:
    run = way.limited(ladder(name), name, grace=0.5)
    assert set(said(run)) <= {"cleaned up"}, str(run)
    assert run.report is not None
    assert run.report["ended"] in ("unwound", "killed"), str(run)


def test_a_report_that_cannot_be_written_to_its_file(way: Way, tmp_path: pathlib.Path) -> None:
    """It goes to standard error."""
    options = ["--timeout", "1s", "--report", "json", "--report-file", str(tmp_path / "report")]
    run = way.run(
        ladder("allows_no_descriptors"), "allows_no_descriptors", options=options, report=False
    )
    assert run.code == 124, str(run)
    assert said(run) == ["cleaned up"], str(run)
    *_, error, report = run.stderr.splitlines()
    assert "cannot write the report" in error, str(run)
    assert json.loads(report)["ended"] == "unwound", str(run)


def test_children_are_named_in_the_report(way: Way) -> None:
    run = way.limited(ladder("shell_tree"), "shell_tree")
    assert run.report is not None
    assert len(run.report["children"]) >= 2, str(run)
    assert all(child["killed"] for child in run.report["children"]), str(run)


def test_a_child_outlives_a_script_that_behaves(way: Way) -> None:
    """As under ``python``: no limit was reached, so nothing is anybody else's business."""
    code = "import subprocess; subprocess.Popen(['sleep', '600'])"
    run = way.run("-c", code, options=["--timeout", "10m"])
    assert run.code == 0, str(run)
    assert run.survivors == ("sleep 600",), str(run)


def test_nothing_is_reported_without_a_limit(way: Way) -> None:
    run = way.run("-c", "print('fine')", options=["--timeout", "10m"], report=False)
    assert (run.code, run.stdout, run.stderr) == (0, "fine\n", ""), str(run)


@pytest.mark.parametrize("name", ["spins", "sleeps", "sums", "swallows_in_sleep"])
def test_no_grace(way: Way, name: str) -> None:
    run = way.limited(ladder(name), name, grace=0)
    assert run.elapsed <= run.limit + SLACK, str(run)
