"""How a signature lists bytes when not by SHA-256 or BLAKE3 of whole files: BLAKE2b, and shards. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from assay.errors import ArtifactError

# OMS v1.0, algorithm registry: hexadecimal digits of a digest.
ALGORITHMS: Mapping[str, int] = MappingProxyType({"sha256": 64, "blake2b": 128, "blake3": 64})
DEFAULT_SHARD_BYTES = 1_000_000_000  # OMS v1.0, 6.3.2
_HEX = re.compile(r"[0-9a-f]+\Z")


@dataclass(frozen=True, slots=True)
class Listing:
    """Which digests a signature lists.

    Attributes:
        algorithm: ``sha256``, ``blake2b`` or ``blake3``.
        shard_size: Bytes per listed range, the last of a file may be shorter; 0 when files are listed whole.
    """

    algorithm: str = "sha256"
    shard_size: int = 0

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise ArtifactError(f"found digests by {self.algorithm[:40]!r}, wanted one of {', '.join(ALGORITHMS)}")
        if not 0 <= self.shard_size < 2**53:
            raise ArtifactError(f"found shards of {self.shard_size} bytes, wanted at least one byte")

    @property
    def usual(self) -> bool:
        """Whether measuring gives these digests anyway: SHA-256 or BLAKE3 of each whole file."""
        return not self.shard_size and self.algorithm != "blake2b"


@dataclass(frozen=True, slots=True)
class Listed:
    """The digests of one file, as a signature lists them.

    Attributes:
        listing: Which digests these are.
        digests: One of the whole file, or one of each shard in order; none of an empty file in shards.
    """

    listing: Listing
    digests: tuple[str, ...]

    def __post_init__(self) -> None:
        length = ALGORITHMS[self.listing.algorithm]
        if not all(len(digest) == length and _HEX.match(digest) for digest in self.digests):
            raise ArtifactError(f"a digest is not {length} lower-case hexadecimal digits ({self.listing.algorithm})")
        if not self.listing.shard_size and len(self.digests) != 1:
            raise ArtifactError("a file that is listed whole has exactly one digest")

    def differing(self, other: Listed, size: int) -> tuple[tuple[int, int], ...]:
        """The byte ranges whose digests differ, as (first byte, one past the last).

        Args:
            other: Of the same listing.
            size: Bytes of the file; ends the last range.
        """
        step = self.listing.shard_size or size
        count = max(len(self.digests), len(other.digests))
        return tuple(
            (position * step, min((position + 1) * step, size))
            for position in range(count)
            if self.digests[position : position + 1] != other.digests[position : position + 1]
        )
