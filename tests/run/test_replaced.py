"""A script that becomes another program (``os.exec*``) keeps its limits, and one that does so and
behaves is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import IO

import pytest
from harness import READY, SCRIPTS, SLACK, Run, Way, ladder, marked, said

TERMINATED = -signal.SIGTERM
CRASHED = -signal.SIGSEGV


def replaced(way: Way, name: str, *options: str, grace: float = 0.5, code: int | None = 124) -> Run:
    """Runs a script that becomes a program which reaches its limit, and checks what is always owed.
    ``code`` is what the report says of its exit status."""
    for limit in (0.5, 2.0, 8.0):
        chosen = options or ("--timeout", f"{limit}s")
        run = way.run(ladder(name), name, options=[*chosen, "--grace", f"{grace}s"], silence=True)
        if READY in run.stdout:
            break
    assert run.report is not None, str(run)
    assert run.report["exit_code"] == code and run.report["exception"] is None, str(run)
    assert code is None or run.code in (code, 128 - code), str(run)
    assert not run.survivors, str(run)
    if not options:
        assert run.report["limit"]["kind"] == "time", str(run)
        assert run.elapsed <= limit + grace + SLACK, str(run)
        assert run.silent <= limit + grace + SLACK, str(run)
    return run


@pytest.mark.parametrize(
    ("name", "ended", "program"),
    [
        ("becomes_a_sleeper", "terminated", "python"),
        ("becomes_a_loop", "terminated", "sh"),
        ("becomes_deaf", "killed", "python"),
        ("becomes_a_deaf_loop", "killed", "sh"),
        ("becomes_stopped", "terminated", "python"),
        ("becomes_stopped_and_deaf", "killed", "python"),
        ("becomes_threads", "terminated", "python"),
        ("becomes_deaf_threads", "killed", "python"),
        ("becomes_threads_without_the_first", "terminated", "python"),
        ("becomes_in_a_thread", "terminated", "python"),
        ("becomes_with_no_descriptor_left", "terminated", "python"),
        ("becomes_with_all_descriptors_closed", "terminated", "python"),
        ("becomes_with_forks_around", "terminated", "python"),
        ("becomes_again_and_again", "terminated", "sleep"),
    ],
)
def test_the_limit_holds(way: Way, name: str, ended: str, program: str) -> None:
    run = replaced(way, name)
    # The forks tell by themselves that they were interrupted.
    assert not run.stderr or name == "becomes_with_forks_around", str(run)
    assert run.report is not None
    assert run.report["ended"] == ended, str(run)
    assert program in run.report["replaced_by"], str(run)


@pytest.mark.parametrize(
    "name",
    [
        "becomes_one_that_ends_when_asked",
        "becomes_one_that_then_ends_by_the_signal",
        "becomes_one_whose_thread_ends_it",
        "becomes_one_that_waits_for_the_signal",
        "becomes_another_one_when_asked",
    ],
)
def test_one_that_ends_when_asked(way: Way, name: str) -> None:
    """Its cleanup runs; its status is that of a limit, whatever it would be otherwise."""
    run = replaced(way, name)
    assert said(run) == ["cleaned up"], str(run)
    assert run.report is not None
    assert run.report["ended"] == "terminated", str(run)
    assert not run.report["notes"], str(run)


def test_a_crash_stays_one(way: Way) -> None:
    run = replaced(way, "becomes_one_that_crashes_when_asked", code=128 - CRASHED)
    assert run.code == CRASHED, str(run)


@pytest.mark.parametrize("name", ["becomes_held_by_another", "becomes_one_of_32_bits"])
def test_one_that_cannot_be_held(way: Way, name: str) -> None:
    """It ends by the signal, and the report says why its status is not 124."""
    if name == "becomes_one_of_32_bits" and not runs_32_bits():
        pytest.skip("no program of 32 bits runs here")
    run = replaced(way, name, code=None if "held" in name else 128 - TERMINATED)
    assert run.code == TERMINATED, str(run)
    assert run.report is not None
    assert any("could not be held" in note for note in run.report["notes"]), str(run)


def runs_32_bits() -> bool:
    """Whether the kernel loads such programs, and the machine is one that the script knows."""
    code = f"import sys; sys.path.insert(0, {str(SCRIPTS / 'ladder')!r}); import replaces; replaces.becomes_one_of_32_bits()"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        answer = process.stdout.readline()
        process.kill()
    return answer == f"{READY}\n"


@pytest.mark.parametrize("name", ["becomes_a_tree", "becomes_a_deaf_tree"])
def test_what_is_below_it_ends_with_it(way: Way, name: str) -> None:
    run = replaced(way, name)
    assert run.report is not None
    assert len(run.report["children"]) >= 3, str(run)


def test_after_the_limit(way: Way) -> None:
    """Nothing is gained by waiting for the interrupt."""
    run = replaced(way, "becomes_after_the_limit", grace=5.0)
    assert "cleaned up" in said(run), str(run)


def test_just_as_the_limit_is_reached(way: Way) -> None:
    """The interrupt is for the script: it neither reaches the program nor ends its watchdog."""
    for early in range(8):
        code = "import os, sys, time; time.sleep(0.3 - float(sys.argv[1]))\n"
        code += "os.execvp('sleep', ['sleep', '3600'])"
        options = ["--timeout", "300ms", "--grace", "500ms"]
        run = way.run("-c", code, str(early * 0.01), options=options, silence=True)
        assert run.code == 124 and run.report is not None and not run.survivors, str(run)


@pytest.mark.parametrize("name", ["burns_elsewhere", "burns_below_elsewhere"])
def test_processor_time(way: Way, name: str) -> None:
    run = replaced(way, name, "--cpu", "500ms")
    assert run.report is not None
    assert run.report["limit"]["kind"] == "cpu", str(run)
    assert 0.5 <= run.report["limit"]["used"] <= 1.5, str(run)


def test_memory(way: Way) -> None:
    run = replaced(way, "grows_elsewhere", "--memory", "200M")
    assert run.report is not None
    assert run.report["limit"]["kind"] == "memory", str(run)


def test_what_people_are_told(way: Way) -> None:
    code = "import os; os.execvp('sleep', ['sleep', '3600'])"
    run = way.run("-c", code, options=["--timeout", "1s"], report=False, silence=True)
    assert run.code == 124, str(run)
    first, second = run.stderr.splitlines()
    assert first.startswith("quell: time limit of 1s reached after 1."), str(run)
    assert "; the script had replaced itself by /" in first and first.endswith("/sleep"), str(run)
    assert second.startswith("quell:   asked to end (SIGTERM), it did after "), str(run)


def test_quiet(way: Way) -> None:
    code = "import os; os.execvp('sleep', ['sleep', '3600'])"
    options = ["--timeout", "500ms", "--quiet"]
    run = way.run("-c", code, options=options, report=False, silence=True)
    assert (run.code, run.stderr) == (124, ""), str(run)


def test_a_call_that_fails(way: Way) -> None:
    """The script is still there, with everything that watches it from inside."""
    run = way.limited(ladder("fails_to_become"), "fails_to_become", grace=3.0)
    assert said(run) == ["cleaned up, 0 signals", "no child"], str(run)
    assert run.report is not None
    assert run.report["ended"] == "unwound" and run.report["delivered"], str(run)
    assert "replaced_by" not in run.report, str(run)


def test_the_watchdog_of_a_call_that_fails_goes_away(way: Way) -> None:
    code = """if True:
        import os, sys
        try: os.execv("/nonexistent", ["x"])
        except OSError: print("failed", flush=True)
        print(sys.stdin.read(), end="")
    """
    read, write = _pipe()
    process = way.start("-c", code, options=["--timeout", "10m"], stdin=read)
    try:
        process.expect("failed")
        process._watch(lambda: marked(process.mark) == [process.pid], "the watchdog to leave", 20)
        write.write("and on\n")
        write.close()
        assert process.finish(20) == (0, ()), process.output("stderr")
        assert process.output() == "failed\nand on\n"
    finally:
        process.close()


# ---------------------------------------------------------------- unharmed

#: What a program can see of the process it was started in.
LOOKS = """
import os, sys
print(sys.argv, sorted(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")))
try: os.wait()
except ChildProcessError: print("no child")
print(os.environ.get("ADDED"), os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid())
status = open("/proc/self/status").read().splitlines()
print([line for line in status if line.startswith(("SigBlk", "SigIgn", "SigCgt", "NoNewPrivs"))])
print(sys.stdin.read(), end="")
sys.exit(3)
"""


@pytest.mark.parametrize(
    "call",
    [
        "os.execv(sys.executable, [sys.executable, '-c', LOOKS, 'a'])",
        "os.execve(sys.executable, ['python', '-c', LOOKS, 'b'], {**os.environ, 'ADDED': '1'})",
        "os.execve(sys.executable, argv=['python', '-c', LOOKS], env={**os.environ})",
        "os.execl(sys.executable, sys.executable, '-c', LOOKS)",
        "os.chdir(os.path.dirname(sys.executable)); os.execlp('./python', 'python', '-c', LOOKS)",
        "os.execvpe(os.path.basename(sys.executable), ['python', '-c', LOOKS], os.environ)",
    ],
)
def test_a_program_that_behaves_finds_what_it_would_find(way: Way, call: str) -> None:
    code = f"import os, sys\nLOOKS = {LOOKS!r}\n{call}"
    path = way.environment().get("PATH", "")
    env = {"PATH": f"/nonexistent:/tmp:{way.python.rpartition('/')[0]}:{path}"}
    options = ["--timeout", "10m", "--cpu", "10m", "--memory", "1T"]
    run = way.run("-c", code, options=options, stdin=b"read\n", env=env, report=False, silence=True)
    plain = way.plain("-c", code, stdin=b"read\n", env=env)
    assert (run.code, run.stdout, run.stderr) == (3, plain.stdout, plain.stderr), str(run)
    assert plain.code == 3 and plain.lines[-1] == "read", str(plain)
    assert not run.survivors, str(run)
    # Nobody holds its output for longer than it lives itself.
    assert run.silent - run.elapsed <= SLACK / 2, str(run)


@pytest.mark.parametrize(("options", "watched"), [([], False), (["--timeout", "10m"], True)])
def test_only_limits_need_a_watchdog(way: Way, options: list[str], watched: bool) -> None:
    """The program counts who carries the mark of this test: itself, and the watchdog."""
    code = """if True:
        import os
        mark = os.environ["QUELL_TEST_MARK"].encode()
        found = 0
        for entry in os.listdir("/proc"):
            try: found += entry.isdigit() and mark in open(f"/proc/{entry}/environ", "rb").read()
            except OSError: pass
        print(found)
    """
    outer = f"import os, sys; os.execv(sys.executable, ['python', '-c', {code!r}])"
    run = way.run("-c", outer, options=options, report=False, silence=True)
    assert (run.code, run.lines) == (0, ["2" if watched else "1"]), str(run)


def test_a_fork_that_becomes_a_program_is_a_child_like_any_other(way: Way) -> None:
    code = """if True:
        import os
        status = os.spawnlp(os.P_WAIT, "sh", "sh", "-c", "echo below; exit 4")
        print(status)
        child = os.fork()
        if child == 0:
            os.execvp("sh", ["sh", "-c", "echo too; exit 6"])
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    run = way.run("-c", code, options=["--timeout", "10m"], report=False, silence=True)
    assert (run.code, run.stderr, run.survivors) == (0, "", ()), str(run)
    assert sorted(run.lines) == ["4", "6", "below", "too"], str(run)


def _pipe() -> tuple[int, IO[str]]:
    read, write = os.pipe()
    return read, os.fdopen(write, "w")
