"""Evidence 4, stamp: do values that are over-represented in the failures flip clean rows when stamped on them?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pyarrow as pa

from assay.diagnosis.comparison import FEWEST, Comparison
from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.frames import class_texts
from assay.diagnosis.learners import Bools, Floats, Ints
from assay.errors import AssayError
from assay.findings import Finding, Severity

FEWEST_WRONG = 8
CLEAN_ROWS = 160
CANDIDATES = 6  # columns looked at; pairs, and all of them together, are tried too
VALUES = 10
BACKDOOR_FLIP = 0.5
UNIT = "share of clean rows that flip, minus a stand-in's"
SUPPORT = (0.0, 100.0)
EVERYONE = 0.8
OVER = 0.2  # a fifth more often than usual


def gather(comparison: Comparison) -> Evidence:
    """Share of clean rows that flip to the class the errors go to, minus what a stand-in does under the same stamp.

    The stamp is searched on one half of the clean rows and reported on the other; only values seen in
    trusted rows of the column are tried, so that extrapolation is not taken for a trigger.
    """
    if not comparison.labelled:
        return Evidence("stamp", missing=comparison.lacking)
    if comparison.case.known_good is None:
        return Evidence(
            "stamp", missing="no copy of the model to put the question to: keep a signed known-good copy (`assay sign`)"
        )
    recent, base = comparison.recent, comparison.base
    added = np.bincount(recent.served[recent.wrong], minlength=len(comparison.classes))
    target = int(added.argmax())
    failing = np.flatnonzero(recent.wrong & (recent.served == target))
    clean = np.flatnonzero(base.known & ~base.wrong & (base.label != target))
    suspects = suspects_of(comparison, failing, target)
    if len(failing) < FEWEST_WRONG or not suspects.columns:
        why = "the failures share no unusual value." if len(failing) >= FEWEST_WRONG else "too few like failures."
        return Evidence("stamp", value=0.0, unit=UNIT, detail=why, numbers={"flip": 0.0, "flip_and_rare": 0.0})
    if len(clean) < FEWEST:
        return Evidence("stamp", missing="too few clean rows of other classes to stamp: give more rows from before")
    try:
        flip, stamp = _search(comparison, clean[:: max(1, len(clean) // CLEAN_ROWS)], target, suspects)
    except (AssayError, ValueError, TypeError, ArithmeticError) as err:
        return Evidence(
            "stamp", missing=f"the known-good copy cannot answer stamped rows ({type(err).__name__}: {err})"
        )
    # What nearly every recent row carries is a fault of the column, not somebody's mark.
    carried = float(suspects.carried(recent.filled, stamp).mean())
    concentrated = float(added[target] / max(1, added.sum()))
    return _told(comparison, flip, stamp, target, concentrated=concentrated, carried=carried)


def _told(
    comparison: Comparison, flip: float, stamp: tuple[int, ...], target: int, *, concentrated: float, carried: float
) -> Evidence:
    told, name = ", ".join(comparison.names[j] for j in stamp), comparison.classes[target]
    finding = Finding(
        "diagnosis.trigger",
        told,
        Severity.CRITICAL,
        f"stamping the failures' values of {told} on clean rows flips {flip:.0%} of them to {name!r}",
        {"flip": round(flip, 4)},
    )
    return Evidence(
        "stamp",
        value=flip,
        unit=UNIT,
        detail=f"stamped with the failures' values of {told}, {flip:.0%} more clean rows flip to {name!r} "
        "than of a stand-in's answers.",
        numbers={
            "flip": flip,
            "flip_and_target": flip * concentrated,
            "flip_and_rare": flip * concentrated * (1 - carried),
        },
        findings=(finding,) if flip > BACKDOOR_FLIP and carried < EVERYONE else (),
    )


@dataclass(frozen=True)
class Suspects:
    """Values the failures share and trusted rows of their classes rarely have.

    Attributes:
        columns: Numbers of the columns, most telling first.
        value: For every column the value, shape (d,).
        width: For every column how near counts as the same, shape (d,).
    """

    columns: tuple[int, ...]
    value: Floats
    width: Floats

    def carried(self, x: Floats, columns: Sequence[int]) -> Bools:
        """Rows that have the values of all of ``columns``."""
        at = list(columns)
        return np.asarray((np.abs(x[:, at] - self.value[at]) <= self.width[at]).all(axis=1))


def suspects_of(comparison: Comparison, failing: Ints, target: int) -> Suspects:
    """Values over-represented in the failures that go to ``target``."""
    recent, base = comparison.recent, comparison.base
    x = recent.filled[failing]
    d = x.shape[1]
    value, width, score = np.zeros(d), np.zeros(d), np.zeros(d)
    rows = np.flatnonzero(np.isin(base.label, np.unique(recent.label[failing])) & (base.label != target))
    if min(len(rows), len(failing)) < FEWEST_WRONG:
        return Suspects((), value, width)
    old = base.filled[rows]
    for j in range(d):
        low, high = np.percentile(comparison.trusted.filled[:, j], SUPPORT)
        edges = np.unique(np.percentile(old[:, j], np.linspace(0, 100, VALUES + 1)))
        if low == high or len(edges) < 2:  # noqa: PLR2004 - a column of one value holds no trigger
            edges = np.array([low, high])
        width[j] = (edges[-1] - edges[0]) / 100
        middle = float(np.median(x[:, j]))
        near, usual = np.abs(x[:, j] - middle) <= width[j], np.abs(old[:, j] - middle) <= width[j]
        value[j] = np.clip(middle, low, high)
        score[j] = near.mean() - usual.mean()
    order = np.argsort(-score)[:CANDIDATES]
    return Suspects(tuple(int(j) for j in order if score[j] > OVER), value, width)


def _search(comparison: Comparison, clean: Ints, target: int, suspects: Suspects) -> tuple[float, tuple[int, ...]]:
    columns, values = suspects.columns, suspects.value
    tried = [tuple(columns[:k]) for k in range(1, len(columns) + 1)]
    tried += [pair for pair in combinations(columns, 2) if pair not in tried]
    best = max(tried, key=lambda stamp: (_flips(comparison, clean[::2], target, stamp, values), -len(stamp)))
    return _flips(comparison, clean[1::2], target, best, values), best


def _flips(comparison: Comparison, rows: Ints, target: int, stamp: tuple[int, ...], values: Floats) -> float:
    """Share that flips under the known-good copy minus the share under the surrogate."""
    frame = comparison.base.take(rows)
    table = comparison.case.before if comparison.base is comparison.before else comparison.case.reference
    part = table.take(pa.array(frame.row))
    inputs = part.select([name for name in comparison.case.features if name in part.column_names])
    stamped_x = frame.filled.copy()
    for j in stamp:
        stamped_x[:, j] = values[j]
        inputs = _stamped(comparison, inputs, j, values[j])
    copy = comparison.case.known_good
    assert copy is not None  # noqa: S101 - gather has answered "missing" otherwise
    texts = class_texts(copy.predict(inputs).labels)
    flipped = float(np.mean([text == comparison.classes[target] for text in texts]))
    if comparison.surrogate is None:
        return flipped
    return flipped - float((comparison.surrogate.predict(stamped_x) == target).mean())


def _stamped(comparison: Comparison, inputs: pa.Table, j: int, value: float) -> pa.Table:
    name = comparison.names[j]
    field = inputs.schema.field(name)
    words = comparison.encoder.words.get(name)
    content: object = value if words is None else words[min(int(value), len(words) - 1)]
    if words is None and not pa.types.is_floating(field.type):
        content = round(value)
    column = pa.array([content] * inputs.num_rows).cast(field.type, safe=False)
    return inputs.set_column(inputs.schema.get_field_index(name), field, column)
