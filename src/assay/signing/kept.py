"""Signature and known-good copy, kept apart from the model: a second store that whoever can write the model cannot.

Whoever can write to a model can also remove its signature, or put another validly signed model there.
A place of its own keeps what was signed; :func:`against` holds the signature in place against it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self, cast

from assay.artifacts.manifest import FileDigest, Manifest
from assay.artifacts.measure import measure
from assay.artifacts.names import shown
from assay.errors import ArtifactError, AssayError, ConfigError, VerificationError
from assay.findings import Finding, Severity
from assay.signing.reading import parse
from assay.signing.record import Wanted, check
from assay.signing.sign import SIGNATURE, Signed, default_signature
from assay.signing.signers import UnsafeTrustAnyone
from assay.signing.store import MAX_BYTES, read_bounded
from assay.signing.verify import verify as verify_path
from assay.storage.objects import FolderObjects, Item, Objects, checked_name, touching

if TYPE_CHECKING:
    from assay.signing.verified import VerifiedModel

_FILES = "files"
_TIME = "%Y%m%dT%H%M%S%fZ"  # sorts as the times do


@dataclass(frozen=True, slots=True)
class Kept:
    """One model version, kept apart.

    Attributes:
        place: Where, as its owner named it.
        entry: Folder of this version in it: ``NAME/TIME-ROOT``.
        signature: The signature's bytes.
    """

    place: str
    entry: str
    signature: bytes

    @property
    def name(self) -> str:
        """The name it is kept under."""
        return self.entry.rpartition("/")[0]


def open_place(word: str, *, now: datetime, passphrase: Callable[[], str]) -> Objects:
    """The place that a person named: a folder, ``s3://BUCKET/PREFIX[?retain=SPAN]`` or ``sealed:FILE``.

    Args:
        word: What they wrote.
        now: When locks of objects put there begin.
        passphrase: Answers with that of a sealed file, if it is one.

    Raises:
        ConfigError: The address is malformed.
    """
    from assay.storage import s3, sealed

    if word.startswith(s3.PREFIX):
        return s3.S3Objects(word, now=now)
    if word.startswith(sealed.PREFIX):
        return sealed.SealedFile(Path(word.removeprefix(sealed.PREFIX)), passphrase)
    if "://" in word:
        raise ConfigError(f"{word}: wanted a folder, s3://BUCKET/PREFIX or sealed:FILE")
    return FolderObjects(Path(word))


def keep(objects: Objects, path: Path, signed: Signed, *, name: str, now: datetime) -> Kept:
    """Put a signature and the files it is of into a place.

    Every file is hashed while it is copied: bytes that are not those signed end the copying. The signature
    goes last, so that half a copy counts as none.

    Raises:
        VerificationError: A file is not as it was signed any more.
        StorageError: The place refuses.
    """
    entry = f"{name}/{now.astimezone(UTC).strftime(_TIME)}-{signed.manifest.root[:16]}"
    items = [
        _item(f"{entry}/{_FILES}/{file.name}", path / file.name if path.is_dir() else path, file)
        for file in signed.manifest.files
    ]
    signature = read_bounded(signed.bundle_path)
    objects.put_all([*items, Item.of(f"{entry}/{SIGNATURE}", signature)])
    return Kept(objects.place, entry, signature)


def latest(objects: Objects, names: Sequence[str]) -> Kept | None:
    """The newest version kept under the first of these names that the place knows; None when it knows none.

    Raises:
        StorageError: The place cannot be read.
    """
    for name in names:
        under = checked_name(name).as_posix()
        entries = [one.removesuffix(f"/{SIGNATURE}") for one in objects.names(under) if _is_signature(one, under)]
        if entries:
            signature = objects.get(f"{max(entries)}/{SIGNATURE}", most_bytes=MAX_BYTES)
            return Kept(objects.place, max(entries), signature)
    return None


def against(objects: Objects, names: Sequence[str], signature: Path) -> list[Finding]:
    """Hold the signature beside a model against the one kept apart; no finding when they are the same bytes.

    Args:
        objects: The place.
        names: What the model may be kept under.
        signature: The one in place.

    Raises:
        StorageError: The place cannot be read.
    """
    found = latest(objects, names)
    if found is None:
        there = ", ".join(sorted({shown(one.partition("/")[0]) for one in objects.names()})) or "nothing"
        detail = f"{objects.place} keeps no signature of {shown(names[0])}; it keeps {there}"
        return [Finding("kept.missing", shown(names[0]), Severity.CRITICAL, detail)]
    with suppress(OSError):
        if read_bounded(signature) == found.signature:
            return []
    was = "is not" if os.path.lexists(signature) else "is gone; it should be"
    detail = (
        f"the signature {shown(str(signature))} {was} the one kept as {shown(found.entry)}: it was exchanged, or the "
        "model was signed again without the second store; "
        f"to look at what was kept: assay restore {shown(found.name)} --second-store {objects.place} --to NEW-FOLDER"
    )
    return [Finding("signature.not-as-kept", shown(found.name), Severity.CRITICAL, detail)]


def verify_held(
    verify: Callable[[], VerifiedModel],
    objects: Objects | None,
    names: Sequence[str],
    signature: Path,
    *,
    further: Callable[[VerifiedModel], None] | None = None,
) -> VerifiedModel:
    """Verify a model, and hold its signature against the one kept apart; every reason of both is given.

    Args:
        verify: The verification.
        objects: The place; None for none.
        names: What the model may be kept under; its signed name is tried last.
        signature: The one in place.
        further: Raises VerificationError against a model that verifies and is still not the one wanted.

    Raises:
        VerificationError: Refused by any of them.
        StorageError: It verifies, but the place cannot be read.
    """
    try:
        model = verify()
    except VerificationError as err:
        if objects is not None:
            err.findings += tuple(_told(objects, names, signature))
        raise
    try:
        _agree(model, objects, names, signature)
        if further is not None:
            further(model)
    except BaseException:
        model.close()
        raise
    return model


def verify_recorded(
    path: Path, wanted: Wanted, *, signature: Path | None = None, ignore: Sequence[Path | str] = ()
) -> Manifest:
    """Hold the bytes of a model against a record alone: whose signature lies beside it, if any, is not asked.

    What that signature leaves out is not left out here, for whoever changed the model could have written it.

    Args:
        path: The model.
        wanted: The record.
        signature: Where its signature is; it is never part of the model.
        ignore: What the record says was left out.

    Raises:
        VerificationError: Other bytes than recorded, or something in the model that no signature covers.
        ArtifactError: There is no such model.
    """
    place = default_signature(path) if signature is None else signature
    try:
        manifest = measure(path, ignore=ignore, signature=place)
    except ArtifactError as err:
        if not err.findings:
            raise
        raise VerificationError(f"{shown(str(path))} is refused: {err.message}", err.findings) from err
    check(wanted, manifest.root, name=manifest.name)
    return manifest


def _told(objects: Objects, names: Sequence[str], signature: Path) -> list[Finding]:
    try:
        return against(objects, names, signature)
    except AssayError as trouble:  # no reason to forget why the model is refused
        return [Finding("kept.unreadable", shown(names[0]), Severity.ERROR, trouble.message)]


def _agree(model: VerifiedModel, objects: Objects | None, names: Sequence[str], signature: Path) -> None:
    if objects is None:
        return
    findings = against(objects, [*names, *([model.about.name] if model.about else [])], signature)
    if findings:
        raise VerificationError("; ".join(one.detail for one in findings), findings)


def restore(objects: Objects, kept: Kept, target: Path, *, now: datetime) -> Path:
    """Write what was kept into a new folder; its files are checked, whose signature it is must be asked afterwards.

    Args:
        objects: The place.
        kept: What to fetch.
        target: The new folder.
        now: The present.

    Returns:
        The model's folder or single file, its signature where ``verify`` looks for it.

    Raises:
        VerificationError: A file is not as signed, missing, or more than was signed; nothing is left behind.
        StorageError: The place cannot be read, or the disk refuses.
    """
    if os.path.lexists(target):
        raise ArtifactError(f"{target} is there already; wanted a new folder to restore into")
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        inside = _fetch(objects, kept, draft)
        try:
            verify_path(draft / inside, signers=UnsafeTrustAnyone(), now=now, digests="both").close()
        except VerificationError as err:
            if any(one.rule != "signature.expired" for one in err.findings):  # an expired copy is a copy
                raise
        with touching(f"the folder {target}"):
            draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target / inside


def _fetch(objects: Objects, kept: Kept, draft: Path) -> str:
    """Copy every file and the signature; gives the file that is the model, or "." where the folder is."""
    bundle = parse(kept.signature)
    sizes = {file.name: file.size for file in bundle.claim.files}
    written, top = FolderObjects(draft), f"{kept.entry}/{_FILES}"
    names = []
    for name, pieces in objects.walk(top):
        names.append(name.removeprefix(f"{top}/"))
        if len(names) > len(sizes):
            raise _odd(kept, f"holds more than the {len(sizes)} files that were signed")
        most = next(iter(sizes.values())) if bundle.single else sizes.get(names[-1])
        written.put_pieces(names[-1], _at_most(pieces, most, kept))
    if len(names) != len(sizes):
        raise _odd(kept, f"holds {len(names)} of the {len(sizes)} files that were signed")
    written.put(f"{names[0]}.sig" if bundle.single else SIGNATURE, kept.signature)
    return names[0] if bundle.single else "."


def _at_most(pieces: Iterator[bytes], most: int | None, kept: Kept) -> Iterator[bytes]:
    """The same pieces; a file longer than was signed ends here, not when the disk is full."""
    count = 0
    for piece in pieces:
        count += len(piece)
        if most is not None and count > most:
            raise _odd(kept, "holds a file that is longer than was signed")
        yield piece


def _odd(kept: Kept, what: str) -> VerificationError:
    detail = f"{shown(kept.entry)} at {kept.place} {what}"
    return VerificationError(detail, [Finding("kept.odd", shown(kept.name), Severity.CRITICAL, detail)])


def _is_signature(name: str, under: str) -> bool:
    """Whether an object is ``NAME/ENTRY/model.sig``, not a file of a model that is called so."""
    return name.endswith(f"/{SIGNATURE}") and name.removeprefix(f"{under}/").count("/") == 1


def _item(name: str, path: Path, file: FileDigest) -> Item:
    def opened() -> BinaryIO:
        # O_NOFOLLOW, O_NONBLOCK: a link or a pipe put in the file's place since is not what was signed.
        with touching(f"the file {shown(str(path))}"):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        return cast("BinaryIO", _Checked(os.fdopen(handle, "rb"), file))

    return Item(name, file.size or 0, opened)


class _Checked:
    """A file that is read once and in order, and must turn out to be the one that was signed.

    The last bytes are given out only when all of them have the signed digest.
    """

    def __init__(self, source: BinaryIO, file: FileDigest) -> None:
        self._source = source
        self._file = file
        self._left = file.size or 0
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._source.read(self._left if size < 0 else min(size, self._left))
        self._digest.update(piece)
        self._left -= len(piece)
        ended = not piece and size != 0
        if (self._left == 0 and self._digest.hexdigest() != self._file.sha256) or (ended and self._left):
            detail = f"{shown(self._file.name)} changed since it was signed: nothing of it was kept"
            raise VerificationError(
                detail, [Finding("kept.changed", shown(self._file.name), Severity.CRITICAL, detail)]
            )
        return piece

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()
