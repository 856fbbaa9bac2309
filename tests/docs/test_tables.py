"""What several documents say, they say in the same words."""

from __future__ import annotations

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]


def out_of_reach(document: str) -> list[str]:
    """The table of what cannot be interrupted, without the links, which depend on where a document stands."""
    text = (ROOT / document).read_text()
    head = "| where the thread is | what quell does |"
    assert head in text, document
    table = text[text.index(head) :].partition("\n\n")[0]
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", table).splitlines()


def test_what_cannot_be_interrupted_is_one_table() -> None:
    assert out_of_reach("README.md") == out_of_reach("docs/src/limits.md")
    assert len(out_of_reach("README.md")) > 5
