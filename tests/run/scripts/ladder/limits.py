"""Scripts that reach a limit of each kind and can be ended by it. ``limits.py NAME``"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from stage import note, ready, run, script, spin


@script
def burns_in_a_child() -> None:
    """The processor time is that of a child that has been waited for."""
    try:
        ready()
        while True:
            subprocess.run([sys.executable, "-c", "for i in range(10**6): pass"], check=True)
    finally:
        note("cleaned up")


@script
def grows() -> None:
    kept = []
    try:
        ready()
        while True:
            kept.append(bytearray(os.urandom(1 << 16)) * 64)
            time.sleep(0.01)
    except BaseException as error:
        size = sum(map(len, kept))
        kept.clear()
        note(f"handled {type(error).__name__} at {size >> 20} MiB: {vars(error)}")
        raise


@script
def grows_in_a_child() -> None:
    code = "import time; x = bytearray(b'x' * (300 << 20)); time.sleep(3600)"
    try:
        ready()
        subprocess.run([sys.executable, "-c", code], check=True)
    finally:
        note("cleaned up")


@script
def shows_the_limit() -> None:
    try:
        ready()
        spin()
    except BaseException as error:
        names = [cls.__qualname__ for cls in type(error).__mro__]
        note(f"{type(error).__module__} {names} {getattr(error, 'limit', None)!r}")
        note(f"used at least the limit: {getattr(error, 'used', 0) >= getattr(error, 'limit', 1)}")


@script
def spins() -> None:
    try:
        ready()
        spin()
    finally:
        note("cleaned up")


@script
def sleeps() -> None:
    try:
        ready()
        time.sleep(3600)
    finally:
        note("cleaned up")


@script
def interrupt_handler_does_nothing() -> None:
    signal.signal(signal.SIGINT, lambda *_: note("handler"))
    try:
        ready()
        while True:
            time.sleep(3600)
    finally:
        note("cleaned up")


if __name__ == "__main__":
    run()
