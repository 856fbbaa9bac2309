"""Scripts that become another program. ``replaces.py NAME``"""

from __future__ import annotations

import contextlib
import os
import signal
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
def becomes_deaf() -> None:
    become("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPS)


@script
def becomes_stopped() -> None:
    become(
        "import os, signal; os.write(1, b'READY\\n')\n"
        "while True: os.kill(os.getpid(), signal.SIGSTOP)"
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
