"""The standard library's module queue, with quell's queues in place of its own.

    from quell import queue

Queue, LifoQueue, PriorityQueue and SimpleQueue are those of quell, and ShutDown is there on every version; everything else is the
standard library's, Empty and Full too, so that `except queue.Empty` means the same whichever module it came from.
"""

import queue as _standard
from queue import Empty, Full

from ._quell import LifoQueue, PriorityQueue, Queue, ShutDown, SimpleQueue

__all__ = [
    "Empty",
    "Full",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "ShutDown",
    "SimpleQueue",
]

# What else the module happens to hold on this version, for code that uses it.
globals().update({name: value for name, value in vars(_standard).items() if name not in globals()})
