"""A script cannot tell that it runs under quell: what it sees and what it prints is what ``python``
shows it, byte for byte."""

from __future__ import annotations

import dataclasses
import errno
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import time
import zipfile

import pytest
from harness import SCRIPTS, Way

HERE = SCRIPTS / "fidelity"


@dataclasses.dataclass(frozen=True)
class Case:
    """Arguments of ``python`` and of ``quell run`` alike, and what surrounds them."""

    arguments: tuple[str, ...]
    stdin: bytes | None = None
    env: tuple[tuple[str, str], ...] = ()
    cwd: pathlib.Path = HERE


def case(*arguments: str, stdin: bytes | None = None, cwd: pathlib.Path = HERE, **env: str) -> Case:
    return Case(arguments, stdin, tuple(env.items()), cwd)


#: faulthandler is on in the other tests; here nothing is that `python` would not do by itself.
QUIET = {"PYTHONFAULTHANDLER": None}


_EXPECTED: dict[tuple[str, Case], tuple[int, str, str]] = {}


def same(text: str) -> str:
    """Without what differs between two runs of ``python`` as well."""
    return re.sub(r"\b0x[0-9a-f]+", "0x...", text)


def expected(way: Way, case: Case) -> tuple[int, str, str]:
    if (way.name, case) not in _EXPECTED:
        run = way.plain(
            *case.arguments, env={**QUIET, **dict(case.env)}, cwd=case.cwd, stdin=case.stdin
        )
        _EXPECTED[way.name, case] = run.code, same(run.stdout), same(run.stderr)
    return _EXPECTED[way.name, case]


def check(way: Way, case: Case, options: tuple[str, ...] = ("--timeout", "10m")) -> None:
    run = way.run(
        *case.arguments,
        options=options,
        env={**QUIET, **dict(case.env)},
        cwd=case.cwd,
        stdin=case.stdin,
        report=False,
    )
    code, stdout, stderr = expected(way, case)
    assert same(run.stdout) == stdout, str(run)
    assert same(run.stderr) == stderr, str(run)
    assert run.code == code, str(run)


CODE = (HERE / "identity.py").read_text()

IDENTITY = {
    "script": case("identity.py", "a", "-b", "--timeout", "1s", "--", "-m"),
    "absolute": case(str(HERE / "identity.py")),
    "dotted": case("./identity.py"),
    "from above": case("fidelity/identity.py", cwd=SCRIPTS),
    "module": case("-m", "identity", "a", "-b", "--timeout"),
    "code": case("-c", CODE, "a", "-b", "-c"),
    "stdin": case("-", "a", "-b", stdin=CODE.encode()),
    "package": case("-m", "packaged", "x"),
    "submodule": case("-m", "packaged.inner.tool", "x"),
    "directory": case("packaged", "x"),
    "symbolic hash": case("identity.py", PYTHONHASHSEED="7"),
    "optimized": case("identity.py", PYTHONOPTIMIZE="2"),
    "unbuffered": case("identity.py", PYTHONUNBUFFERED="1"),
    "development": case("identity.py", PYTHONDEVMODE="1"),
    "utf8": case("identity.py", PYTHONUTF8="1", LC_ALL="C"),
    "plain locale": case("identity.py", LC_ALL="C"),
    "posix locale without coercion": case("identity.py", LC_ALL="POSIX", PYTHONCOERCECLOCALE="0"),
    "safe path": case("identity.py", PYTHONSAFEPATH="1"),
    "encoding": case("identity.py", PYTHONIOENCODING="latin-1:replace"),
    "path": case("identity.py", PYTHONPATH="/somewhere:/else"),
    "warnings": case("identity.py", PYTHONWARNINGS="error::DeprecationWarning,ignore"),
    "no user site": case("identity.py", PYTHONNOUSERSITE="1"),
    "verbose bytecode": case("identity.py", PYTHONPYCACHEPREFIX="/tmp/quell-test-cache"),
    "many digits": case("identity.py", PYTHONINTMAXSTRDIGITS="1000"),
}


@pytest.mark.parametrize("name", IDENTITY)
def test_identity(way: Way, name: str) -> None:
    check(way, IDENTITY[name])


def test_without_limits(way: Way) -> None:
    check(way, IDENTITY["script"], options=())


def names(script: str, pattern: str) -> list[str]:
    return re.findall(pattern, (HERE / script).read_text(), re.MULTILINE)


@pytest.mark.parametrize("ending", names("exits.py", r'^        "([a-z ]+)":'))
def test_exit_codes(way: Way, ending: str) -> None:
    check(way, case("exits.py", ending))


@pytest.mark.parametrize("failure", names("tracebacks.py", r"^def (\w+)\("))
def test_tracebacks(way: Way, failure: str) -> None:
    check(way, case("tracebacks.py", failure))


#: Arguments, standard input and settings of everything else that is compared.
OTHER = {
    "syntax error": case("syntax_error.py"),
    "syntax error in a module": case("-m", "syntax_error"),
    "indentation error": case("indentation_error.py"),
    "latin-1 source": case("latin.py"),
    "byte order mark": case("byte_order_mark.py"),
    "source in no encoding": case("bad_encoding.py"),
    "error in a module": case("-m", "tracebacks", "from_another"),
    "error in a package": case("-m", "packaged", "fail"),
    "error in a directory": case("packaged", "fail"),
    "error in code": case("-c", "def f():\n    1 / 0\nf()"),
    "error in code from stdin": case("-", stdin=b"def f():\n    1 / 0\nf()\n"),
    "syntax error in code": case("-c", "1 +"),
    "syntax error from stdin": case("-", stdin=b"print(1)\nif:\n"),
    "no such module": case("-m", "no_such_module"),
    "no such submodule": case("-m", "packaged.nothing"),
    "a package without main": case("-m", "packaged.inner"),
    "no such file": case("no_such_file.py"),
    "not a package": case("-m", "identity.nothing"),
    "empty script": case("-", stdin=b""),
    "empty code": case("-c", ""),
    "not to be read": case("/nowhere/no/such"),
    "a folder without main": case("packaged/inner"),
    "warnings as errors": case("tracebacks.py", "warned", PYTHONWARNINGS="error"),
    "all warnings": case("tracebacks.py", "warned", PYTHONWARNINGS="always"),
    "streams": case("streams.py", stdin=b"one\ntwo\nthree \xc3\xa9\nfour"),
    "streams unbuffered": case("streams.py", stdin=b"one\ntwo\n", PYTHONUNBUFFERED="1"),
    "streams at their end": case("streams.py", stdin=b""),
    "ending": case("ending.py"),
    "own signals": case("own_signals.py"),
    "forks": case("forks.py"),
    "fork in code": case("-c", (HERE / "forks.py").read_text()),
    "pool fork": case("pool.py", "fork"),
    "pool spawn": case("pool.py", "spawn"),
    "pool forkserver": case("pool.py", "forkserver"),
    "pool spawn from a module": case("-m", "pool", "spawn"),
    "asyncio": case("asynchronous.py"),
    "virtual environment": case("third_party.py"),
    "pickles": case("pickles.py"),
    "profiled": case("-m", "trace", "--count", "-C", "/tmp", "--no-report", "pickles.py"),
    "dis": case("-m", "dis", "ending.py"),
    "site": case("-m", "site"),
    "sysconfig": case("-m", "sysconfig"),
    "doctest": case("-m", "doctest", "-v", "pickles.py"),
    "pdb": case("-m", "pdb", "ending.py", stdin=b"next\nwhere\nlist\nquit\n"),
    "interactive code": case("-m", "code", "-q", stdin=b"x = 1\nx + 1\n1 / 0\n"),
}


@pytest.mark.parametrize("name", OTHER)
def test_output(way: Way, name: str) -> None:
    check(way, OTHER[name])


def test_zip_file(way: Way, tmp_path: pathlib.Path) -> None:
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr(
            "__main__.py", "import sys, helper\nprint(__file__, sys.path[0], sys.argv)"
        )
        archive.writestr("helper.py", "print(__name__, __file__)")
    check(way, case("app.zip", "a", cwd=tmp_path))


def test_arguments_in_no_encoding(way: Way) -> None:
    odd = os.fsdecode(b"caf\xe9 \xf0\x9f\x90\x8d")
    check(way, case("-c", "import sys; print(ascii(sys.argv))", odd, "", " ", "two words"))


def test_script_with_odd_name(way: Way, tmp_path: pathlib.Path) -> None:
    script = tmp_path / "odd näme.txt"
    script.write_text("print(ascii(__file__))\nraise ValueError('words')\n")
    check(way, case(str(script), cwd=tmp_path))
    link = tmp_path / "link.py"
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "real.py").write_text("import sys; print(__file__, sys.path[0])\n")
    link.symlink_to("deeper/real.py")
    check(way, case("link.py", cwd=tmp_path))


def test_closed_streams(way: Way) -> None:
    code = "import sys, os; os.write(2, repr((sys.stdin, sys.stdout)).encode())"
    outcome = []
    for command in ([way.python], [*way.command]):
        done = subprocess.run(
            ["sh", "-c", '"$@" <&- >&-', "sh", *command, "-c", code],
            env=way.environment(QUIET),
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        outcome.append((done.returncode, done.stderr))
    assert outcome[0] == outcome[1]


def test_full_device(way: Way) -> None:
    outcome = []
    for command in ([way.python], [*way.command]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [*command, "-c", "print('text')"],
                env=way.environment(QUIET),
                stdout=full,
                stderr=subprocess.PIPE,
                timeout=60,
                check=False,
            )
        outcome.append((done.returncode, done.stderr))
    assert outcome[0] == outcome[1]


def test_ignored_interrupts_stay_ignored(way: Way) -> None:
    """A job in the background: Python then leaves SIGINT alone."""
    code = "import signal; print(signal.getsignal(signal.SIGINT))"
    run = way.run("-c", code, options=["--timeout", "10m"], sigint=signal.SIG_IGN, report=False)
    assert run.stdout == "1\n" or "SIG_IGN" in run.stdout, str(run)


INTERRUPT = b"\x03"


def at_a_terminal(
    command: list[str], env: dict[str, str], typed: list[tuple[bytes, bytes]]
) -> bytes:
    """Runs a command at a pseudo terminal; types each answer when its prompt has appeared."""
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            # A test run in the background has it ignored.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.execvpe(command[0], command, env)
        finally:
            os._exit(127)
    seen = b""
    deadline = time.monotonic() + 30
    answers = list(typed)
    answer = b""
    try:
        while True:
            assert time.monotonic() < deadline, f"hung after {seen!r}"
            if not select.select([terminal], [], [], 1)[0]:
                # Python can miss a signal that comes while it prepares to read a line.
                if answer == INTERRUPT:
                    os.write(terminal, answer)
                continue
            try:
                data = os.read(terminal, 4096)
            except OSError as error:
                if error.errno == errno.EIO:
                    break
                raise
            if not data:
                break
            seen += data
            if answers and seen.endswith(answers[0][0]):
                answer = answers.pop(0)[1]
                os.write(terminal, answer)
    finally:
        os.close(terminal)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(pid, 0)
    return re.sub(rb"(\^C)+", b"^C", seen)


TYPED = [(b"name? ", b"Alex\n"), (b"again? ", b"\x04")]


def test_input_at_a_terminal(way: Way) -> None:
    env = {**way.environment(QUIET), "TERM": "dumb"}
    script = str(HERE / "terminal.py")
    plain = at_a_terminal([way.python, script], env, TYPED)
    assert b"hello Alex" in plain and b"True True True" in plain, plain
    assert at_a_terminal([*way.command, "--timeout", "10m", script], env, TYPED) == plain
    # Output that goes elsewhere than the input makes Python read lines without an editor.
    piped = ["sh", "-c", '"$@" | cat', "sh"]
    plain = at_a_terminal([*piped, way.python, script], env, TYPED)
    assert at_a_terminal([*piped, *way.command, script], env, TYPED) == plain


def test_keyboard_interrupt_at_a_terminal(way: Way) -> None:
    env = {**way.environment(QUIET), "TERM": "dumb"}
    script = str(HERE / "terminal.py")
    typed = [(b"name? ", INTERRUPT)]
    plain = at_a_terminal([way.python, script], env, typed)
    assert b"KeyboardInterrupt" in plain, plain
    assert at_a_terminal([*way.command, "--timeout", "10m", script], env, typed) == plain


def test_nothing_is_imported_for_it(way: Way) -> None:
    """Not under the binary; a module that is run has been imported."""
    code = "import sys; print(*sorted(sys.modules), sep='\\n')"
    loaded = set(way.run("-c", code, options=["--timeout", "10m"], report=False).lines)
    plain = set(way.plain("-c", code).lines)
    assert plain and loaded >= plain, plain - loaded
    assert way.name == "module" or loaded == plain, loaded - plain


def test_no_slower_to_start_than_it_must_be(way: Way) -> None:
    """Not a benchmark: catches a start that does something it should not."""
    best = {}
    for name, command in {"plain": [way.python], "quell": [*way.command]}.items():
        times = []
        for _ in range(5):
            before = time.perf_counter()
            subprocess.run([*command, "-c", "pass"], env=way.environment(QUIET), check=True)
            times.append(time.perf_counter() - before)
        best[name] = min(times)
    assert best["quell"] <= 3 * best["plain"] + 0.1, best
