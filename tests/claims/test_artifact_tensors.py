"""Promise: tensors swapped, retyped, overlapping, or followed by hidden bytes are found and named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests import containers

from assay.artifacts.compare import compare
from assay.artifacts.measure import measure
from assay.errors import ArtifactError

HEADER = {
    "alpha": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "beta": {"dtype": "F32", "shape": [2, 3], "data_offsets": [24, 48]},
}
DATA = bytes(range(48))


def container(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def header(**changes: dict[str, Any]) -> dict[str, Any]:
    return {name: {**entry, **changes.get(name, {})} for name, entry in HEADER.items()}


SWAPPED = header(alpha={"data_offsets": [24, 48]}, beta={"data_offsets": [0, 24]})
ATTACKS: dict[str, tuple[bytes, set[str]]] = {
    "tensors_swapped_between_names": (
        container(SWAPPED, DATA),
        {"changed m.safetensors", "tensor-changed m.safetensors:alpha", "tensor-changed m.safetensors:beta"},
    ),
    "bytes_of_two_tensors_swapped": (
        container(HEADER, DATA[24:] + DATA[:24]),
        {"changed m.safetensors", "tensor-changed m.safetensors:alpha", "tensor-changed m.safetensors:beta"},
    ),
    "dtype_edited": (
        container(header(beta={"dtype": "I32"}), DATA),
        {"changed m.safetensors", "tensor-retyped m.safetensors:beta"},
    ),
    "shape_edited": (
        container(header(beta={"shape": [3, 2]}), DATA),
        {"changed m.safetensors", "tensor-retyped m.safetensors:beta"},
    ),
    "tensor_renamed": (
        container({"alpha": HEADER["alpha"], "gamma": HEADER["beta"]}, DATA),
        {"changed m.safetensors", "tensor-missing m.safetensors:beta", "tensor-extra m.safetensors:gamma"},
    ),
    "metadata_added": (container({**HEADER, "__metadata__": {"a": "b"}}, DATA), {"changed m.safetensors"}),
    "overlapping_offsets": (
        container(header(beta={"data_offsets": [0, 24]}), DATA[:24]),
        {"changed m.safetensors", "malformed m.safetensors"},
    ),
    "gap": (
        container(header(beta={"data_offsets": [25, 49]}), DATA + b"x"),
        {"changed m.safetensors", "malformed m.safetensors"},
    ),
    "trailing_bytes": (container(HEADER, DATA + b"x"), {"changed m.safetensors", "malformed m.safetensors"}),
    "offsets_past_the_end": (container(HEADER, DATA[:-1]), {"changed m.safetensors", "malformed m.safetensors"}),
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.safetensors"
    path.write_bytes(container(HEADER, DATA))
    return path


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_is_found_and_named(attack: str, model: Path) -> None:
    signed = measure(model)
    raw, wanted = ATTACKS[attack]
    model.write_bytes(raw)
    findings = compare(signed, measure(model, collect=True))
    assert {f"{one.rule.removeprefix('artifact.')} {one.subject}" for one in findings} == wanted


@pytest.mark.parametrize("attack", ["overlapping_offsets", "gap", "trailing_bytes", "offsets_past_the_end"])
def test_a_malformed_container_is_never_signed(attack: str, model: Path) -> None:
    model.write_bytes(ATTACKS[attack][0])
    with pytest.raises(ArtifactError, match="not a sound safetensors file"):
        measure(model)


def test_a_swap_says_whose_bytes_a_tensor_now_holds(model: Path) -> None:
    signed = measure(model)
    model.write_bytes(ATTACKS["bytes_of_two_tensors_swapped"][0])
    details = [one.detail for one in compare(signed, measure(model, collect=True))]
    assert any("tensor alpha" in one and "holds the bytes signed as beta" in one for one in details)
    assert any("tensor beta" in one and "holds the bytes signed as alpha" in one for one in details)


# The same weights however they are written, so that a conversion can be checked against what was signed.
CONTAINERS: dict[str, Callable[[], bytes]] = {
    "m.safetensors": containers.SOUND[".safetensors"],
    "m.npz": containers.npz,
    "packed.npz": lambda: containers.npz(packed=True, columns=True, big=True),
    "m.pt": containers.torch_zip,
    "m.gguf": containers.gguf_file,
    "m.onnx": containers.onnx_raw,
    "m.h5": lambda: containers.hdf5(chunks=True, compression="gzip", shuffle=True),
}


def written(folder: Path, name: str, raw: bytes) -> Path:
    folder.mkdir()
    (folder / name).write_bytes(raw)
    return folder


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_same_weights_have_the_same_tensor_root_in_every_container(name: str, tmp_path: Path) -> None:
    signed = measure(written(tmp_path / "signed", "m.safetensors", CONTAINERS["m.safetensors"]()))
    other = measure(written(tmp_path / "other", name, CONTAINERS[name]()))
    assert signed.tensor_root
    assert other.tensor_root == signed.tensor_root


@pytest.mark.parametrize("name", CONTAINERS)
def test_one_other_element_is_another_tensor_root(name: str, tmp_path: Path) -> None:
    changed = {key: np.array(one) for key, one in containers.ARRAYS.items()}
    changed["encoder.bias"][3] += 1e-6
    signed = measure(written(tmp_path / "signed", name, CONTAINERS[name]()))
    other = measure(written(tmp_path / "other", "m.npz", containers.npz(changed)))
    assert other.tensor_root != signed.tensor_root


def test_sharded_and_external_models_have_it_too(tmp_path: Path) -> None:
    signed = measure(written(tmp_path / "signed", "m.safetensors", CONTAINERS["m.safetensors"]()))
    for name, write in (("sharded", containers.sharded), ("external", containers.onnx_external)):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
        assert measure(tmp_path / name).tensor_root == signed.tensor_root


INDEX = "model.safetensors.index.json"


def edit_index(folder: Path, **changes: str | None) -> None:
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"] = {key: value for key, value in {**index["weight_map"], **changes}.items() if value is not None}
    (folder / INDEX).write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("changes", "rule", "subject"),
    [
        ({"ghost": "model-00001-of-00002.safetensors"}, "artifact.shard-index", f"{INDEX}:ghost"),
        ({"scale": "model-00001-of-00002.safetensors"}, "artifact.shard-index", f"{INDEX}:scale"),
        ({"scale": None}, "artifact.shard-index", f"{INDEX}:scale"),
        ({"scale": "model-3.safetensors"}, "artifact.shard-index", f"{INDEX}:scale"),
        ({"scale": "../elsewhere.safetensors"}, "artifact.malformed", INDEX),
        ({"scale": "/etc/x.safetensors"}, "artifact.malformed", INDEX),
    ],
)
def test_an_index_that_disagrees_with_its_shards_is_never_signed(
    changes: dict[str, str | None], rule: str, subject: str, tmp_path: Path
) -> None:
    containers.sharded(tmp_path)
    measure(tmp_path)
    edit_index(tmp_path, **changes)
    with pytest.raises(ArtifactError) as error:
        measure(tmp_path)
    assert (rule, subject) in {(one.rule, one.subject) for one in error.value.findings}


@pytest.mark.parametrize("place", ["../outside.data", "/etc/passwd", "missing.data"])
def test_external_data_outside_the_model_are_never_signed(place: str, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    containers.onnx_external(model)
    (tmp_path / "outside.data").write_bytes((model / "weights.data").read_bytes())
    raw = onnx.load(model / "model.onnx", load_external_data=False)
    for tensor in raw.graph.initializer:
        next(entry for entry in tensor.external_data if entry.key == "location").value = place
    (model / "model.onnx").write_bytes(raw.SerializeToString())
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        measure(model)


def test_external_data_behind_a_link_are_never_signed(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    containers.onnx_external(model)
    (model / "weights.data").rename(tmp_path / "weights.data")
    (model / "weights.data").symlink_to(tmp_path / "weights.data")
    with pytest.raises(ArtifactError, match=r"weights\.data"):
        measure(model)


def test_external_data_cut_short_are_never_signed(tmp_path: Path) -> None:
    containers.onnx_external(tmp_path)
    path = tmp_path / "weights.data"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="ends at byte"):
        measure(tmp_path)


@pytest.mark.parametrize("ending", [".gguf", ".onnx", ".pt", ".npz", ".npy", ".h5", ".keras", ".json", ".ubj", ".txt"])
def test_hidden_bytes_behind_any_container_are_never_signed(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{ending}"
    path.write_bytes(containers.SOUND[ending]())
    measure(path)
    path.write_bytes(containers.SOUND[ending]() + b"\0hidden")
    with pytest.raises(ArtifactError, match="is not a sound"):
        measure(path)
