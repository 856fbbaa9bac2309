"""CPython's own tests of threading's locks and of queue, run against quell's classes.

They are taken from the interpreter that runs this. What is left out, and why, is in EXCLUDED.
"""

import importlib
import unittest

import pytest
import quell
import quell.queue

lock_tests = pytest.importorskip(
    "test.lock_tests", reason="this interpreter comes without its own tests"
)

EXCLUDED = {
    # Looks into `_cond`, the Condition inside threading.Event; quell.Event has none.
    "EventTests.test_at_fork_reinit",
}

CLASSES = {
    "LockTests": (lock_tests.LockTests, {"locktype": quell.Lock}),
    "RLockTests": (lock_tests.RLockTests, {"locktype": quell.RLock}),
    "EventTests": (lock_tests.EventTests, {"eventtype": quell.Event}),
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
