"""Loops that never end, places where exceptions are swallowed, and ways to enter a function.

Each shape is a function that keeps looping inside its own ``try``, and calls ``caught()`` in the
``except Stop`` of it. Where the exception lands in a ``try`` depends on what the compiler made of all
of it, so each is also made into more functions: with a ``finally`` on the same ``try``, with one on a
``try`` inside it, and all of these with every loop written on one line, as in ``while True: pass``.
"""

from __future__ import annotations

from . import callees, loops, places
from .forms import CALLEES, FORMS, LOG, LOOPS, PLACES
from .outcome import outcome_of
from .places import WHOLE_BODY, sender

__all__ = [
    "CALLEES",
    "FORMS",
    "LOG",
    "LOOPS",
    "PLACES",
    "WHOLE_BODY",
    "outcome_of",
    "sender",
    "stop_with",
]


def stop_with(stop: type[BaseException]) -> None:
    """From now on this is what the shapes catch."""
    for module in (loops, places, callees):
        module.Stop = stop
