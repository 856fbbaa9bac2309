"""quell.patch, call by call: what programs call of the system itself. Bytes between descriptors, counters, file locks, signals."""

import contextlib
import fcntl
import os
import signal
import struct
import tempfile
import threading
import time

import pytest
import quell
from conftest import outcome, python
from patch_cases import (
    Cases,
    drain,
    ends_and_has_done_nothing,
    full,
    gives_its_answer,
    interrupted,
    pipe,
)

pytestmark = pytest.mark.usefixtures("patched")

CASES = Cases()
case = CASES.case


def text(stack, size):
    """A file of so many bytes."""
    file = stack.enter_context(tempfile.TemporaryFile())
    file.write(b"x" * size)
    file.flush()
    return file


@case
def readv(stack):
    r, w = pipe(stack)
    first, second = bytearray(3), bytearray(5)
    return (
        (lambda: (os.readv(r, [first, second]), bytes(first), bytes(second))),
        (lambda: os.write(w, b"bytes")),
        (5, b"byt", b"es\0\0\0"),
    )


@case
def writev(stack):
    r, w = pipe(stack)
    full(w)
    return (lambda: os.writev(w, (b"by", b"tes"))), (lambda: drain(r)), 5


@case
def sendfile(stack):
    r, w = pipe(stack)
    full(w)
    file = text(stack, 20)
    return (lambda: os.sendfile(w, file.fileno(), 2, 10)), (lambda: drain(r)), 10


@case
def sendfile_from_where_it_stands(stack):
    r, w = pipe(stack)
    full(w)
    file = text(stack, 20)
    os.lseek(file.fileno(), 15, os.SEEK_SET)
    return (lambda: os.sendfile(w, file.fileno(), None, 10)), (lambda: drain(r)), 5


@case
def splice_in(stack):
    r, w = pipe(stack)
    full(w)
    file = text(stack, 20)
    return (
        (lambda: os.splice(file.fileno(), w, 10, offset_src=12)),
        (lambda: drain(r)),
        8,
    )


@case
def splice_out(stack):
    r, w = pipe(stack)
    file = text(stack, 0)
    return (
        (lambda: (os.splice(r, file.fileno(), 10, None, 2), os.pread(file.fileno(), 10, 0))),
        (lambda: os.write(w, b"bytes")),
        (5, b"\0\0bytes"),
    )


def counter(stack, value):
    fd = os.eventfd(value)
    stack.callback(os.close, fd)
    return fd


@case
def eventfd_read(stack):
    fd = counter(stack, 0)
    return (lambda: os.eventfd_read(fd)), (lambda: os.eventfd_write(fd, 7)), 7


@case
def eventfd_write(stack):
    fd = counter(stack, 0)
    os.eventfd_write(fd, 2**64 - 2)
    return (lambda: os.eventfd_write(fd, 7)), (lambda: os.eventfd_read(fd)), None


def flock_bytes(kind):
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 1, 0)


#: `fcntl.F_OFD_SETLKW`, which the module has from 3.9 on where its headers had it.
OFD_SETLKW = 38


def locked_by_another(stack):
    """A file that another open file has locked, and what frees it."""
    name = stack.enter_context(tempfile.NamedTemporaryFile()).name
    theirs = stack.enter_context(open(name, "r+b"))
    fcntl.fcntl(theirs, OFD_SETLKW, flock_bytes(fcntl.F_WRLCK))
    ours = stack.enter_context(open(name, "r+b"))
    return ours, (lambda: fcntl.fcntl(theirs, OFD_SETLKW, flock_bytes(fcntl.F_UNLCK)))


@case
def fcntl_setlkw(stack):
    file, free = locked_by_another(stack)
    wanted = flock_bytes(fcntl.F_WRLCK)
    return (lambda: fcntl.fcntl(file, fcntl.F_SETLKW, wanted)), free, wanted


@case
def fcntl_ofd_setlkw(stack):
    file, free = locked_by_another(stack)
    wanted = flock_bytes(fcntl.F_RDLCK)
    return (lambda: fcntl.fcntl(file, OFD_SETLKW, wanted)), free, wanted


@case
def os_lockf(stack):
    file, free = locked_by_another(stack)
    return (lambda: os.lockf(file.fileno(), os.F_LOCK, 1)), free, None


@pytest.mark.parametrize("name", CASES)
def test_a_blocked_call_ends_and_has_done_nothing(name, start):
    with contextlib.ExitStack() as stack:
        ends_and_has_done_nothing(*CASES[name](stack), start)


@pytest.mark.parametrize("name", CASES)
def test_a_call_that_need_not_wait_gives_its_answer(name, start):
    with contextlib.ExitStack() as stack:
        gives_its_answer(*CASES[name](stack), start)


# ---- signals

ALL = signal.valid_signals()
WAITS = {
    "sigwait": (lambda: signal.sigwait({signal.SIGUSR1}), lambda got: got),
    "sigwaitinfo": (lambda: signal.sigwaitinfo([signal.SIGUSR1]), lambda got: got.si_signo),
    "sigtimedwait": (lambda: signal.sigtimedwait({signal.SIGUSR1}, 1000), lambda got: got.si_signo),
    "sigwait for all": (lambda: signal.sigwait(ALL), lambda got: got),
}


@pytest.mark.parametrize("blocked", [{signal.SIGUSR1}, ALL], ids=["one blocked", "all blocked"])
@pytest.mark.parametrize("name", WAITS)
def test_a_wait_for_a_signal_ends_and_has_taken_none(name, blocked, start):
    wait, number = WAITS[name]

    def block():
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        return number(wait())

    for _ in range(2):
        interrupted(start(block).blocked())
    worker = start(block).blocked()
    signal.pthread_kill(worker.ident, signal.SIGUSR1)
    assert worker.done().result == signal.SIGUSR1


def test_a_signal_that_has_come_is_taken_at_once(start):
    def block():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        for name in WAITS:
            wait, number = WAITS[name]
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
            got = wait()
            assert number(got) == signal.SIGUSR1
            if name != "sigwait" and not isinstance(got, int):
                assert (got.si_pid, got.si_uid, got.si_errno) == (os.getpid(), os.getuid(), 0)
        before = time.monotonic()
        assert signal.sigtimedwait({signal.SIGUSR1}, 0.01) is None
        assert time.monotonic() - before >= 0.01
        assert signal.sigtimedwait({signal.SIGUSR1}, 0) is None

    worker = start(block).done()
    assert worker.error is None, worker.error


def test_a_pause_ends_by_an_interrupt_and_by_a_signal(start):
    interrupted(start(signal.pause).blocked())
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        worker = start(signal.pause).blocked()
        signal.pthread_kill(worker.ident, signal.SIGUSR1)
        assert worker.done().error is None
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_thread_that_blocks_every_signal_is_reached_in_any_call(start):
    r, w = os.pipe()

    def block():
        # It has been in a call before.
        time.sleep(0.001)
        signal.pthread_sigmask(signal.SIG_BLOCK, ALL)
        os.read(r, 1)

    try:
        interrupted(start(block).blocked())
    finally:
        os.close(r)
        os.close(w)


def test_a_thread_is_told_of_its_mask_what_it_has_made_of_it(start):
    def masks():
        told = []
        for how, some in [
            (signal.SIG_BLOCK, []),
            (signal.SIG_BLOCK, ALL),
            (signal.SIG_BLOCK, [signal.SIGUSR1]),
            (signal.SIG_UNBLOCK, [signal.SIGURG]),
            (signal.SIG_BLOCK, [signal.SIGURG]),
            (signal.SIG_SETMASK, [signal.SIGUSR2]),
            (signal.SIG_SETMASK, [signal.SIGURG]),
            (signal.SIG_SETMASK, []),
            (signal.SIG_BLOCK, []),
        ]:
            told.append(signal.pthread_sigmask(how, some))
            time.sleep(0.001)
        return told

    ours = start(masks).done().result
    quell.unpatch()
    assert ours == start(masks).done().result
    assert signal.SIGURG in ours[2]


# ---- answers and errors

OUTCOMES = {
    "readv, bad descriptor": lambda: os.readv(10_000, [bytearray(1)]),
    "readv, nothing": lambda: os.readv(0, []),
    "readv, read only": lambda: os.readv(0, [b"x"]),
    "readv, too many": lambda: os.readv(0, [bytearray(1)] * 1025),
    "readv, no sequence": lambda: os.readv(0, 1),
    "writev, text": lambda: os.writev(1, ["x"]),
    "writev, bad descriptor": lambda: os.writev(10_000, [b"x"]),
    "sendfile, bad": lambda: os.sendfile(10_000, 0, 0, 1),
    "sendfile, negative": lambda: os.sendfile(1, 0, 0, -1),
    "sendfile, too few": lambda: os.sendfile(1, 0),
    "splice, bad": lambda: os.splice(10_000, 10_001, 1),
    "splice, negative": lambda: os.splice(0, 1, -1),
    "eventfd_read, bad": lambda: os.eventfd_read(10_000),
    "eventfd_write, negative": lambda: os.eventfd_write(10_000, -1),
    "fcntl, bad": lambda: fcntl.fcntl(10_000, fcntl.F_SETLKW, flock_bytes(fcntl.F_WRLCK)),
    "fcntl, short": lambda: fcntl.fcntl(0, fcntl.F_SETLKW, 1),
    "fcntl, other": lambda: fcntl.fcntl(0, fcntl.F_GETFD),
    "lockf, bad": lambda: os.lockf(10_000, os.F_LOCK, 1),
    "lockf, test": lambda: os.lockf(10_000, os.F_TEST, 1),
    "sigwait, a number": lambda: signal.sigwait(1),
    "sigwait, too large": lambda: signal.sigwait([1000]),
    "sigwait, text": lambda: signal.sigwait(["x"]),
    "sigtimedwait, negative": lambda: signal.sigtimedwait([signal.SIGUSR1], -1),
    "sigtimedwait, text": lambda: signal.sigtimedwait([signal.SIGUSR1], "x"),
    "sigmask, how": lambda: signal.pthread_sigmask(1000, []),
    "sigmask, too large": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [1000]),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OUTCOMES)
def test_answers_and_errors_are_those_of_the_original(name, start):
    ours = start(lambda: outcome(OUTCOMES[name])).done().result
    quell.unpatch()
    assert ours == start(lambda: outcome(OUTCOMES[name])).done().result


def test_the_audit_hooks_are_told_the_same():
    """In a process of its own: a hook stays for good."""
    source = """
        import fcntl, os, quell, struct, sys, tempfile, threading
        events = []
        sys.addaudithook(lambda e, a: e in ("fcntl.fcntl", "os.lockf") and events.append((e, a)))
        file = tempfile.TemporaryFile()
        def calls():
            fcntl.fcntl(file, fcntl.F_SETLKW, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 1, 0))
            fcntl.fcntl(file, fcntl.F_GETFD)
            os.lockf(file.fileno(), os.F_LOCK, 1)
        def run():
            events.clear()
            t = threading.Thread(target=calls); t.start(); t.join()
            return list(events)
        theirs = run()
        quell.patch()
        assert run() == theirs and len(theirs) == 3, (run(), theirs)
        print("same")
        """
    assert python(source).stdout == "same\n"
