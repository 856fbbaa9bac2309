"""mask and shield: interrupts do not enter."""

import threading
import time

import pytest
import quell
from conftest import PATIENCE, spin_until


class Mine(Exception):
    pass


def sent_inside(region, start, body):
    """Run body(log) in a region into which an interrupt is sent; the log and the thread's error."""
    ready, go, log = threading.Event(), threading.Event(), []

    def run():
        with region():
            ready.set()
            spin_until(go.is_set)
            for i in range(1000):
                len(str(i))
            log.append("computed")
            body(log)
        log.append("not reached")

    worker = start(run)
    ready.wait(PATIENCE)
    receipt = quell.interrupt(worker, Mine)
    go.set()
    worker.done()
    assert receipt.state == "delivered"
    return log, worker.error


@pytest.mark.parametrize("region", [quell.mask, quell.shield])
def test_nothing_is_raised_in_running_code_and_leaving_raises(region, start):
    log, error = sent_inside(region, start, lambda log: None)
    assert log == ["computed"] and isinstance(error, Mine)


def test_a_mask_lets_in_where_the_thread_blocks(start):
    def body(log):
        try:
            quell.Event().wait()
        except Mine:
            log.append("in the wait")
        raise Mine

    log, error = sent_inside(quell.mask, start, body)
    assert log == ["computed", "in the wait"] and isinstance(error, Mine)


def test_a_shield_does_not(start):
    def body(log):
        assert quell.Event().wait(0.02) is False
        log.append("waited")

    log, error = sent_inside(quell.shield, start, body)
    assert log == ["computed", "waited"] and isinstance(error, Mine)


def test_a_checkpoint_inside_does_not_deliver(start):
    for region in (quell.mask, quell.shield):
        log, error = sent_inside(
            region, start, lambda log: (quell.checkpoint(), log.append("went on"))
        )
        assert log == ["computed", "went on"] and isinstance(error, Mine)


def test_only_the_outermost_delivers(start):
    def body(log):
        with quell.mask(), quell.shield(), quell.mask():
            log.append("inner")
        log.append("still inside")

    for region in (quell.mask, quell.shield):
        log, error = sent_inside(region, start, body)
        assert log == ["computed", "inner", "still inside"] and isinstance(error, Mine)


def test_leaving_with_an_error_keeps_it_as_the_context(start):
    def body(log):
        raise KeyError

    _, error = sent_inside(quell.mask, start, body)
    assert isinstance(error, Mine) and isinstance(error.__context__, KeyError)


@pytest.mark.parametrize("region", [quell.mask, quell.shield])
def test_one_object_may_be_entered_again_and_must_be_left_in_its_thread(region, start):
    scope = region()
    with scope, scope:
        error = start(lambda: scope.__exit__(None, None, None)).done().error
        assert isinstance(error, RuntimeError) and "was not entered here" in str(error)
    with pytest.raises(RuntimeError, match="was not entered here"):
        scope.__exit__(None, None, None)
    with scope:
        pass
    for wrong in ((1,), (1, 2)):
        with pytest.raises(TypeError, match="takes no arguments"):
            region(*wrong)
    with pytest.raises(TypeError):
        region(x=1)


def test_masks_are_per_thread(start):
    with quell.mask(), quell.shield():
        worker = start(quell.Event().wait).blocked()
        quell.interrupt(worker, Mine)
        assert isinstance(worker.done().error, Mine)


def test_checkpoint_delivers(start):
    def run():
        with quell.mask():
            ready.set()
            spin_until(go.is_set)
            scope = quell.shield()
            scope.__enter__()
        quell.checkpoint()
        log.append("shielded")
        with pytest.raises(Mine):
            scope.__exit__(None, None, None)
        quell.checkpoint()

    ready, go, log = threading.Event(), threading.Event(), []
    worker = start(run)
    ready.wait(PATIENCE)
    quell.interrupt(worker, Mine)
    go.set()
    assert worker.done().error is None and log == ["shielded"]


def test_a_signal_handlers_interrupt_of_its_own_thread_respects_the_mask():
    with pytest.raises(Mine), quell.mask():
        quell.interrupt_main(Mine)
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            pass
