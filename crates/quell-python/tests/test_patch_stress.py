"""quell.patch under fire: no byte, item or lock is lost, and nobody is left behind."""

import contextlib
import hashlib
import os
import queue
import random
import select
import socket
import subprocess
import threading
import time

import pytest
import quell
from conftest import PATIENCE, STRESS, spin_until

pytestmark = pytest.mark.usefixtures("patched")


class Stop(BaseException):
    pass


class Hunter:
    """Interrupts threads again and again, in a native driver's way: as fast as they take it."""

    def __init__(self, *targets):
        self.targets = targets
        self.sent = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._hunt)

    def _hunt(self):
        chance = random.Random(7)
        while not self._over.is_set():
            for target in self.targets:
                if not target.is_alive():
                    return
                with contextlib.suppress(LookupError):
                    quell.interrupt(target, Stop).wait(0.01)
                self.sent += 1
            if chance.random() < 0.5:
                time.sleep(chance.random() * 0.0005)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


def insisted(function, *arguments):
    """The answer of a call that is begun again whenever it is interrupted, and how often that was."""
    interrupts = 0
    while True:
        try:
            return function(*arguments), interrupts
        except Stop:
            interrupts += 1


def where_it_blocks(work):
    """The same work, with interrupts raised only where it blocks."""

    def run():
        answer = None
        # What is left is raised as the mask ends.
        with contextlib.suppress(Stop), quell.mask():
            answer = work()
        return answer

    return run


STREAMS = {
    "pipe": lambda: (os.pipe(), os.read, os.write),
    "socket": lambda: (
        socket.socketpair(),
        lambda s, n: s.recv(n),
        lambda s, data: s.send(data),
    ),
    "socket with a timeout": lambda: (
        [s.settimeout(1000) or s for s in socket.socketpair()],
        lambda s, n: s.recv(n),
        lambda s, data: s.send(data),
    ),
    "file": lambda: (
        [open(fd, mode, buffering=0) for fd, mode in zip(os.pipe(), ("rb", "wb"), strict=True)],
        lambda f, n: f.read(n),
        lambda f, data: f.write(data),
    ),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_no_byte_is_lost_or_read_twice(kind, start):
    (reader, writer), read, write = STREAMS[kind]()
    rounds = 20_000 * STRESS
    sums = [hashlib.sha256(), hashlib.sha256()]
    counts = [0, 0]

    def reads():
        chance = random.Random(1)
        got = 0
        while got < total_size:
            data, interrupts = insisted(read, reader, chance.randrange(1, 3000))
            assert data
            got += len(data)
            sums[0].update(data)
            counts[0] += interrupts

    def writes():
        chance = random.Random(2)
        for size in sizes:
            data = chance.randbytes(size)
            sums[1].update(data)
            while data:
                count, interrupts = insisted(write, writer, data)
                data = data[count:]
                counts[1] += interrupts
            if chance.random() < 0.3:
                time_off()

    def time_off():
        for _ in range(3):
            os.sched_yield()

    chance = random.Random(3)
    sizes = [chance.randrange(1, 4000) for _ in range(rounds)]
    total_size = sum(sizes)
    threads = start(where_it_blocks(reads)), start(where_it_blocks(writes))
    with Hunter(*threads):
        for thread in threads:
            thread.join(PATIENCE * 4)
            assert not thread.is_alive()
    for thread in threads:
        assert thread.error is None, thread.error
    assert sums[0].digest() == sums[1].digest()
    assert counts[0] > 0
    for end in reader, writer:
        os.close(end) if isinstance(end, int) else end.close()


def test_a_lock_is_held_by_one_and_never_left(start):
    lock = threading.Lock()
    rounds = 10_000 * STRESS
    inside = []
    worst = []

    def work():
        interrupts = 0
        for _ in range(rounds):
            _, n = insisted(lock.acquire)
            interrupts += n
            with quell.shield():
                inside.append(1)
                worst.append(len(inside))
                inside.pop()
                lock.release()
        return interrupts

    threads = [start(where_it_blocks(work)) for _ in range(3)]
    with Hunter(*threads):
        for thread in threads:
            thread.join(PATIENCE * 4)
            assert not thread.is_alive()
    assert all(thread.error is None for thread in threads)
    assert max(worst) == 1
    assert lock.acquire(False)


def test_no_item_of_a_simple_queue_is_lost(start):
    items: queue.SimpleQueue[int] = queue.SimpleQueue()
    rounds = 20_000 * STRESS
    got: list[int] = []

    def takes():
        while True:
            item, _ = insisted(items.get)
            if item < 0:
                return
            got.append(item)

    threads = [start(where_it_blocks(takes)) for _ in range(3)]
    with Hunter(*threads):
        for n in range(rounds):
            items.put(n)
            if n % 7 == 0:
                os.sched_yield()
        for _ in threads:
            items.put(-1)
        for thread in threads:
            thread.join(PATIENCE * 4)
            assert not thread.is_alive()
    assert all(thread.error is None for thread in threads)
    assert sorted(got) == list(range(rounds))


def test_no_connection_is_lost(start):
    server = socket.create_server(("127.0.0.1", 0), backlog=64)
    rounds = 300 * STRESS
    seen: set[bytes] = set()

    def accepts():
        while True:
            (connection, _), _ = insisted(server.accept)
            with connection:
                name, _ = insisted(connection.recv, 100)
            if name == b"over":
                return
            seen.add(name)

    threads = [start(where_it_blocks(accepts)) for _ in range(2)]

    def knock(name):
        with socket.create_connection(server.getsockname()) as client:
            client.sendall(name)
            client.shutdown(socket.SHUT_WR)
            client.recv(1)

    with server, Hunter(*threads):
        for n in range(rounds):
            knock(b"%d" % n)
        for _ in threads:
            knock(b"over")
        for thread in threads:
            thread.join(PATIENCE * 4)
            assert not thread.is_alive()
    assert all(thread.error is None for thread in threads)
    assert len(seen) == rounds


def test_a_hundred_threads_in_different_calls_all_end(start):
    cleaned: list[int] = []
    with contextlib.ExitStack() as stack:

        def pair():
            ends = socket.socketpair()
            for end in ends:
                stack.enter_context(end)
            return ends

        def pipe():
            ends = os.pipe()
            for end in ends:
                stack.callback(os.close, end)
            return ends

        def child():
            child = subprocess.Popen(["sleep", "1000"])
            stack.callback(child.wait)
            stack.callback(child.kill)
            return child

        def held(lock):
            lock.acquire()
            return lock

        def poll(end):
            poll = select.poll()
            poll.register(end, select.POLLIN)
            return poll

        kinds = [
            lambda: lambda: time.sleep(1000),
            lambda: (lambda a: lambda: a.recv(1))(pair()[0]),
            lambda: (lambda a: lambda: (a.settimeout(1000), a.recv(1)))(pair()[0]),
            lambda: (lambda r: lambda: os.read(r, 1))(pipe()[0]),
            lambda: (lambda f: lambda: f.readline())(
                stack.enter_context(open(pipe()[0], "rb", closefd=False))
            ),
            lambda: (lambda lock: lambda: lock.acquire())(held(threading.Lock())),
            lambda: (lambda lock: lambda: lock.acquire(timeout=1000))(held(threading.RLock())),
            lambda: threading.Event().wait,
            lambda: threading.Semaphore(0).acquire,
            lambda: queue.Queue().get,
            lambda: queue.SimpleQueue().get,
            lambda: (lambda a: lambda: select.select([a], [], []))(pair()[0]),
            lambda: (lambda p: lambda: p.poll())(poll(pair()[0])),
            lambda: (lambda e: lambda: e.poll())(stack.enter_context(select.epoll())),
            lambda: stack.enter_context(socket.create_server(("127.0.0.1", 0))).accept,
            lambda: child().wait,
            lambda: (lambda a: lambda: a.recvfrom(1))(pair()[0]),
            lambda: (
                lambda r: lambda: os.open(f"/proc/self/fd/{r}", os.O_RDONLY) and os.read(r, 1)
            )(pipe()[0]),
            lambda: (lambda t: t.join)(start(threading.Event().wait)),
            lambda: threading.Barrier(2).wait,
        ]

        def work(call, number):
            def run():
                try:
                    call()
                finally:
                    cleaned.append(number)

            return run

        workers = [start(work(kinds[n % len(kinds)](), n)) for n in range(100)]
        for worker in workers:
            worker.blocked()
        begun = time.monotonic()
        receipts = [quell.interrupt(worker, Stop) for worker in workers]
        spin_until(lambda: len(cleaned) == len(workers))
        took = time.monotonic() - begun
        for worker, receipt in zip(workers, receipts, strict=True):
            assert isinstance(worker.done().error, Stop)
            assert receipt.wait(PATIENCE)
        assert sorted(cleaned) == list(range(len(workers)))
        assert took < PATIENCE
