"""Supporting: when it began, and whether at once or bit by bit.

Abrupt does not mean attack: pipelines break at once too.
"""

from __future__ import annotations

import numpy as np

from assay.diagnosis.comparison import Comparison
from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.learners import Floats, auc

FEWEST = 60
EDGE = 0.05
MOVED = 0.6  # AUC of telling recent rows from trusted ones, below which the inputs are in place and date nothing
APART = 0.8  # where errors could be looked at and stayed: only inputs that moved so far are dated to the day


def gather(comparison: Comparison) -> Evidence:
    """The best single step and the best ramp through the errors; through the inputs where errors date nothing."""
    errors = _errors(comparison)
    inputs = _inputs(comparison, MOVED if len(errors[1]) < FEWEST else APART)
    told = [_dated(*series) for series in (errors, inputs) if len(series[1]) >= FEWEST]
    if not told:
        return Evidence(
            "onset", missing="too few rows in time order from before and since: give rows from before the change"
        )
    return next((one for one in told if one.notes["certain"]), told[0])


def _dated(time: Floats, value: Floats, what: str) -> Evidence:
    at, step = best_step(value)
    start, ramp = best_ramp(value)
    flat = float(((value - value.mean()) ** 2).sum())
    abrupt = float(np.log(max(ramp, 1e-9) / max(step, 1e-9)) * len(value) / 10)
    strength = float(len(value) * np.log(max(flat, 1e-9) / max(min(step, ramp), 1e-9)))
    begins = at if abrupt > 0 else start
    sure = strength > 2 * np.log(len(value)) + 4  # Bayesian information criterion, two parameters more
    numbers = {"abrupt": float(np.clip(abrupt, -5, 5))} if sure else {}
    how = "at once" if abrupt > 0 else "bit by bit"
    return Evidence(
        "onset",
        value=abrupt if sure else None,
        unit="above 0: at once; below: bit by bit",
        detail=f"{what} changed {how}." if sure else f"no clear change of {what} in time.",
        numbers=numbers,
        onset_s=float(time[begins]) if sure else None,
        notes={"by": what, "gradual": bool(abrupt <= 0), "certain": bool(sure)},
    )


def _errors(comparison: Comparison) -> tuple[Floats, Floats, str]:
    before, recent = comparison.before, comparison.recent
    known = np.concatenate([before.known, recent.known])
    time = np.concatenate([before.time, recent.time])
    order = np.argsort(time, kind="stable")
    wrong = np.concatenate([before.wrong, recent.wrong])[order]
    if before.known.sum() >= FEWEST // 2 and recent.known.sum() >= FEWEST // 2:
        rows = known[order]
        return time[order][rows], wrong[rows].astype(np.float64), "the error rate"
    return time[:0], time[:0], "the error rate"


def _inputs(comparison: Comparison, least: float) -> tuple[Floats, Floats, str]:
    old, new, share_old, share_new = comparison.domain
    if (
        auc(np.concatenate([share_old, share_new]), np.arange(len(share_old) + len(share_new)) >= len(share_old))
        < least
    ):
        return old.time[:0], old.time[:0], "the inputs"
    time = np.concatenate([old.time, new.time])
    order = np.argsort(time, kind="stable")
    return time[order], np.concatenate([share_old, share_new])[order], "the inputs"


def best_step(value: Floats) -> tuple[int, float]:
    """Where one step fits best, and its sum of squared errors; the outer 5 % are left out.

    References:
        Hinkley, D. V. (1970). Inference about the change-point in a sequence of random variables.
        Biometrika 57, 1-17.
    """
    n = len(value)
    total, square = np.cumsum(value), float((value**2).sum())
    k = np.arange(max(1, int(EDGE * n)), n - max(1, int(EDGE * n)))
    explained = total[k - 1] ** 2 / k + (total[-1] - total[k - 1]) ** 2 / (n - k)
    best = int(explained.argmax())
    return int(k[best]), square - float(explained[best])


def best_ramp(value: Floats, starts: int = 40) -> tuple[int, float]:
    """Where a level followed by a straight rise to the end fits best, and its sum of squared errors."""
    n = len(value)
    best, least = 0, np.inf
    for start in np.unique(np.linspace(0, n * (1 - 2 * EDGE), starts).astype(int)):
        ramp = np.maximum(np.arange(n) - start, 0.0)
        ramp -= ramp.mean()
        slope = float(ramp @ value) / max(float(ramp @ ramp), 1e-12)
        error = float(((value - value.mean() - slope * ramp) ** 2).sum())
        if error < least:
            best, least = int(start), error
    return best, least
