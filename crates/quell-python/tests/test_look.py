"""quell.threads(): every state is seen, consistently, and nobody is held up or kept alive."""

import gc
import io
import os
import threading
import time
import weakref
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import quell
from conftest import STRESS, Worker, spin, spin_until
from quell import threading as qthreading
from seen import Start, info, line_of, waits

HERE = __file__


# ---- who and where


def test_the_calling_thread() -> None:
    me = info(threading.current_thread())
    assert (me.name, me.daemon, me.state) == ("MainThread", False, "running")
    assert me.native_id == threading.get_native_id()
    assert (me.call, me.waits, me.pending) == (None, None, ())
    place = me.place
    assert place
    assert Path(place.file).name == "seen.py"
    assert place.function.startswith("info")
    assert [p.function for p in me.stack].count("test_the_calling_thread") == 1
    assert quell.threads()[0].ident == threading.main_thread().ident


def test_one_that_runs_python_code(start: Start) -> None:
    worker = start(spin)
    spin_until(lambda: info(worker).state == "running" and info(worker).place)
    seen = info(worker)
    assert seen.name == worker.name
    assert seen.daemon is True
    assert seen.native_id == worker.native_id
    assert seen.place
    assert seen.place.function == "spin"
    assert Path(seen.place.file).name == "conftest.py"
    # Innermost first.
    assert [p.function for p in seen.stack][-1] == "Thread._bootstrap"


def test_one_in_native_code(start: Start) -> None:
    done = threading.Event()

    def compress() -> None:
        data = os.urandom(1 << 20) * 8
        while not done.is_set():
            zlib.compress(data, 9)

    worker = start(compress)
    spin_until(lambda: info(worker).state == "native")
    done.set()
    worker.done()


def test_one_in_a_system_call(start: Start) -> None:
    reader, writer = os.pipe()
    worker = start(lambda: os.read(reader, 1))
    spin_until(lambda: info(worker).call == "read")
    seen = info(worker)
    assert (seen.state, seen.waits) == ("blocked", None)
    os.write(writer, b"x")
    worker.done()
    os.close(reader)
    os.close(writer)


def test_one_that_threading_does_not_know() -> None:
    import _thread

    lock, ended = quell.Lock(), quell.Event()
    lock.acquire()

    def run() -> None:
        with lock:
            pass
        ended.set()

    ident = _thread.start_new_thread(run, ())
    spin_until(lambda: any(t.ident == ident and t.waits for t in quell.threads()))
    (seen,) = (t for t in quell.threads() if t.ident == ident)
    assert (seen.name, seen.daemon) == (None, None)
    assert f"thread {ident:#x}" in repr(seen)
    lock.release()
    assert ended.wait(30)


def test_one_that_has_ended_with_a_lock_in_hand(start: Start) -> None:
    lock = quell.Lock()
    ident = []

    def leave() -> None:
        ident.append(threading.get_ident())
        lock.acquire()

    worker = start(leave)
    worker.done()
    spin_until(lambda: any(t.state == "finished" for t in quell.threads()))
    (seen,) = (t for t in quell.threads() if t.state == "finished")
    assert seen.ident == ident[0]
    assert seen.native_id == 0
    (held,) = seen.holds
    assert held.object is lock
    assert held.taken
    assert held.taken.line == line_of(leave, "lock.acquire()")
    waiter = start(lambda: lock.acquire())
    assert waits(waiter).holder == ident[0]
    assert "which has ended" in repr(info(waiter))
    lock.release()
    waiter.done()
    # The waiter has left it held as well.
    lock.release()
    assert not [t for t in quell.threads() if t.state == "finished"]


def test_who_left_a_lock_is_known_after_many_others(start: Start) -> None:
    lock = quell.Lock()
    start(lock.acquire).done()
    # Whose records are given up when there are twice as many.
    for _ in range(300):
        start(quell.checkpoint).done()
    waiter = start(lock.acquire)
    assert "which has ended" in repr(waits(waiter))
    lock.release()
    waiter.done()
    lock.release()


# ---- waits


class Waits:
    """What a thread can wait for, and the end of that."""

    def lock(self) -> tuple[str, object, Callable[[], object], Callable[[], object]]:
        lock = quell.Lock()
        lock.acquire()
        return "Lock", lock, lock.acquire, lock.release

    def rlock(self) -> tuple[str, object, Callable[[], object], Callable[[], object]]:
        lock = quell.RLock()
        lock.acquire()
        return "RLock", lock, lambda: lock.acquire() and lock.release(), lock.release

    def event(self) -> tuple[str, object, Callable[[], object], Callable[[], object]]:
        event = quell.Event()
        return "Event", event, event.wait, event.set

    def semaphore(self) -> tuple[str, object, Callable[[], object], Callable[[], object]]:
        semaphore = quell.Semaphore(0)
        return "Semaphore", semaphore, semaphore.acquire, semaphore.release

    def bounded(self) -> tuple[str, object, Callable[[], object], Callable[[], object]]:
        semaphore = quell.BoundedSemaphore(1)
        semaphore.acquire()
        return "BoundedSemaphore", semaphore, semaphore.acquire, semaphore.release

    def condition(self) -> tuple[str, object, Callable[[], object], Callable[[], object]]:
        condition = quell.Condition()

        def wait() -> None:
            with condition:
                condition.wait()

        def notify() -> None:
            with condition:
                condition.notify()

        return "Condition", condition, wait, notify

    def barrier(self) -> tuple[str, object, Callable[[], object], Callable[[], object]]:
        barrier = quell.Barrier(2)
        return "Barrier", barrier, barrier.wait, barrier.wait

    def queue(self) -> tuple[str, object, Callable[[], object], Callable[[], object]]:
        queue: quell.Queue[int] = quell.Queue()
        return "Queue", queue, queue.get, lambda: queue.put(1)

    def full_queue(self) -> tuple[str, object, Callable[[], object], Callable[[], object]]:
        queue: quell.LifoQueue[int] = quell.LifoQueue(1)
        queue.put(1)
        return "LifoQueue", queue, lambda: queue.put(2), queue.get

    def joined_queue(self) -> tuple[str, object, Callable[[], object], Callable[[], object]]:
        queue: quell.Queue[int] = quell.Queue()
        queue.put(1)
        return "Queue", queue, queue.join, queue.task_done

    def priority_queue(self) -> tuple[str, object, Callable[[], object], Callable[[], object]]:
        queue: quell.PriorityQueue[int] = quell.PriorityQueue()
        return "Condition", queue.not_empty, queue.get, lambda: queue.put(1)

    def simple_queue(self) -> tuple[str, object, Callable[[], object], Callable[[], object]]:
        queue: quell.SimpleQueue[int] = quell.SimpleQueue()
        return "SimpleQueue", queue, queue.get, lambda: queue.put(1)


@pytest.mark.parametrize("name", [name for name in vars(Waits) if not name.startswith("_")])
def test_a_wait(name: str, start: Start) -> None:
    kind, thing, wait, end = getattr(Waits(), name)()
    before = time.monotonic()
    worker = start(wait)
    waiting = waits(worker)
    seen = info(worker)
    assert (seen.state, seen.call, waiting.kind) == ("blocked", kind, kind)
    assert waiting.object is thing
    assert waiting.address == id(thing)
    assert before <= waiting.since <= time.monotonic()
    assert 0 <= waiting.seconds <= time.monotonic() - before
    assert not waiting.timed
    assert f"waits for {kind} {id(thing):#x}" in repr(seen)
    end()
    worker.done()
    assert waiting.kind == kind  # a record, whatever has come since


def test_a_wait_with_a_timeout_for_what_becomes_of_an_interrupt(start: Start) -> None:
    target = start(lambda: quell.Event().wait())
    waits(target)
    with quell.shield():
        shielded = quell.interrupt(threading.current_thread())
        worker = start(lambda: shielded.wait(timeout=30))
        waiting = waits(worker)
        assert (waiting.kind, waiting.object, waiting.timed) == ("Delivery", shielded, True)
        assert shielded.withdraw()
    assert worker.done().result is True


def test_who_holds_it_and_where_it_was_acquired(start: Start) -> None:
    lock, release = quell.Lock(), quell.Event()

    def hold() -> None:
        with lock:
            release.wait()

    holder = start(hold)
    waits(holder)
    waiter = start(lambda: lock.acquire())
    waiting = waits(waiter)
    assert waiting.holder == holder.ident
    assert waiting.taken
    assert (waiting.taken.file, waiting.taken.line) == (HERE, line_of(hold, "with lock:"))
    assert waiting.taken.function.endswith("hold")
    release.set()
    holder.done()
    waiter.done()
    lock.release()


def test_the_join_of_a_thread(start: Start) -> None:
    release = quell.Event()
    thread = qthreading.Thread(target=release.wait)
    thread.start()
    joiner = start(thread.join)
    waiting = waits(joiner)
    assert (waiting.kind, waiting.holder, waiting.object, waiting.taken) == (
        "Thread",
        thread.ident,
        None,
        None,
    )
    assert f"the end of {thread.name}" in repr(info(joiner))
    release.set()
    joiner.done()


# ---- holds, interrupts, masks


def test_what_it_holds(start: Start) -> None:
    lock, again, permits = quell.Lock(), quell.RLock(), quell.Semaphore(2)
    release = quell.Event()

    def hold() -> None:
        lock.acquire()
        with again:
            with again, permits:
                release.wait()
        lock.release()

    worker = start(hold)
    waits(worker)
    holds = info(worker).holds
    assert [h.object for h in holds] == [lock, again, again, permits]
    assert [h.kind for h in holds] == ["Lock", "RLock", "RLock", "Semaphore"]
    texts = ["lock.acquire()", "with again:", "with again, permits:", "with again, permits:"]
    assert [h.taken and h.taken.line for h in holds] == [line_of(hold, text) for text in texts]
    release.set()
    worker.done()
    assert not info(threading.current_thread()).holds


def test_a_lock_that_a_function_has_acquired_for_its_caller(start: Start) -> None:
    lock, release = quell.Lock(), quell.Event()

    def take() -> None:
        lock.acquire()

    def hold() -> None:
        take()
        # Other frames in the place of that one.
        sorted([3, 1, 2], key=lambda n: -n)
        release.wait()
        lock.release()

    worker = start(hold)
    waits(worker)
    (held,) = info(worker).holds
    assert held.taken
    assert (held.taken.function.rpartition(".")[2], held.taken.line) == (
        "take",
        line_of(take, "lock.acquire()"),
    )
    release.set()
    worker.done()


def test_a_lock_that_code_has_acquired_which_is_gone(start: Start) -> None:
    lock, release = quell.Lock(), quell.Event()

    def hold() -> None:
        exec(compile("lock.acquire()", "<gone>", "exec"), {"lock": lock})
        release.wait()
        lock.release()

    worker = start(hold)
    waits(worker)
    # Other code in its place.
    others = [compile("x = 1\ny = 2", f"<other {n}>", "exec") for n in range(1000)]
    (held,) = info(worker).holds
    assert held.object is lock
    # It may be that nothing has come to stand there.
    assert held.taken is None or held.taken.file == "<gone>" or held.taken.file.startswith("<other")
    release.set()
    worker.done()
    assert len(others) == 1000


def test_what_is_pending_masked_and_shielded(start: Start) -> None:
    release = quell.Event()

    def shielded() -> None:
        with suppress(quell.Interrupt), quell.mask(), quell.shield():
            release.wait()

    worker = start(shielded)
    waits(worker)
    assert not info(worker).pending
    quell.interrupt(worker)
    quell.interrupt(worker, KeyboardInterrupt)
    seen = info(worker)
    assert seen.pending == ("Interrupt", "KeyboardInterrupt")
    assert seen.masked
    assert seen.shielded
    release.set()
    worker.join(30)
    me = threading.current_thread()
    with quell.mask():
        assert (info(me).masked, info(me).shielded) == (True, False)
    with quell.shield():
        assert (info(me).masked, info(me).shielded) == (False, True)
    assert (info(me).masked, info(me).shielded) == (False, False)


# ---- nothing is kept, nobody is held up


def test_a_record_keeps_nothing_alive(start: Start) -> None:
    class Local:
        pass

    lock = quell.Lock()
    gone = weakref.ref(lock)
    release = quell.Event()
    locals_gone: list[weakref.ref[Local]] = []

    def hold(lock: quell.Lock) -> None:
        local = Local()
        locals_gone.append(weakref.ref(local))
        with lock:
            release.wait()

    worker = start(partial(hold, lock))
    waits(worker)
    seen = info(worker)
    assert seen.holds[0].object is lock
    release.set()
    worker.done()
    worker._function = lambda: None
    del worker, lock, hold
    gc.collect()
    assert gone() is None
    assert locals_gone[0]() is None
    assert seen.holds[0].object is None
    assert seen.holds[0].taken


def test_records_do_not_change() -> None:
    me = quell.threads()[0]
    with pytest.raises(AttributeError):
        me.name = "another"  # type: ignore[misc]
    with pytest.raises(TypeError):
        quell.ThreadInfo()
    assert me.place is not None
    assert me.place == me.stack[0]
    assert hash(me.place) == hash(me.stack[0])
    assert str(me.place).startswith(f"{HERE}:")


def test_looks_while_threads_come_and_go_and_are_interrupted(fast_switching: None) -> None:
    end = time.monotonic() + 0.5 * STRESS
    lock, queue = quell.Lock(), quell.Queue[int](1)
    failed: list[BaseException] = []

    def work() -> None:
        with quell.mask():  # interrupts are raised only where it waits
            while time.monotonic() < end:
                with suppress(quell.Interrupt, quell.Empty, quell.Full):
                    with lock:
                        queue.put(1, timeout=0.001)
                    queue.get(timeout=0.001)
            quell.shield().__enter__()  # to the end of the thread

    def look() -> None:
        try:
            while time.monotonic() < end:
                for seen in quell.threads():
                    if seen.waits:
                        assert seen.state == "blocked"
                        assert seen.stack
                    for held in seen.holds:
                        assert held.object in (lock, None)
                    assert repr(seen)
                quell.dump(io.StringIO())
        except BaseException as error:
            failed.append(error)
            raise

    workers = [threading.Thread(target=work) for _ in range(6)]
    lookers = [threading.Thread(target=look) for _ in range(2)]
    for thread in workers + lookers:
        thread.start()
    while time.monotonic() < end:
        for worker in workers:
            with suppress(LookupError):
                quell.interrupt(worker)
        Worker(int).start()
    for thread in workers + lookers:
        thread.join(60)
        assert not thread.is_alive()
    assert not failed
