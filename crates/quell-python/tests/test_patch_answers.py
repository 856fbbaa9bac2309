"""quell.patch: what the calls answer, which errors they raise and what they tell audit hooks is what the originals do."""

import contextlib
import fcntl
import multiprocessing
import os
import queue
import select
import socket
import subprocess
import threading
import time

import pytest
import quell
from conftest import outcome, python

pytestmark = pytest.mark.usefixtures("patched")


def closed_socket():
    a, b = socket.socketpair()
    a.close()
    b.close()
    return a


def reset_socket():
    """A socket whose other end has closed."""
    a, b = socket.socketpair()
    b.close()
    return a


def nobody_listens():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()


def timed(seconds):
    a, b = socket.socketpair()
    a.settimeout(seconds)
    a.other = b  # kept open
    return a


def full_and_timed():
    a = timed(0.01)
    with contextlib.suppress(TimeoutError):
        while True:
            a.send(bytes(1 << 16))
    return a


def full_socket(kind=socket.SOCK_STREAM):
    """A socket that blocks, and has no room."""
    a, b = socket.socketpair(socket.AF_UNIX, kind)
    a.other = b
    a.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            a.send(bytes(1 << 10))
    a.setblocking(True)
    return a


class Socket(socket.socket):
    """Has room for the other end."""


OUTCOMES = {
    "sleep, negative": lambda: time.sleep(-1),
    "sleep, not a number": lambda: time.sleep("1"),
    "sleep, nan": lambda: time.sleep(float("nan")),
    "sleep, too long": lambda: time.sleep(1e300),
    "sleep, an index": lambda: time.sleep(True),
    "sleep, no argument": lambda: time.sleep(),
    "sleep, too many": lambda: time.sleep(1, 2),
    "lock, both": lambda: threading.Lock().acquire(False, 1),
    "lock, negative": lambda: threading.Lock().acquire(True, -2),
    "lock, too long": lambda: threading.Lock().acquire(timeout=1e300),
    "lock, a name": lambda: threading.Lock().acquire(wait=1),
    "lock, too many": lambda: threading.Lock().acquire(True, 1, 1),
    "lock, free": lambda: threading.Lock().acquire(timeout=1),
    "rlock, twice": lambda: [(r := threading.RLock()).acquire(), r.acquire(timeout=1), r.release()],
    "rlock, not owned": lambda: threading.RLock().release(),
    "simple queue, empty": lambda: queue.SimpleQueue().get(False),
    "simple queue, timed": lambda: queue.SimpleQueue().get(timeout=0.01),
    "simple queue, negative": lambda: queue.SimpleQueue().get(timeout=-1),
    "simple queue, a name": lambda: queue.SimpleQueue().get(when=1),
    "queue, timed": lambda: queue.Queue().get(timeout=0.01),
    "read, bad descriptor": lambda: os.read(10_000, 1),
    "read, negative": lambda: os.read(-1, 1),
    "read, negative length": lambda: os.read(0, -1),
    "read, no number": lambda: os.read("0", 1),
    "write, bad descriptor": lambda: os.write(10_000, b"x"),
    "write, text": lambda: os.write(1, "x"),
    "open, missing": lambda: os.open("/does/not/exist", os.O_RDONLY),
    "open, a name": lambda: os.open(path="/does/not/exist", flags=os.O_RDONLY, dir_fd=None),
    "open file, missing": lambda: open("/does/not/exist"),
    "open file, mode": lambda: open("/does/not/exist", "q"),
    "file, closed": lambda: open(os.devnull, "rb", buffering=0).__exit__() or 1,
    "file, not readable": lambda: open(os.devnull, "wb", buffering=0).read(1),
    "file, not writable": lambda: open(os.devnull, "rb", buffering=0).write(b"x"),
    "file, end": lambda: open(os.devnull, "rb", buffering=0).read(),
    "file, closed read": lambda: [f := open(os.devnull, "rb", buffering=0), f.close(), f.read(1)],
    "waitpid, no child": lambda: os.waitpid(1, 0),
    "waitid, no child": lambda: os.waitid(os.P_PID, 1, os.WEXITED),
    "wait4, no child": lambda: os.wait4(1, 0),
    "flock, bad": lambda: fcntl.flock(10_000, fcntl.LOCK_EX),
    "flock, text": lambda: fcntl.flock("x", fcntl.LOCK_EX),
    "lockf, bad": lambda: fcntl.lockf(10_000, fcntl.LOCK_EX),
    "lockf, command": lambda: fcntl.lockf(0, 1000),
    "select, negative": lambda: select.select([], [], [], -1),
    "select, no sequence": lambda: select.select(1, [], []),
    "select, bad": lambda: select.select([10_000], [], [], 1),
    "select, closed": lambda: select.select([closed_socket()], [], [], 1),
    "select, timed": lambda: select.select([], [], [], 0.01),
    "poll, timed": lambda: select.poll().poll(10),
    "poll, too long": lambda: select.poll().poll(1 << 31),
    "poll, text": lambda: select.poll().poll("x"),
    "epoll, timed": lambda: select.epoll().poll(0.01),
    "epoll, too long": lambda: select.epoll().poll(1 << 31),
    "epoll, events": lambda: select.epoll().poll(0.01, 0),
    "epoll, closed": lambda: [e := select.epoll(), e.close(), e.poll(1)],
    "recv, closed": lambda: closed_socket().recv(1),
    "recv, negative": lambda: reset_socket().recv(-1),
    "recv, end": lambda: reset_socket().recv(1),
    "recv, nothing": lambda: timed(1).recv(0),
    "recv, timed": lambda: timed(0.01).recv(1),
    "recv, at once": lambda: timed(0).recv(1),
    "recv, flag": lambda: socket.socketpair()[0].recv(1, socket.MSG_DONTWAIT),
    "recv_into, too small": lambda: reset_socket().recv_into(bytearray(1), 2),
    "recv_into, read only": lambda: reset_socket().recv_into(b"x"),
    "recvfrom, timed": lambda: timed(0.01).recvfrom(1),
    "recvmsg, timed": lambda: timed(0.01).recvmsg(1),
    "send, closed": lambda: closed_socket().send(b"x"),
    "send, reset": lambda: reset_socket().send(b"x"),
    "send, text": lambda: timed(1).send("x"),
    "sendall, timed": lambda: full_and_timed().sendall(bytes(1 << 20)),
    "sendmsg, flag": lambda: full_socket().sendmsg([b"x"], [], socket.MSG_DONTWAIT),
    "sendto, flag": lambda: full_socket(socket.SOCK_DGRAM).sendto(b"x", socket.MSG_DONTWAIT, ""),
    "sendto, arguments": lambda: timed(1).sendto(b"x"),
    "accept, timed": lambda: [
        s := socket.create_server(("127.0.0.1", 0)),
        s.settimeout(0.01),
        s.accept(),
    ],
    "accept, not listening": lambda: socket.socket().accept(),
    "connect, refused": lambda: socket.socket().connect(REFUSED),
    "connect_ex, refused": lambda: socket.socket().connect_ex(REFUSED),
    "connect, timed, refused": lambda: socket.create_connection(REFUSED, 1),
    "connect, address": lambda: socket.socket().connect("x"),
    "connect, unix": lambda: socket.socket(socket.AF_UNIX).connect("/does/not/exist"),
    "communicate, timed": lambda: type(outcome(subprocess.run, ["sleep", "1000"], timeout=0.05)[0]),
    "run": lambda: subprocess.run(["cat"], input=b"x", stdout=subprocess.PIPE).stdout,
    "process lock": lambda: [m := multiprocessing.Lock(), m.acquire(), m.acquire(timeout=0.01)][1:],
    "process rlock": lambda: [m := multiprocessing.RLock(), m.acquire(), m.acquire(), m.release()][
        1:
    ],
    "join, timed": lambda: threading.Thread.join(KEPT, 0.01),
    "join, itself": lambda: threading.current_thread().join(),
}


@pytest.fixture(scope="module", autouse=True)
def fixed():
    """What the calls need that must be the same with and without the patch."""
    global KEPT, REFUSED
    REFUSED = nobody_listens()
    event = threading.Event()
    KEPT = threading.Thread(target=event.wait, daemon=True)
    KEPT.start()
    yield
    event.set()
    KEPT.join()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OUTCOMES)
def test_answers_and_errors_are_those_of_the_original(name, start, monkeypatch):
    real = socket.socketpair

    def socketpair(*arguments):
        a, b = real(*arguments)
        return Socket(a.family, a.type, 0, a.detach()), b

    monkeypatch.setattr(socket, "socketpair", socketpair)

    def ask():
        answer = outcome(OUTCOMES[name])
        if isinstance(answer, list):
            answer = [a for a in answer if isinstance(a, (bool, int, str, type(None)))]
        return answer

    ours = start(ask).done().result
    quell.unpatch()
    theirs = start(ask).done().result
    assert ours == theirs


def test_the_audit_hooks_are_told_the_same():
    """In a process of its own: a hook stays for good."""
    source = """
        import fcntl, os, quell, socket, sys, tempfile, threading, time
        events = []
        sys.addaudithook(lambda e, a: e in watched and events.append((e, a)))
        watched = {"time.sleep", "open", "fcntl.flock", "fcntl.lockf", "socket.connect"}
        server = socket.create_server(("127.0.0.1", 0))
        name = tempfile.mktemp()
        os.mkfifo(name)
        both = os.open(name, os.O_RDWR)
        def calls():
            time.sleep(0.001)
            os.close(os.open(name, os.O_RDONLY))
            open(name).close()
            with tempfile.TemporaryFile() as f:
                del events[-1:]
                fcntl.flock(f, fcntl.LOCK_EX)
                fcntl.lockf(f, fcntl.LOCK_EX, 1)
            with socket.socket() as s:
                s.connect(server.getsockname())
        def run():
            events.clear()
            t = threading.Thread(target=calls); t.start(); t.join()
            return [(e, tuple(x for x in a if isinstance(x, (int, float, str, type(None), tuple))))
                    for e, a in events]
        theirs = run()
        quell.patch()
        ours = run()
        assert len(ours) >= 5 and [e for e, _ in ours] == [e for e, _ in theirs], (ours, theirs)
        assert ours == theirs, (ours, theirs)
        os.unlink(name)
        print("same")
        """
    assert python(source).stdout == "same\n"
