"""Keeps an invariant in a file and a lock: two numbers that always add up, changed only under a lock.

    ledger.py FILE KIND               transfers for ever
    ledger.py FILE KIND COUNT WHERE   is interrupted COUNT times at random moments, and looks each time

A transfer writes the two halves one after the other, and takes back what it did when it cannot finish.
KIND says whose lock it is and how it is taken. WHERE says what interrupts: ``scope`` is a
``quell.timeout`` around the main thread's transfers, ``worker`` one in another thread, ``sender`` is
``quell.interrupt`` from another thread. A second thread transfers as well, and is left alone.
"""

from __future__ import annotations

import os
import queue
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import quell

TOTAL = 1_000_000
WIDTH = 8

#: Seconds after which a lock that cannot be had counts as leaked.
LEAKED = 10.0


class Ledger:
    """Two numbers of eight digits in a file."""

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_RDWR | os.O_CREAT)
        self.write(0, TOTAL)
        self.write(1, 0)

    def write(self, side: int, amount: int) -> None:
        os.pwrite(self.file, b"%*d" % (WIDTH, amount), side * WIDTH)

    def read(self) -> tuple[int, int]:
        data = os.pread(self.file, 2 * WIDTH, 0)
        return int(data[:WIDTH]), int(data[WIDTH:])

    def transfer(self, amount: int) -> None:
        """To be called with the lock held."""
        left, right = self.read()
        done = False
        try:
            self.write(0, left - amount)
            sum(n for n in range(amount % 50))
            self.write(1, right + amount)
            done = True
        finally:
            if not done:
                self.write(0, left)
                self.write(1, right)


class Broken(Exception):
    pass


def by_acquire(lock: Any, ledger: Ledger, amounts: Iterator[int]) -> None:
    for amount in amounts:
        lock.acquire()
        try:
            ledger.transfer(amount)
        finally:
            lock.release()


def by_with(lock: Any, ledger: Ledger, amounts: Iterator[int]) -> None:
    for amount in amounts:
        with lock:
            ledger.transfer(amount)


Work = Callable[[Any, Ledger, Iterator[int]], None]
KINDS: dict[str, tuple[Callable[[], Any], Work]] = {
    "threading-acquire": (threading.Lock, by_acquire),
    "threading-with": (threading.Lock, by_with),
    "rlock-acquire": (threading.RLock, by_acquire),
    "condition-with": (threading.Condition, by_with),
    "quell-acquire": (quell.Lock, by_acquire),
    "quell-with": (quell.Lock, by_with),
    "quell-rlock-with": (quell.RLock, by_with),
}


def amounts(seed: int) -> Iterator[int]:
    chance = random.Random(seed)
    while True:
        yield chance.randrange(-1000, 1000)


def audit(lock: Any, ledger: Ledger, when: object) -> None:
    """What has to hold at any moment at which the lock can be had."""
    if not lock.acquire(timeout=LEAKED):
        raise Broken(f"the lock is held for ever ({when})")
    try:
        left, right = ledger.read()
    finally:
        lock.release()
    if left + right != TOTAL:
        raise Broken(f"{left} + {right} is not {TOTAL} ({when})")


class Stop(BaseException):
    pass


class Interrupted:
    """A thread whose work is interrupted again and again."""

    def __init__(self, lock: Any, ledger: Ledger, work: Work, count: int) -> None:
        self.lock, self.ledger, self.work, self.count = lock, ledger, work, count
        self.chance = random.Random(count)
        self.fired = 0
        self.errors: list[BaseException] = []

    def scope(self) -> None:
        for n in range(self.count):
            try:
                with quell.timeout(self.chance.uniform(0, 0.001)):
                    self.work(self.lock, self.ledger, amounts(n))
            except quell.Timeout:
                self.fired += 1
            audit(self.lock, self.ledger, n)

    def worker(self) -> None:
        self.thread(self.scope).join()
        self.check()

    def sender(self) -> None:
        started: queue.SimpleQueue[int] = queue.SimpleQueue()
        thread = self.thread(lambda: self.receive(started))
        try:
            for _ in range(self.count):
                started.get(timeout=3 * LEAKED)
                for _ in range(self.chance.randrange(3000)):
                    pass
                quell.interrupt(thread, Stop)
            thread.join()
        finally:
            self.check()

    def receive(self, started: queue.SimpleQueue[int]) -> None:
        for n in range(self.count):
            try:
                started.put(n)
                self.work(self.lock, self.ledger, amounts(n))
            except Stop:
                self.fired += 1
            audit(self.lock, self.ledger, n)

    def thread(self, body: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                body()
            except BaseException as error:
                self.errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def check(self) -> None:
        """What a thread failed with is the main thread's failure."""
        if self.errors:
            raise self.errors[0]


def main() -> None:
    path, kind, *rest = sys.argv[1:]
    make, work = KINDS[kind]
    ledger, lock = Ledger(path), make()
    if not rest:
        os.write(1, b"READY\n")
        try:
            work(lock, ledger, amounts(time.monotonic_ns()))
        finally:
            audit(lock, ledger, "at the end")
            os.write(1, b"sound\n")
        return
    sys.setswitchinterval(1e-4)
    ended = threading.Event()

    def compete() -> None:
        for amount in amounts(1):
            if ended.is_set():
                return
            work(lock, ledger, iter([amount]))

    competitor = threading.Thread(target=compete)
    competitor.start()
    interrupted = Interrupted(lock, ledger, work, int(rest[0]))
    try:
        getattr(interrupted, rest[1])()
    except Broken as error:
        print(f"after {interrupted.fired} interrupts: {error}", flush=True)
        os._exit(1)
    finally:
        ended.set()
    competitor.join()
    audit(lock, ledger, "at the end")
    print("sound", interrupted.fired)


if __name__ == "__main__":
    main()
