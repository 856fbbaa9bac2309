"""Forks and other programs below the script. ``processes.py NAME``"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import NoReturn

from stage import note, ready, run, script, spin


def deaf(name: str, writer: int) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    note(name)
    os.write(writer, b"x")
    while True:
        time.sleep(3600)


@script
def fork_tree() -> None:
    """A child and a grandchild that ignore what they can; the parent waits for the child."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            deaf("grandchild", writer)
        deaf("child", writer)
    for _ in range(2):
        os.read(reader, 1)
    try:
        ready()
        os.waitpid(child, 0)
    finally:
        note("cleaned up")


@script
def fork_spins() -> None:
    """The child goes on as a Python program of its own, and so does the parent."""
    if os.fork() == 0:
        spin()
    try:
        ready()
        spin()
    finally:
        note("cleaned up")


@script
def detached_grandchild() -> None:
    """In a session of its own, and its parent gone: as daemons make themselves."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            deaf("daemon", writer)
        os._exit(0)
    os.waitpid(child, 0)
    os.read(reader, 1)
    try:
        ready()
        time.sleep(3600)
    finally:
        note("cleaned up")


@script
def shell_tree() -> None:
    process = subprocess.Popen(
        ["sh", "-c", "sleep 3600 & sleep 3600 & echo started; wait"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        ready()
        process.wait()
    finally:
        note("cleaned up")


if __name__ == "__main__":
    run()
