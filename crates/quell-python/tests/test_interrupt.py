"""Interrupts: sending, what becomes of them, and what they never do to the primitives."""

import contextlib
import gc
import signal
import sys
import threading
import time
import weakref

import pytest
import quell
from conftest import PATIENCE, STRESS, spin_until


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
    me, got = threading.main_thread(), threading.Event()

    def send():
        # One that comes in the last moment before the wait is noticed with the next: see "Limits".
        pause = 0.05
        while not got.wait(pause):
            signal.pthread_kill(me.ident, signal.SIGINT)
            pause = 5

    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        quell.Queue().get()
    got.set()
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
