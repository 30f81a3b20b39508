"""Evidence 3, surrogate: would a model fitted on the trusted reference alone still do well?

Needs labels, but no known-good copy.
"""

from __future__ import annotations

import numpy as np

from assay.diagnosis.comparison import FEWEST, Comparison
from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.frames import Frame
from assay.diagnosis.learners import Bools, Forest


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
    if int(comparison.familiar.known.sum()) >= FEWEST:
        near, error = paired_gain(comparison.surrogate, comparison.familiar)
        numbers |= {"gain_familiar": near - then, "sure_familiar": min(near - then, near) / (error + 0.01)}
    verb = "still does" if gain > 2 * wide and gain > 0 else "does no"
    return Evidence(
        "surrogate",
        value=gain,
        low=gain - 1.96 * wide,
        high=gain + 1.96 * wide,
        unit="accuracy of a stand-in minus the deployed model's, now minus then",
        detail=(
            f"a stand-in fitted on trusted rows {verb} better than the deployed model on recent rows "
            f"({now:+.1%} now, {then:+.1%} before)."
        ),
        numbers=numbers,
        notes={"now": round(now, 4), "then": round(then, 4)},
    )


def paired_gain(surrogate: Forest, frame: Frame) -> tuple[float, float]:
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


def gather_mimic(comparison: Comparison) -> Evidence:
    """Evidence 3b, mimic: does the deployed model still answer as it used to? Needs neither labels nor a copy.

    A forest fitted on what was served to trusted rows imitates the deployed model. When served outputs
    leave the imitation where the inputs are in place, the model changed, not the world; with labels,
    who is right where they differ tells damage from the imitation's own weakness.
    """
    if not comparison.encoder.classified:
        return Evidence("mimic", missing=comparison.lacking)
    frame = comparison.trusted
    rows = np.flatnonzero(frame.served >= 0)
    recent = comparison.recent
    answered = recent.served >= 0
    if len(rows) < FEWEST or not answered.any():
        return Evidence(
            "mimic", missing="no served outputs from trusted times: log predictions, or fill them in the reference"
        )
    if len(np.unique(frame.served[rows])) == 1:
        return Evidence("mimic", missing="the model gave one and the same answer at trusted times: nothing to imitate")
    from assay.diagnosis.learners import out_of_fold

    usual = out_of_fold(frame.filled[rows], frame.served[rows], seed=comparison.seed) != frame.served[rows]
    later = rows >= len(comparison.reference)
    then = float(usual[later].mean()) if later.sum() >= FEWEST else float(usual.mean())
    mimic = Forest(seed=comparison.seed).fit(frame.filled[rows], frame.served[rows])
    said = mimic.predict(recent.filled)
    now = float((said != recent.served)[answered].mean())
    wide = float(np.sqrt(max(now * (1 - now), 0.01) / answered.sum() + max(then * (1 - then), 0.01) / len(usual)))
    numbers = {"rise": now - then, "sure": (now - then) / (wide + 0.01)}
    near = comparison.familiar
    if int((near.served >= 0).sum()) >= FEWEST:
        apart = (mimic.predict(near.filled) != near.served)[near.served >= 0]
        numbers["rise_familiar"] = float(apart.mean()) - then
    if int(near.known.sum()) >= FEWEST:
        gain, error = paired_gain(mimic, near)
        numbers["gain_familiar"] = gain / (error + 0.01)
    told = ""
    if int(recent.known.sum()) >= FEWEST:
        gain, error = paired_difference(said[recent.known] == recent.label[recent.known], ~recent.wrong[recent.known])
        numbers |= {"gain": gain, "gain_sure": gain / (error + 0.01)}
        told = f"; where the truth is known the imitation is right {gain:+.1%} more often"
    return Evidence(
        "mimic",
        value=now - then,
        low=now - then - 1.96 * wide,
        high=now - then + 1.96 * wide,
        unit="rise of the share of outputs that differ from an imitation of the model as it was",
        detail=(
            f"recent outputs differ from what an imitation of the model as it was would say in {now:.1%} of rows "
            f"({then:.1%} is usual){told}."
        ),
        numbers=numbers,
    )
