"""Ends in one of the ways there are: ``exits.py WAY``."""

import atexit
import os
import signal
import sys
import threading
import time


def endings() -> dict[str, object]:
    return {
        "none": lambda: sys.exit(),
        "zero": lambda: sys.exit(0),
        "three": lambda: sys.exit(3),
        "text": lambda: sys.exit("some words"),
        "true": lambda: sys.exit(True),
        "negative": lambda: sys.exit(-1),
        "large": lambda: sys.exit(256 + 7),
        "huge": lambda: sys.exit(2**70),
        "list": lambda: sys.exit([1, 2]),
        "tuple": lambda: sys.exit((1, 2)),
        "float": lambda: sys.exit(1.5),
        "at once": lambda: os._exit(7),
        "fall off": lambda: None,
        "builtin exit": lambda: exit(4),
        "terminated": lambda: os.kill(os.getpid(), signal.SIGTERM),
        "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "keyboard": keyboard,
        "keyboard signal": lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(60)),
        "keyboard caught": keyboard_caught,
        "error": lambda: 1 / 0,
        "error in thread": lambda: in_thread(lambda: 1 / 0),
        "exit in thread": lambda: in_thread(lambda: sys.exit(5)),
        "exit in atexit": lambda: atexit.register(lambda: sys.exit(6)),
        "error in atexit": lambda: atexit.register(lambda: 1 / 0),
        "abort": os.abort,
        "base exception": base_exception,
        "subclass": subclass,
        "broken output": broken_output,
    }


def keyboard() -> None:
    raise KeyboardInterrupt


def keyboard_caught() -> None:
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    except KeyboardInterrupt as error:
        print("caught", repr(error))


def in_thread(function: object) -> None:
    thread = threading.Thread(target=function, name="other")
    thread.start()
    thread.join()


def base_exception() -> None:
    class Mine(BaseException):
        pass

    raise Mine("words", 2)


def subclass() -> None:
    class Leave(SystemExit):
        pass

    raise Leave(9)


def broken_output() -> None:
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.close(reader)
    os.close(writer)
    print("nobody reads this")


atexit.register(lambda: print("atexit", file=sys.stderr))
print("start")
try:
    endings()[sys.argv[1]]()
finally:
    print("finally", file=sys.stderr)
