from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from blake3 import blake3
from safetensors.numpy import save

from assay.artifacts import plan as plans
from assay.artifacts.files import Tree
from assay.artifacts.manifest import TensorDigest
from assay.artifacts.measure import measure, measure_again, measure_descriptors
from assay.artifacts.plan import Plan
from assay.errors import ArtifactError, FormatError
from assay.formats import sharded as sharding
from assay.formats import shelf
from assay.formats.base import Content, Format, Part

RAW = bytes(range(200))


@dataclass(frozen=True)
class Made:
    """A format that has the parts it is told."""

    told: tuple[Part, ...]
    name: str = "made"
    broken: bool = False

    def recognises(self, name: str) -> bool:
        return name.endswith(".made")

    def accepts(self, content: Content) -> bool:
        del content
        return True

    def parts(self, content: Content) -> tuple[Part, ...]:
        content.read(0, 1)
        return self.told

    def elements(self, content: Content, part: Part) -> Iterator[bytes]:
        if self.broken:
            raise FormatError("its packed bytes are damaged")
        yield content.read(part.start, part.end - part.start)[::-1]


def telling(monkeypatch: pytest.MonkeyPatch, **formats: Made) -> None:
    """Let each file named like the key be such a container."""

    def find(name: str, content: Content) -> Format | None:
        del content
        return formats.get(Path(name).stem)

    monkeypatch.setattr(shelf, "find", find)
    monkeypatch.setattr(shelf, "may_be", lambda name: Path(name).stem in formats)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "m"
    (root / "sub").mkdir(parents=True)
    for name in ("a.made", "b.made", "data", "sub/c.made", "sub/data"):
        (root / name).write_bytes(RAW)
    return root


def part(name: str, start: int, end: int, file: str = "") -> Part:
    return Part(name, "U8", (end - start,), start, end, file)


def listed(model: Path) -> list[tuple[str, str, int, int]]:
    manifest = measure(model)
    for one in manifest.tensors:
        assert one.blake3 == one.content == blake3(RAW[one.start : one.end]).hexdigest()
    return [(one.file, one.name, one.start, one.end) for one in manifest.tensors]


def test_a_tensor_is_listed_with_the_file_its_bytes_lie_in(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = (part("w", 10, 20, "data"), part("v", 0, 10, "data"), part("head", 0, 3))
    telling(monkeypatch, a=Made(outside), c=Made((part("u", 5, 9, "data"),)))
    assert listed(model) == [
        ("a.made", "head", 0, 3),
        ("data", "v", 0, 10),
        ("data", "w", 10, 20),
        ("sub/data", "u", 5, 9),
    ]


def test_tensors_may_share_bytes(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = (
        part("whole", 0, 200),
        part("tied", 50, 100),
        part("same", 50, 100),
        part("tail", 90, 200),
        part("no", 7, 7),
    )
    telling(monkeypatch, a=Made(parts))
    assert {name for _, name, _, _ in listed(model)} == {"whole", "tied", "same", "tail", "no"}


def test_what_two_containers_say_alike_is_listed_once_and_what_differs_is_told_apart(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    telling(
        monkeypatch,
        a=Made((part("w", 0, 10, "data"),)),
        b=Made((part("w", 0, 10, "data"), part("w", 10, 20, "data"))),
    )
    assert listed(model) == [("data", "w", 0, 10), ("data", "w#2", 10, 20)]


@pytest.mark.parametrize(
    ("where", "end", "why"),
    [
        ("nowhere", 10, "is no file of the model"),
        ("../data", 10, "is no file of the model"),
        ("/etc/passwd", 10, "is no file of the model"),
        ("sub/../data", 10, "is no file of the model"),
        ("data", 201, "ends at byte 200, not 201"),
    ],
)
def test_bytes_that_lie_nowhere_are_refused(
    model: Path, monkeypatch: pytest.MonkeyPatch, where: str, end: int, why: str
) -> None:
    telling(monkeypatch, a=Made((part("w", 0, end, where),)))
    with pytest.raises(ArtifactError, match=f"a.made keeps w in .*, which {why}"):
        measure(model)


def test_a_header_cannot_have_one_byte_hashed_thousands_of_times(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = tuple(part(f"t{at}", at, 200) for at in range(100))
    telling(monkeypatch, a=Made(parts))
    assert len(measure(model).tensors) == 100
    monkeypatch.setattr(plans, "_ALWAYS_BYTES", 0)
    with pytest.raises(ArtifactError, match=r"a\.made has tensors that share its bytes more than 16 times over"):
        measure(model)


def test_the_elements_of_what_is_packed_have_a_digest_of_their_own(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = replace(part("w", 0, 10), plain=False)
    no_tensor = Part("doc", "bytes", (5,), 20, 25, plain=False)
    telling(monkeypatch, a=Made((packed, part("v", 10, 20), no_tensor)))
    tensors = {one.name: one for one in measure(model).tensors}
    assert tensors["w"].blake3 == blake3(RAW[:10]).hexdigest()
    assert tensors["w"].content == blake3(RAW[:10][::-1]).hexdigest()
    assert tensors["v"].content == tensors["v"].blake3
    assert tensors["doc"].content == ""


def test_packed_bytes_that_are_damaged_are_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    telling(monkeypatch, a=Made((replace(part("w", 0, 10), plain=False),), broken=True))
    with pytest.raises(ArtifactError, match=r"a\.made is not a sound made file: its packed bytes are damaged"):
        measure(model)


def test_a_container_that_is_another_when_it_is_hashed_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    telling(monkeypatch, a=Made((part("w", 0, 10),)))
    with Tree.of(model) as tree:
        plan = Plan.of(tree.entries, tree.reader())
    os.utime(model / "a.made", ns=(0, 0))  # the same bytes now, but nobody saw what was there in between
    monkeypatch.setattr(Plan, "of", lambda *_: plan)
    with pytest.raises(ArtifactError, match=r"a\.made changed while it was being read"):
        measure(model)


def test_a_container_that_cannot_be_read_is_named_once(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    telling(monkeypatch, a=Made((part("w", 0, 10),)))
    real = os.pread

    def broken(descriptor: int, length: int, offset: int) -> bytes:
        del descriptor, length, offset
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", broken)
    manifest = measure(model, collect=True)
    monkeypatch.setattr(os, "pread", real)
    assert [finding.detail for finding in manifest.findings] == ["a.made cannot be read: Input/output error"]
    assert "a.made" not in manifest.by_name
    assert "b.made" in manifest.by_name


def test_a_container_that_vanishes_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    telling(monkeypatch, a=Made((part("w", 0, 10),)))
    with Tree.of(model) as tree:
        (model / "a.made").unlink()
        plan = Plan.of(tree.entries, tree.reader())
    assert [error.findings[0].rule for error in plan.unread.values()] == ["artifact.missing"]


WEIGHTS = save({"x": np.arange(3, dtype="f4"), "y": np.ones((2, 2), dtype="i8")})


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    root = tmp_path / "signed"
    root.mkdir()
    (root / "w.safetensors").write_bytes(WEIGHTS)
    (root / "config").write_bytes(b"{}")
    return root


def test_measuring_again_finds_what_was_signed(signed: Path) -> None:
    whole = measure(signed)
    again = measure_again(signed, whole)
    assert again is not None
    assert [(one.name, one.size, one.sha256, one.blake3) for one in again.files] == [
        (one.name, one.size, "", one.blake3) for one in whole.files
    ]
    assert again.tensors == whole.tensors


def retyped(one: TensorDigest) -> TensorDigest:
    return replace(one, dtype="I32") if one.name == "x" else one


def renamed(one: TensorDigest) -> TensorDigest:
    return replace(one, name="z") if one.name == "x" else one


def moved(one: TensorDigest) -> TensorDigest:
    return replace(one, start=one.start - 1) if one.name == "x" else one


@pytest.mark.parametrize("flaw", [retyped, renamed, moved])
def test_measuring_again_reads_where_the_tensors_are(signed: Path, flaw: object) -> None:
    whole = measure(signed)
    assert callable(flaw)
    assert measure_again(signed, replace(whole, tensors=tuple(flaw(one) for one in whole.tensors))) is None


def test_what_was_signed_without_tensors_may_have_any(signed: Path) -> None:
    whole = replace(measure(signed), tensors=())
    assert measure_again(signed, whole) is not None


def change(path: Path) -> None:
    path.write_bytes(b"[]")


def add(path: Path) -> None:
    (path.parent / "more").write_bytes(b"")


def link(path: Path) -> None:
    (path.parent / "more").symlink_to("config")


def spoil(path: Path) -> None:
    (path.parent / "w.safetensors").write_bytes(WEIGHTS + b"x")


@pytest.mark.parametrize("flaw", [change, add, link, spoil, Path.unlink])
def test_measuring_again_notices_any_change(signed: Path, flaw: object) -> None:
    whole = measure(signed)
    assert callable(flaw)
    flaw(signed / "config")
    assert measure_again(signed, whole) is None


def test_measuring_again_notices_a_size_that_was_signed_wrong(signed: Path) -> None:
    whole = measure(signed)
    files = tuple(replace(one, size=(one.size or 0) + 1) for one in whole.files)
    assert measure_again(signed, replace(whole, files=files)) is None


def test_measuring_again_notices_a_file_that_cannot_be_read(signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure(signed)

    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", broken)
    assert measure_again(signed, whole) is None


def test_open_files_are_measured_as_they_are_on_disk(signed: Path) -> None:
    on_disk = measure(signed)
    held = {one.name: os.open(signed / one.name, os.O_RDONLY) for one in reversed(on_disk.files)}
    assert measure_descriptors("signed", held, on_disk.ignore, ()) == on_disk
    for descriptor in held.values():
        os.lseek(descriptor, 3, os.SEEK_SET)
    assert measure_descriptors("signed", held, on_disk.ignore, ()) == on_disk
    for descriptor in held.values():
        os.close(descriptor)


def test_an_open_file_that_cannot_be_had_again_is_named(signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"config": os.open(signed / "config", os.O_RDONLY)}

    def broken(*_: object) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "dup", broken)
        with pytest.raises(ArtifactError, match="config cannot be read: Too many open files"):
            measure_descriptors("signed", held, (), ())
    os.close(held["config"])


def sharded(folder: Path, weight_map: dict[str, str]) -> Path:
    folder.mkdir()
    for name in ("1", "2"):
        header = json.dumps({name: {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
        (folder / f"{name}.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"w")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def test_the_index_of_a_sharded_model_must_agree_with_its_shards(tmp_path: Path) -> None:
    right = sharded(tmp_path / "right", {"1": "1.safetensors", "2": "2.safetensors"})
    assert [one.name for one in measure(right).tensors] == ["1", "2"]
    wrong = sharded(tmp_path / "wrong", {"1": "1.safetensors", "2": "1.safetensors"})
    with pytest.raises(ArtifactError, match=r"index\.json"):
        measure(wrong)
    broken = sharded(tmp_path / "broken", {"1": "../1.safetensors"})
    with pytest.raises(ArtifactError, match="is not a sound index"):
        measure(broken)


@pytest.mark.parametrize("vanishes", [True, False])
def test_an_index_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, vanishes: bool
) -> None:
    root = sharded(tmp_path / "m", {"1": "1.safetensors", "2": "2.safetensors"})
    index = root / "model.safetensors.index.json"

    def broken(*_: object) -> NoReturn:
        if vanishes:
            raise ArtifactError("gone", [])
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sharding, "disagreements", broken)
    with Tree.of(root) as tree:
        plan = Plan.of(tree.entries, tree.reader())
    assert [*plan.unread] == [index.name]


def test_bytes_elsewhere_that_are_cut_before_they_are_hashed_are_refused(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    telling(monkeypatch, a=Made((part("w", 100, 200, "data"),)))
    with Tree.of(model) as tree:
        plan = Plan.of(tree.entries, tree.reader())
    os.truncate(model / "data", 150)
    monkeypatch.setattr(Plan, "of", lambda *_: plan)
    with pytest.raises(ArtifactError, match="data changed while it was being read"):
        measure(model)


def test_without_tensors_only_the_digest_that_is_wanted_is_made(signed: Path) -> None:
    whole, only = measure(signed), measure(signed, wanted="sha256")
    assert only.root == whole.root
    assert only.tensors == ()
    assert {file.blake3 for file in only.files} == {""}
    (signed / "w.safetensors").write_bytes(WEIGHTS + b"x")
    with pytest.raises(ArtifactError, match="is not a sound safetensors file"):
        measure(signed, wanted="sha256")
