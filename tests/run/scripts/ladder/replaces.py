"""Scripts that become another program. ``replaces.py NAME``"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import sys
import threading
from typing import NoReturn

from stage import note, ready, run, script, spin


def become(code: str) -> NoReturn:
    """A Python program, by the interpreter of the environment."""
    os.execv(sys.executable, [sys.executable, "-c", code])


SLEEPS = "import os, time; os.write(1, b'READY\\n'); time.sleep(3600)"


@script
def becomes_a_sleeper() -> None:
    become(SLEEPS)


@script
def becomes_one_that_ends_when_asked() -> None:
    become(
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "os.write(1, b'READY\\n')\n"
        "try: time.sleep(3600)\n"
        "finally: os.write(1, b'cleaned up\\n')\n"
    )


@script
def becomes_one_that_then_ends_by_the_signal() -> None:
    """As well-behaved programs do, so that their parents know."""
    become(
        "import os, signal, time\n"
        "def end(signal_, _):\n"
        "    os.write(1, b'cleaned up\\n')\n"
        "    signal.signal(signal_, signal.SIG_DFL)\n"
        "    os.kill(os.getpid(), signal_)\n"
        "signal.signal(signal.SIGTERM, end)\n" + SLEEPS
    )


@script
def becomes_one_whose_thread_ends_it() -> None:
    """One that was made after the limit."""
    become(
        "import os, signal, threading, time\n"
        "def end(): os.write(1, b'cleaned up\\n'); os._exit(0)\n"
        "signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=end).start())\n"
        "os.write(1, b'READY\\n')\n"
        "while True: time.sleep(3600)"
    )


@script
def becomes_one_that_waits_for_the_signal() -> None:
    """It blocks the signal, and takes it by a call, as servers do."""
    become(
        "import os, signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        "os.write(1, b'READY\\n')\n"
        "signal.sigwait([signal.SIGTERM])\n"
        "os.write(1, b'cleaned up\\n')\n"
        "sys.exit(9)"
    )


@script
def becomes_another_one_when_asked() -> None:
    """With threads that end by that."""
    after = "echo cleaned up; exit 9"
    become(
        "import os, signal, threading, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: os.execvp('sh', ['sh', '-c', {after!r}]))\n"
        "for _ in range(4): threading.Thread(target=time.sleep, args=(3600,)).start()\n" + SLEEPS
    )


@script
def becomes_one_that_crashes_when_asked() -> None:
    become(
        "import os, resource, signal, time\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGSEGV))\n"
        "import faulthandler; faulthandler.disable()\n" + SLEEPS
    )


@script
def becomes_held_by_another() -> None:
    """By a child of its own, which passes on what it sees, as a debugger does."""
    become(
        "import ctypes, os, signal, time\n"
        "libc, own = ctypes.CDLL(None, use_errno=True), os.getpid()\n"
        "libc.ptrace.argtypes = [ctypes.c_long] * 4\n"
        "libc.prctl(0x59616d61, ctypes.c_ulong(-1), 0, 0, 0)\n"
        "read, write = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    SEIZE, CONT = 0x4206, 7\n"
        "    assert libc.ptrace(SEIZE, own, 0, 0) == 0\n"
        "    os.write(write, b'x')\n"
        "    while True:\n"
        "        _, status = os.waitpid(own, 0x40000000)\n"
        "        if not os.WIFSTOPPED(status): time.sleep(3600)\n"
        "        libc.ptrace(CONT, own, 0, os.WSTOPSIG(status) if status >> 16 == 0 else 0)\n"
        "os.read(read, 1)\n" + SLEEPS
    )


@script
def becomes_one_of_32_bits() -> None:
    """A program for the i386 that says it is ready and then waits for a signal, put together by hand."""
    base, at = 0x8048000, 52 + 32
    text = b"READY\n"
    code = b"\xb8\x04\x00\x00\x00\xbb\x01\x00\x00\x00"  # eax: write, ebx: 1
    code += b"\xb9" + struct.pack("<I", base + at + 34) + b"\xba\x06\x00\x00\x00\xcd\x80"
    code += b"\xb8\x1d\x00\x00\x00\xcd\x80\xeb\xf7"  # pause, for ever
    code = code.ljust(34, b"\x90") + text
    size = at + len(code)
    header = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, base + at, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    header += struct.pack("<IIIIIIII", 1, 0, base, base, size, size, 5, 0x1000)
    program = os.memfd_create("tiny", 0)
    os.write(program, header + code)
    os.execv(f"/proc/self/fd/{program}", ["tiny"])


@script
def becomes_deaf() -> None:
    become("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPS)


@script
def becomes_stopped() -> None:
    become(
        "import os, signal; os.write(1, b'READY\\n')\n"
        "while True: os.kill(os.getpid(), signal.SIGSTOP)"
    )


@script
def becomes_stopped_and_deaf() -> None:
    become(
        "import os, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.write(1, b'READY\\n')\n"
        "while True: os.kill(os.getpid(), signal.SIGSTOP)"
    )


@script
def becomes_a_loop() -> None:
    os.execvp("sh", ["sh", "-c", "echo READY; while :; do :; done"])


@script
def becomes_a_deaf_loop() -> None:
    os.execvp("sh", ["sh", "-c", "trap '' TERM; echo READY; while :; do :; done"])


THREADS = """
import os, threading, time
def burn():
    while True: pass
for target, arguments in [(burn, ()), (time.sleep, (3600,)), (os.read, (os.pipe()[0], 1))]:
    threading.Thread(target=target, args=arguments).start()
"""


@script
def becomes_threads() -> None:
    become(THREADS + SLEEPS)


@script
def becomes_deaf_threads() -> None:
    become(THREADS + "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPS)


@script
def becomes_threads_without_the_first() -> None:
    """The first thread of the process has ended, the others have not."""
    become(
        THREADS + "import ctypes\nos.write(1, b'READY\\n')\nctypes.CDLL(None).pthread_exit(None)"
    )


@script
def becomes_a_tree() -> None:
    """Two levels of children, of which some do not end when asked to."""
    child = "trap '' TERM; sleep 3600 & while :; do wait; done"
    os.execvp("sh", ["sh", "-c", f'sh -c "{child}" & sleep 3600 & echo READY; wait'])


@script
def becomes_a_deaf_tree() -> None:
    child = "sleep 3600 & sleep 3600 & while :; do wait; done"
    os.execvp(
        "sh", ["sh", "-c", f"trap '' TERM; sh -c '{child}' & echo READY; while :; do wait; done"]
    )


@script
def becomes_in_a_thread() -> None:
    threading.Thread(target=become, args=(SLEEPS,)).start()
    spin()


@script
def becomes_after_the_limit() -> None:
    try:
        ready()
        spin()
    finally:
        note("cleaned up")
        become(SLEEPS.replace("READY", "later"))


@script
def becomes_with_no_descriptor_left() -> None:
    with contextlib.suppress(OSError):
        while True:
            os.open("/dev/null", os.O_RDONLY)
    become(SLEEPS)


@script
def becomes_with_all_descriptors_closed() -> None:
    os.closerange(3, 4096)
    become(SLEEPS)


@script
def becomes_with_forks_around() -> None:
    """The forks hold what the script held when they were made, and are not to be in the way."""
    with contextlib.suppress(OSError):
        os.execv("/nonexistent", ["nonexistent"])
    reader, writer = os.pipe()
    for _ in range(2):
        if os.fork() == 0:
            os.write(writer, b"x")
            signal.pause()
    for _ in range(2):
        os.read(reader, 1)
    become(SLEEPS)


@script
def becomes_again_and_again() -> None:
    """One program after another, the last of them a sleeper."""
    shell = "exec sh -c 'exec sh -c \"echo READY; exec sleep 3600\"'"
    os.execvp("sh", ["sh", "-c", shell])


@script
def fails_to_become() -> None:
    signals = []
    signal.signal(signal.SIGCHLD, lambda *_: signals.append(True))
    for function, arguments in [
        (os.execv, ("/nonexistent", ["x"])),
        (os.execve, ("/dev/null", ["x"], {})),
        (os.execvp, ("nonexistent-program", ["x"])),
        (os.execlp, ("nonexistent-program", "x")),
        (os.execv, ("/bin/true", [])),
        (os.execv, ()),
    ]:
        try:
            function(*arguments)
        except (OSError, TypeError, ValueError) as error:
            assert not isinstance(error, ChildProcessError)
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        note("no child")
    try:
        ready()
        spin()
    finally:
        note(f"cleaned up, {len(signals)} signals")


@script
def grows_elsewhere() -> None:
    become(
        "import os, time\nos.write(1, b'READY\\n')\nx = bytearray(b'x') * (400 << 20)\ntime.sleep(3600)"
    )


@script
def burns_elsewhere() -> None:
    become("import os\nos.write(1, b'READY\\n')\nwhile True: pass")


@script
def burns_below_elsewhere() -> None:
    """The processor time is that of a child of what it has become."""
    loop = "while :; do :; done"
    os.execvp("sh", ["sh", "-c", f"sh -c '{loop}' & echo READY; wait"])


if __name__ == "__main__":
    run()
