"""Threads that can be stopped.

Any thread can be interrupted by any other, wherever it is: in a loop, waiting for a lock or a queue of quell's, or in a blocking
call of the standard library (after quell.patch(), if it is not the main thread). The interrupt arrives as an ordinary exception;
cleanup runs; no lock is left held and no item is lost.

    import quell

    delivery = quell.interrupt(thread)  # raises quell.Interrupt in it
    delivery.wait()                     # until it has been raised

    with quell.timeout(5):              # ends the block with quell.Timeout
        work()

Reaching      patch, unpatch, patchable, Patch, Patchable: any thread, in the blocking calls of the standard library
Sending       interrupt, interrupt_main, set_async_exc; what became of it: Delivery
Receiving     Interrupt, Timeout; checkpoint, mask, shield
Time limits   timeout, timeout_at
Primitives    Lock, RLock, Condition, Semaphore, BoundedSemaphore, Event, Barrier: drop-ins for those of threading whose
              waits can be interrupted and that never leak; quell.threading stands in for the whole module
Queues        Queue, LifoQueue, PriorityQueue, SimpleQueue; Empty, Full, ShutDown: the same for those of queue;
              quell.queue stands in for the whole module
Looking       threads, dump: what every thread does, waits for and holds; find_deadlocks; set_detection, detection: a wait that
              closes a circle of waits raises Deadlock
Tasks         ThreadPoolExecutor, whose Future.cancel(interrupt=True) ends a task that runs, with TaskCancelled

"""

from ._quell import __version__

# What type checkers take for true; the module `typing` costs ten times what this package does.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue import Empty, Full

    from ._executor import Future, ThreadPoolExecutor
    from ._patch import Patch, Patchable, patch, patchable, unpatch
    from ._quell import (
        Barrier,
        BoundedSemaphore,
        Condition,
        CpuLimit,
        Deadlock,
        Delivery,
        Event,
        Holding,
        Interrupt,
        LifoQueue,
        Limit,
        Lock,
        MemoryLimit,
        Place,
        PriorityQueue,
        Queue,
        RLock,
        Semaphore,
        ShutDown,
        SimpleQueue,
        TaskCancelled,
        ThreadInfo,
        TimeLimit,
        Timeout,
        Waiting,
        checkpoint,
        detection,
        dump,
        find_deadlocks,
        interrupt,
        interrupt_main,
        mask,
        set_async_exc,
        set_detection,
        shield,
        threads,
        timeout,
        timeout_at,
    )
else:
    # Everything else is made, and put here, when it is first asked for. Natively, so that no interrupt comes in between.
    from . import _quell

    __getattr__ = _quell._attribute

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "CpuLimit",
    "Deadlock",
    "Delivery",
    "Empty",
    "Event",
    "Full",
    "Future",
    "Holding",
    "Interrupt",
    "LifoQueue",
    "Limit",
    "Lock",
    "MemoryLimit",
    "Patch",
    "Patchable",
    "Place",
    "PriorityQueue",
    "Queue",
    "RLock",
    "Semaphore",
    "ShutDown",
    "SimpleQueue",
    "TaskCancelled",
    "ThreadInfo",
    "ThreadPoolExecutor",
    "TimeLimit",
    "Timeout",
    "Waiting",
    "__version__",
    "checkpoint",
    "detection",
    "dump",
    "find_deadlocks",
    "interrupt",
    "interrupt_main",
    "mask",
    "patch",
    "patchable",
    "set_async_exc",
    "set_detection",
    "shield",
    "threads",
    "timeout",
    "timeout_at",
    "unpatch",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
