from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from safetensors.numpy import save

from assay.artifacts.digest import digest
from assay.artifacts.measure import measure
from assay.errors import ArtifactError

WEIGHTS = save({"x": np.arange(3, dtype="f4"), "y": np.ones((2, 2), dtype="i8")})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "m"
    (root / "sub").mkdir(parents=True)
    (root / "w.safetensors").write_bytes(WEIGHTS)
    (root / "sub" / "big").write_bytes(os.urandom(2 * 1024 * 1024 + 7))
    (root / "empty").write_bytes(b"")
    return root


def test_files_and_tensors_are_measured(model: Path) -> None:
    manifest = measure(model)
    assert manifest.name == "m"
    assert [file.name for file in manifest.files] == ["empty", "sub/big", "w.safetensors"]
    for file in manifest.files:
        raw = (model / file.name).read_bytes()
        assert (file.size, file.sha256, file.blake3) == (len(raw), digest(raw).sha256, digest(raw).blake3)
    tensors = [(one.file, one.name, one.dtype, one.shape) for one in manifest.tensors]
    assert tensors == [("w.safetensors", "y", "I64", (2, 2)), ("w.safetensors", "x", "F32", (3,))]
    for tensor in manifest.tensors:
        assert tensor.blake3 == blake3(WEIGHTS[tensor.start : tensor.end]).hexdigest()


def test_a_measured_model_is_the_same_twice(model: Path) -> None:
    assert measure(model) == measure(model)


def test_a_malformed_container_is_refused_and_named(model: Path) -> None:
    (model / "w.safetensors").write_bytes(WEIGHTS + b"x")
    with pytest.raises(ArtifactError, match=r"w.safetensors is not a sound safetensors file: trailing bytes"):
        measure(model)
    (finding,) = measure(model, collect=True).findings
    assert (finding.rule, finding.subject) == ("artifact.malformed", "w.safetensors")


def test_collecting_measures_all_that_can_be_measured(model: Path) -> None:
    (model / "link").symlink_to("empty")
    (model / "SUB").mkdir()
    (model / "SUB" / "x").write_bytes(b"")
    manifest = measure(model, collect=True)
    assert {finding.rule for finding in manifest.findings} == {"artifact.link", "artifact.name-clash"}
    assert "w.safetensors" in manifest.by_name
    with pytest.raises(ArtifactError) as caught:
        measure(model)
    assert caught.value.findings == manifest.findings


def test_nothing_measurable_is_an_error_even_when_collecting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"")
    real = os.preadv

    def broken(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        if offset == 0:
            raise OSError(5, "Input/output error")
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", broken)
    with pytest.raises(ArtifactError, match="a cannot be read: Input/output error"):
        measure(tmp_path, collect=True)


def test_a_file_cut_while_it_is_read_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.preadv

    def cutting(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        if os.fstat(descriptor).st_size == len(WEIGHTS):
            os.truncate(model / "w.safetensors", len(WEIGHTS) - 1)
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", cutting)
    with pytest.raises(ArtifactError, match=r"w.safetensors changed while it was being read"):
        measure(model)


def test_measuring_starts_fast() -> None:
    code = (
        "import sys, assay.artifacts.measure, assay.artifacts.compare, assay.artifacts.snapshot, "
        "assay.formats.safetensors, assay.formats.npz, assay.frameworks.shelf; "
        "print(sorted({'numpy', 'sqlalchemy', 'pyarrow', 'pandas', 'sklearn', 'onnxruntime'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_same_weights_have_one_tensor_root_in_every_container(tmp_path: Path) -> None:
    weights = {"x": np.arange(6, dtype="f4").reshape(2, 3), "y": np.ones(3, dtype="i8")}
    (tmp_path / "a.safetensors").write_bytes(save(weights))
    np.savez(tmp_path / "b.npz", x=weights["x"], y=weights["y"])
    np.savez_compressed(tmp_path / "c.npz", x=weights["x"], y=weights["y"])
    np.savez(tmp_path / "d.npz", x=np.asfortranarray(weights["x"]), y=weights["y"].astype(">i8"))
    np.savez(tmp_path / "e.npz", x=weights["x"] + 1, y=weights["y"])
    roots = [measure(tmp_path / name).tensor_root for name in sorted(os.listdir(tmp_path))]  # noqa: PTH208  names only
    assert len(set(roots[:4])) == 1
    assert roots[0]
    assert roots[4] != roots[0]
