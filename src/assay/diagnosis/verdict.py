"""From evidence to a verdict. Pure: facts first, then probabilities, `unknown` where neither suffices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.evidence.shelf import CAN_SHOW
from assay.diagnosis.explanation import NATURAL, actions_for, explain
from assay.diagnosis.weights import Weights, shipped
from assay.findings import Finding

VERDICTS = (
    "intact",
    "covariate-drift",
    "concept-drift",
    "data-fault",
    "unrecorded-deployment",
    "model-tampering",
    "backdoor",
    "unknown",
)
ATTACKS = ("model-tampering", "backdoor")
DEFAULT_PRIORS: Mapping[str, float] = MappingProxyType(
    # Tampering is rare, but missing it is dear: the two are weighed against each other here, and callers may.
    {
        "intact": 1.0,
        "covariate-drift": 1.0,
        "concept-drift": 1.0,
        "data-fault": 1.0,
        "model-tampering": 0.7,
        "backdoor": 0.5,
    }
)
MAJORITY = 0.5
TOGETHER = 2 / 3  # so likely that it is natural, or an attack: then the likelier kind is named without a majority
SURE = 2 / 3
"""From there on `certainty` is enough to act on; below, the cause is asked again when there are more rows."""
ALARMING = 0.05  # an attack this likely is worth waking somebody, when something fell or differs
TOLERANCE = 0.02
RISE = 0.1  # of the answers of a region that leave the imitation, for certain
MARKED = 0.1  # of the rows that flip under, or carry, a mark that few recent rows have
UNMARKED = 1e-3
FALLEN = 1e-3
EVEN = 0.65  # of the rise of errors, on the third of the rows that errors are least expected of: by chance a third off
SPARED = 0.1
IN_PLACE = 0.07  # inputs told from trusted ones no better than by an AUC of .57, beyond its error
CERTAIN = 3.0  # standard errors
CALM = 4.0
FACT = 0.99
SAYS_SOMETHING = 0.35
BLIND = ("data-fault", "covariate-drift")  # what inputs alone can show


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why it changed.

    Attributes:
        verdict: One of `VERDICTS`.
        scope: ``global`` or ``local``.
        silent: The whole is steady while a part falls.
        probabilities: Of each cause; they sum to 1.
        evidence: All that was looked at, in order of force.
        favours: By evidence name, the cause it speaks for; empty when it speaks for none.
        contributions: By evidence name, by how much it raises the verdict's log odds against the average cause.
        weight: By evidence name, how often it alone names the cause right.
        escalate: Whether security must be called.
        actions: What to do next, most urgent first.
        explanation: What happened, why we think so, what to do: three sentences for the person on call.
        onset: When it began, UTC; None when the evidence cannot tell.
        gradual: Whether it came bit by bit.
        slices: Where it fell most.
    """

    verdict: str
    scope: str
    silent: bool
    probabilities: Mapping[str, float]
    evidence: tuple[Evidence, ...]
    favours: Mapping[str, str]
    contributions: Mapping[str, float]
    weight: Mapping[str, float]
    escalate: bool
    actions: tuple[str, ...]
    explanation: tuple[str, str, str]
    onset: datetime | None
    gradual: bool
    slices: tuple[Mapping[str, object], ...]

    @property
    def certainty(self) -> float:
        """As `certainty` says, 0 to 1."""
        return certainty(self.verdict, self.probabilities)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What every piece of evidence saw, one by one."""
        return tuple(finding for item in self.evidence for finding in item.findings)

    def to_json(self) -> dict[str, object]:
        """The diagnosis as ``assay diagnose --json`` prints it."""
        return {
            "verdict": self.verdict,
            "scope": self.scope,
            "silent": self.silent,
            "probabilities": {name: round(share, 4) for name, share in self.probabilities.items()},
            "escalate": self.escalate,
            "explanation": list(self.explanation),
            "actions": list(self.actions),
            "onset": None if self.onset is None else f"{self.onset:%Y-%m-%dT%H:%M:%S.%f}Z",
            "gradual": self.gradual,
            "slices": [dict(part) for part in self.slices],
            "evidence": [self._item(item) for item in self.evidence],
        }

    def _item(self, item: Evidence) -> dict[str, object]:
        def number(value: float | None) -> float | None:
            return None if value is None else round(value, 5)

        return {
            "name": item.name,
            "value": number(item.value),
            "interval": None if item.low is None else [number(item.low), number(item.high)],
            "unit": item.unit,
            "favours": self.favours.get(item.name) or None,
            "decides": item.decides is not None,
            "contribution": number(self.contributions.get(item.name)),
            "right_alone": number(self.weight.get(item.name)),
            "detail": item.detail,
            "missing": item.missing,
            "numbers": {name: number(value) for name, value in item.numbers.items()},
            "notes": dict(item.notes),
            "findings": [finding.as_json() for finding in item.findings],
        }


def decide(
    evidence: Sequence[Evidence], *, priors: Mapping[str, float] = DEFAULT_PRIORS, weights: Weights | None = None
) -> Diagnosis:
    """Weigh the evidence.

    Facts decide alone: other bytes, then outputs the signed copy would not have given, then labels of one
    kind alone that the answers contradict. Otherwise all measures together, by a multinomial logistic
    model, because they share the same errors and adding up their likelihood ratios would count the same
    thing twice.

    Args:
        evidence: What the shelf gathered.
        priors: Relative weight of each cause before the evidence; only ratios matter.
        weights: The coefficients; those of the package when None.
    """
    weights = weights or shipped()
    items = {item.name: item for item in evidence}
    probabilities = dict.fromkeys(VERDICTS[:-1], 0.0) | weights.probabilities(evidence, _settled(priors, items))
    fact = next((item.decides for item in evidence if item.decides), None)
    if fact is not None:
        probabilities = {name: (1 - FACT) * share for name, share in probabilities.items()}
        probabilities[fact] += 1 - sum(probabilities.values())
    best = max(probabilities, key=lambda name: probabilities[name])
    verdict = best if fact is not None or _supported(best, probabilities, items) else "unknown"
    contributions = weights.contributions(evidence)
    uniformity = items.get("uniformity", Evidence("uniformity")).notes
    attack = sum(probabilities[name] for name in ATTACKS)
    onset, gradual = _onset(items)
    slices = uniformity.get("slices", [])
    diagnosis = Diagnosis(
        verdict=verdict,
        scope=_scope(items),
        silent=bool(uniformity.get("silent", False)),
        probabilities=probabilities,
        evidence=tuple(evidence),
        favours={item.name: _favours(item, contributions[item.name]) for item in evidence},
        contributions={
            name: parts.get(best, 0.0) for name, parts in contributions.items() if items[name].missing is None
        },
        weight=dict(weights.alone),
        escalate=(fact is not None and fact != "data-fault") or (attack > ALARMING and _fell_or_differs(items)),
        actions=actions_for(verdict, evidence),
        explanation=("", "", ""),
        onset=onset,
        gradual=gradual,
        slices=tuple(slices) if isinstance(slices, list) else (),
    )
    return _explained(diagnosis)


def certainty(verdict: str, probabilities: Mapping[str, float]) -> float:
    """Probability of what a verdict asks people to do: natural causes count together, and so do attacks.

    Args:
        verdict: One of `VERDICTS`.
        probabilities: Of each cause.

    Returns:
        0 to 1; 0 when no cause is named.
    """
    kind = next((kind for kind in (NATURAL, ATTACKS) if verdict in kind), (verdict,))
    return sum(probabilities.get(name, 0.0) for name in kind)


def _explained(diagnosis: Diagnosis) -> Diagnosis:
    from dataclasses import replace

    force = sorted(
        (item for item in diagnosis.evidence if item.missing is None and item.detail),
        key=lambda item: (item.decides is None, -diagnosis.contributions.get(item.name, 0.0)),
    )
    missing = [item for item in diagnosis.evidence if item.missing is not None]
    told = explain(
        verdict=diagnosis.verdict,
        probabilities=diagnosis.probabilities,
        force=force,
        missing=missing,
        scope=diagnosis.scope,
        silent=diagnosis.silent,
        slices=diagnosis.slices,
        onset=diagnosis.onset,
        gradual=diagnosis.gradual,
        actions=diagnosis.actions,
        escalate=diagnosis.escalate,
    )
    return replace(diagnosis, explanation=told)


def _supported(best: str, probabilities: Mapping[str, float], items: Mapping[str, Evidence]) -> bool:
    """Whether the evidence needed to say so is there; a wrong name is worse than none."""

    def there(name: str) -> bool:
        return name in items and items[name].missing is None

    enough = probabilities[best] >= MAJORITY
    if there("replay") or there("surrogate"):
        # Both natural kinds often come together, and both mean: not the model; both attacks mean: the model. Which
        # of the two it is, the words leave open.
        kinds = (NATURAL, ATTACKS)
        enough = enough or any(best in kind and sum(probabilities[n] for n in kind) >= TOGETHER for kind in kinds)
    if not enough or (best in ATTACKS and not _fell_or_differs(items)):
        return False  # nobody is accused of an attack that changed nothing
    replay = items.get("replay", Evidence("replay"))
    if best == "intact" and replay.notes.get("hard") and not replay.notes.get("varies"):
        return False  # too few to accuse anybody, but an output the signed copy does not give is not nothing
    if there("replay") or there("surrogate"):
        return True
    if there("concept"):
        # Without a copy and without a trusted reference, a change of the model and of the world look alike.
        return best in BLIND or best == "intact"
    if best == "data-fault":
        return there("pipeline")
    return best == "covariate-drift" and there("inputs")


def _innocent(items: Mapping[str, Evidence]) -> bool:
    """Whether the copy gives what was served, asked of most of the rows: who hides changes hides them in the rest."""
    replay = items.get("replay", Evidence("replay"))
    rows, skipped = (replay.notes.get(name, 0) for name in ("rows", "skipped"))
    asked = not isinstance(rows, int) or not isinstance(skipped, int) or skipped <= rows
    return "agrees" in replay.numbers and asked


def _unmarked(items: Mapping[str, Evidence]) -> bool:
    """Whether a mark that forces one answer was looked for, on clean rows or where it is carried, and not found.

    What the copy does with the mark on clean rows, an experiment, outranks what those who carry it were answered.
    """
    stamp, trigger = _numbers(items, "stamp"), _numbers(items, "trigger")
    found = [stamp[name] for name in ("flip_and_rare", "stamped") if name in stamp]
    found = found or [trigger[name] for name in ("forced_and_explained", "planted") if name in trigger]
    return bool(found) and max(found) < MARKED


def _answers_left(items: Mapping[str, Evidence]) -> bool:
    """Whether answers, or their confidence, changed for certain while the inputs and the columns are as they were.

    Neither the world nor labels make a model answer like inputs otherwise. The copy, where it was asked, knows better.
    """
    mimic, inputs, columns = (_numbers(items, name) for name in ("mimic", "inputs", "pipeline"))
    in_place = inputs.get("told_apart", 1.0) < IN_PLACE and columns.get("fault", 1.0) <= 0
    sure = max(mimic.get("sure_familiar", 0.0), mimic.get("confidence_sure", 0.0)) > CERTAIN
    return in_place and (sure or mimic.get("pair_rise", 0.0) > RISE) and not _innocent(items)


def _fault(items: Mapping[str, Evidence]) -> float:
    """How much weight a data fault keeps, 0 to 1, where columns, labels and answers were looked at.

    Next to none where the columns are sound, the labels are not all of one kind, and do not call more answers wrong;
    little where they do, but hardly where errors are least expected: what is wrong with labels spares no ground.
    """
    columns, labels, concept = (_numbers(items, name) for name in ("pipeline", "labels", "concept"))
    looked = "fault" in columns and "one_sided" in labels and "fall_at_least" in concept
    if not looked or columns["fault"] > 0 or labels["one_sided"] > 0:
        return 1.0
    if concept["fall_at_least"] <= 0:
        return UNMARKED
    even = [labels[name] for name in ("even", "even_but_one") if name in labels]
    return SPARED if even and max(even) < EVEN else 1.0


def _numbers(items: Mapping[str, Evidence], name: str) -> Mapping[str, float]:
    return items[name].numbers if name in items else {}


def _settled(priors: Mapping[str, float], items: Mapping[str, Evidence]) -> dict[str, float]:
    """The priors, after what rules a cause out or in before anything is weighed.

    Small windows always differ a little: where the model is proven and nothing fell for certain, `intact`
    gets more weight; where accuracy fell for certain, by more than a tolerance, something changed, and it gets next
    to none. A copy that gives every answer that was served was not tampered with; where there is none, answers that
    changed for certain while the inputs did not are the model's doing. A trigger that leaves no mark on
    what it triggers is none: `backdoor` gets next to none.
    A fault of the data leaves one in the columns, or turns answers wrong with its labels wherever they are: `_fault`.
    """
    calm = (
        "agrees" in _numbers(items, "replay")
        and "fall_at_least" in _numbers(items, "concept")
        and not _fell_or_differs(items)
    )
    fell = _numbers(items, "concept").get("fall_at_least", 0.0) > TOLERANCE
    factor = {
        "intact": CALM if calm else FALLEN if fell else 1.0,
        "model-tampering": UNMARKED if _innocent(items) else 1.0,
        "backdoor": UNMARKED if _unmarked(items) else 1.0,
        "data-fault": _fault(items),
    }
    if _answers_left(items):
        factor |= dict.fromkeys(("intact", "data-fault", *NATURAL), UNMARKED)
    return {**priors, **{name: priors.get(name, 1.0) * by for name, by in factor.items()}}


def _fell_or_differs(items: Mapping[str, Evidence]) -> bool:
    def number(name: str, measure: str) -> float:
        return items[name].numbers.get(measure, 0.0) if name in items else 0.0

    replay = items.get("replay", Evidence("replay"))
    # A sampling model differs from itself: there only the fact, more than it does by itself, counts.
    differs = replay.decides is not None if replay.notes.get("varies") else (replay.value or 0.0) > 0
    return (
        differs
        or number("concept", "fall_at_least") > 0
        or number("uniformity", "worst") > TOLERANCE
        or number("mimic", "sure") > CERTAIN
        or number("mimic", "place_rise") > RISE
        or number("mimic", "pair_rise") > RISE / 4
        or number("surrogate", "place") > RISE / 2
        or number("stamp", "flip_and_rare") > MARKED
        or number("trigger", "planted") > MARKED
    )


def _scope(items: Mapping[str, Evidence]) -> str:
    scope = items.get("uniformity", Evidence("uniformity")).notes.get("scope")
    return "local" if scope == "local" else "global"


def _onset(items: Mapping[str, Evidence]) -> tuple[datetime | None, bool]:
    replay, onset = items.get("replay"), items.get("onset")
    seconds = next((item.onset_s for item in (replay, onset) if item is not None and item.onset_s is not None), None)
    gradual = bool(onset is not None and onset.numbers and onset.notes.get("gradual", False))
    # Row numbers stand in for times in tables without a usable time: no date can be given.
    if seconds is None or seconds < 86_400:  # noqa: PLR2004 - one day after 1970
        return None, gradual
    return datetime.fromtimestamp(seconds, tz=UTC), gradual


def _favours(item: Evidence, parts: Mapping[str, float]) -> str:
    if item.decides is not None:
        return item.decides
    if item.missing is not None or not parts:
        return ""
    told = {cause: part for cause, part in parts.items() if cause in CAN_SHOW.get(item.name, parts)}
    best = max(told, key=lambda name: told[name], default="")
    return best if told.get(best, 0.0) > SAYS_SOMETHING else ""
