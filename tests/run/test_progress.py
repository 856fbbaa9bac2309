"""The line of ``--progress``: what it says, that it leaves nothing behind, and that only a terminal
gets it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time

import pytest
from harness import Way

LINE = re.compile(
    r"quell: (?P<elapsed>\d+\.\d)s of 10m, cpu (?P<cpu>\d+\.\d)s of 5m, "
    r"(?P<memory>[\d.]+) ?MiB of 4 GiB, (?P<threads>\d+ threads?)(?P<children>, .+)?"
)
LIMITS = ["--progress", "--timeout", "10m", "--cpu", "5m", "--memory", "4GiB"]


class Terminal:
    """A command whose standard error is a terminal. It reads from a pipe until that is closed."""

    def __init__(self, way: Way, options: list[str], code: str) -> None:
        self.written = b""
        self.terminal, its = pty.openpty()
        self.process = subprocess.Popen(
            [*way.command, *options, "-c", code],
            env=way.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=its,
            start_new_session=True,
        )
        os.close(its)

    def read(self, until: float) -> bool:
        """Reads some more; false when there will be none."""
        assert time.monotonic() < until, f"nothing more after {self.written[-200:]!r}"
        if not select.select([self.terminal], [], [], 1)[0]:
            return True
        try:
            data = os.read(self.terminal, 4096)
        except OSError:
            # The terminal's other side is closed by all.
            return False
        self.written += data
        return bool(data)

    def expect(self, pattern: str | re.Pattern[str], within: float = 30.0) -> re.Match[str]:
        until = time.monotonic() + within
        while not (found := re.search(pattern, self.written.decode())):
            assert self.read(until), f"ended after {self.written[-200:]!r}"
        return found

    def finish(self, within: float = 30.0) -> tuple[int, str]:
        """Closes its input and waits for its end; the exit code and what it has printed."""
        until = time.monotonic() + within
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        while self.read(until):
            pass
        return self.process.wait(within), self.process.stdout.read().decode()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout):
            assert file is not None
            file.close()
        os.close(self.terminal)


def screen(written: bytes) -> list[str]:
    """What remains to be seen: carriage returns and erased ends of lines carried out."""
    lines = [""]
    column = 0
    for part in re.findall(r"\r|\n|\x1b\[K|[^\r\n\x1b]+", written.decode()):
        if part == "\n":
            lines.append("")
            column = 0
        elif part == "\r":
            column = 0
        elif part == "\x1b[K":
            lines[-1] = lines[-1][:column]
        else:
            lines[-1] = lines[-1][:column] + part + lines[-1][column + len(part) :]
            column += len(part)
    return [line for line in lines if line]


def test_what_it_says_and_that_it_is_erased(way: Way) -> None:
    terminal = Terminal(way, LIMITS, "import sys; print(sys.stdin.read() + 'done')")
    try:
        first = terminal.expect(LINE)
        assert float(first["elapsed"]) < 20 and float(first["cpu"]) < 20
        assert 1 < float(first["memory"]) < 1000
        assert (first["threads"], first["children"]) == ("1 thread", None)
        # Nothing is drawn before it was measured.
        assert b" 0 threads" not in terminal.written
        # It goes on: the figures are drawn again in place.
        second = terminal.expect(rf"(?s){re.escape(first[0])}.*quell: (?!{first['elapsed']}s)")
        assert "\n" not in second[0]
        assert terminal.finish() == (0, "done\n")
        assert terminal.written.endswith(b"\r\x1b[K")
        assert screen(terminal.written) == []
    finally:
        terminal.close()


def test_threads_and_children_are_counted(way: Way) -> None:
    code = """if True:
        import subprocess, sys, threading
        children = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
        end = threading.Event()
        for _ in range(3): threading.Thread(target=end.wait).start()
        sys.stdin.read()
        end.set()
        for child in children: child.kill(), child.wait()
    """
    terminal = Terminal(way, LIMITS, code)
    try:
        terminal.expect(r"MiB of 4 GiB, 4 threads, 2 children\x1b\[K")
        assert terminal.finish() == (0, "")
        assert screen(terminal.written) == []
    finally:
        terminal.close()


def test_without_limits_it_has_nothing_to_compare_with(way: Way) -> None:
    terminal = Terminal(way, ["--progress"], "import sys; sys.stdin.read()")
    try:
        terminal.expect(r"quell: \d+\.\ds, cpu \d+\.\ds, [\d.]+ ?MiB, 1 thread\x1b\[K\r")
        assert terminal.finish() == (0, "")
        assert screen(terminal.written) == []
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("last", "code"),
    [
        ("os._exit(3)", 3),
        ("os.execvp('sh', ['sh', '-c', 'exit 4'])", 4),
        ("sys.exit('why')", 1),
        ("threading.Thread(target=os._exit, args=(5,)).start(); sys.stdin.read()", 5),
    ],
)
def test_it_is_erased_however_the_script_ends(way: Way, last: str, code: int) -> None:
    terminal = Terminal(way, LIMITS, f"import os, sys, threading; sys.stdin.read(); {last}")
    try:
        terminal.expect(LINE)
        assert terminal.finish() == (code, "")
        # What the script writes itself is written over it.
        (rest,) = screen(terminal.written) or [""]
        assert rest.startswith("why") if code == 1 else not rest
    finally:
        terminal.close()


def test_it_is_gone_before_the_report(way: Way) -> None:
    options = ["--progress", "--timeout", "1s"]
    terminal = Terminal(way, options, "import sys; sys.stdin.read()")
    try:
        terminal.expect(r"quell: \d\.\ds of 1s, cpu")
        terminal.expect("nothing remained")
        code, _ = terminal.finish()
        assert code == 124
        lines = screen(terminal.written)
        assert lines[0] == "Traceback (most recent call last):", lines
        assert any(line.startswith("quell: time limit of 1s reached after") for line in lines)
        assert not any("cpu" in line for line in lines), lines
    finally:
        terminal.close()


def test_the_scripts_own_lines_are_whole(way: Way) -> None:
    code = """if True:
        import sys
        for n in range(3000): print(f"line {n}", file=sys.stderr)
        sys.stdin.read()
        print("the last", file=sys.stderr)
    """
    terminal = Terminal(way, LIMITS, code)
    try:
        terminal.expect("line 2999")
        terminal.expect(LINE)
        assert terminal.finish() == (0, "")
        *before, last = screen(terminal.written)
        # Each is written over the line, of which the rest stays where it is longer.
        assert len(before) == 3000
        assert all(line.startswith(f"line {n}") for n, line in enumerate(before))
        assert last.startswith("the last")
        for n in range(3000):
            assert f"line {n}\r\n".encode() in terminal.written
    finally:
        terminal.close()


@pytest.mark.parametrize("options", [["--progress"], [*LIMITS]], ids=["alone", "with limits"])
def test_nothing_where_there_is_no_terminal(way: Way, options: list[str]) -> None:
    """For longer than the line would take to appear."""
    code = "import time; time.sleep(0.7); print('slept')"
    run = way.run("-c", code, options=options, report=False)
    assert (run.code, run.stdout, run.stderr) == (0, "slept\n", ""), str(run)


def test_nothing_where_it_was_not_asked_for(way: Way) -> None:
    terminal = Terminal(way, ["--timeout", "10m"], "import time; time.sleep(0.7)")
    try:
        assert terminal.finish() == (0, "")
        assert terminal.written == b""
    finally:
        terminal.close()
