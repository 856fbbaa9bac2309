"""quell.patch: what it replaces, for whom, and how it is taken back."""

import _thread
import os
import socket
import sys
import threading
import time
from time import sleep as sleep_of_long_ago

import pytest
import quell
from conftest import python, spin

LOCK_OF_LONG_AGO = threading.Lock()
ACQUIRE_OF_LONG_AGO = LOCK_OF_LONG_AGO.acquire


class Stop(BaseException):
    pass


@pytest.fixture(autouse=True)
def unpatched():
    """Every test begins and ends with nothing replaced."""
    quell.unpatch()
    yield
    quell.unpatch()
    assert not any(p.replaced for p in quell.patchable())


def interrupted(start, function):
    """Whether the function, blocked in a thread, is ended by an interrupt."""
    worker = start(function).blocked()
    quell.interrupt(worker, Stop)
    return isinstance(worker.done().error, Stop)


def test_a_sleep_in_another_thread_ends(start):
    with quell.patch():
        assert interrupted(start, lambda: time.sleep(1000))


def test_who_has_the_function_already_is_reached(start):
    kept = [time.sleep, sleep_of_long_ago]
    with LOCK_OF_LONG_AGO, quell.patch():
        assert time.sleep is kept[0]
        assert interrupted(start, lambda: sleep_of_long_ago(1000))
        assert interrupted(start, ACQUIRE_OF_LONG_AGO)


def test_subclasses_and_their_bound_methods_are_reached(start):
    class Mine(socket.socket):
        pass

    server = Mine()
    server.bind(("127.0.0.1", 0))
    server.listen()
    accept = server.accept
    with server, quell.patch("socket"):
        assert interrupted(start, accept)


def test_code_that_the_interpreter_has_specialised_is_reached(start):
    def nap(seconds):
        sleep_of_long_ago(seconds)

    for _ in range(100):
        nap(0)
    with quell.patch("time"):
        assert interrupted(start, lambda: nap(1000))


def test_undo_brings_back_what_was_there(start):
    patch = quell.patch("time.sleep")
    assert patch.replaced == ("time.sleep",)
    patch.undo()
    assert patch.replaced == ()
    worker = start(lambda: (time.sleep(0.3), spin())).blocked()
    delivery = quell.interrupt(worker, Stop)
    # As ever: the interrupt waits for the end of the call.
    assert not delivery.wait(0.05)
    assert isinstance(worker.done().error, Stop)
    patch.undo()


def test_patched_twice_it_is_undone_twice(start):
    first, second = quell.patch("time"), quell.patch("time", "queue")
    first.undo()
    first.undo()
    assert second.replaced[0] == "time.sleep"
    assert interrupted(start, lambda: time.sleep(1000))
    second.undo()
    assert not any(p.replaced for p in quell.patchable())


def test_unpatch_undoes_everything():
    quell.patch()
    quell.patch("time")
    quell.unpatch()
    assert not any(p.replaced for p in quell.patchable())


def test_groups_and_functions_can_be_chosen_and_left_out():
    with quell.patch("time", "os.read") as patch:
        assert patch.replaced == ("time.sleep", "os.read")
    with quell.patch("processes", exclude=["os.wait", "os.wait3", "os.wait4"]) as patch:
        assert patch.replaced == ("os.waitid", "os.waitpid")
    with quell.patch() as patch:
        assert not patch.refused
        names = {p.name for p in quell.patchable()}
        absent = {"Thread.start", "Thread.join"} if sys.version_info < (3, 13) else set()
        assert {*patch.replaced, *patch.waiting} == names - absent


def test_what_others_rely_on_comes_with_them():
    with quell.patch("SimpleQueue.get") as patch:
        assert "SimpleQueue.put" in patch.replaced
    with quell.patch("ssl") as patch:
        assert "socket.gettimeout" in patch.replaced


def test_a_wrong_name_is_refused_and_nothing_replaced():
    with pytest.raises(ValueError, match=r"nothing called 'tyme'.*patchable"):
        quell.patch("time", "tyme")
    assert not any(p.replaced for p in quell.patchable())


def test_what_is_not_covered_is_said():
    patch = quell.patch("time")
    assert any("getaddrinfo" in what for what in patch.not_covered)
    assert repr(patch) == "<quell.Patch: 1 replaced, 0 waiting, 0 refused>"


def test_a_function_that_somebody_else_has_replaced_is_refused():
    def mine(seconds):
        raise AssertionError

    original, time.sleep = time.sleep, mine
    try:
        with quell.patch("time") as patch:
            assert time.sleep is mine
            assert patch.refused == {"time.sleep": "it is not CPython's own function any more"}
    finally:
        time.sleep = original


def test_modules_that_come_later_are_patched_when_they_come():
    text = python(
        """
        import sys, _thread, quell
        patch = quell.patch()
        assert "_socket" not in sys.modules and "_ssl" not in sys.modules
        assert "socket.recv" in patch.waiting and "SSLSocket.read" in patch.waiting
        import socket
        assert "socket.recv" in patch.replaced and "SSLSocket.read" in patch.waiting
        import _ssl
        patch.undo()
        assert not any(p.replaced for p in quell.patchable())
        import _multiprocessing
        assert not any(p.replaced for p in quell.patchable())
        print("right")
        """
    )
    assert text.stdout == "right\n"


def test_the_functions_look_as_they_did():
    before = [
        (f.__name__, f.__doc__, repr(f)) for f in (time.sleep, os.read, _thread.RLock.acquire)
    ]
    with quell.patch():
        now = [
            (f.__name__, f.__doc__, repr(f)) for f in (time.sleep, os.read, _thread.RLock.acquire)
        ]
    assert before == now


def test_in_the_main_thread_signals_and_interrupts_do_what_they_did():
    text = python(
        """
        import quell, signal, threading, time
        quell.patch()
        class Alarm(Exception): pass
        def ring(*_): raise Alarm
        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        try: time.sleep(100)
        except Alarm: print("alarm")
        me = threading.main_thread()
        threading.Timer(0.05, lambda: quell.interrupt(me)).start()
        try: time.sleep(100)
        except quell.Interrupt: print("interrupt")
        try:
            with quell.timeout(0.05): threading.Lock().acquire(); threading.Event().wait()
        except quell.Timeout: print("timeout")
        """
    )
    assert text.stdout == "alarm\ninterrupt\ntimeout\n"


def test_a_timeout_in_another_thread_ends_its_block(start):
    def work():
        with pytest.raises(quell.Timeout), quell.timeout(0.05):
            time.sleep(1000)
        with quell.timeout(1000):
            time.sleep(0.001)
        return "on"

    with quell.patch():
        assert start(work).done().result == "on"


def test_a_shielded_call_goes_on_and_a_masked_one_ends(start):
    def shielded():
        with quell.shield():
            time.sleep(0.2)
            ended.append("by itself")

    def masked():
        with quell.mask():
            time.sleep(1000)

    ended: list[str] = []
    with quell.patch():
        worker = start(shielded).blocked()
        quell.interrupt(worker, Stop)
        assert isinstance(worker.done().error, Stop)
        assert ended == ["by itself"]
        assert interrupted(start, masked)


def test_a_daemon_blocked_at_exit_does_no_harm():
    text = python(
        """
        import quell, threading, time, socket, queue
        quell.patch()
        a, b = socket.socketpair()
        for f in (lambda: time.sleep(1000), lambda: a.recv(1), queue.SimpleQueue().get,
                  threading.Event().wait):
            threading.Thread(target=f, daemon=True).start()
        time.sleep(0.05)
        print("over")
        """
    )
    assert text.stdout == "over\n"
    assert text.stderr == ""


def test_daemons_that_run_at_exit_do_no_harm():
    """The interpreter ends such threads by unwinding their stacks, which must not get through native frames of quell's."""
    text = python(
        """
        import quell, select, sys, threading, time
        quell.patch()
        def spins():
            while True: pass
        def naps():
            while True: time.sleep(0.0001); time.sleep(0); select.select([], [], [], 0)
        def runs_in_a_patched_call():
            open("/dev/null", opener=lambda *_: spins())
        for f in (spins, naps, runs_in_a_patched_call) * 2:
            threading.Thread(target=f, daemon=True).start()
        time.sleep(0.05)
        print("over")
        """
    )
    assert text.stdout == "over\n"
    assert text.stderr == ""


def test_a_fork_can_use_all_of_it():
    text = python(
        """
        import os, quell, queue, threading, time
        quell.patch()
        q = queue.SimpleQueue()
        t = threading.Thread(target=q.get, daemon=True); t.start()
        def forks():
            pid = os.fork()
            if pid == 0:
                got = []
                other = threading.Thread(target=lambda: got.append(q.get()))
                other.start()
                time.sleep(0.02)
                q.put("child")
                other.join()
                os._exit(0 if got == ["child"] else 1)
            statuses.append(os.waitpid(pid, 0)[1])
        statuses = []
        w = threading.Thread(target=forks); w.start(); w.join()
        print(statuses)
        """
    )
    assert text.stdout == "[0]\n"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="own locks from 3.12 on")
def test_other_interpreters_are_left_alone():
    text = python(
        """
        import quell, time
        try: import _interpreters as i
        except ImportError: import _xxsubinterpreters as i
        quell.patch()
        other = i.create()
        (i.exec if hasattr(i, "exec") else i.run_string)(other, "import time, threading; time.sleep(0.01);"
            "l = threading.Lock(); l.acquire(); print(l.acquire(timeout=0.01), flush=True)")
        i.destroy(other)
        """
    )
    assert text.stdout == "False\n"
