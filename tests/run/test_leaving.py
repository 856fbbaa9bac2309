"""``os._exit`` ends a process on the spot, but not without a report and the limit's exit code."""

from __future__ import annotations

import pytest
from harness import READY, Way, ladder, said

LEAVES = {
    "leaves_in_finally": (["cleaned up"], 3),
    "leaves_by_name_in_a_handler": (["handled TimeLimit"], 0),
    "leaves_from_a_thread": (["cleaned up"], 3),
    "leaves_children_behind": (["cleaned up"], 3),
}


@pytest.mark.parametrize("name", LEAVES)
def test_after_a_limit(way: Way, name: str) -> None:
    words, status = LEAVES[name]
    run = way.limited(ladder(name), name, grace=3.0)
    assert said(run) == words, str(run)
    assert run.report is not None
    assert run.report["ended"] == "unwound", str(run)
    assert run.report["delivered"], str(run)
    assert f"the script left by os._exit({status})" in run.report["notes"], str(run)
    assert len(run.report["children"]) == (name == "leaves_children_behind"), str(run)


def test_a_call_that_raises_still_raises(way: Way) -> None:
    name = "leaves_where_mistakes_are_mistakes"
    run = way.limited(ladder(name), name, grace=3.0)
    *mistakes, end = [line for line in run.lines if line != READY]
    assert end == "cleaned up", str(run)
    assert len(mistakes) == 7, str(run)
    code = "import os\ntry: os._exit()\nexcept TypeError as e: print('TypeError:', e)"
    assert way.plain("-c", code).lines == mistakes[:1], str(run)


def test_a_fork_has_its_own_status(way: Way) -> None:
    run = way.limited(ladder("leaves_in_a_fork"), "leaves_in_a_fork", grace=3.0)
    assert said(run) == ["the child left with 5"], str(run)


def test_before_a_limit(way: Way) -> None:
    name = "leaves_before_the_limit"
    run = way.run(ladder(name), name, options=["--timeout", "10m"], report=False)
    assert (run.code, run.stdout, run.stderr) == (7, "READY\n", ""), str(run)


def test_nothing_can_be_told_apart(way: Way) -> None:
    code = """if True:
        import inspect, os, pickle, _signal as signal
        for f in (os._exit, os.execv, os.execve, os.kill, os.killpg, signal.signal,
                  signal.raise_signal, signal.pthread_kill, signal.pidfd_send_signal):
            print(f, type(f), f.__name__, f.__qualname__, f.__module__, f.__self__.__name__)
            print(f.__doc__, f.__text_signature__, inspect.signature(f))
            print(pickle.loads(pickle.dumps(f)) is f, getattr(f.__self__, f.__name__) is f)
            print(sorted(set(dir(f)) ^ set(dir(os.getpid))))
    """
    run = way.run("-c", code, options=["--timeout", "10m"], report=False)
    assert (run.code, run.stderr) == (0, ""), str(run)
    assert run.stdout == way.plain("-c", code).stdout
