"""Interrupts one shape of :mod:`shapes` again and again from another thread.

    shapes_rounds.py NAME COUNT    COUNT rounds, shared by the forms of the shape

Prints one line of JSON, for each form of the shape: how many rounds ran the shape's own ``except`` and
``finally``, how many interrupts came before it had entered its ``try`` (those rounds are repeated), what
else happened, and how long the interrupts took. A round in which nothing happens ends the process.
"""

from __future__ import annotations

import json
import math
import os
import queue
import random
import sys
import threading
import time
import traceback

import quell
import shapes

#: Seconds without any outcome after which the interrupt counts as lost.
LOST = 10.0


class Stop(BaseException):
    pass


class Rounds:
    def __init__(self, name: str, form: str) -> None:
        self.name = name
        self.expected = tuple(shapes.FORMS[form])
        self.go: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self.started: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.finished: queue.SimpleQueue[tuple[str, ...]] = queue.SimpleQueue()
        self.held = threading.Lock()
        self.thread = threading.Thread(target=self.target, name="target", daemon=True)
        self.shape = {**shapes.LOOPS, **shapes.PLACES, **shapes.CALLEES}[name][form]
        self.random = random.Random(f"{name} {form}")

    def target(self) -> None:
        while self.go.get():
            shapes.LOG.clear()
            try:
                if self.name in shapes.PLACES:
                    self.shape()
                elif self.name in shapes.LOOPS:
                    self.announce()
                    self.shape()
                else:
                    self.announce()
                    self.shape(self.held)
                outcome = tuple(shapes.LOG)
            except Stop as error:
                outcome = (shapes.outcome_of(error, self.shape), *shapes.LOG)
            self.finished.put(outcome)

    def announce(self) -> None:
        self.started.put(threading.get_native_id())

    def blocked_in_shape(self, native: int) -> bool:
        frame = sys._current_frames()[self.thread.ident or 0]
        with open(f"/proc/self/task/{native}/stat") as stat:
            state = stat.read().rpartition(")")[2].split()[0]
        return frame.f_code is self.shape.__code__ and state == "S"

    def strike(self) -> float:
        """Interrupts the target at a random moment of its round; returns when."""
        native = self.started.get(timeout=LOST)
        if self.name in shapes.CALLEES:
            deadline = time.monotonic() + LOST
            while not self.blocked_in_shape(native):
                assert time.monotonic() < deadline, "the target never blocked"
                os.sched_yield()
        elif self.name in shapes.LOOPS:
            for _ in range(self.random.randrange(2000)):
                pass
        at = time.perf_counter()
        quell.interrupt(self.thread, Stop)
        return at

    def run(self, count: int) -> dict[str, object]:
        self.thread.start()
        tally: dict[str, int] = {}
        early = 0
        delays = []
        good = 0
        while good < count and sum(tally.values()) < 3 and early < 10 * count:
            shapes.sender.visits = 0
            shapes.sender.sent.clear()
            shapes.sender.entered = self.announce
            if self.name in shapes.CALLEES:
                self.held.acquire()
            self.go.put(True)
            at = self.strike()
            shapes.sender.sent.set()
            if self.name in shapes.CALLEES:
                self.held.release()
            try:
                outcome = self.finished.get(timeout=LOST)
            except queue.Empty:
                self.lost()
            delays.append(time.perf_counter() - at)
            if outcome[0] == "early":
                early += 1
            elif self.as_promised(outcome):
                good += 1
            else:
                tally[" ".join(outcome)] = tally.get(" ".join(outcome), 0) + 1
        self.go.put(False)
        self.thread.join(LOST)
        delays.sort()
        return {
            "good": good,
            "early": early,
            "other": tally,
            "p50_us": round(delays[len(delays) // 2] * 1e6),
            "max_us": round(delays[-1] * 1e6),
        }

    def as_promised(self, outcome: tuple[str, ...]) -> bool:
        if self.name in shapes.PLACES and outcome[:1] == ("body",):
            return outcome[1:] == self.expected
        return outcome == self.expected and self.name not in shapes.WHOLE_BODY

    def lost(self) -> None:
        stack = traceback.format_stack(sys._current_frames()[self.thread.ident or 0])
        print(f"lost: the target is still in\n{''.join(stack)}", file=sys.stderr, flush=True)
        os._exit(1)


def main() -> None:
    name, count = sys.argv[1:]
    shapes.stop_with(Stop)
    forms = {**shapes.LOOPS, **shapes.PLACES, **shapes.CALLEES}[name]
    # The sender has to get the GIL from a busy loop for every interrupt.
    sys.setswitchinterval(1e-4)
    each = math.ceil(int(count) / len(forms))
    print(json.dumps({form: Rounds(name, form).run(each) for form in forms}))


if __name__ == "__main__":
    main()
