"""Sign a model: measure it, say so, write the signature beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from assay.artifacts.hashing import Report
from assay.artifacts.listing import Listing
from assay.artifacts.manifest import Manifest
from assay.artifacts.measure import measure
from assay.artifacts.names import shown
from assay.artifacts.relist import on_disk, relist
from assay.errors import ArtifactError, BundleError
from assay.keys.base import Signer
from assay.signing import bundle, reading
from assay.signing.about import About
from assay.signing.store import read_bounded, write_whole

SIGNATURE = "model.sig"


class Log(Protocol):
    """What is asked of the audit log here; ``assay.audit.log.AuditLog`` is one."""

    def append(
        self, kind: str, subject: str, data: Mapping[str, object], *, actor: str, now: datetime, once: str | None = None
    ) -> int:
        """Add an entry and return its position."""
        ...


@dataclass(frozen=True, slots=True)
class Signed:
    """What was signed.

    Attributes:
        manifest: Every file and tensor.
        bundle_path: Where the signature lies.
        about: Name, version, expiry and companion statements, when given.
    """

    manifest: Manifest
    bundle_path: Path
    about: About | None


def default_signature(path: Path) -> Path:
    """Where the signature of a model lies unless said otherwise: in the folder, or beside the single file."""
    return path / SIGNATURE if path.is_dir() else path.with_name(f"{path.name}.sig")


def sign(
    path: Path,
    signer: Signer,
    *,
    signature: Path | None = None,
    ignore: Sequence[Path | str] = (),
    about: About | None = None,
    certificates: tuple[bytes, ...] = (),
    listing: Listing | None = None,
    callables: Mapping[str, Collection[str]] | None = None,
    stamp: Callable[[bytes], Sequence[bytes]] | None = None,
    log: Log | None = None,
    actor: str = "",
    report: Report | None = None,
    now: datetime,
) -> Signed:
    """Sign a folder or a single file.

    Args:
        path: The model.
        signer: An EC key; also Ed25519 or ML-DSA-65, which model_signing does not read.
        signature: Where the signature goes; ``PATH/model.sig``, or ``PATH.sig`` for a single file.
        ignore: Left out and recorded as left out. A ``str`` is a name relative to the model, a
            ``Path`` a path on disk.
        about: Name, version, expiry, companion statements.
        certificates: DER, the signer's own first, to sign by certificate.
        listing: Which digests to list: shards, BLAKE2b or BLAKE3 instead of SHA-256 of whole files. SHA-256 and
            BLAKE3 of whole files are signed in any case.
        callables: The callables that each file may name, by file, as ``module name``; found by a scan when
            not given.
        stamp: Asks for RFC 3161 tokens over the signature it is given; what it raises leaves all as it was.
        log: Gets an entry ``model.signed`` after the signature is on disk.
        actor: Who signs, for the log; the key when empty.
        report: Called with the number of bytes hashed since the last call, from any thread.
        now: The time of the entry.

    Raises:
        ArtifactError: The model is missing or empty, holds links or odd names, or something that is
            no signature lies where the signature goes.
        KeyFileError: The key is of a kind that signs no models.
        StorageError: The signature cannot be written.
    """
    place = default_signature(path) if signature is None else signature
    _spare(place)
    manifest = measure(path, ignore=ignore, signature=place, report=report)
    if listing is not None and not listing.usual:
        with on_disk(path, ignore=ignore, signature=place) as read:
            manifest = relist(manifest, listing, read)
    if callables is None:
        from assay.artifacts.scan.scan import signed_globals  # verification needs nothing of it

        callables = signed_globals(path, ignore=ignore, signature=place)
    text = bundle.write(
        manifest,
        signer,
        about=about,
        single=not path.is_dir(),
        certificates=certificates,
        listing=listing,
        callables=callables,
        stamp=stamp,
    )
    write_whole(place, text)
    signed = Signed(manifest, place, about)
    if log is not None:
        log.append(*_entry(signed, signer), actor=actor or f"key {signer.key_id[:16]}", now=now)
    return signed


def _entry(signed: Signed, signer: Signer) -> tuple[str, str, dict[str, object]]:
    manifest, about = signed.manifest, signed.about
    data: dict[str, object] = {
        "root": manifest.root,
        "files": len(manifest.files),
        "tensors": len(manifest.tensors),
        "bytes": manifest.size,
        "signature": shown(str(signed.bundle_path)),
        "key_id": signer.key_id,
        "version": None if about is None else about.version,
    }
    return "model.signed", shown(manifest.name) if about is None else about.name, data


def _spare(place: Path) -> None:
    """Refuse to overwrite what is no signature: it would be lost, and left out of what is signed."""
    if not place.exists():
        return
    try:
        reading.parse(read_bounded(place))
    except (BundleError, OSError) as err:
        raise ArtifactError(f"{place} is there and is no signature of ours to replace; choose another place") from err
