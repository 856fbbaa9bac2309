"""The Python examples in the documents run: a document's blocks, in order, as one program."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PROGRAMS = {
    str(path.relative_to(ROOT)): "\n".join(blocks)
    for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/src/*.md"))]
    if (blocks := BLOCK.findall(path.read_text()))
}


@pytest.mark.parametrize("document", PROGRAMS)
def test_the_examples_run(document: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PROGRAMS[document]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    for line in re.findall(r"# prints (.*)", PROGRAMS[document]):
        assert line in done.stdout.splitlines(), f"{line!r} is not in {done.stdout!r}"
