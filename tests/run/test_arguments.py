"""What the command accepts, what it says to anything else, and the report's form."""

from __future__ import annotations

import json
import subprocess

import pytest
from harness import Way, ladder


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--timeout", "soon", "-c", "pass"], "soon"),
        (["--timeout", "-1s", "-c", "pass"], "-1s"),
        (["--timeout", "", "-c", "pass"], "--timeout"),
        (["--timeout", "5parsecs", "-c", "pass"], "5parsecs"),
        (["--timeout", "nan", "-c", "pass"], "nan"),
        (["--timeout", "inf", "-c", "pass"], "inf"),
        (["--timeout", "1e400", "-c", "pass"], "1e400"),
        (["--cpu", "1m 2", "-c", "pass"], "1m 2"),
        (["--memory", "lots", "-c", "pass"], "lots"),
        (["--memory", "5Q", "-c", "pass"], "5Q"),
        (["--memory", "-5M", "-c", "pass"], "-5M"),
        (["--memory", "5s", "-c", "pass"], "5s"),
        (["--grace", "later", "-c", "pass"], "later"),
        (["--report", "xml", "-c", "pass"], "xml"),
        (["--no-such-option", "-c", "pass"], "--no-such-option"),
        (["--timeout"], "--timeout"),
        (["-m"], "-m"),
        (["-c"], "-c"),
        ([], ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value or "none",
)
def test_bad_arguments(way: Way, options: list[str], named: str) -> None:
    run = way.run(options=options, report=False)
    assert run.code == 125, str(run)
    assert run.stdout == "", str(run)
    assert "quell" in run.stderr, str(run)
    assert named in run.stderr, str(run)
    assert "Traceback" not in run.stderr and "panicked" not in run.stderr, str(run)


@pytest.mark.parametrize(
    "options",
    [
        ["--timeout", "60"],
        ["--timeout", "60s"],
        ["--timeout", "1m30s"],
        ["--timeout", "90000ms"],
        ["--timeout", "1.5h"],
        ["--timeout=60s"],
        ["--cpu", "1m", "--grace", "250ms"],
        ["--memory", "2G"],
        ["--memory", "1.5GiB"],
        ["--memory", "1500MB"],
        ["--memory", "2000000000"],
        ["--quiet"],
        ["--report", "human"],
        ["--progress"],
    ],
    ids=" ".join,
)
def test_good_arguments(way: Way, options: list[str]) -> None:
    run = way.run("-c", "print('fine')", options=options, report=False)
    assert (run.code, run.stdout, run.stderr) == (0, "fine\n", ""), str(run)


def test_version_and_help(way: Way) -> None:
    for word in ("--version", "--help"):
        done = subprocess.run(
            [*way.command[:-1], word],
            env=way.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0 and "quell" in done.stdout, done
    run = way.run(options=["--help"], report=False)
    assert run.code == 0 and "--timeout" in run.stdout, str(run)


def test_the_report_on_standard_error(way: Way) -> None:
    """One JSON object, on the last line, after what Python had to say."""
    run = way.run(
        ladder("spins"), "spins", options=["--timeout", "1s", "--report", "json"], report=False
    )
    assert run.code == 124, str(run)
    *before, last = run.stderr.splitlines()
    report = json.loads(last)
    assert any("TimeLimit" in line for line in before), str(run)
    assert report["version"] == 1
    assert report["limit"]["kind"] == "time" and report["limit"]["limit"] == 1.0
    assert report["limit"]["used"] >= 1.0
    assert report["exception"] == "quell.TimeLimit"
    assert report["main"]["function"] == "spin"
    assert report["main"]["file"].endswith("stage.py")
    assert report["main"]["state"] == "running"
    assert report["delivered"] is True
    assert 0 <= report["delivery_ms"] < 1000
    assert report["threads"] == [] and report["children"] == []
    assert report["ended"] == "unwound" and report["exit_code"] == 124
    assert 1.0 <= report["elapsed"] <= run.elapsed
