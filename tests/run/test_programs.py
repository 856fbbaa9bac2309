"""Real programs under a generous limit do what they do under ``python``; with a short one they end."""

from __future__ import annotations

import contextlib
import http.client
import pathlib
import re
import socket
import tarfile
import tempfile

import pytest
from harness import SCRIPTS, SLACK, Run, Way

HERE = SCRIPTS / "programs"
GENEROUS = ("--timeout", "10m")

#: A package from PyPI whose source distribution brings its tests; and where they are.
PACKAGE, TESTS = "toolz==1.0.0", "toolz/tests"

#: Downloads are kept where the builds are.
CACHE = pathlib.Path(__file__).resolve().parents[2] / "target" / "test-packages"


def same(text: str) -> str:
    """Without times, addresses and what else differs between two runs of ``python``."""
    text = re.sub(r"\d+\.\d+ ?s(econds)?\b", "0.00s", text)
    return re.sub(r"\b0x[0-9a-f]+", "0x...", text)


def check(run: Run, plain: Run) -> None:
    assert same(run.stdout) == same(plain.stdout), f"{run}\n\nand by python:\n{plain}"
    assert same(run.stderr) == same(plain.stderr), f"{run}\n\nand by python:\n{plain}"
    assert run.code == plain.code, str(run)


def unharmed(way: Way, *arguments: str, **surroundings: object) -> Run:
    """Runs both, compares, and hands back the faster."""
    plain = way.plain(*arguments, within=120, **surroundings)  # type: ignore[arg-type]
    run = way.run(*arguments, options=GENEROUS, report=False, within=120, **surroundings)  # type: ignore[arg-type]
    check(run, plain)
    return min(run, plain, key=lambda it: it.elapsed)


def halfway(
    way: Way, plain: Run, *arguments: str, options: tuple[str, ...] = (), **surroundings: object
) -> Run:
    """The same again with half of the time that it needs."""
    limit = plain.elapsed / 2
    run = way.run(
        *arguments,
        options=[*options, "--timeout", f"{limit * 1000:.0f}ms"],
        **surroundings,  # type: ignore[arg-type]
    )
    assert run.code == 124, str(run)
    assert run.elapsed <= limit + (10.0 if options else 1.0) + SLACK, str(run)
    assert not run.survivors, str(run)
    return run


@pytest.fixture(scope="session")
def package(way: Way) -> pathlib.Path:
    """The unpacked source distribution of the package."""
    name = PACKAGE.replace("==", "-")
    if not (CACHE / name).exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        # Several test processes may come here at once: each unpacks for itself, and one of them wins.
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            options = ["--no-deps", "--no-binary", ":all:", "--dest", folder]
            download = way.plain("-m", "pip", "download", "-q", *options, PACKAGE, within=120)
            archives = list(pathlib.Path(folder).glob(f"{name}.tar.gz"))
            if download.code != 0 or not archives:
                pytest.skip(f"{PACKAGE} could not be downloaded: {download.stderr.strip()[-300:]}")
            with tarfile.open(archives[0]) as archive:
                # New in 3.11.4; the archive's version is fixed.
                safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
                archive.extractall(folder, **safely)
            with contextlib.suppress(OSError):
                (pathlib.Path(folder) / name).rename(CACHE / name)
    return CACHE / name


def test_pytest_on_a_package(way: Way, package: pathlib.Path) -> None:
    arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", TESTS)
    plain = unharmed(way, *arguments, cwd=package)
    assert re.search(r"\d{2,} passed", plain.stdout), plain
    halfway(way, plain, *arguments, cwd=package)
    # pytest takes its time to show where it was.
    options = ("--exception", "KeyboardInterrupt", "--grace", "10s")
    run = halfway(way, plain, *arguments, options=options, cwd=package)
    assert run.report is not None
    assert run.report["ended"] == "unwound", str(run)
    # pytest's own way to end early, when it was far enough to have one.
    assert "KeyboardInterrupt" in run.stdout + run.stderr, str(run)


def test_unittest_on_the_standard_library(way: Way) -> None:
    found = way.plain("-c", "import test.test_queue")
    if found.code != 0:
        pytest.skip(f"{way.python} comes without test.test_queue")
    arguments = (
        "-m",
        "unittest",
        "-q",
        "test.test_queue.PyQueueTest",
        "test.test_queue.CQueueTest",
    )
    plain = unharmed(way, *arguments)
    assert re.search(r"Ran \d{2,} tests", plain.stderr), plain
    assert plain.stderr.rstrip().endswith("OK"), plain
    halfway(way, plain, *arguments)


def test_json_tool(way: Way) -> None:
    text = b'{"b": [1, 2.50, null, "\\u00e9"], "a": {"nested": true}}'
    unharmed(way, "-m", "json.tool", "--sort-keys", stdin=text)
    unharmed(way, "-m", "json.tool", stdin=b"{broken")
    reader, writer = socket.socketpair()
    with reader, writer:
        # Nobody ever writes to what it reads.
        run = way.run("-m", "json.tool", options=["--timeout", "500ms"], stdin=reader.fileno())
    assert run.code == 124, str(run)
    assert run.report is not None
    assert run.report["ended"] == "unwound", str(run)


@pytest.mark.parametrize("name", ["quell.TimeLimit", "KeyboardInterrupt"])
def test_http_server(way: Way, name: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "page.txt").write_text("served\n")
    options = ["--timeout", "1500ms", "--report", "json"]
    if name == "KeyboardInterrupt":
        options += ["--exception", name]
    process = way.start(
        *("-m", "http.server", "0", "--bind", "127.0.0.1"),
        options=options,
        env={"PYTHONUNBUFFERED": "1"},
        cwd=tmp_path,
    )
    try:
        process.expect("Serving HTTP on")
        process.expect("/) ...")
        found = re.search(r"port (\d+)", process.output())
        assert found is not None
        address = ("127.0.0.1", int(found[1]))
        connection = http.client.HTTPConnection(*address, timeout=20)
        connection.request("GET", "/page.txt")
        assert connection.getresponse().read() == b"served\n"
        # One request that has not been finished when the limit comes.
        with socket.create_connection(address, timeout=20) as unfinished:
            unfinished.sendall(b"GET /page.txt HTTP/1.1\r\n")
            code, survivors = process.finish(1.5 + 1.0 + 10 * SLACK)
            elapsed = process.elapsed
        connection.close()
    finally:
        process.close()
    shown = f"{process.output()}\n{process.output('stderr')}"
    assert code == 124, shown
    assert elapsed <= 1.5 + 1.0 + SLACK, shown
    assert not survivors, shown
    assert '"unwound"' in shown.splitlines()[-1], shown
    if name == "KeyboardInterrupt":
        assert "Keyboard interrupt received, exiting." in shown
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=20)


def test_numpy(way: Way) -> None:
    if way.plain("-c", "import numpy").code != 0:
        pytest.skip(f"{way.python} has no numpy")
    unharmed(way, str(HERE / "numeric.py"))
    run = way.limited(HERE / "numeric.py", "long", timeout=0.6)
    assert run.lines[-1] == "cleaned up (200, 200)", str(run)
    assert run.report is not None
    assert run.report["ended"] == "unwound", str(run)


def test_asyncio(way: Way) -> None:
    unharmed(way, str(SCRIPTS / "fidelity" / "asynchronous.py"))
    run = way.limited(HERE / "tasks.py", timeout=0.5)
    assert sorted(run.lines[1:-1]) == [
        "connection cleaned up",
        "turning task cleaned up",
        "waiting task cleaned up",
    ], str(run)
    assert run.lines[-1] == "program cleaned up", str(run)
    assert run.report is not None
    assert run.report["ended"] == "unwound", str(run)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_process_pool(way: Way, method: str) -> None:
    unharmed(way, str(SCRIPTS / "fidelity" / "pool.py"), method)
    run = way.limited(HERE / "workers.py", method, timeout=0.8)
    assert run.lines[-1] == "cleaned up", str(run)
    assert run.report is not None
    assert run.report["ended"] == "unwound", str(run)
