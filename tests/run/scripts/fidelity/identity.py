"""Says everything about itself that a script can ask the interpreter."""

import gc
import inspect
import io
import locale
import os
import signal
import sys
import threading
import traceback


class Here:
    pass


def stream(file: io.TextIOWrapper) -> list[object]:
    return [
        file.name,
        file.mode,
        file.encoding,
        file.errors,
        file.line_buffering,
        file.write_through,
        file.newlines,
        file.isatty(),
        type(file.buffer).__name__,
        type(file.buffer.raw).__name__,
        file.fileno(),
    ]


def show(name: str, value: object) -> None:
    print(f"{name}: {value}")


main = sys.modules["__main__"]
show("module", main is not None and vars(main) is globals())
show("names", [name for name in globals() if name.startswith("__")])
show("__name__", __name__)
show("__file__", __file__)
show("__doc__", __doc__)
show("__package__", __package__)
show("__spec__", __spec__ and (__spec__.name, __spec__.origin, __spec__.parent))
show("__loader__", (type(__loader__).__module__, type(__loader__).__qualname__))
show("__cached__", globals().get("__cached__"))
show("__builtins__", type(__builtins__).__name__)
show("class", (Here.__module__, Here.__qualname__, inspect.getsource(Here)))
show("argv", sys.argv)
show("path", sys.path)
show("flags", sys.flags)
show("xoptions", sys._xoptions)
show("warnoptions", sys.warnoptions)
show("executable", sys.executable)
show("prefixes", (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix))
show("version", sys.version)
show("platform", (sys.platform, sys.implementation.cache_tag, sys.abiflags, sys.platlibdir))
show("encoding", (sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()))
show("locale", (locale.setlocale(locale.LC_CTYPE), locale.getpreferredencoding(False)))
show("recursion", sys.getrecursionlimit())
show("switch", sys.getswitchinterval())
show("collector", (gc.isenabled(), gc.get_threshold(), gc.get_debug()))
show("tracing", (sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile()))
show("hooks", (sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__))
show("thread hook", threading.excepthook is threading.__excepthook__)
show("breakpoint", sys.breakpointhook is sys.__breakpointhook__)
show("bytecode", (sys.dont_write_bytecode, sys.pycache_prefix))
show("digits", sys.get_int_max_str_digits())
show("asyncgen", sys.get_asyncgen_hooks())
show("stdin", stream(sys.stdin))
show("stdout", stream(sys.stdout))
show("stderr", stream(sys.stderr))
show("originals", (sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__))
show("thread", (threading.current_thread().name, threading.current_thread().daemon))
show("threads", (threading.active_count(), threading.main_thread() is threading.current_thread()))
show("frames", len(inspect.stack()))
show("stack", traceback.format_stack())
for number in sorted(signal.valid_signals()):
    if number not in (signal.SIGKILL, signal.SIGSTOP) and number < signal.SIGRTMIN:
        show(f"signal {number}", signal.getsignal(number))
show("blocked", sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
show("wakeup", signal.set_wakeup_fd(-1))
show("itimer", signal.getitimer(signal.ITIMER_REAL))
show("hash", hash("quell") if os.environ.get("PYTHONHASHSEED") else None)
show("descriptors", sorted(map(int, os.listdir("/proc/self/fd")))[:3])
show("directory", os.getcwd())
show("environment", sorted(name for name in os.environ if "TEST_MARK" not in name))
show("process group", os.getpgrp() == os.getpid())
