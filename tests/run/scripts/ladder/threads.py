"""Threads that do not end, after the main one or beside it. ``threads.py NAME``"""

from __future__ import annotations

import concurrent.futures
import threading
import time

from stage import note, ready, run, script, spin


@script
def thread_blocked_after_main() -> None:
    held = threading.Lock()
    held.acquire()

    def work() -> None:
        try:
            threading.main_thread().join()
            ready()
            held.acquire()
        finally:
            note("cleaned up")

    threading.Thread(target=work, name="stuck").start()


@script
def thread_swallows() -> None:
    def work() -> None:
        try:
            while True:
                try:
                    time.sleep(3600)
                except:  # noqa: E722
                    pass
        finally:
            note("cleaned up")

    threading.Thread(target=work, name="stuck").start()
    ready()


@script
def thread_spins_after_main() -> None:
    def work() -> None:
        try:
            spin()
        finally:
            note("cleaned up")

    threading.Thread(target=work, name="stuck").start()
    ready()


@script
def executor() -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        started = threading.Barrier(5)

        def work(n: int) -> None:
            try:
                started.wait()
                spin() if n % 2 else time.sleep(3600)
            finally:
                note(f"cleaned up {n}")

        futures = [pool.submit(work, n) for n in range(4)]
        started.wait()
        ready()
        concurrent.futures.wait(futures)


@script
def fifty_threads() -> None:
    held = threading.Lock()
    held.acquire()
    started = threading.Barrier(51)

    def work(n: int) -> None:
        try:
            started.wait()
            [spin, held.acquire, threading.Event().wait, lambda: time.sleep(3600)][
                0 if n < 2 else 1 + n % 3
            ]()
        finally:
            note("cleaned up")

    for n in range(50):
        threading.Thread(target=work, args=(n,)).start()
    started.wait()
    ready()


@script
def daemon_threads() -> None:
    started = threading.Barrier(4)

    def work() -> None:
        started.wait()
        spin()

    for _ in range(3):
        threading.Thread(target=work, daemon=True).start()
    started.wait()
    try:
        ready()
        time.sleep(3600)
    finally:
        note("cleaned up")


if __name__ == "__main__":
    run()
