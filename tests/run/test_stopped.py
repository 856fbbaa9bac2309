"""A script that stops itself is continued at its limit, so that it can be interrupted; one that
somebody continues before it goes on as if nothing had been."""

from __future__ import annotations

import dataclasses
import signal
import time

import pytest
from harness import READY, SLACK, Way, check_limited, ladder, said

STOPS = [
    "stops_by_kill",
    "stops_by_kill_of_the_group",
    "stops_by_kill_of_a_negative_number",
    "stops_by_killpg",
    "stops_by_raise_signal",
    "stops_by_pthread_kill",
    "stops_by_pidfd",
    "stops_from_a_thread",
    "stops_again_and_again",
]


@pytest.mark.parametrize("name", STOPS)
def test_it_is_continued_and_interrupted(way: Way, name: str) -> None:
    run = way.limited(ladder(name), name, grace=3.0)
    assert said(run) == ["cleaned up"], str(run)
    assert run.report is not None
    assert run.report["ended"] == "unwound" and run.report["delivered"], str(run)


def test_by_the_signal_of_the_terminal(way: Way) -> None:
    """It stops a process only if somebody in its session could continue it."""
    code = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:], process_group=0))"
    job = dataclasses.replace(way, command=(way.python, "-c", code, *way.command))
    run = job.limited(ladder("stops_by_terminal_signal"), "stops_by_terminal_signal", grace=3.0)
    assert said(run) == ["cleaned up"], str(run)


def test_in_its_cleanup(way: Way) -> None:
    run = way.limited(ladder("stops_in_its_cleanup"), "stops_in_its_cleanup", grace=3.0)
    assert said(run) == ["and on", "cleaned up"], str(run)


def test_whatever_it_does_then(way: Way) -> None:
    run = way.limited(ladder("stops_and_swallows"), "stops_and_swallows", grace=0.5)
    assert run.report is not None
    assert run.report["ended"] in ("unwound", "killed"), str(run)


def test_processor_time_of_a_child(way: Way) -> None:
    name = "stops_while_a_child_burns"
    run = way.run(ladder(name), name, options=["--cpu", "500ms", "--grace", "3s"])
    assert run.code == 124 and not run.survivors, str(run)
    assert said(run) == ["cleaned up"], str(run)
    assert run.report is not None
    assert run.report["limit"]["kind"] == "cpu", str(run)


def test_a_fork_that_outlives_its_parent(way: Way) -> None:
    name = "stops_in_a_fork"
    run = way.run(ladder(name), name, options=["--timeout", "1s"], report=False, silence=True)
    assert (run.code, run.survivors) == (0, ()), str(run)
    assert said(run) == ["cleaned up"], str(run)
    assert run.silent <= 1 + 1 + SLACK, str(run)


def test_one_that_is_continued_goes_on(way: Way) -> None:
    code = """if True:
        import os, signal, sys
        signal.signal(signal.SIGCHLD, lambda *_: print("a child ended"))
        for n in range(3):
            print("stopping", n, flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)
            print("on", flush=True)
        try: os.wait()
        except ChildProcessError: print("no child")
        print(sorted(os.listdir("/proc/self/fd")))
    """
    process = way.start("-c", code, options=["--timeout", "10m", "--cpu", "10m"])
    plain = way.plain("-c", "import os; print(sorted(os.listdir('/proc/self/fd')))")
    try:
        for n in range(3):
            process.expect(f"stopping {n}\n")
            process._watch(
                lambda: process._proc("stat").rpartition(")")[2].split()[:1] == ["T"],
                "it to stop",
                20,
            )
            process.send(signal.SIGCONT)
        code, survivors = process.finish(20, silence=True)
    finally:
        process.close()
    lines = "".join(f"stopping {n}\non\n" for n in range(3)) + "no child\n" + plain.stdout
    assert (process.output(), process.output("stderr")) == (lines, "")
    assert (code, survivors) == (0, ())


def test_one_that_was_stopped_beyond_its_grace(way: Way) -> None:
    """As by Ctrl-Z: when it is continued it has its grace, and its cleanup runs."""
    process = way.start(ladder("sleeps"), "sleeps", options=["--timeout", "1s", "--grace", "1s"])
    try:
        process.expect(READY)
        process.send(signal.SIGSTOP)
        over = process.started + 1 + 1 + 0.5
        process._watch(lambda: time.monotonic() > over, "limit and grace to pass", 20)
        process.send(signal.SIGCONT)
        code, survivors = process.finish(20)
    finally:
        process.close()
    assert (code, survivors) == (124, ()), process.output("stderr")
    assert process.output() == f"{READY}\ncleaned up\n"


def test_stopping_others_needs_no_watchdog(way: Way) -> None:
    code = """if True:
        import os, signal, subprocess
        child = subprocess.Popen(["sleep", "600"])
        # Before that it has no environment.
        while not open(f"/proc/{child.pid}/cmdline").read(): pass
        for function, target in [(os.kill, child.pid), (signal.pidfd_send_signal, os.pidfd_open(child.pid))]:
            function(target, signal.SIGSTOP)
            function(target, signal.SIGCONT)
        mark = os.environ["QUELL_TEST_MARK"].encode()
        found = 0
        for entry in os.listdir("/proc"):
            try: found += entry.isdigit() and mark in open(f"/proc/{entry}/environ", "rb").read()
            except OSError: pass
        print(found)
        child.kill()
        child.wait()
    """
    run = way.run("-c", code, options=["--timeout", "10m"], report=False)
    assert (run.code, run.stdout, run.stderr) == (0, "2\n", ""), str(run)


def test_limited_says_what_it_owes(way: Way) -> None:
    """The whole of it, once more with no grace: the process ends at its limit."""
    run = way.limited(ladder("stops_by_kill"), "stops_by_kill", grace=0.0)
    check_limited(run)
