"""Runs unittest modules in a thread other than the main one, where every blocking call is a patched one if they are patched, and
writes what became of each test.

    in_a_thread.py (plain | patched) ANSWER MODULE...
"""

import json
import sys
import threading
import unittest
from collections.abc import Callable


class Outcomes(unittest.TestResult):
    """What became of each test, in a word."""

    def __init__(self) -> None:
        super().__init__()
        self.all: dict[str, str] = {}

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.all[test.id()] = "passed"

    def addError(self, test, err) -> None:
        super().addError(test, err)
        self.all[test.id()] = f"error: {err[0].__name__}"

    def addFailure(self, test, err) -> None:
        super().addFailure(test, err)
        self.all[test.id()] = "failed"

    def addSubTest(self, test, subtest, err) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.all[test.id()] = f"error: {err[0].__name__}"

    def addSkip(self, test, reason: str) -> None:
        super().addSkip(test, reason)
        self.all[test.id()] = "skipped"


def run_in_a_thread(
    mode: str, answer: str, run: Callable[[], object], outcomes: dict[str, str]
) -> None:
    """Has a thread run the tests, the calls patched if the mode says so, and writes what became of them."""
    if mode == "patched":
        import quell

        patch = quell.patch()
        assert not patch.refused
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if mode == "patched":
        assert all(p.replaced for p in quell.patchable() if p.name in patch.replaced)
    with open(answer, "w") as file:
        json.dump(outcomes, file)


def main() -> None:
    mode, answer, *modules = sys.argv[1:]
    from test import support

    # What goes beyond this machine is left out.
    support.use_resources = []
    support.verbose = 0
    outcomes = Outcomes()

    def run() -> None:
        unittest.defaultTestLoader.loadTestsFromNames(modules).run(outcomes)

    run_in_a_thread(mode, answer, run, outcomes.all)


if __name__ == "__main__":
    main()
