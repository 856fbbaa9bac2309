"""What the suites share: threads that are waited for, a look at whether one is blocked, and fresh interpreters."""

import faulthandler
import gc
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import quell
from in_turn import has_turn, leave

#: Multiplies the counts of the stress tests.
STRESS = max(1, int(os.environ.get("QUELL_STRESS", "1")))

#: Seconds after which something that should happen is given up.
PATIENCE = 30.0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves the tests that have their turn on this version of Python."""
    leave(config, items, lambda item: has_turn(item, item.nodeid))


def pytest_collection_finish() -> None:
    """Collections of garbage, of which there are thousands, pass over the tests and pytest itself from here on."""
    gc.collect()
    gc.freeze()


class Worker(threading.Thread):
    """A thread that keeps what its function returned or raised."""

    def __init__(self, function: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._function = function
        self._begun = False
        self.result: object = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._begun = True
            self.result = self._function()
        except BaseException as error:
            self.error = error

    def done(self) -> "Worker":
        """Wait for the end."""
        self.join(PATIENCE)
        if self.is_alive():
            faulthandler.dump_traceback(all_threads=True)
            pytest.fail("the thread did not end")
        return self

    def blocked(self) -> "Worker":
        """Wait until the function sleeps in the kernel and stays there for a few looks."""
        spin_until(lambda: self._begun)
        blocked(self)
        return self


def blocked(thread: threading.Thread) -> None:
    """Wait until the thread sleeps in the kernel and stays there, at one place of its program, for a few looks.

    A thread that waits for the interpreter's lock sleeps as well, but comes forward between two looks.
    """
    stat = Path(f"/proc/self/task/{thread.native_id}/stat")
    asleep, place = 0, None
    end = time.monotonic() + PATIENCE
    while asleep < 5:
        assert time.monotonic() < end, "the thread does not block"
        state = stat.read_text().rpartition(")")[2].split()[0]
        frame = sys._current_frames().get(thread.ident or 0)
        before, place = place, frame and (frame.f_code, frame.f_lasti)
        asleep = asleep + 1 if state == "S" and place == before else 0
        time.sleep(0.0005)


def held_here() -> tuple[quell.Holding, ...]:
    """What the calling thread holds."""
    me = threading.get_ident()
    return next((info.holds for info in quell.threads() if info.ident == me), ())


@pytest.fixture(autouse=True)
def nothing_stays_held() -> Iterator[None]:
    """A lock that a test has left held keeps interrupts out of the tests that follow in its thread, until it is gone."""
    yield
    if held_here():
        # By what only the collector finds.
        gc.collect()
        assert not held_here(), "the test has left these held"


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_is_heard() -> None:
    """Also in a job that a shell has started in the background, with SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def nobody_is_traced() -> Iterator[None]:
    """CPython's own tests of 3.11 leave a trace function to the threads that are started later."""
    before = threading.gettrace()
    yield
    if threading.gettrace() is not before:
        threading.settrace(before)  # type: ignore[arg-type]  # None is no trace function


@pytest.fixture
def start() -> Iterator[Callable[[Callable[[], object]], Worker]]:
    """Starts threads, and ends those that are left after the test."""
    workers: list[Worker] = []

    def start(function: Callable[[], object]) -> Worker:
        worker = Worker(function)
        workers.append(worker)
        worker.start()
        return worker

    yield start
    for worker in workers:
        for _ in range(100):
            if not worker.is_alive():
                break
            try:
                quell.interrupt(worker, force=True)
            except LookupError:
                break
            worker.join(0.05)
    for worker in workers:
        if worker.error is not None:
            # Shown if the test has failed.
            traceback.print_exception(worker.error)


@pytest.fixture
def pool() -> Iterator[quell.ThreadPoolExecutor]:
    """An executor of two workers; what still runs in the end is interrupted."""
    with quell.ThreadPoolExecutor(2) as executor:
        yield executor
        executor.shutdown(interrupt=True)


@pytest.fixture
def patched() -> Iterator[None]:
    """With all of the standard library's calls patched."""
    with quell.patch() as patch:
        assert not patch.refused
        yield


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost."""
    folder = tmp_path_factory.mktemp("certificate")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
        "-keyout key.pem -out cert.pem"
    )
    try:
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no openssl here")
    return folder


@pytest.fixture
def fast_switching() -> Iterator[None]:
    """Threads take turns as often as possible."""
    old = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(old)


def outcome(function: Callable[..., object], *args: object, **kwargs: object) -> object:
    """What a call returns, or its error as type and text."""
    try:
        return function(*args, **kwargs)
    except OverflowError as error:
        # The text is not the same in every release of one minor version.
        return type(error)
    except Exception as error:
        return type(error), str(error)


def spin() -> None:
    """Run Python code for ever."""
    while True:
        pass


def nothing() -> None:
    """A call that does nothing."""


class Middle:
    """The part of a case that is to be whole, or that is to be cut: it tells when it has begun, goes on until the interrupt has been
    sent, and for some time after that, and tells whether it has ended."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.sent = False
        self.whole = False

    def run(self) -> None:
        self.begin()
        while not self.sent:
            pass
        for i in range(4000):
            i + 1
        self.end()

    def begin(self) -> None:
        self.entered.set()

    def end(self) -> None:
        self.whole = True

    def interrupt(self, worker: Worker, exc: type[BaseException], **options: bool) -> None:
        """Interrupts the thread that runs the case, in the middle, and waits for its end."""
        assert self.entered.wait(PATIENCE)
        delivery = quell.interrupt(worker, exc, **options)
        self.sent = True
        worker.done()
        assert isinstance(worker.error, exc), worker.error
        assert delivery.state == "delivered"


def spin_until(condition: Callable[[], object]) -> None:
    """Run Python code until the condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            pytest.fail("it did not happen")


def give_way_until(condition: Callable[[], object]) -> None:
    """Let the others run until the condition holds. On one processor a thread that only spins has it for a slice of the scheduler each
    time that it has given up the interpreter's lock, and whoever took that has to wait."""

    def holds() -> object:
        held = condition()
        if not held:
            time.sleep(0)
        return held

    spin_until(holds)


def python(
    source: str, *options: str, code: int = 0, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a program in a fresh interpreter; it must end with this code."""
    ended = subprocess.run(
        [sys.executable, "-X", "faulthandler", *options, "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
        cwd=cwd,
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended


def compiled(source: str, folder: Path) -> Path:
    """The shared library made from a C file beside the tests."""
    compiler = shutil.which("cc") or pytest.skip("needs a C compiler")
    library = folder / f"{source}.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library]
    subprocess.run([*command, Path(__file__).with_name(source)], check=True)
    return library


def disturb(
    start: Callable[[Callable[[], object]], Worker],
    work: Callable[[Callable[[], bool]], object],
    progress: Callable[[], int],
    exc: type[BaseException],
    rounds: int,
) -> Worker:
    """Interrupt work so many times in a thread of its own, at any moment of it: each time after it has handled the interrupt
    before, was entered again, and has made progress. It is given whether to go on."""
    handled, over = 0, threading.Event()

    def disturbed() -> None:
        nonlocal handled
        while not over.is_set():
            try:
                work(lambda: not over.is_set())
            except exc:
                handled += 1

    worker = start(disturbed)
    for sent in range(rounds):
        give_way_until(lambda sent=sent: handled == sent)
        before = progress()
        give_way_until(lambda before=before: progress() > before)
        assert quell.interrupt(worker, exc).wait(PATIENCE)
    give_way_until(lambda: handled == rounds)
    over.set()
    assert worker.done().error is None
    return worker
