"""Verify a model against its signature. It returns verified bytes or raises; it never answers yes or no."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from assay.artifacts.compare import compare
from assay.artifacts.manifest import Manifest
from assay.artifacts.measure import measure
from assay.artifacts.names import shown
from assay.artifacts.snapshot import Snapshot
from assay.errors import ArtifactError, AssayError, BundleError, VerificationError
from assay.findings import Finding, Severity
from assay.signing import bundle as bundles
from assay.signing.bundle import About, Bundle
from assay.signing.sign import Log, default_signature
from assay.signing.signers import SignerRule
from assay.signing.store import read_bounded
from assay.storage.clock import from_text

if TYPE_CHECKING:
    from assay.frameworks.base import Predictor

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


@dataclass(frozen=True, slots=True)
class _Case:
    """One verification: what is looked at, and who hears of a refusal."""

    path: Path
    signature: Path
    name: str | None
    ignore: tuple[Path | str, ...]
    now: datetime
    log: Log | None
    on_refusal: Callable[[VerificationError], None] | None

    def refuse(
        self, findings: Sequence[Finding], *, name: str, kind: type[VerificationError] = VerificationError
    ) -> VerificationError:
        """Make the error with every reason, tell the log and the caller, and give it back to be raised."""
        details = [finding.detail for finding in findings]
        more = f"; and {len(details) - _SHOWN} more" if len(details) > _SHOWN else ""
        message = f"{shown(str(self.path))} is refused: {'; '.join(details[:_SHOWN])}{more}"
        every = list(findings)
        if self.log is not None:
            data: dict[str, object] = {
                "path": shown(str(self.path)),
                "signature": shown(str(self.signature)),
                "reasons": len(every),
                "findings": [finding.as_json() for finding in every[:_LOGGED]],
            }
            try:
                self.log.append("verify.refused", name, data, actor="verify", now=self.now)
            except AssayError as err:  # a log that cannot be written must not turn a refusal into something else
                detail = f"this refusal could not be logged: {err.message}"
                every.append(Finding("audit.not-logged", name, Severity.CRITICAL, detail))
        error = kind(message, every)
        if self.on_refusal is not None:
            self.on_refusal(error)
        return error


class VerifiedModel:
    """A model whose bytes and signer were checked. Made by :func:`verify` only; the only thing that loads.

    Attributes:
        manifest: The signed manifest.
        root: Root digest of the files as they are here.
        about: Name, version, expiry and companion statements; None when the signature says none.
        signer: Who signed, as the trust store or certificate names them.
        key_id: Hex SHA-256 of the signer's public PEM text; "" when nobody checked.
    """

    def __init__(self, case: _Case, bundle: Bundle, passed: _Passed, snapshot: Snapshot | None) -> None:
        self._case = case
        self._snapshot = snapshot
        self.manifest = passed.claim
        self.root = passed.root
        self.about: About | None = bundle.about
        self.signer = passed.identity
        self.key_id = passed.key_id
        self._warnings = list(passed.warnings)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is worth knowing though it is no reason to refuse."""
        return tuple(self._warnings)

    def load(self, framework: str) -> Predictor:
        """Open the verified bytes; never the files on disk, which somebody could have swapped by now.

        Args:
            framework: A plug of ``frameworks/``, or ``package.module:function``.

        Raises:
            VerificationError: The model was not held and its files have changed since.
            LoadError: The framework cannot open these bytes.
        """
        from assay.frameworks.shelf import find

        return find(framework).open(self._held())

    def _held(self) -> Snapshot:
        if self._snapshot is not None:
            return self._snapshot
        with ExitStack() as undo:
            snapshot = undo.enter_context(_snapshot(self._case, self.manifest.ignore))
            # Only the bytes can have changed since: the signed manifest is in memory.
            differences = compare(self.manifest, snapshot.manifest())
            if differences:
                raise self._case.refuse(differences, name=_name(self.about, self.manifest))
            undo.pop_all()
        if not snapshot.sealed:
            detail = "this kernel has no sealed memory: the copy that is loaded lies in a private folder"
            self._warnings.append(Finding("load.unsealed", self.manifest.name, Severity.WARNING, detail))
        self._snapshot = snapshot
        return snapshot

    def close(self) -> None:
        """Let go of the held bytes; a loaded model that maps them must not be used afterwards."""
        if self._snapshot is not None:
            self._snapshot.close()
            self._snapshot = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _Passed:
    claim: Manifest
    root: str
    identity: str
    key_id: str
    warnings: tuple[Finding, ...]


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
    case = _Case(path, place, name, tuple(ignore), now, log, on_refusal)
    bundle = _read(case)
    with ExitStack() as undo:
        snapshot = undo.enter_context(_snapshot(case, bundle.claim.ignore)) if hold else None
        found = _measured(case, bundle) if snapshot is None else snapshot.manifest()
        model = VerifiedModel(case, bundle, _judge(case, bundle, found, signers, versions), snapshot)
        undo.pop_all()
    return model


def _judge(
    case: _Case, bundle: Bundle, found: Manifest, signers: SignerRule, versions: VersionMemory | None
) -> _Passed:
    """Gather every reason before refusing: who mends one must not find the next only afterwards."""
    findings: list[Finding] = []
    identity, key_id, warnings = "", "", _remarks(bundle)
    try:
        who = signers.check(bundle, case.now)
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
        raise case.refuse(findings, name=_name(bundle.about, claim))
    if versions is not None and bundle.about is not None:
        versions.remember(bundle.about.name, bundle.about.version, found.root, case.now)
    return _Passed(claim, found.root, identity, key_id, tuple(warnings))


def _read(case: _Case) -> Bundle:
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


def _measured(case: _Case, bundle: Bundle) -> Manifest:
    with _refusing(case):
        return measure(case.path, ignore=(*case.ignore, *bundle.claim.ignore), signature=case.signature, collect=True)


def _snapshot(case: _Case, ignore: tuple[str, ...]) -> Snapshot:
    with _refusing(case):
        return Snapshot.of(case.path, ignore=(*case.ignore, *ignore), signature=case.signature)


@contextmanager
def _refusing(case: _Case) -> Iterator[None]:
    """Turn what is wrong with the files into a refusal; a path that leads nowhere stays the caller's error."""
    try:
        yield
    except ArtifactError as err:
        if not err.findings:
            raise
        raise case.refuse(err.findings, name=shown(case.path.name)) from err


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
    found = _name(bundle.about, bundle.claim)
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
    seen = versions.seen(_name(about, bundle.claim))
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


def _name(about: About | None, claim: Manifest) -> str:
    return shown(claim.name) if about is None else about.name


def _against(rule: str, bundle: Bundle, detail: str) -> Finding:
    return Finding(rule, _name(bundle.about, bundle.claim), Severity.CRITICAL, detail)
