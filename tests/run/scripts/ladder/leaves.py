"""Leaving the process at once, in the middle of everything. ``leaves.py NAME``"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from stage import note, ready, run, script, spin


@script
def leaves_in_finally() -> None:
    try:
        ready()
        spin()
    finally:
        note("cleaned up")
        os._exit(3)


@script
def leaves_by_name_in_a_handler() -> None:
    try:
        ready()
        spin()
    except BaseException as error:
        note(f"handled {type(error).__name__}")
        os._exit(status=0)


@script
def leaves_from_a_thread() -> None:
    held = threading.Lock()
    held.acquire()

    def work() -> None:
        held.acquire()
        os._exit(3)

    threading.Thread(target=work).start()
    try:
        ready()
        spin()
    finally:
        note("cleaned up")
        held.release()
        spin()


@script
def leaves_children_behind() -> None:
    subprocess.Popen(["sleep", "3600"])
    try:
        ready()
        spin()
    finally:
        note("cleaned up")
        os._exit(3)


@script
def leaves_where_mistakes_are_mistakes() -> None:
    """What would raise under python raises, also after the limit."""
    try:
        ready()
        spin()
    finally:
        for arguments, names in [
            ((), {}),
            (("1",), {}),
            ((1.0,), {}),
            ((1, 2), {}),
            ((2**40,), {}),
            ((), {"code": 1}),
            ((1,), {"status": 1}),
        ]:
            try:
                os._exit(*arguments, **names)
            except (TypeError, OverflowError) as error:
                note(f"{type(error).__name__}: {error}")
        note("cleaned up")


@script
def leaves_in_a_fork() -> None:
    """The status of a fork is its own, also after the limit."""
    try:
        ready()
        spin()
    finally:
        child = os.fork()
        if child == 0:
            os._exit(5)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        note(f"the child left with {status}")


@script
def leaves_before_the_limit() -> None:
    ready()
    sys.stdout.write("never flushed")
    os._exit(7)


if __name__ == "__main__":
    run()
