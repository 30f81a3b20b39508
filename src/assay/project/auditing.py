"""The audit log seen from outside: verified, proved, exported, and packed into evidence bundles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from assay.audit.verify import LogReport, check_log
from assay.errors import ConfigError, LogError, StorageError
from assay.incidents.bundle import export
from assay.incidents.rules import reported
from assay.project import checks
from assay.project.project import Project
from assay.release.store import statements as saved


def verify_log(project: Project, *, now: datetime | None = None) -> LogReport:
    """Recompute the whole log and hold it against the checkpoints kept elsewhere.

    Args:
        project: Whose log.
        now: When given, the outcome is remembered and a broken log opens an incident.
    """
    log = project.log
    report = check_log(project.log_database, key_string=log.key_string, outside=project.checkpoint_folders)
    if now is not None:
        outcome = {"sound": "pass", "broken": "fail", "unwitnessed": "unknown"}[report.state]
        detail = "; ".join(finding.detail for finding in report.findings) or f"all {report.size} entries as written"
        body: dict[str, object] = {"size": report.size, "root": report.root}
        checks.record(project.state, checks.WHOLE_PROJECT, "log", outcome=outcome, detail=detail, now=now, body=body)
        if report.state == "broken":
            # The incident is in the database before the log is asked to take its entry, which a broken one refuses.
            with suppress(LogError):
                project.desk.report(reported("audit", log.origin, "log", report.findings), now)
    return report


@dataclass(frozen=True, slots=True)
class EntryProof:
    """One entry with the proof that it is in the log of the newest checkpoint.

    Attributes:
        position: The entry's, from 0.
        size: Entries of the log it is proved for.
        root: Root of that log, hex.
        path: Hashes from the leaf's neighbour up, hex.
        entry: The entry as JSON types.
        checkpoint: The signed note that holds the root; None when there is none of this size.
        key: The key the note verifies with.
    """

    position: int
    size: int
    root: str
    path: tuple[str, ...]
    entry: Mapping[str, object]
    checkpoint: str | None
    key: str

    def as_json(self) -> dict[str, object]:
        """The proof as ``assay log prove --json`` prints it."""
        return asdict(self)


def proof_of(project: Project, position: int) -> EntryProof:
    """Inclusion proof of one entry under the newest checkpoint.

    Raises:
        ConfigError: There is no such entry.
    """
    log = project.log
    size = log.size()
    if not 0 <= position < size:
        raise ConfigError(f"the log has entries 0 to {size - 1}, there is no {position}")
    proof = log.inclusion(position, size)
    entry = next((one.entry for one in log.entries(after=position - 1, limit=1) if one.position == position), None)
    if entry is None:
        raise LogError(f"entry {position} is gone from the log: run assay log verify")
    return EntryProof(
        position=position,
        size=size,
        root=log.root(),
        path=tuple(step.hex() for step in proof.path),
        entry=json.loads(entry.canonical()),
        checkpoint=log.checkpoint(size),
        key=log.key_string,
    )


def export_log(project: Project, file: Path) -> int:
    """Write all entries and the newest checkpoint as JSON lines.

    Returns:
        How many entries were written.

    Raises:
        StorageError: The file cannot be written.
    """
    log = project.log
    found = log.entries()
    lines = [json.dumps({"position": one.position, "entry": json.loads(one.entry.canonical())}) for one in found]
    lines.append(json.dumps({"checkpoint": log.checkpoint(), "key": log.key_string}))
    try:
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as err:
        raise StorageError(f"{file} cannot be written: {err.strerror}") from err
    return len(found)


def export_incident(project: Project, number: int, file: Path, *, now: datetime) -> None:
    """Write the evidence bundle of an incident: a zip that verifies offline.

    Raises:
        IncidentError: There is no such incident.
        StorageError: The file cannot be written, or is there already.
    """
    if file.exists():
        raise StorageError(f"{file} is there already: name a new file")
    found = project.desk.show(number)
    statements = saved(project.state, found.incident.model)
    export(
        project.desk,
        project.log,
        number,
        file,
        statements=statements,
        trust=project.stored_trust,  # evidence is wanted most when the policy was edited
        actor=project.actor,
        now=now,
    )
