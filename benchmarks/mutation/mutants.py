"""Every single check of a module, deleted or weakened one at a time.

A mutant is the module's source with one of these changes:

* ``raise``: a raise statement does nothing.
* ``if``: the body of an ``if`` is never entered.
* ``operand``: one operand of an ``and`` or ``or`` is left out.
* ``finding``: a finding is not added to its list.
* ``call``: a statement that calls something named as a check (check, verify, require, must, refuse …) is left out.
* ``bound``: ``<`` and ``<=``, ``>`` and ``>=`` are exchanged.
* ``equal``: ``==`` and ``!=``, ``in`` and ``not in``, ``is`` and ``is not`` are exchanged, outside of the conditions of
  an ``if``, whose deletion is a mutant of its own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

_LISTS = re.compile(r"finding|reason|problem|fault|trouble|wrong")
_CHECKS = re.compile(r"check|verif|requir|must|refus|ensure|exactly|reject|assert|same|close|validate|judge")
_BOUNDS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
_EQUALS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change.

    Attributes:
        kind: Which, as the module's docstring names them.
        line: Where it begins.
        end: Where the changed statement or condition ends.
        before: The code as it was, one line.
        source: The whole module with the change.
    """

    kind: str
    line: int
    end: int
    before: str
    source: str


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    tree = ast.parse(source)
    conditions = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.If) for inner in ast.walk(node.test)}
    found = []
    for node in ast.walk(tree):
        found += [one for one in _of(node, source) if one.kind != "equal" or id(node) not in conditions]
    yield from sorted(found, key=lambda one: (one.line, one.kind, one.source))


def _of(node: ast.AST, source: str) -> Iterator[Mutant]:
    if isinstance(node, ast.Raise):
        yield _replaced(node, "raise", "pass", source)
    elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
        yield _replaced(node.test, "if", "False", source)
    elif isinstance(node, ast.BoolOp):
        word = " and " if isinstance(node.op, ast.And) else " or "
        for at in range(len(node.values)):
            kept = [f"({ast.unparse(one)})" for place, one in enumerate(node.values) if place != at]
            yield _replaced(node, "operand", f"({word.join(kept)})", source, said=ast.unparse(node.values[at]))
    elif isinstance(node, ast.AugAssign) and _LISTS.search(ast.unparse(node.target)):
        yield _replaced(node, "finding", "pass", source)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield from _call(node, ast.unparse(node.value.func), source)
    elif isinstance(node, ast.Compare):
        yield from _comparison(node, source)


def _call(node: ast.Expr, name: str, source: str) -> Iterator[Mutant]:
    if name.endswith((".append", ".extend", ".insert")) and _LISTS.search(name):
        yield _replaced(node, "finding", "pass", source)
    elif _CHECKS.search(name.rpartition(".")[2]):
        yield _replaced(node, "call", "pass", source)


def _comparison(node: ast.Compare, source: str) -> Iterator[Mutant]:
    for at, op in enumerate(node.ops):
        for kind, table in (("bound", _BOUNDS), ("equal", _EQUALS)):
            if type(op) in table:
                ops = [*node.ops[:at], table[type(op)](), *node.ops[at + 1 :]]
                text = ast.unparse(ast.Compare(node.left, ops, node.comparators))
                yield _replaced(node, kind, f"({text})", source)


def _replaced(node: ast.expr | ast.stmt, kind: str, text: str, source: str, *, said: str = "") -> Mutant:
    lines = source.splitlines(keepends=True)
    assert node.end_lineno is not None  # noqa: S101 - parsed from source
    assert node.end_col_offset is not None  # noqa: S101
    start = len("".join(lines[: node.lineno - 1]).encode()) + node.col_offset
    end = len("".join(lines[: node.end_lineno - 1]).encode()) + node.end_col_offset
    raw = source.encode()
    was = said or " ".join(raw[start:end].decode().split())
    return Mutant(kind, node.lineno, node.end_lineno, was, (raw[:start] + text.encode() + raw[end:]).decode())
