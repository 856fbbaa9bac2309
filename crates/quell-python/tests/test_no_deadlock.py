"""What is no deadlock is not taken for one; what is one, under fire, ends with one of its threads, and all others go on."""

import random
import threading
import time
from contextlib import suppress
from functools import partial

import pytest
import quell
from conftest import STRESS, spin_until
from dining import Table
from quell import threading as qthreading
from seen import Start, in_lock, off  # noqa: F401


def test_a_wait_with_a_timeout_ends_by_itself(start: Start) -> None:
    quell.set_detection("fail")
    a, b = quell.Lock(), quell.Lock()
    ready = quell.Barrier(2)

    def patient() -> bool:
        with a:
            ready.wait()
            return b.acquire(timeout=0.5)

    one = start(patient)

    def impatient() -> str:
        with b:
            ready.wait()
            # So that this one closes the circle.
            spin_until(lambda: in_lock(one))
            with a:
                return "both"

    two = start(impatient)
    assert one.done().result is False
    assert two.done().result == "both"


def hold_and_want(held: quell.Lock, wanted: quell.Lock) -> None:
    with held, wanted:
        pass


def test_an_interrupt_that_is_pending_ends_the_wait(start: Start) -> None:
    # The other one waits, and is about to leave, or has left without having been able to say so.
    quell.set_detection("fail")
    for _ in range(20 * STRESS):
        a, b = quell.Lock(), quell.Lock()
        with b:
            worker = start(partial(hold_and_want, a, b))
            spin_until(partial(in_lock, worker))
            quell.interrupt(worker)
            with a:
                pass
        assert isinstance(worker.done().error, quell.Interrupt)


def test_an_interrupt_that_is_withdrawn_does_not(start: Start) -> None:
    quell.set_detection("fail")
    outcomes = set()
    for round in range(20 * STRESS):
        a, b = quell.Lock(), quell.Lock()
        receipts: list[quell.Delivery] = []

        def take_back(receipts: list[quell.Delivery] = receipts) -> None:
            spin_until(lambda: receipts)
            receipts[0].withdraw()

        withdrawer = start(take_back) if round % 2 else None
        error = None
        with b:
            worker = start(partial(hold_and_want, a, b))
            spin_until(partial(in_lock, worker))
            receipts.append(quell.interrupt(worker))
            if withdrawer is None:
                receipts[0].withdraw()
            try:
                with a:
                    pass
            except quell.Deadlock as deadlock:
                error = deadlock
        worker.done()
        if withdrawer:
            withdrawer.done()
        # Somebody gave up, and only one.
        assert (error is None) != (worker.error is None)
        outcomes.add((type(error), type(worker.error)))
    assert (quell.Deadlock, type(None)) in outcomes


@pytest.mark.parametrize("policy", ["fail", "youngest"])
def test_no_false_alarm(policy: str, fast_switching: None) -> None:
    # Locks are taken in one order, so there is no circle; with interrupts, time-outs, joins, conditions and releases all along.
    quell.set_detection(policy)  # type: ignore[arg-type]
    rounds, threads = 400 * STRESS, 6
    table: list[quell.Lock | quell.RLock] = [(quell.Lock, quell.RLock)[n % 2]() for n in range(6)]
    condition = quell.Condition(table[5])
    failed: list[BaseException] = []
    finished: list[int] = []
    interrupted: list[int] = []
    dice = random.Random(7)

    def attempt(dice: random.Random) -> None:
        one, two, three = sorted(dice.sample(range(6), 3))
        kind = dice.randrange(6)
        with table[one]:
            if kind == 0:
                if table[two].acquire(timeout=0.0005):
                    table[two].release()
                return
            with table[two], table[three]:
                if kind == 1 and three == 5:
                    condition.wait(0.0005)
                elif kind == 2 and three == 5:
                    condition.notify()
                elif kind == 3:
                    time.sleep(0)
        if kind == 4:
            thread = qthreading.Thread(target=lambda: table[one].acquire() and table[one].release())
            with quell.shield():
                thread.start()
                thread.join()

    inside = threading.Semaphore(0)

    def run(seed: int) -> None:
        dice = random.Random(seed)
        with quell.mask():  # interrupts are raised only where it waits
            inside.release()
            for _ in range(rounds):
                try:
                    attempt(dice)
                except quell.Interrupt:
                    interrupted.append(seed)
                except BaseException as error:
                    failed.append(error)
                    raise
            finished.append(seed)
            quell.shield().__enter__()  # to the end of the thread

    workers = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(threads)]
    for worker in workers:
        worker.start()
    for _ in workers:
        assert inside.acquire(timeout=60)
    while any(w.is_alive() for w in workers):
        with suppress(LookupError):
            quell.interrupt(dice.choice(workers))
        assert not quell.find_deadlocks()
        time.sleep(0.0005)
        if failed:
            break
    for worker in workers:
        worker.join(60)
    assert not failed, failed
    assert sorted(finished) == list(range(threads))
    assert interrupted
    assert not any(lock.locked() for lock in table)


def test_philosophers(fast_switching: None) -> None:
    quell.set_detection("fail")
    meals = 40 * STRESS
    table = Table([quell.Lock() for _ in range(5)], lambda eaten: eaten < meals)
    table.done()
    assert table.eaten == [meals] * 5


def test_philosophers_of_whom_another_one_fails(fast_switching: None) -> None:
    # With interrupts, so that verdicts meet grants and interrupts.
    end = time.monotonic() + 0.7 * STRESS
    quell.set_detection("fail")
    table = Table([quell.RLock() for _ in range(4)], lambda _: time.monotonic() < end)
    table.disturb(["youngest", "eldest", "fail", lambda it: random.choice(it.threads)])
    table.done()
    assert sum(table.eaten)
