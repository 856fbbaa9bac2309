"""Every shape of code, interrupted again and again: each interrupt is raised once, in order, where it was meant, and caught by the
`except` around it; each `finally` runs, and nothing that must be whole is cut.

The counts are for a few seconds, QUELL_STRESS multiplies them; with those of `test_stress.py` and `test_polite.py` they make more
than 30,000 interrupts, 100,000 over three versions of Python, and a million on each with QUELL_STRESS=30.
"""

import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import callbacks  # noqa: F401 - more shapes
import pytest
import quell
from conftest import PATIENCE, STRESS
from places import PLACES
from shapes import SHAPES, Stop

pytestmark = [pytest.mark.timeout(100 * STRESS), pytest.mark.usefixtures("fast_switching")]


#: What a round runs, with its number and what to call once it may be interrupted, which returns what tells whether it is on its way.
Body = Callable[[int, Callable[[], Callable[[], bool]]], None]


class Soak:
    """A thread that runs a shape so many times, and its interrupter."""

    def __init__(self, start: Any, count: int, body: Body):
        self.body = body
        self.count = count
        #: The round that may be interrupted.
        self.armed = -1
        self.receipts: list[Any] = []
        self.worker = start(self.work)

    def work(self) -> None:
        for number in range(self.count):

            def go(number: int = number) -> Callable[[], bool]:
                self.armed = number
                return lambda: len(self.receipts) > number

            self.body(number, go)

    def run(self) -> None:
        chance = random.Random(self.count)
        receipts = self.receipts
        for number in range(self.count):
            end = time.monotonic() + PATIENCE
            while self.armed != number:
                time.sleep(0)
                if not self.worker.is_alive() or time.monotonic() > end:
                    break
            else:
                for _ in range(chance.randrange(4)):
                    time.sleep(0)
                receipts.append(quell.interrupt(self.worker, Stop(number)))
                continue
            break
        self.worker.done()
        if self.worker.error is not None:
            raise self.worker.error
        assert len(receipts) == self.count
        assert {receipt.state for receipt in receipts} == {"delivered"}


@pytest.mark.parametrize("name", SHAPES)
def test_each_interrupt_is_caught_where_it_was_meant(name: str, start: Any) -> None:
    function, expected = SHAPES[name]
    may_escape = getattr(function, "may_escape", False)
    few = 30 if hasattr(function, "few") else 240
    count = (50 if hasattr(function, "slow") else few) * STRESS

    def body(number: int, go: Callable[[], object]) -> None:
        log: list[object] = []
        try:
            caught = function(go, log)
        except Stop as stop:
            # Only where the loop stands outside of the try.
            assert may_escape, "raised outside of the try"
            caught = stop
        assert type(caught) is Stop and caught.args == (number,)
        assert log == expected

    Soak(start, count, body).run()


@pytest.mark.parametrize("name", PLACES)
def test_what_would_swallow_an_interrupt_is_not_cut(
    name: str, start: Any, monkeypatch: Any
) -> None:
    function = PLACES[name]
    ignored: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: ignored.append(told.exc_value))

    def body(number: int, go: Callable[[], object]) -> None:
        log: list[object] = []
        try:
            function(go, log)
        except Stop as stop:
            assert stop.args == (number,)
        assert log == ["begun", "done"] or (hasattr(function, "cut") and log == ["begun"])

    Soak(start, (20 if hasattr(function, "slow") else 70) * STRESS, body).run()
    assert not ignored


def step(n: int) -> int:
    return n + 1


def test_of_many_threads_in_the_same_functions_the_right_one_is_interrupted(start: Any) -> None:
    threads, each = 6, 100 * STRESS
    got: list[list[object]] = [[] for _ in range(threads)]
    armed = [-1] * threads

    def work(me: int) -> None:
        n = 0
        while len(got[me]) < each:
            try:
                armed[me] = len(got[me])
                while True:
                    n = step(n)
            except Stop as stop:
                got[me].append(stop.args)

    workers = [start(lambda me=me: work(me)) for me in range(threads)]

    def send(targets: range) -> None:
        for number in range(each):
            for me in targets:
                end = time.monotonic() + PATIENCE
                while armed[me] != number:
                    time.sleep(0)
                    assert time.monotonic() < end
                quell.interrupt(workers[me], Stop(me, number))

    senders = [threading.Thread(target=send, args=(range(k, threads, 2),)) for k in range(2)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    for me, worker in enumerate(workers):
        assert worker.done().error is None
        assert got[me] == [(me, number) for number in range(each)]
