"""Digests of bytes: SHA-256 and BLAKE3 of the whole, BLAKE3 of each part, in one pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from blake3 import blake3

CHUNK_BYTES = 1024 * 1024

# Which digests of whole files are made. Parts are hashed with ``both`` only.
Wanted = Literal["both", "sha256", "blake3"]


@dataclass(frozen=True, slots=True)
class Digests:
    """Two digests of the same bytes; one that was not asked for is empty.

    Attributes:
        sha256: SHA-256, 64 lower-case hexadecimal digits.
        blake3: BLAKE3 with 256 bits of output, 64 lower-case hexadecimal digits.
    """

    sha256: str
    blake3: str


class Pass:
    """One pass over the bytes of a file, in order.

    Args:
        ranges: (start, end) of each part in bytes, sorted. They may overlap; equal ones are hashed once.
        wanted: Which digests of the whole are made.
        threads: How many threads BLAKE3 of the whole may use.
    """

    def __init__(self, ranges: Sequence[tuple[int, int]] = (), *, wanted: Wanted = "both", threads: int = 1) -> None:
        self._sha256 = hashlib.sha256() if wanted != "blake3" else None
        self._blake3 = blake3(max_threads=threads) if wanted != "sha256" else None
        self._ranges = ranges
        self._waiting = iter(dict.fromkeys(ranges))
        self._next = next(self._waiting, None)
        self._running: list[tuple[int, int, blake3]] = []
        self._parts: dict[tuple[int, int], str] = {}
        self.size = 0

    def update(self, chunk: memoryview | bytes) -> None:
        """Take the next bytes."""
        chunk = memoryview(chunk)
        if self._sha256 is not None:
            self._sha256.update(chunk)
        if self._blake3 is not None:
            self._blake3.update(chunk)
        begin, self.size = self.size, self.size + chunk.nbytes
        running, self._running = self._running, []
        for start, end, run in running:
            self._part(start, end, run, chunk, begin)
        while self._next is not None and self._next[0] <= self.size:
            self._part(*self._next, blake3(), chunk, begin)
            self._next = next(self._waiting, None)

    def _part(self, start: int, end: int, run: blake3, chunk: memoryview, begin: int) -> None:
        run.update(chunk[max(start - begin, 0) : end - begin])
        if end > self.size:
            self._running.append((start, end, run))
        else:
            self._parts[start, end] = run.hexdigest()

    def digests(self) -> Digests:
        """The digests of everything taken so far."""
        return Digests(
            "" if self._sha256 is None else self._sha256.hexdigest(),
            "" if self._blake3 is None else self._blake3.hexdigest(),
        )

    def parts(self) -> tuple[str, ...]:
        """The BLAKE3 digest of each part in the order of the ranges; empty for one that is not complete."""
        return tuple(self._parts.get(place, "") for place in self._ranges)


def chunks(view: memoryview) -> Iterator[memoryview]:
    """The bytes in pieces that fit a processor's cache, so that both hashes read them once from memory."""
    for start in range(0, view.nbytes, CHUNK_BYTES):
        yield view[start : start + CHUNK_BYTES]


def digest(data: bytes | memoryview, wanted: Wanted = "both") -> Digests:
    """The digests of bytes in memory, as :class:`Pass` gives them."""
    return Digests(
        "" if wanted == "blake3" else hashlib.sha256(data).hexdigest(),
        "" if wanted == "sha256" else blake3(data).hexdigest(),
    )
