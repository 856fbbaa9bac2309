"""The garbage collector may run finalizers at any moment; while a target is looked at it must not let the target run."""

import subprocess
import sys

import pytest
from conftest import STRESS

#: Every collection in the sending thread lets the target run on, and leaves garbage for the next one. Up to 3.11 an
#: object that is made starts a collection; later versions collect between two instructions.
SCRIPT = """
import faulthandler, gc, sys, threading, time
import quell

faulthandler.dump_traceback_later(100, exit=True)
ROUNDS = int(sys.argv[1])
laps = 0
sender = threading.get_ident()


class Garbage:
    def __init__(self):
        self.itself = self

    def __del__(self):
        if threading.get_ident() != sender or not sending:
            return
        before, end = laps, time.monotonic() + 0.01
        while laps == before and time.monotonic() < end:
            time.sleep(0)
        Garbage()


def narrow(n):
    global laps
    laps += 1
    if n > 0:
        narrow(n - 1)
        wide(n - 2)


def wide(n):
    a, b, c, d, e, f, g, h, i = [object() for _ in range(9)]
    if n > 0:
        narrow(n - 1)
        wide(n - 2)


def target():
    while not over:
        try:
            while True:
                wide(7)
        except Stop:
            caught.release()


class Stop(BaseException):
    pass


over = sending = False
sys.setswitchinterval(1e-5)
caught = threading.Semaphore(0)
thread = threading.Thread(target=target)
thread.start()
while not laps:
    time.sleep(0)
for _ in range(ROUNDS):
    gc.collect()
    gc.set_threshold(1)
    sending = True
    Garbage()
    delivery = quell.interrupt(thread, Stop)
    sending = False
    gc.set_threshold(700)
    assert delivery.wait(30), "lost"
    caught.acquire()
    before = laps
    while laps == before:
        time.sleep(0)
over = True
quell.interrupt(thread, Stop)
thread.join()
print(ROUNDS, "caught")
"""


@pytest.mark.parametrize("enabled", [True, False], ids=["collecting", "switched off"])
def test_a_collection_during_an_interrupt_lets_the_target_go_on(enabled):
    rounds = 200 * STRESS
    switch = "" if enabled else "import gc; gc.disable()\n"
    check = "\nassert gc.isenabled() is " + str(enabled)
    run = subprocess.run(
        [sys.executable, "-c", switch + SCRIPT + check, str(rounds)],
        capture_output=True,
        text=True,
        timeout=120 * STRESS,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, f"{rounds} caught\n"), run.stderr


@pytest.mark.parametrize(
    "name", ["Queue", "LifoQueue", "PriorityQueue", "SimpleQueue", "Condition"]
)
def test_a_collection_while_a_queue_is_made(name):
    # CPython 3.11 may collect between the allocation of an object and the moment its value is there.
    script = f"""
import gc, quell
gc.set_threshold(1)
class Sub(quell.{name}): pass
kept = []
for _ in range({2000 * STRESS}):
    kept.append((quell.{name}(), Sub()))
    if len(kept) > 50:
        kept.clear()
"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
