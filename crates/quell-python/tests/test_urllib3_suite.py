"""urllib3's own tests, in a thread other than the main one: with the calls patched, each of them ends as it does without.

Those that block most always, on one version of CPython; all of them, on every version, with a larger QUELL_STRESS. Its source
distribution, and an environment with what the tests need, are kept where the builds are.
"""

import faulthandler
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import quell
from conftest import STRESS

NAME = "urllib3-2.8.0"
DIGEST = "63bf2ead4c879426ebf22ef2a781eeb4aa3b4ae798a0435506f8687fd5bb9b63"
HERE = Path(__file__).parent
NEEDED = HERE / "urllib3-suite.txt"
CACHE = HERE.parents[2] / "target" / "test-packages"

#: Clients and servers that speak over bare sockets, and waits for these.
QUICK = ["test/with_dummyserver/test_socketlevel.py", "test/test_wait.py"]

#: Ends either way without quell: which of two errors is seen first depends on hypercorn, of which urllib3 uses a version of its own.
UNDECIDED = (
    "test/with_dummyserver/test_proxy_poolmanager.py"
    "::TestHTTPProxyManager::test_proxy_https_target_tls_error[https]"
)

pytestmark = [
    pytest.mark.skipif(
        sys.version_info[:2] != (3, 13) and STRESS == 1,
        reason="on one version, without QUELL_STRESS",
    ),
    pytest.mark.timeout(1800),
]


@pytest.fixture(autouse=True, scope="module")
def without_a_second_limit() -> None:
    """pytest's own limit, which ends the whole run, knows nothing of downloads."""
    faulthandler.cancel_dump_traceback_later()


def pip(python: Path, *arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--python", python, *arguments]
    done = subprocess.run(
        [*command, "--quiet", "--disable-pip-version-check"], capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"could not be downloaded: {done.stderr.strip()[-300:]}")


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of an environment with what the tests need, and quell; made anew if that has changed."""
    folder = CACHE / f"{NAME}-{sys.implementation.cache_tag}"
    python, stamp = folder / "bin/python", folder / "made-from.txt"
    made_from = f"{sys.version}\n{NEEDED.read_text()}"
    if not stamp.exists() or stamp.read_text() != made_from:
        make = [sys.executable, "-m", "venv", "--clear", "--without-pip", folder]
        subprocess.run(make, check=True)
        pip(python, "install", "--requirement", NEEDED)
        stamp.write_text(made_from)
    # quell is the one that this interpreter has, and nothing else of its packages.
    site = folder / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages/quell"
    site.unlink(missing_ok=True)
    site.symlink_to(Path(quell.__file__).parent)
    return python


@pytest.fixture(scope="module")
def suite(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution."""
    folder = CACHE / NAME
    if not folder.exists():
        wanted = tmp_path_factory.mktemp("wanted")
        (wanted / "it.txt").write_text(f"{NAME.replace('-', '==')} --hash=sha256:{DIGEST}\n")
        what = ["--requirement", wanted / "it.txt", "--no-deps", "--no-binary", ":all:"]
        pip(python, "download", *what, "--no-build-isolation", "--dest", wanted)
        with tarfile.open(wanted / f"{NAME}.tar.gz") as archive:
            # New in 3.11.4; the archive's version is fixed.
            safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            archive.extractall(wanted, **safely)
        (wanted / NAME).rename(folder)
    return folder


def test_every_test_ends_as_it_does_without(python: Path, suite: Path, tmp_path: Path) -> None:
    def run(mode: str, *tests: str) -> dict[str, str]:
        """What became of each test."""
        answer = tmp_path / mode
        # Its marks of pytest-timeout, which ends tests in the main thread, are unknown.
        options = ["-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestUnknownMarkWarning"]
        options += ["--deselect", UNDECIDED]
        ended = subprocess.run(
            [python, HERE / "suite_in_a_thread.py", mode, answer, *options, *tests],
            cwd=suite,
            env={**os.environ, "PYTHONPATH": str(suite / "src")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
        return json.loads(answer.read_text())

    tests = QUICK if STRESS == 1 else ["test"]
    plain, patched = run("plain", *tests), run("patched", *tests)
    assert list(patched.values()).count("passed in call") > 100
    different = [test for test in plain if patched.get(test) != plain[test]]
    if different:
        # Some of them go by the clock, on whatever machine this is: what differs is run again, by itself.
        plain, patched = run("plain", *different), run("patched", *different)
    assert patched == plain
