"""Scanning a model of the project: its verified bytes looked through, the result logged, dated and signed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version as installed_version

from assay.artifacts.scan.opinion import Opinion, ask, disagreements
from assay.artifacts.scan.scan import Scan, against_signed, put_together, with_findings
from assay.artifacts.scan.verdicts import RULES_VERSION, rules_digest
from assay.artifacts.snapshot import Snapshot
from assay.formats.base import Content, ViewContent
from assay.keys.base import Signer
from assay.project import checks, integrity
from assay.project.project import Project
from assay.release.store import save_statement
from assay.signing.sign import default_signature
from assay.signing.statement import SCAN, Statement, Subject, seal
from assay.signing.vouched import Vouched, read_vouched
from assay.storage.clock import utc_text

RESULTS = {"pass": "PASSED", "fail": "FAILED", "unknown": "WARNED"}
FINDINGS_KEPT = 100


@dataclass(frozen=True, slots=True)
class Scanned:
    """A scan of a model of the project.

    Attributes:
        scan: What was found in the verified bytes.
        root: Their root digest.
        statement: Digest of the signed statement; None when no key was given.
        opinions: What picklescan said, when it was asked.
    """

    scan: Scan
    root: str
    statement: str | None
    opinions: tuple[Opinion, ...] = ()


def scan_model(
    project: Project, name: str, *, signer: Signer | None, now: datetime, second_opinion: bool = False
) -> Scanned:
    """Scan exactly the bytes that verify, so that what is said is said of what would be loaded.

    Args:
        project: Whose model.
        name: Which.
        signer: Signs the statement that the gate counts; without one it counts nothing.
        now: The present.
        second_opinion: Ask picklescan as well.

    Raises:
        VerificationError: The bytes are not as signed.
    """
    path = project.config.model(name).path
    with checks.attempted(project.state, name, "scan", now):
        with integrity.verify_model(project, name, now=now, hold=True) as verified:
            root, held = verified.root, verified.files()
            found = put_together(name, _contents(held))
            opinions = tuple(ask(file, content) for file, content in _contents(held)) if second_opinion else ()
        vouched = read_vouched(default_signature(path), integrity.signers(project, name), now)
    found = held_against(found, vouched)
    found = with_findings(found, disagreements(found, opinions))
    statement = None
    if signer is not None:
        envelope = seal(scan_statement(found, root, now), signer)
        save_statement(project.state, envelope, model=name, kind="scan", root=root, created=now)
        statement = envelope.digest
    _record(project, name, found, root, statement=statement, now=now)
    return Scanned(found, root, statement, opinions)


def held_against(found: Scan, vouched: Vouched) -> Scan:
    """Hold a scan against the signed globals, where the signature says any."""
    return against_signed(found, vouched.globals, vouched.signer) if vouched.said else found


def scan_statement(found: Scan, root: str, created: datetime) -> Statement:
    """The scan as a statement to sign, in the words of an in-toto test result.

    It has a type of its own: a validation that passed must never be taken for a scan that did.
    """
    serious = sorted({finding.rule for finding in found.findings})
    predicate: dict[str, object] = {
        "result": RESULTS[found.outcome],
        "created": utc_text(created),
        "configuration": [{"name": f"assay-scan-rules/{RULES_VERSION}", "digest": {"sha256": rules_digest()}}],
        "scanner": {"name": "assay", "version": installed_version("assay")},
        "files": len(found.files),
        "rules": serious,
        "findings": [finding.as_json() for finding in found.findings[:FINDINGS_KEPT]],
    }
    return Statement((Subject("model", {"sha256": root}),), SCAN, predicate)


def _contents(held: Snapshot) -> Iterator[tuple[str, Content]]:
    return ((name, ViewContent(held.view(name))) for name in held.names())


def _record(project: Project, name: str, found: Scan, root: str, *, statement: str | None, now: datetime) -> None:
    outcome = found.outcome
    serious = [finding for finding in found.findings if finding.severity.rank > 1]
    detail = f"{len(found.files)} files, {len(serious)} serious findings"
    if serious:
        detail += f": {serious[0].detail}"
    data: dict[str, object] = {
        "root": root,
        "statement": statement,
        "rules": rules_digest(),
        "detail": detail,
        "findings": [finding.as_json() for finding in found.findings[:FINDINGS_KEPT]],
    }
    kind = {"pass": "scan.passed", "fail": "scan.failed", "unknown": "scan.unknown"}[outcome]
    position = project.log.append(kind, name, data, actor=project.actor, now=now)
    body: dict[str, object] = {"root": root, "files": len(found.files), "statement": statement}
    checks.record(project.state, name, "scan", outcome=outcome, detail=detail, now=now, body=body, position=position)
