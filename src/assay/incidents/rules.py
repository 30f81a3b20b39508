"""Which log entries open which incident, what makes two of them the same one, and who is told.

A fingerprint holds the kind and the model, never a digest, row or time: whoever can cause a
thousand entries causes one incident. What is new about a known incident is a *fact*, a word from a
small vocabulary; a new fact is told again, a known one is not. Integrity has fingerprints of its
own, so no number of drift alarms can cover it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from assay.audit.entry import Entry
from assay.findings import Finding, Severity

Kind = Literal["integrity", "performance", "data", "drift", "audit", "alerting"]
Audience = Literal["security", "owners"]

BOTH: tuple[Audience, ...] = ("security", "owners")
OWNERS: tuple[Audience, ...] = ("owners",)
URGENT: frozenset[Kind] = frozenset({"integrity", "audit"})  # told at once, and again when acknowledged
INTEGRITY_VERDICTS = frozenset({"model-tampering", "backdoor", "unrecorded-deployment"})
FAILED_TRIES = 3  # one lost message is the network's, three are the channel's
DETAILS = 5  # sentences quoted in a message; the log has them all


@dataclass(frozen=True, slots=True)
class IncidentSpec:
    """What an incident would be opened with.

    Attributes:
        kind: What is wrong: ``integrity``, ``performance``, ``data``, ``drift``, ``audit``, ``alerting``.
        model: Which model; for ``audit`` the log's origin, for ``alerting`` the channel.
        topic: What of it: incidents of one kind and topic of one model are the same incident.
        severity: How soon a person must look.
        title: One line.
        text: What is known, for that person. Never a secret, never a record's values.
        facts: What is known, as words of a small vocabulary.
        audiences: Who is told.
    """

    kind: Kind
    model: str
    topic: str
    severity: Severity
    title: str
    text: str
    facts: tuple[str, ...] = ()
    audiences: tuple[Audience, ...] = field(default=BOTH)

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 of kind, model and topic, each with its length before it."""
        words = (self.kind, self.model, self.topic)
        return hashlib.sha256("".join(f"{len(word)}:{word}" for word in words).encode()).hexdigest()


def incident_of(entry: Entry) -> IncidentSpec | None:
    """Say which incident an entry belongs to; None when nobody need be told.

    An entry with odd data still opens its incident: a malformed alarm is an alarm.
    """
    rule = _RULES.get(entry.kind)
    return rule(entry) if rule else None


def reported(
    kind: Kind, model: str, topic: str, findings: Sequence[Finding], *, audiences: tuple[Audience, ...] = BOTH
) -> IncidentSpec:
    """Make an incident of findings that no log entry can be trusted to carry: a broken log, an edited table.

    Raises:
        ValueError: There are no findings, so there is nothing to tell.
    """
    if not findings:
        raise ValueError("an incident needs at least one finding")
    worst = max(findings, key=lambda finding: finding.severity.rank)
    return IncidentSpec(
        kind=kind,
        model=model,
        topic=topic,
        severity=worst.severity,
        title=f"{model}: {worst.detail}",
        text=_sentences(finding.detail for finding in findings),
        facts=_unique(finding.rule for finding in findings),
        audiences=audiences,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """The rule for an entry that carries an examiner's findings: they are its text and its facts.

    Attributes:
        topic: Of the incident.
        title: What is wrong, after the model's name.
        otherwise: The text where the entry says nothing.
        fact: The fact where no finding names its rule.
    """

    topic: str
    title: str
    otherwise: str
    fact: str
    kind: Kind = "integrity"
    severity: Severity = Severity.CRITICAL
    audiences: tuple[Audience, ...] = BOTH

    def __call__(self, entry: Entry) -> IncidentSpec:
        findings = _findings(entry.data)
        model = _model(entry)
        return IncidentSpec(
            kind=self.kind,
            model=model,
            topic=self.topic,
            severity=self.severity,
            title=f"{model}: {self.title}",
            text=_text(entry.data, findings) or self.otherwise,
            facts=_unique(_word(finding, "rule") for finding in findings) or (self.fact,),
            audiences=self.audiences,
        )


def _exchanged(entry: Entry) -> IncidentSpec:
    model = _model(entry)
    change = _word(entry.data, "change") or "changed"
    temperature = change in {"sharper", "flatter"}  # a setting, not other weights
    return IncidentSpec(
        kind="integrity",
        model=model,
        topic="behaviour",
        severity=Severity.ERROR if temperature else Severity.CRITICAL,
        title=f"{model}: {'its temperature was changed' if temperature else 'another model answers'}",
        text=_word(entry.data, "detail") or "it is not the model that was recorded",
        facts=(f"fingerprint:{change}",),
    )


def _policy_changed(entry: Entry) -> IncidentSpec:
    model = _model(entry)
    return IncidentSpec(
        kind="integrity",
        model=model,
        topic="policy",
        severity=Severity.ERROR,
        title=f"{model}: the release policy was changed",
        text=_word(entry.data, "detail") or "the release policy was changed",
        facts=(f"policy:{_word(entry.data, 'policy_digest')[:12]}",),
    )


_ALARM_TITLES: Mapping[Kind, str] = {
    "performance": "it does not perform as it did",
    "data": "its inputs look broken",
    "drift": "its inputs or outputs have moved",
}
_ALARM_SEVERITY: Mapping[Kind, Severity] = {
    "performance": Severity.ERROR,
    "data": Severity.ERROR,
    "drift": Severity.WARNING,
}


def _alarm(entry: Entry) -> IncidentSpec:
    signal = _word(entry.data, "signal") or "unnamed signal"
    kind = alarm_kind(signal)
    model = _model(entry)
    window = _word(entry.data, "window")
    said = _word(entry.data, "detail") or "left what is normal"
    # Features share a fact, else a hundred columns that move together would be told one by one.
    fact = signal if kind == "performance" else signal.split(":", 1)[0]
    return IncidentSpec(
        kind=kind,
        model=model,
        topic="monitor",
        severity=_ALARM_SEVERITY[kind],
        title=f"{model}: {_ALARM_TITLES[kind]}",
        text=f"{signal}{f' in {window}' if window else ''}: {said}",
        facts=(fact,),
        audiences=OWNERS,
    )


def _client(entry: Entry) -> IncidentSpec:
    model = _model(entry)
    question = _word(entry.data, "signal").rpartition(":")[2] or "queries"
    return IncidentSpec(
        kind="integrity",
        model=model,
        topic="clients",
        severity=Severity.ERROR,
        title=f"{model}: a client is copying it or probing it",
        text=_word(entry.data, "detail") or "a client asked what no client should",
        facts=(f"client:{question}",),
    )


def alarm_kind(signal: str) -> Kind:
    """Sort an alarm by its signal's name, as ``monitoring.signals`` gives them.

    An unknown signal counts as performance, the graver one.
    """
    if signal == "volume" or (signal.startswith("feature:") and signal.endswith((":null", ":infinite"))):
        return "data"
    if signal.startswith("feature:") or signal in {"prediction", "confidence"}:
        return "drift"
    return "performance"


def _diagnosis(entry: Entry) -> IncidentSpec | None:
    verdict = _word(entry.data, "verdict") or "unknown"
    escalate = entry.data.get("escalate") is True
    model = _model(entry)
    explanation = entry.data.get("explanation")
    said = " ".join(word for word in explanation if isinstance(word, str)) if isinstance(explanation, list) else ""
    actions = entry.data.get("actions")
    if isinstance(actions, list):  # the first one is the last sentence of the explanation
        said = "\n".join([said, *(f"→ {word}" for word in actions[1:] if isinstance(word, str))])
    if escalate or verdict in INTEGRITY_VERDICTS:
        return IncidentSpec(
            kind="integrity",
            model=model,
            topic="model",
            severity=Severity.CRITICAL if verdict in INTEGRITY_VERDICTS else Severity.ERROR,
            title=f"{model}: the diagnosis is {verdict}, security must look",
            text=said or _word(entry.data, "detail") or f"the diagnosis is {verdict}",
            facts=(f"verdict:{verdict}",),
        )
    if verdict == "data-fault":
        return IncidentSpec(
            kind="data",
            model=model,
            topic="monitor",
            severity=Severity.ERROR,
            title=f"{model}: the data pipeline is broken",
            text=said or "the diagnosis is data-fault",
            facts=("verdict:data-fault",),
            audiences=OWNERS,
        )
    return None


def _alert_failed(entry: Entry) -> IncidentSpec | None:
    tries = entry.data.get("tries")
    if not isinstance(tries, int) or tries < FAILED_TRIES:
        return None
    channel = _word(entry.data, "channel") or "unnamed channel"
    return IncidentSpec(
        kind="alerting",
        model=channel,
        topic="channel",
        severity=Severity.ERROR,
        title=f"the alert channel {channel} takes no messages",
        text=f"{tries} tries failed; messages wait and are tried again: check the channel's address in assay.toml",
        facts=("down",),
    )


_RULES: Mapping[str, Callable[[Entry], IncidentSpec | None]] = {
    "verify.refused": _Found(
        "model",
        "the model is not what was signed, or not by whom it must be",
        "verification refused the model",
        "refused",
    ),
    "guard.changed": _Found(
        "memory",
        "the weights of the running model have changed",
        "a tensor in memory is no longer what it was",
        "changed",
    ),
    "fingerprint.changed": _exchanged,
    "data.changed": _Found(
        "training-data",
        "the training data are not what was fingerprinted",
        "the training data changed",
        "changed",
        severity=Severity.ERROR,
    ),
    "policy.changed": _policy_changed,
    "validation.failed": _Found(
        "validation",
        "validation failed",
        "a check of the validation suite failed",
        "failed",
        kind="performance",
        severity=Severity.ERROR,
        audiences=OWNERS,
    ),
    "scan.failed": _Found("scan", "the scan found unsafe code", "the scan found unsafe code", "failed"),
    "monitor.alarm": _alarm,
    "client.alarm": _client,
    "diagnosis.made": _diagnosis,
    "alert.failed": _alert_failed,
}


def _model(entry: Entry) -> str:
    return _word(entry.data, "model") or entry.subject or "unnamed model"


def _word(data: Mapping[str, object], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""


def _findings(data: Mapping[str, object]) -> list[Mapping[str, object]]:
    found = data.get("findings")
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def _text(data: Mapping[str, object], findings: Sequence[Mapping[str, object]]) -> str:
    said = _sentences(_word(finding, "detail") for finding in findings)
    return said or _word(data, "detail") or _word(data, "reason") or _word(data, "message")


def _sentences(details: Iterable[str]) -> str:
    said = [detail for detail in details if detail]
    more = f"\n… and {len(said) - DETAILS} more in the log" if len(said) > DETAILS else ""
    return "\n".join(said[:DETAILS]) + more


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({word for word in words if word}))
