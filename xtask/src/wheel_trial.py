"""Run in an environment that has a wheel of quell and nothing else: is it whole, and does it work?"""

import importlib.metadata
import pathlib
import subprocess
import sys
import threading

import quell
import quell.queue
import quell.threading

installed = {found.name for found in importlib.metadata.distributions()}
assert installed == {"quell"}, installed
assert quell.__version__ == importlib.metadata.version("quell")
assert importlib.metadata.requires("quell") is None

folder = pathlib.Path(quell.__file__).parent
assert folder.is_relative_to(sys.prefix), folder
for name in ("py.typed", "_quell.pyi", "queue.pyi"):
    assert (folder / name).is_file(), name

items = quell.queue.Queue()
go = threading.Event()
caught = []


def work():
    try:
        with quell.Lock():
            go.set()
            while True:
                pass
    except quell.Interrupt as interrupt:
        caught.append(interrupt)


thread = quell.threading.Thread(target=work)
thread.start()
go.wait()
assert quell.interrupt(thread).wait(30)
thread.join()
assert len(caught) == 1
try:
    with quell.timeout(0.01):
        items.get()
except quell.Timeout:
    items.put("out of time")
assert items.get() == "out of time"

script = pathlib.Path(sys.executable).parent / "quell"
for command in ([str(script)], [sys.executable, "-I", "-m", "quell"]):
    limited = [*command, "run", "--timeout", "0.2s", "-c", "while True: pass"]
    run = subprocess.run(limited, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 124, run
    assert "time limit" in run.stderr, run
