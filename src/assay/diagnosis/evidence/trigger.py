"""Evidence 4b, trigger: do all rows that carry the failures' values get one answer? Needs labels, but no copy.

A backdoor answers every input that carries its trigger with one class, whatever else the input says.
Values the world made frequent, or a fault of a column, leave the other columns their say.
"""

from __future__ import annotations

from assay.diagnosis.comparison import Comparison
from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.marks import FEWEST_WRONG, likeliest

UNIT = "share of rows with the failures' values that get one answer, beyond what a stand-in gives them"


def gather(comparison: Comparison) -> Evidence:
    """How far the failures' shared values force one answer, and how much of the failures they explain."""
    if not comparison.labelled:
        return Evidence("trigger", missing=comparison.lacking)
    if comparison.surrogate is None:
        return Evidence(
            "trigger", missing="no labelled reference to fit a stand-in on: give a reference with labels of two classes"
        )
    recent = comparison.recent
    found = likeliest(comparison)
    if found is None:
        none = {"forced": 0.0, "explained": 0.0, "carried": 0.0, "forced_and_explained": 0.0, "planted": 0.0}
        why = "the failures share no unusual value." if recent.wrong.sum() >= FEWEST_WRONG else "too few failures."
        return Evidence("trigger", value=0.0, unit=UNIT, detail=why, numbers=none)
    mark, _ = found
    carriers = mark.on(recent.x) & recent.known & (recent.label != mark.target)
    said = comparison.surrogate.predict(recent.filled[carriers])
    forced = mark.forced - float((said == mark.target).mean())
    told = ", ".join(comparison.names[j] for j in mark.columns)
    return Evidence(
        "trigger",
        value=forced,
        unit=UNIT,
        detail=(
            f"rows with the failures' values of {told} are answered {comparison.classes[mark.target]!r} "
            f"{forced:+.0%} more often than by a stand-in; they are {mark.explained:.0%} of these failures."
        ),
        numbers={
            "forced": forced,
            "explained": mark.explained,
            "carried": mark.carried,
            "forced_and_explained": forced * mark.explained * mark.new * mark.ordinary,
            "planted": mark.planted,
        },
    )
