"""Lock and RLock do what threading's do."""

import gc
import pickle
import random
import re
import sys
import threading
import weakref

import pytest
import quell
from conftest import outcome

PAIRS = {"Lock": (quell.Lock, threading.Lock), "RLock": (quell.RLock, threading.RLock)}
BOTH = pytest.mark.parametrize(("ours", "theirs"), PAIRS.values(), ids=PAIRS)

ACQUIRES = [
    ((), {}),
    ((True,), {}),
    ((False,), {}),
    ((1,), {}),
    ((0,), {}),
    ((True, -1), {}),
    ((True, -1.0), {}),
    ((False, -1), {}),
    ((True, 0), {}),
    ((True, 0.0), {}),
    ((True, 1), {}),
    ((), {"timeout": 0.5}),
    ((), {"blocking": False}),
    ((), {"blocking": True, "timeout": 2}),
    ((), {"timeout": -1, "blocking": False}),
    ((True,), {"timeout": 3}),
    ((0, 1), {}),
    ((False,), {"timeout": 0}),
    ((False, -2), {}),
    ((True, -2), {}),
    ((True, -0.5), {}),
    ((True, -1e-12), {}),
    ((True, 1e20), {}),
    ((True, float("nan")), {}),
    ((True, float("inf")), {}),
    ((True, threading.TIMEOUT_MAX), {}),
    ((True, threading.TIMEOUT_MAX + 1), {}),
    ((True, None), {}),
    ((True, "1"), {}),
    ((1, 2, 3), {}),
    ((1,), {"blocking": 1}),
    ((), {"foo": 1}),
    ((True, 1), {"timeout": 1}),
]


@BOTH
@pytest.mark.parametrize(("args", "kwargs"), ACQUIRES, ids=str)
def test_acquire_takes_the_same_arguments_and_fails_with_the_same_errors(
    ours, theirs, args, kwargs
):
    mine, other = ours(), theirs()
    assert outcome(mine.acquire, *args, **kwargs) == outcome(other.acquire, *args, **kwargs)
    # And it is acquired or not.
    assert outcome(mine.release) == outcome(other.release)


@BOTH
def test_a_keyword_that_is_not_interned_is_recognised(ours, theirs):
    name = "".join(["time", "out"])
    assert ours().acquire(**{name: 1}) is True


@BOTH
def test_release_of_a_free_lock(ours, theirs):
    assert outcome(ours().release) == outcome(theirs().release)
    assert outcome(ours().__exit__, None, None, None) == outcome(
        theirs().__exit__, None, None, None
    )


@BOTH
def test_with_returns_true_and_releases_on_errors(ours, theirs):
    lock = ours()
    with lock as entered:
        assert entered is True
    with pytest.raises(ZeroDivisionError), lock:
        raise ZeroDivisionError
    assert lock.acquire(False)
    lock.release()


@BOTH
def test_repr(ours, theirs):
    mine, other = ours(), theirs()

    def shape(lock):
        text = repr(lock)
        text = re.sub(r"0x[0-9a-f]+", "ADDRESS", text)
        return text.replace("quell.Lock", "_thread.lock").replace("quell.RLock", "_thread.RLock")

    assert shape(mine) == shape(other)
    mine.acquire()
    other.acquire()
    assert shape(mine) == shape(other)
    mine.release()
    other.release()
    assert shape(mine) == shape(other)
    assert f"{id(mine):#x}" in repr(mine)


@BOTH
def test_weak_references(ours, theirs):
    lock = ours()
    reference = weakref.ref(lock)
    assert reference() is lock
    del lock
    assert reference() is None


@BOTH
def test_pickling_is_refused(ours, theirs):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="cannot pickle 'quell"):
            pickle.dumps(ours(), protocol)


def test_public_names_are_those_of_the_standard_library():
    for ours, theirs in PAIRS.values():
        # A class has `__annotations__` as soon as somebody has asked it for them.
        assert set(dir(theirs())) - {"__annotations__"} <= set(dir(ours()))


def test_lock_cannot_be_subclassed_and_rlock_can():
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Mine", (quell.Lock,), {})

    class Named(quell.RLock):
        def __init__(self, name):
            super().__init__()
            self.name = name

    lock = Named("a")
    with lock, lock:
        assert lock.name == "a" and lock._recursion_count() == 2
    assert "Named object owner=0" in repr(lock)


def test_constructors_take_what_theirs_take():
    with pytest.raises(TypeError):
        quell.Lock(1)
    with pytest.raises(TypeError):
        quell.Lock(x=1)


def test_any_thread_may_release_a_lock(start):
    lock = quell.Lock()
    lock.acquire()
    start(lock.release).done()
    assert not lock.locked()
    with pytest.raises(RuntimeError, match=r"^release unlocked lock$"):
        lock.release()


def test_only_the_owner_may_release_an_rlock(start):
    lock = quell.RLock()
    lock.acquire()
    assert isinstance(start(lock.release).done().error, RuntimeError)
    assert lock._is_owned()
    assert start(lambda: lock.acquire(False)).done().result is False
    assert start(lock._is_owned).done().result is False
    lock.release()
    assert start(lambda: lock.acquire(False)).done().result is True


def test_rlock_release_save_and_restore(start):
    lock = quell.RLock()
    with pytest.raises(RuntimeError):
        lock._release_save()
    for _ in range(3):
        lock.acquire()
    state = lock._release_save()
    assert state == (3, threading.get_ident())
    assert not lock._is_owned()
    assert start(lambda: lock.acquire(False) and lock.release() is None).done().result is True
    lock._acquire_restore(state)
    assert lock._recursion_count() == 3
    for _ in range(3):
        lock.release()
    assert not lock._is_owned()
    with pytest.raises(TypeError):
        lock._acquire_restore()


@BOTH
def test_at_fork_reinit_frees_it(ours, theirs):
    lock = ours()
    lock.acquire()
    lock._at_fork_reinit()
    assert lock.acquire(False)
    lock.release()


@BOTH
def test_threadings_condition_takes_it(ours, theirs, start):
    condition = threading.Condition(ours())
    ready = []

    def consumer():
        with condition:
            while not ready:
                condition.wait()
            return ready.pop()

    workers = [start(consumer) for _ in range(3)]
    for worker in workers:
        worker.blocked()
    for i in range(3):
        with condition:
            ready.append(i)
            condition.notify()
    assert sorted(worker.done().result for worker in workers) == [0, 1, 2]


@BOTH
def test_waits_in_order_of_time_and_times_out(ours, theirs, start):
    lock = ours()
    lock.acquire()
    worker = start(lambda: lock.acquire(timeout=0.05)).done()
    assert worker.result is False
    worker = start(lambda: (lock.acquire(timeout=30), lock.release())[0]).blocked()
    lock.release()
    assert worker.done().result is True


@BOTH
def test_mutual_exclusion_under_contention(ours, theirs, start, fast_switching):
    lock = ours()
    counter = 0

    def count():
        nonlocal counter
        for _ in range(2000):
            with lock:
                value = counter
                counter = value + 1

    for worker in [start(count) for _ in range(4)]:
        assert worker.done().error is None
    assert counter == 8000


@BOTH
def test_a_lock_that_dies_while_held_is_no_hold_any_more(ours, theirs):
    lock = ours()
    lock.acquire()
    del lock
    gc.collect()
    with pytest.raises(quell.Interrupt):
        quell.interrupt(threading.get_ident())
        quell.checkpoint()


@BOTH
def test_enter_and_exit_are_methods_like_any_other(ours, theirs):
    lock = ours()
    enter, leave = lock.__enter__, lock.__exit__
    assert enter.__name__ == "__enter__" and enter.__self__ is lock
    assert ours.__enter__.__doc__ and ours.__exit__.__name__ == "__exit__"
    assert enter() is True
    assert leave(None, None, None) is None
    assert ours.__enter__(lock) is True and ours.__exit__(lock) is None
    for wrong in (lambda: enter(1), lambda: enter(x=1), lambda: ours.__enter__(1), ours.__enter__):
        with pytest.raises(TypeError):
            wrong()
    assert lock.acquire(False)
    lock.release()


def test_bound_methods_in_many_threads_at_once(start, fast_switching):
    locks = [quell.RLock() for _ in range(2)]
    references = [sys.getrefcount(lock) for lock in locks]

    def use():
        for _ in range(20):
            methods = [locks[n % 2].__enter__ for n in range(200)]
            assert all(method.__self__ is locks[n % 2] for n, method in enumerate(methods))
            random.shuffle(methods)
            for method in methods[::20]:
                assert method() is True
                with method.__self__:
                    method.__self__.__exit__(None, None, None)
                    assert method.__self__._is_owned()
                    method()
                method.__self__.release()
            while methods:
                del methods[len(methods) // 2 :]

    for worker in [start(use) for _ in range(3)]:
        assert worker.done().error is None
    assert not any(lock._is_owned() for lock in locks)
    assert [sys.getrefcount(lock) for lock in locks] == references


ENTERED = {
    "Lock": quell.Lock,
    "RLock": quell.RLock,
    "Condition": quell.Condition,
    "Semaphore": quell.Semaphore,
    "BoundedSemaphore": quell.BoundedSemaphore,
}


@pytest.mark.parametrize("make", ENTERED.values(), ids=ENTERED)
@pytest.mark.parametrize("name", ["__enter__", "__exit__"])
def test_a_bound_method_keeps_its_object(make, name):
    thing = make()
    reference = weakref.ref(thing)
    thing.__enter__()
    methods = [getattr(thing, name) for _ in range(3)]
    assert methods[0] == methods[1] == getattr(thing, name) != getattr(make(), name)
    thing.__exit__(None, None, None)
    count = sys.getrefcount(thing)
    del thing
    gc.collect()
    while methods:
        kept = reference()
        assert kept is not None
        assert sys.getrefcount(kept) == count
        with kept:
            pass
        del kept
        methods.pop()
    assert reference() is None


def test_a_subclass_that_refers_to_its_own_method_is_collected():
    class Mine(quell.RLock):
        pass

    lock = Mine()
    lock.enter = lock.__enter__
    reference = weakref.ref(lock)
    with lock:
        assert lock.enter()
        lock.release()
    del lock
    gc.collect()
    assert reference() is None
