"""Says when labels come for some rows only: then every figure about accuracy is that of these rows, and of no others.

Where only refused credits are looked into, the accuracy of those granted is unknown, and a class whose rows are
labelled only when they were predicted as another has nothing but wrong answers. No count of labels can mend that; so it
is told, beside whatever is raised about accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from assay.engines.base import Bins, CountQuery, Engine, Number, Question, Source, Values
from assay.engines.base import Text as TextColumn
from assay.findings import Finding, Severity
from assay.monitoring.portrait import labels
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.signals import SignalSpec, WindowCounts
from assay.storage.clock import from_text

SELECTED: Final = "labelled by prediction"
"""The name of the question how many rows of each prediction have a label."""
POINTS: Final = 0.10
"""So much more, or less, than others of the same time must the share with a label be to be told."""
SURE: Final = 6.0
"""Standard errors that it must lie apart as well: many, because rows of one day resemble each other."""
FEWEST: Final = 50
"""Rows of one prediction below which nothing is said of them."""
COMMON: Final = 0.05
"""Share of the baseline's labels that an outcome had to be noticed when it does not come any more."""
EXPECTED: Final = 20
"""Labels of an outcome that the baseline lets expect before its absence is told."""
STRATA: Final = 32
"""Spans of time, at most, within which rows are compared: labels of late rows have not come yet."""


def question(schema: PredictionSchema, specs: Sequence[SignalSpec]) -> Question | None:
    """How many rows of each prediction have a label; None where there is no prediction or no label."""
    spec = _prediction(specs)
    if spec is None or schema.label is None:
        return None
    said = (
        Values(TextColumn(spec.column), spec.values) if spec.kind == "values" else Bins(Number(spec.column), spec.edges)
    )
    return Question(SELECTED, (said, Values(TextColumn(schema.label), ())))


def about_selection(
    schema: PredictionSchema, specs: Sequence[SignalSpec], answer: Mapping[tuple[int, ...], int]
) -> tuple[Finding, ...]:
    """What to say of the rows that have labels: nothing where those of every prediction have them alike.

    Args:
        schema: What the columns mean.
        specs: The signals, the predictions among them.
        answer: To `question`: rows by span of time, prediction, and label.
    """
    spec = _prediction(specs)
    if spec is None or not answer:
        return ()
    names = labels(spec)
    there = np.zeros((max(key[0] for key in answer) + 1, len(names), 2))
    for (place, said, code), count in answer.items():
        if 0 <= said < len(names):
            there[place, said, int(code >= 0)] += count
    rows, known = there.sum(2), there[:, :, 1]
    share = known.sum(1) / np.maximum(rows.sum(1), 1.0)
    usual = (rows * share[:, None]).sum(0)
    spread = np.sqrt((rows * (share * (1 - share))[:, None]).sum(0))
    total, labelled = rows.sum(0), known.sum(0)
    apart = (labelled - usual) / np.maximum(total, 1.0)
    told = (total >= FEWEST) & (np.abs(apart) >= POINTS) & (np.abs(labelled - usual) >= SURE * np.maximum(spread, 1.0))
    if not told.any():
        return ()
    each = np.where(total >= FEWEST, apart, 0.0)
    few, many = int(each.argmin()), int(each.argmax())
    detail = (
        f"labels have come for {labelled[few] / total[few]:.0%} of the {total[few]:,.0f} rows predicted {names[few]} "
        f"and for {labelled[many] / total[many]:.0%} of the {total[many]:,.0f} predicted {names[many]}: accuracy is "
        "that of the rows with labels alone; what is said of it, of a class above all, may come from which rows get one"
    )
    numbers = {"rows": float(total.sum()), "labelled": float(labelled.sum())}
    return (Finding("label.selected", schema.label or "", Severity.WARNING, detail, numbers),)


def about_outcomes(
    specs: Sequence[SignalSpec], before: Sequence[WindowCounts], now: Sequence[WindowCounts]
) -> tuple[Finding, ...]:
    """Outcomes that the baseline had and that no label says any more.

    Args:
        specs: The signals, the accuracy of each class among them.
        before: The baseline's windows.
        now: The windows in question.
    """
    classes = [spec for spec in specs if spec.name.startswith("accuracy:class=") and spec.values]
    then = [sum(sum(window.counts.get(spec.name, ())) for window in before) for spec in classes]
    since = [sum(sum(window.counts.get(spec.name, ())) for window in now) for spec in classes]
    found = []
    for spec, known, rows in zip(classes, then, since, strict=True):
        share = known / max(sum(then), 1)
        if not rows and share >= COMMON and share * sum(since) >= EXPECTED:
            detail = (
                f"none of {sum(since):,} labels says {spec.values[0]}, as {share:.0%} of the baseline's did: where "
                "labels of one outcome do not come, accuracy is that of the others alone"
            )
            found.append(Finding("label.one-sided", spec.column, Severity.WARNING, detail, {"labels": sum(since)}))
    return tuple(found)


def look(
    engine: Engine,
    source: Source,
    schema: PredictionSchema,
    specs: Sequence[SignalSpec],
    windows: Sequence[WindowCounts],
) -> tuple[Finding, ...]:
    """What to say of the labels of a finished table.

    Args:
        engine: What reads the table.
        source: The table.
        schema: What its columns mean.
        specs: The signals.
        windows: Its windows.

    Raises:
        TableError: When the table cannot be read.
    """
    asked = question(schema, specs)
    if asked is None or not windows:
        return ()
    step = -(-len(windows) // STRATA)
    cuts = [from_text(window.start) for window in windows[::step]]
    query = CountQuery(schema.time, (*cuts, from_text(windows[-1].end)), (asked,))
    return about_selection(schema, specs, engine.counts(source, query).answers[SELECTED])


def _prediction(specs: Sequence[SignalSpec]) -> SignalSpec | None:
    return next((spec for spec in specs if spec.name == "prediction" and spec.kind in {"values", "ordered"}), None)
