"""Where the change lies when a container can no longer be read: its signed tensors, at their signed places. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from assay.artifacts.digest import Pass
from assay.artifacts.manifest import FileDigest, Manifest, TensorDigest


def unreadable(signed: Manifest, found: Manifest) -> tuple[str, ...]:
    """The files whose bytes were changed so that none of their signed tensors can be found."""
    return tuple(
        file.name
        for file in signed.files
        if file.name in signed.by_file
        and file.name not in found.by_file
        and file.name in found.by_name
        and _only_changed(file, found.by_name[file.name])
    )


def at_signed_places(signed: Manifest, found: Manifest, read: Callable[[str], Iterable[memoryview]]) -> Manifest:
    """What was found, and for each :func:`unreadable` container what now lies where the signed tensors lay.

    One flipped bit in a header or in packed bytes makes a container unreadable as a whole. Its size
    tells that nothing was moved, so the tensors are still where they were signed. This only names
    what differs: the file is refused for its own digests.

    Args:
        signed: The manifest from the signature.
        found: The manifest as measured.
        read: The bytes of a file by name, in order.
    """
    tensors = [
        tensor
        for name in unreadable(signed, found)
        for tensor in _there(tuple(signed.by_file[name].values()), read(name))
    ]
    return replace(found, tensors=(*found.tensors, *tensors))


def _only_changed(signed: FileDigest, have: FileDigest) -> bool:
    """Whether a file has its signed size and other bytes."""
    digests = ((signed.sha256, have.sha256), (signed.blake3, have.blake3))
    return signed.size == have.size and any(want != one for want, one in digests if want and one)


def _there(wanted: tuple[TensorDigest, ...], pieces: Iterable[memoryview]) -> list[TensorDigest]:
    ordered = sorted(wanted, key=lambda tensor: (tensor.start, tensor.end))
    run = Pass([(tensor.start, tensor.end) for tensor in ordered], wanted="blake3")
    for piece in pieces:
        run.update(piece)
    return [
        replace(tensor, blake3=digest, content="")
        for tensor, digest in zip(ordered, run.parts(), strict=True)
        if digest
    ]
