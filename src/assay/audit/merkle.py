"""The Merkle tree of the log: hashes, roots and proofs, without touching anything.

The log stores the hash of every *complete* subtree as a node: ``(level, place)`` covers the leaves
``place * 2**level`` to ``(place + 1) * 2**level``. Such a node never changes once it is there, and
every root and proof is made from O(log n) of them.

References:
    Laurie, B., Langley, A., Kasper, E. (2013). Certificate Transparency. RFC 6962, section 2.1.
    Laurie, B., Messeri, E., Stradling, R. (2021). Certificate Transparency Version 2.0. RFC 9162, section 2.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from assay.errors import VerificationError

Node = tuple[int, int]
"""Level (0 = leaves) and place of a complete subtree."""

EMPTY_ROOT = hashlib.sha256().digest()
"""RFC 6962 2.1: the hash of an empty list is the hash of an empty string."""

HASH_BYTES = 32


def leaf_hash(body: bytes) -> bytes:
    """Return the hash of one leaf: ``SHA-256(0x00 || body)``."""
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees: ``SHA-256(0x01 || left || right)``; a node cannot pose as a leaf."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def cover(start: int, end: int) -> list[Node]:
    """Return the complete subtrees that leaves ``start`` to ``end`` (exclusive) split into, left to right.

    Args:
        start: First leaf; a multiple of the largest power of two up to ``end - start``, as all ranges of proofs are.
        end: One past the last leaf.
    """
    found: list[Node] = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append((level, start >> level))
        start += 1 << level
    return found


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the hash of the range whose :func:`cover` has these hashes; of none, the empty root."""
    if not hashes:
        return EMPTY_ROOT
    result = hashes[-1]
    for left in reversed(hashes[:-1]):
        result = node_hash(left, result)
    return result


def grow(size: int, peaks: Sequence[bytes], leaves: Iterable[bytes]) -> tuple[dict[Node, bytes], list[bytes]]:
    """Append leaves to a tree.

    Args:
        size: Leaves there before.
        peaks: Hashes of ``cover(0, size)``.
        leaves: Leaf hashes to append.

    Returns:
        The new complete nodes, and the hashes of the grown tree's cover.
    """
    stack = [(level, digest) for (level, _), digest in zip(cover(0, size), peaks, strict=True)]
    made: dict[Node, bytes] = {}
    for offset, leaf in enumerate(leaves):
        level, place, digest = 0, size + offset, leaf
        made[level, place] = digest
        while place % 2:
            digest = node_hash(stack.pop()[1], digest)
            level, place = level + 1, place // 2
            made[level, place] = digest
        stack.append((level, digest))
    return made, [digest for _, digest in stack]


def inclusion_ranges(position: int, size: int) -> list[tuple[int, int]]:
    """Return the leaf ranges whose hashes prove that a leaf is in a tree, in the order of RFC 6962 2.1.1.

    Args:
        position: From 0, below ``size``.
        size: Leaves of the tree.
    """
    if not 0 <= position < size:
        raise ValueError(f"position {position} is not in a log of {size} entries")
    ranges: list[tuple[int, int]] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if position < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[tuple[int, int]]:
    """Return the leaf ranges whose hashes prove that one tree continues another, in the order of RFC 6962 2.1.2.

    Args:
        old: Leaves of the earlier tree, at least 1.
        new: Leaves of the later tree, at least ``old``.
    """
    if not 1 <= old <= new:
        raise ValueError(f"no proof leads from a log of {old} entries to one of {new}")
    if old == new:
        return []
    ranges: list[tuple[int, int]] = []
    start, end = 0, new
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start:  # else the old root itself is this range, and the verifier has it
        ranges.append((start, end))
    return ranges[::-1]


def _split(count: int) -> int:
    # RFC 6962 2.1: the largest power of two smaller than n.
    return 1 << ((count - 1).bit_length() - 1)


def prove(ranges: Sequence[tuple[int, int]], nodes: Mapping[Node, bytes]) -> tuple[bytes, ...]:
    """Return a proof's hashes from the stored nodes of all its ranges' covers."""
    return tuple(fold([nodes[node] for node in cover(start, end)]) for start, end in ranges)


def _check_lengths(*hashes: bytes) -> None:
    if any(len(each) != HASH_BYTES for each in hashes):
        raise VerificationError(f"a hash of the proof is not {HASH_BYTES} bytes long")


@dataclass(frozen=True, slots=True)
class Proof:
    """That one entry is in the log of a given size.

    Attributes:
        position: Of the entry, from 0.
        size: Entries of the log it is proved for.
        path: Hashes from the leaf's neighbour up to the root's child.
    """

    position: int
    size: int
    path: tuple[bytes, ...]

    def verify(self, body: bytes, root: bytes) -> None:
        """Return when the entry with these canonical bytes is in the tree with this root.

        Raises:
            VerificationError: It is not, or the proof is malformed.
        """
        self.verify_leaf(leaf_hash(body), root)

    def verify_leaf(self, leaf: bytes, root: bytes) -> None:
        """Return when the entry with this leaf hash is in the tree with this root.

        References:
            RFC 9162, section 2.1.3.2.

        Raises:
            VerificationError: It is not, or the proof is malformed.
        """
        if not 0 <= self.position < self.size:
            raise VerificationError(f"the proof is for entry {self.position} of a log of {self.size}")
        _check_lengths(leaf, root, *self.path)
        node, last, digest = self.position, self.size - 1, leaf
        for step in self.path:
            if last == 0:
                raise VerificationError("the inclusion proof is too long")
            if node % 2 or node == last:
                digest = node_hash(step, digest)
                while node % 2 == 0 and node:
                    node, last = node >> 1, last >> 1
            else:
                digest = node_hash(digest, step)
            node, last = node >> 1, last >> 1
        if last or digest != root:
            raise VerificationError(
                f"entry {self.position} is not in the log with root {root.hex()}: the proof leads to {digest.hex()}"
            )

    def as_json(self) -> dict[str, object]:
        """The proof as evidence bundles carry it; hashes in hexadecimal."""
        return {"position": self.position, "size": self.size, "path": [step.hex() for step in self.path]}


@dataclass(frozen=True, slots=True)
class Continuation:
    """That the log of one size continues the log of an earlier size (a consistency proof).

    Attributes:
        old: Entries of the earlier log.
        new: Entries of the later log.
        path: Hashes as RFC 6962 2.1.2 orders them.
    """

    old: int
    new: int
    path: tuple[bytes, ...]

    def verify(self, old_root: bytes, new_root: bytes) -> None:
        """Return when nothing the earlier tree committed to was changed.

        References:
            RFC 9162, section 2.1.4.2.

        Raises:
            VerificationError: History was rewritten, or the proof is malformed.
        """
        if not 0 <= self.old <= self.new:
            raise VerificationError(f"a log of {self.new} entries cannot continue one of {self.old}")
        if self.old == 0 < self.new:  # every log continues the empty one: such a proof would prove nothing
            raise VerificationError("a proof from the empty log proves nothing")
        _check_lengths(old_root, new_root, *self.path)
        if self.old == self.new:
            if self.path or old_root != new_root or (self.new == 0 and new_root != EMPTY_ROOT):
                raise VerificationError(f"two logs of {self.new} entries differ: {old_root.hex()} and {new_root.hex()}")
            return
        one, other = self._roots(old_root)
        if (one, other) != (old_root, new_root):
            raise VerificationError(
                f"the log of {self.new} entries does not continue the log of {self.old}: history was rewritten"
            )

    def _roots(self, old_root: bytes) -> tuple[bytes, bytes]:
        path = list(self.path)
        if self.old & (self.old - 1) == 0:  # a power of two: the old root is a node of the new tree
            path.insert(0, old_root)
        if not path:
            raise VerificationError("the consistency proof is too short")
        node, last = self.old - 1, self.new - 1
        while node % 2:
            node, last = node >> 1, last >> 1
        one = other = path[0]
        for step in path[1:]:
            if last == 0:
                raise VerificationError("the consistency proof is too long")
            if node % 2 or node == last:
                one, other = node_hash(step, one), node_hash(step, other)
                while node % 2 == 0 and node:
                    node, last = node >> 1, last >> 1
            else:
                other = node_hash(other, step)
            node, last = node >> 1, last >> 1
        if last:
            raise VerificationError("the consistency proof is too short")
        return one, other

    def as_json(self) -> dict[str, object]:
        """The proof as evidence bundles carry it; hashes in hexadecimal."""
        return {"old": self.old, "new": self.new, "path": [step.hex() for step in self.path]}
