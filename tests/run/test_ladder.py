"""It always ends: within limit + grace with exit code 124, whatever the script does, and with as much
of the script's own cleanup as Python can run."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest
from harness import READY, SCRIPTS, SLACK, Run, Way, check_limited, tagged

SCRIPT = SCRIPTS / "ladder.py"

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
    "spins_with_all_signals_blocked": ["cleaned up"],
    "closes_standard_error": ["cleaned up"],
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
    "blocks_all_signals",
    "takes_every_realtime_signal",
    "closes_descriptors",
    "long_switch_interval",
]


def said(run: Run) -> list[str]:
    """What the script said, in no particular order: threads and processes write together."""
    assert run.lines.count(READY) == 1, str(run)
    return sorted(line for line in run.lines if line != READY)


@pytest.mark.parametrize("name", UNWINDS)
def test_unwinds(way: Way, name: str) -> None:
    # Time enough before force, which may cut the cleanup that is looked for, on a machine with more to do.
    run = way.limited(SCRIPT, name, grace=3.0)
    assert said(run) == sorted(UNWINDS[name]), str(run)
    assert run.report is not None
    assert run.report["ended"] == "unwound", str(run)


@pytest.mark.parametrize("name", KILLED)
def test_is_killed_with_tracebacks(way: Way, name: str) -> None:
    run = way.limited(SCRIPT, name, grace=0.5)
    assert said(run) == [], str(run)
    assert run.report is not None
    assert run.report["ended"] == "killed", str(run)
    tag = KILLED[name]
    if tag is not None:
        lines = tagged(SCRIPT, tag)
        assert "ladder.py" in run.stderr, str(run)
        assert any(str(line) in run.stderr for line in lines), str(run)


@pytest.mark.parametrize("name", ENDS)
def test_ends(way: Way, name: str) -> None:
    run = way.limited(SCRIPT, name, grace=0.5)
    assert set(said(run)) <= {"cleaned up"}, str(run)
    assert run.report is not None
    assert run.report["ended"] in ("unwound", "killed"), str(run)


def test_children_are_named_in_the_report(way: Way) -> None:
    run = way.limited(SCRIPT, "shell_tree")
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
    run = way.limited(SCRIPT, name, grace=0)
    assert run.elapsed <= run.limit + SLACK, str(run)


# ---------------------------------------------------------------- limits


def test_the_limit_says_what_it_was(way: Way) -> None:
    run = way.limited(SCRIPT, "shows_the_limit")
    assert run.lines == [
        READY,
        f"quell ['TimeLimit', 'Limit', 'BaseException', 'object'] {run.limit!r}",
        "used at least the limit: True",
    ], str(run)


def test_processor_time(way: Way) -> None:
    run = way.run(SCRIPT, "spins", options=["--cpu", "300ms"])
    assert run.code == 124, str(run)
    assert run.lines == [READY, "cleaned up"], str(run)
    assert "CpuLimit" in run.stderr, str(run)
    assert run.report is not None
    assert run.report["limit"]["kind"] == "cpu", str(run)
    assert 0.3 <= run.report["limit"]["used"] <= 0.6, str(run)


def test_processor_time_of_children(way: Way) -> None:
    run = way.run(SCRIPT, "burns_in_a_child", options=["--cpu", "300ms"])
    assert run.code == 124, str(run)
    assert run.lines == [READY, "cleaned up"], str(run)
    assert run.report is not None
    assert run.report["limit"]["kind"] == "cpu", str(run)


def test_sleeping_uses_no_processor_time(way: Way) -> None:
    code = "import time; time.sleep(0.8); print('slept')"
    run = way.run("-c", code, options=["--cpu", "500ms"])
    assert (run.code, run.stdout) == (0, "slept\n"), str(run)


def test_memory(way: Way) -> None:
    run = way.run(SCRIPT, "grows", options=["--memory", "150M"])
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
    run = way.run(SCRIPT, "grows_in_a_child", options=["--memory", "200M"])
    assert run.code == 124, str(run)
    assert run.lines == [READY, "cleaned up"], str(run)
    assert not run.survivors, str(run)
    assert run.report is not None
    assert run.report["limit"]["kind"] == "memory", str(run)


def test_memory_below_the_limit(way: Way) -> None:
    run = way.run("-c", "x = bytearray(50 << 20); print(len(x))", options=["--memory", "1GiB"])
    assert (run.code, run.stdout) == (0, f"{50 << 20}\n"), str(run)


def test_the_first_of_several_limits(way: Way) -> None:
    run = way.run(SCRIPT, "spins", options=["--timeout", "30s", "--cpu", "250ms", "--memory", "2G"])
    assert run.code == 124, str(run)
    assert run.report is not None
    assert run.report["limit"]["kind"] == "cpu", str(run)


# ---------------------------------------------------------------- --exception


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
    run = way.limited(SCRIPT, "handles_and_exits", options=["--exception", name])
    assert said(run) == [f"handled {shown}"], str(run)
    assert run.report is not None
    assert run.report["exception"].endswith(shown), str(run)


def test_another_exception_that_nobody_handles(way: Way) -> None:
    run = way.limited(SCRIPT, "spins", options=["--exception", "KeyboardInterrupt"])
    assert said(run) == ["cleaned up"], str(run)
    assert "KeyboardInterrupt" in run.stderr, str(run)


@pytest.mark.parametrize("name", ["no_such_name", "int", "", ":", "builtins:", ":ValueError"])
def test_an_exception_that_is_none(way: Way, name: str) -> None:
    run = way.run(SCRIPT, "spins", options=["--timeout", "250ms", "--exception", name])
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
    run = way.limited(SCRIPT, "handles_and_exits", options=["--exception", name])
    assert said(run) == ["handled TimeLimit"], str(run)
    assert run.report is not None
    assert any(name.partition(":")[0] in note for note in run.report["notes"]), str(run)


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--timeout", "soon", "-c", "pass"], "soon"),
        (["--timeout", "-1s", "-c", "pass"], "-1s"),
        (["--timeout", "", "-c", "pass"], "--timeout"),
        (["--timeout", "5parsecs", "-c", "pass"], "5parsecs"),
        (["--timeout", "nan", "-c", "pass"], "nan"),
        (["--timeout", "inf", "-c", "pass"], "inf"),
        (["--timeout", "1e400", "-c", "pass"], "1e400"),
        (["--cpu", "1m 2", "-c", "pass"], "1m 2"),
        (["--memory", "lots", "-c", "pass"], "lots"),
        (["--memory", "5Q", "-c", "pass"], "5Q"),
        (["--memory", "-5M", "-c", "pass"], "-5M"),
        (["--memory", "5s", "-c", "pass"], "5s"),
        (["--grace", "later", "-c", "pass"], "later"),
        (["--report", "xml", "-c", "pass"], "xml"),
        (["--no-such-option", "-c", "pass"], "--no-such-option"),
        (["--timeout"], "--timeout"),
        (["-m"], "-m"),
        (["-c"], "-c"),
        ([], ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value or "none",
)
def test_bad_arguments(way: Way, options: list[str], named: str) -> None:
    run = way.run(options=options, report=False)
    assert run.code == 125, str(run)
    assert run.stdout == "", str(run)
    assert "quell" in run.stderr, str(run)
    assert named in run.stderr, str(run)
    assert "Traceback" not in run.stderr and "panicked" not in run.stderr, str(run)


@pytest.mark.parametrize(
    "options",
    [
        ["--timeout", "60"],
        ["--timeout", "60s"],
        ["--timeout", "1m30s"],
        ["--timeout", "90000ms"],
        ["--timeout", "1.5h"],
        ["--timeout=60s"],
        ["--cpu", "1m", "--grace", "250ms"],
        ["--memory", "2G"],
        ["--memory", "1.5GiB"],
        ["--memory", "1500MB"],
        ["--memory", "2000000000"],
        ["--quiet"],
        ["--report", "human"],
        ["--progress"],
    ],
    ids=" ".join,
)
def test_good_arguments(way: Way, options: list[str]) -> None:
    run = way.run("-c", "print('fine')", options=options, report=False)
    assert (run.code, run.stdout, run.stderr) == (0, "fine\n", ""), str(run)


def test_version_and_help(way: Way) -> None:
    for word in ("--version", "--help"):
        done = subprocess.run(
            [*way.command[:-1], word],
            env=way.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0 and "quell" in done.stdout, done
    run = way.run(options=["--help"], report=False)
    assert run.code == 0 and "--timeout" in run.stdout, str(run)


def test_the_report_on_standard_error(way: Way) -> None:
    """One JSON object, on the last line, after what Python had to say."""
    run = way.run(SCRIPT, "spins", options=["--timeout", "1s", "--report", "json"], report=False)
    assert run.code == 124, str(run)
    *before, last = run.stderr.splitlines()
    report = json.loads(last)
    assert any("TimeLimit" in line for line in before), str(run)
    assert report["version"] == 1
    assert report["limit"]["kind"] == "time" and report["limit"]["limit"] == 1.0
    assert report["limit"]["used"] >= 1.0
    assert report["exception"] == "quell.TimeLimit"
    assert report["main"]["function"] == "spin"
    assert report["main"]["file"].endswith("ladder.py")
    assert report["main"]["state"] == "running"
    assert report["delivered"] is True
    assert 0 <= report["delivery_ms"] < 1000
    assert report["threads"] == [] and report["children"] == []
    assert report["ended"] == "unwound" and report["exit_code"] == 124
    assert 1.0 <= report["elapsed"] <= run.elapsed


# ---------------------------------------------------------------- Ctrl-C


def interrupt(way: Way, name: str, times: int, *said_between: str) -> Run:
    """Starts a script and sends it SIGINT, waiting between two for what the script says."""
    process = way.start(SCRIPT, name, options=["--timeout", "10m"])
    try:
        process.expect(READY)
        for n in range(times):
            process.send(signal.SIGINT)
            if n < len(said_between):
                process.expect(said_between[n])
        code, survivors = process.finish(20)
    finally:
        process.close()
    return Run(
        process.argv,
        code,
        process.output(),
        process.output("stderr"),
        process.elapsed,
        None,
        survivors,
    )


BY_INTERRUPT = (-signal.SIGINT, 128 + signal.SIGINT)


@pytest.mark.parametrize("name", ["spins", "sleeps"])
def test_the_first_interrupt_is_the_scripts(way: Way, name: str) -> None:
    run = interrupt(way, name, 1)
    assert run.lines == [READY, "cleaned up"], str(run)
    assert run.code in BY_INTERRUPT, str(run)
    assert run.stderr.rstrip().endswith("KeyboardInterrupt"), str(run)


def test_the_second_interrupt_insists(way: Way) -> None:
    run = interrupt(way, "interrupt_handler_does_nothing", 2, "handler")
    assert run.lines[:2] == [READY, "handler"], str(run)
    assert run.lines[-1] == "cleaned up", str(run)
    assert run.code in BY_INTERRUPT, str(run)
    assert "KeyboardInterrupt" in run.stderr, str(run)


def test_the_third_interrupt_ends_the_process(way: Way) -> None:
    process = way.start(SCRIPT, "sums", options=["--timeout", "10m"])
    try:
        process.expect(READY)
        process.await_work()
        # Two signals that arrive together are one: each has to have been taken before the next.
        for _ in range(3):
            process.send(signal.SIGINT)
            process.await_delivery(signal.SIGINT)
        code, _ = process.finish(20)
    finally:
        process.close()
    assert code in BY_INTERRUPT, process.output("stderr")
    assert str(min(tagged(SCRIPT, "sums"))) in process.output("stderr")


def test_a_terminating_signal_terminates(way: Way) -> None:
    process = way.start(SCRIPT, "sleeps", options=["--timeout", "10m"])
    try:
        process.expect(READY)
        process.send(signal.SIGTERM)
        code, _ = process.finish(20)
    finally:
        process.close()
    assert code in (-signal.SIGTERM, 128 + signal.SIGTERM), process.output("stderr")


def test_limits_hold_where_interrupts_are_ignored(way: Way) -> None:
    """A job in the background has SIGINT ignored from its start."""
    run = way.run(SCRIPT, "sleeps", options=["--timeout", "500ms"], sigint=signal.SIG_IGN)
    assert run.lines == [READY, "cleaned up"], str(run)
    check_limited(run.limited_by(0.5, 1.0))
