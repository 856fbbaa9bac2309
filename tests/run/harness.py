"""Runs the command the way a person does, and never waits for it longer than it was promised to take.

A :class:`Way` is one way to start the command: the embedding binary, or the package inside an
interpreter. ``way.run`` runs a script to its end; ``way.limited`` runs one that has to be stopped by
its time limit; ``way.start`` hands back the live process for tests that talk to it. Output is read
through pipes by one event loop that also watches the process itself, so a descendant that keeps a
pipe open cannot hold up a test. Every process carries a mark in its environment: what still carries
it afterwards is a survivor, however it detached itself.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
import select
import selectors
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

SCRIPTS = pathlib.Path(__file__).parent / "scripts"

#: Seconds that a run may take beyond limit + grace: starting and ending a process on a loaded machine.
SLACK = float(os.environ.get("QUELL_SLACK", "1.0"))

#: Multiplies the counts of the stress tests; 1 is the default suite.
STRESS = int(os.environ.get("QUELL_STRESS", "1"))

_ways = os.environ.get("QUELL_WAYS", "")

#: Each test in one of the ways, the next minor version of Python in the other.
IN_TURN = _ways == "in-turn"

#: The ways that are tested.
WAYS = _ways.split(",") if _ways and not IN_TURN else ["binary", "module"]

#: What a script prints when it is where the limit has to find it.
READY = "READY"

_MARK = "QUELL_TEST_MARK"
#: Of `/proc/PID/stat`, counted from the state on: the address at which the environment ends.
_ENV_END = 51 - 3

#: Inherited settings that would change what a script sees.
_FOREIGN = re.compile(r"PYTHON|VIRTUAL_ENV|QUELL_|COLUMNS|LINES|NO_COLOR|FORCE_COLOR|PYTEST")


class Hung(AssertionError):
    """The process outlived the time it was given; says where each of its threads was."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that has ended."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    elapsed: float
    report: dict[str, Any] | None
    #: Command lines of processes that the run left behind (they have been killed since).
    survivors: tuple[str, ...]
    #: When nobody held its output any more, if that was waited for.
    silent: float = 0.0
    #: The time limit it was given, when ``limited`` chose it.
    limit: float = 0.0
    grace: float = 0.0

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()

    def limited_by(self, limit: float, grace: float) -> Run:
        return dataclasses.replace(self, limit=limit, grace=grace)

    def __str__(self) -> str:
        report = json.dumps(self.report, indent=1) if self.report is not None else "none"
        return (
            f"$ {' '.join(self.argv)}\nexit {self.code} after {self.elapsed:.3f}s\n"
            f"--- stdout\n{_clip(self.stdout)}\n--- stderr\n{_clip(self.stderr)}\n"
            f"--- report\n{report}\n--- survivors\n{self.survivors}"
        )


def _clip(text: str, most: int = 6000) -> str:
    return text if len(text) <= most else f"{text[: most // 2]}\n[...]\n{text[-most // 2 :]}"


class Process:
    """A started process whose output is collected while the test waits for something."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | os.PathLike[str] | None = None,
        stdin: bytes | int | None = None,
        sigint: signal.Handlers = signal.SIG_DFL,
    ) -> None:
        self.argv = tuple(argv)
        self.mark = uuid.uuid4().hex
        # A session of its own keeps the terminal's signals away from it, and the kill at the end
        # away from the test. A test run in the background has SIGINT ignored, which is inherited.
        self.started = time.monotonic()
        self._popen = subprocess.Popen(
            self.argv,
            stdin=subprocess.PIPE if isinstance(stdin, bytes) else stdin or subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env={**env, _MARK: self.mark},
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, sigint) and None,
        )
        self.pid = self._popen.pid
        self.elapsed = 0.0
        self.silent = 0.0
        self._exited = False
        self._text = {"stdout": bytearray(), "stderr": bytearray()}
        self._selector = selectors.DefaultSelector()
        for name in self._text:
            pipe = getattr(self._popen, name)
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, name)
        self._pidfd = os.pidfd_open(self.pid)
        self._selector.register(self._pidfd, selectors.EVENT_READ, "exit")
        if isinstance(stdin, bytes):
            assert self._popen.stdin is not None
            try:
                self._popen.stdin.write(stdin)
                self._popen.stdin.close()
            except BrokenPipeError:
                pass

    def output(self, stream: str = "stdout") -> str:
        return self._text[stream].decode("utf-8", "backslashreplace")

    def _read(self, name: str) -> bool:
        pipe = getattr(self._popen, name)
        while True:
            try:
                data = os.read(pipe.fileno(), 65536)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._text[name] += data

    def _until(self, done: Callable[[], bool], deadline: float) -> bool:
        """Collects output until ``done`` or the process has ended; false when the deadline came first."""
        while not done() and not self._exited:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            for key, _ in self._selector.select(left):
                if key.data == "exit":
                    self.elapsed = time.monotonic() - self.started
                    self._exited = True
                elif not self._read(key.data):
                    self._selector.unregister(key.fileobj)
        if self._exited:
            for name in self._text:
                self._read(name)
        return True

    def expect(self, text: str, stream: str = "stdout", within: float = 30.0) -> None:
        """Waits until the process has written ``text``."""
        wanted = text.encode()
        arrived = self._until(lambda: wanted in self._text[stream], time.monotonic() + within)
        if wanted not in self._text[stream]:
            self.close() if arrived else self._hung(f"{text!r} on {stream}", within)
            raise AssertionError(
                f"ended without writing {text!r}: {self.argv}\n{self.output()}\n{self.output('stderr')}"
            )

    def finish(self, within: float = 60.0, silence: bool = False) -> tuple[int, tuple[str, ...]]:
        """Waits for the end, and with ``silence`` for that of the output; returns the exit code and
        what was left behind."""
        if not self._until(lambda: False, time.monotonic() + within):
            self._hung("the end", within)
        if silence:
            self.await_silence()
        code = self._popen.wait()
        return code, self.close()

    def await_silence(self, within: float = 30.0) -> None:
        """Collects output until nobody holds either pipe any more."""
        deadline = time.monotonic() + within
        if self._exited and self._pidfd in self._selector.get_map():
            self._selector.unregister(self._pidfd)
        while any(key.data in self._text for key in self._selector.get_map().values()):
            if time.monotonic() >= deadline:
                self._hung("the end of its output", within)
            for key, _ in self._selector.select(deadline - time.monotonic()):
                if key.data == "exit" or not self._read(key.data):
                    self._selector.unregister(key.fileobj)
        self.silent = time.monotonic() - self.started

    def send(self, number: int) -> None:
        self._popen.send_signal(number)

    def await_delivery(self, number: int, within: float = 10.0) -> None:
        """Waits until the kernel has handed a signal to the process: it is pending no more."""

        def taken() -> bool:
            pending = re.search(r"^ShdPnd:\s*(\w+)", self._proc("status"), re.MULTILINE)
            return pending is None or not int(pending[1], 16) >> (number - 1) & 1

        self._watch(taken, f"signal {number} to be taken", within)

    def await_work(self, seconds: float = 0.1, within: float = 30.0) -> None:
        """Waits until the process has computed for so long since now."""

        def computed() -> float:
            fields = self._proc("stat").rpartition(")")[2].split()
            return int(fields[11]) / os.sysconf("SC_CLK_TCK") if fields else float("inf")

        enough = computed() + seconds
        self._watch(lambda: computed() >= enough, f"{seconds}s of computing", within)

    def _proc(self, name: str) -> str:
        """What the kernel says about the process, nothing once it has ended."""
        if self._exited:
            return ""
        return pathlib.Path(f"/proc/{self.pid}/{name}").read_text()

    def _watch(self, done: Callable[[], bool], what: str, within: float) -> None:
        """For what the kernel tells only to those who ask again and again."""
        deadline = time.monotonic() + within
        while not done():
            if time.monotonic() >= deadline:
                self._hung(what, within)
            self._until(lambda: False, time.monotonic() + 0.002)

    def close(self) -> tuple[str, ...]:
        """Ends whatever is still there and says what it was; safe to repeat."""
        left = []
        for pid in marked(self.mark):
            if pid == self.pid or not _is_dying(pid):
                left.append(_command_line(pid))
                _kill(pid)
        if self._popen.returncode is None:
            _kill(self.pid)
            self._popen.wait()
        if self._pidfd >= 0:
            self._selector.close()
            os.close(self._pidfd)
            self._pidfd = -1
            for pipe in (self._popen.stdout, self._popen.stderr):
                assert pipe is not None
                pipe.close()
        return tuple(left)

    def _hung(self, what: str, within: float) -> None:
        where = _threads(self.pid)
        # PYTHONFAULTHANDLER is set: this prints the Python stacks of every thread.
        self.send(signal.SIGABRT)
        self._until(lambda: False, time.monotonic() + 3)
        text = f"waited {within}s for {what}: {self.argv}\n{where}\n"
        text += f"--- stdout\n{_clip(self.output())}\n--- stderr\n{_clip(self.output('stderr'))}"
        self.close()
        raise Hung(text)


def marked(mark: str) -> list[int]:
    """The processes that carry ``mark``; zombies have no environment any more."""
    wanted = f"{_MARK}={mark}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and wanted in _environment(pathlib.Path("/proc", entry)).split(b"\0"):
            found.append(int(entry))
    return found


def _environment(process: pathlib.Path, within: float = 5.0) -> bytes:
    """Empty where there is none. A program that has begun, so that who started it goes on, has none for a
    moment: until the kernel says where it ends."""
    deadline = time.monotonic() + within
    while True:
        try:
            # Fails for what has ended, and for a part of the kernel.
            os.readlink(process / "exe")
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            if int(fields[_ENV_END]) or time.monotonic() >= deadline:
                return (process / "environ").read_bytes()
        except OSError:
            return b""
        time.sleep(0.001)


def _is_dying(pid: int, within: float = 0.3) -> bool:
    """Whether a process ends without our doing: one that has been killed takes a moment to go."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], within)[0])
    finally:
        os.close(handle)


def _command_line(pid: int) -> str:
    try:
        return (
            pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        )
    except OSError:
        return f"pid {pid}"


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _threads(pid: int) -> str:
    """What the kernel says about every thread of a process."""
    rows = []
    for task in sorted(pathlib.Path(f"/proc/{pid}/task").glob("*")):
        facts = []
        for name in ("comm", "wchan", "syscall", "stat"):
            try:
                facts.append((task / name).read_text().strip()[:80])
            except OSError as error:
                facts.append(f"{name}: {error.strerror}")
        rows.append(f"thread {task.name}: {' | '.join(facts)}")
    return "\n".join(rows)


@dataclasses.dataclass(frozen=True)
class Way:
    """One way to start the command."""

    name: str
    #: The words before the options of ``run``.
    command: tuple[str, ...]
    #: The interpreter that would run the script without quell, and what it brings.
    python: str
    version: tuple[int, int]
    environ: Mapping[str, str]

    def environment(self, extra: Mapping[str, str | None] | None = None) -> dict[str, str]:
        env: dict[str, str] = dict(self.environ)
        for name, value in (extra or {}).items():
            if value is None:
                env.pop(name, None)
            else:
                env[name] = value
        return env

    def start(
        self,
        *arguments: str | os.PathLike[str],
        options: Iterable[str] = (),
        env: Mapping[str, str | None] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: bytes | int | None = None,
        sigint: signal.Handlers = signal.SIG_DFL,
    ) -> Process:
        """Starts ``run`` with these options and leaves the rest to the test, which has to close it."""
        argv = [*self.command, *options, *[os.fspath(a) for a in arguments]]
        return Process(argv, env=self.environment(env), cwd=cwd, stdin=stdin, sigint=sigint)

    def run(
        self,
        *arguments: str | os.PathLike[str],
        options: Iterable[str] = (),
        env: Mapping[str, str | None] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: bytes | int | None = None,
        within: float = 60.0,
        report: bool = True,
        sigint: signal.Handlers = signal.SIG_DFL,
        silence: bool = False,
    ) -> Run:
        """Runs to the end. With ``report`` the JSON report is asked for and read; with ``silence`` the
        run ends when its output does."""
        with tempfile.TemporaryDirectory(prefix="quell-run-") as folder:
            path = pathlib.Path(folder, "report.json")
            asked = ("--report", "json", "--report-file", str(path)) if report else ()
            process = self.start(
                *arguments, options=[*options, *asked], env=env, cwd=cwd, stdin=stdin, sigint=sigint
            )
            try:
                code, survivors = process.finish(within, silence)
            finally:
                process.close()
            facts = json.loads(path.read_text()) if path.exists() and path.stat().st_size else None
        return Run(
            process.argv,
            code,
            process.output(),
            process.output("stderr"),
            process.elapsed,
            facts,
            survivors,
            process.silent,
        )

    def limited(
        self,
        *arguments: str | os.PathLike[str],
        timeout: float = 0.25,
        grace: float = 1.0,
        options: Iterable[str] = (),
        env: Mapping[str, str | None] | None = None,
        stdin: bytes | int | None = None,
        cwd: str | os.PathLike[str] | None = None,
        ready: str = READY,
        settled: Callable[[Run], bool] = lambda _: True,
    ) -> Run:
        """Runs a script that its time limit has to end, and checks what every such run owes:
        exit code 124, within limit + grace, nothing left behind, a report.

        A limit that fired before the script was where it should be (it has not written ``ready``, or is
        not ``settled``) says nothing: then the run is repeated with a longer one, so that a loaded
        machine makes the test slower, not wrong.
        """
        for limit in (timeout, 4 * timeout, 16 * timeout, 64 * timeout):
            run = self.run(
                *arguments,
                options=[*options, "--timeout", f"{limit:g}s", "--grace", f"{grace:g}s"],
                env=env,
                stdin=stdin,
                cwd=cwd,
                within=limit + grace + 10 * SLACK,
            )
            if ready in run.stdout and not _is_underway(run) and settled(run):
                break
        else:
            raise AssertionError(f"never found where it should be\n{run}")
        run = run.limited_by(limit, grace)
        check_limited(run)
        return run

    def plain(
        self,
        *arguments: str | os.PathLike[str],
        env: Mapping[str, str | None] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: bytes | int | None = None,
        within: float = 60.0,
    ) -> Run:
        """Runs the same under ``python``, to compare with."""
        argv = [self.python, *[os.fspath(a) for a in arguments]]
        process = Process(argv, env=self.environment(env), cwd=cwd, stdin=stdin)
        try:
            code, survivors = process.finish(within)
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


def _is_underway(run: Run) -> bool:
    """Whether the limit found the script still saying that it is ready, or starting a thread."""
    if "early" in run.lines:
        return True
    if run.report is None:
        return False
    if run.report["main"]["function"] in ("Thread.start", "main"):
        return True
    places = [run.report["main"], *run.report["threads"]]
    # A thread that began after the limit has no place.
    return any(place["function"] in ("note", "ready", "announce", None) for place in places)


def check_limited(run: Run) -> None:
    assert run.code == 124, str(run)
    assert run.elapsed <= run.limit + run.grace + SLACK, str(run)
    assert not run.survivors, str(run)
    assert run.report is not None, str(run)
    assert run.report["exit_code"] == 124, str(run)
    assert run.report["limit"]["kind"] == "time", str(run)
    assert run.report["limit"]["used"] >= run.report["limit"]["limit"] > 0, str(run)


def tagged(script: pathlib.Path, tag: str) -> set[int]:
    """The line numbers of a script that end in the comment ``# tag``."""
    found = {
        number
        for number, line in enumerate(script.read_text().splitlines(), 1)
        if line.endswith(f"# {tag}")
    }
    assert found, f"{script} has no line tagged {tag!r}"
    return found


def ladder(name: str) -> pathlib.Path:
    """The file of the scripts that do their best not to end, in which this one stands."""
    for file in sorted((SCRIPTS / "ladder").glob("*.py")):
        if f"@script\ndef {name}(" in file.read_text():
            return file
    raise AssertionError(f"there is no script {name!r}")


def said(run: Run) -> list[str]:
    """What such a script said, in no particular order: threads and processes write together."""
    assert run.lines.count(READY) == 1, str(run)
    return sorted(line for line in run.lines if line != READY)


def _inherited() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
    # Segmentation faults and the harness's own SIGABRT then show the Python stacks.
    return {**kept, "PYTHONFAULTHANDLER": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _ask(argv: Sequence[str], env: Mapping[str, str]) -> dict[str, Any]:
    code = "import json, sys; print(json.dumps([sys.version_info[:2], sys.executable, sys.prefix]))"
    answer = subprocess.run(
        [*argv, "-c", code], env=dict(env), capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, f"{argv} does not run Python: {answer.stderr}"
    version, executable, prefix = json.loads(answer.stdout)
    return {"version": tuple(version), "executable": executable, "prefix": prefix}


def module_way(python: str) -> Way:
    env = _inherited()
    facts = _ask([python], env)
    return Way("module", (python, "-m", "quell", "run"), python, facts["version"], env)


def binary_way(binary: str, python: str | None) -> Way:
    """The binary; ``python`` is an interpreter in a virtual environment to run it in, if it fits."""
    env = _inherited()
    own = _ask([binary, "run"], env)
    if python is not None:
        theirs = _ask([python], env)
        if theirs["version"] == own["version"]:
            env["VIRTUAL_ENV"] = theirs["prefix"]
            env["PATH"] = f"{theirs['prefix']}/bin:{env.get('PATH', '')}"
            return Way("binary", (binary, "run"), python, own["version"], env)
    return Way("binary", (binary, "run"), own["executable"], own["version"], env)
