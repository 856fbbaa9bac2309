"""Signals, descriptors, tracers and hooks that the script has changed. ``surroundings.py NAME``"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import threading
import time
from typing import Any

from stage import note, ready, run, script, spin


@script
def ignores_interrupts() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    try:
        ready()
        time.sleep(3600)
    finally:
        note("cleaned up")


@script
def own_handlers() -> None:
    threads = set()

    def handler(number: int, frame: object) -> None:
        threads.add(threading.current_thread() is threading.main_thread())

    for number in (signal.SIGINT, signal.SIGALRM, signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    try:
        ready()
        while True:
            time.sleep(3600)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        note("cleaned up" if threads == {True} else f"handlers ran elsewhere: {threads}")


@script
def blocks_all_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        ready()
        time.sleep(3600)
    finally:
        note("cleaned up")


@script
def blocks_all_signals_and_reads() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    reader, _writer = os.pipe()
    try:
        ready()
        os.read(reader, 1)
    finally:
        note("cleaned up")


@script
def blocks_all_signals_and_waits_for_one() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    ready()
    signal.sigwait(signal.valid_signals())


@script
def spins_with_all_signals_blocked() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        ready()
        spin()
    finally:
        note("cleaned up")


@script
def takes_every_realtime_signal() -> None:
    for number in range(signal.SIGRTMIN, signal.SIGRTMAX + 1):
        signal.signal(number, lambda *_: None)
    ready()
    time.sleep(3600)


@script
def closes_descriptors() -> None:
    os.closerange(3, 4096)
    try:
        ready()
        spin()
    finally:
        note("cleaned up")


def use_up_descriptors() -> None:
    with contextlib.suppress(OSError):
        while True:
            os.open("/dev/null", os.O_RDONLY)


@script
def uses_up_descriptors() -> None:
    use_up_descriptors()
    try:
        ready()
        spin()
    finally:
        note("cleaned up")


@script
def uses_up_descriptors_and_sleeps() -> None:
    use_up_descriptors()
    try:
        ready()
        time.sleep(3600)
    finally:
        note("cleaned up")


@script
def uses_up_descriptors_in_a_thread() -> None:
    """The first to be interrupted is another thread, and it is blocked."""

    def work() -> None:
        try:
            held.acquire()
        finally:
            note("cleaned up")

    held = threading.Lock()
    held.acquire()
    use_up_descriptors()
    threading.Thread(target=work).start()
    ready()


@script
def allows_no_descriptors() -> None:
    """Not one more can be opened by anybody in the process, in whatever table of descriptors."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    try:
        ready()
        spin()
    finally:
        note("cleaned up")


@script
def closes_standard_error() -> None:
    sys.stderr.close()
    with contextlib.suppress(OSError):
        os.close(2)
    try:
        ready()
        time.sleep(3600)
    finally:
        note("cleaned up")


@script
def own_tracer() -> None:
    events = {"before": 0, "now": 0}

    def tracer(frame: Any, event: str, arg: Any) -> Any:
        events["now"] += 1
        return tracer

    sys.settrace(tracer)
    try:
        ready()
        spin()
    finally:
        note("cleaned up" if sys.gettrace() is tracer else "tracer lost")


@script
def takes_every_monitoring_tool() -> None:
    if sys.version_info >= (3, 12):
        for tool in range(6):
            if sys.monitoring.get_tool(tool) is None:
                sys.monitoring.use_tool_id(tool, "script")
    try:
        ready()
        spin()
    finally:
        note("cleaned up")


@script
def replaces_hooks() -> None:
    sys.unraisablehook = lambda _: None
    threading.excepthook = lambda _: None
    sys.breakpointhook = lambda: None
    try:
        ready()
        spin()
    finally:
        note("cleaned up")


@script
def long_switch_interval() -> None:
    sys.setswitchinterval(3600)
    try:
        ready()
        spin()
    finally:
        note("cleaned up")


@script
def shallow_recursion_limit() -> None:
    """No room for another Python frame when the interrupt comes."""

    def down() -> None:
        try:
            down()
        except RecursionError:
            spin()

    try:
        ready()
        down()
    finally:
        note("cleaned up")


if __name__ == "__main__":
    run()
