from __future__ import annotations

import shutil
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assay.audit.checkpoint import Checkpoint, NoteKey, NoteVerifier
from assay.audit.entry import Entry
from assay.audit.log import AuditLog
from assay.audit.outside import folder_of
from assay.errors import KeyFileError, LogError, StorageError

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
ORIGIN = "example.org/log"


def reopened(folder: Path, **changes: object) -> AuditLog:
    named = {"key": folder / "log.key", "origin": ORIGIN, "checkpoints": [folder / "outside"], "now": NOW} | changes
    return AuditLog.open(folder / "audit.db", **named)  # type: ignore[arg-type]  # a table of keyword arguments


def fill(log: AuditLog, count: int) -> None:
    for number in range(count):
        log.append("model.signed", f"m{number % 3}", {"number": number}, actor="anna", now=NOW)


def head(log: AuditLog) -> Checkpoint:
    return Checkpoint.open(log.checkpoint() or "", NoteVerifier.parse(log.key_string))


def test_an_empty_log_has_no_checkpoint(log: AuditLog) -> None:
    assert (log.size(), log.checkpoint(), log.entries()) == (0, None, [])
    assert log.root() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_entries_come_back_in_order(log: AuditLog) -> None:
    positions = [log.append("model.signed", "m", {"n": n}, actor="anna", now=NOW) for n in range(5)]
    assert positions == [0, 1, 2, 3, 4]
    assert [(each.position, each.entry.data["n"]) for each in log.entries()] == [(n, n) for n in range(5)]
    assert log.entries()[2].entry == Entry("model.signed", "m", NOW, "anna", {"n": 2})


def test_entries_are_selected_by_position_kind_subject_and_number(log: AuditLog) -> None:
    fill(log, 6)
    log.append("key.trusted", "m0", {}, actor="anna", now=NOW)

    def places(**selection: object) -> list[int]:
        return [each.position for each in log.entries(**selection)]  # type: ignore[arg-type]  # a table of keyword arguments

    assert places(after=3) == [4, 5, 6]
    assert places(kinds=["key.trusted"]) == [6]
    assert places(kinds=[]) == []
    assert places(subject="m0") == [0, 3, 6]
    assert places(subject="m0", kinds={"model.signed"}, after=0, limit=5) == [3]
    assert places(limit=2) == [0, 1]


def test_every_append_ends_under_a_signed_checkpoint_that_is_outside_too(log: AuditLog, tmp_path: Path) -> None:
    fill(log, 3)
    found = head(log)
    assert (found.origin, found.size, found.root.hex()) == (ORIGIN, 3, log.root())
    kept = folder_of(tmp_path / "outside", ORIGIN)
    assert sorted(each.name for each in kept.iterdir()) == ["1.checkpoint", "2.checkpoint", "3.checkpoint", "latest"]
    assert (kept / "latest").read_text() == (kept / "3.checkpoint").read_text() == log.checkpoint()
    assert (kept / "2.checkpoint").read_text() == log.checkpoint(2)
    assert log.checkpoint(4) is None


def test_proofs_of_the_log_verify_against_its_checkpoints(log: AuditLog) -> None:
    fill(log, 11)
    root = head(log).root
    for each in log.entries():
        log.inclusion(each.position).verify(each.entry.canonical(), root)
    earlier = Checkpoint.open(log.checkpoint(5) or "", NoteVerifier.parse(log.key_string))
    log.consistency(5).verify(earlier.root, root)
    log.inclusion(2, 5).verify(log.entries()[2].entry.canonical(), earlier.root)


@pytest.mark.parametrize("size", [12, -1])
def test_no_proof_is_made_for_a_size_the_log_never_had(log: AuditLog, size: int) -> None:
    fill(log, 3)
    with pytest.raises(ValueError, match="3 entries"):
        log.inclusion(0, size)
    with pytest.raises(ValueError, match="3 entries"):
        log.consistency(1, size)


def test_many_entries_are_added_under_one_checkpoint(log: AuditLog) -> None:
    fill(log, 2)
    entries = [Entry("model.signed", "m", NOW, "anna", {"n": n}) for n in range(5)]
    assert log.append_many(entries) == [2, 3, 4, 5, 6]
    assert head(log).size == 7
    assert log.checkpoint(4) is None
    assert log.append_many([]) == []
    with pytest.raises(ValueError, match="keys"):
        log.append_many(entries, once=["one"])


def test_the_same_happening_is_logged_once(log: AuditLog) -> None:
    first = log.append("monitor.alarm", "m", {}, actor="assay", now=NOW, once="alarm/1")
    fill(log, 2)
    assert log.append("monitor.alarm", "m", {}, actor="assay", now=NOW, once="alarm/1") == first
    assert log.size() == 3
    entry = Entry("monitor.alarm", "m", NOW, "assay", {})
    keys = ["alarm/2", None, "alarm/1", "alarm/2", "alarm/3"]
    assert log.append_many([entry] * 5, once=keys) == [3, 4, 0, 3, 5]
    assert log.size() == 6


def test_a_log_is_found_again(log: AuditLog, tmp_path: Path) -> None:
    fill(log, 3)
    with reopened(tmp_path) as again:
        assert again.root() == log.root()
        assert again.append("model.signed", "m", {}, actor="anna", now=NOW) == 3
        assert again.key_string == log.key_string


def test_threads_and_connections_share_the_log(log: AuditLog, tmp_path: Path) -> None:
    with reopened(tmp_path) as other:
        threads = [threading.Thread(target=fill, args=(each, 10)) for each in (log, other, log, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert log.size() == 40
    assert head(log).root.hex() == log.root()


def test_a_missing_key_of_a_used_log_is_not_replaced(log: AuditLog, tmp_path: Path) -> None:
    fill(log, 1)
    (tmp_path / "log.key").unlink()
    with pytest.raises(KeyFileError, match="restore it"):
        reopened(tmp_path)
    log.close()
    (tmp_path / "audit.db").unlink()  # the checkpoints outside remember
    with pytest.raises(KeyFileError, match="restore it"):
        reopened(tmp_path)
    assert not (tmp_path / "log.key").exists()


def test_a_key_of_another_log_is_refused(tmp_path: Path) -> None:
    NoteKey.generate(tmp_path / "log.key", "example.org/other")
    with pytest.raises(KeyFileError, match=r"example\.org/other"):
        reopened(tmp_path)


def test_another_key_of_the_same_name_cannot_continue_the_log(log: AuditLog, tmp_path: Path) -> None:
    fill(log, 1)
    (tmp_path / "log.key").unlink()
    NoteKey.generate(tmp_path / "log.key", ORIGIN)
    with reopened(tmp_path) as again, pytest.raises(LogError, match="did not sign"):
        again.append("model.signed", "m", {}, actor="anna", now=NOW)


def test_an_origin_that_breaks_notes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name a log"):
        reopened(tmp_path, origin="a b")


def test_a_last_entry_from_the_future_is_a_warning(log: AuditLog, tmp_path: Path) -> None:
    fill(log, 1)
    assert log.warnings == ()
    with reopened(tmp_path, now=NOW - timedelta(days=1)) as again:
        assert [each.rule for each in again.warnings] == ["log.clock"]


def test_a_folder_outside_that_refuses_is_a_warning_and_loses_nothing(log: AuditLog, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    with reopened(tmp_path, checkpoints=[blocked, tmp_path / "outside"]) as again:
        assert again.append("model.signed", "m", {}, actor="anna", now=NOW) == 0
        assert [(each.rule, each.subject) for each in again.warnings] == [("log.unwitnessed-tail", str(blocked))]
        blocked.unlink()
        again.append("model.signed", "m", {}, actor="anna", now=NOW)
        assert again.warnings == ()
    assert (folder_of(blocked, ORIGIN) / "latest").read_text() == log.checkpoint()


def test_a_copy_that_lags_behind_after_a_crash_is_caught_up(log: AuditLog, tmp_path: Path) -> None:
    fill(log, 2)
    kept = folder_of(tmp_path / "outside", ORIGIN)
    shutil.copy(kept / "1.checkpoint", kept / "latest")
    (kept / "2.checkpoint").unlink()
    fill(log, 1)
    assert (kept / "latest").read_text() == log.checkpoint(3)


def edit(folder: Path, *statements: str) -> None:
    with sqlite3.connect(folder / "audit.db") as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM entries WHERE position = 4", "truncated"),
        ("DELETE FROM entries", "truncated"),
        ("DELETE FROM checkpoints", "truncated"),
        ("DELETE FROM checkpoints WHERE size = 5", "truncated"),
        ("UPDATE checkpoints SET note = 'x' WHERE size = 5", "forged"),
        ("UPDATE checkpoints SET note = (SELECT note FROM checkpoints WHERE size = 4) WHERE size = 5", "rewritten"),
        ("UPDATE nodes SET hash = zeroblob(32) WHERE level = 2 AND place = 0", "rewritten"),
        ("DELETE FROM nodes WHERE level = 2", "node-edited"),
        ("UPDATE nodes SET hash = 'text'", "edited"),
    ],
)
def test_nothing_is_signed_on_top_of_a_damaged_log(log: AuditLog, tmp_path: Path, statement: str, said: str) -> None:
    fill(log, 5)
    edit(tmp_path, statement)
    before = folder_of(tmp_path / "outside", ORIGIN) / "latest"
    text = before.read_text()
    with pytest.raises(LogError, match="nothing was logged") as refusal:
        fill(log, 1)
    assert [finding.rule for finding in refusal.value.findings] == [f"log.{said}"]
    assert before.read_text() == text


def test_nothing_is_signed_in_a_database_that_was_put_back(log: AuditLog, tmp_path: Path) -> None:
    fill(log, 3)
    log.close()
    shutil.copy(tmp_path / "audit.db", tmp_path / "last-week.db")
    fill(log, 3)
    log.close()
    shutil.copy(tmp_path / "last-week.db", tmp_path / "audit.db")
    with reopened(tmp_path) as again, pytest.raises(LogError, match="put back"):
        fill(again, 1)


def test_nothing_is_signed_beside_another_history(log: AuditLog, tmp_path: Path) -> None:
    fill(log, 3)
    log.close()
    (tmp_path / "audit.db").unlink()
    with reopened(tmp_path, checkpoints=[]) as hidden:
        for _ in range(4):
            hidden.append("model.signed", "another", {}, actor="mallory", now=NOW)
    with reopened(tmp_path) as again, pytest.raises(LogError, match="another history"):
        fill(again, 1)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET body = CAST(replace(CAST(body AS TEXT), 'anna', 'ben') AS BLOB) WHERE position = 1",
        "UPDATE entries SET kind = 'model.deployed' WHERE position = 1",
        "UPDATE entries SET subject = 'other' WHERE position = 1",
        "UPDATE entries SET body = 'text' WHERE position = 1",
        "DELETE FROM nodes WHERE level = 0 AND place = 1",
    ],
)
def test_an_edited_entry_is_not_read(log: AuditLog, tmp_path: Path, statement: str) -> None:
    fill(log, 3)
    edit(tmp_path, statement)
    with pytest.raises(LogError):
        log.entries()


def test_a_database_that_is_none_is_our_error(tmp_path: Path) -> None:
    (tmp_path / "audit.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match="corrupt"):
        reopened(tmp_path)


def test_two_origins_never_share_a_folder(tmp_path: Path) -> None:
    names = ["a/b", "a_b", "a:b", "..", ".", "a", "A"]
    found = {folder_of(tmp_path, name) for name in names}
    assert len(found) == len(names)
    assert {folder.parent for folder in found} == {tmp_path}


def test_nothing_is_signed_while_the_copy_outside_is_of_another_log(log: AuditLog, tmp_path: Path) -> None:
    fill(log, 1)
    (folder_of(tmp_path / "outside", ORIGIN) / "latest").write_text("garbage")
    with pytest.raises(LogError, match="not of this log"):
        fill(log, 1)
    assert log.size() == 1


def test_a_key_that_cannot_be_made_is_our_error_and_leaves_no_log_open(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyFileError, match="cannot be made"):
        reopened(tmp_path, key=tmp_path / "file" / "log.key")


def test_a_key_that_another_process_made_meanwhile_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate = NoteKey.generate

    def late(path: Path, name: str) -> NoteKey:
        generate(path, name)  # the other process
        return generate(path, name)

    monkeypatch.setattr(NoteKey, "generate", late)
    with reopened(tmp_path) as log:
        assert log.key_string == NoteKey.read(tmp_path / "log.key").verifier.key_string
