"""Proofs that fold to the right root and are refused all the same: what the checks before the folding are for."""

from __future__ import annotations

import pytest

from assay.audit.merkle import EMPTY_ROOT, Continuation, Proof, leaf_hash, node_hash
from assay.errors import VerificationError

LEFT, RIGHT = leaf_hash(b"left"), leaf_hash(b"right")
ROOT = node_hash(LEFT, RIGHT)


def test_the_honest_proofs_of_the_bent_ones_below_verify() -> None:
    Proof(0, 2, (RIGHT,)).verify_leaf(LEFT, ROOT)
    Continuation(1, 2, (RIGHT,)).verify(LEFT, ROOT)


@pytest.mark.parametrize("cut", [1, 31, 33, 63])
def test_hashes_cut_elsewhere_fold_to_the_same_root_and_are_refused(cut: int) -> None:
    both = LEFT + RIGHT
    assert node_hash(both[:cut], both[cut:]) == ROOT
    with pytest.raises(VerificationError, match="not 32 bytes"):
        Proof(0, 2, (both[cut:],)).verify_leaf(both[:cut], ROOT)
    with pytest.raises(VerificationError, match="not 32 bytes"):
        Continuation(1, 2, (both[cut:],)).verify(both[:cut], ROOT)


def test_the_second_entry_of_two_cannot_pose_as_the_only_one() -> None:
    with pytest.raises(VerificationError, match="too long"):
        Proof(0, 1, (LEFT,)).verify_leaf(RIGHT, ROOT)


def test_a_proof_that_stops_below_the_root_is_refused() -> None:
    with pytest.raises(VerificationError, match="not in the log"):
        Proof(0, 2, ()).verify_leaf(ROOT, ROOT)


def test_a_longer_history_cannot_pose_as_a_shorter_one() -> None:
    a, b, c, d = (leaf_hash(bytes([number])) for number in range(4))
    first = node_hash(a, b)
    old, new = node_hash(first, c), node_hash(first, node_hash(c, d))
    Continuation(3, 4, (c, d, first)).verify(old, new)
    with pytest.raises(VerificationError, match="too long"):
        Continuation(3, 4, (c, d, first, LEFT)).verify(node_hash(LEFT, old), node_hash(LEFT, new))
    with pytest.raises(VerificationError, match="too short"):
        Continuation(3, 4, (c, d)).verify(c, node_hash(c, d))


def test_the_empty_log_continues_itself_and_nothing_else() -> None:
    Continuation(0, 0, ()).verify(EMPTY_ROOT, EMPTY_ROOT)
    with pytest.raises(VerificationError, match="differ"):
        Continuation(0, 0, ()).verify(ROOT, ROOT)
    with pytest.raises(VerificationError, match="proves nothing"):
        Continuation(0, 2, (ROOT,)).verify(EMPTY_ROOT, ROOT)
