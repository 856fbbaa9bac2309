"""What the scripts of this folder share. Each file holds some that do their best not to end, and runs
one of them by its name; it says ``READY`` when it is where the limit has to find it, and what cleanup
ran."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

SCRIPTS: dict[str, Callable[[], None]] = {}


def script(function: Callable[[], None]) -> Callable[[], None]:
    SCRIPTS[function.__name__] = function
    return function


def note(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def ready() -> None:
    note("READY")


def spin() -> NoReturn:
    n = 0
    while True:
        n += 1


def run() -> None:
    SCRIPTS[sys.argv[1]]()
