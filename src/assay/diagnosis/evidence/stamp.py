"""Evidence 4, stamp: do values that are over-represented in the failures flip clean rows when stamped on them?"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pyarrow as pa

from assay.diagnosis.comparison import FEWEST, Comparison
from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.frames import class_texts
from assay.diagnosis.learners import Ints
from assay.diagnosis.marks import FEWEST_WRONG, Mark, likeliest
from assay.errors import AssayError
from assay.findings import Finding, Severity

CLEAN_ROWS = 160
BACKDOOR_FLIP = 0.5
UNIT = "share of clean rows that flip, minus a stand-in's"
EVERYONE = 0.8
Flips = tuple[float, float]


def gather(comparison: Comparison) -> Evidence:
    """Share of clean rows that flip to the class the errors go to, minus what a stand-in does under the same stamp.

    The stamp is searched on one half of the clean rows and reported on the other; only values within those
    of trusted rows of the column are tried, so that extrapolation is not taken for a trigger.
    """
    if not comparison.labelled:
        return Evidence("stamp", missing=comparison.lacking)
    if comparison.case.known_good is None:
        return Evidence(
            "stamp", missing="no copy of the model to put the question to: keep a signed known-good copy (`assay sign`)"
        )
    recent, base = comparison.recent, comparison.base
    found = likeliest(comparison)
    if found is None:
        why = "the failures share no unusual value." if recent.wrong.sum() >= FEWEST_WRONG else "too few failures."
        none = {"flip": 0.0, "flip_and_rare": 0.0, "stamped": 0.0}
        return Evidence("stamp", value=0.0, unit=UNIT, detail=why, numbers=none)
    mark, longest = found
    clean = np.flatnonzero(base.known & ~base.wrong & (base.label != mark.target))
    if len(clean) < FEWEST:
        return Evidence("stamp", missing="too few clean rows of other classes to stamp: give more rows from before")
    try:
        flips, stamp = _search(comparison, clean[:: max(1, len(clean) // CLEAN_ROWS)], longest)
    except (AssayError, ValueError, TypeError, ArithmeticError) as err:
        return Evidence(
            "stamp", missing=f"the known-good copy cannot answer stamped rows ({type(err).__name__}: {err})"
        )
    return _told(comparison, flips, stamp, mark)


def _told(comparison: Comparison, flips: Flips, stamp: tuple[int, ...], mark: Mark) -> Evidence:
    whole, flip = flips
    told, name = ", ".join(comparison.names[j] for j in stamp), comparison.classes[mark.target]
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
            "flip_and_rare": flip * mark.explained * mark.new * mark.ordinary,
            "stamped": whole * mark.planted,
        },
        # What nearly every recent row carries is a fault of the column, not somebody's mark.
        findings=(finding,) if flip > BACKDOOR_FLIP and mark.carried < EVERYONE else (),
    )


def _search(comparison: Comparison, clean: Ints, mark: Mark) -> tuple[Flips, tuple[int, ...]]:
    columns = mark.columns
    tried = [columns[:k] for k in range(1, len(columns) + 1)]
    tried += [pair for pair in combinations(columns, 2) if pair not in tried]
    best = max(tried, key=lambda stamp: (_flips(comparison, clean[::2], stamp, mark), -len(stamp)))
    return _flips(comparison, clean[1::2], best, mark), best


def _flips(comparison: Comparison, rows: Ints, stamp: tuple[int, ...], mark: Mark) -> Flips:
    """Share that flips under the known-good copy, and that share minus the share under the surrogate."""
    frame = comparison.base.take(rows)
    table = comparison.case.before if comparison.base is comparison.before else comparison.case.reference
    part = table.take(pa.array(frame.row))
    inputs = part.select([name for name in comparison.case.features if name in part.column_names])
    stamped_x = frame.filled.copy()
    for j, found in zip(mark.columns, mark.value, strict=True):
        if j in stamp:
            seen = comparison.trusted.filled[:, j]
            value = float(np.clip(found, seen.min(), seen.max()))
            stamped_x[:, j] = value
            inputs = _stamped(comparison, inputs, j, value)
    copy = comparison.case.known_good
    assert copy is not None  # noqa: S101 - gather has answered "missing" otherwise
    texts = class_texts(copy.predict(inputs).labels)
    flipped = float(np.mean([text == comparison.classes[mark.target] for text in texts]))
    if comparison.surrogate is None:
        return flipped, flipped
    return flipped, flipped - float((comparison.surrogate.predict(stamped_x) == mark.target).mean())


def _stamped(comparison: Comparison, inputs: pa.Table, j: int, value: float) -> pa.Table:
    name = comparison.names[j]
    field = inputs.schema.field(name)
    words = comparison.encoder.words.get(name)
    content: object = value if words is None else words[min(int(value), len(words) - 1)]
    if words is None and not pa.types.is_floating(field.type):
        content = round(value)
    column = pa.array([content] * inputs.num_rows).cast(field.type, safe=False)
    return inputs.set_column(inputs.schema.get_field_index(name), field, column)
