"""Digests of bytes: SHA-256 and BLAKE3 of the whole, BLAKE3 of each part, in one pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from blake3 import blake3

CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Digests:
    """Two digests of the same bytes.

    Attributes:
        sha256: SHA-256, 64 lower-case hexadecimal digits.
        blake3: BLAKE3 with 256 bits of output, 64 lower-case hexadecimal digits.
    """

    sha256: str
    blake3: str


class Pass:
    """One pass over the bytes of a file, in order.

    Args:
        ranges: (start, end) of each part in bytes, sorted, none overlapping.
    """

    def __init__(self, ranges: Sequence[tuple[int, int]] = ()) -> None:
        self._sha256 = hashlib.sha256()
        self._blake3 = blake3()
        self._ranges = ranges
        self._parts: list[str] = []
        self._part = blake3()
        self.size = 0

    def update(self, chunk: memoryview) -> None:
        """Take the next bytes."""
        self._sha256.update(chunk)
        self._blake3.update(chunk)
        begin, self.size = self.size, self.size + chunk.nbytes
        while len(self._parts) < len(self._ranges):
            start, end = self._ranges[len(self._parts)]
            if start > self.size:
                break
            self._part.update(chunk[max(start - begin, 0) : max(end - begin, 0)])
            if end > self.size:
                break
            self._parts.append(self._part.hexdigest())
            self._part = blake3()

    def digests(self) -> Digests:
        """The digests of everything taken so far."""
        return Digests(self._sha256.hexdigest(), self._blake3.hexdigest())

    def parts(self) -> tuple[str, ...]:
        """The BLAKE3 digest of each part that is complete, in the order of the ranges."""
        return tuple(self._parts)


def chunks(view: memoryview) -> Iterator[memoryview]:
    """The bytes in pieces that fit a processor's cache, so that both hashes read them once from memory."""
    for start in range(0, view.nbytes, CHUNK_BYTES):
        yield view[start : start + CHUNK_BYTES]


def digest(data: bytes | memoryview) -> Digests:
    """Both digests of bytes in memory."""
    run = Pass()
    for chunk in chunks(memoryview(data)):
        run.update(chunk)
    return run.digests()
