from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from assay.errors import IncidentError, StorageError
from assay.findings import Severity
from assay.incidents.course import (
    MOST_FACTS,
    Incident,
    State,
    Step,
    check_step,
    escalation_wait,
    fold,
    louder,
    retry_wait,
    state_of,
)
from assay.incidents.rules import IncidentSpec

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
KNOWN = Incident(
    id=7,
    fingerprint="f",
    model="spam",
    kind="integrity",
    severity=Severity.ERROR,
    title="t",
    state="acknowledged",
    opened=NOW,
    updated=NOW,
    owner="anna",
    level=0,
    escalate_at=None,
    facts=("artifact.changed",),
    former=None,
)
SPEC = IncidentSpec("integrity", "spam", "model", Severity.ERROR, "t", "x", ("artifact.changed",))


def test_what_is_known_is_not_told_again() -> None:
    change = fold(KNOWN, SPEC)
    assert (change.tell, change.new, change.reopen) == (False, (), False)


def test_a_new_fact_about_integrity_opens_what_was_acknowledged() -> None:
    change = fold(KNOWN, replace(SPEC, facts=("trust.revoked",)))
    assert (change.tell, change.soon, change.reopen) == (True, True, True)
    assert change.facts == ("artifact.changed", "trust.revoked")


def test_a_new_fact_about_drift_is_told_without_taking_it_from_its_owner() -> None:
    change = fold(replace(KNOWN, kind="drift"), replace(SPEC, kind="drift", facts=("prediction",)))
    assert (change.tell, change.soon, change.reopen) == (True, False, False)


def test_what_is_worse_than_before_is_told_at_once_whatever_it_is() -> None:
    change = fold(replace(KNOWN, kind="drift"), replace(SPEC, kind="drift", severity=Severity.CRITICAL))
    assert (change.tell, change.soon, change.reopen, change.severity) == (True, True, True, Severity.CRITICAL)
    assert fold(KNOWN, replace(SPEC, severity=Severity.INFO)).severity is Severity.ERROR


def test_facts_do_not_grow_without_end() -> None:
    full = replace(KNOWN, facts=tuple(f"fact {number}" for number in range(MOST_FACTS)))
    change = fold(full, replace(SPEC, facts=("one more",)))
    assert (len(change.facts), change.tell) == (MOST_FACTS, False)


@pytest.mark.parametrize(
    ("state", "step", "allowed"),
    [
        ("open", "acknowledged", True),
        ("open", "resolved", True),
        ("acknowledged", "acknowledged", False),
        ("acknowledged", "resolved", True),
        ("resolved", "acknowledged", False),
        ("resolved", "resolved", False),
    ],
)
def test_an_incident_goes_forward_only(state: State, step: Step, allowed: bool) -> None:  # a table
    incident = replace(KNOWN, state=state)
    if allowed:
        check_step(incident, step)
        assert incident.state == state
        return
    with pytest.raises(IncidentError, match=f"already {state} by anna"):
        check_step(incident, step)


def test_escalation_waits_double_up_to_a_day() -> None:
    quarter = timedelta(minutes=15)
    assert [escalation_wait(quarter, level) / quarter for level in range(4)] == [1, 2, 4, 8]
    assert escalation_wait(quarter, 7) == timedelta(days=1)
    assert escalation_wait(quarter, 10_000) == timedelta(days=1)
    assert escalation_wait(timedelta(days=3), 5) == timedelta(days=3)


def test_retry_waits_double_up_to_an_hour() -> None:
    assert [retry_wait(tries).total_seconds() for tries in (1, 2, 3)] == [30, 60, 120]
    assert retry_wait(8) == retry_wait(10_000) == timedelta(hours=1)


def test_titles_grow_louder() -> None:
    assert louder("t", 0) == "t"
    assert "ESCALATED 2" in louder("t", 2)


def test_a_stored_state_that_is_none_is_refused() -> None:
    assert state_of("open") == "open"
    with pytest.raises(StorageError, match="edited"):
        state_of("closed")
