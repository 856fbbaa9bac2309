"""Delivery beside everything else that lives in an interpreter: tracers, coverage, signals, forks, shutdown.

Much of this needs a process of its own; `python()` runs one. Tools of `sys.monitoring` are in `test_monitoring_tools.py`.
"""

import collections
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import quell
from conftest import PATIENCE, STRESS, python


class Stop(BaseException):
    """What these tests interrupt with."""


def spin(go: threading.Event) -> None:
    go.set()
    while True:
        pass


def spinning(start: Any) -> Any:
    """A thread in an endless loop."""
    go = threading.Event()
    worker = start(lambda: spin(go))
    assert go.wait(PATIENCE)
    return worker


def test_the_traceback_shows_the_line_that_ran(start: Any) -> None:
    worker = spinning(start)
    quell.interrupt(worker, Stop)
    error = worker.done().error
    frames = traceback.extract_tb(error.__traceback__)
    assert frames[-1].name == "spin"
    assert frames[-1].line in ("while True:", "pass")


def test_an_instance_arrives_as_itself(start: Any) -> None:
    worker = spinning(start)
    error = Stop("why", 17)
    error.add_note("a note")
    quell.interrupt(worker, error)
    assert worker.done().error is error
    assert error.__notes__ == ["a note"]


def test_an_exception_being_handled_becomes_the_context(start: Any) -> None:
    go = threading.Event()

    def handle() -> None:
        try:
            raise KeyError("first")
        except KeyError:
            spin(go)

    worker = start(handle)
    assert go.wait(PATIENCE)
    quell.interrupt(worker, Stop)
    error = worker.done().error
    assert isinstance(error, Stop)
    assert isinstance(error.__context__, KeyError)


def test_a_trace_function_sees_every_event_and_stays(start: Any) -> None:
    rounds = 200
    seen: collections.Counter[str] = collections.Counter()
    ready = threading.Semaphore(0)
    kept: list[bool] = []

    def step(n: int) -> int:
        return n + 1

    def tracer(_frame: Any, event: str, _argument: object) -> Any:
        seen[event] += 1
        return tracer

    def traced() -> None:
        for _ in range(rounds):
            sys.settrace(tracer)
            try:
                ready.release()
                n = 0
                while True:
                    n = step(n)
            except Stop:
                kept.append(sys.gettrace() is tracer)
            finally:
                sys.settrace(None)

    worker = start(traced)
    for _ in range(rounds):
        assert ready.acquire(timeout=PATIENCE)
        assert quell.interrupt(worker, Stop).wait(PATIENCE)
    worker.done()
    assert worker.error is None
    assert kept == [True] * rounds
    assert set(seen) <= {"call", "line", "return", "exception"}, "no opcode event is the tracer's"
    assert seen["exception"] >= 1


def test_coverage_measures_the_same_with_interrupts_flying(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
            import sys, threading
            import quell
            class Stop(BaseException): pass
            ready = threading.Semaphore(0)
            def odd(n):
                return n % 2
            def work():
                n = 0
                while True:
                    if odd(n):
                        n += 1
                    else:
                        n += 3
            def target():
                for i in range(200):
                    try:
                        ready.release()
                        work()
                    except Stop:
                        caught.append(i)
                never = False
                if never:
                    print("not run")
            caught = []
            t = threading.Thread(target=target)
            t.start()
            for i in range(200):
                ready.acquire()
                assert quell.interrupt(t, Stop).wait(30)
            t.join()
            assert caught == list(range(200))
        """)
    )
    run = [sys.executable, "-m", "coverage"]
    subprocess.run([*run, "run", "program.py"], check=True, cwd=tmp_path, timeout=PATIENCE * 4)
    report = subprocess.run(
        [*run, "report", "-m"], check=True, cwd=tmp_path, capture_output=True, text=True
    )
    line = next(n for n, t in enumerate(program.read_text().splitlines(), 1) if "not run" in t)
    row = next(r for r in report.stdout.splitlines() if r.startswith("program.py"))
    assert row.split("%")[1].strip() == str(line), report.stdout


def test_the_programs_own_signal_handlers_go_on(tmp_path: Path) -> None:
    python("""
        import signal, threading, time, quell
        alarms = []
        signal.signal(signal.SIGALRM, lambda *a: alarms.append(threading.get_ident()))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        class Stop(BaseException): pass
        main = threading.main_thread()
        def sender():
            for i in range(300):
                ready.acquire()
                assert quell.interrupt(main, Stop(i)).wait(30)
        ready = threading.Semaphore(0)
        threading.Thread(target=sender).start()
        got = []
        for i in range(300):
            try:
                ready.release()
                if i % 2:
                    time.sleep(30)
                else:
                    while True: pass
            except Stop as stop:
                got.append(stop.args[0])
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert got == list(range(300)), got
        assert len(alarms) > 10 and set(alarms) == {main.ident}
    """)


def test_a_forked_child_starts_clean() -> None:
    python("""
        import os, threading, quell
        class Stop(BaseException): pass
        go = threading.Event()
        def spin():
            go.set()
            try:
                while True: pass
            except Stop:
                pass
        t = threading.Thread(target=spin)
        t.start(); go.wait()
        with quell.shield():
            mine = quell.interrupt(threading.main_thread(), Stop)
            pid = os.fork()
            if pid == 0:
                # What was pending belongs to the parent, and so do the other threads.
                quell.checkpoint()
                go2 = threading.Event()
                out = []
                def child():
                    go2.set()
                    try:
                        while True: pass
                    except Stop:
                        out.append(1)
                c = threading.Thread(target=child)
                c.start(); go2.wait()
                quell.interrupt(c, Stop).wait()
                c.join()
                os._exit(7 if out == [1] else 8)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
            assert mine.withdraw()
        quell.interrupt(t, Stop)
        t.join()
    """)


def test_shutdown_with_interrupts_in_flight() -> None:
    for _ in range(5 * STRESS):
        python("""
            import threading, quell, time, atexit
            class Stop(BaseException): pass
            go = threading.Semaphore(0)
            def spin():
                with quell.shield():
                    go.release()
                    while True: pass
            def sleep():
                go.release()
                time.sleep(1000)
            ts = [threading.Thread(target=f, daemon=True) for f in (spin, sleep) * 3]
            for t in ts: t.start()
            for t in ts: go.acquire()
            for t in ts: quell.interrupt(t, Stop)
            atexit.register(lambda: [quell.interrupt(t, Stop) for t in ts])
        """)


def test_records_of_ended_threads_are_given_up() -> None:
    python("""
        import sys, threading, quell
        sys.setswitchinterval(1e-5)
        class Stop(BaseException): pass
        def resident():
            with open("/proc/self/statm") as statm:
                return int(statm.read().split()[1]) * 4096
        def round():
            go = threading.Event()
            def spin():
                try:
                    # Inside: an interrupt before the try would have its traceback printed, which takes memory of its own.
                    go.set()
                    while True: pass
                except Stop:
                    pass
            t = threading.Thread(target=spin)
            t.start(); go.wait()
            quell.interrupt(t, Stop)
            t.join()
        for _ in range(500): round()
        before = resident()
        for _ in range(3000): round()
        grown = resident() - before
        assert grown < 2_000_000, grown
    """)


def test_no_warnings_and_no_noise_in_development_mode() -> None:
    ended = python(
        """
        import threading, time, quell
        class Stop(BaseException): pass
        ready = threading.Semaphore(0)
        def work():
            for call in (lambda: time.sleep(1000), lambda: [0 for _ in iter(int, 1)]) * 10:
                try:
                    ready.release()
                    call()
                except Stop:
                    pass
        t = threading.Thread(target=work)
        t.start()
        for i in range(20):
            ready.acquire()
            quell.interrupt(t, Stop, impersonate=True).wait()
        t.join()
        """,
        "-X",
        "dev",
        "-W",
        "error",
    )
    assert ended.stderr == ""


def test_impersonation_gives_the_identity_back(start: Any) -> None:
    worker = start(lambda: time.sleep(1000)).blocked()
    assert quell.interrupt(worker, Stop, impersonate=True).wait(PATIENCE)
    assert isinstance(worker.done().error, Stop)
    ran: list[int] = []
    old = signal.signal(signal.SIGUSR1, lambda *_: ran.append(threading.get_ident()))
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        end = time.monotonic() + PATIENCE
        while not ran and time.monotonic() < end:
            time.sleep(0.001)
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert ran == [threading.main_thread().ident]


def test_a_shielded_main_thread_is_signalled_once() -> None:
    """Other people's system calls should not be woken for what they may not have yet."""
    python("""
        import select, signal, threading, time, quell
        class Stop(BaseException): pass
        main = threading.main_thread()
        numbers = set(range(signal.SIGRTMIN, signal.SIGRTMAX + 1))
        ours = [n for n in numbers if callable(signal.getsignal(n))]
        assert len(ours) == 1
        handler, calls = signal.getsignal(ours[0]), []
        def counting(number, frame):
            calls.append(number)
            handler(number, frame)
        signal.signal(ours[0], counting)
        def send():
            quell.interrupt(main, Stop)
        try:
            with quell.shield():
                threading.Timer(0.05, send).start()
                time.sleep(0.5)
        except Stop:
            caught = True
        assert caught
        assert 1 <= len(calls) <= 2, calls
    """)
