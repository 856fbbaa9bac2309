"""CPython's own tests of threading, _thread and queue, run against quell's classes.

They are taken from the interpreter that runs this. What is left out, and why, is in EXCLUDED.
"""

import _thread
import concurrent.futures
import importlib
import types
import unittest

import pytest
import quell
import quell.queue
import quell.threading

lock_tests = pytest.importorskip(
    "test.lock_tests", reason="this interpreter comes without its own tests"
)

EXCLUDED = {
    # Looks into `_cond`, the Condition inside threading.Event; quell.Event has none.
    "EventTests.test_at_fork_reinit",
    # Looks into `_waiters`, the deque inside threading.Condition; quell.Condition has none. From 3.14.
    "ConditionTests.test_nan_timeout",
    "ConditionTests(foreign).test_nan_timeout",
    # Replace private functions of the module `threading` by assigning to what here is another module.
    "ThreadTests.test_limbo_cleanup",
    "ThreadTests.test_name",
    # Of a lock class that cannot be called; up to 3.12 `threading.Lock` is a function. quell.Lock is a class.
    "ThreadTests.test_disallow_instantiation",
    # Goes by the module in which a name was defined; test_threading_module.py compares the names.
    "MiscTestCase.test__all__",
    # Read what `logging` prints where no handler is installed; pytest installs one.
    "FutureTests.test_done_callback_raises",
    "FutureTests.test_done_callback_raises_already_succeeded",
    # Run scripts, which import the standard module in an interpreter of their own.
    "ThreadJoinOnShutdown",
    "SubinterpThreadingTests",
    "AtexitTests",
    "InterruptMainTests",
    "TestForkInThread",
}

CLASSES = {
    "LockTests": (lock_tests.LockTests, {"locktype": quell.Lock}),
    "RLockTests": (lock_tests.RLockTests, {"locktype": quell.RLock}),
    "EventTests": (lock_tests.EventTests, {"eventtype": quell.Event}),
    "ConditionTests": (lock_tests.ConditionTests, {"condtype": quell.Condition}),
    "ConditionTests(foreign)": (
        lock_tests.ConditionTests,
        {
            "condtype": staticmethod(
                lambda lock=None: quell.Condition(lock or lock_tests.threading.RLock())
            )
        },
    ),
    "SemaphoreTests": (lock_tests.SemaphoreTests, {"semtype": quell.Semaphore}),
    "BoundedSemaphoreTests": (
        lock_tests.BoundedSemaphoreTests,
        {"semtype": quell.BoundedSemaphore},
    ),
    "BarrierTests": (lock_tests.BarrierTests, {"barriertype": staticmethod(quell.Barrier)}),
    # threading's Condition around quell's locks.
    "ConditionTests(RLock)": (
        lock_tests.ConditionTests,
        {"condtype": staticmethod(lambda lock=None: condition(lock or quell.RLock()))},
    ),
}


def condition(lock):
    import threading

    return threading.Condition(lock)


def cases():
    for name, (base, attributes) in CLASSES.items():
        yield type(name, (base, unittest.TestCase), attributes)
    suite = importlib.import_module("test.test_queue")
    for name, case in vars(suite).items():
        is_case = isinstance(case, type) and issubclass(case, unittest.TestCase)
        # Each stands there twice, for the standard library's two forms of the module.
        if is_case and name.startswith("C") and hasattr(case, "queue"):
            yield type(name, (case,), {"queue": quell.queue})
    importlib.import_module("test.support").verbose = 0
    suite = importlib.import_module("test.test_threading")
    suite.threading = quell.threading
    yield from own_cases(suite)
    suite = importlib.import_module("test.test_thread")
    suite.thread = types.SimpleNamespace(**{**vars(_thread), "allocate_lock": quell.Lock})
    yield from own_cases(suite)
    yield from executor_cases()


def executor_cases():
    """Those of thread pools, and of the futures they give. Not every distribution of an interpreter has them."""
    try:
        suites = [importlib.import_module("test.test_concurrent_futures")]
    except ImportError:
        return
    if hasattr(suites[0], "__path__"):
        parts = ("thread_pool", "wait", "as_completed", "init", "shutdown", "future")
        suites = [importlib.import_module(f"{suites[0].__name__}.test_{part}") for part in parts]
    for suite in suites:
        for case in list(vars(suite).values()):
            if not (isinstance(case, type) and issubclass(case, unittest.TestCase)):
                continue
            if getattr(case, "executor_type", None) is concurrent.futures.ThreadPoolExecutor:
                yield type(case.__name__, (case,), {"executor_type": quell.ThreadPoolExecutor})
            elif case.__name__ == "FutureTests":
                suite.Future = quell.Future
                maker = suite.create_future.__globals__
                maker["Future"] = quell.Future
                for name in ("PENDING", "RUNNING", "CANCELLED", "CANCELLED_AND_NOTIFIED"):
                    setattr(suite, f"{name}_FUTURE", suite.create_future(state=maker[name]))
                state = maker["FINISHED"]
                error = suite.create_future(state=state, exception=OSError())
                suite.EXCEPTION_FUTURE = error
                suite.SUCCESSFUL_FUTURE = suite.create_future(state=state, result=42)
                yield case


def own_cases(suite):
    """Those that a suite does not take from lock_tests: these stand above."""
    for case in list(vars(suite).values()):
        is_case = isinstance(case, type) and issubclass(case, unittest.TestCase)
        if is_case and not any(base.__module__ == lock_tests.__name__ for base in case.__mro__):
            yield case


def collected():
    for case in cases():
        for test in unittest.defaultTestLoader.loadTestsFromTestCase(case):
            name = f"{case.__name__}.{test._testMethodName}"
            parts = (name, case.__name__, case.__name__.removeprefix("C"))
            if not EXCLUDED.intersection(parts):
                yield pytest.param(case, test._testMethodName, id=name)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("case", "method"), list(collected()))
def test_suite(case, method):
    result = unittest.TestResult()
    unittest.TestSuite([case(method)]).run(result)
    problems = [text for _, text in result.failures + result.errors]
    assert not problems, "\n".join(problems)
    for _, reason in result.skipped:
        pytest.skip(reason)
