from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.audit.merkle import (
    Continuation,
    Node,
    Proof,
    consistency_ranges,
    cover,
    fold,
    grow,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    prove,
)
from assay.errors import VerificationError

BODIES = [str(number).encode() for number in range(70)]


def naive_root(bodies: list[bytes]) -> bytes:
    """RFC 6962 2.1, word by word."""
    if not bodies:
        return hashlib.sha256().digest()
    if len(bodies) == 1:
        return leaf_hash(bodies[0])
    split = 1
    while split * 2 < len(bodies):
        split *= 2
    return node_hash(naive_root(bodies[:split]), naive_root(bodies[split:]))


def grown(sizes: list[int]) -> tuple[dict[Node, bytes], list[bytes]]:
    nodes: dict[Node, bytes] = {}
    peaks: list[bytes] = []
    done = 0
    for size in sizes:
        made, peaks = grow(done, peaks, map(leaf_hash, BODIES[done : done + size]))
        assert not made.keys() & nodes.keys()  # a stored node never changes
        nodes |= made
        done += size
    return nodes, peaks


@pytest.mark.parametrize("size", range(70))
def test_the_folded_cover_is_the_root(size: int) -> None:
    nodes, peaks = grown([size])
    assert peaks == [nodes[node] for node in cover(0, size)]
    assert fold(peaks) == naive_root(BODIES[:size])


@given(st.lists(st.integers(0, 9), max_size=7))
def test_the_tree_does_not_depend_on_how_entries_were_grouped(sizes: list[int]) -> None:
    assert grown(sizes) == grown([sum(sizes)])


@given(st.data())
def test_every_proof_verifies(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 69))
    old = data.draw(st.integers(1, new))
    position = data.draw(st.integers(0, new - 1))
    nodes, _ = grown([69])
    root, old_root = naive_root(BODIES[:new]), naive_root(BODIES[:old])
    path = prove(inclusion_ranges(position, new), nodes)
    Proof(position, new, path).verify(BODIES[position], root)
    Continuation(old, new, prove(consistency_ranges(old, new), nodes)).verify(old_root, root)
    assert len(path) <= (new - 1).bit_length()


@pytest.mark.parametrize(("position", "size"), [(0, 0), (3, 3), (-1, 3)])
def test_no_proof_is_made_for_an_entry_that_is_not_there(position: int, size: int) -> None:
    with pytest.raises(ValueError, match="not in a log"):
        inclusion_ranges(position, size)


@pytest.mark.parametrize(("old", "new"), [(0, 3), (4, 3), (-1, 3)])
def test_no_proof_is_made_between_sizes_that_do_not_follow(old: int, new: int) -> None:
    with pytest.raises(ValueError, match="no proof"):
        consistency_ranges(old, new)


def test_a_node_cannot_pose_as_a_leaf() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)


def test_proofs_are_printed_in_hexadecimal() -> None:
    assert Proof(1, 2, (b"\x01\xff",)).as_json() == {"position": 1, "size": 2, "path": ["01ff"]}
    assert Continuation(1, 2, (b"\x01\xff",)).as_json() == {"old": 1, "new": 2, "path": ["01ff"]}


def test_a_consistency_proof_without_hashes_is_refused() -> None:
    root = naive_root(BODIES[:3])
    with pytest.raises(VerificationError, match="too short"):
        Continuation(3, 5, ()).verify(root, naive_root(BODIES[:5]))
