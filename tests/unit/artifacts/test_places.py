"""A container that cannot be read any more: its signed tensors at their signed places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from assay.artifacts.compare import compare
from assay.artifacts.digest import digest
from assay.artifacts.manifest import FileDigest, Manifest, TensorDigest
from assay.artifacts.places import at_signed_places, unreadable

RAW = b"header" + b"a" * 10 + b"b" * 10
CHANGED = RAW[:8] + b"x" + RAW[9:]


def file(raw: bytes) -> FileDigest:
    found = digest(raw)
    return FileDigest("w", len(raw), found.sha256, found.blake3)


def tensor(name: str, start: int, end: int) -> TensorDigest:
    whole = digest(RAW[start:end]).blake3
    return TensorDigest("w", name, "U8", (end - start,), start, end, whole, whole)


SIGNED = Manifest("m", (file(RAW),), (tensor("a", 6, 16), tensor("b", 16, 26), tensor("both", 6, 26)))
ASKED: list[str] = []


def located(raw: bytes) -> Manifest:
    def read(name: str) -> Iterator[memoryview]:
        ASKED.append(name)
        return (memoryview(raw)[at : at + 3] for at in range(0, len(raw), 3))

    return at_signed_places(SIGNED, Manifest("m", (file(raw),)), read)


def rules(found: Manifest) -> set[tuple[str, str]]:
    return {(one.rule.removeprefix("artifact."), one.subject) for one in compare(SIGNED, found)}


def test_what_changed_is_named_by_the_signed_places() -> None:
    assert rules(located(CHANGED)) == {("changed", "w"), ("tensor-changed", "w:a"), ("tensor-changed", "w:both")}


def test_a_change_outside_every_tensor_says_so() -> None:
    (finding,) = compare(SIGNED, located(b"H" + RAW[1:]))
    assert "no tensor differs, so the change lies in bytes 0 to 6" in finding.detail


def test_where_bytes_moved_places_say_nothing() -> None:
    assert rules(located(RAW + b"x")) == {("changed", "w")}
    assert rules(located(RAW[:-1])) == {("changed", "w")}


def test_what_is_as_signed_or_can_be_read_is_not_read_again() -> None:
    ASKED.clear()
    located(RAW)
    found = Manifest("m", (file(CHANGED),), (tensor("a", 6, 16),))
    assert unreadable(SIGNED, found) == ()
    assert unreadable(replace(SIGNED, tensors=()), Manifest("m", (file(CHANGED),))) == ()
    assert unreadable(SIGNED, Manifest("m", (replace(file(RAW), name="other"),))) == ()
    assert ASKED == []
