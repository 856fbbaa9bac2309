"""On an older minor version of Python a part of the tests runs, unless everything was asked for: the rest has its turn on another.

``QUELL_TURN``, set by ``cargo xtask test`` on each version but the newest, says which turn this is, and of how many: ``0/2``,
``1/2``. ``QUELL_EVERY_TURN`` names the files of which all tests run on every version. For the conftest of a suite.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable

import pytest

_turn, _, _turns = os.environ.get("QUELL_TURN", "").partition("/")

#: Whether this is an older version, on which a part of the tests runs.
PARTLY = bool(_turn)

_always = set(os.environ.get("QUELL_EVERY_TURN", "").split(","))


def number(name: str) -> int:
    """The same for a name wherever it is asked for, and of no order."""
    return zlib.crc32(name.encode())


def has_turn(item: pytest.Item, name: str) -> bool:
    """Whether a test of this name runs here."""
    return (
        not PARTLY or item.path.name in _always or (number(name) >> 1) % int(_turns) == int(_turn)
    )


def leave(
    config: pytest.Config, items: list[pytest.Item], stays: Callable[[pytest.Item], bool]
) -> None:
    """Leaves those that stay."""
    staying = [(item, stays(item)) for item in items]
    config.hook.pytest_deselected(items=[item for item, stayed in staying if not stayed])
    items[:] = [item for item, stayed in staying if stayed]
