"""Fails in one of the ways there are: ``tracebacks.py WAY``."""

import sys
import threading
import warnings


def simple() -> None:
    raise ValueError("words")


def nested() -> None:
    simple()


def from_another() -> None:
    try:
        simple()
    except ValueError as error:
        raise RuntimeError("second") from error


def in_handler() -> None:
    try:
        simple()
    except ValueError:
        {}["missing"]


def suppressed() -> None:
    try:
        simple()
    except ValueError:
        raise RuntimeError("alone") from None


def noted() -> None:
    error = ValueError("words")
    error.add_note("a note")
    error.add_note("on\ntwo lines")
    raise error


def group() -> None:
    errors: list[Exception] = []
    for fail in (simple, in_handler):
        try:
            fail()
        except Exception as error:
            errors.append(error)
    raise ExceptionGroup("several", [*errors, ExceptionGroup("inner", [TypeError(1)])])


def recursion() -> None:
    recursion()


def mutual(n: int = 0) -> None:
    recursion() if n > 5 else mutual(n + 1)


def in_library() -> None:
    import json

    json.loads("{")


def in_eval() -> None:
    eval("1 +")


def in_exec() -> None:
    exec("def f():\n    1 / 0\nf()")


def carets() -> None:
    values = {"a": {"b": None}}
    print(values["a"]["b"]["c"] + values["d"])


def suggestion() -> None:
    print(simpel)  # type: ignore[name-defined]  # noqa: F821


def import_of_broken() -> None:
    import syntax_error  # noqa: F401


def unprintable() -> None:
    class Mine(Exception):
        def __str__(self) -> str:
            raise TypeError("no")

    raise Mine


def generator() -> None:
    def items():
        yield 1
        simple()

    list(items())


def own_hook() -> None:
    sys.excepthook = lambda kind, value, trace: print("hook", kind.__name__, value)
    simple()


def in_thread() -> None:
    thread = threading.Thread(target=nested, name="other")
    thread.start()
    thread.join()


def in_finalizer() -> None:
    class Mine:
        def __del__(self) -> None:
            simple()

        def __repr__(self) -> str:
            return "Mine"

    Mine()


def in_coroutine() -> None:
    import asyncio

    async def inner() -> None:
        await asyncio.sleep(0)
        simple()

    asyncio.run(inner())


def in_task_group() -> None:
    import asyncio

    async def inner() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(outer())
            tasks.create_task(outer())

    async def outer() -> None:
        simple()

    asyncio.run(inner())


def warned() -> None:
    warnings.warn("in main", DeprecationWarning, stacklevel=1)
    warnings.warn("for users", UserWarning, stacklevel=2)
    warnings.warn("resource", ResourceWarning, stacklevel=1)
    open(__file__)


def limited() -> None:
    sys.tracebacklimit = 1
    nested()


def deep() -> None:
    def down(n: int) -> int:
        return down(n - 1) if n else 1 // 0

    down(20)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
