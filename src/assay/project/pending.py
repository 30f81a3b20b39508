"""Labels that have not come yet, by the age of their rows, and whether they come for some rows only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from assay.engines.base import CountQuery, Engine, Question, Source, Values
from assay.engines.base import Text as TextColumn
from assay.errors import TableError
from assay.findings import Finding
from assay.monitoring.labelling import SELECTED, about_selection, question
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.signals import SignalSpec

AGES: Final[Mapping[str, timedelta]] = {
    "1h": timedelta(hours=1),
    "1d": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
"""Rows are sorted by the first of these ages they are younger than; older ones are not looked at."""


@dataclass(frozen=True, slots=True)
class Pending:
    """What is known of labels that are to come.

    Attributes:
        ages: How many rows of each age there are, and how many still wait for their label.
        findings: What to say where labels come for some rows only.
    """

    ages: Mapping[str, Mapping[str, int]]
    findings: tuple[Finding, ...]


def pending_labels(
    engine: Engine, source: Source, schema: PredictionSchema, now: datetime, specs: Sequence[SignalSpec] = ()
) -> Pending | None:
    """How many rows wait for their label, by their age, and whether labels are chosen; None where none ever comes.

    Args:
        engine: What reads the log.
        source: The log.
        schema: What its columns mean.
        now: The reading of the clock.
        specs: The signals: the predictions among them are what labels may be chosen by.

    Raises:
        TableError: The log cannot be read.
    """
    columns = engine.columns(source) if schema.label is not None else {}
    if schema.label is None or schema.label not in columns:
        return None
    cuts = tuple(sorted({now, *(now - age for age in AGES.values())}))
    asked = [Question("labelled", (Values(TextColumn(schema.label), ()),))]
    if schema.prediction in columns and (chosen := question(schema, specs)) is not None:
        asked.append(chosen)
    query = CountQuery(schema.time, cuts, tuple(asked))
    try:
        tally = engine.counts(source, query)
    except TableError:  # a file was deleted after it was listed: listed again, the others are there
        tally = engine.counts(source, query)
    there = [0] * len(tally.windows)
    for (place, code), rows in tally.answers["labelled"].items():
        there[place] += rows if code >= 0 else 0
    youngest_first = zip(AGES, reversed(tally.windows), reversed(there), strict=True)
    ages = {age: {"rows": window.rows, "waiting": window.rows - known} for age, window, known in youngest_first}
    return Pending(ages, about_selection(schema, specs, tally.answers.get(SELECTED, {})))
