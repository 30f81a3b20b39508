"""Verify a model against its signature. It returns verified bytes or raises; it never answers yes or no."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from assay.artifacts.compare import compare
from assay.artifacts.manifest import Manifest
from assay.artifacts.measure import measure
from assay.artifacts.names import shown
from assay.errors import ArtifactError, BundleError, VerificationError
from assay.findings import Finding, Severity
from assay.signing import bundle as bundles
from assay.signing.bundle import Bundle
from assay.signing.moment import Moment
from assay.signing.sign import Log, default_signature
from assay.signing.signers import SignerRule
from assay.signing.store import read_bounded
from assay.signing.verified import Case, Passed, VerifiedModel, name_of, refusing, take_snapshot
from assay.storage.clock import from_text

_SHOWN = 5  # reasons in the message; all are in ``findings``
_LOGGED = 50  # reasons in the log entry


class VersionMemory(Protocol):
    """What was verified here before; ``assay.signing.store.StoredVersions`` keeps it in the database."""

    def seen(self, name: str) -> tuple[int, str] | None:
        """Return the newest version of a signed name and its root digest, or None."""
        ...

    def remember(self, name: str, version: int, root: str, now: datetime) -> None:
        """Note a version that was verified."""
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
    hold: bool = False,
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
        hold: Take a sealed copy of the files first and verify that, so that ``load`` opens it
            without reading the disk again.

    Returns:
        The verified model; close it when it was held or loaded.

    Raises:
        VerificationError: Every changed, missing and extra file and tensor, and every reason against
            the signature, is in ``findings``. BundleError when the signature is malformed.
        ArtifactError: There is no such model.
    """
    place = default_signature(path) if signature is None else signature
    case = Case(path, place, name, tuple(ignore), now, log, on_refusal)
    bundle = _read(case)
    with ExitStack() as undo:
        snapshot = undo.enter_context(take_snapshot(case, bundle.claim.ignore)) if hold else None
        found = _measured(case, bundle) if snapshot is None else snapshot.manifest()
        model = VerifiedModel(case, bundle, _judge(case, bundle, found, signers, versions), snapshot)
        undo.pop_all()
    return model


def _judge(case: Case, bundle: Bundle, found: Manifest, signers: SignerRule, versions: VersionMemory | None) -> Passed:
    """Gather every reason before refusing: who mends one must not find the next only afterwards."""
    findings: list[Finding] = []
    identity, key_id, warnings = "", "", _remarks(bundle)
    try:
        who = signers.check(bundle, Moment(case.now))
        identity, key_id = who.identity, who.key_id
        warnings += who.findings
    except VerificationError as err:
        findings += err.findings or (_against("signature.refused", bundle, err.message),)
    claim, mismatch = _claim_for(bundle, found)
    findings += [*mismatch, *compare(claim, found), *_misnamed(bundle, case.name), *_expiry(bundle, case.now)]
    if versions is not None:
        against, remarks = _rollback(bundle, versions, found.root)
        findings += against
        warnings += remarks
    if findings:
        raise case.refuse(findings, name=name_of(bundle.about, claim))
    if versions is not None and bundle.about is not None:
        versions.remember(bundle.about.name, bundle.about.version, found.root, case.now)
    return Passed(claim, found.root, identity, key_id, tuple(warnings))


def _read(case: Case) -> Bundle:
    name = shown(case.path.name)
    try:
        return bundles.parse(read_bounded(case.signature))
    except OSError as err:
        if not case.path.exists():
            raise ArtifactError(f"{shown(str(case.path))}: there is no such model; check the path") from err
        detail = f"the signature {shown(str(case.signature))} cannot be read ({err.strerror or err})"
        raise case.refuse([Finding("signature.missing", name, Severity.CRITICAL, detail)], name=name) from err
    except BundleError as err:
        raise case.refuse(err.findings, name=name, kind=BundleError) from err


def _measured(case: Case, bundle: Bundle) -> Manifest:
    with refusing(case):
        return measure(case.path, ignore=(*case.ignore, *bundle.claim.ignore), signature=case.signature, collect=True)


def _claim_for(bundle: Bundle, found: Manifest) -> tuple[Manifest, list[Finding]]:
    """The signed manifest with the name of a single file filled in, which its signature leaves open."""
    if not bundle.single:
        return bundle.claim, []
    if [file.name for file in found.files] != [found.name]:
        detail = "the signature is of a single file, but a folder was found"
        return bundle.claim, [_against("signature.single-file", bundle, detail)]
    (file,), name = bundle.claim.files, found.name
    tensors = tuple(replace(tensor, file=name) for tensor in bundle.claim.tensors)
    return replace(bundle.claim, files=(replace(file, name=name),), tensors=tensors), []


def _remarks(bundle: Bundle) -> list[Finding]:
    if bundle.algorithm == "sha256":
        return []
    detail = "the signature lists BLAKE3 digests only; SHA-256 was not checked because none was signed"
    return [Finding("signature.blake3-only", bundle.claim.name, Severity.WARNING, detail)]


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


def _rollback(bundle: Bundle, versions: VersionMemory, root: str) -> tuple[list[Finding], list[Finding]]:
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
    return [_against("signature.rollback", bundle, detail)], []


def _against(rule: str, bundle: Bundle, detail: str) -> Finding:
    return Finding(rule, name_of(bundle.about, bundle.claim), Severity.CRITICAL, detail)
