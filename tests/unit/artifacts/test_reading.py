from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save, save_file
from tests.descriptors import opened

from assay.artifacts import filling, reading, snapshot
from assay.artifacts.compare import compare
from assay.artifacts.manifest import Manifest
from assay.artifacts.measure import measure
from assay.artifacts.reading import TensorReader, covered, lazily_readable, measure_rest
from assay.errors import ArtifactError, LoadError, VerificationError
from assay.findings import Finding

ARRAYS = {
    "big": np.arange(3_000_000, dtype="f4").reshape(1000, 3000),  # in memory of its own
    "small": np.arange(6, dtype="i2").reshape(2, 3),
    "empty": np.zeros((0, 4), dtype="f8"),
    "flag": np.array([True, False, True]),
}


def refuse(findings: Sequence[Finding]) -> VerificationError:
    return VerificationError("; ".join(finding.detail for finding in findings), findings)


def reader(root: Path, signed: Manifest) -> TensorReader:
    return TensorReader(root, signed, signature=None, refuse=refuse)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    root.mkdir()
    save_file(ARRAYS, root / "a.safetensors")
    save_file({"bias": np.ones(7, dtype="f2")}, root / "b.safetensors")
    (root / "config.json").write_text("{}")
    return root


def edit(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def test_each_tensor_has_the_signed_bytes_in_memory_of_its_own(model: Path) -> None:
    signed = measure(model)
    source = reader(model, signed)
    assert set(source.parts()) == {*ARRAYS, "bias"}
    everything = source.read_all()
    for name, array in ARRAYS.items():
        assert bytes(source.read(name)) == bytes(everything[name]) == array.tobytes()
        assert source.parts()[name].shape == array.shape
    one = source.read("big")
    one[0:4] = b"mine"
    assert bytes(source.read("big")[0:4]) == ARRAYS["big"].tobytes()[0:4]
    source.close()
    with pytest.raises(LoadError, match="closed with its model"):
        source.read("small")


@pytest.mark.parametrize("name", ["big", "small", "flag", "bias"])
def test_a_flipped_bit_is_refused_by_the_tensor_it_lies_in_and_by_no_other(model: Path, name: str) -> None:
    signed = measure(model)
    source = reader(model, signed)
    (tensor,) = [one for one in signed.tensors if one.name == name]
    path = model / tensor.file
    edit(path, tensor.end - 1, bytes([path.read_bytes()[tensor.end - 1] ^ 1]))
    with pytest.raises(VerificationError) as caught:
        source.read(name)
    (finding,) = caught.value.findings
    assert (finding.rule, finding.subject) == ("artifact.tensor-changed", f"{tensor.file}:{name}")
    assert finding.numbers == {"start_byte": tensor.start, "end_byte": tensor.end}
    with pytest.raises(VerificationError, match=f"tensor {name} of {tensor.file}"):
        source.read_all()
    for other in {*ARRAYS, "bias"} - {name}:
        source.read(other)


def test_every_changed_tensor_is_named_at_once(model: Path) -> None:
    signed = measure(model)
    source = reader(model, signed)
    places = signed.by_file["a.safetensors"]
    for name in ("small", "flag"):
        edit(model / "a.safetensors", places[name].start, b"\xff")
    with pytest.raises(VerificationError) as caught:
        source.read_all()
    assert {finding.subject for finding in caught.value.findings} == {"a.safetensors:small", "a.safetensors:flag"}


def test_a_file_cut_after_it_was_opened_is_refused(model: Path) -> None:
    source = reader(model, measure(model))
    os.truncate(model / "a.safetensors", 1000)
    with pytest.raises(VerificationError, match=r"tensor big of a.safetensors \(bytes .*the file was cut"):
        source.read("big")


def test_a_file_replaced_after_it_was_opened_does_not_matter(model: Path) -> None:
    source = reader(model, measure(model))
    save_file({"bias": np.zeros(7, dtype="f2")}, model / "evil")
    (model / "evil").replace(model / "b.safetensors")
    assert bytes(source.read("bias")) == np.ones(7, dtype="f2").tobytes()


def header(raw: bytes) -> dict[str, dict[str, object]]:
    length = int.from_bytes(raw[:8], "little")
    found: dict[str, dict[str, object]] = json.loads(raw[8 : 8 + length])
    return found


def with_header(raw: bytes, changed: dict[str, dict[str, object]]) -> bytes:
    length = int.from_bytes(raw[:8], "little")
    text = json.dumps(changed, separators=(",", ":")).encode()
    assert len(text) <= length
    return raw[:8] + text.ljust(length) + raw[8 + length :]


@pytest.mark.parametrize(
    ("flaw", "rule"),
    [
        ("dtype", "artifact.tensor-retyped"),
        ("shape", "artifact.tensor-retyped"),
        ("names swapped", "artifact.tensor-retyped"),
        ("renamed", "artifact.tensor-missing"),
        ("no header", "artifact.malformed"),
        ("longer", "artifact.changed"),
        ("gone", "artifact.missing"),
        ("link", "artifact.link"),
    ],
)
def test_an_edited_header_is_refused_before_anything_is_read(model: Path, flaw: str, rule: str, tmp_path: Path) -> None:
    path = model / "a.safetensors"
    raw = save({"v": np.ones((2, 3), dtype="f4"), "w": np.zeros((2, 3), dtype="f4")})
    path.write_bytes(raw)
    signed = measure(model)
    table = header(raw)
    if flaw == "dtype":
        path.write_bytes(with_header(raw, {**table, "w": {**table["w"], "dtype": "I32"}}))
    elif flaw == "shape":
        path.write_bytes(with_header(raw, {**table, "w": {**table["w"], "shape": [3, 2]}}))
    elif flaw == "names swapped":
        path.write_bytes(with_header(raw, {"w": table["v"], "v": table["w"]}))
    elif flaw == "renamed":
        path.write_bytes(with_header(raw, {"v": table["v"], "x": table["w"]}))
    elif flaw == "no header":
        path.write_bytes(b"\xff" * len(raw))
    elif flaw == "longer":
        path.write_bytes(raw + b"x")
    else:
        path.unlink()
        if flaw == "link":
            (tmp_path / "evil").write_bytes(raw)
            path.symlink_to(tmp_path / "evil")
    with pytest.raises(VerificationError) as caught:
        reader(model, signed)
    assert rule in {finding.rule for finding in caught.value.findings}
    found = measure_rest(model, signed, ignore=(), signature=None)
    assert rule in {finding.rule for finding in compare(signed, found)}


def test_metadata_changed_on_disk_is_not_handed_out(model: Path) -> None:
    path = model / "b.safetensors"
    raw = save({"bias": np.ones(7, dtype="f2")}, {"author": "good"})
    path.write_bytes(raw)
    signed = measure(model)
    path.write_bytes(raw.replace(b"good", b"evil"))
    source = reader(model, signed)  # the tensors are as signed, and nothing else is to be had from here
    assert bytes(source.read("bias")) == np.ones(7, dtype="f2").tobytes()
    assert "__metadata__" not in source.parts()


def test_what_the_signature_does_not_cover_is_not_read_lazily(model: Path) -> None:
    signed = measure(model)
    assert covered(signed) == ("a.safetensors", "b.safetensors")
    assert lazily_readable(signed)
    without = replace(signed, tensors=tuple(one for one in signed.tensors if one.name != "small"))
    assert covered(without) == ("b.safetensors",)
    assert not lazily_readable(without)
    unsized = replace(signed, files=tuple(replace(file, size=None) for file in signed.files))
    assert covered(unsized) == ()
    (model / "a.safetensors").unlink()
    (model / "b.safetensors").unlink()
    assert not lazily_readable(measure(model))


def test_two_files_with_a_tensor_of_one_name_are_refused(model: Path) -> None:
    save_file({"bias": np.zeros(7, dtype="f2")}, model / "c.safetensors")
    with pytest.raises(LoadError, match="holds tensor 'bias', and so does another file"):
        reader(model, measure(model))


def test_the_rest_is_measured_and_what_is_covered_is_taken_on_trust(model: Path) -> None:
    signed = measure(model)
    tensor = signed.by_file["a.safetensors"]["big"]
    edit(model / "a.safetensors", tensor.start, b"\xff")  # for the reader to find
    (model / "config.json").write_text('{"evil": 1}')
    found = measure_rest(model, signed, ignore=(), signature=None)
    assert found.findings == ()
    assert [file.name for file in found.files] == [file.name for file in signed.files]
    assert {file.name for file in found.files if file != signed.by_name[file.name]} == {"config.json"}


def test_no_descriptor_is_left_behind(model: Path) -> None:
    signed = measure(model)
    before = opened(model)
    source = reader(model, signed)
    assert opened(model) - before
    source.read_all()
    source.close()
    os.truncate(model / "b.safetensors", 3)
    with pytest.raises(VerificationError):
        reader(model, signed)
    measure_rest(model, signed, ignore=(), signature=None)
    assert not opened(model) - before


def test_a_disk_that_fails_is_our_own_error(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = reader(model, measure(model))

    def fail(_descriptor: int, _buffers: Sequence[memoryview], _at: int) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(ArtifactError, match="cannot be read: Input/output error"):
        source.read("small")


def test_too_little_memory_is_said_before_anything_is_read(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = reader(model, measure(model))
    monkeypatch.setattr(snapshot, "_free_memory_bytes", lambda: 1000)
    with pytest.raises(ArtifactError, match=r"reading every tensor needs \d+ bytes of memory and 1000 are free"):
        source.read_all()
    source.read("small")  # larger than memory works tensor by tensor


def test_reading_goes_on_while_hashing_and_small_reads_need_no_thread(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "READ_BYTES", 4096)  # many turns between reader and hash
    monkeypatch.setattr(reading, "_LARGE_BYTES", 1)
    source = reader(model, measure(model))
    assert bytes(source.read_all()["big"]) == ARRAYS["big"].tobytes()
