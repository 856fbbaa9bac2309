"""quell.patch over TLS: handshakes, reads and writes."""

import gc
import os
import socket
import ssl

import pytest
import quell
from conftest import outcome

pytestmark = pytest.mark.usefixtures("patched")


class Stop(BaseException):
    pass


def contexts(certificate):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    client = ssl.create_default_context(cafile=certificate / "cert.pem")
    client.check_hostname = False
    return server, client


# On 3.11 and 3.12 the standard library leaves the socket to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("timeout", [None, 1000])
def test_a_handshake_that_is_never_answered_ends(certificate, timeout, start):
    a, b = socket.socketpair()
    with a, b:
        a.settimeout(timeout)
        _, client = contexts(certificate)
        worker = start(lambda: client.wrap_socket(a, server_hostname="localhost")).blocked()
        quell.interrupt(worker, Stop)
        assert isinstance(worker.done().error, Stop)
        worker.error = None
        gc.collect()


@pytest.mark.parametrize("timeout", [None, 1000])
def test_a_read_over_tls_ends_and_the_connection_goes_on(certificate, timeout, start):
    a, b = socket.socketpair()
    server, client = contexts(certificate)
    accepted = start(lambda: server.wrap_socket(b, server_side=True))
    with client.wrap_socket(a, server_hostname="localhost") as ours:
        with accepted.done().result as theirs:
            ours.settimeout(timeout)
            for round in range(3):
                worker = start(lambda: ours.recv(100)).blocked()
                assert ours.gettimeout() == timeout
                quell.interrupt(worker, Stop)
                assert isinstance(worker.done().error, Stop)
                assert ours.gettimeout() == timeout
                assert os.get_blocking(ours.fileno()) is (timeout is None)
                theirs.sendall(b"%d" % round)
                assert start(lambda: ours.recv(100)).done().result == b"%d" % round
            # More than there is room for: the writer waits for the reader, in two threads of one connection.
            writer = start(lambda: ours.sendall(bytes(1 << 22))).blocked()
            reader = start(lambda: ours.recv(100)).blocked()
            got = 0
            while got < 1 << 22:
                got += len(theirs.recv(1 << 16))
            assert writer.done().error is None
            theirs.sendall(b"end")
            assert reader.done().result == b"end"


def test_a_timeout_over_tls_is_the_original_s_own(certificate, start):
    a, b = socket.socketpair()
    server, client = contexts(certificate)
    accepted = start(lambda: server.wrap_socket(b, server_side=True))
    with client.wrap_socket(a, server_hostname="localhost") as ours, accepted.done().result:
        ours.settimeout(0.05)
        patched = start(lambda: outcome(ours.recv, 1)).done().result
        quell.unpatch()
        assert patched == start(lambda: outcome(ours.recv, 1)).done().result
        assert patched == (TimeoutError, "The read operation timed out")
