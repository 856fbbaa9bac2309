"""What the book's comparison says of quell: every function that can be stopped is stopped where it is, in every thread."""

from __future__ import annotations

import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

PEERS = pathlib.Path(__file__).parents[2] / "bench/peers"
sys.path.insert(0, str(PEERS))

import judge  # noqa: E402
import measure  # noqa: E402
import table  # noqa: E402

#: These keep the interpreter's lock.
OUT_OF_REACH = {"long_sum", "regex"}


@pytest.mark.parametrize("where", measure.WHERE)
def test_the_first_eight_are_stopped(where: str) -> None:
    workloads = [name for name in table.COLUMNS if name not in OUT_OF_REACH]
    assert len(workloads) == 8
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(
            lambda name: measure.cell(sys.executable, "quell.timeout, patched", name, where, 0.25),
            workloads,
        )
    # Late is the machine's.
    wrong = {
        name: cell
        for name, cell in zip(workloads, answers, strict=True)
        if cell.answer not in ("S", "T")
    }
    assert not wrong


@pytest.mark.parametrize(
    ("lines", "code", "answer"),
    [
        (["READY", "cleaned up", "ENDED 0.6 timeout Timeout: []", "GONE"], 0, "S"),
        (["READY", "cleaned up", "ENDED 2.6 timeout Timeout: []", "GONE"], 0, "T"),
        (["READY", "ENDED 0.6 timeout Timeout: []", "GONE"], 0, "C"),
        (["READY", "mutex left locked", "ENDED 0.6 timeout Timeout: []", "GONE"], 0, "L"),
        (["READY", "ENDED 0.6 timeout Timeout: []", "RUNNING"], 0, "A"),
        (["ENDED 0.0 error ValueError: ['only works in main thread']", "GONE"], 0, "E"),
        (["READY", "ENDED 0.0 error OSError: ['no']", "GONE"], 0, "X"),
        (["READY", "cleaned up", "ENDED 0.6 returned", "GONE"], 0, "X"),
        (["READY", "SWALLOWED"], None, "W"),
        (["READY"], None, "H"),
        (["READY"], -9, "P"),
    ],
)
def test_the_judge(lines: list[str], code: int | None, answer: str) -> None:
    assert judge.judge(lines, code, limit=0.5).answer == answer
