"""README's Python example runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

from conftest import PATIENCE


def test_the_example_runs() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert examples
    for example in examples:
        ended = subprocess.run(
            [sys.executable, "-c", example], capture_output=True, text=True, timeout=PATIENCE
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stderr == ""
        assert ended.stdout.splitlines() == ["stopped", "delivered", "out of time"]
