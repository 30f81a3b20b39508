"""Three plain sentences for the person on call, and what to do. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from shlex import quote

from assay.diagnosis.evidence.base import Evidence

HEADLINE: Mapping[str, str] = {
    "intact": "Nothing is wrong that can be seen: the model answers as it did and does as well as it did",
    "covariate-drift": "The inputs changed: the model is the same and meets other cases than before",
    "concept-drift": "The world changed: the same inputs now lead to other outcomes than the model learned",
    "data-fault": "The data are broken: a fault on the way in, or in the labels, not the model and not the world",
    "unrecorded-deployment": (
        "Somebody updated the model without recording it: what answers is not what was recorded, but validly signed"
    ),
    "model-tampering": "The model that answers is not the model that was signed",
    "backdoor": "The signed model itself answers to a trigger: a backdoor that was trained into it",
    "unknown": "The cause cannot be told from the evidence at hand",
}
NATURAL = ("covariate-drift", "concept-drift")
HALF = 0.5
WORTH_A_LOOK = 0.2  # share of a data fault, beside a natural cause, from which it is to be ruled out before retraining
MOST_NAMED = 8
MENTIONED = 0.005  # a cause that would be told as 0 % is not told
SURE_OF_IT = 2 / 3
UNJUDGED = "Nothing is wrong that can be seen: the model answers as it did; how well it does could not be judged"
IN_PART = "Nothing is wrong with the model that can be seen, but not everything is as well as it was"
UNSEEN = "Nothing to repair that can be seen; load labels and diagnose again, for only they tell how well it does."
LOOK = "Look at the rows where it fell, and at the alarms that stand, before you call it well; then keep monitoring."
MORE_ROWS = "Diagnose again when more rows and labels are in: these are too few or too alike to tell."
EXCHANGED = (
    "Before anything else ask the source of the labels whether {classes} were exchanged there: taken so, the answers "
    "are as right as before. If they were, the data are at fault, and a model retrained on them learns the mistake."
)
ACTIONS: Mapping[str, tuple[str, ...]] = {
    "intact": ("Nothing to do; keep monitoring.",),
    "covariate-drift": (
        "Check whether the new inputs are expected (season, campaign, new customers).",
        "Validate the model on recent labelled rows; add them to the reference and retrain where it is weak.",
    ),
    "concept-drift": (
        "Retrain on labels from after the onset; old labels teach the old relation.",
        "Until then fall back to rules or people for the slices that fell.",
    ),
    "data-fault": (
        "Stop using the affected predictions and repair {fault}.",
        "Replay the affected rows with repaired inputs; do not retrain on broken data.",
    ),
    "unrecorded-deployment": (
        "Find out who deployed it and why the gate was passed by; the signer is in the evidence.",
        "Review it, then `assay deploy NAME`; or put back what is recorded: `assay rollback NAME --reason WHY`.",
    ),
    "model-tampering": (
        "Call security now, keep bytes and logs, and put the signed copy back: `assay rollback NAME --reason WHY`.",
        "Treat the predictions since the onset as wrong until they are replayed through the signed copy.",
        "Rotate what the serving host could reach; `assay incident list` and `assay incident export` keep the proof.",
    ),
    "backdoor": (
        "Call security now and take the model out of service; rolling back to the same signed model does not help.",
        "Look for the trigger in the training data (`assay data diff`) and retrain from rows of known origin.",
        "Block inputs that carry the trigger named in the evidence.",
    ),
    "unknown": (
        "Get the missing evidence that is listed here, first a signed known-good copy to replay, then labels.",
        MORE_ROWS,
        "If something fell that is dear, treat it as an incident until then: `assay rollback NAME --reason WHY`.",
    ),
}


def actions_for(verdict: str, evidence: Sequence[Evidence]) -> tuple[str, ...]:
    """What to do, most urgent first; ``NAME`` in a command stands for the model's (see `addressed`).

    Args:
        verdict: What was decided.
        evidence: All of it: what is broken is named from it.
    """
    if verdict == "unknown" and all(item.missing is None for item in evidence):
        return ACTIONS[verdict][1:]
    if verdict == "intact" and any(item.notes.get("scope") == "local" for item in evidence):
        return (LOOK,)
    items = {item.name: item for item in evidence}
    if verdict == "intact" and "concept" in items and items["concept"].missing is not None:
        return (UNSEEN,)
    told = tuple(action.replace("{fault}", _fault(items)) for action in ACTIONS[verdict])
    exchanged = items["labels"].notes.get("exchanged") if "labels" in items else None
    if verdict in NATURAL and exchanged:
        return (EXCHANGED.format(classes=exchanged), *told)
    return told


def _fault(items: Mapping[str, Evidence]) -> str:
    """What must be repaired: labels that cannot be true, else the worst columns, else whatever the evidence names."""
    labels, pipeline = items.get("labels"), items.get("pipeline")
    if labels is not None and labels.findings and (labels.decides or not (pipeline and pipeline.findings)):
        return f"the source of the labels: {labels.findings[0].detail}"
    if pipeline is None or not pipeline.findings:
        return "the pipeline or the label source named in the evidence"
    told = "; ".join(finding.detail for finding in pipeline.findings[:MOST_NAMED])
    columns = list(dict.fromkeys(finding.subject for finding in pipeline.findings))
    more = f"; and {len(pipeline.findings) - MOST_NAMED} more" if len(pipeline.findings) > MOST_NAMED else ""
    return f"{f'column {columns[0]!r}' if len(columns) == 1 else f'{len(columns)} columns'}: {told}{more}"


def addressed(words: Sequence[str], name: str) -> tuple[str, ...]:
    """The same words with the commands in them as they are typed for one model.

    Args:
        words: Sentences with commands between backquotes, in which ``NAME`` stands for the model.
        name: The model's name.
    """
    typed = quote(name)

    def command(found: re.Match[str]) -> str:
        return re.sub(r"\bNAME\b", lambda _: typed, found[0])

    return tuple(re.sub(r"`assay [^`]*`", command, one) for one in words)


def explain(
    *,
    verdict: str,
    probabilities: Mapping[str, float],
    force: Sequence[Evidence],
    missing: Sequence[Evidence],
    scope: str,
    silent: bool,
    slices: Sequence[Mapping[str, object]],
    onset: datetime | None,
    gradual: bool,
    actions: Sequence[str],
    escalate: bool,
) -> tuple[str, str, str]:
    """What happened, why we think so, what to do.

    Args:
        verdict: What was decided.
        probabilities: Of each cause.
        force: Evidence that is there, strongest for the verdict first.
        missing: Evidence that is not.
        scope: ``global`` or ``local``.
        silent: The whole is steady while a part falls.
        slices: Where it fell most.
        onset: When it began.
        gradual: Whether it came bit by bit.
        actions: What to do, most urgent first.
        escalate: Whether security must be called.
    """
    return (
        _what(verdict, probabilities, scope, missing, silent=silent, slices=slices, onset=onset, gradual=gradual),
        _why(verdict, force, missing),
        _do(verdict, actions, probabilities, escalate=escalate),
    )


def _what(
    verdict: str,
    probabilities: Mapping[str, float],
    scope: str,
    missing: Sequence[Evidence],
    *,
    silent: bool,
    slices: Sequence[Mapping[str, object]],
    onset: datetime | None,
    gradual: bool,
) -> str:
    said = HEADLINE[verdict]
    if verdict == "unknown":
        likely = sorted(probabilities.items(), key=lambda item: -item[1])[:2]
        likely = [pair for pair in likely if pair[1] >= MENTIONED] or likely[:1]
        named = " and ".join(f"{name} ({share:.0%})" for name, share in likely)
        return f"{said}; likeliest {'are' if len(likely) > 1 else 'is'} {named}{_withheld(*likely[0])}."
    if verdict == "intact" and scope == "local" and slices:
        return f"{IN_PART}: it fell mostly where {slices[0]['where']}."
    if verdict == "intact":
        unjudged = next((item.missing for item in missing if item.name == "concept"), None)
        return f"{said}." if unjudged is None else f"{UNJUDGED} ({unjudged})."
    said += f" ({_sure(verdict, probabilities)})"
    if onset is not None:
        said += f", {'gradually since about' if gradual else 'since about'} {onset:%Y-%m-%d %H:%M} UTC"
    if slices and (scope == "local" or silent):
        said += f", mostly where {slices[0]['where']}"
        said += ", while the whole looks steady" if silent else ""
    return said + "."


def _withheld(name: str, share: float) -> str:
    """Why a cause that is likely by the weights is not the verdict."""
    if share < SURE_OF_IT:
        return ""
    if name in ("model-tampering", "backdoor"):
        return ", but without the copy's answers, or a fall that is certain, nobody is accused of an attack"
    return ", but what would show it is missing"


def _sure(verdict: str, probabilities: Mapping[str, float]) -> str:
    """How sure; of two kinds of natural change that come together, also how sure one is of either."""
    sure = f"{probabilities[verdict]:.0%} sure"
    if verdict not in NATURAL or probabilities[verdict] >= HALF:
        return sure
    return f"{sure}; {sum(probabilities[name] for name in NATURAL):.0%} that it is natural, inputs or relation"


def _why(verdict: str, force: Sequence[Evidence], missing: Sequence[Evidence]) -> str:
    if verdict == "unknown" and missing:
        return "Missing is: " + "; ".join(f"{item.name} ({item.missing})" for item in missing[:3]) + "."
    told = [item.detail.rstrip(".") for item in force[:2]]
    if not told:
        return "No evidence could be gathered."
    why = told[0][0].upper() + told[0][1:]
    return why + (f"; and {told[1]}" if len(told) > 1 else "") + "."


def _do(verdict: str, actions: Sequence[str], probabilities: Mapping[str, float], *, escalate: bool) -> str:
    first = actions[0]
    fault = probabilities.get("data-fault", 0.0)
    if verdict in NATURAL and fault >= WORTH_A_LOOK:  # labels of other rows look like a world that changed
        first = (
            f"First rule out a data fault, which is {fault:.0%} likely and can look the same: "
            f"is each label that of its own request, each column what it was? Then {first[0].lower()}{first[1:]}"
        )
    if escalate and verdict not in ("model-tampering", "backdoor"):
        return f"Tell security, because tampering is not excluded; {first[0].lower()}{first[1:]}"
    return first
