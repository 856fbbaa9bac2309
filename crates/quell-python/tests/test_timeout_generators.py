"""A timeout entered in a generator or coroutine ends that one's block, and nothing of who consumes it."""

import asyncio
import contextlib
import time

import pytest
import quell
from conftest import nothing, spin

SHORT = 0.02
LONG = 3600.0


def test_nothing_is_raised_in_the_consumer_of_a_generator(start):
    # PEP 789.
    def numbers():
        with quell.timeout(SHORT):
            yield 1
            yield 2
            spin()

    def consume():
        iterator = numbers()
        assert next(iterator) == 1
        # Due while the generator is suspended: neither in Python code, nor in a wait, nor in a call.
        end = time.monotonic() + 5 * SHORT
        while time.monotonic() < end:
            pass
        assert quell.Event().wait(3 * SHORT) is False
        time.sleep(3 * SHORT)
        # It goes off when the generator runs again.
        with pytest.raises(quell.Timeout):
            for _ in iterator:
                pass

    consume()
    assert start(consume).done().error is None


def test_a_generator_that_is_closed_takes_its_timeout_along():
    def numbers():
        with quell.timeout(SHORT):
            yield 1

    iterator = numbers()
    next(iterator)
    time.sleep(2 * SHORT)
    iterator.close()
    time.sleep(2 * SHORT)
    iterator = numbers()
    next(iterator)
    del iterator
    time.sleep(2 * SHORT)


def test_entered_through_an_exit_stack_in_a_generator():
    def numbers():
        with contextlib.ExitStack() as stack:
            stack.enter_context(quell.timeout(SHORT))
            yield 1
            spin()

    iterator = numbers()
    next(iterator)
    end = time.monotonic() + 5 * SHORT
    while time.monotonic() < end:
        pass
    with pytest.raises(quell.Timeout):
        next(iterator)
    with pytest.raises(quell.Timeout), contextlib.ExitStack() as stack:
        stack.enter_context(quell.timeout(SHORT))
        spin()


def test_an_exit_stack_enters_and_leaves_in_one_piece_as_a_with_statement_does():
    """Over while the stack enters it, it goes off in the block; and a manager that was entered is left, whenever."""
    entered = []

    class Manager:
        def __enter__(self):
            entered.append(self)

        def __exit__(self, *_):
            entered.remove(self)

    def generator(seconds):
        with contextlib.ExitStack() as stack:
            stack.enter_context(quell.timeout(seconds))
            yield
            spin()

    def function(seconds):
        with contextlib.ExitStack() as stack:
            stack.enter_context(quell.timeout(seconds))
            stack.enter_context(Manager())
            stack.callback(nothing)
            spin()

    def outside(seconds):
        with quell.timeout(seconds):
            while True:
                stack = contextlib.ExitStack()
                try:
                    stack.enter_context(Manager())
                finally:
                    stack.close()

    for i in range(60):
        seconds = i % 20 * 5e-6
        with pytest.raises(quell.Timeout):
            function(seconds)
        with pytest.raises(quell.Timeout):
            outside(seconds + 1e-4)
        with pytest.raises(quell.Timeout):
            list(generator(seconds))
    assert not entered


def test_in_a_context_manager_made_of_a_generator_it_covers_the_with_block():
    @contextlib.contextmanager
    def limited():
        with quell.timeout(SHORT):
            yield

    with pytest.raises(quell.Timeout), limited():
        spin()
    with pytest.raises(quell.Timeout), limited(), quell.timeout(LONG):
        quell.Event().wait()
    with limited():
        pass

    def numbers():
        with limited():
            yield 1
            spin()

    iterator = numbers()
    next(iterator)
    end = time.monotonic() + 5 * SHORT
    while time.monotonic() < end:
        pass
    with pytest.raises(quell.Timeout):
        next(iterator)


def test_in_a_coroutine_it_does_not_end_other_tasks():
    async def limited(log):
        try:
            with quell.timeout(SHORT):
                await asyncio.sleep(5 * SHORT)
                spin()
        except quell.Timeout:
            log.append("timeout")

    async def other(log):
        end = time.monotonic() + 4 * SHORT
        while time.monotonic() < end:
            await asyncio.sleep(0)
        log.append("other")

    async def main():
        log = []
        await asyncio.gather(limited(log), other(log))
        return log

    assert sorted(asyncio.run(main())) == ["other", "timeout"]
