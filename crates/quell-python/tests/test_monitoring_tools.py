"""Interrupts beside debuggers, coverage tools and profilers that use `sys.monitoring`, which has room for six.

The programs run in processes of their own, because an id that was taken is kept.
"""

import sys
import textwrap
import threading
from typing import Any

import pytest
import quell
from conftest import PATIENCE, STRESS, python

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")

#: What the programs begin with. `take_all()` fills the six ids: a real profiler, and tools of each other kind.
COMMON = """
import cProfile, functools, asyncio, sys, threading, time
import quell

mon, E = sys.monitoring, sys.monitoring.events
KINDS = [E.LINE, E.CALL, None, E.PY_START, E.PY_RETURN, E.BRANCH]
seen = [0] * 6
profile = cProfile.Profile()


class Stop(BaseException):
    pass


def take_all():
    profile.enable()
    for tool, kind in enumerate(KINDS):
        if kind is None:
            assert mon.get_tool(tool) == "cProfile"
            continue
        mon.use_tool_id(tool, f"tool {tool}")
        def event(*_, tool=tool):
            seen[tool] += 1
        mon.register_callback(tool, kind, event)
        mon.set_events(tool, kind)
    for tool in range(6):
        # Local ones too: they are kept apart from the others.
        mon.set_local_events(tool, helper.__code__, E.PY_RETURN)


def helper(n=0):
    return n + 1


def state():
    return [
        (mon.get_tool(t), mon.get_events(t), mon.get_local_events(t, helper.__code__)) for t in range(6)
    ]


def untouched(*functions):
    for tool in range(6):
        for function in functions:
            assert mon.get_local_events(tool, function.__code__) == 0, (tool, function)
        assert mon.register_callback(tool, E.INSTRUCTION, None) is None, tool


def settle():
    # The driver ends its work soon after the interrupt has ended.
    end = time.monotonic() + 30
    before = None
    while time.monotonic() < end and before != (before := state()):
        time.sleep(0.05)
    return before
"""


def program(source: str) -> None:
    python(COMMON + textwrap.dedent(source))


def spin(go: threading.Event) -> None:
    go.set()
    while True:
        pass


def test_the_ids_of_others_are_left_alone() -> None:
    program("""
        for tool in (0, 1, 2, 3, 4):
            mon.use_tool_id(tool, f"tool {tool}")
        calls = []
        mon.register_callback(2, E.PY_START, lambda *a: calls.append(a))
        mon.set_events(2, E.PY_START)
        go = threading.Event()
        def spin():
            go.set()
            try:
                while True: pass
            except Stop:
                out.append(1)
        out = []
        t = threading.Thread(target=spin)
        t.start(); go.wait()
        quell.interrupt(t, Stop)
        t.join()
        assert out == [1]
        assert calls and mon.get_events(2) == E.PY_START
        assert [mon.get_tool(i) for i in range(6)] == [f"tool {i}" for i in range(5)] + ["quell"]
    """)


LOOPS = """
def one_line():
    while True: pass

def counting():
    n = 0
    while n >= 0:
        n += 1

def calls():
    while True:
        helper(helper(1))

def over_a_generator():
    def numbers():
        while True:
            yield helper()
    for n in numbers():
        helper(n)

def comprehensions():
    while True:
        [helper(n) for n in range(5)]

def nested():
    while True:
        for _ in range(10):
            for _ in range(10):
                helper()

def recursion():
    def down(n):
        if n: down(n - 1)
    while True:
        down(20)

def swallows_others():
    while True:
        try:
            raise ValueError
        except ValueError:
            helper()

def with_locks():
    lock = threading.Lock()
    while True:
        with lock:
            helper()

def fresh_functions():
    while True:
        exec("def new():\\n for _ in range(50): pass\\nnew()")

def event_loop():
    async def main():
        while True:
            await asyncio.sleep(0)
    asyncio.run(main())

LOOPS = [one_line, counting, calls, over_a_generator, comprehensions, nested, recursion, swallows_others,
         with_locks, fresh_functions, event_loop]
"""


@pytest.mark.parametrize("where", ["main", "other"])
def test_with_all_six_ids_taken_every_loop_is_interrupted_and_they_stay_as_they_are(
    where: str,
) -> None:
    program(
        LOOPS
        + f"ROUNDS, MAIN = {10 * STRESS}, {where == 'main'}\n"
        + textwrap.dedent("""
        caught, cleaned, entered = [], [], threading.Semaphore(0)

        def rounds():
            for loop in LOOPS:
                for _ in range(ROUNDS):
                    try:
                        try:
                            entered.release()
                            loop()
                        finally:
                            cleaned.append(loop)
                    except Stop:
                        caught.append(loop)

        def send(target):
            for _ in range(ROUNDS * len(LOOPS)):
                assert entered.acquire(timeout=30)
                assert quell.interrupt(target, Stop).wait(30), (caught[-1:], len(caught))

        take_all()
        before = state()
        thread = threading.Thread(
            target=send if MAIN else rounds, args=(threading.main_thread(),) if MAIN else ())
        thread.start()
        rounds() if MAIN else send(thread)
        thread.join()
        assert caught == cleaned == [loop for loop in LOOPS for _ in range(ROUNDS)]
        assert settle() == before, (before, state())
        untouched(*LOOPS)
        assert all(seen[tool] for tool, kind in enumerate(KINDS) if kind), seen
        profile.disable()
        assert profile.getstats()
    """)
    )


def test_a_tool_that_sets_its_events_anew_does_not_lose_the_interrupt() -> None:
    program("""
        def start(code, _):
            for tool in range(6):
                mon.set_local_events(tool, code, 0)
                mon.set_events(tool, E.PY_START)

        for tool in range(6):
            mon.use_tool_id(tool, f"tool {tool}")
            mon.register_callback(tool, E.PY_START, start)
            mon.set_events(tool, E.PY_START)
        caught, entered = [], threading.Semaphore(0)

        def loop():
            for _ in range(20):
                try:
                    entered.release()
                    while True:
                        helper()
                except Stop:
                    caught.append(1)

        thread = threading.Thread(target=loop)
        thread.start()
        for _ in range(20):
            assert entered.acquire(timeout=30)
            assert quell.interrupt(thread, Stop).wait(30)
        thread.join()
        assert len(caught) == 20
        assert [mon.get_events(t) for t in range(6)] == [E.PY_START] * 6
        untouched(loop, helper)
    """)


def test_an_id_that_is_given_up_while_an_interrupt_is_pending_is_taken() -> None:
    program("""
        for tool in range(6):
            mon.use_tool_id(tool, f"tool {tool}")
        go, caught = threading.Event(), []

        def masked():
            with quell.shield():
                go.set()
                while not free:
                    helper()
            while True:
                helper()

        free = False
        thread = threading.Thread(target=masked)
        threading.excepthook = lambda args: caught.append(args.exc_type)
        thread.start()
        go.wait()
        delivery = quell.interrupt(thread, Stop)
        for tool in range(6):
            mon.free_tool_id(tool)
        free = True
        assert delivery.wait(30)
        thread.join()
        assert caught == [Stop]
        quell.interrupt(threading.main_thread(), Stop)
        try:
            while True: helper()
        except Stop:
            pass
        assert [mon.get_tool(t) for t in range(6)].count("quell") <= 1
    """)


def test_where_all_six_watch_instructions_the_main_thread_is_reached_and_others_are_a_clear_error() -> (
    None
):
    program("""
        def watch(code, offset):
            seen[0] += 1

        for tool in range(6):
            mon.use_tool_id(tool, "other")
            mon.register_callback(tool, E.INSTRUCTION, watch)
        main = threading.main_thread()
        def others():
            other = threading.Thread(target=time.sleep, args=(0.2,))
            other.start()
            try:
                quell.interrupt(other, KeyError)
            except RuntimeError as error:
                errors.append(str(error))
            other.join()
        errors = []
        others()
        assert "sys.monitoring" in errors[0], errors
        def spin():
            while True: pass
        for blocked in (spin, lambda: time.sleep(1000)):
            sender = threading.Thread(target=lambda: quell.interrupt(main, Stop).wait(30))
            try:
                sender.start()
                blocked()
            except Stop:
                sender.join()
            else:
                raise AssertionError
        assert all(mon.register_callback(t, E.INSTRUCTION, None) is watch for t in range(6))
    """)


def test_nothing_stays_switched_on(start: Any) -> None:
    go = threading.Event()
    worker = start(lambda: spin(go))
    assert go.wait(PATIENCE)
    quell.interrupt(worker, quell.Interrupt)
    worker.done()
    mon = sys.monitoring
    tool = [mon.get_tool(i) for i in range(6)].index("quell")
    assert mon.get_local_events(tool, spin.__code__) == 0
    assert mon.get_events(tool) == 0
