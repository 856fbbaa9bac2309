"""Semaphore and BoundedSemaphore do what threading's do, and their permits are never lost."""

import gc
import pickle
import re
import sys
import threading
import weakref

import pytest
import quell
from conftest import PATIENCE, STRESS, outcome, spin, spin_until

PAIRS = {
    "Semaphore": (quell.Semaphore, threading.Semaphore),
    "BoundedSemaphore": (quell.BoundedSemaphore, threading.BoundedSemaphore),
}
BOTH = pytest.mark.parametrize(("ours", "theirs"), PAIRS.values(), ids=PAIRS)


class Mine(BaseException):
    pass


ACQUIRES = [
    ((), {}),
    ((True,), {}),
    ((False,), {}),
    ((0,), {}),
    ((True, None), {}),
    ((True, 0), {}),
    ((True, -1), {}),
    ((True, 0.01), {}),
    ((False, None), {}),
    ((False, 1), {}),
    ((False, 0), {}),
    ((), {"blocking": False}),
    ((), {"timeout": 0}),
    ((), {"timeout": None, "blocking": True}),
]


@BOTH
@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize(("args", "kwargs"), ACQUIRES, ids=str)
def test_acquire_takes_the_same_arguments_and_fails_with_the_same_errors(
    ours, theirs, value, args, kwargs
):
    if value == 0 and (args, kwargs) in [
        ((), {}),
        ((True,), {}),
        ((True, None), {}),
        ((), {"timeout": None, "blocking": True}),
    ]:
        args = (True, 0.01)
        kwargs = {}
    mine, other = ours(value), theirs(value)
    assert outcome(mine.acquire, *args, **kwargs) == outcome(other.acquire, *args, **kwargs)
    assert mine._value == other._value


@BOTH
@pytest.mark.parametrize("n", [1, 2, 3, 0, -1])
def test_release_gives_the_same_and_fails_with_the_same_errors(ours, theirs, n):
    mine, other = ours(2), theirs(2)
    for semaphore in (mine, other):
        semaphore.acquire()
        semaphore.acquire()
    assert outcome(mine.release, n) == outcome(other.release, n)
    assert mine._value == other._value
    assert outcome(mine.release, n=n) == outcome(other.release, n=n)
    assert mine._value == other._value


@BOTH
def test_constructors(ours, theirs):
    for args in [(), (0,), (3,), (-1,), (True,)]:
        mine, other = outcome(ours, *args), outcome(theirs, *args)
        if isinstance(other, tuple):
            assert mine == other
        else:
            assert mine._value == other._value
    assert ours(value=2)._value == 2
    for wrong in ("1", None, 1.5):
        with pytest.raises(TypeError):
            ours(wrong)
    with pytest.raises(OverflowError, match="a semaphore has 1073741823 permits at most"):
        ours(2**30)
    with pytest.raises(OverflowError):
        ours(2**70)


def test_there_are_so_many_permits_and_no_more():
    semaphore = quell.Semaphore(2**30 - 2)
    semaphore.release()
    for n in (1, 2**31, 2**62):
        with pytest.raises(OverflowError, match="permits at most"):
            semaphore.release(n)
    assert semaphore._value == 2**30 - 1


@BOTH
def test_repr_and_names(ours, theirs):
    def shape(semaphore):
        text = re.sub(r"0x[0-9a-f]+", "ADDRESS", repr(semaphore))
        return text.replace("quell.", "threading.")

    assert shape(ours(3)) == shape(theirs(3))
    assert {name for name in dir(theirs()) if not name.startswith("_")} <= set(dir(ours()))
    assert issubclass(quell.BoundedSemaphore, quell.Semaphore)

    class Named(ours):
        def __init__(self, name, value):
            super().__init__(value)
            self.name = name

    semaphore = Named("a", 2)
    with semaphore:
        assert semaphore.name == "a" and semaphore._value == 1
    assert repr(semaphore).startswith(f"<{__name__}.")


@BOTH
def test_weak_references_and_pickling(ours, theirs):
    semaphore = ours()
    reference = weakref.ref(semaphore)
    with pytest.raises(TypeError, match="cannot pickle 'quell"):
        pickle.dumps(semaphore)
    del semaphore
    assert reference() is None


@BOTH
def test_enter_and_exit(ours, theirs):
    semaphore = ours()
    with semaphore as entered:
        assert entered is True and semaphore._value == 0
    assert semaphore._value == 1
    with pytest.raises(ZeroDivisionError), semaphore:
        raise ZeroDivisionError
    assert semaphore.__enter__() is True
    assert semaphore.__exit__(None, None, None) is None
    assert ours.__enter__(semaphore) is True and ours.__exit__(semaphore) is None
    assert semaphore._value == 1
    for wrong in (lambda: semaphore.__enter__(1), lambda: ours.__enter__(1), ours.__enter__):
        with pytest.raises(TypeError):
            wrong()


@BOTH
def test_waiters_are_let_in_one_for_each_permit(ours, theirs, start):
    semaphore = ours(4)
    for _ in range(4):
        semaphore.acquire()
    workers = [start(semaphore.acquire).blocked() for _ in range(4)]
    semaphore.release(3)
    spin_until(lambda: sum(not worker.is_alive() for worker in workers) == 3)
    assert sum(worker.is_alive() for worker in workers) == 1 and semaphore._value == 0
    semaphore.release()
    assert [worker.done().result for worker in workers] == [True] * 4


# ---- interrupts


def test_inside_a_with_statement_running_code_is_interrupted_and_the_permit_given_back(start):
    semaphore = quell.Semaphore(1)
    inside = threading.Event()

    def body():
        with semaphore:
            inside.set()
            spin()

    worker = start(body)
    inside.wait(PATIENCE)
    delivery = quell.interrupt(worker, Mine)
    assert isinstance(worker.done().error, Mine)
    assert delivery.state == "delivered" and semaphore._value == 1


def test_a_permit_that_nobody_would_give_back_keeps_interrupts_out(start):
    semaphore, inside, go = quell.Semaphore(1), threading.Event(), threading.Event()

    def body():
        semaphore.__enter__()
        inside.set()
        spin_until(go.is_set)
        semaphore.__exit__(None, None, None)
        spin()

    worker = start(body)
    inside.wait(PATIENCE)
    delivery = quell.interrupt(worker, Mine, force=True)
    assert not delivery.wait(0.02)
    go.set()
    assert isinstance(worker.done().error, Mine) and semaphore._value == 1


def test_an_acquired_permit_is_not_held_against_interrupts(start):
    # Whoever acquires need not be who releases.
    semaphore, inside = quell.BoundedSemaphore(2), threading.Event()

    def body():
        semaphore.acquire()
        inside.set()
        spin()

    worker = start(body)
    inside.wait(PATIENCE)
    quell.interrupt(worker, Mine)
    assert isinstance(worker.done().error, Mine)
    assert semaphore._value == 1


def test_a_release_ends_the_hold_of_an_enter(start):
    def body():
        semaphore = quell.Semaphore(1)
        semaphore.__enter__()
        semaphore.release()
        quell.interrupt(threading.get_ident(), Mine)
        quell.checkpoint()

    assert isinstance(start(body).done().error, Mine)


@pytest.mark.parametrize("elsewhere", ["exit", "drop"])
def test_a_permit_that_goes_elsewhere_is_no_hold_any_more(start, elsewhere):
    held, go, shared = threading.Event(), threading.Event(), [quell.Semaphore(1)]

    def body():
        shared[0].__enter__()
        held.set()
        spin_until(go.is_set)
        spin()

    worker = start(body)
    held.wait(PATIENCE)
    delivery = quell.interrupt(worker, Mine)
    assert not delivery.wait(0.02)
    if elsewhere == "exit":
        shared[0].__exit__(None, None, None)
    shared.clear()
    gc.collect()
    go.set()
    assert isinstance(worker.done().error, Mine)


def test_a_burst_of_100_000_takes_nothing(start):
    count = 100_000 * STRESS
    semaphore, got = quell.Semaphore(0), []

    def victim():
        with quell.mask():
            while len(got) < count:
                try:
                    semaphore.acquire()
                except Mine as error:
                    got.append(error.args[0])

    worker = start(victim).blocked()
    for i in range(count):
        quell.interrupt(worker, Mine(i))
    assert worker.done().error is None
    assert got == list(range(count)) and semaphore._value == 0
    semaphore.release()
    assert semaphore.acquire(False)


def test_no_permit_is_lost_or_doubled(start, fast_switching):
    # Interrupts fly at those who wait while permits are given: so many of each at least.
    count, interrupts = 20_000 * STRESS, 1000 * STRESS
    semaphore, done, ready = quell.Semaphore(0), threading.Event(), threading.Semaphore(0)
    got, given, sent = [0, 0], 0, 0

    def taker(i):
        with quell.mask():
            ready.release()
            while not done.is_set():
                try:
                    got[i] += semaphore.acquire(timeout=0.01)
                except Mine:
                    pass
            quell.shield().__enter__()

    takers = [start(lambda i=i: taker(i)) for i in range(2)]
    for _ in takers:
        assert ready.acquire(timeout=PATIENCE)

    def giver():
        nonlocal given
        while given < count or sent < interrupts:
            semaphore.release()
            given += 1
        done.set()

    gives = start(giver)
    while not done.is_set():
        for worker in takers:
            try:
                quell.interrupt(worker, Mine)
                sent += 1
            except LookupError:
                pass
    assert gives.done().error is None
    assert all(worker.done().error is None for worker in takers)
    assert sum(got) + semaphore._value == given


def test_references_stay_flat():
    semaphore = quell.BoundedSemaphore(2)

    def work():
        with semaphore:
            semaphore.acquire(timeout=1)
            semaphore.release(n=1)
        outcome(semaphore.release)
        outcome(semaphore.acquire, False, 1)

    work()
    before = sys.getrefcount(semaphore)
    for _ in range(200):
        work()
    assert sys.getrefcount(semaphore) == before
