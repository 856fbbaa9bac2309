"""What the tests of single patched calls share: their cases, and what is expected of each."""

import contextlib
import os
import socket

import quell


class Stop(BaseException):
    pass


class Cases(dict):
    """Cases by their names. Each is given an exit stack, and returns the call that blocks, what ends its blocking, and the
    answer then."""

    def case(self, function):
        self[function.__name__] = function
        return function


def pair(stack, *, timeout=None, kind=socket.SOCK_STREAM):
    a, b = socket.socketpair(socket.AF_UNIX, kind)
    stack.enter_context(a)
    stack.enter_context(b)
    a.settimeout(timeout)
    return a, b


def pipe(stack):
    ends = os.pipe()
    for end in ends:
        stack.callback(close, end)
    return ends


def close(fd):
    with contextlib.suppress(OSError):
        os.close(fd)


def full(fd):
    """Fill a pipe or a socket."""
    os.set_blocking(fd, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, bytes(65536))
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, b"x")
    os.set_blocking(fd, True)


def drain(fd):
    os.set_blocking(fd, False)
    with contextlib.suppress(BlockingIOError):
        while os.read(fd, 1 << 20):
            pass
    os.set_blocking(fd, True)


def ends_and_has_done_nothing(block, end, answer, start):
    """Interrupted twice, the call ends each time; ended otherwise, it gives its answer: nothing was taken."""
    for _ in range(2):
        interrupted(start(block).blocked())
    worker = start(block).blocked()
    end()
    worker.done()
    assert worker.error is None
    assert worker.result == answer


def interrupted(worker):
    """Interrupt a thread that is blocked: it raises, and nothing was raised before."""
    quell.interrupt(worker, Stop)
    worker.done()
    assert isinstance(worker.error, Stop), (worker.result, worker.error)
    assert worker.error.__context__ is None


def gives_its_answer(block, end, answer, start):
    """A call that need not wait."""
    end()
    worker = start(block).done()
    assert worker.error is None
    assert worker.result == answer
