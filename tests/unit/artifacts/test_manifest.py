from __future__ import annotations

import hashlib

import pytest

from assay.artifacts.digest import digest
from assay.artifacts.manifest import FileDigest, Manifest, TensorDigest
from assay.errors import ArtifactError

HEX = "0" * 64


def file(name: str, raw: bytes = b"x") -> FileDigest:
    found = digest(raw)
    return FileDigest(name, len(raw), found.sha256, found.blake3)


def test_the_root_is_the_digest_of_the_digests_in_listed_order() -> None:
    files = (file("b", b"1"), file("a", b"2"))
    raw = b"".join(hashlib.sha256(one).digest() for one in (b"1", b"2"))
    assert Manifest("m", files).root == hashlib.sha256(raw).hexdigest()
    assert Manifest("m", files[::-1]).root != Manifest("m", files).root


def test_the_root_of_a_foreign_manifest_is_over_the_digests_it_has() -> None:
    only = FileDigest("a", None, "", digest(b"1").blake3)
    assert Manifest("m", (only,)).root == hashlib.sha256(bytes.fromhex(only.blake3)).hexdigest()


def test_sizes_and_lookups() -> None:
    tensor = TensorDigest("a", "w", "F32", (1,), 0, 4, HEX)
    manifest = Manifest("m", (file("a", b"12345"), FileDigest("b", None, HEX, "")), (tensor,))
    assert manifest.size == 5
    assert manifest.by_name["a"].size == 5
    assert manifest.by_file == {"a": {"w": tensor}}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ((), "has no files"),
        ((file("../a"),), "'.' or '..'"),
        ((file("a\nb"),), "control character"),
        ((file("a"), file("a")), "are one name"),
        ((file("a"), file("A")), "are one name"),
        ((file("a"), file("a/b")), "are one name"),
    ],
)
def test_a_manifest_with_names_that_may_not_be_is_refused(files: tuple[FileDigest, ...], words: str) -> None:
    with pytest.raises(ArtifactError, match=words):
        Manifest("m", files)


def test_every_bad_name_is_a_finding() -> None:
    with pytest.raises(ArtifactError) as caught:
        Manifest("m", (file("a:b"), file("c\\d"), file("fine")))
    assert [(one.rule, one.subject) for one in caught.value.findings] == [
        ("artifact.name", "a:b"),
        ("artifact.name", "c\\d"),
    ]


@pytest.mark.parametrize("tensors", [["b"], ["a", "a"]])
def test_tensors_belong_to_one_listed_file_once(tensors: list[str]) -> None:
    with pytest.raises(ArtifactError, match="listed twice or belongs to no listed file"):
        Manifest("m", (file("a"),), tuple(TensorDigest(name, "w", "F32", (), 0, 4, HEX) for name in tensors))


@pytest.mark.parametrize(
    ("size", "sha256", "other"),
    [(1, "", ""), (1, "abc", ""), (1, HEX.upper().replace("0", "A"), ""), (1, HEX, HEX + "\n"), (-1, HEX, "")],
)
def test_a_file_without_a_sound_digest_or_size_is_refused(size: int, sha256: str, other: str) -> None:
    with pytest.raises(ArtifactError):
        FileDigest("a", size, sha256, other)


@pytest.mark.parametrize(
    ("shape", "start", "end", "hexed"),
    [((1,), 4, 0, HEX), ((1,), -1, 0, HEX), ((-1,), 0, 4, HEX), ((1,), 0, 4, ""), ((1,), 0, 4, "x")],
)
def test_a_tensor_without_a_sound_place_or_digest_is_refused(
    shape: tuple[int, ...], start: int, end: int, hexed: str
) -> None:
    with pytest.raises(ArtifactError):
        TensorDigest("a", "w", "F32", shape, start, end, hexed)


def tensor(name: str, content: str, dtype: str = "F32", shape: tuple[int, ...] = (2,)) -> TensorDigest:
    return TensorDigest("a", name, dtype, shape, 0, 8, HEX, content)


def test_the_tensor_root_is_over_the_sorted_lines() -> None:
    one, two = tensor("b", "1" * 64), tensor('\u00e4"', "2" * 64, "I64", (1, 2))
    lines = sorted([f'["b","F32",[2],"{"1" * 64}"]'.encode(), f'["\u00e4\\"","I64",[1,2],"{"2" * 64}"]'.encode()])
    want = hashlib.sha256(b"\n".join(lines)).hexdigest()
    assert Manifest("m", (file("a"),), (one, two)).tensor_root == want
    assert Manifest("m", (file("a"),), (two, one)).tensor_root == want


@pytest.mark.parametrize(
    "other",
    [tensor("c", "1" * 64), tensor("b", "2" * 64), tensor("b", "1" * 64, "I32"), tensor("b", "1" * 64, shape=(1, 2))],
)
def test_the_tensor_root_changes_with_name_content_type_and_shape(other: TensorDigest) -> None:
    one = Manifest("m", (file("a"),), (tensor("b", "1" * 64),))
    assert Manifest("m", (file("a"),), (other,)).tensor_root != one.tensor_root


def test_what_is_no_tensor_is_not_in_the_tensor_root() -> None:
    member = tensor("doc", "", "bytes")
    assert Manifest("m", (file("a"),), (member,)).tensor_root == ""
    one = tensor("b", "1" * 64)
    assert Manifest("m", (file("a"),), (member, one)).tensor_root == Manifest("m", (file("a"),), (one,)).tensor_root


def test_a_name_that_is_no_text_has_a_tensor_root() -> None:
    assert len(Manifest("m", (file("a"),), (tensor("\ud800", "1" * 64),)).tensor_root) == 64


def test_a_content_that_is_no_digest_is_refused() -> None:
    with pytest.raises(ArtifactError, match="64 lower-case"):
        tensor("b", "1" * 63)
