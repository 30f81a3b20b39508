"""Threats: a model swapped while it is loaded, in every way there is to load one. 1,000 races each, none won.

The files are swapped in place, by renaming and by cutting, as fast as the disk takes it. What is
loaded has the signed values; everything else is a refusal.
"""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
import xgboost
from cryptography.hazmat.primitives.asymmetric import ec
from safetensors.numpy import save

from assay.errors import AssayError, VerificationError
from assay.keys.pem import PemSigner, load_public
from assay.signing.sign import sign
from assay.signing.signers import SignedByKey
from assay.signing.verified import VerifiedModel
from assay.signing.verify import verify

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGNER = PemSigner(ec.generate_private_key(ec.SECP256R1()), encrypted=False, loose_mode=False)
SIGNERS = SignedByKey(load_public(SIGNER.public_pem()))
RACES = 1_000
GOOD, EVIL = 2.0, 1e9
ENOUGH = 20  # loads and refusals that there must be, or the race was none

Files = Mapping[str, bytes]


def tensors(value: float) -> Files:
    return {"model.safetensors": save({"v": np.full(50, value, "f4"), "w": np.full(3000, value, "f4")})}


def shards(value: float) -> Files:
    return {f"{name}.safetensors": save({name: np.full(3000, value, "f4")}) for name in ("v", "w")}


def checkpoint(value: float) -> Files:
    raw = io.BytesIO()
    torch.save({"w": torch.full((3000,), value)}, raw)
    return {"model.pt": raw.getvalue()}


def booster(value: float) -> Files:
    rows = xgboost.DMatrix(np.arange(8.0).reshape(8, 1), np.full(8, value))
    return {"model.json": bytes(xgboost.train({"nthread": 1, "base_score": value}, rows, 1).save_raw("json"))}


def folder(value: float) -> Files:
    return {f"part-{number}/weights": np.full(500, value, "f4").tobytes() for number in range(4)}


def farthest(arrays: Mapping[str, object]) -> float:
    """How far the worst value is from the signed one."""
    return max(float(np.abs(np.asarray(array) - GOOD).max()) for array in arrays.values())


def one_by_one(model: VerifiedModel) -> float:
    found = model.load("safetensors")
    return farthest({name: found[name] for name in found})


def all_at_once(model: VerifiedModel) -> float:
    return farthest(model.load("safetensors").arrays())


def as_torch(model: VerifiedModel) -> float:
    return farthest(model.load("torch"))  # type: ignore[arg-type]  # a Checkpoint


def as_xgboost(model: VerifiedModel) -> float:
    booster_of = model.load("xgboost").booster  # type: ignore[attr-defined]  # XgboostModel
    return farthest({"answer": booster_of.predict(xgboost.DMatrix(np.zeros((1, 1))))})


def from_the_folder(model: VerifiedModel) -> float:
    place = Path(model.files().folder())
    return farthest({path.parent.name: np.fromfile(path, "f4") for path in place.rglob("weights")})


@contextmanager
def swapping(root: Path, good: Files, evil: Files) -> Iterator[None]:
    stop, chance = threading.Event(), random.Random(11)  # noqa: S311  it chooses a way, not a secret
    spare = root.parent / "spare"

    def put(path: Path, raw: bytes) -> None:
        way = chance.randrange(3)
        if way == 0:
            with path.open("r+b") as file:
                file.write(raw)
                file.truncate()
        elif way == 1:
            spare.write_bytes(raw)
            spare.replace(path)
        else:
            with path.open("r+b") as file:
                file.truncate(chance.randrange(len(raw)))
            path.write_bytes(raw)

    def run() -> None:
        while not stop.is_set():
            name = chance.choice(sorted(good))
            put(root / name, evil[name])
            put(root / name, good[name])
            stop.wait(chance.random() * 0.004)  # else no whole model would ever lie there

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


LOADS: dict[str, tuple[Callable[[float], Files], Callable[[VerifiedModel], float], dict[str, bool]]] = {
    "tensor by tensor": (tensors, one_by_one, {}),
    "tensors deferred": (tensors, all_at_once, {"defer": True}),
    "shards deferred": (shards, one_by_one, {"defer": True}),
    "shards at once": (shards, all_at_once, {}),
    "a folder": (folder, from_the_folder, {}),
    "a folder held": (folder, from_the_folder, {"hold": True}),
    "torch": (checkpoint, as_torch, {"hold": True}),
    "xgboost": (booster, as_xgboost, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", LOADS)
def test_in_a_thousand_races_only_the_signed_values_are_loaded(way: str, tmp_path: Path) -> None:
    made, load, options = LOADS[way]
    good, evil = made(GOOD), made(EVIL)
    root = tmp_path / "model"
    for name, raw in good.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(raw)
    signature = sign(root, SIGNER, signature=tmp_path / "model.sig", now=NOW).bundle_path
    loaded: list[float] = []
    refused = 0
    with swapping(root, good, evil):
        for _ in range(RACES):
            try:
                with verify(root, signature=signature, signers=SIGNERS, now=NOW, **options) as model:  # type: ignore[arg-type]  # hold or defer
                    loaded.append(load(model))
            except VerificationError:
                refused += 1
            except AssayError as err:  # a file that vanished or was cut in the middle of a read
                assert err.findings or "cannot be read" in err.message, err.message  # noqa: PT017
                refused += 1
    assert max(loaded) < 1e-6
    assert len(loaded) + refused == RACES
    assert len(loaded) >= ENOUGH
    assert refused >= ENOUGH


@pytest.mark.parametrize("way", LOADS)
def test_what_is_loaded_without_a_race_is_what_was_signed_and_the_evil_one_is_refused(way: str, tmp_path: Path) -> None:
    made, load, options = LOADS[way]
    root = tmp_path / "model"
    for value in (GOOD, EVIL):
        for name, raw in made(value).items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(raw)
        if value == GOOD:
            signature = sign(root, SIGNER, signature=tmp_path / "model.sig", now=NOW).bundle_path
            with verify(root, signature=signature, signers=SIGNERS, now=NOW, **options) as model:  # type: ignore[arg-type]  # hold or defer
                assert load(model) < 1e-6
    with (
        pytest.raises(VerificationError),
        verify(root, signature=signature, signers=SIGNERS, now=NOW, **options) as model,  # type: ignore[arg-type]  # hold or defer
    ):
        load(model)


@pytest.mark.parametrize("way", LOADS)
def test_what_is_swapped_after_verification_is_not_loaded(way: str, tmp_path: Path) -> None:
    made, load, options = LOADS[way]
    root = tmp_path / "model"
    for name, raw in made(GOOD).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(raw)
    signature = sign(root, SIGNER, signature=tmp_path / "model.sig", now=NOW).bundle_path
    with verify(root, signature=signature, signers=SIGNERS, now=NOW, **options) as model:  # type: ignore[arg-type]  # hold or defer
        for name, raw in made(EVIL).items():
            (root / name).write_bytes(raw)
        if options.get("hold"):
            assert load(model) < 1e-6
        else:
            with pytest.raises(VerificationError):
                load(model)
