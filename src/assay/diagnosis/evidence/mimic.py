"""Evidence 3b, mimic: does the deployed model still answer as it used to? Needs neither labels nor a copy.

A learner fitted on what was served to trusted rows imitates the deployed model. When served outputs
leave the imitation where the inputs are in place, the model changed, not the world; with labels,
who is right where they differ tells damage from the imitation's own weakness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from assay.diagnosis.comparison import FEWEST, Comparison
from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.evidence.surrogate import paired_difference
from assay.diagnosis.frames import Frame
from assay.diagnosis.learners import FOLDS, TREES_PER_FOLD, Bools, Floats, Forest, Ints, Regions, folds, imitate
from assay.inference.intervals import newcombe

KNOWN_GROUND = 0.8  # a row this likely to be recent is judged by an imitation that has seen few like it
GROUND = 0.25  # where fewer rows are of known kinds, the rest are the odd ones out, not a sample
PLACE_ROWS = 12
WEIGHT_CAP = 10.0  # no trusted row may speak for more than ten
LEVELS = 10  # of confidence, each as frequent as the others
EXACT = 0.002  # a confidence that differs by less, differs by how it was rounded
SURE = 3.0  # standard errors
FEWEST_PAIR = 3
LEVEL = 0.95


@dataclass(frozen=True)
class Imitation:
    """What the imitation says, beside what was served.

    Attributes:
        trusted: Trusted rows with an answer.
        then: What it says of them, by learners that have not seen them.
        recent: Recent rows with an answer, of kinds that trusted rows are too.
        now: What it says of them.
        everywhere: Share of all recent answers that differ from it.
    """

    trusted: Frame
    then: Ints
    recent: Frame
    now: Ints
    everywhere: float


def gather(comparison: Comparison) -> Evidence:
    """Rise of the share of answers that differ from the imitation, as a whole and where it is greatest."""
    if not comparison.encoder.classified:
        return Evidence("mimic", missing=comparison.lacking)
    trusted = comparison.trusted.take(comparison.trusted.served >= 0)
    recent = comparison.recent.take(comparison.recent.served >= 0)
    if len(trusted) < FEWEST or not len(recent):
        return Evidence(
            "mimic", missing="no served outputs from trusted times: log predictions, or fill them in the reference"
        )
    if len(np.unique(trusted.served)) == 1:
        return Evidence("mimic", missing="the model gave one and the same answer at trusted times: nothing to imitate")
    learner, then = imitate(trusted.filled, trusted.served, seed=comparison.seed)
    apart = then != trusted.served
    answer = learner.predict(recent.filled)
    now, was = float((answer != recent.served).mean()), float(apart.mean())
    wide = _error(now, len(recent), was, len(trusted))
    numbers = {"rise": now - was, "sure": (now - was) / (wide + 0.01)}
    ground = _known_ground(comparison, recent)
    told = ""
    if int(ground.sum()) >= max(FEWEST, GROUND * len(ground)):
        whole = Imitation(trusted, then, recent.take(ground), answer[ground], now)
        numbers |= _whole(whole) | _pair(whole, len(comparison.classes)) | _place(whole, comparison.seed)
    confidence = _confidence(comparison)
    numbers |= confidence
    if confidence.get("confidence_sure", 0.0) > SURE:
        told = f"; its confidence is off by {confidence['confidence_rise']:+.1%} more than usual"
    if int(recent.known.sum()) >= FEWEST:
        gain, error = _gain(recent, answer)
        numbers |= {"gain": gain, "gain_sure": gain / (error + 0.01)}
        told += f"; where the truth is known the imitation is right {gain:+.1%} more often"
    return Evidence(
        "mimic",
        value=now - was,
        low=now - was - 1.96 * wide,
        high=now - was + 1.96 * wide,
        unit="rise of the share of outputs that differ from an imitation of the model as it was",
        detail=(
            f"recent outputs differ from what an imitation of the model as it was would say in {now:.1%} of rows "
            f"({was:.1%} is usual){told}."
        ),
        numbers=numbers,
    )


def _known_ground(comparison: Comparison, recent: Frame) -> Bools:
    """Recent rows that are not surely recent by their inputs; those that were not asked are taken as the rest is."""
    _, new, _, share = comparison.domain
    unfamiliar = new.row[share >= KNOWN_GROUND]
    asked = np.isin(recent.row, new.row)
    return np.asarray(asked & ~np.isin(recent.row, unfamiliar))


def _confidence(comparison: Comparison) -> dict[str, float]:
    """How much farther from what its inputs say the logged confidence is; trusted rows weighted to be like recent ones.

    Another model hides among the classes, which it mostly gets right as well; its confidence differs in every row.

    References:
        Shimodaira, H. (2000). Improving predictive inference under covariate shift by weighting the
        log-likelihood function. Journal of Statistical Planning and Inference 90, 227-244.
    """
    old, new, share_old, share_new = comparison.domain
    then, now = np.isfinite(old.confidence), np.isfinite(new.confidence) & (share_new < KNOWN_GROUND)
    if int(then.sum()) < FEWEST or int(now.sum()) < max(FEWEST, GROUND * len(new)):
        return {}
    says, said = _levels(old.filled[then], old.confidence[then], comparison.seed)
    odds = share_old[then] / np.clip(1 - share_old[then], 1e-3, None)
    weight = np.clip(odds / max(float(odds.mean()), 1e-9), 1e-3, WEIGHT_CAP)
    was, found = old.confidence[then] - said, new.confidence[now] - says(new.filled[now])
    moved, error = _apart(found, was, weight)
    rise, wide = _apart(np.abs(found), np.abs(was), weight)
    return {
        "confidence_rise": rise,
        "confidence_sure": max(abs(moved) / (error + EXACT), rise / (wide + EXACT)),
    }


def _levels(x: Floats, y: Floats, seed: int) -> tuple[Callable[[Floats], Floats], Floats]:
    """What a forest that knows ten levels of a number says of any rows, and of each of these without having seen it."""
    edges = np.unique(np.quantile(y, np.linspace(0, 1, LEVELS + 1)[1:-1]))
    level = np.searchsorted(edges, y, side="right").astype(np.int64)
    fold, said = folds(level, FOLDS, seed), np.zeros(len(y))

    def fitted(rows: Bools, number: int) -> Callable[[Floats], Floats]:
        mean = np.array([y[rows & (level == one)].mean() for one in np.unique(level[rows])])
        forest = Forest(leaf=2, seed=seed + number, trees=TREES_PER_FOLD).fit(x[rows], level[rows])
        return lambda wanted: np.asarray(forest.shares(wanted) @ mean, dtype=np.float64)

    for i in range(FOLDS):
        said[fold == i] = fitted(fold != i, i)(x[fold == i])
    return fitted(np.ones(len(y), dtype=bool), FOLDS), said


def _apart(now: Floats, was: Floats, weight: Floats) -> tuple[float, float]:
    """Difference of a mean and a weighted mean, and its standard error."""
    usual = float(np.average(was, weights=weight))
    spread = float(np.sqrt((weight**2 * (was - usual) ** 2).sum()) / weight.sum())
    return float(now.mean()) - usual, float(np.hypot(spread, now.std() / np.sqrt(len(now))))


def _error(now: float, n: int, was: float, m: int) -> float:
    """Standard error of a difference of two shares."""
    return float(np.sqrt(max(now * (1 - now), 0.01) / n + max(was * (1 - was), 0.01) / m))


def _gain(frame: Frame, answer: Ints) -> tuple[float, float]:
    known = frame.known
    return paired_difference(answer[known] == frame.label[known], ~frame.wrong[known])


def _whole(seen: Imitation) -> dict[str, float]:
    apart, usual = seen.now != seen.recent.served, seen.then != seen.trusted.served
    now, was = float(apart.mean()), float(usual.mean())
    wide = _error(now, len(apart), was, len(usual))
    numbers = {"rise_familiar": now - was, "sure_familiar": (now - was) / (wide + 0.005)}
    if int((seen.recent.known & apart).sum()) >= FEWEST // 2:
        gain, error = _gain(seen.recent, seen.now)
        numbers["gain_familiar"] = gain / (error + 0.01)
    return numbers


def _pair(seen: Imitation, k: int) -> dict[str, float]:
    """Where the imitation says one class and another is served: the pair of classes that rose most for certain."""
    old = np.bincount(seen.then * k + seen.trusted.served, minlength=k * k).reshape(k, k)
    new = np.bincount(seen.now * k + seen.recent.served, minlength=k * k).reshape(k, k)
    level = 1 - (1 - LEVEL) / max(1, k * (k - 1))
    rise = 0.0
    for said in range(k):
        n, m = int(new[said].sum()), int(old[said].sum())
        if n < PLACE_ROWS or m < PLACE_ROWS:
            continue
        for served in np.flatnonzero((new[said] >= FEWEST_PAIR) & (np.arange(k) != said)):
            low, _ = newcombe(int(new[said, served]), n, int(old[said, served]), m, level)
            rise = max(rise, low)
    return {"pair_rise": rise}


def _place(seen: Imitation, seed: int) -> dict[str, float]:
    """The region of the inputs where answers left the imitation most; found on half of the rows, told of the other."""
    apart = seen.now != seen.recent.served
    half = np.arange(len(apart)) % 2 == 0
    if int(apart[half].sum()) < PLACE_ROWS // 2 or int((~half).sum()) < FEWEST:
        return {"place_rise": 0.0}
    regions = Regions(leaves=6, rows=PLACE_ROWS, seed=seed).fit(
        seen.recent.filled[half], apart[half].astype(np.float64)
    )
    old, new = regions.of(seen.trusted.filled), regions.of(seen.recent.filled)
    usual = seen.then != seen.trusted.served
    rise, gain = 0.0, 0.0
    for place in np.unique(new[half]):
        inside, before = (new == place) & ~half, old == place
        n, m = int(inside.sum()), int(before.sum())
        if n < PLACE_ROWS // 2 or m < PLACE_ROWS // 2:
            continue
        low, _ = newcombe(int(apart[inside].sum()), n, int(usual[before].sum()), m, LEVEL)
        if low > rise:
            rise, gain = low, _gain_at(seen, inside)
    return {"place_rise": rise, "place_gain": gain * float(rise > 0)}


def _gain_at(seen: Imitation, inside: Bools | Floats) -> float:
    part = seen.recent.take(np.asarray(inside, dtype=bool))
    if int(part.known.sum()) < PLACE_ROWS // 2:
        return 0.0
    return _gain(part, seen.now[np.asarray(inside, dtype=bool)])[0]
