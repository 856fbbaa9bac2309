"""Condition does what threading's does, with any lock; no notification is lost, and a wait has its lock when it ends."""

import gc
import pickle
import re
import sys
import threading
import time
import weakref

import pytest
import quell
from conftest import PATIENCE, STRESS, blocked, outcome, spin_until


class Mine(BaseException):
    pass


class Foreign:
    """A lock that has no more than it must."""

    def __init__(self):
        self._lock = threading.Lock()

    def acquire(self, *args, **kwargs):
        return self._lock.acquire(*args, **kwargs)

    def release(self):
        self._lock.release()

    if sys.version_info >= (3, 14):

        def locked(self):
            return self._lock.locked()

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *exc_info):
        self.release()


class Derived(quell.RLock):
    pass


LOCKS = {
    "quell.Lock": quell.Lock,
    "quell.RLock": quell.RLock,
    "threading.Lock": threading.Lock,
    "threading.RLock": threading.RLock,
    "threading._PyRLock": threading._PyRLock,
    "foreign": Foreign,
    "derived": Derived,
}
ANY = pytest.mark.parametrize("make", LOCKS.values(), ids=LOCKS)


def test_the_constructor(start):
    assert isinstance(quell.Condition()._lock, quell.RLock)
    lock = quell.Lock()
    assert quell.Condition(lock)._lock is lock is quell.Condition(lock=lock)._lock
    for wrong in (1, "lock", object()):
        assert outcome(quell.Condition, wrong) == outcome(threading.Condition, wrong)

    class Late(quell.Condition):
        def __init__(self):
            pass

    for use in (lambda: Late().acquire(), lambda: Late().__enter__(), lambda: repr(Late())):
        with pytest.raises(RuntimeError, match=r"Condition\.__init__\(\) was not called"):
            use()


@ANY
def test_errors_of_who_does_not_hold_the_lock(make):
    mine, other = quell.Condition(make()), threading.Condition(make())
    for use in (
        lambda c: c.wait(),
        lambda c: c.wait(0),
        lambda c: c.notify(),
        lambda c: c.notify_all(),
        lambda c: c.wait_for(lambda: False),
    ):
        assert outcome(use, mine) == outcome(use, other)
        assert isinstance(outcome(use, mine), tuple)


@ANY
def test_it_is_its_lock(make):
    lock = make()
    condition = quell.Condition(lock)
    assert condition.acquire() and condition._is_owned()
    condition.notify(0)
    condition.release()
    assert condition.acquire(False) is True
    condition.release()
    with condition as entered:
        assert entered is True and condition._is_owned()
        state = condition._release_save()
        assert lock.acquire(False)
        lock.release()
        condition._acquire_restore(state)
        assert condition._is_owned()
    with pytest.raises(ZeroDivisionError), condition:
        raise ZeroDivisionError
    assert lock.acquire(blocking=False, timeout=-1)
    lock.release()
    assert isinstance(outcome(condition.release), tuple)


@ANY
def test_timeouts(make):
    condition = quell.Condition(make())
    with condition:
        for timeout in (0, -1, 0.0, 0.01):
            begin = time.monotonic()
            assert condition.wait(timeout) is False
            assert condition._is_owned() and time.monotonic() - begin >= min(timeout, 0.01)
        assert condition.wait(timeout=0) is False
        for timeout in (0, -1, 0.01):
            assert condition.wait_for(list, timeout) == []
            assert condition.wait_for(lambda: 7, timeout=timeout) == 7
        with pytest.raises(TypeError):
            condition.wait("1")
        with pytest.raises(OverflowError):
            condition.wait(1e20)
        assert condition._is_owned()


@ANY
def test_who_waited_longest_is_notified_first(make, start):
    condition, order = quell.Condition(make()), []

    def waiter(i):
        with condition:
            assert condition.wait() is True
            order.append(i)

    workers = [start(lambda i=i: waiter(i)).blocked() for i in range(6)]
    for i, n in ((0, 1), (1, 2), (3, 0), (3, -1)):
        with condition:
            condition.notify(n)
        spin_until(lambda i=i, n=n: len(order) == i + max(n, 0))
    assert order[0] == 0 and sorted(order) == [0, 1, 2]
    with condition:
        condition.notify(n=100)
        assert repr(condition).endswith(", 0)>")
    for worker in workers:
        assert worker.done().error is None


@ANY
def test_notify_all_and_wait_for(make, start):
    condition, state = quell.Condition(make()), [0]

    def waiter(wanted):
        with condition:
            return condition.wait_for(lambda: state[0] == wanted and f"saw {wanted}", PATIENCE)

    workers = [start(lambda i=i: waiter(i)).blocked() for i in (1, 2, 2)]
    for number in (1, 2):
        with condition:
            state[0] = number
            condition.notify_all()
        for worker in workers[:1] if number == 1 else workers[1:]:
            assert worker.done().result == f"saw {number}"


def test_an_rlock_is_given_up_whole_and_taken_back_as_often(start):
    for make in (quell.RLock, threading.RLock):
        condition = quell.Condition(make())

        def waiter(condition=condition):
            with condition, condition, condition:
                condition.wait()
                for _ in range(2):
                    condition.release()
                    assert condition._is_owned()
                condition.acquire()
                condition.acquire()

        worker = start(waiter).blocked()
        with condition:
            condition.notify()
        assert worker.done().error is None
        assert start(lambda condition=condition: condition.acquire(False)).done().result is True


def test_overridden_methods_are_called():
    calls = []

    class Mine(quell.Condition):
        def wait(self, timeout=None):
            calls.append(("wait", timeout))
            return super().wait(timeout)

        def notify(self, n=1):
            calls.append(("notify", n))
            super().notify(n)

    condition = Mine()
    with condition:
        condition.wait_for(lambda: False, 0)
        condition.wait_for(lambda: len(calls) > 1, 0.5)
        condition.notify_all()
        with pytest.warns(DeprecationWarning, match="use notify_all"):
            condition.notifyAll()
    assert calls == [("wait", 0), ("wait", 0.5), ("notify", 0), ("notify", 0)]


def test_repr_names_pickling_and_weak_references():
    def shape(condition):
        return re.sub(r"0x[0-9a-f]+", "ADDRESS", repr(condition))

    lock = threading.Lock()
    assert shape(quell.Condition(lock)) == shape(threading.Condition(lock))
    theirs = {name for name in dir(threading.Condition) if not name.startswith("__")}
    assert theirs <= set(dir(quell.Condition))
    condition = quell.Condition()
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(condition)
    reference = weakref.ref(condition)
    del condition
    assert reference() is None


def test_the_collector_sees_the_lock():
    class Owner(Foreign):
        pass

    lock = Owner()
    lock.condition = quell.Condition(lock)
    reference = weakref.ref(lock)
    del lock
    gc.collect()
    assert reference() is None


def test_one_that_is_given_another_lock_uses_that():
    def is_locked(lock):
        return repr(lock).startswith("<locked ")

    kinds = [quell.Lock, quell.RLock, threading.Lock]
    condition = quell.Condition(quell.Lock())
    for kind in kinds + kinds[::-1]:
        old, new = condition._lock, kind()
        condition.__init__(new)
        with condition:
            assert is_locked(new) and not is_locked(old)
            condition.notify()
        assert not is_locked(new)
        with new:
            condition.notify()
        with pytest.raises(RuntimeError, match="un-acquired"):
            condition.notify()


@pytest.mark.parametrize("make", [quell.Lock, quell.RLock])
def test_the_lock_is_kept_while_it_is_waited_for(make, start):
    lock = make()
    condition = quell.Condition(lock)
    lock.acquire()

    worker = start(condition.__enter__).blocked()
    condition.__init__(quell.RLock())
    there = weakref.ref(lock)
    del lock
    assert there() is not None
    there().release()
    assert worker.done().error is None
    spin_until(lambda: there() is None)


def test_at_fork_reinit():
    condition = quell.Condition()
    condition.acquire()
    condition._at_fork_reinit()
    assert not condition._is_owned() and condition.acquire(False)
    condition.release()


# ---- interrupts


@ANY
def test_a_notification_that_competes_with_an_interrupt_is_passed_on(make, start, fast_switching):
    # Two wait; the first is interrupted and notified at the same time. If it raises, the second was notified in its place.
    for _ in range(200 * STRESS):
        condition, ended = quell.Condition(make()), {}

        def waiter(name, condition=condition, ended=ended):
            try:
                with condition:
                    ended[name] = condition.wait()
            except Mine:
                # After a wait that ended well it may come at any moment.
                ended.setdefault(name, "raised")

        first = start(lambda w=waiter: w("first"))
        spin_until(lambda c=condition: in_wait(c, 1))
        second = start(lambda w=waiter: w("second"))
        spin_until(lambda c=condition: in_wait(c, 2))
        with condition:
            quell.interrupt(first, Mine)
            condition.notify()
        first.done()
        if ended["first"] is True:
            with condition:
                condition.notify()
        second.done()
        assert ended["second"] is True and is_free(condition)


def is_free(condition):
    """Whether nobody has its lock."""
    free = condition.acquire(False)
    if free:
        condition.release()
    return free


def in_wait(condition, count):
    return repr(condition).endswith(f", {count})>")


@ANY
def test_no_item_and_no_notification_is_lost(make, start, fast_switching):
    # One notification for each item; interrupts fly at those who wait. A lost one would leave an item and a sleeper.
    count = 3000 * STRESS
    condition, items, got = quell.Condition(make()), [], []
    done, masked = threading.Event(), threading.Barrier(3)

    def consumer():
        with quell.mask():
            masked.wait(PATIENCE)
            while True:
                try:
                    with condition:
                        while not items:
                            condition.wait()
                        item = items.pop(0)
                        if item is None:
                            return
                        got.append(item)
                except Mine:
                    pass

    consumers = [start(consumer) for _ in range(2)]

    def producer():
        for i in range(count):
            with condition:
                items.append(i)
                condition.notify()
            while items:
                time.sleep(0)
        done.set()

    start(producer)
    masked.wait(PATIENCE)
    sent = 0
    while not done.is_set():
        for worker in consumers:
            quell.interrupt(worker, Mine)
            sent += 1
        time.sleep(0)
    with condition:
        items.extend([None, None])
        condition.notify_all()
    for worker in consumers:
        worker.done()
        assert worker.error is None or isinstance(worker.error, Mine)
    assert got == list(range(count)) and sent > 100


def test_a_wait_that_follows_a_wait_in_the_same_with_statement_can_be_interrupted(start):
    # The hold that a wait brings back is that of the `with` statement.
    condition, q = quell.Condition(quell.Lock()), quell.Queue()

    def body():
        with condition:
            condition.wait()
            q.get()

    worker = start(body).blocked()
    with condition:
        condition.notify()
    spin_until(lambda: repr(condition).startswith("<Condition(<locked"))
    delivery = quell.interrupt(worker.blocked(), Mine)
    assert isinstance(worker.done().error, Mine)
    assert delivery.state == "delivered" and is_free(condition)


def test_a_signal_handler_that_raises_while_a_standard_lock_is_taken_back():
    import signal

    lock = threading.Lock()
    condition = quell.Condition(lock)
    main = threading.main_thread()
    waiting = threading.Event()

    def other():
        waiting.wait(PATIENCE)
        with lock:
            spin_until(lambda: in_wait(condition, 1))
            # The time-out passes; the main thread wants its lock back.
            spin_until(lambda: in_wait(condition, 0))
            blocked(main)
            signal.pthread_kill(main.ident, signal.SIGUSR1)
            spin_until(lambda: handled)

    handled = []

    def handler(number, frame):
        handled.append(number)
        raise Mine

    old = signal.signal(signal.SIGUSR1, handler)
    thread = threading.Thread(target=other)
    thread.start()
    try:
        lock.acquire()
        with pytest.raises(Mine):
            waiting.set()
            condition.wait(0.05)
        assert handled and lock.locked() and not lock.acquire(False)
        lock.release()
    finally:
        signal.signal(signal.SIGUSR1, old)
        thread.join()


def test_references_stay_flat():
    condition = quell.Condition()
    lock = condition._lock

    def work():
        with condition:
            condition.notify()
            condition.notify(n=2)
            condition.wait(0)
            condition.wait_for(lambda: False, 0)
        condition.acquire(timeout=1)
        condition.release()
        outcome(condition.wait)
        repr(condition)

    work()
    before = sys.getrefcount(condition), sys.getrefcount(lock)
    for _ in range(200):
        work()
    assert (sys.getrefcount(condition), sys.getrefcount(lock)) == before
