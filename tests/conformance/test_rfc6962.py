"""Known answers of the eight-leaf tree that Certificate Transparency implementations share as test data.

Source: reference tree of the Certificate Transparency project (RFC 6962), as in transparency-dev/merkle, testdata.
"""

from __future__ import annotations

import pytest

from assay.audit.merkle import (
    EMPTY_ROOT,
    Continuation,
    Node,
    Proof,
    consistency_ranges,
    fold,
    grow,
    inclusion_ranges,
    leaf_hash,
    prove,
)
from assay.errors import VerificationError

LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PAIR_01, LEAF_1 = ROOTS[2], "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
PAIR_23, HALF_1 = (
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
)
LEAF_4, PAIR_67 = (
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
)
PAIR_45 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
INCLUSION = [  # position, size, path
    (0, 1, []),
    (0, 8, [LEAF_1, PAIR_23, HALF_1]),
    (5, 8, [LEAF_4, PAIR_67, ROOTS[4]]),
    (2, 3, [PAIR_01]),
    (1, 5, [ROOTS[1], PAIR_23, LEAF_4]),
]
CONSISTENCY = [  # old, new, path
    (1, 1, []),
    (1, 8, [LEAF_1, PAIR_23, HALF_1]),
    (6, 8, [PAIR_45, PAIR_67, ROOTS[4]]),
    (2, 5, [PAIR_23, LEAF_4]),
]


def tree() -> tuple[dict[Node, bytes], list[bytes]]:
    nodes: dict[Node, bytes] = {}
    peaks: list[bytes] = []
    roots = [fold(peaks)]
    for size, leaf in enumerate(LEAVES):
        made, peaks = grow(size, peaks, [leaf_hash(leaf)])
        nodes |= made
        roots.append(fold(peaks))
    return nodes, roots


def hexes(path: tuple[bytes, ...]) -> list[str]:
    return [step.hex() for step in path]


def test_the_root_of_every_size_is_the_known_one() -> None:
    assert [root.hex() for root in tree()[1]] == ROOTS
    assert EMPTY_ROOT.hex() == ROOTS[0]


@pytest.mark.parametrize(("position", "size", "path"), INCLUSION)
def test_an_inclusion_path_is_the_known_one(position: int, size: int, path: list[str]) -> None:
    nodes, roots = tree()
    found = prove(inclusion_ranges(position, size), nodes)
    assert hexes(found) == path
    Proof(position, size, found).verify(LEAVES[position], roots[size])


@pytest.mark.parametrize(("old", "new", "path"), CONSISTENCY)
def test_a_consistency_path_is_the_known_one(old: int, new: int, path: list[str]) -> None:
    nodes, roots = tree()
    found = prove(consistency_ranges(old, new), nodes)
    assert hexes(found) == path
    Continuation(old, new, found).verify(roots[old], roots[new])


def wrong_paths(path: tuple[bytes, ...], root: bytes) -> list[tuple[bytes, ...]]:
    flipped = [(*path[:i], bytes([step[0] ^ 8]) + step[1:], *path[i + 1 :]) for i, step in enumerate(path)]
    short = [path[:-1], path[1:]] if path else []
    return [*flipped, *short, (*path, root), (root, *path), (*path, b""), (b"\0" * 32, *path)]


@pytest.mark.parametrize(("position", "size"), [(case[0], case[1]) for case in INCLUSION])
def test_every_bent_inclusion_proof_is_refused(position: int, size: int) -> None:
    nodes, roots = tree()
    path = prove(inclusion_ranges(position, size), nodes)
    bent = [Proof(position, size, each) for each in wrong_paths(path, roots[size])]
    bent += [Proof(position + 1, size, path), Proof(position - 1, size, path), Proof(position ^ 2, size, path)]
    bent += [Proof(position, size * 2, path), Proof(position, 0, path)]
    for each in bent:
        with pytest.raises(VerificationError):
            each.verify(LEAVES[position], roots[size])
    good = Proof(position, size, path)
    for leaf, root in [(b"other", roots[size]), (LEAVES[position], roots[0]), (LEAVES[position], b"")]:
        with pytest.raises(VerificationError):
            good.verify(leaf, root)


@pytest.mark.parametrize(("old", "new"), [(case[0], case[1]) for case in CONSISTENCY])
def test_every_bent_consistency_proof_is_refused(old: int, new: int) -> None:
    nodes, roots = tree()
    path = prove(consistency_ranges(old, new), nodes)
    bent = [Continuation(old, new, each) for each in wrong_paths(path, roots[new])]
    bent += [Continuation(old + 1, new, path), Continuation(0, new, path), Continuation(-1, new, path)]
    bent += [Continuation(old, new * 2, path), Continuation(old, old - 1, path)]
    for each in bent:
        with pytest.raises(VerificationError):
            each.verify(roots[old], roots[new])
    good = Continuation(old, new, path)
    for one, other in [(roots[old], roots[0]), (roots[0], roots[new]), (b"", roots[new])]:
        with pytest.raises(VerificationError):
            good.verify(one, other)


def test_a_proof_from_the_empty_log_is_refused_as_it_would_prove_nothing() -> None:
    with pytest.raises(VerificationError, match="proves nothing"):
        Continuation(0, 8, ()).verify(EMPTY_ROOT, tree()[1][8])
