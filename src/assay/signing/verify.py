"""Verify a model against its signature. It returns verified bytes or raises; it never answers yes or no."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from assay.artifacts.compare import compare
from assay.artifacts.hashing import Report
from assay.artifacts.manifest import Manifest
from assay.artifacts.names import shown
from assay.artifacts.reading import covered
from assay.errors import ArtifactError, BundleError, VerificationError
from assay.findings import Finding, Severity
from assay.signing import measuring
from assay.signing.bundle import Bundle
from assay.signing.moment import Moment
from assay.signing.reading import parse
from assay.signing.sign import Log, default_signature
from assay.signing.signers import SignerRule, signatory
from assay.signing.store import read_bounded
from assay.signing.verified import Case, Passed, VerifiedModel, name_of, payload_digest, take_snapshot
from assay.storage.clock import from_text

if TYPE_CHECKING:
    from assay.signing.timestamp import TimestampAuthorities

_SHOWN = 5  # reasons in the message; all are in ``findings``
_LOGGED = 50  # reasons in the log entry


class VersionMemory(Protocol):
    """What was verified here before; ``assay.signing.store.StoredVersions`` keeps it in the database."""

    def seen(self, name: str) -> tuple[int, str] | None:
        """Return the newest version of a signed name and its root digest, or None."""
        ...

    def allows(self, name: str, seen: tuple[int, str], to: tuple[int, str], now: datetime) -> bool:
        """Return whether a rollback on record allows this step, from the newest version seen to a lower one.

        Raises:
            VerificationError: One is there and does not count; with its reasons.
        """
        ...

    def remember(self, name: str, version: int, root: str, now: datetime) -> None:
        """Note a version that was verified; a lower one than the newest seen was allowed before."""
        ...


def verify(
    path: Path,
    *,
    signature: Path | None = None,
    signers: SignerRule,
    name: str | None = None,
    ignore: Sequence[Path | str] = (),
    now: datetime,
    log: Log | None = None,
    on_refusal: Callable[[VerificationError], None] | None = None,
    versions: VersionMemory | None = None,
    authorities: TimestampAuthorities | None = None,
    hold: bool = False,
    defer: bool = False,
    digests: Literal["fast", "both"] = "fast",
    known: Collection[str] | None = None,
    report: Report | None = None,
) -> VerifiedModel:
    """Check that a model's files are those that the right person signed.

    Args:
        path: A folder or a single file.
        signature: ``PATH/model.sig``, or ``PATH.sig`` for a single file, unless said otherwise.
        signers: Whose signature counts; from ``assay.signing.signers``.
        name: The signed name the model must have; without it another model of the same signer passes.
        ignore: Left out beside what the signature itself leaves out.
        now: The moment that keys, certificates and expiry are judged at, timezone-aware.
        log: Gets an entry ``verify.refused`` with every reason when the model is refused.
        on_refusal: Called with the error before it is raised.
        versions: What was seen here before; without it an older version is not noticed.
        authorities: Whose timestamps count, and then keys and certificates are judged at the time they say;
            without any all is judged now.
        hold: Take a sealed copy of the files first and verify that, so that ``load`` opens it
            without reading the disk again.
        defer: Leave the signed tensors of safetensors files to ``load("safetensors")``, which checks
            each one when it reads it, so that nothing is read twice; all else is checked now. Until
            then ``root`` is what was signed, not what is there, and a finding says so.
        digests: With ``fast``, BLAKE3 of each file is enough where the signature lists it, which is
            several times as fast; ``both`` also checks SHA-256 and each tensor, so that a signer cannot
            have signed two contents at once. A copy that is held is always checked with both.
            ``checked`` of the answer says which it was.
        known: The ``payload`` of each signature whose bytes were once checked with both here. Any other
            is checked with both, whatever ``digests`` says; None where nobody remembers.
        report: Called with the number of bytes hashed since the last call, from any thread.

    Returns:
        The verified model; close it when it was held or loaded.

    Raises:
        VerificationError: Every changed, missing and extra file and tensor, and every reason against
            the signature, is in ``findings``. BundleError when the signature is malformed.
        ArtifactError: There is no such model.
    """
    if hold and defer:
        raise ValueError("hold reads everything now, defer reads the tensors later: choose one")
    place = default_signature(path) if signature is None else signature
    case = Case(path, place, name, tuple(ignore), now, log, on_refusal)
    bundle = _read(case)
    thorough = digests == "both" or (known is not None and payload_digest(bundle) not in known)
    with ExitStack() as undo:
        snapshot = undo.enter_context(take_snapshot(case, bundle.claim.ignore)) if hold else None
        if snapshot is not None:
            found = snapshot.manifest()
        elif defer and not thorough:
            found = measuring.all_but_tensors(case, bundle)
        else:
            found = measuring.measured(case, bundle, thorough=thorough, report=report)
        found = measuring.relisted(case, bundle, found, snapshot, thorough=thorough or hold)
        found = measuring.located(case, bundle, found, snapshot)
        passed = _judge(case, bundle, found, signers, versions=versions, authorities=authorities)
        if defer and not thorough:
            passed = replace(passed, checked="blake3", warnings=(*passed.warnings, *_deferred(passed.claim)))
        model = VerifiedModel(case, bundle, passed, snapshot)
        undo.pop_all()
    return model


def _judge(
    case: Case,
    bundle: Bundle,
    found: Manifest,
    signers: SignerRule,
    *,
    versions: VersionMemory | None,
    authorities: TimestampAuthorities | None,
) -> Passed:
    """Gather every reason before refusing: who mends one must not find the next only afterwards."""
    findings: list[Finding] = []
    identity, key_id, warnings = "", "", _remarks(bundle)
    when = Moment(case.now)
    if bundle.timestamps:
        from assay.signing.timestamp import judge  # X.509 takes as long to import as all the rest

        stamped = judge(bundle, authorities, case.now)
        when, findings, warnings = stamped.moment, [*stamped.against], [*warnings, *stamped.remarks]
    try:
        who = signatory(signers, bundle, when)
        identity, key_id = who.identity, who.key_id
        warnings += [finding for one in who.each() for finding in one.findings]
    except VerificationError as err:
        findings += err.findings or (_against("signature.refused", bundle, err.message),)
    claim, mismatch = measuring.claim_for(bundle, found)
    # Where these two differ the files do too, and are refused. BLAKE3 alone gives another root than the signed one.
    root = measuring.root(claim) if claim.listing is None or measuring.whole(claim) else found.root
    findings += [*mismatch, *compare(claim, found), *_misnamed(bundle, case.name), *_expiry(bundle, case.now)]
    if versions is not None:
        against, remarks = _rollback(bundle, versions, root, case.now)
        findings += against
        warnings += remarks
    if findings:
        raise case.refuse(findings, name=name_of(bundle.about, claim))
    if versions is not None and bundle.about is not None:
        versions.remember(bundle.about.name, bundle.about.version, root, case.now)
    checked = measuring.checked(claim, found)
    return Passed(measuring.completed(claim, found), root, identity, key_id, checked, tuple(warnings))


def _read(case: Case) -> Bundle:
    name = shown(case.path.name)
    try:
        return parse(read_bounded(case.signature))
    except OSError as err:
        if not case.path.exists():
            raise ArtifactError(f"{shown(str(case.path))}: there is no such model; check the path") from err
        detail = f"the signature {shown(str(case.signature))} cannot be read ({err.strerror or err})"
        raise case.refuse([Finding("signature.missing", name, Severity.CRITICAL, detail)], name=name) from err
    except BundleError as err:
        raise case.refuse(err.findings, name=name, kind=BundleError) from err


def _remarks(bundle: Bundle) -> list[Finding]:
    remarks = [("signature.old-release", remark) for remark in bundle.remarks]
    if bundle.algorithm == "blake3" and not all(file.sha256 for file in bundle.claim.files):
        detail = "the signature lists BLAKE3 digests only; SHA-256 was not checked because none was signed"
        remarks.append(("signature.blake3-only", detail))
    return [Finding(rule, bundle.claim.name, Severity.WARNING, detail) for rule, detail in remarks]


def _deferred(claim: Manifest) -> list[Finding]:
    files = covered(claim)
    if not files:
        return []
    detail = f"the tensors of {len(files)} safetensors files are checked when they are loaded, not before"
    return [Finding("verify.deferred", shown(claim.name), Severity.INFO, detail)]


def _misnamed(bundle: Bundle, wanted: str | None) -> list[Finding]:
    found = name_of(bundle.about, bundle.claim)
    if wanted is None or found == wanted:
        return []
    return [_against("signature.other-model", bundle, f"this is the signature of {found}, wanted that of {wanted}")]


def _expiry(bundle: Bundle, now: datetime) -> list[Finding]:
    about = bundle.about
    if about is None or about.expires is None or now < from_text(about.expires):
        return []
    detail = f"the signature of {about.name} version {about.version} expired on {about.expires}; sign it again"
    return [_against("signature.expired", bundle, detail)]


def _rollback(bundle: Bundle, versions: VersionMemory, root: str, now: datetime) -> tuple[list[Finding], list[Finding]]:
    """Reasons against, and remarks: whether something newer was verified here before."""
    about = bundle.about
    seen = versions.seen(name_of(about, bundle.claim))
    if about is None:
        # Taking the version away would otherwise be the way round this check.
        detail = "the signature names no version, so an older model put back would not be noticed"
        if seen is None:
            return [], [Finding("signature.unversioned", bundle.claim.name, Severity.WARNING, detail)]
        detail = f"the signature names no version, but version {seen[0]} of this name was verified here before"
        return [_against("signature.rollback", bundle, detail)], []
    if seen is None or about.version > seen[0] or (about.version, root) == seen:
        return [], []
    if about.version == seen[0]:
        detail = f"version {about.version} of {about.name} was verified here before with other bytes"
        return [_against("signature.version-reused", bundle, detail)], []
    detail = f"version {about.version} of {about.name} is older than version {seen[0]}, verified here before"
    against = _against("signature.rollback", bundle, detail)
    try:
        allowed = versions.allows(about.name, seen, (about.version, root), now)
    except VerificationError as err:
        return [against, *err.findings], []
    remark = replace(against, rule="signature.rolled-back", severity=Severity.WARNING)
    return ([], [replace(remark, detail=f"{detail}; a signed rollback allows it")]) if allowed else ([against], [])


def _against(rule: str, bundle: Bundle, detail: str) -> Finding:
    return Finding(rule, name_of(bundle.about, bundle.claim), Severity.CRITICAL, detail)
