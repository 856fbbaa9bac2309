"""After a fork the child's primitives, timeouts and interrupts work."""

import contextlib
import os
import signal
import sys
import threading
import traceback
import warnings

import pytest
import quell
from conftest import STRESS, python


def in_child(function):
    """Run the function in a forked child; fails with what it raised there."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # fork with threads: that is what is tested
        child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(20)
            function()
            status = 0
        except BaseException:
            os.write(writer, traceback.format_exc().encode())
        finally:
            os._exit(status)
    os.close(writer)
    text = b""
    while chunk := os.read(reader, 65536):
        text += chunk
    os.close(reader)
    _, status = os.waitpid(child, 0)
    assert status == 0, text.decode() or f"the child ended with status {status}"


def use_everything():
    with quell.Lock(), quell.RLock():
        pass
    event = quell.Event()
    q = quell.Queue()
    thread = threading.Thread(target=lambda: (q.put(1), event.set()))
    thread.start()
    assert q.get() == 1 and event.wait(10)
    thread.join()
    with pytest.raises(quell.Timeout), quell.timeout(0.01):
        quell.Event().wait()
    with pytest.raises(quell.Timeout), quell.timeout(0.01):
        while True:
            pass
    ready, ended = quell.Event(), []

    def wait_for_ever():
        with quell.mask():
            ready.set()
            try:
                quell.Event().wait()
            except quell.Interrupt:
                ended.append("interrupted")

    thread = threading.Thread(target=wait_for_ever, daemon=True)
    thread.start()
    assert ready.wait(10) and quell.interrupt(thread).wait(10)
    thread.join()
    assert ended == ["interrupted"]


def test_fresh_primitives_work_in_the_child():
    use_everything()
    in_child(use_everything)
    use_everything()


def test_while_other_threads_use_everything(start, fast_switching):
    stop = threading.Event()
    lock, q = quell.Lock(), quell.Queue(1)

    def busy():
        while not stop.is_set():
            with lock:
                pass
            try:
                q.put(1, timeout=0.0001)
            except quell.Full:
                with contextlib.suppress(quell.Empty):
                    q.get(timeout=0.001)
            with quell.timeout(5):
                pass

    workers = [start(busy) for _ in range(3)]
    try:
        for _ in range(10):
            in_child(use_everything)
    finally:
        stop.set()
    for worker in workers:
        assert worker.done().error is None


def test_locks_of_the_forking_thread_are_its_own_in_the_child():
    lock, rlock = quell.Lock(), quell.RLock()
    with lock, rlock:

        def check():
            assert rlock._is_owned() and lock.locked()
            lock.release()
            rlock.release()
            for each in (lock, rlock):
                assert each.acquire(timeout=5)
                each.release()

        in_child(check)


def test_waiters_that_the_child_does_not_have_are_granted_nothing(start):
    lock, rlock = quell.Lock(), quell.RLock()
    with lock, rlock:
        waiters = [start(target) for target in (lock.acquire, rlock.acquire)]
        for waiter in waiters:
            waiter.blocked()

        def check():
            assert rlock._is_owned() and lock.locked()
            lock.release()
            rlock.release()
            for each in (lock, rlock):
                assert each.acquire(timeout=5)
                each.release()

        in_child(check)


def test_queues_with_waiters_work_in_the_child(start):
    q, event, full = quell.Queue(), quell.Event(), quell.Queue(1)
    full.put("old")
    waiters = [start(q.get), start(event.wait), start(lambda: full.put("new"))]
    for waiter in waiters:
        waiter.blocked()

    def check():
        q.put(1)
        assert q.get(timeout=5) == 1
        event.set()
        assert event.wait(5)
        assert full.get(timeout=5) == "old"
        full.put("mine", timeout=5)
        assert full.get(timeout=5) == "mine"

    in_child(check)
    q.put(None)
    event.set()
    full.get()
    for waiter in waiters:
        assert waiter.done().error is None


def test_forks_in_the_middle_of_others_steps_find_queues_whole(start):
    """Threads that begin and end waits all the time change their queues without the interpreter's lock."""
    stop = threading.Event()
    empty, full = quell.Queue(), quell.Queue(1)
    full.put("old")

    def getter():
        while not stop.is_set():
            with contextlib.suppress(quell.Empty):
                empty.get(timeout=1e-9)

    def putter():
        while not stop.is_set():
            with contextlib.suppress(quell.Full):
                full.put("other", timeout=1e-9)

    def check():
        assert full.get(timeout=5) == "old"
        for q in (empty, full):
            q.put("mine", timeout=5)
            assert q.get(timeout=5) == "mine" and q.empty()

    workers = [start(target) for target in (getter, putter) * 2]
    try:
        for _ in range(100 * STRESS):
            in_child(check)
    finally:
        stop.set()
    for worker in workers:
        assert worker.done().error is None
    assert full.get() == "old" and full.empty() and empty.empty()


def test_a_hook_before_the_fork_may_use_a_queue_that_others_wait_for():
    python(
        """
        import os, threading, time

        # Registered before quell's own, so it runs after them.
        os.register_at_fork(before=lambda: (q.put("from the hook"), got.acquire()))
        import quell

        q, got = quell.Queue(), threading.Semaphore(0)

        def getter():
            while q.get() != "end":
                got.release()

        thread = threading.Thread(target=getter)
        thread.start()
        for _ in range(50):
            child = os.fork()
            if not child:
                q.put(1)
                os._exit(0 if q.get(timeout=5) == 1 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        q.put("end")
        thread.join()
    """,
        "-W",
        "ignore",
    )


def test_a_timeout_holds_in_the_child_too():
    with pytest.raises(quell.Timeout), quell.timeout(0.3):

        def check():
            try:
                quell.Event().wait(15)
            except BaseException as error:
                assert type(error).__name__ == "ScopeTimeout"
            else:
                raise AssertionError("nothing was raised in the child")

        in_child(check)
        quell.Event().wait()


def test_masks_and_pending_interrupts_survive():
    with pytest.raises(quell.Interrupt), quell.shield():
        delivery = quell.interrupt(threading.main_thread())

        def check():
            assert delivery.state == "pending" and delivery.withdraw()
            assert quell.Event().wait(0.05) is False

        in_child(check)
        assert delivery.state == "pending"
