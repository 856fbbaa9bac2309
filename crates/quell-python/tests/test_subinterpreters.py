"""Subinterpreters: quell refuses to be imported into one, and what it does in the main interpreter is none of theirs."""

import sys

import pytest
from conftest import python

#: How each version names them, and the kinds there are: with what they share, and without.
PRELUDE = """
    import os, sys, threading, quell
    class Stop(BaseException): pass
    if sys.version_info >= (3, 13):
        import _interpreters as interpreters
        def create(kind):
            return interpreters.create(kind)
        def run(id, source):
            outcome = interpreters.exec(id, source)
            assert outcome is None, outcome
    else:
        import _xxsubinterpreters as interpreters
        def create(kind):
            return interpreters.create(isolated=kind == "isolated")
        def run(id, source):
            interpreters.run_string(id, source)
"""

each_kind = pytest.mark.parametrize("kind", ["isolated", "legacy"])


def program(source: str, kind: str) -> None:
    python(f"{PRELUDE}\n    KIND = {kind!r}\n{source}")


@each_kind
@pytest.mark.parametrize("first", [True, False], ids=["first here", "first there"])
def test_an_import_is_refused_clearly(kind: str, first: bool) -> None:
    refused = (
        "try:\\n import quell\\n"
        "except ImportError as e: assert 'does not support loading in subinterpreters' in str(e), e\\n"
        "else: raise SystemError('imported')"
    )
    used = "with quell.timeout(5), quell.Lock(): pass"
    start = used if first else "del sys.modules['quell']"
    program(
        f"""
    {start}
    other = create(KIND)
    run(other, "{refused}")
    run(other, "{refused}")
    interpreters.destroy(other)
    import quell
    {used}
    go = threading.Event()
    def spin():
        try:
            go.set()
            while True: pass
        except Stop:
            pass
    thread = threading.Thread(target=spin)
    thread.start()
    go.wait()
    assert quell.interrupt(thread, Stop).wait(30)
    thread.join()
    """,
        kind,
    )


@each_kind
def test_who_runs_another_interpreters_code_is_interrupted_when_it_is_back(kind: str) -> None:
    program(
        """
    other = create(KIND)
    reader, writer = os.pipe()
    started, done = os.pipe()
    log = []
    def work():
        try:
            run(other, f"import os; os.write({done}, b'x'); assert os.read({reader}, 1) == b'x'")
            while True: pass
        except Stop:
            log.append("stopped")
    def send(target):
        os.read(started, 1)
        receipt = quell.interrupt(target, Stop)
        assert receipt.state == "pending"
        os.write(writer, b"x")
        assert receipt.wait(30)
    thread = threading.Thread(target=work)
    thread.start()
    send(thread)
    thread.join()
    assert log == ["stopped"], log
    sender = threading.Thread(target=send, args=(threading.main_thread(),))
    sender.start()
    work()
    sender.join()
    assert log == ["stopped"] * 2, log
    """,
        kind,
    )


@each_kind
def test_a_thread_of_another_interpreter_is_nobody(kind: str) -> None:
    if kind == "isolated" and sys.version_info < (3, 12):
        pytest.skip("CPython 3.11 starts no threads in isolated subinterpreters")
    program(
        """
    other = create(KIND)
    reader, writer = os.pipe()
    ended, end = os.pipe()
    source = f'''if True:
        import os, threading
        def work():
            os.write({writer}, threading.get_ident().to_bytes(8, "little"))
            os.read({ended}, 1)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    '''
    host = threading.Thread(target=run, args=(other, source))
    host.start()
    ident = int.from_bytes(os.read(reader, 8), "little")
    try:
        quell.interrupt(ident, Stop)
    except LookupError as error:
        assert str(ident) in str(error), error
    else:
        raise SystemError("found")
    assert quell.set_async_exc(ident, Stop) == 0
    os.write(end, b"x")
    host.join()
    # CPython 3.11 does not come to its end, with quell or without, while there is another interpreter that had threads.
    os._exit(0)
    """,
        kind,
    )
