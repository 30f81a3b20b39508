"""Fit the weights on all data sets but one, judge the one left out, count what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from datasets import LOADERS, Floats, Ints
from worlds import SCENARIOS

from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.verdict import DEFAULT_PRIORS, decide
from assay.diagnosis.weights import CAP, Weights

VERDICTS = ("intact", "covariate-drift", "concept-drift", "data-fault", "model-tampering", "backdoor")
ATTACKS = ("model-tampering", "backdoor")
NEED_LABELS = ("surrogate", "stamp", "trigger", "labels", "concept", "uniformity", "retraining", "onset")
# What is withheld, by name; bytes never differ here, so the statistics have to do without them everywhere.
MASKS = {
    "all": (),
    "no known-good copy": ("replay", "stamp"),
    "no labels": NEED_LABELS,
    "no labels, no copy": (*NEED_LABELS, "replay"),
    "no copy, no reference labels": ("replay", "stamp", "surrogate"),
}
WEIGHT = {
    "all": 1.0,
    "no known-good copy": 1.5,
    "no labels": 0.4,
    "no labels, no copy": 0.3,
    "no copy, no reference labels": 0.3,
}
WEAK = {f"{way} of {size} %": f"weak_{way}_{size}" for way in ("region", "outputs") for size in (1, 2, 5)}
# Causes that leave the inputs as they were: without copy and labels nothing but the answers can move.
HIDDEN_PREFIXES = ("concept_", "label_", "weights_", "weak_", "model_swapped", "outputs_altered", "retrained_")
STRENGTHS = (0.01, 0.02, 0.05, 0.1)  # inverse of the ridge penalty, per unit of weight
# Shown, not weighed: planted causes begin at once or on a ramp because somebody planted them so, and of two
# classes one always falls more; growth moves the shares of labels as a stuck source does, `labels.stuck` does not.
SHOWN_ONLY = ("onset.abrupt", "uniformity.classes", "labels.share_moved", "labels.top_rise")
BINS = 10


@dataclass(frozen=True)
class Answer:
    """What was said about a case by weights that never saw its data set.

    Attributes:
        record: The case.
        verdict: The verdict.
        best: The likeliest cause, also where the verdict is ``unknown``.
        share: Its probability.
        escalate: Whether security was called.
    """

    record: dict
    verdict: str
    best: str
    share: float
    escalate: bool

    @cached_property
    def truth(self) -> str:
        """The cause."""
        return truth(self.record)

    @property
    def right(self) -> bool:
        """Whether the verdict counts as right."""
        return self.verdict in rights(self.record)

    @property
    def hidden(self) -> bool:
        """Whether the inputs show nothing of the cause."""
        return self.record["scenario"].startswith(HIDDEN_PREFIXES)

    @property
    def weak(self) -> bool:
        """Whether it is tampering with a few answers only, which has rows of its own."""
        return self.record["scenario"].startswith("weak_")


def masked(record: dict, mask: str) -> tuple[Evidence, ...]:
    """The evidence with some withheld."""
    items = []
    for e in record["evidence"]:
        if e["name"] in MASKS[mask]:
            items.append(Evidence(e["name"], missing="withheld"))
            continue
        numbers = e["numbers"]
        if "no labels" in mask:
            numbers = {k: v for k, v in numbers.items() if "gain" not in k}
        items.append(
            Evidence(
                e["name"], e["value"], numbers=numbers, missing=e["missing"], decides=e["decides"], notes=e["notes"]
            )
        )
    return tuple(items)


def truth(record: dict) -> str:
    """The cause a record is fitted as: the first that counts as right."""
    return SCENARIOS[record["scenario"]][1][0]


def rights(record: dict) -> set[str]:
    """All verdicts that count as right; drift whose fall is under the tolerance may be called ``intact`` too."""
    right = set(SCENARIOS[record["scenario"]][1])
    numbers = {e["name"]: e["numbers"] for e in record["evidence"]}
    if numbers["concept"].get("fall", 1.0) < 0.02 and not right & set(ATTACKS) and "data-fault" not in right:
        right.add("intact")
    return right


def fit(records: list[dict], measures: tuple[str, ...], strength: float = 0.02) -> Weights:
    """Multinomial logistic regression, ridge, every cause and every data set with the same total weight."""
    from sklearn.linear_model import LogisticRegression

    raw, labels, weight = [], [], []
    share = Counter((truth(r), r["dataset"]) for r in records)
    for record in records:
        for mask in MASKS:
            evidence = masked(record, mask)
            if any(e.decides for e in evidence):
                continue  # a fact decides alone: nothing to learn from it
            found = {f"{e.name}.{k}": v for e in evidence for k, v in e.numbers.items()}
            raw.append([found.get(m, np.nan) for m in measures])
            labels.append(VERDICTS.index(truth(record)))
            weight.append(WEIGHT[mask] * 100 / share[truth(record), record["dataset"]])
    x, y = np.array(raw, dtype=float), np.array(labels)
    calm = np.array([VERDICTS[i] == "intact" for i in y])
    seen = np.where(np.isnan(x[calm]).all(axis=0), 0.0, x[calm])  # a measure no calm case has: 0 is its middle
    middle = np.nanmedian(seen, axis=0)
    middle[[m.endswith("agrees") for m in measures]] = 0.0
    seen = np.where(np.isnan(x).all(axis=0), 0.0, x)
    spread = np.array([_spread(np.abs(column)) for column in (seen - middle).T])
    spread[[m.endswith("agrees") for m in measures]] = 0.4
    z = np.nan_to_num(np.clip((x - middle) / spread, -CAP, CAP))
    model = LogisticRegression(C=strength, max_iter=3000, tol=1e-3).fit(z, y, sample_weight=np.array(weight))
    coefficients, intercepts = np.zeros((len(VERDICTS), len(measures))), np.full(len(VERDICTS), -8.0)
    coefficients[model.classes_], intercepts[model.classes_] = model.coef_, model.intercept_
    return Weights(VERDICTS, measures, middle, spread, coefficients, intercepts, {}, {})


def _spread(away: Floats) -> float:
    """The unit of a measure: 85 % of its distances from the middle, or more, so that only 2 % are capped."""
    away = away[np.isfinite(away)]
    unit = float(max(np.percentile(away, 85), np.percentile(away, 98) / CAP)) if len(away) else 0.0
    return unit if unit > 1e-6 else float(away.max(initial=0.0)) or 1.0


def left_out(records: list[dict], measures: tuple[str, ...]) -> dict[str, Weights]:
    """For each data set, the weights fitted on all others, their certainty set on those alone."""
    return {name: calibrated([r for r in records if r["dataset"] != name], measures, {}) for name in LOADERS}


def calibrated(records: list[dict], measures: tuple[str, ...], made: dict[str, object]) -> Weights:
    """Weights whose ridge and certainty were chosen on data sets left out of the fit, all of them among ``records``.

    A third of the data sets is judged by weights of the other two thirds, each third in turn. The
    temperature that all coefficients are divided by makes the probabilities as sure as they are right.

    References:
        Guo, C., Pleiss, G., Sun, Y., Weinberger, K. Q. (2017). On calibration of modern neural networks. ICML.
    """
    names = sorted({r["dataset"] for r in records})
    thirds = (names[0::3], names[1::3], names[2::3])
    tried = []
    for strength in STRENGTHS:
        parts = [_scores(records, measures, third, strength) for third in thirds]
        scores, truths = (np.concatenate(part) for part in zip(*parts, strict=True))
        tried += [(_loss(scores / heat, truths), strength, heat) for heat in np.geomspace(0.5, 4.0, 43)]
    _, strength, heat = min(tried)
    weights = fit(records, measures, strength)
    chosen = made | {"ridge": strength, "temperature": round(float(heat), 3)}
    return replace(weights, coefficients=weights.coefficients / heat, intercepts=weights.intercepts / heat, made=chosen)


def _scores(records: list[dict], measures: tuple[str, ...], away: list[str], strength: float) -> tuple[Floats, Ints]:
    """Scores of the cases of some data sets by weights of the others, and the true causes."""
    weights = fit([r for r in records if r["dataset"] not in away], measures, strength)
    scores, truths = [], []
    for record in (r for r in records if r["dataset"] in away):
        for mask in MASKS:
            evidence = masked(record, mask)
            if not any(e.decides for e in evidence):
                scores.append(weights.intercepts + weights.coefficients @ weights.standardised(evidence))
                truths.append(VERDICTS.index(truth(record)))
    return np.array(scores), np.array(truths)


def _loss(scores: Floats, truths: Ints) -> float:
    """Mean negative log probability of the true cause."""
    z = scores - scores.max(axis=1, keepdims=True)
    return float((np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), truths]).mean())


def answers(records: list[dict], weights: dict[str, Weights], mask: str) -> list[Answer]:
    """Every record's verdict by the weights that did not see its data set."""
    found = []
    for record in records:
        diagnosis = decide(masked(record, mask), priors=DEFAULT_PRIORS, weights=weights[record["dataset"]])
        best = max(diagnosis.probabilities, key=lambda name: diagnosis.probabilities[name])
        found.append(Answer(record, diagnosis.verdict, best, diagnosis.probabilities[best], diagnosis.escalate))
    return found


def share(items: list[bool]) -> float:
    """Share of true ones; 0 of nothing."""
    return sum(items) / max(1, len(items))


def figures(found: list[Answer]) -> dict[str, float]:
    """Rates over the answers; `unknown` counts as no attack found and as no wrong name.

    Tampering with at most 5 % of the answers has rows of its own and is left out of ``attacks_found``
    and ``attacks_escalated`` only.
    """
    attack = [a for a in found if a.truth in ATTACKS and not a.weak]
    other = [a for a in found if a.truth not in ATTACKS]
    hidden = [a for a in found if a.hidden]
    out = {
        "cases": len(found),
        "right": share([a.right for a in found]),
        "wrong": share([not a.right and a.verdict != "unknown" for a in found]),
        "unknown": share([a.verdict == "unknown" for a in found]),
        "attacks_found": share([a.verdict in ATTACKS for a in attack]),
        "attacks_false": share([a.verdict in ATTACKS for a in other]),
        "local_drift_called_attack": share(
            [a.verdict in ATTACKS for a in other if a.record["scenario"] == "concept_local"]
        ),
        "attacks_escalated": share([a.escalate for a in attack]),
        "others_escalated": share([a.escalate for a in other]),
        "data_faults_found": share([a.verdict == "data-fault" for a in other if a.truth == "data-fault"]),
        "hidden_unknown": share([a.verdict == "unknown" for a in hidden]),
        "called_tampering": share([a.verdict in ATTACKS for a in found]),
        "ece": calibration_error(found),
    }
    for label, name in WEAK.items():
        out[f"found: {label}"] = share([a.verdict in ATTACKS for a in found if a.record["scenario"] == name])
    return out


def bins(found: list[Answer]) -> list[tuple[int, float, float]]:
    """For ten equal bins of the likeliest cause's probability: cases, mean probability, share right."""
    out = []
    at = np.minimum((np.array([a.share for a in found]) * BINS).astype(int), BINS - 1)
    for i in range(BINS):
        inside = [a for a, number in zip(found, at, strict=True) if number == i]
        mean = float(np.mean([a.share for a in inside])) if inside else 0.0
        out.append((len(inside), mean, share([a.best in rights(a.record) for a in inside])))
    return out


def calibration_error(found: list[Answer]) -> float:
    """Expected calibration error: mean distance of probability and share right, bins weighted by their cases.

    References:
        Naeini, M. P., Cooper, G. F., Hauskrecht, M. (2015). Obtaining well calibrated probabilities using
        Bayesian binning. AAAI.
    """
    return sum(n * abs(mean - right) for n, mean, right in bins(found)) / max(1, len(found))


def matrix(found: list[Answer]) -> dict[str, dict[str, int]]:
    """Verdicts given, by scenario."""
    table: dict[str, dict[str, int]] = {name: {} for name in SCENARIOS}
    for answer in found:
        row = table[answer.record["scenario"]]
        row[answer.verdict] = row.get(answer.verdict, 0) + 1
    return table


def alone(records: list[dict], measures: tuple[str, ...]) -> dict[str, float]:
    """How often each piece of evidence names the cause by itself, leaving one data set out."""
    out = {}
    for name in dict.fromkeys(m.split(".")[0] for m in measures):
        own = tuple(m for m in measures if m.startswith(name + "."))
        hits = []
        for dataset in LOADERS:
            weights = fit([r for r in records if r["dataset"] != dataset], own)
            for record in (r for r in records if r["dataset"] == dataset):
                item = [e for e in masked(record, "all") if e.name == name]
                fact = next((e.decides for e in item if e.decides), None)
                shares = weights.probabilities(item, {})
                hits.append((fact or max(shares, key=shares.__getitem__)) in rights(record))
        out[name] = float(np.mean(hits))
    return out
