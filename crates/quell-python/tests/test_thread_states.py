"""Thread states that are not a thread's for good: swapped by a native library, made for a call into Python, another interpreter's.

Who holds a lock is known by the thread state, so each of these would be seen as a lock of somebody else's.
"""

import ctypes
import sys
import threading

import pytest
import quell
from conftest import compiled, python


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return compiled("thread_states.c", tmp_path_factory.mktemp("library"))


@pytest.fixture
def in_another_state(library):
    if sys.flags.dev_mode and sys.version_info < (3, 12):
        pytest.skip("with -X dev, CPython 3.11 ends where any other state of a thread's allocates")
    function = ctypes.PyDLL(str(library)).in_another_state
    function.argtypes = [ctypes.py_object]
    function.restype = ctypes.py_object
    return function


def is_ours(lock):
    """Whether the lock is held by the state that asks."""
    return lock._is_owned()


def test_a_lock_is_held_by_the_state_that_acquired_it(in_another_state):
    outer, inner = quell.RLock(), quell.RLock()

    def called():
        with inner:
            return is_ours(outer), is_ours(inner), outer.acquire(blocking=False)

    with outer:
        assert in_another_state(called) == (False, True, False)
        assert is_ours(outer)
        assert not is_ours(inner)
    assert outer.acquire(blocking=False)
    assert inner.acquire(blocking=False)


def test_a_condition_and_a_queue_in_another_state(in_another_state):
    condition, queue = quell.Condition(), quell.Queue()

    def called():
        with condition:
            condition.notify()
            queue.put("item")
        with pytest.raises(RuntimeError, match="un-acquired"):
            condition.notify()
        return queue.get()

    for _ in range(3):
        assert in_another_state(called) == "item"
        with condition:
            condition.notify()


def test_threads_that_python_did_not_start(library):
    """Each call makes a state for the thread, and another one the next time."""
    call = ctypes.CFUNCTYPE(None)
    create = ctypes.CDLL(None).pthread_create
    join = ctypes.CDLL(None).pthread_join
    seen, lock = [], quell.RLock()

    @call
    def called():
        with lock:
            seen.append((is_ours(lock), threading.get_ident()))

    for _ in range(5):
        thread = ctypes.c_ulong()
        with lock:
            assert create(ctypes.byref(thread), None, called, None) == 0
            assert is_ours(lock)
        join(thread, None)
        assert not is_ours(lock)
    assert [ours for ours, _ in seen] == [True] * 5


@pytest.mark.parametrize("isolated", [False, True], ids=["shared", "own"])
def test_after_another_interpreter_ran_in_the_thread(isolated):
    kind = repr("isolated" if isolated else "legacy")
    python(
        f"""
    import sys, threading, quell
    if sys.version_info >= (3, 13):
        import _interpreters as interpreters
        other = interpreters.create({kind})
        run = interpreters.exec
    else:
        import _xxsubinterpreters as interpreters
        other = interpreters.create(isolated={isolated})
        run = interpreters.run_string
    condition = quell.Condition()
    with condition:
        for _ in range(3):
            run(other, "pass")
            assert condition._is_owned()
            condition.notify()
            beside = threading.Thread(target=run, args=(other, "pass"))
            beside.start()
            beside.join()
            assert condition._is_owned()
            condition.notify()
    assert not condition._is_owned()
    interpreters.destroy(other)
    """
    )
