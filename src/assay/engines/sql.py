"""The SQL of DuckDB for what an engine is asked: quoting, and one expression per quantity and code.

Pure: names and numbers come in, text goes out. Every name goes through `quoted` and every text through
`literal`; no other function writes a name or a text from outside into a statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from assay.engines.base import (
    MISSING,
    NEGATIVE_INFINITY,
    NOT_A_NUMBER,
    POSITIVE_INFINITY,
    UNREADABLE,
    Bins,
    Code,
    ColumnFamily,
    Distance,
    Failed,
    Gap,
    Number,
    Quantity,
    Text,
    Values,
    Wrong,
)
from assay.errors import TableError

Families = Mapping[str, ColumnFamily]

EXACT_INTEGERS: Final = float(2**53)
"""Doubles up to here are exactly the whole numbers they look like."""


def quoted(name: str) -> str:
    """A name as an SQL identifier, whatever characters it has.

    Raises:
        TableError: When the name has a zero byte, which ends a statement.
    """
    if "\0" in name:
        raise TableError(f"the column name {name!r} has a zero byte in it")
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL string, whatever characters it has."""
    if "\0" in text:  # a zero byte ends a statement; chr(0) is the same text
        return "(" + " || chr(0) || ".join(literal(part) for part in text.split("\0")) + ")"
    return "'" + text.replace("'", "''") + "'"


def double(value: float) -> str:
    """A double as an exact literal: ``0.1`` alone would be a decimal in SQL."""
    return f"{literal(repr(float(value)))}::DOUBLE"


def family_of(sql_type: str) -> ColumnFamily:
    """The family of a DuckDB type."""
    kind = sql_type.upper()
    if kind in {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"} | {
        "HUGEINT",
        "UHUGEINT",
    }:
        return "integer"
    if kind in {"DOUBLE", "FLOAT"} or (kind.startswith("DECIMAL") and not kind.endswith("]")):
        return "number"
    if kind == "BOOLEAN":
        return "boolean"
    if kind in {"VARCHAR", "UUID", '"NULL"', "NULL"} or (kind.startswith("ENUM") and not kind.endswith("]")):
        return "text"
    if kind == "DATE" or (kind.startswith("TIMESTAMP") and not kind.endswith("]")):
        return "time"
    return "other"


def _family(families: Families, column: str) -> ColumnFamily:
    try:
        return families[column]
    except KeyError:
        raise TableError(f"the table has no column {column!r}") from None


def micros(families: Families, column: str) -> str:
    """Microseconds since 1970 UTC of a time column, NULL where it has no readable finite time.

    Raises:
        TableError: When the column holds no times.
    """
    family = _family(families, column)
    name = quoted(column)
    if family == "text":
        stamp = f"TRY_CAST({name} AS TIMESTAMPTZ)"
    elif family == "time":
        stamp = f"{name}::TIMESTAMPTZ"
    else:
        raise TableError(f"column {column!r} holds {family} values where times were wanted: write ISO 8601 times")
    return f"(CASE WHEN isfinite({stamp}) THEN epoch_us({stamp}) END)"


def number(families: Families, of: Quantity) -> str:
    """A quantity as a double, NULL where it is null or cannot be read as a number."""
    if isinstance(of, Distance):
        left, right = number(families, Number(of.left)), number(families, Number(of.right))
        return f"abs({left} - {right})"
    if isinstance(of, Gap):
        said, truth = text(families, Text(of.prediction)), text(families, Text(of.label))
        return f"abs({number(families, Number(of.confidence))} - ({said} = {truth})::INTEGER)"
    family = _family(families, of.column)
    if family in {"integer", "number", "boolean"}:
        return f"{quoted(of.column)}::DOUBLE"
    if family == "text":
        return f"TRY_CAST({quoted(of.column)} AS DOUBLE)"
    return "NULL::DOUBLE"


def present(families: Families, of: Quantity) -> str:
    """Whether a quantity is there at all, readable as a number or not."""
    if isinstance(of, Number):
        columns: tuple[str, ...] = (of.column,)
    else:
        columns = (of.left, of.right) if isinstance(of, Distance) else (of.confidence, of.prediction, of.label)
    for column in columns:
        _family(families, column)
    return "(" + " AND ".join(f"{quoted(column)} IS NOT NULL" for column in columns) + ")"


def text(families: Families, of: Text) -> str:
    """A column as text, NULL where it is null or NaN; whole numbers look the same in every numeric type."""
    name, family = quoted(of.column), _family(families, of.column)
    if family == "number":
        x = f"{name}::DOUBLE"
        whole = f"{x} = trunc({x}) AND abs({x}) <= {double(EXACT_INTEGERS)}"
        return f"(CASE WHEN isnan({x}) THEN NULL WHEN {whole} THEN ({x})::BIGINT::VARCHAR ELSE ({x})::VARCHAR END)"
    return f"{name}::VARCHAR"


def _tree(x: str, edges: Sequence[float], low: int, high: int) -> str:
    """Binary search as nested CASE: five comparisons for 20 edges, half the time of a chain."""
    if low == high:
        return str(low)
    middle = (low + high) // 2
    below, above = _tree(x, edges, low, middle), _tree(x, edges, middle + 1, high)
    return f"CASE WHEN {x} <= {double(edges[middle])} THEN {below} ELSE {above} END"


def _bins(families: Families, code: Bins) -> str:
    x = number(families, code.of)
    return (
        f"CASE WHEN {x} IS NULL THEN CASE WHEN {present(families, code.of)} THEN {UNREADABLE} ELSE {MISSING} END "
        f"WHEN isnan({x}) THEN {NOT_A_NUMBER} "
        f"WHEN isinf({x}) THEN CASE WHEN {x} < 0 THEN {NEGATIVE_INFINITY} ELSE {POSITIVE_INFINITY} END "
        f"ELSE {_tree(x, code.edges, 0, len(code.edges))} END"
    )


def _values(families: Families, code: Values) -> str:
    x = text(families, code.of)
    places = " ".join(f"WHEN {literal(value)} THEN {place}" for place, value in enumerate(code.values))
    other = f"CASE {x} {places} ELSE {len(code.values)} END" if code.values else "0"
    return f"CASE WHEN {x} IS NULL THEN {MISSING} ELSE {other} END"


def _failed(families: Families, code: Failed) -> str:
    name, family = quoted(code.column), _family(families, code.column)
    if family in {"integer", "number"}:
        failed = f"coalesce({name} <> 0, false)"
    elif family == "boolean":
        failed = f"coalesce({name}, false)"
    else:
        spoken = f"lower(trim({name}::VARCHAR))"
        failed = f"coalesce({spoken} NOT IN ('', 'false', '0'), false)"
    return f"({failed})::TINYINT"


def _wrong(families: Families, code: Wrong) -> str:
    left, right = text(families, Text(code.prediction)), text(families, Text(code.label))
    return f"coalesce(({left} <> {right})::TINYINT, {MISSING})"


def code(families: Families, asked: Code) -> str:
    """The small integer a row gets for a code. Never NULL, so that NULL can say "not in this grouping set"."""
    if isinstance(asked, Bins):
        made = _bins(families, asked)
    elif isinstance(asked, Values):
        made = _values(families, asked)
    elif isinstance(asked, Failed):
        made = _failed(families, asked)
    else:
        made = _wrong(families, asked)
    return f"({made})::INTEGER"


def window(clock: str, cuts: Sequence[int]) -> str:
    """Which window a time in microseconds falls in: -1 before the first, ``len(cuts) - 1`` from the last on.

    Args:
        clock: An SQL expression of microseconds, not null.
        cuts: Increasing ends of the windows, microseconds.
    """
    widths = {b - a for a, b in pairwise(cuts)}
    last = len(cuts) - 1
    place = f"(({clock} - {cuts[0]}) // {widths.pop()})" if len(widths) == 1 else _places(clock, cuts, 0, last)
    return f"(CASE WHEN {clock} < {cuts[0]} THEN -1 WHEN {clock} >= {cuts[-1]} THEN {last} ELSE {place} END)::INTEGER"


def _places(clock: str, cuts: Sequence[int], low: int, high: int) -> str:
    if high - low == 1:
        return str(low)
    middle = (low + high) // 2
    return (
        f"CASE WHEN {clock} < {cuts[middle]} THEN {_places(clock, cuts, low, middle)} "
        f"ELSE {_places(clock, cuts, middle, high)} END"
    )
