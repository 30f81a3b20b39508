from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from assay.artifacts.compare import compare
from assay.artifacts.digest import digest
from assay.artifacts.listing import Listed, Listing
from assay.artifacts.manifest import FileDigest, Manifest
from assay.artifacts.measure import measure
from assay.artifacts.relist import on_disk, relist
from assay.errors import ArtifactError

HASHES: dict[str, Callable[[bytes], Any]] = {"sha256": hashlib.sha256, "blake2b": hashlib.blake2b, "blake3": blake3}


def of(name: str, data: bytes) -> FileDigest:
    both = digest(data)
    return FileDigest(name, len(data), both.sha256, both.blake3)


def pieces(data: bytes, step: int) -> Iterator[memoryview]:
    for start in range(0, len(data), step):
        yield memoryview(data)[start : start + step]


@given(
    data=st.binary(max_size=200),
    size=st.integers(0, 64),
    step=st.integers(1, 70),
    algorithm=st.sampled_from(sorted(HASHES)),
)
def test_every_range_has_its_digest_however_the_bytes_come(data: bytes, size: int, step: int, algorithm: str) -> None:
    manifest = Manifest("m", (of("a", data),))
    listing = Listing(algorithm, size)
    (file,) = relist(manifest, listing, lambda _: pieces(data, step)).files
    ranges = [data[start : start + size] for start in range(0, len(data), size)] if size else [data]
    assert file.listed == Listed(listing, tuple(HASHES[algorithm](one).hexdigest() for one in ranges))


def test_bytes_that_changed_since_they_were_measured_are_a_finding() -> None:
    manifest = Manifest("m", (of("a", b"first"), of("b", b"same")))
    contents = {"a": b"other", "b": b"same"}
    found = relist(manifest, Listing("blake2b"), lambda name: pieces(contents[name], 3))
    assert [(one.rule, one.subject) for one in found.findings] == [("artifact.unstable", "a")]
    assert [file.listed is None for file in found.files] == [True, False]
    assert [one.rule for one in compare(manifest, found)] == ["artifact.unstable"]


def test_a_foreign_digest_is_enough_to_tell_a_change() -> None:
    manifest = Manifest("m", (FileDigest("a", None, hashlib.sha256(b"first").hexdigest(), ""),))
    assert not relist(manifest, Listing("blake2b"), lambda _: pieces(b"first", 3)).findings
    assert relist(manifest, Listing("blake2b"), lambda _: pieces(b"other", 3)).findings


def test_no_more_digests_are_made_than_were_signed() -> None:
    # A signature that lists one byte at a time must not fill the memory for a large file.
    data = bytes(1000)
    manifest = Manifest("m", (of("a", data), of("b", data)))
    found = relist(manifest, Listing("sha256", 1), lambda _: pieces(data, 64), at_most={"a": 3})
    (first, second) = found.files
    assert first.listed is not None
    assert len(first.listed.digests) == 4
    assert second.listed is None


def test_files_on_disk_are_read_and_unreadable_ones_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a" * 10)
    (tmp_path / "b").write_bytes(b"b")
    found = measure(tmp_path)
    with on_disk(tmp_path) as read:
        (tmp_path / "b").unlink()
        (tmp_path / "b").symlink_to("a")
        again = relist(found, Listing("sha256", 4), read)
    assert [file.listed is None for file in again.files] == [False, True]
    assert [one.subject for one in again.findings] == ["b"]


def test_a_read_error_is_our_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"a" * 10)
    found = measure(tmp_path)

    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error")

    with on_disk(tmp_path) as read:
        monkeypatch.setattr("os.preadv", broken)
        again = relist(found, Listing("blake2b"), read)
    assert [(one.rule, one.subject) for one in again.findings] == [("artifact.unreadable", "a")]


LISTING = Listing("sha256", 4)


def listed(data: bytes) -> FileDigest:
    digests = (hashlib.sha256(data[start : start + 4]).hexdigest() for start in range(0, len(data), 4))
    return replace(of("a", data), listed=Listed(LISTING, tuple(digests)))


def test_a_changed_shard_is_named_with_its_bytes() -> None:
    signed = replace(listed(b"0123456789"), sha256="", blake3="")
    findings = compare(Manifest("m", (signed,)), Manifest("m", (listed(b"0123x5678y"),)))
    assert [(one.rule, one.subject) for one in findings] == [
        ("artifact.changed", "a"),
        ("artifact.shard-changed", "a:4:8"),
        ("artifact.shard-changed", "a:8:10"),
    ]
    assert dict(findings[1].numbers) == {"start_byte": 4, "end_byte": 8}


def test_a_longer_file_is_changed_even_where_every_signed_shard_is_there() -> None:
    signed = replace(listed(b"01234567"), sha256="", blake3="")
    data = b"0123456789" * 10
    found = relist(Manifest("m", (of("a", data),)), LISTING, lambda _: pieces(data, 3), at_most={"a": 2})
    findings = compare(Manifest("m", (signed,)), found)
    assert [(one.rule, one.subject) for one in findings] == [
        ("artifact.changed", "a"),
        ("artifact.shard-changed", "a:8:12"),
    ]


def test_shards_and_whole_file_of_different_bytes_disagree() -> None:
    signed = replace(listed(b"01234567"), sha256="11" * 32, blake3="")
    findings = compare(Manifest("m", (signed,)), Manifest("m", (listed(b"01234567"),)))
    assert [one.rule for one in findings] == ["artifact.digests-disagree"]


def test_a_listing_that_was_not_measured_cannot_be_compared() -> None:
    signed = replace(listed(b"01234567"), sha256="", blake3="")
    findings = compare(Manifest("m", (signed,)), Manifest("m", (of("a", b"01234567"),)))
    assert [one.rule for one in findings] == ["artifact.incomparable"]
    other = replace(of("a", b"01234567"), listed=Listed(Listing("blake3", 4), ("11" * 32, "22" * 32)))
    findings = compare(Manifest("m", (signed,)), Manifest("m", (other,)))
    assert [one.rule for one in findings] == ["artifact.incomparable"]


def test_a_thousand_changed_shards_are_not_a_thousand_findings() -> None:
    signed = replace(listed(bytes(4000)), sha256="", blake3="")
    findings = compare(Manifest("m", (signed,)), Manifest("m", (listed(bytes([1]) * 4000),)))
    assert len(findings) == 66
    assert findings[-1].subject == "a:256:4000"
    assert "936 ranges" in findings[-1].detail


@pytest.mark.parametrize(
    "make",
    [
        lambda: Listing("md5"),
        lambda: Listing("sha256", -1),
        lambda: Listing("sha256", 2**53),
        lambda: Listed(Listing("blake2b"), ("11" * 32,)),
        lambda: Listed(Listing("sha256"), ("11" * 64,)),
        lambda: Listed(Listing("sha256"), ("ZZ" * 32,)),
        lambda: Listed(Listing("sha256"), ()),
        lambda: Listed(Listing("sha256"), ("11" * 32, "22" * 32)),
        lambda: FileDigest("a", 0, "", ""),
    ],
)
def test_half_made_listings_cannot_be_made(make: Callable[[], object]) -> None:
    with pytest.raises(ArtifactError):
        make()


def test_the_root_of_files_with_listed_digests_only_is_over_those() -> None:
    digests = ("11" * 32, "22" * 32)
    manifest = Manifest("m", (FileDigest("a", 8, "", "", Listed(LISTING, digests)),))
    assert manifest.root == hashlib.sha256(bytes.fromhex("".join(digests))).hexdigest()
    assert manifest.listing == LISTING
    assert Manifest("m", (of("a", b"x"),)).listing is None
