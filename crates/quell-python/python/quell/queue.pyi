from queue import Empty as Empty
from queue import Full as Full

from ._quell import LifoQueue as LifoQueue
from ._quell import PriorityQueue as PriorityQueue
from ._quell import Queue as Queue
from ._quell import ShutDown as ShutDown
from ._quell import SimpleQueue as SimpleQueue

__all__ = [
    "Empty",
    "Full",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "ShutDown",
    "SimpleQueue",
]
