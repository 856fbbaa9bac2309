"""Runs a package's own pytest suite in a thread other than the main one, where every blocking call is a patched one if they are
patched, and writes what became of each test.

    suite_in_a_thread.py (plain | patched) ANSWER PYTEST-ARGUMENT...
"""

import json
import sys
import threading

import pytest


class Outcomes:
    """What became of each test, in a word."""

    def __init__(self) -> None:
        self.all: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.all[report.nodeid] = f"{report.outcome} in {report.when}"


def main() -> None:
    mode, answer, *arguments = sys.argv[1:]
    if mode == "patched":
        import quell

        patch = quell.patch()
        assert not patch.refused
    outcomes = Outcomes()
    thread = threading.Thread(target=pytest.main, args=[arguments, [outcomes]])
    thread.start()
    thread.join()
    if mode == "patched":
        assert all(p.replaced for p in quell.patchable() if p.name in patch.replaced)
    with open(answer, "w") as file:
        json.dump(outcomes.all, file)


if __name__ == "__main__":
    main()
