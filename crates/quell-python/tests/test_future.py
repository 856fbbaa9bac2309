"""quell.Future: everything that a concurrent.futures.Future is, to those who know of it and to those who look inside."""

import concurrent.futures
import copy
import functools
import gc
import pickle
import random
import threading
import weakref
from concurrent.futures import CancelledError, InvalidStateError

import pytest
import quell
from conftest import PATIENCE, STRESS, disturb, spin_until


class Mine(BaseException):
    pass


def test_it_has_what_the_standard_one_has():
    future, standard = quell.Future(), concurrent.futures.Future()
    assert isinstance(future, concurrent.futures.Future)
    assert set(dir(standard)) <= set(dir(future))
    for name, value in vars(standard).items():
        if name != "_condition":
            assert getattr(future, name) == value, name
    with future._condition:
        future._condition.notify_all()
    assert future._condition is future._condition and future._waiters is future._waiters
    assert repr(future) == repr(standard).replace(f"{id(standard):#x}", f"{id(future):#x}")
    future.set_result(1)
    assert repr(future).endswith("state=finished returned int>")


@pytest.mark.parametrize("make", [quell.Future, concurrent.futures.Future])
def test_states(make):
    """Of one that somebody uses as his own, step by step as the standard one."""
    future = make()
    assert (future._state, future.running(), future.done()) == ("PENDING", False, False)
    with pytest.raises(TimeoutError):
        future.result(0)
    with pytest.raises(TimeoutError):
        future.exception(timeout=0.001)
    assert future.set_running_or_notify_cancel() and future.running()
    assert not future.cancel() and not future.cancelled()
    future.set_result(5)
    assert future.done() and not future.running() and not future.cancel()
    assert future.result() == future.result(timeout=None) == future.result(-1) == 5
    assert future.exception() is None
    for again in (lambda: future.set_result(6), lambda: future.set_exception(OSError())):
        with pytest.raises(InvalidStateError, match=r"^FINISHED: <Future at .* returned int>$"):
            again()
    with pytest.raises(RuntimeError, match="unexpected state"):
        future.set_running_or_notify_cancel()

    future = make()
    assert future.cancel() and future.cancel() and future._state == "CANCELLED"
    for asked in (future.result, future.exception):
        with pytest.raises(CancelledError):
            asked()
    assert not future.set_running_or_notify_cancel()
    assert future._state == "CANCELLED_AND_NOTIFIED" and future.cancelled() and future.cancel()
    with pytest.raises(InvalidStateError):
        future.set_result(1)

    future, error = make(), ValueError("wrong")
    future.set_exception(error)
    assert future.exception() is error
    for _ in range(2):
        with pytest.raises(ValueError, match="wrong") as caught:
            future.result()
        assert caught.value is error


def test_it_is_written_from_outside():
    """As CPython's own tests and other executors do."""
    future = quell.Future()
    future._state, future._result = "FINISHED", 3
    assert future.done() and future.result() == 3
    future._exception = OSError("4")
    with pytest.raises(OSError, match="4"):
        future.result()
    future._state = "RUNNING"
    assert future.running()
    with pytest.raises(TimeoutError):
        future.result(0.001)
    with pytest.raises(ValueError, match="not a state"):
        future._state = "LOST"


def test_who_waits_is_told_by_whoever_writes(start):
    future = quell.Future()
    waiter = start(future.result).blocked()
    with future._condition:
        future._result, future._state = 7, "FINISHED"
        future._condition.notify_all()
    assert waiter.done().result == 7


def test_who_waits_for_the_condition_is_told(start):
    def waits():
        with future._condition:
            while not future.done():
                future._condition.wait()
            return future._state

    for change in (lambda f: f.set_result(1), quell.Future.cancel):
        future = quell.Future()
        worker = start(waits).blocked()
        change(future)
        assert worker.done().result in ("FINISHED", "CANCELLED")


def test_a_subclass_with_an_initializer_of_its_own():
    class Own(quell.Future):
        def __init__(self, name):
            concurrent.futures.Future.__init__(self)
            self.name = name

    future = Own("x")
    assert future.name == "x" and type(future._condition) is threading.Condition
    seen = []
    future.add_done_callback(seen.append)
    timer = threading.Timer(0.01, future.set_result, [1])
    timer.start()
    assert concurrent.futures.wait([future], PATIENCE).done == {future} == set(seen)
    timer.join()


def test_who_has_the_condition_sees_no_change(start):
    for change in (lambda f: f.set_result(1), quell.Future.cancel):
        future = quell.Future()
        with future._condition:
            before = future._state
            worker = start(lambda: change(future)).blocked()  # noqa: B023
            assert future._state == before == "PENDING" and not future.done()
        worker.done()
        assert worker.error is None and future.done()


def test_wait_misses_none():
    """Futures come to their ends, in every way, while others begin to wait for them."""
    numbers = random.Random(5)
    with quell.ThreadPoolExecutor(2) as executor:
        for _ in range(30 * STRESS):
            futures = [quell.Future() for _ in range(40)]
            ways = [numbers.randrange(4) for _ in futures]

            def end(which, futures=futures, ways=ways):
                for future, way in list(zip(futures, ways, strict=True))[which::2]:
                    if way == 0:
                        future.set_result(way)
                    elif way == 1:
                        future.set_exception(OSError())
                    elif way == 2:
                        future.cancel()
                        future.set_running_or_notify_cancel()
                    else:
                        future.set_running_or_notify_cancel()
                        future.set_result(way)

            ending = [executor.submit(end, which) for which in range(2)]
            some = concurrent.futures.wait(futures, PATIENCE, concurrent.futures.FIRST_COMPLETED)
            assert some.done
            assert set(concurrent.futures.as_completed(futures, PATIENCE)) == set(futures)
            assert not concurrent.futures.wait(futures + ending, PATIENCE).not_done
            assert all(not future._waiters for future in futures)


def test_who_waits_is_interrupted(start):
    future = quell.Future()
    for waits in (future.result, future.exception, lambda: future.result(PATIENCE)):
        worker = start(waits).blocked()
        quell.interrupt(worker, Mine)
        assert isinstance(worker.done().error, Mine)
    assert not future.done()
    workers = [start(future.result).blocked() for _ in range(3)]
    future.set_result(2)
    assert [worker.done().result for worker in workers] == [2] * 3
    future = quell.Future()
    waits = start(future.exception).blocked()
    assert future.cancel() and isinstance(waits.done().error, CancelledError)


def test_callbacks(caplog):
    future, calls = quell.Future(), []

    def fails(future):
        calls.append("fails")
        raise ValueError("of a callback")

    def stops(future):
        calls.append("stops")
        raise Mine

    for callback in (fails, calls.append, stops, lambda future: calls.append("last")):
        future.add_done_callback(callback)
    with pytest.raises(Mine):
        future.set_result(1)
    assert calls == ["fails", future, "stops", "last"] and future.result() == 1
    assert "exception calling callback for <Future" in caplog.text
    assert "ValueError: of a callback" in caplog.text
    future.add_done_callback(calls.append)
    assert calls[-1] is future
    caplog.clear()
    future.add_done_callback(fails)
    assert "of a callback" in caplog.text
    with pytest.raises(Mine):
        future.add_done_callback(stops)


def test_a_callback_is_called_once_whenever_it_is_added(start, fast_switching):
    early, queue, rounds = 0, quell.Queue(), 300 * STRESS

    def ends():
        for _ in range(rounds):
            queue.get().set_result(1)

    worker = start(ends)
    for _ in range(rounds):
        future, calls, added = quell.Future(), [], 0
        queue.put(future)
        while not future.done():
            future.add_done_callback(calls.append)
            added += 1
        early += added > 0
        future.add_done_callback(calls.append)
        spin_until(lambda: len(calls) > added)  # noqa: B023
        assert calls == [future] * (added + 1)
    assert worker.done().error is None and early


def test_an_end_is_whole_though_who_brings_it_is_interrupted(start, fast_switching):
    """At every moment: the future is over and all are told, or none of it."""
    ended = 0

    def ends(goes_on):
        nonlocal ended
        while goes_on():
            future, calls = quell.Future(), []
            future.add_done_callback(calls.append)
            if ended % 2:
                concurrent.futures.wait([future], 0)
            try:
                future.cancel()
            finally:
                assert future.done() == bool(calls)
                ended += 1

    disturb(start, ends, lambda: ended, Mine, 100 * STRESS)


def test_it_is_no_value():
    future = quell.Future()
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"cannot pickle 'quell.*Future' object"):
            copied(future)
    reference = weakref.ref(future)
    future.add_done_callback(functools.partial(lambda *_: None, future))
    future.set_result(future)
    future.mine = future
    del future
    gc.collect()
    assert reference() is None
    assert quell.Future[int] is not None
