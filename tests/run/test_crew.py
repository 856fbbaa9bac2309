"""quell's own threads: the one that keeps the time is there from the start, the one that interrupts comes a
moment later, or as soon as it is needed."""

from __future__ import annotations

import pytest
from harness import READY, STRESS, Way, said


@pytest.mark.parametrize("limit", ["1ms", "15ms", "45ms", "50ms", "55ms"])
def test_a_limit_in_the_first_moment(way: Way, limit: str) -> None:
    """While the interpreter starts, just before the second thread does, and with it."""
    options = ["--timeout", limit, "--grace", "5s"]
    run = way.run("-c", "while True: pass", options=options)
    assert run.code == 124, str(run)
    assert run.report is not None
    assert (run.report["ended"], run.report["delivered"]) == ("unwound", True), str(run)


NO_ROOM = f"""if True:
    import os, resource
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    # Less than a stack, but room for what has to be made.
    resource.setrlimit(resource.RLIMIT_AS, (size + 1000 * 1024,) * 2)
    print(len(os.listdir("/proc/self/task")), "threads")
    try:
        print("{READY}", flush=True)
        while True: pass
    finally:
        print("cleaned up")
"""


def test_a_script_that_leaves_no_room_for_a_thread(way: Way) -> None:
    """The one that interrupts cannot start, if it has not already. The script is interrupted all the same."""
    for _ in range(5):
        run = way.limited("-c", NO_ROOM, grace=3.0)
        started, *rest = said(run)
        assert rest == ["cleaned up"], str(run)
        assert run.report is not None
        assert run.report["ended"] == "unwound", str(run)
        if started == "2 threads":
            notes = run.report["notes"]
            assert any(note.startswith("no thread to interrupt from") for note in notes), str(run)
            break


def test_a_fork_as_the_second_thread_starts(way: Way) -> None:
    """The script has one thread, so CPython has nothing to warn of, whenever it forks."""
    code = f"""if True:
        import os, random, time
        for _ in range({8 * STRESS}):
            time.sleep(random.uniform(0.049, 0.052))
            if not (child := os.fork()): os._exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    """
    env = {"PYTHONWARNINGS": "error"}
    run = way.run("-c", code, options=["--timeout", "10m"], env=env, report=False)
    assert (run.code, run.stderr) == (0, ""), str(run)


def test_interrupts_in_the_first_moment(way: Way) -> None:
    """The second one insists, whether or not there is a thread to do so already."""
    code = f"""if True:
        import os, signal, time
        signal.signal(signal.SIGINT, lambda *_: None)
        print("{READY}", flush=True)
        for _ in range(2): os.kill(os.getpid(), signal.SIGINT)
        while True: time.sleep(3600)
    """
    run = way.run("-c", code, options=["--timeout", "10m"], report=False, within=30)
    assert run.lines == [READY], str(run)
    assert "KeyboardInterrupt" in run.stderr, str(run)
