"""The script's own ``except`` and ``finally`` run, whatever shape the loop around it has that never
ends, wherever Python would have swallowed the exception, and however the code was entered."""

from __future__ import annotations

import json
import sys

import pytest
from harness import SCRIPTS, STRESS, WAYS, Way

sys.path.insert(0, str(SCRIPTS))
import shapes

#: How often each shape is interrupted on each interpreter: 100 times and more over three minor versions.
ROUNDS = 35 * STRESS
#: One after another the shapes are started each way: what delivers the interrupt is the same library in both. Longer
#: runs have every shape in every way.
EVERY = [
    (way, name)
    for at, name in enumerate([*shapes.LOOPS, *shapes.PLACES, *shapes.CALLEES])
    for way in (WAYS if STRESS > 1 else [WAYS[at % len(WAYS)]])
]
each_shape = pytest.mark.parametrize(("way", "name"), EVERY, indirect=["way"])


@each_shape
def test_every_time(way: Way, name: str) -> None:
    run = way.run(SCRIPTS / "shapes_rounds.py", name, str(ROUNDS), report=False, within=60 * STRESS)
    assert run.code == 0, str(run)
    told = json.loads(run.stdout)
    assert {form: facts["other"] for form, facts in told.items()} == dict.fromkeys(told, {}), str(
        run
    )
    assert sum(facts["good"] for facts in told.values()) >= ROUNDS, str(run)
    # Nothing was thrown away behind the script's back.
    assert "ignored" not in run.stderr, str(run)


@each_shape
def test_at_the_limit(way: Way, name: str) -> None:
    run = way.limited(SCRIPTS / "shapes_alone.py", name, timeout=0.15)
    log = run.lines[-1].split()
    if name in shapes.PLACES and (name in shapes.WHOLE_BODY or log[0] == "body"):
        assert log == ["body", "except"], str(run)
    else:
        assert log == ["except"], str(run)
    assert run.report is not None
    assert run.report["ended"] == "unwound", str(run)
    assert "ignored" not in run.stderr, str(run)
