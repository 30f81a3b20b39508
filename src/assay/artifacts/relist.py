"""Give a measured model the digests that a signature lists when they are not those measured anyway."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from blake3 import blake3

from assay.artifacts.digest import CHUNK_BYTES
from assay.artifacts.files import Tree
from assay.artifacts.listing import Listed, Listing
from assay.artifacts.manifest import FileDigest, Manifest
from assay.artifacts.names import shown
from assay.errors import ArtifactError
from assay.findings import Finding, Severity

Reader = Callable[[str], Iterator[memoryview]]


class _Hash(Protocol):
    def update(self, data: memoryview, /) -> object: ...
    def hexdigest(self) -> str: ...


_HASHES: Mapping[str, Callable[[], _Hash]] = {"sha256": hashlib.sha256, "blake2b": hashlib.blake2b, "blake3": blake3}


def relist(found: Manifest, listing: Listing, read: Reader, *, at_most: Mapping[str, int] | None = None) -> Manifest:
    """Read the files again for the digests of a listing.

    What is read is held against the digest that ``found`` already has: bytes that changed in between
    give a finding ``artifact.unstable``, never digests of two contents.

    Args:
        found: As measured.
        listing: The digests wanted.
        read: Gives the bytes of a file in order, in pieces.
        at_most: How many digests were signed, by name; one more is made of a longer file, to tell it from
            what was signed. Files that are not in it are not read. Without it all are listed to their end.

    Returns:
        The same manifest with ``FileDigest.listed`` filled in.
    """
    files: list[FileDigest] = []
    findings: list[Finding] = []
    for file in found.files:
        if at_most is not None and file.name not in at_most:
            files.append(file)
            continue
        try:
            files.append(_listed(file, listing, read, None if at_most is None else at_most[file.name]))
        except ArtifactError as err:
            files.append(file)
            findings += err.findings
    return replace(found, files=tuple(files), findings=(*found.findings, *findings))


@contextmanager
def on_disk(path: Path, *, ignore: Sequence[Path | str] = (), signature: Path | None = None) -> Iterator[Reader]:
    """Read the files of a model where they lie.

    Args:
        path: A folder, or a single file.
        ignore: As for :func:`~assay.artifacts.measure.measure`.
        signature: The signature's path, left out when it lies in the model.

    Raises:
        ArtifactError: The model is missing or empty.
    """
    with Tree.of(path, ignore=ignore, signature=signature) as tree:

        def read(name: str) -> Iterator[memoryview]:
            descriptor = tree.open(name)
            buffer = memoryview(bytearray(CHUNK_BYTES))
            at = 0
            try:
                while count := os.preadv(descriptor, [buffer], at):
                    at += count
                    yield buffer[:count]
            except OSError as err:
                raise _trouble("unreadable", name, f"cannot be read: {err.strerror or err}") from err
            finally:
                os.close(descriptor)

        yield read


def _listed(file: FileDigest, listing: Listing, read: Reader, at_most: int | None) -> FileDigest:
    run = _Run(listing, at_most)
    whole: _Hash = blake3() if file.blake3 else hashlib.sha256()
    for chunk in read(file.name):
        whole.update(chunk)
        run.update(chunk)
    if whole.hexdigest() != (file.blake3 or file.sha256):
        raise _trouble("unstable", file.name, "changed while it was being read")
    return replace(file, listed=Listed(listing, run.digests()))


class _Run:
    """Digests of consecutive ranges of one size."""

    def __init__(self, listing: Listing, at_most: int | None) -> None:
        self._new = _HASHES[listing.algorithm]
        self._size = listing.shard_size
        self._at_most = at_most
        self._done: list[str] = []
        self._hash = self._new()
        self._open = not self._size  # whether the current range holds a byte; a whole file may be empty
        self._left = self._size

    def update(self, chunk: memoryview) -> None:
        if not self._size:
            self._hash.update(chunk)
            return
        # More ranges than were signed: the sizes differ, and a range of one byte must not fill the memory.
        while chunk.nbytes and (self._at_most is None or len(self._done) <= self._at_most):
            piece = chunk[: self._left]
            self._hash.update(piece)
            self._left -= piece.nbytes
            self._open = True
            chunk = chunk[piece.nbytes :]
            if not self._left:
                self._finish()

    def digests(self) -> tuple[str, ...]:
        if self._open:
            self._finish()
        return tuple(self._done)

    def _finish(self) -> None:
        self._done.append(self._hash.hexdigest())
        self._hash = self._new()
        self._open, self._left = False, self._size


def _trouble(rule: str, name: str, what: str) -> ArtifactError:
    detail = f"{shown(name)} {what}"
    return ArtifactError(detail, [Finding(f"artifact.{rule}", shown(name), Severity.ERROR, detail)])
