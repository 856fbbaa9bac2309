"""A process pool whose work never ends: ``workers.py (fork | spawn | forkserver)``."""

import multiprocessing
import os
import sys
import time


def work(n: int) -> None:
    started.release()
    while True:
        time.sleep(3600 if n % 2 else 0)


def remember(semaphore: object) -> None:
    global started
    started = semaphore


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    semaphore = context.Semaphore(0)
    with context.Pool(2, remember, (semaphore,)) as pool:
        result = pool.map_async(work, range(2), chunksize=1)
        for _ in range(2):
            semaphore.acquire()
        os.write(1, b"READY\n")
        try:
            result.get()
        finally:
            print("cleaned up")
