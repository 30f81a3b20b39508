"""Labels that have not come yet, by the age of their rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from assay.engines.base import CountQuery, Engine, Question, Source, Values
from assay.engines.base import Text as TextColumn
from assay.monitoring.schema import PredictionSchema

AGES: Final[Mapping[str, timedelta]] = {
    "1h": timedelta(hours=1),
    "1d": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
"""Rows are sorted by the first of these ages they are younger than; older ones are not looked at."""


def pending_labels(
    engine: Engine, source: Source, schema: PredictionSchema, now: datetime
) -> Mapping[str, Mapping[str, int]] | None:
    """How many rows of each age there are, and how many still wait for their label; None where none ever comes.

    Args:
        engine: What reads the log.
        source: The log.
        schema: What its columns mean.
        now: The reading of the clock.

    Raises:
        TableError: The log cannot be read.
    """
    if schema.label is None or schema.label not in engine.columns(source):
        return None
    cuts = tuple(sorted({now, *(now - age for age in AGES.values())}))
    asked = Question("labelled", (Values(TextColumn(schema.label), ()),))
    tally = engine.counts(source, CountQuery(schema.time, cuts, (asked,)))
    there = [0] * len(tally.windows)
    for (place, code), rows in tally.answers["labelled"].items():
        there[place] += rows if code >= 0 else 0
    youngest_first = zip(AGES, reversed(tally.windows), reversed(there), strict=True)
    return {age: {"rows": window.rows, "waiting": window.rows - known} for age, window, known in youngest_first}
