"""C libraries that wait by themselves: when an interrupt comes, by how they wait.

The stand-ins (`c_waits.c`) wait as libpq and as psycopg do; psycopg2, where it is installed, waits in libpq itself.
"""

import ctypes
import os
import socket
import threading

import pytest
import quell
from conftest import PATIENCE, blocked, compiled, spin, spin_until
from patch_cases import Stop

WHERE = ["main", "other"]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return compiled("c_waits.c", tmp_path_factory.mktemp("library"))


@pytest.fixture
def run(start):
    """Runs a call in the main thread or in another one, and beside it, when it waits, a function that is given the thread; what became of
    the call."""

    def run(where, call, beside):
        def waited(thread):
            blocked(thread)
            beside(thread)

        if where == "main":
            main = threading.main_thread()
            other = start(lambda: waited(main))
            try:
                return call()
            finally:
                assert other.done().error is None
        worker = start(call).blocked()
        beside(worker)
        error, worker.error = worker.done().error, None
        if error is not None:
            raise error
        return worker.result

    return run


@pytest.mark.parametrize("options", [{}, {"impersonate": True}], ids=["plainly", "impersonate"])
@pytest.mark.parametrize("where", WHERE)
def test_a_wait_that_is_begun_again_ends_by_itself(where, options, library, run, patched):
    r, w = os.pipe()
    native = ctypes.CDLL(library)
    restarted = ctypes.c_int.in_dll(native, "restarted")
    after = []

    def call():
        native.until_readable(r)
        after.append("what follows the call")

    def interrupt(thread):
        before = restarted.value
        receipt = quell.interrupt(thread, Stop, **options)
        if where == "main" or options:
            # It is signalled, and waits on.
            spin_until(lambda: restarted.value > before + 1)
        assert not receipt.wait(0.05)
        os.write(w, b"x")
        assert receipt.wait(PATIENCE)
        assert receipt.state == "delivered"

    try:
        with pytest.raises(Stop):
            run(where, call, interrupt)
        assert after == []
    finally:
        os.close(r)
        os.close(w)


@pytest.mark.parametrize("how", ["interrupt", "timeout"])
def test_a_wait_in_turns_that_asks_for_signals_ends_in_the_main_thread(how, library, run):
    """It asks when a turn is over, and each signal begins the turn again: they must not come too often."""
    r, w = os.pipe()
    native = ctypes.PyDLL(library)
    restarted = ctypes.c_int.in_dll(native, "restarted")
    before = restarted.value
    try:
        if how == "interrupt":
            with pytest.raises(Stop):
                run(
                    "main",
                    lambda: native.in_turns(r, 200),
                    lambda main: quell.interrupt(main, Stop),
                )
        else:
            with pytest.raises(quell.Timeout), quell.timeout(0.01):
                native.in_turns(r, 200)
        # Each pause is twice the last one, so there are few before one is longer than a turn.
        assert restarted.value - before <= 12
    finally:
        os.close(r)
        os.close(w)


def test_a_wait_in_turns_ends_by_itself_in_another_thread(library, run, patched):
    r, w = os.pipe()
    native = ctypes.PyDLL(library)

    def call():
        native.in_turns(r, 10)
        spin()

    def interrupt(thread):
        receipt = quell.interrupt(thread, Stop)
        assert not receipt.wait(0.05)
        os.write(w, b"x")

    try:
        with pytest.raises(Stop):
            run("other", call, interrupt)
    finally:
        os.close(r)
        os.close(w)


@pytest.fixture
def silent():
    """The address of a server that accepts connections and says nothing; and the server, which ends them when it is closed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


class TestPsycopg2:
    """Against a server that has the connection, and does nothing with it."""

    @pytest.fixture
    def driver(self):
        return pytest.importorskip("psycopg2")

    @pytest.fixture
    def connect(self, driver, silent):
        host, port = silent.getsockname()
        return lambda: driver.connect(host=host, port=port, user="nobody", sslmode="disable")

    @pytest.mark.parametrize("where", WHERE)
    def test_a_connection_is_left_when_libpq_has_given_it_up(
        self, where, driver, connect, silent, run, patched
    ):
        def interrupt(thread):
            receipt = quell.interrupt(thread, Stop)
            assert not receipt.wait(0.05)
            # Nobody has accepted it: it is reset.
            silent.close()

        def call():
            try:
                connect()
            except driver.OperationalError:
                # The driver's own error comes first.
                spin()

        with pytest.raises(Stop) as raised:
            run(where, call, interrupt)
        assert isinstance(raised.value.__context__, driver.OperationalError)

    def test_with_a_wait_callback_it_ends_where_it_waits(self, driver, connect, run, patched):
        import psycopg2.extensions
        import psycopg2.extras

        psycopg2.extensions.set_wait_callback(psycopg2.extras.wait_select)
        try:
            with pytest.raises(Stop):
                run("other", connect, lambda thread: quell.interrupt(thread, Stop))
        finally:
            psycopg2.extensions.set_wait_callback(None)
