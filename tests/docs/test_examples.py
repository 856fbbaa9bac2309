"""The Python examples in the documents run: a document's blocks, in order, as one program.

A block that uses somebody else's package has a comment before it that says so, `<!-- needs: package -->`. It is a program of its own, and
runs where the package is installed.
"""

from __future__ import annotations

import importlib.util
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/src/*.md"))]
BLOCK = re.compile(r"^(?:<!-- needs: (\w+) -->\n)?```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: pathlib.Path) -> list[tuple[str, str]]:
    """Of each block: the package that it needs, or nothing; and the code."""
    return [(found[1] or "", found[2]) for found in BLOCK.finditer(path.read_text())]


PROGRAMS = {
    name(path): "\n".join(own)
    for path in DOCUMENTS
    if (own := [code for package, code in blocks(path) if not package])
}
OTHERS = {
    (name(path), package): code for path in DOCUMENTS for package, code in blocks(path) if package
}


def run(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    for line in re.findall(r"# prints (.*)", program):
        assert line in done.stdout.splitlines(), f"{line!r} is not in {done.stdout!r}"


@pytest.mark.parametrize("document", PROGRAMS)
def test_the_examples_run(document: str) -> None:
    run(PROGRAMS[document])


@pytest.mark.parametrize(("document", "package"), OTHERS)
def test_the_examples_that_need_another_package_run(document: str, package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    run(OTHERS[document, package])


def test_the_hooks_for_pytest_timeout_end_a_test_and_no_more(tmp_path: pathlib.Path) -> None:
    hooks = OTHERS["docs/src/in-your-program.md", "pytest_timeout"]
    (tmp_path / "conftest.py").write_text(hooks)
    (tmp_path / "test_it.py").write_text(
        "def test_runs_away():\n"
        "    try:\n"
        "        while True:\n"
        "            pass\n"
        "    finally:\n"
        "        print('cleaned up')\n"
        "def test_is_in_time(): pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--timeout=0.2", "-p", "no:cacheprovider", tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1, f"{done.stdout}\n{done.stderr}"
    for told in ("timeout: more than 0.2 s", "cleaned up", "1 failed, 1 passed"):
        assert told in done.stdout
