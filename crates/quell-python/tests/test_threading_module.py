"""quell.threading stands in for threading."""

import subprocess
import sys
import textwrap
import threading as standard
import time

import pytest
import quell
from conftest import PATIENCE, spin, spin_until
from quell import threading

PRIMITIVES = (
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "RLock",
    "Semaphore",
)


class Mine(BaseException):
    pass


def test_everything_of_the_standard_module_is_there():
    assert set(threading.__all__) == set(standard.__all__)
    assert len(threading.__all__) == len(set(threading.__all__))
    assert set(dir(standard)) <= set(dir(threading))
    own = {*PRIMITIVES, "Thread", "Timer"}
    for name in dir(standard):
        if name.startswith("__"):
            continue
        same = getattr(threading, name) is getattr(standard, name)
        assert same != (name in own), name
    for name in PRIMITIVES:
        assert getattr(threading, name) is getattr(quell, name)


def test_names_that_are_not_there():
    with pytest.raises(AttributeError, match=r"module 'quell.threading' has no attribute 'Lokc'"):
        threading.Lokc  # noqa: B018


def test_star_import():
    names = {}
    exec("from quell.threading import *", names)
    assert names["Lock"] is quell.Lock and set(standard.__all__) <= set(names)


def test_the_hook_is_the_standard_modules(start):
    seen = []
    old = threading.excepthook
    assert old is standard.excepthook
    threading.excepthook = seen.append
    try:
        assert standard.excepthook == seen.append
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
    finally:
        threading.excepthook = old
    assert seen[0].exc_type is ZeroDivisionError and seen[0].thread is thread
    assert standard.excepthook is old


def test_importing_the_package_does_not_import_threading():
    code = "import sys, quell; print('threading' in sys.modules, 'quell.threading' in sys.modules)"
    ran = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert ran.stdout.split() == ["False", "False"], ran.stderr


class Kept(threading.Thread):
    """Keeps what its function raised."""

    error = None

    def run(self):
        try:
            super().run()
        except BaseException as error:
            self.error = error


def begun(target):
    thread = Kept(target=target, daemon=True)
    thread.start()
    return thread


def test_a_thread_is_one_of_the_standard_modules_and_can_be_interrupted():
    thread = begun(spin)
    assert isinstance(thread, standard.Thread) and thread in standard.enumerate()
    assert thread.interrupt(Mine).wait(PATIENCE)
    thread.join(PATIENCE)
    assert isinstance(thread.error, Mine) and not thread.is_alive()
    event = threading.Event()
    thread = begun(event.wait)
    assert thread.interrupt(force=True).wait(PATIENCE)
    thread.join(PATIENCE)
    assert isinstance(thread.error, quell.Interrupt)
    with pytest.raises(LookupError, match="has ended"):
        thread.interrupt()
    with pytest.raises(RuntimeError, match="has not been started"):
        threading.Thread().interrupt()


def test_join():
    go = threading.Event()
    thread = begun(go.wait)
    for timeout in (0, -1, 0.01):
        begin = time.monotonic()
        assert thread.join(timeout) is None and thread.is_alive()
        assert time.monotonic() - begin < PATIENCE
    go.set()
    thread.join(timeout=PATIENCE)
    assert not thread.is_alive()
    thread.join()
    for wrong in (threading.Thread(), standard.Thread()):
        with pytest.raises(RuntimeError, match="cannot join thread before it is started"):
            wrong.join()
    me = begun(lambda: threading.current_thread().join())
    me.join()
    assert isinstance(me.error, RuntimeError)
    with pytest.raises(RuntimeError, match="threads can only be started once"):
        me.start()
    me.join()


def test_a_join_can_be_interrupted(start):
    go = threading.Event()
    thread = begun(go.wait)
    worker = start(thread.join).blocked()
    quell.interrupt(worker, Mine)
    assert isinstance(worker.done().error, Mine) and thread.is_alive()
    with pytest.raises(quell.Timeout), quell.timeout(0.01):
        thread.join()
    go.set()
    thread.join()


def test_a_thread_whose_init_was_not_called():
    class Late(threading.Thread):
        def __init__(self):
            pass

    for use in (Late().start, Late().join):
        with pytest.raises(RuntimeError, match=r"__init__\(\) not called|not initialized"):
            use()


def test_timer():
    called = threading.Event()
    timer = threading.Timer(0.001, called.set)
    assert isinstance(timer, standard.Timer) and isinstance(timer, threading.Thread)
    timer.start()
    timer.join()
    assert called.is_set() and timer.finished.is_set()
    calls = []
    timer = threading.Timer(
        1000, lambda *args, **kwargs: calls.append((args, kwargs)), [1], {"a": 2}
    )
    timer.start()
    timer.cancel()
    timer.join()
    assert calls == [] and timer.args == [1] and timer.kwargs == {"a": 2}
    timer.run()
    assert calls == []
    timer = threading.Timer(1000, spin)
    timer.start()
    seen = []
    old, standard.excepthook = standard.excepthook, seen.append
    try:
        timer.interrupt(Mine)
        timer.join()
    finally:
        standard.excepthook = old
    assert seen[0].exc_type is Mine


def test_local():
    data = threading.local()
    data.name = "main"
    thread = begun(lambda: data.name)
    thread.join()
    assert isinstance(thread.error, AttributeError) and data.name == "main"


def test_threads_do_not_keep_the_interpreter_and_end_with_it():
    code = """
        from quell import threading
        import time
        event = threading.Event()
        threading.Thread(target=event.wait, daemon=True).start()
        threading.Thread(target=lambda: (time.sleep(0.05), print("late"))).start()
        print("main")
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert (ran.stdout.split(), ran.stderr, ran.returncode) == (["main", "late"], "", 0)


def test_a_child_process_does_not_wait_for_threads_it_does_not_have():
    code = """
        import os
        from quell import threading
        go = threading.Event()
        thread = threading.Thread(target=go.wait, daemon=True)
        thread.start()
        if (child := os.fork()) == 0:
            thread.join()
            os._exit(7 if not thread.is_alive() else 8)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        go.set()
        thread.join()
    """
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.stdout.strip(), ran.stderr) == ("7", "")


def test_spinning_threads_are_joined_after_an_interrupt():
    threads = [begun(spin) for _ in range(4)]
    for thread in threads:
        thread.interrupt(Mine)
    for thread in threads:
        thread.join(PATIENCE)
        assert isinstance(thread.error, Mine)
    spin_until(lambda: not any(thread in standard.enumerate() for thread in threads))
