"""quell.patch: locks and queues that are waited for in patched calls and in original ones, at the same time or one after the other."""

import contextlib
import queue
import threading
from functools import partial

import pytest
import quell
from conftest import PATIENCE, STRESS, blocked, python
from patch_cases import Stop, interrupted

LOCKS = [threading.Lock, threading.RLock]


@pytest.fixture(autouse=True)
def unpatched():
    """Every test begins and ends with nothing replaced."""
    quell.unpatch()
    yield
    quell.unpatch()


def held(make):
    """A lock that the calling thread holds."""
    lock = make()
    lock.acquire()
    return lock


def use(lock):
    with lock:
        return "used"


@pytest.mark.parametrize("make", LOCKS)
@pytest.mark.parametrize("timeout", [-1, PATIENCE * 10])
def test_who_waits_for_a_lock_when_it_is_undone_gets_it(make, timeout, start):
    lock = held(make)

    def acquire():
        answer = lock.acquire(timeout=timeout)
        lock.release()
        return answer

    with quell.patch():
        waits = start(acquire).blocked()
    blocked(waits)  # in the original
    lock.release()
    assert waits.done().result is True
    assert lock.acquire(blocking=False)


@pytest.mark.parametrize("make", LOCKS)
def test_who_waits_for_a_lock_when_it_is_undone_waits_as_long_as_it_would(make, start):
    lock = held(make)
    with quell.patch():
        waits = start(lambda: lock.acquire(timeout=0.1)).blocked()
    assert waits.done().result is False


@pytest.mark.parametrize("timeout", [None, PATIENCE * 10])
def test_who_waits_for_an_item_when_it_is_undone_gets_it(timeout, start):
    items = queue.SimpleQueue()
    with quell.patch():
        waits = [start(lambda: items.get(timeout=timeout)).blocked() for _ in range(2)]
    for waiter in waits:
        blocked(waiter)
    items.put("item")
    items.put("item")
    assert [w.done().result for w in waits] == ["item", "item"]


@pytest.mark.parametrize("make", LOCKS)
def test_who_waits_since_before_it_was_patched_gets_it(make, start):
    lock = held(make)
    before = start(lambda: use(lock)).blocked()
    with quell.patch():
        after = start(lambda: use(lock)).blocked()
        leaves = start(lambda: use(lock)).blocked()
        interrupted(leaves)
        lock.release()
        assert [before.done().result, after.done().result] == ["used", "used"]
    assert lock.acquire(blocking=False)


@pytest.mark.parametrize("make", LOCKS)
def test_who_takes_a_lock_again_at_once_keeps_nobody_out(make, start):
    lock, over = make(), threading.Event()

    def greedy():
        while not over.is_set():
            with lock:
                sum(range(100))

    def modest():
        for _ in range(20):
            assert use(lock) == "used"

    with quell.patch():
        others = [start(greedy) for _ in range(2)]
        start(modest).done()
        over.set()
        assert not any(other.done().error for other in others)
    assert lock.acquire(blocking=False)


def test_a_recursive_lock_is_whose_it_says(start):
    """Whoever it comes from: released, or given by a thread that takes it again at once."""
    lock, over = threading.RLock(), threading.Event()

    def twice():
        while not over.is_set():
            with lock, lock:
                assert lock._is_owned()

    def once():
        for _ in range(20):
            lock.acquire()
            assert lock._is_owned()
            lock.release()
            assert not lock._is_owned()

    with quell.patch():
        other = start(twice)
        assert start(once).done().error is None
        over.set()
        assert other.done().error is None
    assert lock.acquire(blocking=False)


def test_errors_of_a_release_are_the_original_s_while_somebody_waits(start):
    lock, recursive = held(threading.Lock), held(threading.RLock)
    with quell.patch():
        waits = [start(partial(use, lock)).blocked(), start(partial(use, recursive)).blocked()]
        with pytest.raises(RuntimeError, match="release unlocked lock"):
            threading.Lock().release()
        for wrong in (recursive.release, recursive.__exit__):
            error = start(wrong).done().error
            assert isinstance(error, RuntimeError), error
            assert "un-acquired lock" in str(error)
        assert recursive._is_owned()
        lock.release()
        recursive.release()
        assert [w.done().result for w in waits] == ["used", "used"]


def test_the_main_thread_and_others_take_turns():
    """The main thread waits in the original, the others do not; one of them is interrupted all the time."""
    text = python(
        f"""
        import contextlib, quell, sys, threading
        class Stop(BaseException): pass
        sys.setswitchinterval(1e-5)
        quell.patch()
        for make in (threading.Lock, threading.RLock, threading.Condition):
            lock, counts, taken = make(), [0], [0]
            def add(rounds=1):
                for _ in range(rounds):
                    with lock:
                        counts[0] += 1
            def interrupted():
                # Where it blocks; what is left at the end of the mask.
                with contextlib.suppress(Stop), quell.mask():
                    masked.set()
                    while not over.is_set():
                        with contextlib.suppress(Stop):
                            add()
                            taken[0] += 1
            over, masked = threading.Event(), threading.Event()
            others = [threading.Thread(target=add, args=[{2000 * STRESS}]) for _ in range(2)]
            prey = threading.Thread(target=interrupted)
            for thread in (*others, prey): thread.start()
            masked.wait()
            for _ in range(50):
                add({40 * STRESS})
                quell.interrupt(prey, Stop).wait(0.001)
            for thread in others: thread.join()
            over.set()
            prey.join(30)
            assert not prey.is_alive()
            assert counts[0] == {2 * 2000 * STRESS} + 50 * {40 * STRESS} + taken[0], (counts, taken)
            assert lock.acquire(False)
        print("right")
        """
    )
    assert text.stdout == "right\n"


def test_a_lock_that_was_interrupted_is_whole(start):
    """As often as it is interrupted, it is released once for each who has it."""
    lock = held(threading.Lock)

    def interrupt(worker):
        with contextlib.suppress(LookupError):
            quell.interrupt(worker, Stop)

    with quell.patch():
        for _ in range(50 * STRESS):
            worker = start(lambda: use(lock)).blocked()
            racing = threading.Thread(target=interrupt, args=[worker])
            racing.start()
            lock.release()
            racing.join()
            worker.done()
            assert worker.result == "used" or isinstance(worker.error, Stop)
            assert lock.acquire(timeout=PATIENCE)
