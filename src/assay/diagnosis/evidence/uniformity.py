"""Supporting: does everything fall, or a part? Says where; by itself it does not say why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assay.diagnosis.comparison import Comparison
from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.slices import Slice, slices_of
from assay.findings import Finding, Severity
from assay.inference.intervals import newcombe

TOLERANCE = 0.02  # a fall under two points of accuracy is within what nobody calls a fall
LEVEL = 0.95
SHOWN = 6
CAP = 30.0


def gather(comparison: Comparison) -> Evidence:
    """Evenness of the fall over classes and regions, where it is worst, and how the wrong answers spread."""
    if not comparison.labelled:
        return Evidence("uniformity", missing=comparison.lacking)
    base, recent = comparison.base, comparison.recent
    n, m = int(base.known.sum()), int(recent.known.sum())
    wrong, wrong_before = int(recent.wrong.sum()), int(base.wrong.sum())
    fall = wrong / m - wrong_before / n
    low, _ = newcombe(wrong, m, wrong_before, n, LEVEL)
    parts = slices_of(comparison)
    fallen = [part for part in parts if part.low > 0 and part.fall > TOLERANCE]
    classes = unevenness([part for part in parts if part.kind == "class"])
    regions = unevenness([part for part in parts if part.kind == "region"])
    concentration = _concentration(comparison)
    silent = bool(fallen) and (fall <= TOLERANCE or low <= 0)
    local = is_local(parts, fall)
    where = ", ".join(f"{part.where} ({part.was:.0%} -> {part.now:.0%})" for part in fallen[:3])
    return Evidence(
        "uniformity",
        value=max(classes, regions),
        unit="-log10 of the chance that everything fell alike",
        detail=f"{spread(local=local, silent=silent)}{where}." if fallen else "no class or region fell for certain.",
        numbers={
            "classes": classes,
            "regions": regions,
            "same_wrong_class": concentration,
            "worst": max((part.low for part in parts), default=0.0),
        },
        findings=tuple(
            Finding(
                "diagnosis.slice-fell",
                part.where,
                Severity.WARNING,
                f"accuracy fell from {part.was:.1%} to {part.now:.1%} where {part.where}",
                {
                    "fall": round(part.fall, 4),
                    "low": round(part.low, 4),
                    "high": round(part.high, 4),
                    "rows": part.rows,
                },
            )
            for part in fallen[:SHOWN]
        ),
        notes={
            "scope": "local" if local else "global",
            "silent": silent,
            "slices": [part.as_json() for part in fallen[:SHOWN]],
        },
    )


def spread(*, local: bool, silent: bool) -> str:
    """How what fell is spread, in words that the names of the parts follow."""
    if local:
        return "it falls in part: "
    return "the whole is steady, but it falls where " if silent else "it falls about everywhere, most where "


def unevenness(parts: Sequence[Slice]) -> float:
    """-log10 p that all parts fell by the same amount (chi-squared, rows weighted), at most 30."""
    from scipy.stats import chi2

    if len(parts) < 2:  # noqa: PLR2004 - one part is even with itself
        return 0.0
    fall = np.array([part.fall for part in parts])
    variance = np.array([((part.high - part.low) / 2 / 2.5) ** 2 + 1e-6 for part in parts])
    mean = (fall / variance).sum() / (1 / variance).sum()
    statistic = float(((fall - mean) ** 2 / variance).sum())
    return float(min(CAP, -chi2.logsf(statistic, len(parts) - 1) / np.log(10)))


def is_local(parts: Sequence[Slice], fall: float) -> bool:
    """Whether most rows stayed about where they were while some part fell for certain.

    Regions are asked first. Classes count only where there are three: of two, one always falls more, because a
    world (or a model) that leans one way makes the errors of one class.

    Args:
        parts: Classes, declared slices and regions.
        fall: Fall of the accuracy of the whole.
    """
    for kind, fewest in (("region", 2), ("class", 3)):
        same = [part for part in parts if part.kind == kind]
        fallen = [part for part in same if part.low > 0 and part.fall > max(2 * TOLERANCE, 1.5 * fall)]
        steady = sum(part.rows for part in same if part.fall < max(TOLERANCE, 0.35 * fall))
        if len(same) >= fewest and fallen and steady >= 0.5 * sum(part.rows for part in same):
            return True
    return any(part.kind == "slice" and part.low > 0 and part.fall > max(2 * TOLERANCE, 3 * fall) for part in parts)


def _concentration(comparison: Comparison) -> float:
    """Share of the added errors that go to the most frequent wrong class, against what its share would be by chance."""
    base, recent = comparison.base, comparison.recent
    count = np.bincount(recent.served[recent.wrong], minlength=len(comparison.classes)) / max(
        1, int(recent.known.sum())
    )
    usual = np.bincount(base.served[base.wrong], minlength=len(comparison.classes)) / max(1, int(base.known.sum()))
    added = np.clip(count - usual, 0.0, None)
    return float(added.max() / added.sum()) if added.sum() > 0 else 0.0
