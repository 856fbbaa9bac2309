"""quell.patch in what programs are made of: their HTTP clients, pipelines, logs, pools and queues end where they wait, and go on
afterwards."""

import concurrent.futures
import contextlib
import gc
import http.client
import logging
import multiprocessing
import os
import socket
import ssl
import subprocess
import threading
import urllib.request

import pytest
import quell
from conftest import PATIENCE, spin_until
from patch_cases import Stop, drain, full, interrupted, pipe

requests = pytest.importorskip("requests")
urllib3 = pytest.importorskip("urllib3")

pytestmark = pytest.mark.usefixtures("patched")


@pytest.fixture
def stack():
    with contextlib.ExitStack() as stack:
        yield stack


# ---- HTTP


def by_http_client(url, tls=None):
    scheme, _, rest = url.partition("://")
    where = rest.rstrip("/")
    if scheme == "https":
        connection = http.client.HTTPSConnection(where, context=tls)
    else:
        connection = http.client.HTTPConnection(where)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        return connection.getresponse().read()


def by_urllib(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url) as response:
        return response.read()


def by_requests(url, session=None):
    with session or requests.Session() as session:
        # Whatever proxies the environment names.
        session.trust_env = False
        return session.get(url, timeout=1000).content


def by_urllib3(url):
    with urllib3.PoolManager() as pool:
        return pool.request("GET", url).data


CLIENTS = [by_http_client, by_urllib, by_requests, by_urllib3]


def never_accepts(stack):
    """A server whose backlog is full: a connection is not even made."""
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    while True:
        filler = stack.enter_context(socket.socket())
        filler.settimeout(0.05)
        try:
            filler.connect(server.getsockname())
        except TimeoutError:
            return server.getsockname()


def never_reads(stack):
    """A server that has the connection, and does nothing with it: no handshake, no answer."""
    return stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()


def begins_to_answer(stack, start, *, rest=None, tls=None, begun=None):
    """A server that sends a part of its answers and tells so, and the rest if there is one."""
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            if tls is not None:
                connection = tls.wrap_socket(connection, server_side=True)
            with connection:
                while not connection.recv(1 << 16).endswith(b"\r\n\r\n"):
                    pass
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ")
                if begun is not None:
                    begun.set()
                if rest is None:
                    # Until the other end gives up.
                    with contextlib.suppress(OSError):
                        connection.recv(1)
                else:
                    connection.sendall(rest)

    start(serve)
    # Wakes the accept, which a mere close would not.
    stack.callback(server.shutdown, socket.SHUT_RDWR)
    return server.getsockname()


PHASES = {
    "connect": lambda stack, start: ("http", never_accepts(stack)),
    "handshake": lambda stack, start: ("https", never_reads(stack)),
    "headers": lambda stack, start: ("http", never_reads(stack)),
    "body": lambda stack, start: ("http", begins_to_answer(stack, start)),
}


# On 3.11 and 3.12 the standard library leaves a socket to the collector whose handshake has failed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_of_a_server_that_does_not_answer_ends(client, phase, stack, start):
    scheme, (host, port) = PHASES[phase](stack, start)
    worker = start(lambda: client(f"{scheme}://{host}:{port}/")).blocked()
    quell.interrupt(worker, Stop)
    assert isinstance(worker.done().error, Stop)
    worker.error = None
    gc.collect()


def test_a_session_goes_on_after_an_interrupt(stack, start):
    session = requests.Session()
    silent, speaks = begins_to_answer(stack, start), begins_to_answer(stack, start, rest=b"whole")
    get = lambda address: by_requests("http://{}:{}/".format(*address), session)  # noqa: E731
    for _ in range(3):
        worker = start(lambda: get(silent)).blocked()
        quell.interrupt(worker, Stop)
        assert isinstance(worker.done().error, Stop)
        assert start(lambda: get(speaks)).done().result == b"half whole"


@pytest.mark.parametrize("rest", [None, b"whole"], ids=["silent", "answers"])
def test_http_client_over_tls(rest, stack, start, certificate):
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    server.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    client.load_verify_locations(certificate / "cert.pem")
    client.check_hostname = False
    begun = threading.Event()
    host, port = begins_to_answer(stack, start, rest=rest, tls=server, begun=begun)
    worker = start(lambda: by_http_client(f"https://{host}:{port}", client))
    if rest is None:
        # Not in the handshake.
        assert begun.wait(PATIENCE)
        worker.blocked()
        quell.interrupt(worker, Stop)
        assert isinstance(worker.done().error, Stop)
    else:
        assert worker.done().result == b"half whole"


# ---- child processes


def test_a_pipeline_that_is_interrupted_goes_on(start):
    first = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    last = subprocess.Popen(["cat"], stdin=first.stdout, stdout=subprocess.PIPE)
    first.stdout.close()
    with first, last:
        interrupted(start(last.stdout.read).blocked())
        interrupted(start(last.wait).blocked())
        first.stdin.write(b"through both")
        first.stdin.close()
        assert start(lambda: (last.stdout.read(), last.wait(), first.wait())).done().result == (
            b"through both",
            0,
            0,
        )


def test_a_run_that_is_interrupted_leaves_no_child(tmp_path, start):
    note = tmp_path / "number"
    command = ["sh", "-c", f"echo $$ > {note}.new && mv {note}.new {note}; exec sleep 1000"]
    worker = start(lambda: subprocess.run(command, capture_output=True))
    spin_until(note.exists)
    worker.blocked()
    quell.interrupt(worker, Stop)
    assert isinstance(worker.done().error, Stop)
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


# ---- logs, pools, queues


def test_threads_that_wait_for_a_log_end_and_the_log_goes_on(stack, start):
    r, w = pipe(stack)
    full(w)
    stream = stack.enter_context(open(w, "w", closefd=False))
    handler = logging.StreamHandler(stream)
    log = logging.Logger("of its own")
    log.addHandler(handler)
    # One is in the write, with the handler's lock, and the others wait for that.
    workers = [start(lambda n=n: log.warning("record %d", n)) for n in range(20)]
    for worker in workers:
        worker.blocked()
    for worker in workers:
        quell.interrupt(worker, Stop)
    for worker in workers:
        assert isinstance(worker.done().error, Stop)
    drain(r)
    start(lambda: log.warning("at last")).done()
    assert os.read(r, 1 << 16).endswith(b"at last\n")


def test_a_pool_s_worker_survives_what_ends_its_task(start):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        idents = []
        blocked = threading.Event()
        stuck = pool.submit(lambda: (idents.append(threading.current_thread()), blocked.wait()))
        waiter = start(stuck.result).blocked()
        interrupted(waiter)
        spin_until(lambda: idents)
        quell.interrupt(idents[0], Stop)
        assert isinstance(stuck.exception(), Stop)
        assert pool.submit(lambda: threading.current_thread()).result() is idents[0]


def test_a_queue_between_processes_loses_nothing(start):
    items = multiprocessing.Queue(1)
    with contextlib.closing(items):
        interrupted(start(items.get).blocked())
        items.put("first")
        interrupted(start(lambda: items.put("lost")).blocked())
        assert start(items.get).done().result == "first"
        start(lambda: items.put("second")).done()
        assert start(items.get).done().result == "second"
        assert items.empty()
    items.join_thread()
