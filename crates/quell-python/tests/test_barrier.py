"""Barrier does what threading's does; a round gets through for all of its parties or for none."""

import gc
import math
import pickle
import re
import threading
import time
import weakref

import pytest
import quell
from conftest import PATIENCE, STRESS, blocked, outcome, spin_until


class Mine(BaseException):
    pass


def test_constructors():
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=r"^parties must be > 0$"):
            quell.Barrier(wrong)
    for wrong in ((), ("2",), (None,), (1, None, None, None)):
        with pytest.raises(TypeError):
            quell.Barrier(*wrong)
    barrier = quell.Barrier(parties=3, action=None, timeout=1)
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (3, 0, False)

    class Named(quell.Barrier):
        def __init__(self, name):
            super().__init__(1)
            self.name = name

    assert Named("a").wait() == 0
    assert {name for name in dir(threading.Barrier) if not name.startswith("_")} <= set(
        dir(quell.Barrier)
    )


def test_repr_pickling_and_weak_references():
    def shape(barrier):
        return re.sub(r"0x[0-9a-f]+", "ADDRESS", repr(barrier)).replace("quell.", "threading.")

    mine, other = quell.Barrier(2), threading.Barrier(2)
    assert shape(mine) == shape(other)
    mine.abort()
    other.abort()
    assert shape(mine) == shape(other)
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(mine)
    reference = weakref.ref(mine)
    del mine
    assert reference() is None


def test_the_collector_sees_the_action():
    class Owner:
        def __init__(self):
            self.barrier = quell.Barrier(1, self.act)

        def act(self):
            pass

    reference = weakref.ref(Owner())
    gc.collect()
    assert reference() is None


def test_alone(start):
    acted = []
    barrier = quell.Barrier(1, lambda: acted.append(barrier.n_waiting))
    assert [barrier.wait() for _ in range(3)] == [0, 0, 0]
    assert acted == [1, 1, 1] and barrier.n_waiting == 0


def test_each_gets_a_number_and_the_last_one_acts(start):
    acted = []
    barrier = quell.Barrier(3, lambda: acted.append(threading.get_ident()))
    for _ in range(20):
        workers = [start(barrier.wait) for _ in range(3)]
        numbers = {worker.done().result: worker.ident for worker in workers}
        assert sorted(numbers) == [0, 1, 2] and acted.pop() == numbers[2] and not acted


@pytest.mark.parametrize("timeout", [0, -1, 0.01])
def test_a_time_out_breaks_it_for_all(start, timeout):
    barrier = quell.Barrier(3)
    first = start(barrier.wait).blocked()
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(timeout)
    assert isinstance(first.done().error, threading.BrokenBarrierError)
    assert barrier.broken
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    usual = quell.Barrier(2, timeout=0.01)
    assert isinstance(outcome(usual.wait), tuple) and usual.broken
    assert outcome(quell.Barrier(2).wait, "1")[0] is TypeError


def test_an_action_that_raises_breaks_it(start):
    def act():
        raise KeyError("act")

    barrier = quell.Barrier(2, act)
    first = start(barrier.wait).blocked()
    with pytest.raises(KeyError):
        barrier.wait()
    assert isinstance(first.done().error, threading.BrokenBarrierError) and barrier.broken


def test_while_the_action_runs_nobody_leaves_and_who_comes_waits_for_its_end(start):
    acting, go = threading.Event(), threading.Event()

    def act():
        acting.set()
        assert go.wait(PATIENCE)

    barrier = quell.Barrier(2, act)
    end = time.monotonic() + 2
    first = start(lambda: barrier.wait(2)).blocked()
    last = start(barrier.wait)
    acting.wait(PATIENCE)
    receipt = quell.interrupt(first, Mine)
    late = start(barrier.wait).blocked()
    barrier.reset()
    # Until after the time-out.
    assert not receipt.wait(max(0.0, end - time.monotonic()) + 0.1) and barrier.n_waiting == 2
    go.set()
    assert last.done().result == 1
    # Its interrupt is raised after the wait, which has got through.
    first.done()
    assert first.result == 0 or isinstance(first.error, Mine)
    barrier.wait()
    assert late.done().error is None and not barrier.broken


def test_abort_while_the_action_runs_breaks_it_afterwards(start):
    acting, go = threading.Event(), threading.Event()

    def act():
        acting.set()
        assert go.wait(PATIENCE)

    barrier = quell.Barrier(2, act)
    workers = [start(barrier.wait) for _ in range(2)]
    acting.wait(PATIENCE)
    late = start(barrier.wait).blocked()
    barrier.abort()
    assert not barrier.broken
    go.set()
    assert sorted(worker.done().result for worker in workers) == [0, 1]
    assert isinstance(late.done().error, threading.BrokenBarrierError) and barrier.broken


def test_an_interrupted_action_breaks_it(start):
    acting = threading.Event()

    def act():
        acting.set()
        while True:
            pass

    barrier = quell.Barrier(2, act)
    first = start(barrier.wait).blocked()
    last = start(barrier.wait)
    acting.wait(PATIENCE)
    quell.interrupt(last, Mine)
    assert isinstance(last.done().error, Mine)
    assert isinstance(first.done().error, threading.BrokenBarrierError)


def test_a_signal_handler_that_returns_does_not_break_it(start):
    import signal

    barrier, handled = quell.Barrier(2), []
    main = threading.main_thread()

    def other():
        spin_until(lambda: barrier.n_waiting == 1)
        for i in range(3):
            blocked(main)
            signal.pthread_kill(main.ident, signal.SIGUSR1)
            spin_until(lambda i=i: len(handled) > i)
        return barrier.wait()

    old = signal.signal(signal.SIGUSR1, lambda number, frame: handled.append(number))
    try:
        worker = start(other)
        assert barrier.wait() == 0 and worker.done().result == 1
    finally:
        signal.signal(signal.SIGUSR1, old)


def test_a_round_gets_through_for_all_or_for_none(start, fast_switching):
    # Interrupts fly at two parties. After each round both have it, or neither, and a broken barrier says so.
    barrier, passed, enough, final = quell.Barrier(2), [[], []], threading.Event(), math.inf

    def party(i):
        nonlocal final
        with quell.mask():
            while (n := len(passed[i])) < final:
                if i == 0 and enough.is_set():
                    # Known to the other before it can pass this round.
                    final = n + 1
                while True:
                    try:
                        barrier.wait()
                        passed[i].append(n)
                        break
                    except (Mine, threading.BrokenBarrierError):
                        # Whoever is last to see it broken mends it.
                        if barrier.broken:
                            barrier.reset()
            quell.shield().__enter__()

    workers = [start(lambda i=i: party(i)) for i in range(2)]
    last, seen = [None, None], [0, 0]
    for sent in range(1000 * STRESS):
        i = sent % 2
        # One at a time, and every second one after a round: a party that is interrupted whenever it waits never meets the other.
        spin_until(lambda i=i: last[i] is None or last[i].state == "delivered")
        if sent & 2:
            spin_until(lambda i=i: len(passed[i]) > seen[i])
        seen[i] = len(passed[i])
        last[i] = quell.interrupt(workers[i], Mine)
    enough.set()
    for worker in workers:
        assert worker.done().error is None
    assert passed[0] == passed[1] == list(range(final))
