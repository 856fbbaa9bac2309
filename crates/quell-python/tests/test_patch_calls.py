"""quell.patch, call by call: each is ended by an interrupt, has done nothing then, and else does what it did."""

import concurrent.futures
import contextlib
import fcntl
import multiprocessing
import os
import queue
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading

import pytest
from patch_cases import (
    Cases,
    drain,
    ends_and_has_done_nothing,
    full,
    gives_its_answer,
    interrupted,
    pair,
    pipe,
)

pytestmark = pytest.mark.usefixtures("patched")


CASES = Cases()
case = CASES.case


# ---- locks, and what is made of them


def held(lock):
    lock.acquire()
    return lock.acquire, lock.release, True


def held_by_with(lock):
    def block():
        with lock:
            return "in"

    lock.acquire()
    return block, lock.release, "in"


@case
def lock(stack):
    return held(threading.Lock())


@case
def lock_timed(stack):
    lock = threading.Lock()
    lock.acquire()
    return (lambda: lock.acquire(True, 1000)), lock.release, True


@case
def lock_with(stack):
    return held_by_with(threading.Lock())


@case
def rlock(stack):
    return held(threading.RLock())


@case
def rlock_with(stack):
    lock = threading.RLock()
    lock.acquire()

    def block():
        with lock, lock:
            return "in"

    return block, lock.release, "in"


@case
def event(stack):
    event = threading.Event()
    return event.wait, event.set, True


@case
def condition(stack):
    condition = threading.Condition()

    def block():
        with condition:
            return condition.wait()

    def notify():
        with condition:
            condition.notify()

    return block, notify, True


@case
def condition_of_a_lock(stack):
    condition = threading.Condition(threading.Lock())

    def block():
        with condition:
            return condition.wait(1000)

    def notify():
        with condition:
            condition.notify()

    return block, notify, True


@case
def semaphore(stack):
    semaphore = threading.Semaphore(0)
    return semaphore.acquire, semaphore.release, True


@case
def barrier(stack):
    event = threading.Barrier(2)

    def block():
        event.reset()
        return event.wait() in (0, 1)

    return block, event.wait, True


@case
def join(stack):
    event = threading.Event()
    thread = threading.Thread(target=event.wait, daemon=True)
    thread.start()
    return thread.join, event.set, None


@case
def join_timed(stack):
    event = threading.Event()
    thread = threading.Thread(target=event.wait, daemon=True)
    thread.start()
    return (lambda: thread.join(1000)), event.set, None


@case
def queue_get(stack):
    items = queue.Queue()
    return items.get, (lambda: items.put("item")), "item"


@case
def queue_put(stack):
    items = queue.Queue(1)
    items.put(0)
    return (lambda: items.put(1)), items.get, None


@case
def queue_join(stack):
    items = queue.Queue()
    items.put(0)
    return items.join, items.task_done, None


@case
def simple_queue(stack):
    items = queue.SimpleQueue()
    return items.get, (lambda: items.put("item")), "item"


@case
def simple_queue_timed(stack):
    items = queue.SimpleQueue()
    return (lambda: items.get(timeout=1000)), (lambda: items.put("item")), "item"


@case
def future(stack):
    future = concurrent.futures.Future()
    return future.result, (lambda: future.set_result(1)), 1


@case
def futures_wait(stack):
    future = concurrent.futures.Future()
    return (
        (lambda: len(concurrent.futures.wait([future]).done)),
        (lambda: future.set_result(1)),
        1,
    )


# ---- descriptors


@case
def os_read(stack):
    r, w = pipe(stack)
    return (lambda: os.read(r, 10)), (lambda: os.write(w, b"bytes")), b"bytes"


@case
def os_write(stack):
    r, w = pipe(stack)
    full(w)
    return (lambda: os.write(w, b"bytes")), (lambda: drain(r)), 5


@case
def file_raw_read(stack):
    r, w = pipe(stack)
    file = stack.enter_context(open(r, "rb", buffering=0, closefd=False))
    return (lambda: file.read(10)), (lambda: os.write(w, b"bytes")), b"bytes"


@case
def file_readall(stack):
    r, w = pipe(stack)
    file = stack.enter_context(open(r, "rb", buffering=0, closefd=False))
    return file.readall, (lambda: (os.write(w, b"bytes"), os.close(w))), b"bytes"


@case
def file_read(stack):
    r, w = pipe(stack)
    file = stack.enter_context(open(r, "rb", closefd=False))
    return (lambda: file.read(5)), (lambda: os.write(w, b"bytes")), b"bytes"


@case
def file_readline(stack):
    r, w = pipe(stack)
    file = stack.enter_context(open(r, encoding="ascii", closefd=False))
    return file.readline, (lambda: os.write(w, b"line\n")), "line\n"


@case
def file_iteration(stack):
    r, w = pipe(stack)
    file = stack.enter_context(open(r, encoding="ascii", closefd=False))
    return (lambda: next(file)), (lambda: os.write(w, b"line\n")), "line\n"


@case
def file_write(stack):
    r, w = pipe(stack)
    full(w)
    file = stack.enter_context(open(w, "wb", buffering=0, closefd=False))
    return (lambda: file.write(b"bytes")), (lambda: drain(r)), 5


@case
def open_fifo(stack):
    path = stack.enter_context(tempfile.TemporaryDirectory()) + "/fifo"
    os.mkfifo(path)

    def block():
        with open(path, "rb") as file:
            return file.name == path

    return block, (lambda: os.close(os.open(path, os.O_WRONLY))), True


@case
def os_open_fifo(stack):
    path = stack.enter_context(tempfile.TemporaryDirectory()) + "/fifo"
    os.mkfifo(path)

    def block():
        fd = os.open(path, os.O_WRONLY)
        inherits = os.get_inheritable(fd)
        os.close(fd)
        return inherits

    return block, (lambda: os.close(os.open(path, os.O_RDONLY))), False


@case
def flock(stack):
    file = stack.enter_context(tempfile.NamedTemporaryFile())
    a = stack.enter_context(open(file.name, "w"))
    b = stack.enter_context(open(file.name, "w"))
    fcntl.flock(a, fcntl.LOCK_EX)
    return (lambda: fcntl.flock(b, fcntl.LOCK_EX)), (lambda: fcntl.flock(a, fcntl.LOCK_UN)), None


@case
def lockf(stack):
    # Of another process: a process has one lock, however often it opens the file.
    file = stack.enter_context(tempfile.NamedTemporaryFile("w"))
    source = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX);"
        "print(1, flush=True); sys.stdin.read()"
    )
    child = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-c", source, file.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    )
    child.stdout.readline()
    return (lambda: fcntl.lockf(file, fcntl.LOCK_EX)), child.stdin.close, None


@case
def stdin(stack):
    r, w = pipe(stack)
    old, sys.stdin = sys.stdin, open(r, encoding="ascii", closefd=False)
    stack.callback(setattr, sys, "stdin", old)
    return input, (lambda: os.write(w, b"line\n")), "line"


# ---- waiting for descriptors


@case
def select_select(stack):
    a, b = pair(stack)
    return (lambda: select.select([a], [], []) == ([a], [], [])), (lambda: b.send(b"x")), True


@case
def select_of_an_iterator(stack):
    a, b = pair(stack)
    return (
        (lambda: select.select(iter([a]), (), [], 1000) == ([a], [], [])),
        (lambda: b.send(b"x")),
        True,
    )


@case
def poll(stack):
    a, b = pair(stack)
    poll = select.poll()
    poll.register(a, select.POLLIN)
    return (lambda: poll.poll() == [(a.fileno(), select.POLLIN)]), (lambda: b.send(b"x")), True


@case
def epoll(stack):
    a, b = pair(stack)
    poll = stack.enter_context(select.epoll())
    poll.register(a, select.EPOLLIN | select.EPOLLET)
    return (
        (lambda: poll.poll(1000, maxevents=3) == [(a.fileno(), select.EPOLLIN)]),
        (lambda: b.send(b"x")),
        True,
    )


@case
def selector(stack):
    a, b = pair(stack)
    selector = stack.enter_context(selectors.DefaultSelector())
    selector.register(a, selectors.EVENT_READ)
    return (lambda: len(selector.select())), (lambda: b.send(b"x")), 1


# ---- sockets


for timeout in (None, 1000):
    suffix = "" if timeout is None else "_timed"

    def define(function, timeout=timeout, suffix=suffix):
        CASES[function.__name__ + suffix] = lambda stack: function(stack, timeout)

    def recv(stack, timeout):
        a, b = pair(stack, timeout=timeout)
        return (lambda: a.recv(10)), (lambda: b.send(b"bytes")), b"bytes"

    def recv_into(stack, timeout):
        a, b = pair(stack, timeout=timeout)
        buffer = bytearray(10)
        return (
            (lambda: (a.recv_into(buffer, 9), bytes(buffer))),
            (lambda: b.send(b"bytes")),
            (5, b"bytes".ljust(10, b"\0")),
        )

    def recvfrom(stack, timeout):
        a, b = pair(stack, timeout=timeout, kind=socket.SOCK_DGRAM)
        return (lambda: a.recvfrom(10)[0]), (lambda: b.send(b"bytes")), b"bytes"

    def recvfrom_into(stack, timeout):
        a, b = pair(stack, timeout=timeout, kind=socket.SOCK_DGRAM)
        return (
            (lambda: a.recvfrom_into(bytearray(10), flags=0)[0]),
            (lambda: b.send(b"bytes")),
            5,
        )

    def recvmsg(stack, timeout):
        a, b = pair(stack, timeout=timeout)
        return (lambda: a.recvmsg(10)[0]), (lambda: b.send(b"bytes")), b"bytes"

    def recvmsg_into(stack, timeout):
        a, b = pair(stack, timeout=timeout)
        return (lambda: a.recvmsg_into([bytearray(10)])[0]), (lambda: b.send(b"bytes")), 5

    def send(stack, timeout):
        a, b = pair(stack, timeout=timeout)
        full(a.fileno())
        a.settimeout(timeout)
        return (lambda: a.send(b"bytes")), (lambda: drain(b.fileno())), 5

    def sendall(stack, timeout):
        a, b = pair(stack, timeout=timeout)
        full(a.fileno())
        a.settimeout(timeout)
        return (lambda: a.sendall(b"bytes")), (lambda: drain(b.fileno())), None

    def sendmsg(stack, timeout):
        a, b = pair(stack, timeout=timeout)
        full(a.fileno())
        a.settimeout(timeout)
        return (lambda: a.sendmsg([b"bytes"])), (lambda: drain(b.fileno())), 5

    def accept(stack, timeout):
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server.settimeout(timeout)
        client = stack.enter_context(socket.socket())

        def block():
            connection, address = server.accept()
            with connection:
                assert connection.gettimeout() is None
                assert not connection.get_inheritable()
                return address == client.getsockname()

        return block, (lambda: client.connect(server.getsockname())), True

    def accept_v6(stack, timeout):
        try:
            server = socket.create_server(("::1", 0), family=socket.AF_INET6)
        except OSError:
            pytest.skip("no IPv6 here")
        stack.enter_context(server)
        server.settimeout(timeout)
        client = stack.enter_context(socket.socket(socket.AF_INET6))

        def block():
            connection, address = server.accept()
            with connection:
                return address == client.getsockname()

        return block, (lambda: client.connect(server.getsockname())), True

    def accept_unix(stack, timeout):
        path = stack.enter_context(tempfile.TemporaryDirectory()) + "/socket"
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(path)
        server.listen()
        server.settimeout(timeout)
        client = stack.enter_context(socket.socket(socket.AF_UNIX))

        def block():
            connection, address = server.accept()
            with connection:
                return address

        return block, (lambda: client.connect(path)), ""

    def makefile(stack, timeout):
        a, b = pair(stack, timeout=timeout)
        file = stack.enter_context(a.makefile("rb"))
        return file.readline, (lambda: b.send(b"line\n")), b"line\n"

    for function in (
        recv, recv_into, recvfrom, recvfrom_into, recvmsg, recvmsg_into, send, sendall, sendmsg,
        accept, accept_v6, accept_unix,
    ):  # fmt: skip
        define(function)
    if timeout is None:
        # A timeout ends the use of such a file.
        define(makefile)


@case
def connect_unix(stack):
    path = stack.enter_context(tempfile.TemporaryDirectory()) + "/socket"
    server = stack.enter_context(socket.socket(socket.AF_UNIX))
    server.bind(path)
    server.listen(0)
    first = stack.enter_context(socket.socket(socket.AF_UNIX))
    first.connect(path)
    second = stack.enter_context(socket.socket(socket.AF_UNIX))

    def accept():
        stack.enter_context(server.accept()[0])

    return (lambda: second.connect(path)), accept, None


# ---- processes


@case
def waitpid(stack):
    child = subprocess.Popen(["sleep", "1000"])
    stack.callback(child.wait)
    pid = child.pid
    return (lambda: os.waitpid(pid, 0) == (pid, signal.SIGKILL)), child.kill, True


@case
def wait4(stack):
    child = subprocess.Popen(["sleep", "1000"])
    stack.callback(child.wait)
    pid = child.pid
    return (lambda: os.wait4(pid, 0)[:2] == (pid, signal.SIGKILL)), child.kill, True


@case
def waitid(stack):
    child = subprocess.Popen(["sleep", "1000"])
    stack.callback(child.wait)
    pid = child.pid
    return (lambda: os.waitid(os.P_PID, pid, os.WEXITED).si_pid == pid), child.kill, True


@case
def popen_wait(stack):
    child = subprocess.Popen(["sleep", "1000"])
    return child.wait, child.kill, -signal.SIGKILL


@case
def popen_wait_timed(stack):
    child = subprocess.Popen(["sleep", "1000"])
    return (lambda: child.wait(1000)), child.kill, -signal.SIGKILL


@case
def communicate(stack):
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    twin = os.dup(child.stdin.fileno())

    def over():
        child.wait()
        child.stdout.close()

    stack.callback(over)
    return child.communicate, (lambda: os.close(twin)), (b"", None)


# ---- multiprocessing


@case
def process_lock(stack):
    return held(multiprocessing.Lock())


@case
def process_lock_with(stack):
    return held_by_with(multiprocessing.Lock())


@case
def process_semaphore(stack):
    semaphore = multiprocessing.Semaphore(0)
    return (lambda: semaphore.acquire(timeout=1000)), semaphore.release, True


@case
def process_event(stack):
    event = multiprocessing.Event()
    return event.wait, event.set, True


@case
def process_queue(stack):
    items = multiprocessing.SimpleQueue()
    return items.get, (lambda: items.put("item")), "item"


@case
def connection(stack):
    a, b = multiprocessing.Pipe()
    stack.enter_context(a)
    stack.enter_context(b)
    return a.recv, (lambda: b.send("item")), "item"


@case
def connection_poll(stack):
    a, b = multiprocessing.Pipe()
    stack.enter_context(a)
    stack.enter_context(b)
    return (lambda: a.poll(None)), (lambda: b.send("item")), True


@pytest.mark.parametrize("name", CASES)
def test_a_blocked_call_ends_and_has_done_nothing(name, start):
    with contextlib.ExitStack() as stack:
        block, end, answer = CASES[name](stack)
        if name == "communicate":
            # It closes the pipes as it is left: subprocess's own way out.
            interrupted(start(block).blocked())
            end()
        else:
            ends_and_has_done_nothing(block, end, answer, start)


@pytest.mark.parametrize("name", CASES)
def test_a_call_that_need_not_wait_gives_its_answer(name, start):
    with contextlib.ExitStack() as stack:
        if name.startswith(("open_fifo", "os_open", "condition", "barrier")):
            pytest.skip("it always waits")
        gives_its_answer(*CASES[name](stack), start)
