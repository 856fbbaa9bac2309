"""Ctrl-C, and the signals that other programs send."""

from __future__ import annotations

import signal

import pytest
from harness import READY, Run, Way, check_limited, ladder, tagged


def interrupt(way: Way, name: str, times: int, *said_between: str) -> Run:
    """Starts a script and sends it SIGINT, waiting between two for what the script says."""
    process = way.start(ladder(name), name, options=["--timeout", "10m"])
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
    process = way.start(ladder("sums"), "sums", options=["--timeout", "10m"])
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
    assert str(min(tagged(ladder("sums"), "sums"))) in process.output("stderr")


def test_a_terminating_signal_terminates(way: Way) -> None:
    process = way.start(ladder("sleeps"), "sleeps", options=["--timeout", "10m"])
    try:
        process.expect(READY)
        process.send(signal.SIGTERM)
        code, _ = process.finish(20)
    finally:
        process.close()
    assert code in (-signal.SIGTERM, 128 + signal.SIGTERM), process.output("stderr")


def test_limits_hold_where_interrupts_are_ignored(way: Way) -> None:
    """A job in the background has SIGINT ignored from its start."""
    run = way.run(ladder("sleeps"), "sleeps", options=["--timeout", "500ms"], sigint=signal.SIG_IGN)
    assert run.lines == [READY, "cleaned up"], str(run)
    check_limited(run.limited_by(0.5, 1.0))
