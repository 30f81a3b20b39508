"""Threats, artifacts: one bit flipped in any file is refused, and named with its tensor (or part) and byte range.

Every container is written by the library that owns the format, signed, and flipped bit by bit; run
with ``-s`` to see the table.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests import containers

from assay.artifacts.manifest import TensorDigest
from assay.artifacts.measure import measure
from assay.errors import VerificationError
from assay.findings import Finding
from assay.keys.pem import PemSigner, load_public
from assay.signing.sign import sign
from assay.signing.signers import SignedByKey
from assay.signing.verify import verify

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGNER = PemSigner(ec.generate_private_key(ec.SECP256R1()), encrypted=False, loose_mode=False)
SIGNERS = SignedByKey(load_public(SIGNER.public_pem()))
FLIPS = 24  # random ones per format; with these seeds each format has at least one in each of its parts


def one_file(name: str, make: Callable[[], bytes]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_bytes(make())

    return write


MODELS: dict[str, Callable[[Path], None]] = {
    "safetensors": one_file("model.safetensors", containers.SOUND[".safetensors"]),
    "safetensors, sharded": containers.sharded,
    "npy": one_file("weights.npy", containers.npy),
    "npz": one_file("weights.npz", containers.npz),
    "npz, compressed": one_file("weights.npz", lambda: containers.npz(packed=True)),
    "PyTorch": one_file("model.pt", containers.torch_zip),
    "ONNX": one_file("model.onnx", containers.onnx_raw),
    "ONNX, external data": containers.onnx_external,
    "GGUF": one_file("model.gguf", containers.SOUND[".gguf"]),
    "HDF5": one_file("model.h5", containers.hdf5),
    "HDF5, chunked and packed": one_file("model.h5", containers.SOUND[".hdf5"]),
    "Keras": one_file("model.keras", containers.keras),
    "LightGBM": one_file("model.txt", containers.lightgbm_file),
    "XGBoost JSON": one_file("model.json", containers.SOUND[".json"]),
    "XGBoost UBJ": one_file("model.ubj", containers.SOUND[".ubj"]),
    "skops": one_file("model.skops", containers.skops_model),
}


def flips(parts: list[TensorDigest]) -> Iterator[tuple[TensorDigest, int, int]]:
    """A part, a byte of it, and a bit of that: once for each part, then anywhere."""
    chance = random.Random(2)  # noqa: S311  chooses places, guards nothing
    for part in [*parts, *chance.choices(parts, k=max(FLIPS - len(parts), 0))]:
        yield part, chance.randrange(part.start, part.end), chance.randrange(8)


def refused(model: Path) -> tuple[Finding, ...]:
    with pytest.raises(VerificationError) as error:
        verify(model, signers=SIGNERS, now=NOW)
    return error.value.findings


def naming(findings: tuple[Finding, ...], part: TensorDigest, at: int) -> Finding | None:
    """The finding that names this part and a range with this byte."""
    return next(
        (
            one
            for one in findings
            if one.subject == f"{part.file}:{part.name}"
            and int(one.numbers["start_byte"]) <= at < int(one.numbers["end_byte"])
        ),
        None,
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_flipped_bit_is_named_with_its_part_and_bytes(name: str, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    MODELS[name](model)
    parts = [part for part in measure(model).tensors if part.end > part.start]
    sign(model, SIGNER, now=NOW)
    verify(model, signers=SIGNERS, now=NOW)
    rows = {}
    for part, at, bit in flips(parts):
        path = model / part.file
        raw = path.read_bytes()
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :])
        findings = refused(model)
        path.write_bytes(raw)
        assert ("artifact.changed", part.file) in {(one.rule, one.subject) for one in findings}
        found = naming(findings, part, at)
        assert found is not None, (part, at, bit, findings)
        rows[part.name] = (f"byte {at} bit {bit}", found.subject, found.numbers)
    assert rows.keys() == {part.name for part in parts}
    shown = max(parts, key=lambda part: (part.dtype != "bytes" or "ree" in part.name, part.end - part.start))
    place, subject, numbers = rows[shown.name]
    row = f"{name:26}| {place:16}| {subject:58}| {numbers['start_byte']} to {numbers['end_byte']}"
    print(f"\n{row}", end=" ")  # noqa: T201  the table that -s shows
