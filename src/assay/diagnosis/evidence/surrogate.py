"""Evidence 3, surrogate: would a model fitted on the trusted reference alone still do well?

Needs labels, but no known-good copy.
"""

from __future__ import annotations

import numpy as np

from assay.diagnosis.comparison import FEWEST, Comparison
from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.frames import Frame
from assay.diagnosis.learners import Bools, Forest, Linear, Regions
from assay.inference.intervals import newcombe

REGION_ROWS = 12
GROUND = 0.25  # where fewer rows are of familiar kinds, those are the odd ones out, not a sample
LEVEL = 0.95


def gather(comparison: Comparison) -> Evidence:
    """Accuracy of the surrogate minus the deployed model's on the same rows, now against then."""
    if not comparison.encoder.classified:
        return Evidence("surrogate", missing=comparison.lacking)
    if comparison.surrogate is None:
        return Evidence(
            "surrogate",
            missing="no labelled reference to fit a stand-in on: give a reference with labels of two classes",
        )
    if not comparison.labelled:
        return Evidence("surrogate", missing=comparison.lacking)
    now, error = paired_gain(comparison.surrogate, comparison.recent)
    then, error_then = 0.0, 0.0
    # On the reference itself both have seen the rows, the model perhaps too: no fair "then".
    if comparison.base is comparison.before and len(comparison.before):
        then, error_then = paired_gain(comparison.surrogate, comparison.before)
    gain, wide = now - then, float(np.hypot(error, error_then))
    numbers = {"gain": gain, "gain_now": now, "gain_at_least": min(gain, now), "sure": gain / (wide + 0.01)}
    ground = len(comparison.familiar) >= GROUND * len(comparison.domain[1])
    if ground and int(comparison.familiar.known.sum()) >= FEWEST:
        near, error = paired_gain(comparison.surrogate, comparison.familiar)
        numbers |= {"gain_familiar": near - then, "sure_familiar": min(near - then, near) / (error + 0.01)}
        numbers |= _where(comparison)
    more = gain > 2 * wide and gain > 0
    return Evidence(
        "surrogate",
        value=gain,
        low=gain - 1.96 * wide,
        high=gain + 1.96 * wide,
        unit="accuracy of a stand-in minus the deployed model's, now minus then",
        detail=(
            f"a stand-in fitted on trusted rows {'does better' if more else 'gains nothing'} against the deployed "
            f"model on recent rows ({now:+.1%} now, {then:+.1%} before)."
        ),
        numbers=numbers,
        notes={"now": round(now, 4), "then": round(then, 4)},
    )


def _where(comparison: Comparison) -> dict[str, float]:
    """The region where the stand-in is right and the served answer wrong most often beyond before.

    Found on half of the recent rows, told of the other half: a region chosen for its errors flatters.
    """
    base, recent, surrogate = comparison.base, comparison.familiar, comparison.surrogate
    if surrogate is None:
        return {}
    old, new = (frame.take(frame.known) for frame in (base, recent))
    damage, before = (
        frame.wrong & (surrogate.predict(frame.filled) == frame.label) if len(frame) else frame.wrong
        for frame in (new, old)
    )
    half = np.arange(len(new)) % 2 == 0
    if min(len(new), len(old)) < FEWEST or int(damage[half].sum()) < REGION_ROWS // 2:
        return {"place": 0.0}
    regions = Regions(leaves=6, rows=REGION_ROWS, seed=comparison.seed)
    regions.fit(new.filled[half], damage[half].astype(np.float64))
    was, now = regions.of(old.filled), regions.of(new.filled)
    best = 0.0
    for place in np.unique(now[half]):
        inside, earlier = (now == place) & ~half, was == place
        if min(int(inside.sum()), int(earlier.sum())) >= REGION_ROWS // 2:
            low, _ = newcombe(
                int(damage[inside].sum()), int(inside.sum()), int(before[earlier].sum()), int(earlier.sum()), LEVEL
            )
            best = max(best, low)
    return {"place": best}


def paired_gain(surrogate: Forest | Linear, frame: Frame) -> tuple[float, float]:
    """Accuracy of the surrogate minus the served answers' on the same known rows, and its standard error.

    References:
        McNemar, Q. (1947). Note on the sampling error of the difference between correlated proportions.
        Psychometrika 12, 153-157.
    """
    rows = frame.known
    right = surrogate.predict(frame.filled[rows]) == frame.label[rows]
    return paired_difference(right, ~frame.wrong[rows])


def paired_difference(first: Bools, second: Bools) -> tuple[float, float]:
    """Difference of two rates on the same rows, and its standard error."""
    n = len(first)
    difference = first.astype(np.float64) - second.astype(np.float64)
    return float(difference.mean()), float(np.sqrt((difference.var() * n + 1) / n / n))
