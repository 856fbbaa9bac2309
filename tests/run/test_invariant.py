"""Ten thousand timeouts at random moments into a script that keeps an invariant in a file and a lock:
the two numbers in the file always add up, and the lock can always be had."""

from __future__ import annotations

import pathlib
import random

import pytest
from harness import READY, SCRIPTS, STRESS, Way, check_limited

SCRIPT = SCRIPTS / "ledger.py"

KINDS = [
    "threading-acquire",
    "threading-with",
    "rlock-acquire",
    "condition-with",
    "quell-acquire",
    "quell-with",
    "quell-rlock-with",
]
WHERE = ["scope", "worker", "sender"]

#: Over both ways, all kinds and all places: 10,000 and a few. In turn, 5,000 on each minor version.
COUNT = 240 * STRESS


def read(path: pathlib.Path) -> int:
    data = path.read_bytes()
    return int(data[:8]) + int(data[8:])


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("kind", KINDS)
def test_in_the_process(way: Way, kind: str, where: str, tmp_path: pathlib.Path) -> None:
    ledger = tmp_path / "ledger"
    run = way.run(SCRIPT, ledger, kind, str(COUNT), where, report=False, within=100 * STRESS)
    assert run.code == 0, str(run)
    # A scope may be left by nothing but its timeout, as the work never ends.
    assert run.stdout == f"sound {COUNT}\n", str(run)
    assert run.stderr == "", str(run)
    assert read(ledger) == 1_000_000


@pytest.mark.parametrize("kind", [*KINDS, *KINDS, *KINDS][:20])
def test_of_the_process(way: Way, kind: str, tmp_path: pathlib.Path) -> None:
    """The limit of the command, at a moment between the start of Python and a while of work."""
    ledger = tmp_path / "ledger"
    limit = random.uniform(0.02, 0.25)
    run = way.run(SCRIPT, ledger, kind, options=["--timeout", f"{limit * 1000:.0f}ms"])
    check_limited(run.limited_by(limit, 1.0))
    assert run.report is not None
    assert run.report["ended"] == "unwound", str(run)
    if READY in run.stdout:
        assert run.lines == [READY, "sound"], str(run)
        assert read(ledger) == 1_000_000, str(run)
