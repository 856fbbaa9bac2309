"""The two ways to start the command, from the environment: ``QUELL_BIN`` is the binary,
``QUELL_VENV_PYTHON`` an interpreter that has the package (and pytest and numpy) installed. ``QUELL_WAYS``
names the ways to test; both, if it is not set. With ``in-turn`` each test has one of them, and the other on the next minor
version of Python."""

from __future__ import annotations

import collections
import functools
import os
import re
import sys
import zlib

import pytest

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
    """Of each test that is there in both ways leaves the one whose turn it is."""
    if not IN_TURN:
        return
    in_turn, others, ways = [], [], collections.Counter(_without_way(item) for item in items)
    for item in items:
        name = _without_way(item)
        turn = WAYS[(zlib.crc32(name.encode()) + sys.version_info.minor) % len(WAYS)]
        (in_turn if ways[name] == 1 or f"[{turn}" in item.nodeid else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = in_turn


def _without_way(item: pytest.Item) -> str:
    return re.sub(rf"\[({'|'.join(WAYS)})", "[", item.nodeid)
