"""The two ways to start the command, from the environment: ``QUELL_BIN`` is the binary,
``QUELL_VENV_PYTHON`` an interpreter that has the package (and pytest and numpy) installed. ``QUELL_WAYS``
names the ways to test; both, if it is not set."""

from __future__ import annotations

import functools
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from harness import WAYS, Way, binary_way, module_way


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
