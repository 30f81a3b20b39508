from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from assay.audit.log import AuditLog
from assay.errors import IncidentError
from assay.findings import Finding, Severity
from assay.incidents.audiences import Channels
from assay.incidents.desk import Desk
from assay.incidents.rules import reported
from assay.storage.database import reading, writing
from assay.storage.tables import cursors, notifications, outbox

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
AFTER = timedelta(minutes=15)
CHANGED = {"findings": [{"rule": "artifact.changed", "detail": "model.skops changed at byte 17"}]}
Inbox = Callable[[str], list[dict[str, object]]]


def refuse(log: AuditLog, model: str = "spam", rule: str = "artifact.changed") -> int:
    data = {"findings": [{"rule": rule, "detail": f"found {rule}"}]}
    return log.append("verify.refused", model, data, actor="verify", now=NOW)


def titles(messages: list[dict[str, object]]) -> list[str]:
    return [str(data["title"]) for message in messages if isinstance(data := message["data"], dict)]


def test_a_refusal_becomes_an_incident_that_both_audiences_hear_of(desk: Desk, log: AuditLog, inbox: Inbox) -> None:
    position = refuse(log)
    done = desk.run(NOW)
    assert (done.touched, done.sent, done.failed) == ((1,), 2, 0)
    shown = desk.show(1)
    assert (shown.incident.kind, shown.incident.severity, shown.incident.state) == ("integrity", "critical", "open")
    assert shown.positions == (position,)
    assert [step.kind for step in shown.steps] == ["opened", "notified", "notified"]
    assert len(inbox("security")) == len(inbox("owners")) == 1
    assert log.entries()[-1].entry.kind == "incident.opened"
    assert log.entries()[-1].entry.data["cause"] == position


def test_the_same_entry_opens_nothing_twice(desk: Desk, log: AuditLog) -> None:
    refuse(log)
    assert desk.read(NOW) == [1]
    assert desk.read(NOW) == []
    assert desk.read(NOW, again=True) == []
    assert len(desk.list()) == 1


def test_the_same_happening_again_feeds_the_incident_and_tells_nobody(desk: Desk, log: AuditLog, inbox: Inbox) -> None:
    refuse(log)
    desk.run(NOW)
    refuse(log)
    assert desk.run(NOW).touched == (1,)
    assert len(desk.show(1).positions) == 2
    assert len(inbox("security")) == 1


def test_after_resolution_the_same_happening_is_a_new_incident_that_names_the_former(
    desk: Desk, log: AuditLog, inbox: Inbox
) -> None:
    refuse(log)
    desk.run(NOW)
    desk.resolve(1, "anna", "the disk was bad", NOW)
    refuse(log)
    desk.run(NOW)
    assert desk.show(2).incident.former == 1
    assert "incident 1 was the same" in desk.show(2).steps[0].detail
    assert len(inbox("security")) == 2
    assert [incident.id for incident in desk.list(state="open")] == [2]
    assert [incident.id for incident in desk.list(model="spam")] == [2, 1]
    assert desk.list(model="ham") == []


def test_a_new_fact_opens_an_acknowledged_integrity_incident_again(desk: Desk, log: AuditLog, inbox: Inbox) -> None:
    refuse(log)
    desk.run(NOW)
    desk.acknowledge(1, "anna", NOW)
    assert desk.show(1).incident.escalate_at is None
    refuse(log, rule="signature.unknown-key")
    desk.run(NOW)
    shown = desk.show(1)
    assert (shown.incident.state, shown.incident.escalate_at) == ("open", NOW + AFTER)
    assert len(inbox("security")) == 2
    assert "signature.unknown-key" in shown.steps[-3].detail


def test_silence_escalates_to_both_audiences_with_doubling_waits(desk: Desk, log: AuditLog, inbox: Inbox) -> None:
    log.append("monitor.alarm", "spam", {"signal": "error", "detail": "rose"}, actor="monitor", now=NOW)
    desk.run(NOW)
    assert inbox("security") == []
    assert desk.run(NOW + timedelta(minutes=14)).escalated == ()
    found = [minute for minute in range(15, 16 * 15) if desk.run(NOW + timedelta(minutes=minute)).escalated]
    assert found == [15, 45, 105, 225]
    assert len(inbox("security")) == 4
    assert "ESCALATED 4" in titles(inbox("owners"))[-1]
    assert desk.show(1).incident.level == 4
    assert [logged.entry.data["level"] for logged in log.entries(kinds=["incident.escalated"])] == [1, 2, 3, 4]
    steps = [step for step in desk.show(1).steps if step.kind == "escalated"]
    again = NOW + timedelta(minutes=15 + 30)
    assert steps[0].detail == f"nobody has acknowledged it: step 1, the next at {again:%Y-%m-%d %H:%M} UTC"
    assert all(step.entry is not None for step in steps)


def test_acknowledged_and_resolved_incidents_do_not_escalate(desk: Desk, log: AuditLog) -> None:
    refuse(log, "spam")
    refuse(log, "ham")
    desk.run(NOW)
    desk.acknowledge(1, "anna", NOW)
    desk.resolve(2, "anna", "a test", NOW)
    assert desk.escalate(NOW + timedelta(days=3)) == []


def test_of_two_who_acknowledge_at_once_one_does(desk: Desk, log: AuditLog) -> None:
    refuse(log)
    desk.run(NOW)

    def attempt(name: str) -> str | None:
        try:
            desk.acknowledge(1, name, NOW)
        except IncidentError as err:
            return err.message
        return None

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(attempt, ["anna", "ben", "cleo", "dora"]))
    assert outcomes.count(None) == 1
    owner = desk.show(1).incident.owner
    assert all(owner in said for said in outcomes if said is not None and owner)
    assert len(log.entries(kinds=["incident.acknowledged"])) == 1


def test_steps_name_who_took_them(desk: Desk, log: AuditLog) -> None:
    refuse(log)
    desk.run(NOW)
    desk.acknowledge(1, "anna", NOW)
    desk.resolve(1, "ben", "restored from the vault", NOW)
    assert [(step.kind, step.actor) for step in desk.show(1).steps[-2:]] == [
        ("acknowledged", "anna"),
        ("resolved", "ben"),
    ]
    assert [logged.entry.actor for logged in log.entries()[-2:]] == ["anna", "ben"]
    assert desk.show(1).as_json()["state"] == "resolved"


def test_what_cannot_be_done_is_said(desk: Desk, log: AuditLog) -> None:
    with pytest.raises(IncidentError, match="no incident 9"):
        desk.acknowledge(9, "anna", NOW)
    with pytest.raises(IncidentError, match="no incident 9"):
        desk.show(9)
    refuse(log)
    desk.run(NOW)
    with pytest.raises(IncidentError, match="why"):
        desk.resolve(1, "anna", "  ", NOW)
    desk.resolve(1, "anna", "done", NOW)
    with pytest.raises(IncidentError, match="already resolved"):
        desk.resolve(1, "anna", "done", NOW)


def test_findings_without_an_entry_open_one_incident(desk: Desk) -> None:
    spec = reported("audit", "example.org/log", "log", [Finding("log.edited", "log", Severity.CRITICAL, "entry 3")])
    assert [desk.report(spec, NOW), desk.report(spec, NOW)] == [1, 1]
    assert desk.show(1).incident.kind == "audit"


def test_an_edited_cursor_hides_no_entry_from_a_full_reading(desk: Desk, log: AuditLog, engine: Engine) -> None:
    desk.read(NOW)
    refuse(log, "ham")
    desk.read(NOW)
    refuse(log, "spam")
    with writing(engine) as connection:
        connection.execute(update(cursors).values(position=log.size() - 1))
    assert desk.read(NOW) == []
    assert desk.read(NOW, again=True) == [2]


def test_messages_that_wait_for_a_channel_become_one(engine: Engine, log: AuditLog, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder is wanted")
    desk = Desk(engine, log, Channels(security=[f"file://{blocked}/a.jsonl"]), escalate_after=AFTER, actor="assay@host")
    refuse(log)
    assert desk.run(NOW).failed == 1
    refuse(log, rule="signature.unknown-key")
    desk.run(NOW)
    with reading(engine) as connection:
        rows = connection.execute(select(notifications).where(notifications.c.incident == 1)).mappings().all()
    assert len(rows) == 1
    assert "artifact.changed" in rows[0]["text"]
    assert "signature.unknown-key" in rows[0]["text"]


def test_a_message_that_grew_while_it_was_sent_is_sent_again(desk: Desk, log: AuditLog, engine: Engine) -> None:
    from assay.incidents import mail

    refuse(log)
    desk.read(NOW)
    with writing(engine) as connection:
        letter = mail.claim(connection, 1, NOW)
    assert letter is not None
    refuse(log, rule="signature.unknown-key")
    desk.read(NOW)
    with writing(engine) as connection:
        mail.sent(connection, letter, NOW)
    with reading(engine) as connection:
        assert 1 in mail.due(connection, NOW)


def test_a_claimed_message_is_nobody_elses_until_the_claim_ends(desk: Desk, log: AuditLog, engine: Engine) -> None:
    from assay.incidents import mail

    refuse(log)
    desk.read(NOW)
    with writing(engine) as connection:
        assert mail.claim(connection, 1, NOW) is not None
        assert mail.claim(connection, 1, NOW) is None
    assert desk.deliver(NOW) == (1, 0)  # the other audience's
    assert desk.deliver(NOW + mail.CLAIM) == (1, 0)  # who claimed it died: it goes out again


def test_what_waits_for_the_log_is_logged_once(desk: Desk, log: AuditLog, engine: Engine) -> None:
    refuse(log)
    desk.read(NOW)
    size = log.size()
    with writing(engine) as connection:  # killed after the append, before it was noted
        connection.execute(update(outbox).values(drained=None))
    desk.read(NOW)
    assert log.size() == size


def test_without_channels_the_incident_is_still_there(engine: Engine, log: AuditLog) -> None:
    desk = Desk(engine, log, Channels(), escalate_after=AFTER, actor="assay@host")
    refuse(log)
    assert desk.run(NOW).touched == (1,)
    assert desk.test(NOW) == {}


def test_an_audience_without_channels_is_heard_by_the_other(engine: Engine, log: AuditLog, tmp_path: Path) -> None:
    desk = Desk(
        engine, log, Channels(owners=[f"file://{tmp_path}/only.jsonl"]), escalate_after=AFTER, actor="assay@host"
    )
    refuse(log)
    assert desk.run(NOW).sent == 1


def test_a_test_message_says_of_each_channel_whether_it_works(engine: Engine, log: AuditLog, tmp_path: Path) -> None:
    channels = Channels(security=[f"file://{tmp_path}/ok.jsonl"], owners=["nosuchservice://secret-token/"])
    found = Desk(engine, log, channels, escalate_after=AFTER, actor="a").test(NOW)
    assert sorted(reason is None for reason in found.values()) == [False, True]
    assert "secret-token" not in str(found)
    assert (tmp_path / "ok.jsonl").is_file()


def test_escalating_after_no_time_at_all_is_refused(engine: Engine, log: AuditLog) -> None:
    with pytest.raises(ValueError, match="longer than zero"):
        Desk(engine, log, Channels(), escalate_after=timedelta(0), actor="a")
