"""What comes in the last moment before a wait of the main thread sleeps, when the interpreter's lock is given up and everything has been
looked at, ends the wait all the same.

No luck is needed: a shim (`before_sleep.c`) in front of the C library holds the thread at that place until it has come.
"""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import PATIENCE

#: A wait that is held before each of its first sleeps, while `event` happens.
PROGRAM = """
    import ctypes, os, queue, signal, sys, threading, time
    import quell, quell.threading
    class Stop(BaseException): pass
    shim = ctypes.CDLL(os.environ["LD_PRELOAD"])
    to_hold, timed_out = (ctypes.c_int.in_dll(shim, name) for name in ("to_hold", "timed_out"))
    held, go_on = (ctypes.byref(ctypes.c_byte.in_dll(shim, name)) for name in ("held", "go_on"))
    HOLDS = 2
    def hold(wait, event):
        def happen():
            for _ in range(HOLDS):
                assert shim.sem_wait(held) == 0
                event()
                shim.sem_post(go_on)
        thread = threading.Thread(target=happen, daemon=True)
        thread.start()
        to_hold.value = HOLDS
        try:
            return wait()
        finally:
            # What was not held is not waited for.
            to_hold.value = 0
            shim.sem_post(held)
    lock, event, condition, q = quell.Lock(), quell.Event(), quell.Condition(), quell.Queue()
    semaphore, full, barrier = quell.Semaphore(0), quell.Queue(1), quell.Barrier(2)
    # By another thread: who holds a lock is not interrupted everywhere.
    holder = threading.Thread(target=lock.acquire)
    holder.start()
    holder.join()
    full.put(0)
    main = threading.main_thread()
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or pytest.skip("needs a C compiler")
    shim = tmp_path_factory.mktemp("shim") / "before_sleep.so"
    source = Path(__file__).with_name("before_sleep.c")
    command = [
        compiler,
        "-shared",
        "-fPIC",
        "-O1",
        "-Wall",
        "-Werror",
        "-o",
        shim,
        source,
        "-ldl",
        "-lpthread",
    ]
    subprocess.run(command, check=True)
    return shim


def run(shim: Path, program: str) -> None:
    source = textwrap.dedent(PROGRAM) + textwrap.dedent(program)
    ended = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", source],
        env=dict(os.environ, LD_PRELOAD=str(shim)),
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


each_wait = pytest.mark.parametrize(
    "wait",
    [
        "lock.acquire()",
        "event.wait()",
        "q.get()",
        "full.put(1)",
        "semaphore.acquire()",
        "barrier.wait()",
        "condition.__enter__() and condition.wait()",
    ],
)


@each_wait
def test_an_interrupt(shim: Path, wait: str) -> None:
    run(
        shim,
        f"""
        receipts = []
        try:
            hold(lambda: {wait}, lambda: receipts or receipts.append(quell.interrupt(main, Stop)))
        except Stop:
            assert receipts[0].state == "delivered"
        else:
            raise SystemError("not interrupted")
        """,
    )


@each_wait
def test_a_signal(shim: Path, wait: str) -> None:
    # Its handler runs in that moment, and wakes nobody: the thread looks again by itself.
    run(
        shim,
        f"""
        def stop(*_):
            raise Stop
        signal.signal(signal.SIGALRM, stop)
        sent = []
        def send():
            if not sent:
                sent.append(signal.pthread_kill(main.ident, signal.SIGALRM))
        try:
            hold(lambda: {wait}, send)
        except Stop:
            assert timed_out.value, "not the end of a sleep showed it"
        else:
            raise SystemError("not handled")
        """,
    )


@pytest.mark.parametrize(
    ("wait", "event"),
    [
        ("lock.acquire()", "lock.release()"),
        ("event.wait()", "event.set()"),
        ("q.get()", "q.put(1)"),
        ("full.put(1)", "full.get()"),
        ("semaphore.acquire()", "semaphore.release()"),
    ],
)
def test_what_is_waited_for(shim: Path, wait: str, event: str) -> None:
    run(
        shim,
        f"""
        done = []
        hold(lambda: {wait}, lambda: done or done.append({event}))
        assert done
        """,
    )


def test_a_time_limit(shim: Path) -> None:
    run(
        shim,
        """
        try:
            with quell.timeout(0.01):
                hold(q.get, lambda: time.sleep(0.02))
        except quell.Timeout:
            pass
        else:
            raise SystemError("no limit")
        """,
    )
