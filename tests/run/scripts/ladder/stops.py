"""Scripts that stop themselves, as Ctrl-Z would, and are not continued by anybody. ``stops.py NAME``"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

from stage import note, ready, run, script, spin


def stop(how: Callable[[], None]) -> None:
    try:
        ready()
        how()
        spin()
    finally:
        note("cleaned up")


@script
def stops_by_kill() -> None:
    stop(lambda: os.kill(os.getpid(), signal.SIGSTOP))


@script
def stops_by_kill_of_the_group() -> None:
    stop(lambda: os.kill(0, signal.SIGSTOP))


@script
def stops_by_kill_of_a_negative_number() -> None:
    stop(lambda: os.kill(-os.getpgrp(), signal.SIGSTOP))


@script
def stops_by_killpg() -> None:
    stop(lambda: os.killpg(os.getpgrp(), signal.SIGSTOP))


@script
def stops_by_raise_signal() -> None:
    stop(lambda: signal.raise_signal(signal.SIGSTOP))


@script
def stops_by_pthread_kill() -> None:
    stop(lambda: signal.pthread_kill(threading.get_ident(), signal.SIGSTOP))


@script
def stops_by_pidfd() -> None:
    handle = os.pidfd_open(os.getpid())
    stop(lambda: signal.pidfd_send_signal(handle, signal.SIGSTOP))


@script
def stops_by_terminal_signal() -> None:
    """Only where the process is a job of somebody's; otherwise the kernel drops it."""
    stop(lambda: os.kill(os.getpid(), signal.SIGTSTP))


@script
def stops_from_a_thread() -> None:
    def work() -> None:
        os.kill(threading.get_native_id(), signal.SIGSTOP)

    stop(threading.Thread(target=work).start)


@script
def stops_again_and_again() -> None:
    def again() -> None:
        while True:
            try:
                os.kill(os.getpid(), signal.SIGSTOP)
            except Exception:
                pass

    stop(again)


@script
def stops_in_its_cleanup() -> None:
    try:
        ready()
        spin()
    finally:
        note("cleaned up")
        os.kill(os.getpid(), signal.SIGSTOP)
        note("and on")


@script
def stops_and_swallows() -> None:
    """Ended by force at the latest."""
    ready()
    while True:
        try:
            os.kill(os.getpid(), signal.SIGSTOP)
        except BaseException:
            pass


@script
def stops_while_a_child_burns() -> None:
    subprocess.Popen([sys.executable, "-c", "while True: pass"])
    stop(lambda: os.kill(os.getpid(), signal.SIGSTOP))


@script
def stops_in_a_fork() -> None:
    """The fork outlives its parent, and nobody continues it."""
    if os.fork() == 0:
        stop(lambda: os.kill(os.getpid(), signal.SIGSTOP))


if __name__ == "__main__":
    run()
