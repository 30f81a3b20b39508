"""Checks of the log that nothing else stands behind, each met alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assay.audit.checkpoint import Checkpoint, NoteKey
from assay.audit.log import AuditLog
from assay.audit.outside import folder_of
from assay.errors import LogError

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
