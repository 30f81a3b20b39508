from __future__ import annotations

import hashlib

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from assay.artifacts.digest import CHUNK_BYTES, Digests, Pass, chunks, digest


def test_the_digests_are_those_of_the_standards() -> None:
    # FIPS 180-4 examples and the first BLAKE3 test vector.
    assert digest(b"abc").sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest(b"").blake3 == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_parts_have_the_digests_of_their_own_bytes_however_they_are_read(sizes: list[int], reads: list[int]) -> None:
    raw = bytes(index % 251 for index in range(sum(sizes)))
    ranges, at = [], 0
    for index, size in enumerate(sizes):
        if index % 3 != 2:  # every third stretch belongs to no part
            ranges.append((at, at + size))
        at += size
    run, done = Pass(ranges), 0
    while done < len(raw):
        for length in reads:
            run.update(memoryview(raw)[done : done + length])
            done += length
    assert run.size == len(raw)
    assert run.digests() == Digests(hashlib.sha256(raw).hexdigest(), blake3(raw).hexdigest())
    if raw:
        assert run.parts() == tuple(blake3(raw[start:end]).hexdigest() for start, end in ranges)


def test_a_part_that_is_not_complete_has_no_digest() -> None:
    run = Pass([(0, 2), (2, 9), (20, 30)])
    run.update(memoryview(b"12345"))
    assert run.parts() == (blake3(b"12").hexdigest(), "", "")


def test_chunks_are_all_the_bytes() -> None:
    raw = bytes(CHUNK_BYTES + 1)
    assert [chunk.nbytes for chunk in chunks(memoryview(raw))] == [CHUNK_BYTES, 1]
