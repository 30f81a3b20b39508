"""Entries edited, deleted, inserted, re-ordered, truncated; the database put back; two histories."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest

from assay.audit.checkpoint import Checkpoint, NoteKey
from assay.audit.log import AuditLog
from assay.audit.merkle import cover, fold, grow, leaf_hash
from assay.audit.outside import folder_of
from assay.audit.verify import LogReport, check_log
from assay.errors import KeyFileError, StorageError
from assay.storage import database

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
ORIGIN = "example.org/log"
SIZE = 10
ANNA_TO_MALLORY = "replace(CAST(body AS TEXT), 'anna', 'mallory')"

FORGED = f"kind, subject, time, CAST({ANNA_TO_MALLORY} AS BLOB), NULL"


class Attacked:
    """A log of ten entries whose database an attacker can write to, with its key and copies out of reach."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "audit.db"
        self.outside = folder / "outside"
        self.key_string = (folder / "log.key.pub").read_text()

    def log(self, **changes: object) -> AuditLog:
        named = {"key": self.folder / "log.key", "origin": ORIGIN, "checkpoints": [self.outside], "now": NOW} | changes
        return AuditLog.open(self.database, **named)  # type: ignore[arg-type]  # a table of keyword arguments

    def sql(self, *statements: str) -> None:
        connection = sqlite3.connect(self.database)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    def rehash(self) -> None:
        """Make the stored hashes fit the entries as they are now, as a careful attacker would."""
        connection = sqlite3.connect(self.database)
        bodies = [row[0] for row in connection.execute("SELECT CAST(body AS BLOB) FROM entries ORDER BY position")]
        nodes, _ = grow(0, [], map(leaf_hash, bodies))
        connection.execute("DELETE FROM nodes")
        connection.executemany(
            "INSERT INTO nodes VALUES (?, ?, ?)", [(*node, digest) for node, digest in nodes.items()]
        )
        connection.commit()
        connection.close()

    def check(self, *, witnessed: bool = True) -> LogReport:
        return check_log(self.database, key_string=self.key_string, outside=[self.outside] if witnessed else [])


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    named = {"key": folder / "log.key", "origin": ORIGIN, "checkpoints": [folder / "outside"], "now": NOW}
    with AuditLog.open(folder / "audit.db", **named) as log:  # type: ignore[arg-type]  # a table of keyword arguments
        for number in range(SIZE):
            log.append("model.signed", "spam", {"number": number}, actor="anna", now=NOW)
    return folder


@pytest.fixture
def attacked(original: Path, tmp_path: Path) -> Attacked:
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    return Attacked(tmp_path)


def positions(report: LogReport, rule: str) -> list[object]:
    return [finding.numbers["position"] for finding in report.findings if finding.rule == rule]


def rules(report: LogReport) -> set[str]:
    return {finding.rule for finding in report.findings}


def test_an_untouched_log_is_sound(attacked: Attacked) -> None:
    report = attacked.check()
    assert (report.state, report.size, report.witnessed, report.findings) == ("sound", SIZE, SIZE, ())
    with attacked.log() as log:
        assert report.root == log.root()


def test_without_a_checkpoint_outside_truncation_cannot_be_excluded(attacked: Attacked) -> None:
    report = attacked.check(witnessed=False)
    assert (report.state, rules(report)) == ("unwitnessed", {"log.unwitnessed"})
    assert "truncation cannot be excluded" in report.findings[0].detail


def test_the_examiner_writes_nothing(attacked: Attacked) -> None:
    def everything() -> dict[Path, bytes]:
        # SQLite keeps its lock table in a file beside the database, also for readers.
        files = [path for path in attacked.folder.rglob("*") if path.is_file() and not path.name.endswith("-shm")]
        return {path: path.read_bytes() for path in files if path.stat().st_size}

    before = everything()
    attacked.check()
    assert everything() == before


EDITS = [
    (
        [f"UPDATE entries SET body = CAST({ANNA_TO_MALLORY} AS BLOB) WHERE position = 4"],
        "log.edited",
        [4],
    ),
    (["UPDATE entries SET body = x'00' WHERE position = 4"], "log.edited", [4, 4]),
    (["UPDATE entries SET kind = 'model.deployed' WHERE position = 4"], "log.edited", [4]),
    (["UPDATE entries SET subject = 'other' WHERE position = 4"], "log.edited", [4]),
    (["UPDATE entries SET time = '2020-01-01T00:00:00.000000Z' WHERE position = 4"], "log.edited", [4]),
    (["DELETE FROM entries WHERE position = 4"], "log.deleted", [4]),
    (["DELETE FROM entries WHERE position = 4", "DELETE FROM nodes WHERE level = 0 AND place = 4"], "log.deleted", [4]),
    (
        [
            "UPDATE entries SET position = -1 WHERE position = 4",
            "UPDATE entries SET position = 4 WHERE position = 6",
            "UPDATE entries SET position = 6 WHERE position = -1",
        ],
        "log.reordered",
        [4],
    ),
    (
        [
            "DELETE FROM entries WHERE position = 4",
            "UPDATE entries SET position = -position WHERE position > 4",
            "UPDATE entries SET position = -position - 1 WHERE position < 0",
        ],
        "log.deleted",
        [4],
    ),
    (
        [
            "UPDATE entries SET position = -position WHERE position >= 4",
            "UPDATE entries SET position = -position + 1 WHERE position < 0",
            f"INSERT INTO entries SELECT 4, {FORGED} FROM entries WHERE position = 3",
        ],
        "log.inserted",
        [4],
    ),
    (
        ["INSERT INTO entries VALUES (4000000000000, 'a.b', 's', 't', x'00', NULL)"],
        "log.inserted",
        [4000000000000],
    ),
    (["INSERT INTO entries VALUES (-3, 'a.b', 's', 't', x'00', NULL)"], "log.inserted", [-3]),
    (["UPDATE nodes SET hash = zeroblob(32) WHERE level = 2 AND place = 1"], "log.node-edited", [4, 0]),
    (["DELETE FROM nodes WHERE level = 2 AND place = 1"], "log.node-edited", [4]),
    (["INSERT INTO nodes VALUES (3, 1, zeroblob(32))"], "log.node-edited", [8]),
]


@pytest.mark.parametrize(("statements", "rule", "where"), EDITS)
@pytest.mark.parametrize("witnessed", [True, False])
def test_an_edit_is_named_with_its_position(
    attacked: Attacked, statements: list[str], rule: str, where: list[int], *, witnessed: bool
) -> None:
    attacked.sql(*statements)
    report = attacked.check(witnessed=witnessed)
    assert report.state == "broken"
    assert positions(report, rule) == where


CAREFUL = [
    ([f"UPDATE entries SET body = CAST({ANNA_TO_MALLORY} AS BLOB) WHERE position = 4"], 4),
    (
        [
            "UPDATE entries SET position = -1 WHERE position = 4",
            "UPDATE entries SET position = 4 WHERE position = 6",
            "UPDATE entries SET position = 6 WHERE position = -1",
        ],
        4,
    ),
    (
        [
            "DELETE FROM entries WHERE position = 4",
            "UPDATE entries SET position = -position WHERE position > 4",
            "UPDATE entries SET position = -position - 1 WHERE position < 0",
        ],
        4,
    ),
]


@pytest.mark.parametrize(("statements", "where"), CAREFUL)
@pytest.mark.parametrize("stripped", [True, False])
def test_an_edit_with_recomputed_hashes_is_named_from_the_checkpoints(
    attacked: Attacked, statements: list[str], where: int, *, stripped: bool
) -> None:
    attacked.sql(*statements, *(["DELETE FROM checkpoints"] if stripped else []))
    attacked.rehash()
    report = attacked.check()
    assert report.state == "broken"
    assert positions(report, "log.rewritten") == [where]


def test_an_entry_put_in_behind_the_end_is_under_no_checkpoint(attacked: Attacked) -> None:
    attacked.sql(f"INSERT INTO entries SELECT 10, {FORGED} FROM entries WHERE position = 9")
    attacked.rehash()
    report = attacked.check()
    assert report.state == "broken"
    assert positions(report, "log.forged") == [10]


@pytest.mark.parametrize("nodes", [True, False])
def test_a_cut_end_is_named_from_the_database_alone(attacked: Attacked, *, nodes: bool) -> None:
    attacked.sql("DELETE FROM entries WHERE position >= 7")
    if nodes:
        attacked.rehash()
    report = attacked.check(witnessed=False)
    assert report.state == "broken"
    assert positions(report, "log.truncated") == [7]


def test_a_database_that_was_put_back_is_named_from_the_copies_outside(attacked: Attacked) -> None:
    shutil.copy(attacked.database, attacked.folder / "last-week.db")
    with attacked.log() as log:
        log.append("verify.refused", "spam", {}, actor="assay", now=NOW)
        log.append("incident.opened", "spam", {}, actor="assay", now=NOW)
    shutil.copy(attacked.folder / "last-week.db", attacked.database)
    report = attacked.check()
    assert report.state == "broken"
    assert [(each.rule, each.numbers["position"], each.numbers["last"]) for each in report.findings] == [
        ("log.rolled-back", 10, 11)
    ]
    assert attacked.check(witnessed=False).state == "unwitnessed"


def test_one_checkpoint_file_that_an_auditor_kept_is_enough(attacked: Attacked) -> None:
    kept = attacked.folder / "kept.txt"
    shutil.copy(folder_of(attacked.outside, ORIGIN) / "8.checkpoint", kept)
    attacked.sql("DELETE FROM entries WHERE position >= 7", "DELETE FROM checkpoints WHERE size > 7")
    attacked.rehash()
    assert attacked.check(witnessed=False).state == "unwitnessed"
    report = check_log(attacked.database, key_string=attacked.key_string, outside=[kept])
    assert report.state == "broken"
    assert positions(report, "log.rolled-back") == [7]


def test_entries_that_no_copy_outside_covers_are_said(attacked: Attacked) -> None:
    for name in ("10.checkpoint", "9.checkpoint", "latest"):
        (folder_of(attacked.outside, ORIGIN) / name).unlink()
    report = attacked.check()
    assert (report.state, report.witnessed) == ("sound", 8)
    assert positions(report, "log.unwitnessed-tail") == [8]


def test_a_database_that_lost_its_checkpoints_is_broken(attacked: Attacked) -> None:
    attacked.sql("DELETE FROM checkpoints WHERE size > 6")
    report = attacked.check()
    assert (report.state, rules(report)) == ("broken", {"log.checkpoint-deleted"})


def forge_with_another_key(_: Attacked) -> str:
    thief = NoteKey(ORIGIN, bytes(32))
    return thief.sign(Checkpoint(ORIGIN, 10, bytes(32)).text())


def swap_signature(attacked: Attacked) -> str:
    kept = folder_of(attacked.outside, ORIGIN)
    head, _, _ = (kept / "10.checkpoint").read_text().partition("\n\n")
    _, _, tail = (kept / "9.checkpoint").read_text().partition("\n\n")
    return f"{head}\n\n{tail}"


@pytest.mark.parametrize("forge", [forge_with_another_key, swap_signature, lambda _: "garbage", lambda _: ""])
@pytest.mark.parametrize("place", ["database", "outside"])
def test_a_forged_checkpoint_is_named(attacked: Attacked, forge: Callable[[Attacked], str], place: str) -> None:
    note = forge(attacked)
    if place == "database":
        attacked.sql(f"UPDATE checkpoints SET note = '{note}' WHERE size = 10")
    else:
        (folder_of(attacked.outside, ORIGIN) / "10.checkpoint").write_text(note)
    report = attacked.check()
    assert report.state == "broken"
    named = {Path(finding.subject).name for finding in report.findings if finding.rule == "log.forged"}
    assert named == ({"the database"} if place == "database" else {"10.checkpoint"})


def test_a_checkpoint_filed_under_another_size_is_named(attacked: Attacked) -> None:
    attacked.sql("UPDATE checkpoints SET note = (SELECT note FROM checkpoints WHERE size = 3) WHERE size = 5")
    report = attacked.check()
    assert report.state == "broken"
    assert [finding.numbers["size"] for finding in report.findings] == [5]


def test_a_thief_of_the_log_key_is_caught_by_the_copies_outside(attacked: Attacked) -> None:
    attacked.sql(f"UPDATE entries SET body = CAST({ANNA_TO_MALLORY} AS BLOB) WHERE position = 9")
    attacked.rehash()
    connection = sqlite3.connect(attacked.database)
    bodies = [row[0] for row in connection.execute("SELECT body FROM entries ORDER BY position")]
    nodes, _ = grow(0, [], map(leaf_hash, bodies))
    root = fold([nodes[node] for node in cover(0, SIZE)])
    note = NoteKey.read(attacked.folder / "log.key").sign(Checkpoint(ORIGIN, SIZE, root).text())
    connection.execute("UPDATE checkpoints SET note = ? WHERE size = 10", (note,))
    connection.commit()
    connection.close()
    assert attacked.check(witnessed=False).state == "unwitnessed"
    report = attacked.check()
    assert report.state == "broken"
    assert {"log.split-view", "log.rewritten"} <= rules(report)
    assert positions(report, "log.rewritten") == [9]


def test_two_histories_shown_to_two_readers_are_named(attacked: Attacked, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(attacked.folder / "log.key", other / "log.key")
    named = {"key": other / "log.key", "origin": ORIGIN, "checkpoints": [other / "outside"], "now": NOW}
    with AuditLog.open(other / "audit.db", **named) as log:  # type: ignore[arg-type]  # a table of keyword arguments
        log.append("model.signed", "spam", {}, actor="mallory", now=NOW)
    report = check_log(attacked.database, key_string=attacked.key_string, outside=[attacked.outside, other / "outside"])
    assert report.state == "broken"
    assert "log.split-view" in rules(report)


def test_another_log_in_its_place_is_broken_for_who_remembers_the_key(attacked: Attacked) -> None:
    for path in (attacked.database, attacked.folder / "log.key"):
        path.unlink()
    with attacked.log(checkpoints=[], key=attacked.folder / "new.key") as log:
        log.append("model.signed", "spam", {}, actor="mallory", now=NOW)
    assert attacked.check(witnessed=False).state == "broken"
    assert attacked.check().state == "broken"


def damage_header(path: Path) -> None:
    path.write_bytes(b"no database" + path.read_bytes()[11:])


def damage_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 : len(data) : 512] = b"\xff" * len(data[4096 : len(data) : 512])
    path.write_bytes(data)


def cut_in_half(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize("damage", [damage_header, damage_middle, cut_in_half, Path.unlink])
def test_a_corrupt_or_missing_database_is_a_finding(attacked: Attacked, damage: Callable[[Path], None]) -> None:
    damage(attacked.database)
    report = attacked.check()
    assert report.state == "broken"
    assert "log.unreadable" in rules(report)


def test_an_index_that_hides_an_entry_is_found(attacked: Attacked) -> None:
    # What selects by kind reads the index: an entry missing there is never seen by whoever opens incidents.
    attacked.sql(
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = replace(sql, '(kind)', '(subject)') WHERE name = 'ix_entries_kind'",
    )
    report = attacked.check()
    assert (report.state, rules(report)) == ("broken", {"log.unreadable"})


HOSTILE_TYPES = [
    "UPDATE entries SET body = 'text' WHERE position = 1",
    "UPDATE entries SET body = 17 WHERE position = 2",
    "UPDATE entries SET body = CAST('[[' AS BLOB) WHERE position = 3",
    "UPDATE entries SET kind = 5, time = x'ff' WHERE position = 4",
    "UPDATE nodes SET hash = 'text' WHERE place = 1",
    "UPDATE nodes SET level = 'text' WHERE place = 2 AND level = 0",
    "UPDATE nodes SET level = 4611686018427387904 WHERE place = 3 AND level = 0",
    "UPDATE checkpoints SET note = x'ff00' WHERE size = 1",
    "UPDATE checkpoints SET note = 3 WHERE size = 2",
    "UPDATE checkpoints SET size = -4 WHERE size = 3",
]


def test_values_of_any_type_end_in_findings(attacked: Attacked) -> None:
    attacked.sql(*HOSTILE_TYPES)
    report = attacked.check()
    assert report.state == "broken"
    assert {1, 2, 3, 4} <= set(positions(report, "log.edited"))


def test_a_flood_of_findings_is_counted_not_listed(attacked: Attacked) -> None:
    with attacked.log() as log:
        for number in range(40):
            log.append("model.signed", "spam", {"number": SIZE + number}, actor="anna", now=NOW)
    attacked.sql(f"UPDATE entries SET body = CAST({ANNA_TO_MALLORY} AS BLOB)")
    report = attacked.check()
    edited = [finding for finding in report.findings if finding.rule == "log.edited"]
    assert len(edited) == 21
    assert edited[-1].numbers == {"count": 30}


def test_the_report_is_printed_with_documented_keys(attacked: Attacked) -> None:
    assert attacked.check().as_json().keys() == {"state", "size", "root", "witnessed", "findings"}


def test_a_malformed_key_string_is_our_error(attacked: Attacked) -> None:
    with pytest.raises(KeyFileError):
        check_log(attacked.database, key_string="none", outside=[])


def test_a_copy_outside_that_cannot_be_read_is_said(attacked: Attacked) -> None:
    kept = folder_of(attacked.outside, ORIGIN)
    (kept / "latest").unlink()
    (kept / "latest").mkdir()
    report = attacked.check()
    assert (report.state, report.witnessed) == ("sound", SIZE)
    assert "latest cannot be read" in report.findings[0].detail


def test_a_folder_outside_that_cannot_be_listed_is_said(attacked: Attacked, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Path) -> NoReturn:
        raise PermissionError(13, "Permission denied")  # root may list anything, so the answer is given here

    monkeypatch.setattr(Path, "iterdir", refused)
    report = attacked.check()
    assert report.state == "unwitnessed"
    assert any("Permission denied" in finding.detail for finding in report.findings)


def test_a_folder_outside_that_is_not_there_witnesses_nothing(attacked: Attacked) -> None:
    report = check_log(attacked.database, key_string=attacked.key_string, outside=[attacked.folder / "none"])
    assert (report.state, report.witnessed) == ("unwitnessed", 0)


def test_a_log_that_was_never_begun_is_not_broken(attacked: Attacked) -> None:
    attacked.database.unlink()
    with pytest.raises(StorageError, match="there is no database"):
        attacked.check(witnessed=False)


def test_a_log_without_entries_is_unwitnessed(tmp_path: Path) -> None:
    named = {"key": tmp_path / "log.key", "origin": ORIGIN, "checkpoints": [], "now": NOW}
    with AuditLog.open(tmp_path / "audit.db", **named) as log:  # type: ignore[arg-type]  # a table of keyword arguments
        report = check_log(tmp_path / "audit.db", key_string=log.key_string, outside=[])
    assert (report.state, report.size) == ("unwitnessed", 0)


def test_a_locked_database_is_neither_sound_nor_broken(attacked: Attacked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_S", 0.05)
    connection = sqlite3.connect(attacked.database)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageError, match="locked"):
        attacked.check()
    connection.close()


def test_copies_made_anew_say_from_where_on_they_vouch(attacked: Attacked) -> None:
    shutil.copy(attacked.database, attacked.folder / "last week.db")
    with attacked.log() as log:
        log.append("approval.rejected", "spam", {"reason": "poisoned"}, actor="anna", now=NOW)
    shutil.rmtree(attacked.outside)
    for stale in attacked.folder.glob("audit.db-*"):
        stale.unlink()
    shutil.copy(attacked.folder / "last week.db", attacked.database)
    assert attacked.check().state == "unwitnessed"
    with attacked.log() as log:
        log.append("model.deployed", "spam", {}, actor="mallory", now=NOW)
    report = attacked.check()
    assert report.state == "sound"
    assert [(one.rule, one.numbers) for one in report.findings] == [("log.witnessed-late", {"size": SIZE + 1})]
