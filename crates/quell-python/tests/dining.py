"""Philosophers around a table, for the tests of deadlocks: they take the forks in no order at all, so that each has one and wants the
next; each deadlock ends with one of them, and all go on."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import quell


class Table:
    """One fork and one thread for each; `hungry` is asked by each before it eats, with how often it has."""

    def __init__(self, forks: Sequence[Any], hungry: Callable[[int], bool]) -> None:
        self.forks, self.hungry = forks, hungry
        self.eaten = [0] * len(forks)
        self.failed: list[BaseException] = []
        self.workers = [
            threading.Thread(target=self._dine, args=(n,), daemon=True) for n in range(len(forks))
        ]
        for worker in self.workers:
            worker.start()

    def _dine(self, number: int) -> None:
        count = len(self.forks)
        with quell.mask():  # interrupts are raised only where it waits
            while self.hungry(self.eaten[number]):
                try:
                    with self.forks[number]:
                        time.sleep(0)
                        with self.forks[(number + 1) % count]:
                            self.eaten[number] += 1
                except quell.Deadlock as deadlock:
                    if len(deadlock.threads) != count:
                        self.failed.append(deadlock)
                except quell.Interrupt:
                    pass
                except BaseException as error:
                    self.failed.append(error)
                    raise
            quell.shield().__enter__()  # to the end of the thread

    def disturb(self, policies: Sequence[Any]) -> None:
        """Interrupt one, and let another one fail from now on, again and again until they are done."""
        while any(worker.is_alive() for worker in self.workers):
            quell.set_detection(random.choice(policies))
            with suppress(LookupError):
                quell.interrupt(random.choice(self.workers))
            time.sleep(0.001)

    def done(self) -> None:
        """Wait for the end; nothing is left behind."""
        for worker in self.workers:
            worker.join(120)
            assert not worker.is_alive()
        assert not self.failed, self.failed
        assert quell.find_deadlocks() == []
        for fork in self.forks:
            assert fork.acquire(blocking=False)
            fork.release()
