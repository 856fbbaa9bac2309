"""Deadlocks are seen: the wait that closes a circle fails, or that of whom a policy names."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import quell
from conftest import python, spin_until
from quell import threading as qthreading
from seen import Ring, Start, in_lock, locks, off, waiting  # noqa: F401

# ---- what is found


@pytest.mark.parametrize("count", [2, 3, 10])
@pytest.mark.parametrize("kind", [quell.Lock, quell.RLock])
def test_the_one_that_closes_the_circle_fails(
    count: int, kind: type[quell.Lock] | type[quell.RLock], start: Start
) -> None:
    quell.set_detection("fail")
    ring = Ring(start, locks(count, kind))
    ring.close()
    outcomes = ring.outcomes()
    assert outcomes == ["both"] * (count - 1) + [quell.Deadlock]
    error = ring.workers[-1].error
    assert isinstance(error, quell.Deadlock)
    # Who closed it comes first, and each waits for what the next one holds.
    order = [count - 1, *range(count - 1)]
    assert [t.ident for t in error.threads] == [ring.workers[n].ident for n in order]
    source = Path(Ring.run.__code__.co_filename).read_text().splitlines()
    for at, thread in enumerate(error.threads):
        waits, after = thread.waits, error.threads[(at + 1) % count]
        assert waits
        assert waits.holder == after.ident
        assert waits.object is ring.locks[(order[at] + 1) % count]
        assert waits.kind == kind.__name__
        assert thread.place
        assert source[thread.place.line - 1].strip().startswith("with self.locks[(number + 1)")
        assert waits.taken
        assert source[waits.taken.line - 1].strip() == "with self.locks[number]:"
    text = str(error)
    assert text.startswith(
        f"deadlock of {count} threads:\n  {ring.workers[-1].name} waits for {kind.__name__} 0x"
    )
    assert text.count(" waits for ") == count
    assert text.count(" acquired at ") == count
    assert text.endswith("before waiting for the next")
    assert not any(lock.locked() for lock in ring.locks)


def test_a_thread_that_waits_for_itself() -> None:
    quell.set_detection("fail")
    lock = quell.Lock()
    with lock, pytest.raises(quell.Deadlock) as raised:
        lock.acquire()
    assert "deadlock of a thread with itself:" in str(raised.value)
    assert ", which it acquired at " in str(raised.value)
    (me,) = raised.value.threads
    assert me.waits
    assert me.waits.object is lock
    assert not lock.locked()


def test_what_was_acquired_before_detection_was_switched_on(start: Start) -> None:
    ring = Ring(start, locks(2))
    ring.turns[0].set()
    spin_until(lambda: in_lock(ring.workers[0]))
    quell.set_detection("fail")
    ring.turns[1].set()
    assert ring.outcomes() == ["both", quell.Deadlock]


@pytest.mark.parametrize("inside", [True, False])
def test_a_join(inside: bool, start: Start) -> None:
    quell.set_detection("fail")
    lock, go = quell.Lock(), quell.Event()

    def work() -> None:
        go.wait()
        with lock:
            pass

    thread = qthreading.Thread(target=work)
    errors: list[BaseException] = []
    old, threading.excepthook = (
        threading.excepthook,
        lambda args: errors.append(args.exc_value or ValueError()),
    )

    def join() -> None:
        with lock:
            thread.start()
            if not inside:
                go.set()
                spin_until(lambda: in_lock(thread))
            thread.join()

    joiner = start(join)
    if inside:
        spin_until(lambda: in_lock(joiner))
        go.set()
    joiner.done()
    thread.join(30)
    threading.excepthook = old
    (error,) = [*errors, *([joiner.error] if joiner.error else [])]
    assert isinstance(error, quell.Deadlock)
    assert (error is joiner.error) == (not inside)
    assert f"the end of {thread.name}" in str(error)


def test_a_thread_that_joins_one_that_has_not_begun(start: Start) -> None:
    # The wait begins before it is known in which thread it ends.
    quell.set_detection("fail")
    end, lock, begin = quell.Event(), quell.Lock(), quell.Event()
    end._is_end(False)

    def join() -> None:
        with lock:
            end.wait()

    def work() -> None:
        begin.wait()
        end._is_end(True)
        try:
            with lock:
                pass
        finally:
            end.set()

    joiner, worker = start(join), start(work)
    spin_until(lambda: in_lock(joiner))
    begin.set()
    assert isinstance(worker.done().error, quell.Deadlock)
    assert joiner.done().error is None


def test_a_condition_that_takes_its_lock_again(start: Start) -> None:
    # It cannot fail, though it closes the circle: the other does.
    quell.set_detection("fail")
    condition, other = quell.Condition(), quell.Lock()
    done = []

    def waits() -> None:
        with other, condition:
            condition.wait()
            done.append(1)

    waiter = start(waits)
    spin_until(lambda: waiting(waiter))

    def notifies() -> None:
        with condition:
            condition.notify()
            spin_until(lambda: in_lock(waiter))
            with other:
                done.append(2)

    notifier = start(notifies)
    assert isinstance(notifier.done().error, quell.Deadlock)
    assert waiter.done().error is None
    assert done == [1]


def test_a_condition_that_closes_the_circle(start: Start) -> None:
    quell.set_detection("fail")
    condition, other = quell.Condition(), quell.Lock()

    def waits() -> str:
        with other, condition:
            condition.wait()
            return "notified"

    waiter = start(waits)
    spin_until(lambda: waiting(waiter))

    def notifies() -> None:
        condition.acquire()
        try:
            condition.notify()
            # Before the waiter has come back to its lock: as likely as not.
            other.acquire()
            other.release()
        finally:
            condition.release()

    notifier = start(notifies)
    assert isinstance(notifier.done().error, quell.Deadlock)
    assert waiter.done().result == "notified"


def test_the_mutex_of_a_queue(start: Start) -> None:
    quell.set_detection("fail")
    queue: quell.Queue[int] = quell.Queue()
    lock, go = quell.Lock(), quell.Event()

    def first() -> None:
        with queue.mutex:
            go.wait()
            with lock:
                pass

    one = start(first)
    spin_until(lambda: waiting(one))

    def second() -> None:
        with lock:
            queue.put(1)

    two = start(second)
    spin_until(lambda: in_lock(two))
    go.set()
    assert isinstance(one.done().error, quell.Deadlock)
    assert two.done().error is None
    assert queue.get() == 1


def test_a_comparison_under_the_mutex_of_a_queue(start: Start) -> None:
    quell.set_detection("fail")
    queue: quell.PriorityQueue[object] = quell.PriorityQueue()
    lock, inside, go = quell.Lock(), quell.Event(), quell.Event()

    class Item:
        def __lt__(self, other: object) -> bool:
            inside.set()
            go.wait()
            with lock:
                return True

    queue.put(Item())
    one = start(lambda: queue.put(Item()))
    assert inside.wait(30)

    def second() -> None:
        with lock:
            queue.qsize()
            queue.put(Item())

    two = start(second)
    spin_until(lambda: in_lock(two))
    go.set()
    assert isinstance(one.done().error, quell.Deadlock)
    two.done()
    assert queue.qsize() == 2 - isinstance(two.error, quell.Deadlock)


# ---- who fails


@pytest.mark.parametrize(("policy", "victim"), [("youngest", 2), ("eldest", 0)])
def test_who_fails_by_age(policy: str, victim: int, start: Start) -> None:
    quell.set_detection(policy)  # type: ignore[arg-type]
    ring = Ring(start, locks(3))
    # The one in the middle closes it.
    for number in [2, 0, 1]:
        ring.turns[number].set()
        if number != 1:
            spin_until(lambda n=number: in_lock(ring.workers[n]))  # type: ignore[misc]
    outcomes = ring.outcomes()
    assert [n for n, outcome in enumerate(outcomes) if outcome is quell.Deadlock] == [victim]
    assert outcomes.count("both") == 2
    error = ring.workers[victim].error
    assert isinstance(error, quell.Deadlock)
    assert error.threads[0].ident == ring.workers[1].ident
    assert not any(lock.locked() for lock in ring.locks)


def by_thread(ring: Ring, deadlock: quell.Deadlock) -> threading.Thread:
    return ring.workers[0]


def by_ident(ring: Ring, deadlock: quell.Deadlock) -> int | None:
    return ring.workers[0].ident


def by_info(ring: Ring, deadlock: quell.Deadlock) -> quell.ThreadInfo:
    return next(t for t in deadlock.threads if t.ident == ring.workers[0].ident)


def by_word(ring: Ring, deadlock: quell.Deadlock) -> str:
    return "eldest"


@pytest.mark.parametrize("answer", [by_thread, by_ident, by_info, by_word])
def test_who_fails_as_a_function_says(
    answer: Callable[[Ring, quell.Deadlock], object], start: Start
) -> None:
    asked: list[tuple[int, quell.Deadlock]] = []
    ring = Ring(start, locks(3))

    def ask(deadlock: quell.Deadlock) -> object:
        asked.append((threading.get_ident(), deadlock))
        return answer(ring, deadlock)

    quell.set_detection(ask)  # type: ignore[arg-type]
    assert quell.detection() is ask
    ring.close()
    assert ring.outcomes() == [quell.Deadlock, "both", "both"]
    ((ident, deadlock),) = asked
    assert ident == ring.workers[2].ident
    assert ring.workers[0].error is deadlock


def test_a_function_that_has_all_go_on_waiting(start: Start) -> None:
    asked = []
    quell.set_detection(lambda deadlock: asked.append(deadlock))  # type: ignore[func-returns-value]
    ring = Ring(start, locks(2))
    ring.close()
    spin_until(lambda: in_lock(ring.workers[1]))
    (found,) = quell.find_deadlocks()
    assert {t.ident for t in found.threads} == {w.ident for w in ring.workers}
    # Those who look are not told again.
    quell.interrupt(ring.workers[0], KeyboardInterrupt)
    assert ring.outcomes() == [KeyboardInterrupt, "both"]
    assert len(asked) == 1
    assert not quell.find_deadlocks()


def test_a_function_that_raises(start: Start) -> None:
    def ask(deadlock: quell.Deadlock) -> None:
        raise ZeroDivisionError

    quell.set_detection(ask)
    ring = Ring(start, locks(2))
    ring.close()
    assert ring.outcomes() == ["both", ZeroDivisionError]


@pytest.mark.parametrize("answer", ["never", 1.5, object()])
def test_a_function_that_answers_something_else(answer: object, start: Start) -> None:
    quell.set_detection(lambda deadlock: answer)  # type: ignore[arg-type,return-value]
    ring = Ring(start, locks(2))
    ring.close()
    assert ring.outcomes() == ["both", TypeError]


def test_a_function_during_which_the_circle_has_ended(start: Start) -> None:
    quell.set_detection("off")
    ring = Ring(start, locks(2))

    def ask(deadlock: quell.Deadlock) -> str:
        # The other one gives up.
        quell.interrupt(ring.workers[0], KeyboardInterrupt)
        ring.workers[0].join(30)
        return "fail"

    quell.set_detection(ask)  # type: ignore[arg-type]
    ring.close()
    assert ring.outcomes() == [KeyboardInterrupt, "both"]


def test_a_function_that_waits_itself(start: Start) -> None:
    log = quell.Lock()

    def ask(deadlock: quell.Deadlock) -> str:
        with log:
            return "fail"

    quell.set_detection(ask)  # type: ignore[arg-type]
    ring = Ring(start, locks(2))
    ring.close()
    assert ring.outcomes() == ["both", quell.Deadlock]


def test_a_report(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    quell.set_detection("report")
    ring = Ring(start, locks(2))
    ring.close()
    spin_until(lambda: in_lock(ring.workers[1]))
    quell.dump()
    quell.interrupt(ring.workers[1])
    assert ring.outcomes() == ["both", quell.Interrupt]
    report, _, dump = capfd.readouterr().err.partition("quell: ")[2].partition("quell: ")
    assert report.startswith("deadlock of 2 threads:\n")
    assert dump.count("[deadlock]") == 2
    assert dump.count("deadlock of 2 threads:\n") == 1


def test_a_circle_that_was_left_and_has_ended_is_told_of_again(start: Start) -> None:
    # The same threads with the same locks at the same places, more often than circles are remembered.
    asked: list[quell.Deadlock] = []
    quell.set_detection(asked.append)
    a, b, rounds, ended = quell.Lock(), quell.Lock(), 80, 0
    both = quell.Barrier(3)

    def cross(one: quell.Lock, two: quell.Lock) -> None:
        nonlocal ended
        for _ in range(rounds):
            both.wait()
            with suppress(KeyboardInterrupt), one:
                both.wait()
                with two:
                    pass
            ended += 1

    workers = [start(partial(cross, a, b)), start(partial(cross, b, a))]
    for turn in range(rounds):
        both.wait()
        both.wait()
        spin_until(lambda: len(quell.find_deadlocks()) == 1)
        spin_until(lambda turn=turn: len(asked) > turn)  # type: ignore[misc]
        assert len(asked) == turn + 1
        quell.interrupt(workers[turn % 2], KeyboardInterrupt)
        spin_until(lambda turn=turn: ended == 2 * (turn + 1))  # type: ignore[misc]
        assert not quell.find_deadlocks()
    for worker in workers:
        assert worker.done().error is None
    assert len(asked) == rounds


def test_settings() -> None:
    assert quell.set_detection("fail") == "off"
    assert quell.detection() == "fail"
    assert quell.set_detection("youngest") == "fail"
    assert quell.set_detection("eldest") == "youngest"
    assert quell.set_detection("report") == "eldest"
    assert quell.set_detection(print) == "report"  # type: ignore[arg-type]
    assert quell.set_detection("off") is print
    with pytest.raises(ValueError, match="'never' is no policy"):
        quell.set_detection("never")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a policy is one of"):
        quell.set_detection(1)  # type: ignore[arg-type]
    assert quell.detection() == "off"


def test_in_a_shield_nobody_fails(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    quell.set_detection("fail")
    a, b = quell.Lock(), quell.Lock()
    ready = quell.Barrier(2)

    def shielded() -> str:
        with a, quell.shield():
            ready.wait()
            with b:
                return "both"

    one = start(shielded)

    def other() -> str:
        with b:
            ready.wait()
            spin_until(lambda: in_lock(one))
            with a:
                return "both"

    two = start(other)
    assert isinstance(two.done().error, quell.Deadlock)
    assert one.done().result == "both"

    # All of them: it is told, and stays.
    alone, done = quell.Lock(), threading.Event()

    def stuck() -> None:
        with quell.shield():
            alone.acquire()
            alone.acquire()
            done.set()

    worker = start(stuck)
    spin_until(lambda: in_lock(worker))
    assert not done.is_set()
    assert "deadlock of a thread with itself" in capfd.readouterr().err
    alone.release()
    worker.done()
    alone.release()


def test_locks_that_an_exception_would_leave_held_are_another_threads_reason_to_fail(
    start: Start,
) -> None:
    quell.set_detection("fail")
    a, b = quell.Lock(), quell.Lock()
    ready = quell.Barrier(2)

    def protected() -> str:
        with a:
            ready.wait()
            with b:
                return "both"

    one = start(protected)

    def bare() -> str:
        b.acquire()
        ready.wait()
        spin_until(lambda: in_lock(one))
        a.acquire()
        a.release()
        b.release()
        return "both"

    # It closes the circle, but the other one's lock is released.
    two = start(bare)
    assert two.done().result == "both"
    assert isinstance(one.done().error, quell.Deadlock)
    assert not a.locked()
    assert not b.locked()


def test_where_all_would_leave_a_lock_held_one_fails_all_the_same(start: Start) -> None:
    quell.set_detection("fail")
    lock = quell.Lock()

    def twice() -> None:
        lock.acquire()
        lock.acquire()

    assert isinstance(start(twice).done().error, quell.Deadlock)
    lock.release()


# ---- looking only; fork; the main thread


def test_looking_only(start: Start) -> None:
    assert quell.find_deadlocks() == []
    ring = Ring(start, locks(3))
    ring.close()
    spin_until(lambda: all(in_lock(w) for w in ring.workers))
    bystander = start(lambda: ring.locks[0].acquire(timeout=60))
    spin_until(lambda: in_lock(bystander))
    (found,) = quell.find_deadlocks()
    assert {t.ident for t in found.threads} == {w.ident for w in ring.workers}
    assert isinstance(found, quell.Deadlock)
    assert all(w.is_alive() for w in ring.workers)
    quell.interrupt(ring.workers[1])
    outcomes = ring.outcomes()
    assert outcomes.count(quell.Interrupt) == 1
    assert bystander.done().result is True
    ring.locks[0].release()


def test_the_main_thread_can_be_the_one(start: Start) -> None:
    quell.set_detection("eldest")
    a, b = quell.Lock(), quell.Lock()

    def other() -> str:
        with b:
            held.set()
            spin_until(lambda: in_lock(threading.main_thread()))
            with a:
                return "both"

    held = quell.Event()
    worker = start(other)
    with a:
        held.wait()
        with pytest.raises(quell.Deadlock):
            b.acquire()
    assert worker.done().result == "both"


def test_a_signal_handler_runs_in_a_wait_that_may_fail() -> None:
    quell.set_detection("fail")
    lock = quell.Lock()
    ran = []
    old = signal.signal(signal.SIGUSR1, lambda *_: ran.append(quell.threads()[0].waits))
    lock.acquire()
    main = threading.get_ident()
    timer = threading.Timer(0.05, lambda: signal.pthread_kill(main, signal.SIGUSR1))
    timer.start()
    release = threading.Timer(0.2, lock.release)
    release.start()
    # Another thread's business: this one has it, but says so for a limited time only.
    assert lock.acquire(timeout=30)
    signal.signal(signal.SIGUSR1, old)
    assert len(ran) == 1
    assert ran[0] is None  # while the handler runs, the thread does not wait
    lock.release()
    timer.join()
    release.join()


def test_in_the_child_of_a_fork(start: Start) -> None:
    quell.set_detection("fail")
    lock, held, release = quell.Lock(), quell.Event(), quell.Event()

    def hold() -> None:
        with lock:
            held.set()
            release.wait()

    holder = start(hold)
    held.wait()
    mine = quell.Lock()
    child = os.fork()
    if child == 0:
        try:
            with mine:
                try:
                    mine.acquire()
                except quell.Deadlock:
                    # Of the parent's threads nothing is known here.
                    os._exit(len(quell.find_deadlocks()))
        finally:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    release.set()
    holder.done()


def test_at_the_end_of_the_process() -> None:
    ended = python(
        """
        import quell, threading, atexit
        quell.set_detection("fail")
        a, b = quell.Lock(), quell.Lock()
        both = threading.Barrier(2)
        def cross(one, two):
            try:
                with one:
                    both.wait()
                    with two:
                        pass
            except quell.Deadlock:
                print("deadlock", flush=True)
        threads = [threading.Thread(target=cross, args=locks) for locks in [(a, b), (b, a)]]
        for thread in threads:
            thread.start()
        atexit.register(lambda: print(quell.find_deadlocks()))
        """
    )
    assert ended.stdout.split() == ["deadlock", "[]"]
