"""Bytes: signing a model of the project, verifying it, and its known-good copies apart from production."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from assay.artifacts.hashing import Report
from assay.artifacts.listing import Listing
from assay.artifacts.measure import measure
from assay.errors import AssayError, LogError, PolicyTamperedError, StorageError, VerificationError
from assay.findings import Finding, Severity
from assay.keys.base import Signer
from assay.project import checks
from assay.project.apart import held, keep_apart, place_of
from assay.project.config import ModelConfig
from assay.project.data import sign_lineage
from assay.project.people import must_count, signing_identities
from assay.project.project import Project
from assay.project.refusals import told, untold
from assay.project.stamping import authorities, stamper
from assay.project.versions import LoggedVersions, never_signed
from assay.release.store import live_at
from assay.signing.about import About
from assay.signing.bundle import Bundle
from assay.signing.moment import Moment
from assay.signing.reading import parse
from assay.signing.sign import Signed, default_signature
from assay.signing.sign import sign as sign_path
from assay.signing.signers import Signatory, SignedBy, SignerRule
from assay.signing.store import read_bounded
from assay.signing.verified import VerifiedModel
from assay.signing.verify import verify as verify_path
from assay.storage.clock import utc_text
from assay.storage.objects import Objects

if TYPE_CHECKING:
    from assay.diagnosis.case import ByteFacts


def sign_model(
    project: Project,
    name: str,
    signer: Signer,
    *,
    now: datetime,
    expires: datetime | None = None,
    ignore: Sequence[Path] = (),
    signature: Path | None = None,
    timestamp_url: str | None = None,
    listing: Listing | None = None,
    second: Objects | None = None,
    report: Report | None = None,
) -> tuple[Signed, dict[str, object]]:
    """Sign a model, bind its lineage statement, keep known-good copies, and log all of it.

    ``listing`` and ``report`` are as for :func:`~assay.signing.sign.sign`; ``second`` is the second store, in
    place of that of assay.toml.

    Returns:
        What was signed, and what else was made, by name, for the person who asked.

    Raises:
        ConfigError: There is no such model.
        VerificationError: The key's signature would not count for this model; nothing was changed.
        ArtifactError: Its files cannot be read or must not be signed.
        StorageError: The copy could not be written.
    """
    model = project.config.model(name)
    second = second or place_of(project, name, now=now)
    if second is not None:
        second.ready()  # a place that cannot be reached is told before anything is signed
    must_count(project, name, signer.key_id, now=now)  # else a good signature would be replaced by one that is refused
    stamp = stamper(timestamp_url or project.config.timestamp_url, authorities(project.config), now)
    memory = LoggedVersions(project)
    former = memory.seen(name)
    statements, extra = sign_lineage(project, name, signer, now=now, ignore=ignore, signature=signature)
    about = About(
        name=name,
        version=memory.highest(name) + 1,
        created=utc_text(now),
        expires=utc_text(expires) if expires else None,
        previous_root=former[1] if former else None,
        statements=statements,
    )
    signed = sign_path(
        model.path,
        signer,
        signature=signature,
        ignore=ignore,
        about=about,
        listing=listing,
        stamp=stamp,
        log=project.log,
        actor=project.actor,
        report=report,
        now=now,
    )
    copy = _keep(project, name, signed, about.version, now)
    memory.remember(name, about.version, signed.manifest.root, now)
    apart = keep_apart(project, name, signed, second, now=now)
    return signed, {"version": about.version, **extra, "known_good": str(copy), **apart}


def _keep(project: Project, name: str, signed: Signed, version: int, now: datetime) -> Path:
    """Copy the signed files apart from production, and verify the copy: a bad copy is no known-good one."""
    model = project.config.model(name)
    target = copy_folder(project, name, version, signed.manifest.root)
    if not target.exists():
        scratch = target.with_name(target.name + ".tmp")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        for file in signed.manifest.files:
            source = model.path / file.name if model.path.is_dir() else model.path
            (scratch / "files" / file.name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, scratch / "files" / file.name, follow_symlinks=False)
        shutil.copyfile(signed.bundle_path, scratch / "model.sig")
        scratch.rename(target)
    # Others may have to sign it too: their signatures are added to the copy's when they do.
    open_copy(project, name, target, root=signed.manifest.root, now=now, at_least=1).close()
    return target


def copy_folder(project: Project, name: str, version: int, root: str) -> Path:
    """Where the known-good copy of a version lies."""
    return project.places.vault(project.config.model(name)) / f"{version:04d}-{root[:12]}"


def open_copy(
    project: Project, name: str, folder: Path, *, root: str, now: datetime, at_least: int | None = None
) -> VerifiedModel:
    """A known-good copy, verified against the policy like any other model; never opened when it fails.

    Args:
        project: Whose model.
        name: Which.
        folder: Where the copy lies.
        root: Root digest it must have: a copy of another version, however well signed, is not this one.
        now: The present.
        at_least: How many must have signed it, when not as many as the policy says.

    Raises:
        VerificationError: The copy is not what was signed, or is another version.
    """
    path = folder / "files"
    if not is_folder(project.config.model(name), folder):
        path = next(iter(path.iterdir()))
    verified = verify_path(
        path,
        signature=folder / "model.sig",
        signers=signers(project, name, at_least=at_least),
        name=name,
        now=now,
        authorities=authorities(project.config),
        hold=True,
    )
    if verified.root != root:
        verified.close()
        detail = f"the copy {folder} is of {verified.root}, wanted {root}"
        raise VerificationError(detail, [Finding("copy.other-version", name, Severity.CRITICAL, detail)])
    return verified


def is_folder(model: ModelConfig, copy: Path) -> bool:
    """Whether a model is a folder, told from its place or, when nothing is there any more, from a copy of it."""
    if model.path.exists():
        return model.path.is_dir()
    inside = list((copy / "files").iterdir()) if (copy / "files").is_dir() else []
    return [one.name for one in inside] != [model.path.name]


def signers(project: Project, name: str, *, at_least: int | None = None) -> SignedBy:
    """Whose signature counts for a model: the policy's signers, or without a policy anybody in the trust store.

    Args:
        project: Whose model.
        name: Which.
        at_least: How many must have signed, when not as many as the policy says.

    Raises:
        ConfigError: Nobody is trusted.
    """
    policy = project.config.model(name).policy
    wanted = at_least or (policy.signatures if policy else 1)
    return SignedBy(project.trust, signing_identities(project, name), at_least=wanted)


class _NobodyKnown:
    """Stands for the signers when the log that vouches for the trust store cannot be read."""

    def __init__(self, trouble: AssayError) -> None:
        self._trouble = trouble

    def check(self, bundle: Bundle, when: Moment) -> Signatory:
        """Refuse: but all that is wrong with the files is found and told as well."""
        del when
        finding = untold(self._trouble, bundle.key_id)
        raise VerificationError(finding.detail, [finding])


def _rule(project: Project, name: str) -> tuple[SignerRule, AssayError | None]:
    """Whose signature counts; with what is in the way when that cannot be told."""
    try:
        return signers(project, name), None
    except (LogError, PolicyTamperedError, StorageError) as err:
        return _NobodyKnown(err), err


def verify_model(
    project: Project,
    name: str,
    *,
    now: datetime,
    signature: Path | None = None,
    ignore: Sequence[Path] = (),
    hold: bool = False,
    second: Objects | None = None,
    further: Callable[[VerifiedModel], None] | None = None,
    digests: Literal["fast", "both"] = "fast",
    report: Report | None = None,
) -> VerifiedModel:
    """Verify the bytes of a model where they are deployed; the result is logged when refused and dated.

    One that was never signed is refused like any other, but nobody is told of it.

    Args:
        project: Whose model.
        name: Which.
        now: The present.
        signature: Where its signature is; default beside it.
        ignore: Paths that the signature leaves out.
        hold: Keep a sealed copy, to load from.
        second: The second store that its signature must agree with, in place of that of assay.toml.
        further: Raises VerificationError against a model that verifies and is still not the one wanted.
        digests: ``both`` before anything is decided about the model; ``fast`` is enough to see whether bytes that
            were checked with both when last looked at are still the same.
        report: Called with the number of bytes hashed since the last call.

    Raises:
        VerificationError: Any file, tensor, signature or signer is not as signed; with every reason.
    """
    model = project.config.model(name)
    live = live_at(project.state, name, now)
    rule, trouble = _rule(project, name)
    try:
        if live is not None and not model.path.exists():
            detail = f"nothing is at {model.path}, where version {live.version} is recorded as live"
            raise VerificationError(detail, [Finding("artifact.gone", name, Severity.CRITICAL, detail)])
        verify = partial(
            verify_path,
            model.path,
            signature=signature,
            signers=rule,
            name=name,  # another model by the same signer is not this one
            ignore=ignore,
            now=now,
            versions=LoggedVersions(project),
            authorities=authorities(project.config),
            hold=hold,
            digests=digests,
            known=_known(project, name),
            report=report,
        )
        second = second or place_of(project, name, now=now)
        verified = held(project, name, verify, second, signature=signature, further=further)
    except AssayError as err:
        why = told(project, name, err, trouble, elsewhere=live is not None or signature is not None, now=now)
        if why is err:
            raise
        raise why from err
    seen: dict[str, object] = {"root": verified.root, "signer": verified.signer, "files": len(verified.manifest.files)}
    seen |= {"checked": verified.checked, "payload": verified.payload}
    detail, outcome = f"all {len(verified.manifest.files)} files as signed by {verified.signer}", "pass"
    if live is not None and verified.root != live.root:
        outcome = "unknown"
        detail += f", but they are not those of version {live.version}, which is recorded as live: deploy, or roll back"
    checks.record(project.state, name, "bytes", outcome=outcome, detail=detail, now=now, body=seen)
    return verified


def _known(project: Project, name: str) -> tuple[str, ...]:
    """What was signed for the bytes that were found in order when last looked at.

    The first look at them was with both digests; from then on BLAKE3 tells whether they changed. The root
    digest would not do: a signer can put another BLAKE3 digest beside the same SHA-256 ones.
    """
    look = checks.last(project.state, name, {"bytes": timedelta(0)})["bytes"]
    payload = look.body.get("payload")
    return (payload,) if isinstance(payload, str) and look.outcome != "fail" else ()


def byte_facts(project: Project, name: str, *, served_roots: Sequence[str], now: datetime) -> ByteFacts:
    """What digests and signatures say about the deployed bytes, for the diagnosis."""
    from assay.diagnosis.case import ByteFacts  # it brings tables and arrays, which verification does without

    live = live_at(project.state, name, now)
    recorded = live.root if live else None
    if recorded is None and never_signed(project, name):
        return ByteFacts(served_roots=tuple(served_roots))
    try:
        verified = verify_model(project, name, now=now)
    except VerificationError as err:
        if any(finding.rule == "artifact.gone" for finding in err.findings):
            return ByteFacts(recorded_root=recorded, served_roots=tuple(served_roots))
        return ByteFacts(
            recorded_root=recorded,
            live_root=measured_root(project, name),
            live_signed=False,
            served_roots=tuple(served_roots),
            refused=True,
        )
    except AssayError:  # the files cannot be read: said as "missing" by the evidence, never guessed
        return ByteFacts(recorded_root=recorded, served_roots=tuple(served_roots))
    return ByteFacts(
        recorded_root=recorded,
        live_root=verified.root,
        live_signed=True,
        live_signer=verified.signer,
        served_roots=tuple(served_roots),
    )


def measured_root(project: Project, name: str) -> str | None:
    """Root digest of the bytes that lie there, whoever signed them; None when they cannot be read."""
    model = project.config.model(name)
    place = default_signature(model.path)
    try:
        return measure(model.path, ignore=_left_out(place), signature=place).root
    except AssayError:
        return None


def _left_out(signature: Path) -> tuple[str, ...]:
    """What a signature, good or bad, leaves out: without that no root could be compared with a signed one."""
    try:
        return parse(read_bounded(signature)).claim.ignore
    except (AssayError, OSError):
        return ()
