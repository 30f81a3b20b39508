"""The audit log seen from outside: verified, proved, exported, and packed into evidence bundles."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from assay.audit.verify import LogReport, check_log
from assay.errors import ConfigError, StorageError
from assay.incidents.bundle import export
from assay.incidents.rules import reported
from assay.project import checks
from assay.project.project import Project


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
        checks.record(
            project.state, checks.WHOLE_PROJECT, "log", outcome=outcome, detail=detail, now=now, body=body
        )
        if report.state == "broken":
            project.desk.report(reported("audit", log.origin, "log", report.findings), now)
    return report


def proof_of(project: Project, position: int) -> dict[str, object]:
    """Inclusion proof of one entry under the newest checkpoint, as JSON types.

    Raises:
        ConfigError: There is no such entry.
    """
    log = project.log
    size = log.size()
    if not 0 <= position < size:
        raise ConfigError(f"the log has entries 0 to {size - 1}, there is no {position}")
    proof = log.inclusion(position, size)
    entry = log.entries(after=position - 1, limit=1)[0].entry
    return {
        "position": position,
        "size": size,
        "root": log.root(),
        "path": [step.hex() for step in proof.path],
        "entry": json.loads(entry.canonical()),
        "checkpoint": log.checkpoint(size),
        "key": log.key_string,
    }


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
    export(project.state, project.log, number, file, actor=project.actor, now=now)
