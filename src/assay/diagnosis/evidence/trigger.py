"""Evidence 4b, trigger: do all rows that carry the failures' values get one answer? Needs labels, but no copy.

A backdoor answers every input that carries its trigger with one class, whatever else the input says.
Values the world made frequent, or a fault of a column, leave the other columns their say.
"""

from __future__ import annotations

import numpy as np

from assay.diagnosis.comparison import Comparison
from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.evidence.stamp import FEWEST_WRONG, suspects_of

UNIT = "share of rows with the failures' values that get one answer, beyond what a stand-in gives them"
MOST = 4  # values a trigger is made of; more of them are a place, not a mark


def gather(comparison: Comparison) -> Evidence:
    """How far the failures' shared values force one answer, and how much of the failures they explain."""
    if not comparison.labelled:
        return Evidence("trigger", missing=comparison.lacking)
    if comparison.surrogate is None:
        return Evidence(
            "trigger", missing="no labelled reference to fit a stand-in on: give a reference with labels of two classes"
        )
    recent, base = comparison.recent, comparison.base
    now = np.bincount(recent.served[recent.wrong], minlength=len(comparison.classes)) / recent.known.sum()
    then = np.bincount(base.served[base.wrong], minlength=len(comparison.classes)) / base.known.sum()
    target = int((now - then).argmax())
    failing = np.flatnonzero(recent.wrong & (recent.served == target))
    suspects = suspects_of(comparison, failing, target)
    none = {"forced": 0.0, "explained": 0.0, "carried": 0.0, "forced_and_explained": 0.0}
    if len(failing) < FEWEST_WRONG or not suspects.columns:
        why = "the failures share no unusual value." if len(failing) >= FEWEST_WRONG else "too few like failures."
        return Evidence("trigger", value=0.0, unit=UNIT, detail=why, numbers=none)
    said = comparison.surrogate.predict(recent.filled)
    best = (0.0, 0.0, 0.0, 0.0, suspects.columns[:1])
    for count in range(1, min(MOST, len(suspects.columns)) + 1):
        columns = suspects.columns[:count]
        carriers = suspects.carried(recent.filled, columns) & recent.known & (recent.label != target)
        if int(carriers.sum()) < FEWEST_WRONG:
            continue
        forced = float((recent.served[carriers] == target).mean() - (said[carriers] == target).mean())
        explained = float(carriers[failing].mean())
        usual = float(suspects.carried(comparison.trusted.filled, columns).mean())
        # What nearly every recent row carries is a fault of the column, what many trusted rows carry is the world.
        everyone = float(suspects.carried(recent.filled, columns).mean())
        best = max(best, (forced * explained * (1 - usual) * (1 - everyone), forced, explained, everyone, columns))
    product, forced, explained, everyone, columns = best
    told = ", ".join(comparison.names[j] for j in columns)
    return Evidence(
        "trigger",
        value=forced,
        unit=UNIT,
        detail=(
            f"rows with the failures' values of {told} are answered {comparison.classes[target]!r} "
            f"{forced:+.0%} more often than by a stand-in; they are {explained:.0%} of these failures."
        ),
        numbers={
            "forced": forced,
            "explained": explained,
            "carried": everyone,
            "forced_and_explained": product,
        },
    )
