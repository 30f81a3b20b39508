"""Evidence of an incident in one zip that anybody can verify offline.

Its files are named, by digest, in ``manifest.json``; the digest of that goes into the log as the
entry ``incident.exported``; and the log's checkpoint, taken after it, is in the zip with a proof for
every entry. So one signature vouches for all of it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import zipfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files as package_files
from pathlib import Path

from assay.audit.entry import Logged
from assay.audit.log import AuditLog
from assay.errors import IncidentError, LogError, StorageError
from assay.incidents.desk import Desk, Shown
from assay.incidents.offline import FORMAT, HOSTILE, check_signature
from assay.signing.statement import Envelope
from assay.signing.trust import TrustStore
from assay.storage.clock import utc_text

HISTORY = (  # what happened to the model besides: how it came to be live
    "model.signed",
    "model.verified",
    "model.deployed",
    "model.rolled-back",
    "release.requested",
    "approval.given",
    "approval.rejected",
    "gate.admitted",
    "gate.refused",
    "gate.unknown",
    "diagnosis.made",
    "baseline.learned",
    "baseline.reviewed",
)
MOST = 2_000  # entries in one bundle: the first and the last half of what an incident was fed from
_DATE = (1980, 1, 1, 0, 0, 0)  # the zip's own times say nothing


@dataclass(frozen=True, slots=True)
class Exported:
    """A written bundle.

    Attributes:
        path: The zip.
        manifest: Digest of its manifest.json, as the log has it.
        position: Log position of the export.
        key_string: Public key to verify it with; give it to the reader by another way than the zip.
    """

    path: Path
    manifest: str
    position: int
    key_string: str


def export(
    desk: Desk,
    log: AuditLog,
    incident: int,
    path: Path,
    *,
    statements: Collection[Envelope],
    trust: TrustStore,
    actor: str,
    now: datetime,
) -> Exported:
    """Write the evidence of an incident; the export itself is an entry of the log and a step of the incident.

    Args:
        desk: Where the incident is.
        log: The audit log it was opened from.
        incident: Its number.
        path: The zip to write; replaced as a whole when it is there.
        statements: Signed statements about the model: validation, approvals, gate.
        trust: Whose keys they are signed with.
        actor: Who exports.
        now: The time.

    Raises:
        IncidentError: There is no such incident.
        LogError: The log is damaged; nothing was exported.
        StorageError: The zip cannot be written.
    """
    shown = desk.show(incident)
    found, left_out = _entries(log, shown)
    sealed = {
        "incident.json": _json({**shown.as_json(), "entries_left_out": left_out}),
        "trust.json": trust.to_json().encode(),
        "verify.py": package_files("assay.incidents").joinpath("offline.py").read_bytes(),
        "README.txt": _readme(log).encode(),
        **{_place(envelope, trust): envelope.to_json().encode() for envelope in statements},
        **{_name(logged): logged.entry.canonical() for logged in found},
    }
    digests = {name: hashlib.sha256(body).hexdigest() for name, body in sorted(sealed.items())}
    manifest = _json(
        {"format": FORMAT, "origin": log.origin, "incident": incident, "created": utc_text(now), "files": digests}
    )
    digest = hashlib.sha256(manifest).hexdigest()
    position = desk.exported(incident, manifest=digest, actor=actor, now=now)
    proved = [*found, *log.entries(position - 1, limit=1)]
    note = log.checkpoint()
    if note is None:
        raise LogError("the log has no checkpoint, so nothing can be proved: run assay log verify")
    size = int(note.split("\n")[1])
    proofs = [log.inclusion(logged.position, size).as_json() for logged in proved]
    unsealed = {
        "manifest.json": manifest,
        "checkpoint.txt": note.encode(),
        "proofs.json": _json(proofs),
        _name(proved[-1]): proved[-1].entry.canonical(),
    }
    _write(path, {**sealed, **unsealed})
    return Exported(path, digest, position, log.key_string)


def _place(envelope: Envelope, trust: TrustStore) -> str:
    """Where a statement lies: one that no trusted key signed is evidence too, but nobody's word.

    The examiner of the bundle decides by the same rule, so it is asked here.
    """
    keys = {key.key_id: key.as_json() for key in trust.keys}
    try:
        check_signature(json.loads(envelope.to_json()), keys)
    except HOSTILE:
        return f"unvouched/{envelope.digest}.json"
    return f"statements/{envelope.digest}.json"


def _entries(log: AuditLog, shown: Shown) -> tuple[list[Logged], int]:
    """The entries that caused and record the incident, and the model's history; how many were left out."""
    wanted = {*shown.positions, *(step.entry for step in shown.steps if step.entry is not None)}
    wanted |= {logged.position for logged in log.entries(kinds=HISTORY, subject=shown.incident.model)}
    ordered = sorted(wanted)
    kept = ordered if len(ordered) <= MOST else ordered[: MOST // 2] + ordered[-MOST // 2 :]
    found = [logged for position in kept for logged in log.entries(position - 1, limit=1)]
    if [logged.position for logged in found] != kept:
        raise IncidentError(
            f"entries that incident {shown.incident.id} was opened from are gone from the log: run assay log verify"
        )
    return found, len(ordered) - len(kept)


def _name(logged: Logged) -> str:
    return f"entries/{logged.position:08d}.json"


def _json(value: object) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=1) + "\n").encode()


def _readme(log: AuditLog) -> str:
    return (
        "Evidence of an incident, from assay.\n\n"
        "Verify it with your own copy of verify.py (Python 3.11, package cryptography):\n\n"
        "    python verify.py THIS.zip --key KEY\n\n"
        f"KEY is the public key string of the log {log.origin}. Get it from the operator by another way than this\n"
        "zip: whoever could edit the zip could edit a key in it. --trust names your own copy of the trust store.\n"
    )


def _write(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write the zip under another name and put it in place when it is whole."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in sorted(contents.items()):
            member = zipfile.ZipInfo(name, _DATE)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o644 << 16
            archive.writestr(member, body)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("xb") as handle:
            handle.write(buffer.getvalue())
            handle.flush()
            os.fsync(handle.fileno())
        unfinished.replace(path)
    except OSError as err:
        with suppress(OSError):  # the same trouble may keep it from being removed
            unfinished.unlink(missing_ok=True)
        raise StorageError(f"the evidence cannot be written to {path}: {err.strerror or err}") from err
