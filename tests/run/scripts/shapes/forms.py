"""How one shape is made into several functions, and where it says what it has done."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable

#: What the running shape has done.
LOG: list[str] = []

#: What each form has to leave in the log.
FORMS = {
    "except": ["except"],
    "except, finally": ["except", "finally"],
    "finally, except": ["finally", "except"],
    "except; one line": ["except"],
    "except, finally; one line": ["except", "finally"],
    "finally, except; one line": ["finally", "except"],
}

Shape = Callable[..., None]
LOOPS: dict[str, dict[str, Shape]] = {}
PLACES: dict[str, dict[str, Shape]] = {}
CALLEES: dict[str, dict[str, Shape]] = {}


def caught() -> None:
    LOG.append("except")


def cleaned() -> None:
    LOG.append("finally")


class _Reform(ast.NodeTransformer):
    """Puts a ``finally`` on, or into, the ``try`` that has the ``except Stop``, and loops on one line."""

    def __init__(self, form: str) -> None:
        self.form, _, self.line = form.partition("; ")

    def visit_Try(self, node: ast.Try) -> ast.AST:
        if not any(isinstance(h.type, ast.Name) and h.type.id == "Stop" for h in node.handlers):
            return self.generic_visit(node)
        if self.line:
            for statement in node.body:
                for part in ast.walk(statement):
                    if isinstance(part, (ast.While, ast.For)):
                        self.on_one_line(part)
        finish: list[ast.stmt] = [ast.copy_location(statement, node) for statement in _FINISH]
        if self.form == "except, finally":
            node.finalbody = [*node.finalbody, *finish]
        elif self.form == "finally, except":
            inner = ast.Try(body=node.body, handlers=[], orelse=[], finalbody=finish)
            node.body = [ast.copy_location(inner, node.body[0])]
        return node

    def on_one_line(self, loop: ast.While | ast.For) -> None:
        for part in ast.walk(loop):
            if hasattr(part, "lineno"):
                part.lineno = part.end_lineno = loop.lineno  # type: ignore[attr-defined]


_FINISH = ast.parse("cleaned()").body


def _forms(function: Shape) -> dict[str, Shape]:
    lines, first = inspect.getsourcelines(function)
    forms = {"except": function}
    for form in list(FORMS)[1:]:
        tree = ast.parse(textwrap.dedent("".join(lines)))
        tree = _Reform(form).visit(tree)
        assert isinstance(tree.body[0], ast.FunctionDef)
        tree.body[0].decorator_list = []
        ast.increment_lineno(ast.fix_missing_locations(tree), first - 1)
        made: dict[str, Shape] = {}
        names = function.__globals__
        names.setdefault("cleaned", cleaned)
        exec(compile(tree, function.__code__.co_filename, "exec"), names, made)
        forms[form] = made[function.__name__]
    return forms


def loop(function: Shape) -> Shape:
    LOOPS[function.__name__] = _forms(function)
    return function


def loop_as_written(function: Shape) -> Shape:
    """For shapes whose ``try`` is inside the loop, in a string, or of another kind."""
    LOOPS[function.__name__] = {"except": function}
    return function


def place(function: Shape) -> Shape:
    PLACES[function.__name__] = _forms(function)
    return function


def callee(function: Shape) -> Shape:
    CALLEES[function.__name__] = _forms(function)
    return function


def nothing() -> None:
    pass
