"""Runs a package's own pytest suite in a thread other than the main one, where every blocking call is a patched one if they are
patched, and writes what became of each test.

    suite_in_a_thread.py (plain | patched) ANSWER PYTEST-ARGUMENT...
"""

import sys

import pytest
from in_a_thread import run_in_a_thread


class Outcomes:
    """What became of each test, in a word."""

    def __init__(self) -> None:
        self.all: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.all[report.nodeid] = f"{report.outcome} in {report.when}"


def main() -> None:
    mode, answer, *arguments = sys.argv[1:]
    outcomes = Outcomes()
    run_in_a_thread(mode, answer, lambda: pytest.main(arguments, [outcomes]), outcomes.all)


if __name__ == "__main__":
    main()
