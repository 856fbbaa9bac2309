"""quell.dump(): every thread for people; and looks in the child of a fork and at the end of the process."""

import io
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import quell
from conftest import python, spin_until
from seen import Start, line_of, waits

HERE = __file__


def dumped(stack: bool = True) -> str:
    text = io.StringIO()
    quell.dump(text, stack=stack)
    return text.getvalue()


def test_a_dump(start: Start) -> None:
    lock, release = quell.RLock(), quell.Event()

    def hold() -> None:
        with lock, quell.shield():
            release.wait()

    worker = start(hold)
    worker.name = "the holder"
    waits(worker)
    waiter = start(lambda: lock.acquire(timeout=60))
    waits(waiter)
    quell.interrupt(worker)
    text = dumped()
    assert text.startswith(
        f"quell: {len(quell.threads())} threads in process {os.getpid()}\n\nMainThread ("
    )
    part = text[text.index("the holder (") :]
    assert "waits for Event 0x" in part
    assert f"  holds RLock {id(lock):#x} acquired at {HERE}:{line_of(hold, 'with lock')} in" in part
    assert "  pending: Interrupt\n  in a shield\n" in part
    assert f'  File "{HERE}", line {line_of(hold, "release.wait()")}, in ' in part
    assert "    release.wait()\n" in part
    part = text[text.index(f"{waiter.name} (") :]
    assert f"which the holder acquired at {HERE}:" in part
    assert "has waited for 0." in part
    assert ", with a time-out\n" in part
    assert "deadlock" not in text
    assert "File" not in dumped(stack=False)
    release.set()
    with suppress(quell.Interrupt):
        worker.join(30)
    waiter.done()


def test_where_a_dump_goes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    quell.dump()
    assert capfd.readouterr().err.startswith("quell: ")
    with open(tmp_path / "descriptor", "wb") as file:
        quell.dump(file.fileno())
    assert (tmp_path / "descriptor").read_text().startswith("quell: ")
    with pytest.raises(OSError):
        quell.dump(-1)
    with pytest.raises(AttributeError):
        quell.dump(object())  # type: ignore[arg-type]


def test_a_dump_in_a_signal_handler() -> None:
    ended = python(
        """
        import quell, signal, sys, threading, time
        signal.signal(signal.SIGUSR1, lambda *_: quell.dump())
        lock = quell.Lock()
        lock.acquire()
        waiter = threading.Thread(target=lock.acquire, daemon=True)
        waiter.start()
        while not any(t.waits for t in quell.threads()):
            pass
        for _ in range(50):
            sys.stderr.write("x\\n")
            signal.raise_signal(signal.SIGUSR1)
        # In the middle of a wait.
        threading.Timer(0.1, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)).start()
        assert not lock.acquire(timeout=0.5)
        """
    )
    assert ended.stderr.count("quell: ") == 51
    assert (
        ended.stderr.count("waits for Lock") == 51
    )  # the main thread does not, while its handler runs
    assert "MainThread" in ended.stderr


def test_a_dump_of_a_thousand_threads_under_fire() -> None:
    count, release = 1000, quell.Event()
    lock = quell.Lock()
    lock.acquire()
    old = threading.stack_size(256 * 1024)

    def run(number: int) -> None:
        with suppress(quell.Interrupt):
            if number % 2:
                release.wait()
            else:
                with lock:
                    pass

    threads = [threading.Thread(target=run, args=(n,), name=f"t{n}") for n in range(count)]
    for thread in threads:
        thread.start()
    spin_until(lambda: sum(t.waits is not None for t in quell.threads()) == count)
    stop = False

    def fire() -> None:
        for thread in threads[: count // 2]:
            with suppress(LookupError):
                quell.interrupt(thread)
            if stop:
                return

    shooter = threading.Thread(target=fire)
    shooter.start()
    texts = [dumped()]
    while shooter.is_alive() and len(texts) < 20:
        texts.append(dumped(stack=False))
    stop = True
    shooter.join()
    me = f"{lock!r}".partition(" at ")[2].rstrip(">")
    for text in texts:
        assert text.startswith("quell: ")
        # Those that nobody fires at are all there, and wait.
        for number in range(count // 2, count):
            line = text[text.index(f"\nt{number} (") :].split("\n", 2)[1]
            assert ("waits for Event" if number % 2 else f"waits for Lock {me}") in line, line
    release.set()
    lock.release()
    for thread in threads:
        thread.join(60)
    threading.stack_size(old)


# ---- fork and the end


def test_in_the_child_of_a_fork(start: Start) -> None:
    lock, release = quell.Lock(), quell.Event()

    def hold() -> None:
        with lock:
            release.wait()

    def want() -> None:
        with lock:
            pass

    workers = [start(f) for f in (hold, want, want, want)]
    for worker in workers:
        waits(worker)
    child = os.fork()
    if child == 0:
        try:
            quell.dump(io.StringIO())
            (seen,) = quell.threads()
            os._exit(seen.name != "MainThread" or seen.waits is not None or bool(seen.holds))
        finally:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    release.set()
    for worker in workers:
        worker.done()


def test_at_the_end_of_the_process() -> None:
    ended = python(
        """
        import atexit, quell, threading
        lock = quell.Lock()
        lock.acquire()
        threading.Thread(target=lock.acquire, daemon=True).start()
        class Last:
            def __del__(self):
                print(len(quell.threads()) > 0, flush=True)
                quell.dump()
        last = Last()
        last.itself = last
        atexit.register(lambda: print(len(quell.threads())))
        """
    )
    assert ended.stdout.split() == ["2", "True"], ended.stdout
    assert "quell: " in ended.stderr
