"""Code that swallows every exception it is sent, or goes on after it. ``swallows.py NAME``"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time

from stage import note, ready, run, script, spin


@script
def swallows_in_sleep() -> None:
    try:
        ready()
        while True:
            try:
                time.sleep(3600)
            except:  # noqa: E722
                pass
    finally:
        note("cleaned up")


@script
def swallows_nested() -> None:
    def level(n: int) -> None:
        while True:
            try:
                level(n - 1) if n else spin()
            except:  # noqa: E722
                pass

    try:
        ready()
        level(10)
    finally:
        note("cleaned up")


@script
def swallows_and_starts_again() -> None:
    def again(n: int) -> None:
        try:
            spin()
        except BaseException:
            again(n + 1)

    try:
        ready()
        again(0)
    finally:
        note("cleaned up")


@script
def swallows_with_suppress() -> None:
    try:
        ready()
        while True:
            with contextlib.suppress(BaseException):
                spin()
    finally:
        note("cleaned up")


@script
def swallows_in_finally() -> None:
    try:
        ready()
        for _ in itertools.count():
            try:
                spin()
            finally:
                continue
    finally:
        note("cleaned up")


@script
def swallows_in_asyncio() -> None:
    async def main() -> None:
        ready()
        while True:
            try:
                while True:
                    await asyncio.sleep(0)
            except BaseException:
                pass

    try:
        asyncio.run(main())
    finally:
        note("cleaned up")


@script
def swallows_in_generator() -> None:
    def items():
        while True:
            try:
                while True:
                    yield 1
            except:  # noqa: E722
                pass

    try:
        ready()
        for _ in items():
            pass
    finally:
        note("cleaned up")


@script
def long_finally() -> None:
    """Cleanup that never ends itself has to be forced."""
    try:
        ready()
        try:
            spin()
        finally:
            note("cleanup started")
            spin()
    finally:
        note("cleaned up")


@script
def excepthook_loops() -> None:
    sys.excepthook = lambda *_: spin()
    try:
        ready()
        spin()
    finally:
        note("cleaned up")


@script
def handles_and_exits() -> None:
    try:
        ready()
        spin()
    except BaseException as error:
        note(f"handled {type(error).__name__}")
        sys.exit(3)


@script
def handles_and_goes_on() -> None:
    """It came back after one second of other work: too long for the grace it has."""
    try:
        ready()
        spin()
    except BaseException as error:
        note(f"handled {type(error).__name__}")
    try:
        spin()
    finally:
        note("cleaned up")


if __name__ == "__main__":
    run()
