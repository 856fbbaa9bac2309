"""The two ways to start the command, from the environment: ``QUELL_BIN`` is the binary,
``QUELL_VENV_PYTHON`` an interpreter that has the package (and pytest and numpy) installed. ``QUELL_WAYS``
names the ways to test; both, if it is not set. With ``in-turn`` each test has one of them on the newest minor version of Python, and
the other on those before it, of which each runs a part of the tests."""

from __future__ import annotations

import collections
import functools
import os
import re
import sys

import pytest
from in_turn import PARTLY, has_turn, leave, number

sys.path.insert(0, os.path.dirname(__file__))

from harness import IN_TURN, WAYS, Way, binary_way, module_way


@functools.cache
def _way(name: str) -> Way | str:
    python = os.environ.get("QUELL_VENV_PYTHON")
    if name == "module":
        return module_way(python) if python else "QUELL_VENV_PYTHON is not set"
    binary = os.environ.get("QUELL_BIN")
    return binary_way(binary, python) if binary else "QUELL_BIN is not set"


@pytest.fixture(scope="session", params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    """Each test runs the command each way."""
    found = _way(request.param)
    if isinstance(found, str):
        pytest.skip(found)
    return found


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves the tests that have their turn here, and of each that is there in both ways the one whose turn it is."""
    ways = collections.Counter(_without_way(item) for item in items)

    def stays(item: pytest.Item) -> bool:
        name = _without_way(item)
        turn = WAYS[(number(name) + PARTLY) % len(WAYS)]
        way = not IN_TURN or ways[name] == 1 or f"[{turn}" in item.nodeid
        return way and has_turn(item, name)

    leave(config, items, stays)


def _without_way(item: pytest.Item) -> str:
    return re.sub(rf"\[({'|'.join(WAYS)})", "[", item.nodeid)
