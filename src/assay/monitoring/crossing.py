"""Slices of two declared columns at once: where each alone hides a fall of their crossing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import combinations
from typing import Final

from assay.engines.base import CountQuery, Engine, Question, Source, Text, Values
from assay.findings import Finding, Severity
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.signals import SignalSpec

MOST_SLICES: Final = 1000
"""Slices tested directly, one column or two: up to here testing all beats discovering some (760 measured)."""

FEWEST: Final = 20
"""Rows of a crossing below which its rate cannot be known."""


def cross(
    engine: Engine, source: Source, schema: PredictionSchema, singles: Sequence[SignalSpec]
) -> tuple[tuple[SignalSpec, ...], tuple[Finding, ...]]:
    """The crossings of every two slice columns that have enough rows, the largest first.

    Args:
        engine: What reads the table.
        source: Rows of when the model was known to work.
        schema: What the columns mean.
        singles: The signals learned so far, slices of one column among them.

    Raises:
        TableError: When the table cannot be read.
    """
    slices = [spec for spec in singles if spec.family == "slices" and spec.kind == "rate" and spec.slice]
    values: dict[str, list[str]] = {}
    for spec in slices:
        values.setdefault(spec.column, []).append(spec.values[0])
    pairs = list(combinations(values, 2))
    span = engine.span(source, schema.time) if pairs else None
    if span is None or span.first is None or span.last is None:
        return (), ()
    cuts = (span.first, span.last + timedelta(microseconds=1))
    questions = tuple(
        Question(f"{place}", (Values(Text(one), tuple(values[one])), Values(Text(other), tuple(values[other]))))
        for place, (one, other) in enumerate(pairs)
    )
    answers = engine.counts(source, CountQuery(schema.time, cuts, questions)).answers
    found: list[tuple[int, SignalSpec]] = []
    for place, (one, other) in enumerate(pairs):
        for (_, first, second), rows in answers[f"{place}"].items():
            inside = 0 <= first < len(values[one]) and 0 <= second < len(values[other])
            if inside and rows >= FEWEST:
                where = {one: values[one][first], other: values[other][second]}
                found.append((rows, _crossing(where, slices[0].edges)))
    found.sort(key=lambda each: (-each[0], each[1].name))
    room = max(0, MOST_SLICES - len(slices))
    return tuple(spec for _, spec in found[:room]), _left(len(found) - room)


def _crossing(where: dict[str, str], edges: tuple[float, ...]) -> SignalSpec:
    name = "accuracy:slice:" + "&".join(f"{column}={value}" for column, value in where.items())
    column = next(iter(where))
    return SignalSpec(name, "slices", "rate", column, edges=edges, values=(where[column],), sides="up", slice=where)


def _left(number: int) -> tuple[Finding, ...]:
    if number <= 0:
        return ()
    detail = f"{number:,} crossings of slice columns are not watched by themselves: {MOST_SLICES:,} slices are the most"
    return (Finding("slices.left-out", "slices", Severity.INFO, detail, {"left_out": number}),)
