"""What the lines that a cell has printed mean."""

from __future__ import annotations

import re
from typing import NamedTuple

#: Seconds after the limit from which a call that has ended is late.
LATE = 1.0

#: The answers, as the chapter explains them.
MEANING = {
    "S": "stopped where it was: the call ended within a second of the limit, and the function's `finally` had run",
    "C": "cut: it ended, but the function's own `finally` was skipped",
    "L": "leaked: it ended, and left a lock locked",
    "T": "too late: as S, more than a second after the limit",
    "A": "abandoned: the call ended, the function runs on in its thread",
    "K": "killed: the process in which the function ran was ended, without its `finally`",
    "P": "the whole program was ended on the spot, without the function's `finally`",
    "W": "swallowed: the function caught what it was sent, and nothing more came",
    "H": "hung: nothing had happened four seconds after the limit",
    "E": "an error says that it is for the main thread only",
    "X": "another error",
}


class Cell(NamedTuple):
    """An answer, and what else there is to know of it."""

    answer: str
    note: str = ""


def judge(lines: list[str], code: int | None, limit: float, process: bool = False) -> Cell:
    """Of a way: the lines that cell.py and the workload have printed, and the process's exit code, None if it was ended from outside.

    `process`: the way runs the function in a process of its own.
    """
    cleaned = "cleaned up" in lines or "mutex left locked" in lines
    ended = next((line for line in lines if line.startswith("ENDED ")), None)
    if ended is None:
        if code is not None:
            return Cell("P", f"exit code {code}")
        return Cell("W" if "SWALLOWED" in lines else "H")
    _, seconds, how, *said = ended.split(" ", 3)
    if how == "error":
        main_only = re.search("main ?thread", said[0], re.IGNORECASE)
        return Cell("E" if main_only else "X", said[0])
    if "RUNNING" in lines:
        return Cell("A")
    if how == "returned":
        return Cell("X", "ended without a word")
    if not cleaned:
        return Cell("K" if process else "C")
    if "mutex left locked" in lines:
        return Cell("L")
    return Cell("T" if float(seconds) > limit + LATE else "S", f"{seconds} s")


def judge_program(lines: list[str], code: int | None) -> Cell:
    """Of what limits a whole program, which ends when its limit is reached: nothing tells but the workload and the exit code."""
    if code is None:
        return Cell("W" if "SWALLOWED" in lines else "H")
    # Others may have written before it.
    if not any(line.endswith("READY") for line in lines) or code == 0:
        return Cell("X", f"exit code {code}")
    if "mutex left locked" in lines:
        return Cell("L")
    return Cell("S" if "cleaned up" in lines else "P", f"exit code {code}")
