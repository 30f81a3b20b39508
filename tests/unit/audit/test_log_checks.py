"""Checks of the log that nothing else stands behind, each met alone."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assay.audit.checkpoint import Checkpoint, NoteKey
from assay.audit.log import AuditLog
from assay.audit.outside import folder_of
from assay.audit.verify import check_log
from assay.errors import KeyFileError, LogError

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
ORIGIN = "example.org/log"


def reopened(folder: Path, now: datetime) -> AuditLog:
    return AuditLog.open(
        folder / "audit.db", key=folder / "log.key", origin=ORIGIN, checkpoints=[folder / "outside"], now=now
    )


def filled(log: AuditLog, count: int = 3) -> None:
    for number in range(count):
        log.append("model.signed", "spam", {"number": number}, actor="anna", now=NOW)


@pytest.mark.parametrize(
    ("later", "rules"), [(timedelta(0), []), (timedelta(hours=1), []), (timedelta(microseconds=-1), ["log.clock"])]
)
def test_only_a_clock_before_the_last_entry_is_a_warning(
    log: AuditLog, tmp_path: Path, later: timedelta, rules: list[str]
) -> None:
    filled(log)
    with reopened(tmp_path, NOW + later) as again:
        assert [each.rule for each in again.warnings] == rules


def test_another_history_of_the_same_length_outside_stops_the_log(log: AuditLog, tmp_path: Path) -> None:
    filled(log)
    thief = NoteKey.read(tmp_path / "log.key")
    latest = folder_of(tmp_path / "outside", ORIGIN) / "latest"
    latest.write_text(thief.sign(Checkpoint(ORIGIN, 3, bytes(32)).text()))
    with pytest.raises(LogError) as refused:
        filled(log, 1)
    assert [each.rule for each in refused.value.findings] == ["log.split-view"]
    assert log.size() == 3


def test_proofs_are_made_for_every_size_the_log_has_had_and_no_other(log: AuditLog) -> None:
    filled(log)
    assert log.inclusion(2, 3) == log.inclusion(2)
    assert log.consistency(1, 3) == log.consistency(1)
    for size in (4, -1):
        with pytest.raises(ValueError, match="not"):
            log.inclusion(0, size)
    with pytest.raises(ValueError, match=r"position 0|has 3|size 0|0 entries"):
        log.inclusion(0, 0)


def test_a_key_that_is_gone_is_missed_by_the_entries_alone(tmp_path: Path) -> None:
    named = {"key": tmp_path / "log.key", "origin": ORIGIN, "checkpoints": [], "now": NOW}
    with AuditLog.open(tmp_path / "audit.db", **named) as log:  # type: ignore[arg-type]  # a table of keyword arguments
        filled(log)
    (tmp_path / "log.key").unlink()
    with pytest.raises(KeyFileError, match="missing"):
        AuditLog.open(tmp_path / "audit.db", **named)  # type: ignore[arg-type]  # a table of keyword arguments
    assert not (tmp_path / "log.key").exists()


def changed(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / "audit.db")
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_an_entry_whose_stored_hash_is_gone_is_not_read(log: AuditLog, tmp_path: Path) -> None:
    filled(log)
    changed(tmp_path, "DELETE FROM nodes WHERE level = 0 AND place = 1")
    with pytest.raises(LogError, match="entry 1"):
        log.entries()


@pytest.mark.parametrize("column", ["level", "place"])
def test_a_stored_hash_at_no_number_is_damage(log: AuditLog, tmp_path: Path, column: str) -> None:
    filled(log)
    changed(tmp_path, f"UPDATE nodes SET {column} = 'text' WHERE level = 0 AND place = 1")
    report = check_log(tmp_path / "audit.db", key_string=log.key_string, outside=[tmp_path / "outside"])
    assert report.state == "broken"
    assert any("no number" in finding.detail for finding in report.findings)
