"""What one signed statement says about exactly these bytes: the only way a statement becomes evidence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from assay.errors import StorageError, VerificationError
from assay.findings import Finding, Severity
from assay.release.gate import Evidence
from assay.signing.statement import LINEAGE, SCAN, VALIDATION, Envelope, open_envelope
from assay.signing.trust import TrustStore
from assay.storage.clock import from_text

PREDICATES: Mapping[str, str] = {"validation": VALIDATION, "scan": SCAN, "lineage": LINEAGE}
_RESULTS: Mapping[object, Literal["pass", "fail", "insufficient"]] = {
    "PASSED": "pass",
    "WARNED": "insufficient",
    "FAILED": "fail",
}


def examine(envelope: Envelope, *, kind: str, root: str, trust: TrustStore, now: datetime) -> Evidence:
    """Check a statement and say what it says about these bytes.

    The row it is kept in says of which model and kind it is, but whoever can write to the database
    can write any row: only what is signed counts, its subject above all.

    Args:
        envelope: The statement.
        kind: What it is taken for: ``validation``, ``scan`` or ``lineage``.
        root: Root digest of the bytes that would go live, hex.
        trust: Whose keys count.
        now: The time the key must be trusted at.

    Raises:
        VerificationError: It is badly signed, of another kind, or about other bytes. The findings'
            subject is the kind.
    """
    predicate_type = PREDICATES.get(kind)
    if predicate_type is None:
        raise _refusal(kind, "evidence.kind", f"no statement is known that could say {kind}")
    try:
        opened = open_envelope(envelope, trust, predicate_type=predicate_type, now=now)
    except VerificationError as err:
        raise _refusal(kind, "evidence.unverified", f"a {kind} statement does not count: {err.message}") from err
    about = [subject.digest.get("sha256") for subject in opened.statement.subjects]
    if about != [root]:  # a pass of another model, filed under this one
        raise _refusal(kind, "evidence.other-subject", f"a {kind} statement of {opened.identity} is about other bytes")
    said = opened.statement.predicate
    return Evidence(
        kind=kind,
        # Lineage is a record: that it is there and signed is what is wanted. An unknown result is no pass.
        outcome="pass" if kind == "lineage" else _RESULTS.get(_word(said, "result"), "insufficient"),
        identity=opened.identity,
        created=_time(said),
        digest=envelope.digest,
    )


def _word(said: Mapping[str, object], name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""


def _time(said: Mapping[str, object]) -> datetime | None:
    try:
        return from_text(_word(said, "created"))
    except StorageError:
        return None  # undated evidence is never fresh; the gate says so


def _refusal(kind: str, rule: str, detail: str) -> VerificationError:
    return VerificationError(detail, [Finding(rule, kind, Severity.WARNING, detail)])
