"""Threads that wait for work which never comes: `quell run --timeout 1s examples/workers.py`.

Each of them is interrupted where it waits, and closes what it has opened.
"""

import queue
import threading

jobs: queue.Queue[str] = queue.Queue()


def work() -> None:
    """Handles jobs for ever."""
    try:
        while True:
            jobs.get()
    finally:
        print(f"{threading.current_thread().name}: closed\n", end="", flush=True)


for n in range(3):
    threading.Thread(target=work, name=f"worker-{n}").start()
print("waiting for work", flush=True)
