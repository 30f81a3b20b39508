"""Alerts under attack: floods, dead channels, silent contacts, killed readers, damaged logs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event, text

from assay.audit.entry import Entry
from assay.audit.log import AuditLog
from assay.errors import LogError
from assay.incidents.audiences import Channels
from assay.incidents.desk import Desk
from assay.storage.database import open_state

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
AFTER = timedelta(minutes=15)
REFUSED = {"findings": [{"rule": "artifact.changed", "detail": "model.skops changed at byte 17"}]}


class House:
    """A log, a state database and two inboxes in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = open_state(folder / "state.db")
        self.log = AuditLog.open(
            folder / "log.db", key=folder / "log.key", origin="example.org/log", checkpoints=[], now=NOW
        )
        self.desk = self.desk_with(f"file://{folder}/security.jsonl", f"file://{folder}/owners.jsonl")

    def desk_with(self, security: str, owners: str) -> Desk:
        channels = Channels(security=[security], owners=[owners])
        return Desk(self.engine, self.log, channels, escalate_after=AFTER, actor="assay@host")

    def inbox(self, audience: str) -> list[str]:
        path = self.folder / f"{audience}.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line)["data"]["title"] for line in lines]

    def alarm(self, signal: str) -> Entry:
        return Entry("monitor.alarm", "spam", NOW, "monitor", {"signal": signal, "detail": "left what is normal"})

    def close(self) -> None:
        self.engine.dispose()
        self.log.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def test_a_flood_of_alarms_is_one_incident_and_two_messages(house: House) -> None:
    for burst in range(3):
        flood = [house.alarm(f"feature:column{burst * 400 + number}") for number in range(400)]
        house.log.append_many([*flood, house.alarm("prediction")])
        house.desk.run(NOW + timedelta(minutes=burst))
    assert [incident.kind for incident in house.desk.list()] == ["drift"]
    assert len(house.desk.show(1).positions) == 1203
    assert len(house.inbox("owners")) == 1


def test_an_integrity_alarm_inside_a_flood_of_drift_is_told_at_once(house: House) -> None:
    house.log.append_many([house.alarm(f"feature:column{number}") for number in range(600)])
    house.log.append("verify.refused", "spam", REFUSED, actor="verify", now=NOW)
    house.log.append_many([house.alarm(f"feature:column{number}") for number in range(600)])
    house.desk.run(NOW)
    assert sorted(incident.kind for incident in house.desk.list()) == ["drift", "integrity"]
    assert len(house.inbox("security")) == 1
    assert any("not what was signed" in title for title in house.inbox("owners"))


def test_an_acknowledged_or_escalated_drift_incident_mutes_no_integrity_alarm(house: House) -> None:
    house.log.append_many([house.alarm("feature:wind")])
    house.desk.run(NOW)
    house.desk.run(NOW + AFTER)
    house.desk.acknowledge(1, "anna", NOW + AFTER)
    house.log.append("diagnosis.made", "spam", {"verdict": "model-tampering", "escalate": True}, actor="d", now=NOW)
    house.desk.run(NOW + AFTER)
    assert [incident.kind for incident in house.desk.list(state="open")] == ["integrity"]
    assert "model-tampering" in house.inbox("security")[-1]


def test_more_of_the_same_drift_gathers_for_one_later_message(house: House) -> None:
    house.log.append_many([house.alarm("feature:wind")])
    house.desk.run(NOW)
    house.desk.acknowledge(1, "anna", NOW)
    house.log.append_many([house.alarm("prediction"), house.alarm("confidence")])
    house.desk.run(NOW + timedelta(minutes=1))
    assert len(house.inbox("owners")) == 1
    house.desk.run(NOW + AFTER)
    assert len(house.inbox("owners")) == 2


def test_a_dead_channel_is_retried_said_and_escalated_past(house: House) -> None:
    dead = house.folder / "dead"
    dead.write_text("a file where a folder is wanted")
    desk = house.desk_with(f"file://{dead}/alerts.jsonl", f"file://{house.folder}/owners.jsonl")
    house.log.append("verify.refused", "spam", REFUSED, actor="verify", now=NOW)
    moments = [NOW + timedelta(seconds=second) for second in (0, 10, 30, 60, 90, 120)]
    failed = [desk.run(moment).failed for moment in moments]
    # After 30 s, after 60 s more; then the message that the channel is down, which it does not take either.
    assert failed == [1, 0, 1, 0, 1, 1]
    tries = [logged.entry.data["tries"] for logged in house.log.entries(kinds=["alert.failed"])]
    assert tries == [1, 2, 3, 1]
    assert [incident.kind for incident in desk.list()] == ["alerting", "integrity"]
    assert any("takes no messages" in title for title in house.inbox("owners"))
    desk.run(NOW + AFTER)
    assert any("ESCALATED 1" in title for title in house.inbox("owners"))
    dead.unlink()
    desk.run(NOW + timedelta(hours=3))
    arrived = (dead / "alerts.jsonl").read_text()
    assert "not what was signed" in arrived
    assert "byte 17" in arrived  # what waited is told in full


def test_dead_channels_on_all_sides_do_not_feed_on_each_other(house: House) -> None:
    dead = house.folder / "dead"
    dead.write_text("a file where a folder is wanted")
    desk = house.desk_with(f"file://{dead}/s.jsonl", f"file://{dead}/o.jsonl")
    house.log.append("verify.refused", "spam", REFUSED, actor="verify", now=NOW)
    for minute in range(0, 24 * 60, 10):
        desk.run(NOW + timedelta(minutes=minute))
    assert len(desk.list()) == 3  # the refusal, and one for each channel
    assert len(house.log.entries(kinds=["alert.failed"])) < 3 * 2 * 40


def test_no_secret_of_an_address_is_stored_or_logged(house: House) -> None:
    secret = "T0KEN-hunter2"
    desk = house.desk_with(f"nosuchservice://{secret}@host/{secret}", f"json://127.0.0.1:9/{secret}?token={secret}")
    house.log.append("verify.refused", "spam", REFUSED, actor="verify", now=NOW)
    for minute in (0, 1, 3, 20):
        desk.run(NOW + timedelta(minutes=minute))
    assert len(house.log.entries(kinds=["alert.failed"])) >= 2
    assert secret not in repr(desk.show(1)) + json.dumps(desk.show(1).as_json())
    assert secret not in " ".join(logged.entry.canonical().decode() for logged in house.log.entries())
    house.close()
    for file in house.folder.iterdir():
        assert secret.encode() not in file.read_bytes()


def count_statements(engine: Engine, left: list[int]) -> None:
    """Kill this process, as kill -9 does, just before the statement that uses up ``left``."""

    @event.listens_for(engine, "before_cursor_execute")
    def _before(*_: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            os._exit(9)

    @event.listens_for(engine, "commit")
    def _commit(*_: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            os._exit(9)


def read_and_die(folder: Path, after: int) -> bool:
    """Read in a process of its own that dies after so many statements; False when it lived to the end."""
    child = os.fork()
    if child == 0:
        try:
            house = House(folder)
            left = [after]
            count_statements(house.engine, left)
            count_statements(house.log._engine, left)
            house.desk.run(NOW)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 9


def test_a_reader_killed_anywhere_opens_exactly_one_incident_per_entry(tmp_path: Path) -> None:
    house = House(tmp_path)
    for model in ("spam", "ham", "eggs"):
        house.log.append("verify.refused", model, REFUSED, actor="verify", now=NOW)
    house.close()
    deaths = 0
    # Each new process begins where the dead one left; every second one is killed one statement later.
    for after in [count // 2 for count in range(400)]:
        if not read_and_die(tmp_path, after):
            break
        deaths += 1
    assert deaths > 20
    house = House(tmp_path)
    house.desk.run(NOW + timedelta(minutes=5))  # what a dead sender had claimed
    found = house.desk.list()
    assert sorted(incident.model for incident in found) == ["eggs", "ham", "spam"]
    assert sorted(position for incident in found for position in house.desk.show(incident.id).positions) == [0, 1, 2]
    assert len(house.log.entries(kinds=["incident.opened"])) == 3
    for audience in ("security", "owners"):
        assert len(set(house.inbox(audience))) == 3
    house.close()


def test_two_readers_at_once_open_each_incident_once(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.log.append_many([Entry("verify.refused", f"model{number % 20}", NOW, "v", REFUSED) for number in range(200)])
    house.close()
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                House(tmp_path).desk.run(NOW)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    house = House(tmp_path)
    assert len(house.desk.list()) == 20
    assert len(house.log.entries(kinds=["incident.opened"])) == 20
    assert len(house.inbox("security")) == 20
    house.close()


@pytest.mark.parametrize(
    "value",
    ["CAST(replace(body, 'anna', 'evil') AS BLOB)", "replace(body, 'anna', 'evil')", "17", "x''", "'\u00e9'"],
)
def test_an_edited_entry_silences_none_behind_it(house: House, value: str) -> None:
    house.log.append("model.signed", "spam", {}, actor="anna", now=NOW)
    house.log.append("verify.refused", "spam", REFUSED, actor="verify", now=NOW)
    edit(house.folder / "log.db", f"UPDATE entries SET body = {value} WHERE position = 0")
    house.desk.run(NOW)
    assert sorted(incident.kind for incident in house.desk.list()) == ["audit", "integrity"]
    assert len(house.inbox("security")) == 2


def test_people_are_told_even_when_the_log_takes_no_entry(house: House) -> None:
    house.log.append("verify.refused", "spam", REFUSED, actor="verify", now=NOW)
    edit(house.folder / "log.db", "UPDATE checkpoints SET note = 'forged'")
    with pytest.raises(LogError):
        house.desk.run(NOW)
    assert len(house.inbox("security")) == 1


def test_a_deleted_entry_is_missed(house: House) -> None:
    for _ in range(3):
        house.log.append("model.signed", "spam", {}, actor="anna", now=NOW)
    edit(house.folder / "log.db", "DELETE FROM entries WHERE position = 1")
    house.desk.run(NOW)
    (incident,) = house.desk.list()
    assert (incident.kind, incident.facts) == ("audit", ("log.entry-missing",))


def test_a_log_that_was_cut_is_told_and_its_new_entries_are_read(house: House) -> None:
    for _ in range(3):
        house.log.append("verify.refused", "spam", REFUSED, actor="verify", now=NOW)
    house.desk.run(NOW)
    for table in ("entries", "nodes", "checkpoints"):
        edit(house.folder / "log.db", f"DELETE FROM {table}")
    house.desk.run(NOW)
    assert [incident.kind for incident in house.desk.list()] == ["audit", "integrity"]
    house.log.append("verify.refused", "ham", REFUSED, actor="verify", now=NOW)
    house.desk.run(NOW)
    assert house.desk.list()[0].model == "ham"


def edit(database: Path, statement: str) -> None:
    engine = create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()
