"""Find out whether somebody rewrote the log: believe the entries' bytes and the signatures, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import TextClause, text

from assay.audit import outside as kept_outside
from assay.audit.checkpoint import NoteVerifier
from assay.audit.examine import Copy, Stored, examine
from assay.audit.merkle import leaf_hash
from assay.errors import StorageError
from assay.findings import Finding, Severity
from assay.storage.database import file_damage, open_audit, reading

State = Literal["sound", "broken", "unwitnessed"]


@dataclass(frozen=True, slots=True)
class LogReport:
    """What an examination of the log found.

    Attributes:
        state: ``sound``; ``broken`` when a finding is an error; ``unwitnessed`` when nothing is wrong, but no
            checkpoint outside the database says how long the log was, so truncation cannot be excluded.
        size: Entries in the database.
        root: RFC 6962 root recomputed from their bytes, in hexadecimal.
        witnessed: Entries that the newest checkpoint outside commits to; 0 without one.
        findings: Every reason, worst first.
    """

    state: State
    size: int
    root: str
    witnessed: int
    findings: tuple[Finding, ...]

    def as_json(self) -> dict[str, object]:
        """The report as ``assay log verify --json`` prints it."""
        return {
            "state": self.state,
            "size": self.size,
            "root": self.root,
            "witnessed": self.witnessed,
            "findings": [finding.as_json() for finding in self.findings],
        }


def check_log(database: str | Path, *, key_string: str, outside: Sequence[Path]) -> LogReport:
    """Recompute the whole log and compare it with what was signed; nothing is written.

    Args:
        database: SQLite file or PostgreSQL URL.
        key_string: Public key of the log, remembered apart from the database.
        outside: Folders of ``[log] checkpoints``, or single checkpoint files that somebody kept. Empty: the best
            that can be said is ``unwitnessed``.

    Returns:
        The report; a corrupt database, or a missing one that has copies, is a finding of it.

    Raises:
        KeyFileError: The key string is malformed.
        StorageError: The database is locked, may not be read, or there never was one.
    """
    verifier = NoteVerifier.parse(key_string)
    copies, unread = _copies(outside, verifier.name)
    try:
        stored = _stored(database)
    except StorageError as err:
        rules = {finding.rule for finding in err.findings}
        lost = "storage.missing" in rules and copies  # a log that was never begun is not broken
        if not lost and not rules & {"storage.corrupt", "storage.disk"}:
            raise
        gone = Finding("log.unreadable", "log", Severity.CRITICAL, err.message)
        return LogReport("broken", 0, "", 0, (gone, *unread))
    found = examine(stored, copies, verifier)
    findings = sorted((*found.findings, *unread), key=lambda finding: -finding.severity.rank)
    return LogReport(_state(findings, found.witnessed), found.size, found.root.hex(), found.witnessed, tuple(findings))


def _state(findings: Sequence[Finding], witnessed: int) -> State:
    if any(finding.severity.rank >= Severity.ERROR.rank for finding in findings):
        return "broken"
    return "sound" if witnessed else "unwitnessed"


def _copies(places: Sequence[Path], origin: str) -> tuple[list[Copy], list[Finding]]:
    found: list[Copy] = []
    unread: list[Finding] = []
    for place in places:
        try:
            paths = kept_outside.files(place, origin)
        except OSError as err:
            unread.append(_unread(place, err))
            continue
        for path in paths:
            try:
                found.append(Copy(str(path), kept_outside.read(path), None))
            except OSError as err:
                unread.append(_unread(path, err))
    return found, unread


def _unread(path: Path, err: OSError) -> Finding:
    why = f"the checkpoint copy {path} cannot be read: {err.strerror or err}"
    return Finding("log.unwitnessed", str(path), Severity.WARNING, why)


def _stored(database: str | Path) -> Stored:
    engine = open_audit(database, read_only=True)
    try:
        with reading(engine) as connection:
            stored = Stored()
            # An index that lies would hide entries from those who read by kind, though the table is whole.
            stored.damage.extend(file_damage(connection))
            # Plain SQL: somebody else wrote these rows, and SQLite keeps any type in any column.
            for position, *columns, found in connection.execute(_sql("position, kind, subject, time, body", "entries")):
                body = _bytes(found)
                stored.leaves[int(position)] = leaf_hash(body)
                stored.file(int(position), body, columns)
            for level, place, digest in connection.execute(_sql("level, place, hash", "nodes")):
                if isinstance(level, int) and isinstance(place, int):
                    stored.nodes[level, place] = _bytes(digest)
                else:
                    stored.damage.append("a stored hash has a level or place that is no number")
            for size, note in connection.execute(_sql("size, note", "checkpoints")):
                stored.checkpoints.append(Copy("the database", str(note), int(size)))
            return stored
    finally:
        engine.dispose()


def _sql(columns: str, table: str) -> TextClause:
    return text(f"SELECT {columns} FROM {table} ORDER BY 1")


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes | memoryview):
        return bytes(value)
    return value.encode(errors="replace") if isinstance(value, str) else b""
