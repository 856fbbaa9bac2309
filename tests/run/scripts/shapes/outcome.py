"""What to call the end of a shape that was not its own."""

from __future__ import annotations

import inspect

from .forms import Shape


def opening(shape: Shape) -> int:
    """The line on which a shape's ``try``, or the loop around it, begins."""
    lines, first = inspect.getsourcelines(shape)
    for offset, line in enumerate(lines):
        if line.strip().startswith(("try:", "while ", "for ", "exec(")):
            return first + offset
    raise AssertionError(f"{shape.__name__} has no try")


def outcome_of(error: BaseException, shape: Shape) -> str:
    """What to call an interrupt that left the shape: too early for its ``try``, or past it."""
    at = error.__traceback__
    assert at is not None
    while at.tb_next:
        at = at.tb_next
    code, line = at.tb_frame.f_code, at.tb_lineno
    if code.co_name in EARLY or code is shape.__code__ and line < opening(shape):
        return "early"
    if code.co_filename == "<string>" and line == 0:
        return "early"
    return f"escaped from {code.co_name}:{line}"


#: What runs before a shape.
EARLY = {"announce", "main", "target"}
