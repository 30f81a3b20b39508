"""Promise: tensors swapped, retyped, overlapping, or followed by hidden bytes are found and named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

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
