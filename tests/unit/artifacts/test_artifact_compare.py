from __future__ import annotations

from dataclasses import replace

import pytest

from assay.artifacts.compare import compare
from assay.artifacts.digest import digest
from assay.artifacts.manifest import FileDigest, Manifest, TensorDigest
from assay.findings import Finding, Severity


def file(name: str, raw: bytes) -> FileDigest:
    found = digest(raw)
    return FileDigest(name, len(raw), found.sha256, found.blake3)


def tensor(name: str, raw: bytes, start: int = 8) -> TensorDigest:
    return TensorDigest("w.safetensors", name, "U8", (len(raw),), start, start + len(raw), digest(raw).blake3)


def rules(signed: Manifest, found: Manifest) -> list[tuple[str, str]]:
    return [(one.rule.removeprefix("artifact."), one.subject) for one in compare(signed, found)]


A, B = file("a", b"one"), file("b", b"two")
SIGNED = Manifest("m", (A, B))


def test_the_same_files_in_any_order_have_no_findings() -> None:
    assert compare(SIGNED, Manifest("other name", (B, A))) == ()


def test_every_change_is_named() -> None:
    found = Manifest("m", (file("a", b"ONE"), file("c", b"new")))
    assert rules(SIGNED, found) == [("missing", "b"), ("extra", "c"), ("changed", "a")]
    assert all(one.severity is Severity.CRITICAL for one in compare(SIGNED, found))


def test_a_renamed_file_says_where_its_bytes_went() -> None:
    details = [one.detail for one in compare(SIGNED, Manifest("m", (A, file("c", b"two"))))]
    assert details == [
        "b was signed and is not there; c has its bytes",
        "c is there and was not signed; it has the bytes signed as b",
    ]


def test_swapped_files_say_so() -> None:
    found = Manifest("m", (file("a", b"two"), file("b", b"one")))
    assert [one.detail for one in compare(SIGNED, found)] == [
        "a has other bytes than were signed; it now holds the bytes signed as b",
        "b has other bytes than were signed; it now holds the bytes signed as a",
    ]


def test_another_size_is_told() -> None:
    (finding,) = compare(SIGNED, Manifest("m", (file("a", b""), B)))
    assert finding.detail == "a has other bytes than were signed (0 bytes, signed 3)"
    assert finding.numbers == {"signed_bytes": 3, "found_bytes": 0}


def test_what_was_found_wrong_is_a_difference_even_when_all_bytes_agree() -> None:
    wrong = Finding("artifact.link", "x", Severity.ERROR, "x is a symbolic link")
    assert compare(SIGNED, replace(SIGNED, findings=(wrong,))) == (wrong,)


def test_a_file_replaced_by_a_link_is_reported_once_and_a_mere_remark_hides_nothing() -> None:
    wrong = Finding("artifact.link", "b", Severity.ERROR, "b is a symbolic link")
    remark = Finding("artifact.note", "b", Severity.INFO, "a remark")
    assert rules(SIGNED, Manifest("m", (A,), findings=(wrong,))) == [("link", "b")]
    assert ("missing", "b") in rules(SIGNED, Manifest("m", (A,), findings=(remark,)))


@pytest.mark.parametrize(
    "signed",
    [
        FileDigest("a", 3, A.sha256, B.blake3),
        FileDigest("a", 3, B.sha256, A.blake3),
        FileDigest("a", 4, A.sha256, A.blake3),
    ],
)
def test_digests_of_different_bytes_are_refused(signed: FileDigest) -> None:
    assert rules(Manifest("m", (signed, B)), SIGNED) == [("digests-disagree", "a")]


@pytest.mark.parametrize("signed", [FileDigest("a", None, A.sha256, ""), FileDigest("a", None, "", A.blake3)])
def test_one_digest_is_enough_to_compare(signed: FileDigest) -> None:
    assert compare(Manifest("m", (signed, B)), SIGNED) == ()
    assert rules(Manifest("m", (signed, B)), Manifest("m", (file("a", b"ONE"), B))) == [("changed", "a")]


def test_files_without_a_common_digest_are_not_taken_for_equal() -> None:
    signed = Manifest("m", (FileDigest("a", 3, "", A.blake3),))
    assert rules(signed, Manifest("m", (FileDigest("a", 3, A.sha256, ""),))) == [("incomparable", "a")]


def weights(raw: bytes, *tensors: TensorDigest) -> Manifest:
    return Manifest("m", (file("w.safetensors", raw),), tensors)


WEIGHTS = weights(b"signed", tensor("x", b"1111"), tensor("y", b"2222", 12))


def test_a_changed_tensor_is_named_with_its_bytes() -> None:
    found = compare(WEIGHTS, weights(b"edited", tensor("x", b"1111"), tensor("y", b"2223", 12)))
    assert [(one.rule, one.subject) for one in found] == [
        ("artifact.changed", "w.safetensors"),
        ("artifact.tensor-changed", "w.safetensors:y"),
    ]
    assert found[1].numbers == {"start_byte": 12, "end_byte": 16}
    assert "bytes 12 to 16" in found[1].detail


def test_swapped_tensors_say_so() -> None:
    found = compare(WEIGHTS, weights(b"edited", tensor("x", b"2222"), tensor("y", b"1111", 12)))
    assert [one.detail.partition("; ")[2] for one in found[1:]] == [
        "it now holds the bytes signed as y",
        "it now holds the bytes signed as x",
    ]


def test_missing_extra_and_retyped_tensors_are_told_apart() -> None:
    retyped = replace(tensor("x", b"1111"), dtype="I16", shape=(2,))
    found = compare(WEIGHTS, weights(b"edited", retyped, tensor("z", b"2222", 12)))
    assert [(one.rule.removeprefix("artifact."), one.subject) for one in found[1:]] == [
        ("tensor-missing", "w.safetensors:y"),
        ("tensor-retyped", "w.safetensors:x"),
        ("tensor-extra", "w.safetensors:z"),
    ]
    assert "is I16 [2], signed as U8 [4]" in found[2].detail


def test_tensors_that_only_moved_in_a_changed_file_are_no_news() -> None:
    (finding,) = compare(WEIGHTS, weights(b"edited", tensor("x", b"1111", 10), tensor("y", b"2222", 14)))
    assert finding.detail.endswith("no tensor differs, so the change lies in bytes 0 to 10")


def test_a_change_outside_every_tensor_is_placed() -> None:
    spread = [tensor(str(index), b"1", 2 * index + 1) for index in range(6)]
    signed, found = weights(b"1234567890123", *spread), weights(b"12345678901234", *spread)
    (finding,) = compare(signed, found)
    assert finding.detail.endswith("bytes 0 to 1, bytes 2 to 3, bytes 4 to 5, bytes 6 to 7 and 3 more ranges")


def test_tensor_digests_that_do_not_belong_to_the_signed_file_are_refused() -> None:
    other = weights(b"signed", tensor("x", b"1111"), tensor("y", b"3333", 12))
    assert rules(other, WEIGHTS) == [("tensor-changed", "w.safetensors:y")]
    moved = weights(b"signed", tensor("x", b"1111"), tensor("y", b"2222", 13))
    assert rules(moved, WEIGHTS) == [("tensor-moved", "w.safetensors:y")]


def test_a_file_that_is_signed_or_read_without_tensors_is_compared_as_a_whole() -> None:
    assert compare(weights(b"signed"), WEIGHTS) == ()
    assert compare(WEIGHTS, weights(b"signed")) == ()
    assert rules(WEIGHTS, weights(b"edited")) == [("changed", "w.safetensors")]


def test_names_from_a_container_cannot_drive_the_terminal() -> None:
    signed = weights(b"signed", tensor("x\x1b[2J", b"1"))
    found = weights(b"edited", tensor("x\x1b[2J", b"2"))
    assert all("\x1b" not in one.detail + one.subject for one in compare(signed, found))
