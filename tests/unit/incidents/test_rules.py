from __future__ import annotations

from datetime import UTC, datetime

import pytest

from assay.audit.entry import Entry
from assay.findings import Finding, Severity
from assay.incidents.rules import IncidentSpec, alarm_kind, incident_of, reported

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def spec_of(kind: str, data: dict[str, object], subject: str = "spam") -> IncidentSpec | None:
    return incident_of(Entry(kind, subject, NOW, "somebody", data))


@pytest.mark.parametrize(
    ("kind", "data", "wanted"),
    [
        (
            "verify.refused",
            {"findings": [{"rule": "artifact.changed", "detail": "w changed"}]},
            "integrity critical both",
        ),
        ("verify.refused", {}, "integrity critical both"),
        ("guard.changed", {"findings": [{"rule": "guard.tensor-changed"}]}, "integrity critical both"),
        ("guard.changed", {}, "integrity critical both"),
        ("verify.refused", {"findings": "nonsense"}, "integrity critical both"),
        ("data.changed", {}, "integrity error both"),
        ("validation.failed", {}, "performance error owners"),
        ("monitor.alarm", {"signal": "accuracy:class=rain"}, "performance error owners"),
        ("monitor.alarm", {"signal": "feature:wind:null"}, "data error owners"),
        ("monitor.alarm", {"signal": "feature:wind"}, "drift warning owners"),
        ("monitor.alarm", {}, "performance error owners"),
        ("monitor.alarm", {"signal": 7}, "performance error owners"),
        ("diagnosis.made", {"verdict": "model-tampering", "escalate": True}, "integrity critical both"),
        ("diagnosis.made", {"verdict": "backdoor"}, "integrity critical both"),
        ("diagnosis.made", {"verdict": "unrecorded-deployment"}, "integrity critical both"),
        ("diagnosis.made", {"verdict": "concept-drift", "escalate": True}, "integrity error both"),
        ("diagnosis.made", {"verdict": "data-fault", "escalate": False}, "data error owners"),
        ("alert.failed", {"channel": "slack#1a2b3c4d", "tries": 3}, "alerting error both"),
    ],
)
def test_what_people_must_know_opens_an_incident(kind: str, data: dict[str, object], wanted: str) -> None:
    spec = spec_of(kind, data)
    assert spec is not None
    audience = "both" if set(spec.audiences) == {"security", "owners"} else "owners"
    assert f"{spec.kind} {spec.severity.value} {audience}" == wanted
    assert spec.title
    assert spec.text
    assert spec.facts


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("diagnosis.made", {"verdict": "intact"}),
        ("diagnosis.made", {"verdict": "concept-drift", "escalate": False}),
        ("diagnosis.made", {"verdict": "concept-drift", "escalate": "true"}),
        ("alert.failed", {"tries": 2}),
        ("alert.failed", {"tries": "many"}),
        ("gate.refused", {}),
        ("incident.opened", {}),
        ("incident.escalated", {}),
        ("model.signed", {}),
        ("validation.passed", {}),
        ("something.new", {}),
    ],
)
def test_what_nobody_must_be_told_opens_none(kind: str, data: dict[str, object]) -> None:
    assert spec_of(kind, data) is None


def test_a_thousand_refusals_of_one_model_are_one_incident_and_another_models_is_another() -> None:
    found = {
        spec.fingerprint
        for number in range(1000)
        if (spec := spec_of("verify.refused", {"findings": [{"rule": "artifact.changed", "detail": f"file {number}"}]}))
    }
    other = spec_of("verify.refused", {}, subject="ham")
    assert len(found) == 1
    assert other is not None
    assert other.fingerprint not in found


def test_drift_shares_no_fingerprint_with_integrity() -> None:
    kinds = [
        ("verify.refused", {}),
        ("data.changed", {}),
        ("monitor.alarm", {"signal": "feature:wind"}),
        ("monitor.alarm", {"signal": "error"}),
        ("monitor.alarm", {"signal": "volume"}),
        ("validation.failed", {}),
    ]
    specs = [spec for kind, data in kinds if (spec := spec_of(kind, dict(data)))]
    assert len({spec.fingerprint for spec in specs}) == len(kinds)


def test_kind_and_model_cannot_be_shifted_into_each_other() -> None:
    first = IncidentSpec("data", "spam", "monitor", Severity.ERROR, "t", "x")
    second = IncidentSpec("data", "spam7:monitor", "", Severity.ERROR, "t", "x")
    assert first.fingerprint != second.fingerprint


def test_many_findings_are_quoted_in_part() -> None:
    many = [{"rule": "artifact.changed", "detail": f"file {number} changed"} for number in range(40)]
    spec = spec_of("verify.refused", {"findings": many})
    assert spec is not None
    assert "35 more" in spec.text
    assert len(spec.text.splitlines()) == 6


@pytest.mark.parametrize(
    ("signal", "kind"),
    [
        ("volume", "data"),
        ("feature:x:null", "data"),
        ("feature:x:infinite", "data"),
        ("feature:x", "drift"),
        ("prediction", "drift"),
        ("confidence", "drift"),
        ("error", "performance"),
        ("latency_s:p95", "performance"),
        ("accuracy:slice:region=north", "performance"),
        ("failures", "performance"),
        ("what is this", "performance"),
    ],
)
def test_alarms_are_sorted_by_their_signal(signal: str, kind: str) -> None:
    assert alarm_kind(signal) == kind


def test_findings_without_an_entry_make_an_incident_of_the_worst() -> None:
    findings = [
        Finding("log.warned", "log", Severity.WARNING, "a little"),
        Finding("log.edited", "log", Severity.CRITICAL, "entry 3 was edited"),
    ]
    spec = reported("audit", "example.org/log", "log", findings)
    assert (spec.severity, spec.facts) == (Severity.CRITICAL, ("log.edited", "log.warned"))
    assert "entry 3" in spec.title
    with pytest.raises(ValueError, match="at least one"):
        reported("audit", "x", "log", [])
