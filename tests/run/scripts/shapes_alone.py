"""Runs one shape until something stops it.

shapes_alone.py NAME [FORM]
"""

from __future__ import annotations

import os
import sys
import threading

import quell
import shapes


def announce() -> None:
    os.write(1, b"READY\n")


def main() -> None:
    shapes.stop_with(quell.TimeLimit)
    name, form = [*sys.argv[1:], "except"][:2]
    shape = {**shapes.LOOPS, **shapes.PLACES, **shapes.CALLEES}[name][form]
    shapes.sender.alone = True
    shapes.sender.entered = announce
    try:
        if name not in shapes.PLACES:
            announce()
        shape(threading.Lock()) if name in shapes.CALLEES else shape()
        print(*shapes.LOG)
    except quell.TimeLimit as error:
        print(shapes.outcome_of(error, shape))


if __name__ == "__main__":
    main()
