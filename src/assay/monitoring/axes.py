"""Columns in a few levels, and the cells of every three of them: what slices are searched in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final

from assay.engines.base import ColumnFamily, Number, Profile, Quantity, Text
from assay.findings import Finding, Severity
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.signals import Axis, SignalSpec

DEPTH: Final = 3
"""Columns of a slice at most."""
LEVELS: Final = 5
"""Values of a category that are searched, the most frequent ones; a number has four levels, split at its quartiles."""
FEWEST: Final = 20
"""Rows of a value below which it is not searched."""

_QUARTERS: Final = (0.25, 0.5, 0.75)


def asked_of(schema: PredictionSchema, families: Mapping[str, ColumnFamily]) -> dict[str, Quantity | Text]:
    """What must be known of the columns that are searched, by name."""
    asked: dict[str, Quantity | Text] = {}
    for column in schema.discover:
        if families.get(column) in {"integer", "boolean", "text"}:
            asked[f"values {column}"] = Text(column)
        if families.get(column) in {"integer", "number"}:
            asked[f"number {column}"] = Number(column)
    return asked


def cells_of(
    schema: PredictionSchema,
    known: Mapping[str, Profile],
    quantiles: Sequence[float],
    limit: tuple[float, ...],
) -> tuple[tuple[SignalSpec, ...], tuple[Finding, ...]]:
    """The cells of every three columns that are searched (of all, where they are fewer), and what is left out.

    Args:
        schema: What the columns mean.
        known: What is known of them, by the names of `asked_of`.
        quantiles: The probabilities whose quantiles are known.
        limit: The distance beyond which a regression is wrong; empty for classes.
    """
    axes: list[Axis] = []
    found: list[Finding] = []
    for column in schema.discover:
        axis, left = _axis(column, known, quantiles)
        if axis is None:
            detail = f"column {column!r} has fewer than two levels with rows enough: no slices are searched along it"
            found.append(Finding("slices.not-searched", column, Severity.WARNING, detail))
            continue
        axes.append(axis)
        if left:
            detail = f"{left:,} rows have other values of {column!r} than the {len(axis.levels)} that are searched"
            found.append(Finding("slices.left-out", column, Severity.INFO, detail, {"rows": left}))
    groups = combinations(axes, min(DEPTH, len(axes))) if axes else ()
    specs = tuple(
        SignalSpec(
            "cells:" + "&".join(axis.column for axis in group),
            "slices",
            "cells",
            "",
            edges=limit,
            sides="up",
            axes=group,
        )
        for group in groups
    )
    return specs, tuple(found)


def _axis(column: str, known: Mapping[str, Profile], quantiles: Sequence[float]) -> tuple[Axis | None, int]:
    """The levels of a column, and how many rows are in none of them."""
    texts, numbers = known.get(f"values {column}"), known.get(f"number {column}")
    if texts is not None and (numbers is None or texts.distinct <= LEVELS):
        values = tuple(value for value, rows in texts.top[:LEVELS] if rows >= FEWEST)
        inside = sum(rows for value, rows in texts.top if value in values)
        return (Axis(column, values=values), texts.rows - texts.missing - inside) if len(values) > 1 else (None, 0)
    if numbers is None or not numbers.quantiles:
        return None, 0
    edges = {numbers.quantiles[list(quantiles).index(q)] + 0.0 for q in _QUARTERS}
    edges -= {numbers.most}  # nothing lies above it
    return (Axis(column, edges=tuple(sorted(edges))), 0) if edges else (None, 0)
