"""CPython's own suites in a thread other than the main one: with the calls patched, each of their tests ends as it does without.

The quick ones always; the others, of minutes, with a larger QUELL_STRESS.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import STRESS

RUNNER = Path(__file__).parent / "in_a_thread.py"

QUICK = ["select", "poll", "epoll", "httplib", "queue.CSimpleQueueTest"]
LONG = [
    "fcntl",
    "queue",
    "selectors",
    "socket",
    "socketserver",
    "ssl",
    "subprocess",
    "threading",
    "urllib2_localnet",
]


def run(folder, mode, *names):
    """What became of each test."""
    answer = folder / mode
    ended = subprocess.run(
        [sys.executable, RUNNER, mode, answer, *names],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(answer.read_text())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", QUICK + (LONG if STRESS > 1 else []))
def test_every_test_ends_as_it_does_without(name, tmp_path):
    suite = "test.test_" + name.partition(".")[0]
    if not (importlib.util.find_spec("test") and importlib.util.find_spec(suite)):
        pytest.skip("this interpreter comes without this suite")
    plain, patched = (
        run(tmp_path, "plain", f"test.test_{name}"),
        run(tmp_path, "patched", f"test.test_{name}"),
    )
    assert plain.keys() == patched.keys()
    different = [test for test in plain if plain[test] != patched[test]]
    if different:
        # Some of them go by the clock, on whatever machine this is: what differs is run again, by itself.
        plain, patched = run(tmp_path, "plain", *different), run(tmp_path, "patched", *different)
        assert patched == plain
    elif not name.startswith("socketserver"):
        assert "passed" in patched.values()
