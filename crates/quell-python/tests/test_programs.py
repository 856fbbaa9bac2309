"""Random programs, interrupted at random moments: whatever they are in the middle of, they are left as they should be.

QUELL_STRESS multiplies the number of programs, and QUELL_SEED begins with another one. A program that fails is made smaller
as long as it fails, and shown with its seed.
"""

import contextlib
import ctypes
import os
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest
import quell
from conftest import STRESS
from programs import Block, Environment, compiled, generate

pytestmark = [pytest.mark.timeout(200 * STRESS), pytest.mark.usefixtures("fast_switching")]

SEED = int(os.environ.get("QUELL_SEED", "1"))

#: Seconds after which an interrupt is lost.
LATE = 10.0

Send = Callable[[threading.Thread, BaseException], object]


class Stop(BaseException):
    """What these tests interrupt with."""


def faults(program: Block, rounds: int, send: Send, start: Any) -> list[str]:
    """Runs the program again and again until it is interrupted, so many times; what is wrong then."""
    function = compiled(program)
    found: list[str] = []
    running = [-1]
    over = threading.Event()

    def victim() -> None:
        mask = quell.mask()
        mask.__enter__()
        for number in range(rounds):
            environment = Environment()
            try:
                running[0] = number
                # From here on it is interrupted.
                mask.__exit__(None, None, None)
                while True:
                    function(environment)
            except Stop as stop:
                mask.__enter__()
                if stop.args != (number,):
                    found.append(f"interrupt {stop.args} in round {number}")
            except BaseException as error:
                mask.__enter__()
                found.append(f"{error!r} came out of the program")
            found.extend(environment.faults())
            if found:
                break
        over.set()
        quell.shield().__enter__()

    worker = start(victim)
    chance = random.Random(rounds)
    for number in range(rounds):
        end = time.monotonic() + LATE
        while running[0] != number and not over.is_set():
            time.sleep(0)
            if time.monotonic() > end:
                stack = traceback.format_stack(sys._current_frames()[worker.ident or 0])
                # It runs on, until the test is over.
                return ["the interrupt was lost, in\n" + "".join(stack)]
        if over.is_set():
            break
        for _ in range(chance.randrange(6)):
            time.sleep(0)
        with contextlib.suppress(LookupError):
            send(worker, Stop(number))
    worker.done()
    if worker.error is not None:
        raise worker.error
    return found


def shrunk(program: Block, rounds: int, send: Send, start: Any, seconds: float = 20) -> Block:
    """The smallest program found that fails as well."""
    end = time.monotonic() + seconds
    again = True
    while again:
        again = False
        for smaller in sorted(program.smaller(), key=Block.size):
            if time.monotonic() > end:
                return program
            with contextlib.suppress(Exception):
                if faults(smaller, rounds, send, start):
                    program, again = smaller, True
                    break
    return program


def interrupt(worker: threading.Thread, error: BaseException) -> None:
    quell.interrupt(worker, error)


@pytest.mark.parametrize("batch", range(8))
def test_a_random_program_is_left_as_it_should_be(batch: int, start: Any) -> None:
    for number in range(10 * STRESS):
        seed = f"{SEED}.{batch}.{number}"
        program = generate(random.Random(seed))
        found = faults(program, 40, interrupt, start)
        if found:
            program = shrunk(program, 400, interrupt, start)
            pytest.fail(f"seed {seed}: {found}\n{program.source()}")


def set_async_exc(worker: threading.Thread, error: BaseException) -> None:
    """What CPython has itself: raised wherever the target looks for it next."""
    post = ctypes.PyDLL(None).PyThreadState_SetAsyncExc
    post.argtypes = [ctypes.c_ulong, ctypes.py_object]
    post(
        worker.ident,
        type("Stop", (Stop,), {"__init__": lambda self: setattr(self, "args", error.args)}),
    )


def test_a_delivery_that_is_not_safe_is_caught_and_the_program_made_small(start: Any) -> None:
    for number in range(50):
        program = generate(random.Random(f"broken.{number}"))
        if faults(program, 200, set_async_exc, start):
            small = shrunk(program, 200, set_async_exc, start, seconds=5)
            assert small.size() <= program.size()
            return
    pytest.fail("no program was left in disorder")
