"""Evidence 7, concept: how far accuracy fell, and how much of it remains at equal inputs."""

from __future__ import annotations

import numpy as np

from assay.diagnosis.comparison import FEWEST, Comparison
from assay.diagnosis.evidence.base import Evidence
from assay.inference.intervals import newcombe

LEVEL = 0.95
WEIGHT_CAP = 10.0  # no single row may speak for more than ten: importance weights have heavy tails


def gather(comparison: Comparison) -> Evidence:
    """Fall of accuracy; what remains of it when earlier rows are weighted to look like recent ones."""
    if not comparison.labelled:
        return Evidence("concept", missing=comparison.lacking)
    base, recent = comparison.base, comparison.recent
    n, m = int(base.known.sum()), int(recent.known.sum())
    good, good_now = n - int(base.wrong.sum()), m - int(recent.wrong.sum())
    was, now = good / n, good_now / m
    low, high = newcombe(good, n, good_now, m, LEVEL)
    numbers = {"fall": was - now, "fall_at_least": max(low, 0.0) + min(high, 0.0)}
    remaining = _at_equal_inputs(comparison)
    told = ""
    if remaining is not None:
        numbers["remains"] = remaining
        told = f"; at equal inputs it {'falls' if remaining > 0 else 'rises'} by {abs(remaining):.1%}"
    way = "fell" if now < was else "rose"
    return Evidence(
        "concept",
        value=was - now,
        low=low,
        high=high,
        unit="fall of accuracy",
        detail=f"accuracy {way} from {was:.1%} to {now:.1%}{told}.",
        numbers=numbers,
        notes={"accuracy_before": round(was, 4), "accuracy": round(now, 4), "rows_before": n, "rows": m},
    )


def _at_equal_inputs(comparison: Comparison) -> float | None:
    """Fall of accuracy with earlier rows weighted by the odds of being recent, capped; None when they do not overlap.

    References:
        Shimodaira, H. (2000). Improving predictive inference under covariate shift by weighting the
        log-likelihood function. Journal of Statistical Planning and Inference 90, 227-244.
    """
    old, new, share_old, share_new = comparison.domain
    rows = old.known
    if rows.sum() < FEWEST or new.known.sum() < FEWEST:
        return None
    odds = share_old[rows] / np.clip(1 - share_old[rows], 1e-3, None)
    weight = np.clip(odds / max(float(odds.mean()), 1e-9), 0.0, WEIGHT_CAP)
    if weight.sum() ** 2 / (weight**2).sum() < FEWEST / 2:  # effective number of rows, Kish 1965
        return None
    # Recent rows where trusted rows are: a likeness under 5 % has nothing to be compared with.
    like = new.known & (share_new < 0.95)  # noqa: PLR2004 - see above
    if like.sum() < FEWEST / 2:
        return None
    then = float((weight * ~old.wrong[rows]).sum() / weight.sum())
    return then - float((~new.wrong[like]).mean())


def gather_retraining(comparison: Comparison) -> Evidence:
    """Supporting: can recent labels be learned from recent inputs, and does the old relation still help?

    Asked for as "retraining restores, so it was drift"; measured, that is backwards: under tampering the
    recent data are fine, so every retrained model is. What it does tell is a new relation (recent rows
    teach what trusted rows do not) from labels that no relation explains.
    """
    if not comparison.labelled:
        return Evidence("retraining", missing=comparison.lacking)
    base, recent = comparison.base, comparison.recent
    right = comparison.refit_recent == recent.label[recent.known]
    right_before = comparison.refit_base == base.label[base.known]
    now, then = float(right.mean()), float(right_before.mean())
    deployed = 1 - float(recent.wrong[recent.known].mean())
    numbers = {"restores": now - deployed, "learnable": now - then}
    told = ""
    if comparison.surrogate is not None:
        old = comparison.surrogate.predict(recent.filled[recent.known]) == recent.label[recent.known]
        numbers["new_relation"] = now - float(old.mean())
        told = f"; one fitted on the reference reaches {old.mean():.1%}"
    return Evidence(
        "retraining",
        value=now - deployed,
        unit="accuracy of a model refitted on recent rows minus the deployed model's",
        detail=f"refitted on recent rows alone a model reaches {now:.1%} there, the deployed one {deployed:.1%}{told}.",
        numbers=numbers,
    )
