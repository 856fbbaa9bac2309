"""Interrupts: sending, what becomes of them, and what they never do to the primitives."""

import _thread
import collections
import contextlib
import gc
import signal
import sys
import threading
import time
import weakref

import pytest
import quell
from conftest import PATIENCE, STRESS, disturb, spin_until


class Mine(Exception):
    pass


def waits():
    """One of each wait of the package, as (name, prepare); prepare() returns the wait and a check that it did nothing."""

    def lock(make):
        def prepare():
            lock = make()
            holder = threading.Thread(target=lock.acquire)
            holder.start()
            holder.join()

            def untouched():
                assert not lock.acquire(False)
                assert "count=1" in repr(lock) or make is quell.Lock

            return lock.acquire, untouched

        return prepare

    def held_by_with():
        wait, untouched = lock(quell.Lock)()

        def block():
            with wait.__self__:
                pytest.fail("entered")

        return block, untouched

    def condition(make):
        def prepare():
            condition = quell.Condition(make())

            def block():
                with condition:
                    try:
                        condition.wait()
                    finally:
                        # Held again, as often as before.
                        condition.notify()
                        state = condition._release_save()
                        assert condition.acquire(False)
                        condition.release()
                        condition._acquire_restore(state)

            def untouched():
                assert repr(condition).endswith(", 0)>")
                assert condition.acquire(False)
                condition.release()

            return block, untouched

        return prepare

    def semaphore(make, method):
        def prepare():
            semaphore = make(1)
            semaphore.acquire()

            def block():
                getattr(semaphore, method)()

            def untouched():
                assert not semaphore.acquire(False)
                semaphore.release()
                assert semaphore._value == 1

            return block, untouched

        return prepare

    def event():
        event = quell.Event()
        return event.wait, lambda: None

    def barrier():
        barrier = quell.Barrier(2)

        def untouched():
            # The others would wait for it in vain.
            assert barrier.broken and barrier.n_waiting == 0
            with pytest.raises(threading.BrokenBarrierError):
                barrier.wait()

        return barrier.wait, untouched

    def get():
        q = quell.Queue()

        def untouched():
            q.put("item")
            assert q.get_nowait() == "item"

        return q.get, untouched

    def put():
        q = quell.Queue(1)
        q.put("first")

        def untouched():
            assert q.qsize() == 1 and q.unfinished_tasks == 1 and q.get_nowait() == "first"

        return lambda: q.put("second"), untouched

    def join():
        q = quell.Queue()
        q.put(1)
        return q.join, lambda: None

    def receipt():
        stop = threading.Event()
        other = threading.Thread(target=stop.wait, daemon=True)
        other.start()
        delivery = quell.interrupt(other)

        def untouched():
            assert delivery.state == "pending"
            delivery.withdraw()
            stop.set()

        return delivery.wait, untouched

    return {
        "Lock.acquire": lock(quell.Lock),
        "RLock.acquire": lock(quell.RLock),
        "with Lock": held_by_with,
        "Condition(Lock).wait": condition(quell.Lock),
        "Condition(RLock).wait": condition(quell.RLock),
        "Condition(threading.Lock).wait": condition(threading.Lock),
        "Condition(threading.RLock).wait": condition(threading.RLock),
        "Semaphore.acquire": semaphore(quell.Semaphore, "acquire"),
        "BoundedSemaphore.acquire": semaphore(quell.BoundedSemaphore, "acquire"),
        "with Semaphore": semaphore(quell.Semaphore, "__enter__"),
        "Event.wait": event,
        "Barrier.wait": barrier,
        "Queue.get": get,
        "Queue.put": put,
        "Queue.join": join,
        "Delivery.wait": receipt,
    }


WAITS = pytest.mark.parametrize("prepare", waits().values(), ids=waits())


@WAITS
def test_a_blocked_thread_is_woken_and_raises_and_the_wait_had_no_effect(prepare, start):
    wait, untouched = prepare()
    worker = start(wait).blocked()
    error = Mine("now")
    delivery = quell.interrupt(worker, error)
    assert worker.done().error is error
    assert delivery.state == "delivered" and delivery.wait(0)
    untouched()


@WAITS
def test_what_was_pending_before_ends_the_wait_at_once(prepare, start):
    wait, untouched = prepare()
    ready, go = threading.Event(), threading.Event()

    def body():
        with quell.mask():
            ready.set()
            spin_until(go.is_set)
            wait()

    worker = start(body)
    ready.wait(PATIENCE)
    receipt = quell.interrupt(worker, Mine)
    go.set()
    assert isinstance(worker.done().error, Mine)
    assert receipt.state == "delivered"
    untouched()


@WAITS
def test_in_the_main_thread_signal_handlers_run_during_the_wait_and_may_raise(prepare):
    wait, untouched = prepare()
    handled = []

    def handler(number, frame):
        handled.append(number)
        if len(handled) == 3:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise Mine

    old = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        with pytest.raises(Mine):
            wait()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert len(handled) == 3
    untouched()


def test_a_signal_handler_does_not_lengthen_a_timeout():
    old = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        begin = time.monotonic()
        assert quell.Event().wait(0.2) is False
        assert 0.2 <= time.monotonic() - begin < 5
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def test_keyboard_interrupt_ends_a_wait_of_the_main_thread():
    me = threading.main_thread()
    sender = threading.Timer(0.05, lambda: signal.pthread_kill(me.ident, signal.SIGINT))
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        quell.Queue().get()
    sender.join()


def test_interrupt_main(start):
    with pytest.raises(KeyboardInterrupt):
        start(quell.interrupt_main)
        quell.Event().wait()
    error = Mine()
    with pytest.raises(Mine) as caught:
        start(lambda: quell.interrupt_main(error))
        quell.Event().wait()
    assert caught.value is error


def test_interrupts_are_raised_in_the_order_they_were_sent(start):
    got = []
    ready, go = threading.Event(), threading.Event()

    def body():
        with quell.mask():
            ready.set()
            spin_until(go.is_set)
            for _ in range(20):
                try:
                    quell.Event().wait()
                except Mine as error:
                    got.append(error.args[0])

    worker = start(body)
    ready.wait(PATIENCE)
    receipts = [quell.interrupt(worker, Mine(i)) for i in range(20)]
    assert all(receipt.state == "pending" for receipt in receipts)
    go.set()
    assert worker.done().error is None
    assert got == list(range(20))
    assert all(receipt.state == "delivered" for receipt in receipts)


def test_receipts(start):
    event = quell.Event()
    worker = start(event.wait).blocked()
    receipt = quell.interrupt(worker)
    assert receipt.wait() is True
    assert receipt.state == "delivered" and not receipt.withdraw()
    assert repr(receipt) == "<quell.Delivery: delivered>"
    assert isinstance(worker.done().error, quell.Interrupt)


def test_a_withdrawn_interrupt_is_never_raised(start):
    lock = threading.Lock()
    lock.acquire()
    worker = start(lambda: lock.acquire() and "finished").blocked()
    receipt = quell.interrupt(worker)
    assert receipt.state == "pending" and receipt.wait(0.01) is False
    assert receipt.withdraw() is True and receipt.state == "withdrawn"
    assert not receipt.withdraw()
    lock.release()
    assert worker.done().result == "finished"


def test_target_exited(start):
    ready, go = threading.Event(), threading.Event()

    def body():
        quell.shield().__enter__()  # and never left
        ready.set()
        spin_until(go.is_set)

    worker = start(body)
    ready.wait(PATIENCE)
    receipt = quell.interrupt(worker)
    go.set()
    assert worker.done().error is None
    assert receipt.wait(PATIENCE)
    assert receipt.state == "target exited" and not receipt.withdraw()


def test_bad_threads(start):
    never = threading.Thread(target=print)
    with pytest.raises(RuntimeError, match="has not been started"):
        quell.interrupt(never)
    ended = start(lambda: None).done()
    with pytest.raises(LookupError, match="has ended"):
        quell.interrupt(ended)
    for ident in (1, 2**63, -1, 2**70):
        with pytest.raises(LookupError, match="no running Python thread"):
            quell.interrupt(ident)
    for wrong in ("MainThread", None, 1.5, object()):
        with pytest.raises(TypeError, match=r"threading\.Thread or its ident"):
            quell.interrupt(wrong)


@pytest.mark.parametrize("wrong", [1, "x", int, object(), [ValueError], True])
def test_what_is_no_exception_is_refused(wrong):
    with pytest.raises(TypeError, match="must be an exception class or instance, not"):
        quell.interrupt(threading.get_ident(), wrong)
    with pytest.raises(TypeError, match="must be an exception class or instance, not"):
        quell.interrupt_main(wrong)
    with pytest.raises(TypeError, match="must be an exception class or instance, not"):
        quell.set_async_exc(threading.get_ident(), wrong)
    with pytest.raises(TypeError, match="must be an exception class or instance, not"):
        quell.set_async_exc(1, wrong)


def test_a_thread_object_is_never_taken_for_a_later_thread_with_its_ident(start):
    first = start(lambda: None).done()
    event = quell.Event()
    later = []
    while first.ident not in [worker.ident for worker in later] and len(later) < 50:
        later.append(start(event.wait))
    with pytest.raises(LookupError):
        quell.interrupt(first)
    event.set()
    assert all(worker.done().error is None for worker in later)


def test_a_thread_that_is_being_started_can_be_interrupted(start, monkeypatch):
    # `start()` returns a moment before the thread is in threading's table. What is pending then is raised in run().
    starting, held, release, raised = threading.Event(), threading.Event(), threading.Event(), []

    class Starting(threading.Thread):
        def _set_native_id(self):
            super()._set_native_id()
            starting.set()
            held.wait(PATIENCE)

    def hold_the_table():
        starting.wait(PATIENCE)
        with threading._active_limbo_lock:
            held.set()
            release.wait(PATIENCE)

    monkeypatch.setattr(threading, "excepthook", lambda told: raised.append(told.exc_type))
    worker = Starting(target=lambda: [None for _ in iter(int, 1)])
    holder = start(hold_the_table)
    worker.start()
    assert worker.ident not in threading._active
    receipt = quell.interrupt(worker, Mine)
    release.set()
    holder.done()
    worker.join(PATIENCE)
    assert not worker.is_alive() and receipt.state == "delivered"
    assert raised == [Mine]
    assert worker not in threading._limbo and worker not in threading.enumerate()


def test_a_thread_is_interrupted_as_it_starts_and_as_it_ends(monkeypatch, capfd):
    told = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_type))
    before, states = set(threading.enumerate()), collections.Counter()
    for round_ in range(1000 * STRESS):
        worker = threading.Thread(target=lambda: None)
        worker.start()
        receipts = []
        with contextlib.suppress(LookupError):
            for _ in range(round_ % 4):
                receipts.append(quell.interrupt(worker, Mine))
        worker.join(PATIENCE)
        assert all(receipt.wait(PATIENCE) for receipt in receipts)
        states.update(receipt.state for receipt in receipts)
    assert set(told) <= {Mine} and len(told) <= states["delivered"]
    assert set(threading.enumerate()) <= before and not threading._limbo
    assert capfd.readouterr().err == ""


def test_who_starts_threads_is_interrupted_and_not_they(start, fast_switching):
    """CPython 3.11 gives a new thread its starter's ident until it begins."""
    begun, started, before = [], 0, set(threading.enumerate())

    def starts(goes_on):
        nonlocal started
        while goes_on():
            started += 1
            # Of the module _thread: nothing of a thread object runs in it, and nothing catches what is raised.
            with quell.shield():
                _thread.start_new_thread(begun.append, (started,))

    worker = disturb(start, starts, lambda: started, Mine, 300 * STRESS)
    spin_until(lambda: len(begun) == started)
    assert sorted(begun) == list(range(1, started + 1))
    assert set(threading.enumerate()) <= before | {worker}


def test_set_async_exc(start):
    event = quell.Event()
    worker = start(event.wait).blocked()
    assert quell.set_async_exc(1, Mine) == 0 and quell.set_async_exc(1, None) == 0
    assert quell.set_async_exc(worker.ident, Mine) == 1
    assert isinstance(worker.done().error, Mine)
    lock = threading.Lock()
    lock.acquire()
    worker = start(lambda: lock.acquire() and "finished").blocked()
    for _ in range(3):
        assert quell.set_async_exc(worker.ident, Mine) == 1
    assert quell.set_async_exc(worker.ident, None) == 1
    lock.release()
    assert worker.done().result == "finished"


def test_an_exception_that_cannot_be_made_fails_at_the_sender():
    class Picky(Exception):
        def __init__(self, needed):
            pass

    with pytest.raises(TypeError, match="needed"):
        quell.interrupt(threading.get_ident(), Picky)


def test_while_nothing_would_release_the_lock_the_interrupt_waits_for_the_release(start):
    for make in (quell.Lock, quell.RLock):
        lock = make()
        inside, go = threading.Event(), threading.Event()
        seen = []

        def body(lock=lock, inside=inside, go=go, seen=seen):
            try:
                lock.acquire()
                lock.acquire(False)
                inside.set()
                spin_until(go.is_set)
                seen.append("still inside")
                if lock.acquire(False):  # an RLock: the inner releases do not deliver
                    lock.release()
                    lock.release()
                    seen.append("outer hold left")
                lock.release()
                seen.append("not reached")
            except Mine:
                seen.append("raised")
                # Free when it is raised.
                seen.append(lock.acquire(False))

        worker = start(body)
        inside.wait(PATIENCE)
        receipt = quell.interrupt(worker, Mine)
        assert not receipt.wait(0.02) and receipt.state == "pending"
        go.set()
        worker.done()
        assert receipt.state == "delivered"
        outer = ["outer hold left"] if make is quell.RLock else []
        assert seen == ["still inside", *outer, "raised", True]


def test_only_the_release_of_the_last_lock_delivers(start):
    first, second = quell.Lock(), quell.Lock()
    inside, go, log = threading.Event(), threading.Event(), []

    def body():
        first.acquire()
        second.acquire()
        inside.set()
        spin_until(go.is_set)
        first.release()
        log.append("first released")
        second.release()
        log.append("not reached")

    worker = start(body)
    inside.wait(PATIENCE)
    quell.interrupt(worker, Mine)
    go.set()
    assert isinstance(worker.done().error, Mine)
    assert log == ["first released"]
    assert not first.locked() and not second.locked()


def test_an_exception_in_flight_becomes_the_context(start):
    lock, inside, go = quell.Lock(), threading.Event(), threading.Event()

    # Acquired by a function, so that nothing is raised before the release.
    def acquire():
        lock.acquire()

    def exit_stack():
        with contextlib.ExitStack() as stack:
            stack.enter_context(lock)
            inside.set()
            spin_until(go.is_set)
            raise KeyError("in flight")

    def try_statement():
        acquire()
        try:
            inside.set()
            spin_until(go.is_set)
            raise KeyError("in flight")
        finally:
            lock.release()

    for body in (exit_stack, try_statement):
        inside.clear()
        go.clear()
        worker = start(body)
        inside.wait(PATIENCE)
        quell.interrupt(worker, Mine)
        go.set()
        error = worker.done().error
        assert isinstance(error, Mine)
        assert isinstance(error.__context__, KeyError)
        assert not lock.locked()


def test_an_acquire_with_an_interrupt_pending_raises_and_takes_nothing(start):
    lock, shielded, go = quell.Lock(), threading.Event(), threading.Event()

    def body():
        scope = quell.shield()
        scope.__enter__()
        shielded.set()
        spin_until(go.is_set)
        try:
            scope.__exit__(None, None, None)
        finally:
            assert lock.acquire() and lock.locked()

    worker = start(body)
    shielded.wait(PATIENCE)
    first = quell.interrupt(worker, Mine(1))
    second = quell.interrupt(worker, Mine(2))
    go.set()
    error = worker.done().error
    assert isinstance(error, Mine) and error.args == (2,)
    assert isinstance(error.__context__, Mine) and error.__context__.args == (1,)
    assert first.state == second.state == "delivered"
    assert not lock.locked()


def test_release_by_another_thread_ends_the_hold(start):
    lock, held, go = quell.Lock(), threading.Event(), threading.Event()

    def body():
        lock.acquire()
        held.set()
        spin_until(go.is_set)
        while True:
            pass

    worker = start(body)
    held.wait(PATIENCE)
    receipt = quell.interrupt(worker, Mine)
    assert not receipt.wait(0.02)
    lock.release()
    go.set()
    assert isinstance(worker.done().error, Mine)


def test_completion_beats_interruption(start, fast_switching):
    # A get that took an item returns it, and one that was interrupted took none: no item is lost.
    q, got, rounds = quell.Queue(), [], 2000 * STRESS
    masked = threading.Event()

    def consume():
        raised = 0
        with quell.mask():
            masked.set()
            while len(got) < rounds:
                try:
                    got.append(q.get())
                except Mine:
                    raised += 1
            quell.shield().__enter__()  # what comes too late is not raised
        return raised

    worker = start(consume)
    assert masked.wait(PATIENCE)
    receipts = []
    for i in range(rounds):
        q.put(i)
        with contextlib.suppress(LookupError):
            receipts.append(quell.interrupt(worker, Mine))
    raised = worker.done().result
    assert all(receipt.wait(PATIENCE) for receipt in receipts)
    states = [receipt.state for receipt in receipts]
    assert states == ["delivered"] * raised + ["target exited"] * (len(states) - raised)
    assert got == list(range(rounds))


def test_nothing_keeps_the_exception_alive(start):
    class Weak(Exception):
        pass

    event = quell.Event()
    worker = start(event.wait).blocked()
    error = Weak()
    reference = weakref.ref(error)
    receipt = quell.interrupt(worker, error)
    worker.done()
    worker.error = None
    del error
    # The thread's last references go shortly after join() has returned.
    spin_until(lambda: gc.collect() is not None and reference() is None)
    assert receipt.state == "delivered"


def test_reference_counts_stay_flat(start):
    lock, event, q = quell.Lock(), quell.Event(), quell.Queue(2)
    event.set()
    item = object()

    def work():
        with lock:
            pass
        lock.acquire(timeout=1)
        lock.release()
        event.wait(timeout=1)
        q.put(item)
        q.put(item, timeout=1)
        for call in (lambda: q.put(item, False), lambda: q.put(item=item, timeout=0)):
            with contextlib.suppress(quell.Full):
                call()
        q.get()
        q.get(timeout=1)
        with contextlib.suppress(quell.Empty):
            q.get(block=False)
        with quell.mask(), quell.shield(), quell.timeout(5):
            pass

    def counts():
        return [sys.getrefcount(o) for o in (lock, event, q, item, True, None)][:4]

    work()
    before = counts()
    for _ in range(200):
        work()
    assert counts() == before
