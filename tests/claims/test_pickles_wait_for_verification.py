"""Threat: a pickle that runs code, in every container that can hold one. It waits for verification.

Each model here would leave a mark on the disk the moment anybody unpickled it. Refused, it leaves
none; and neither signing nor verifying nor scanning nor holding it does, even when it is signed.
"""

from __future__ import annotations

import gzip
import io
import pickle
import shutil
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric import ec
from tests.unit.cli.prompt import typed

from assay.errors import LoadError, VerificationError
from assay.frameworks.shelf import TABLE
from assay.keys.pem import PemSigner, generate, load_public
from assay.signing.sign import sign
from assay.signing.signers import SignedByKey
from assay.signing.verify import verify

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGNER = PemSigner(ec.generate_private_key(ec.SECP256R1()), encrypted=False, loose_mode=False)
SIGNERS = SignedByKey(load_public(SIGNER.public_pem()))


class Marks:
    """Unpickled, it touches a file."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self._mark), "w")


def raw(thing: object) -> bytes:
    return pickle.dumps(thing)


def joblib_bytes(thing: object, compress: int = 0) -> bytes:
    file = io.BytesIO()
    joblib.dump({"array": np.arange(10), "thing": thing}, file, compress=compress)
    return file.getvalue()


def torch_bytes(thing: object, *, archive: bool) -> bytes:
    file = io.BytesIO()
    torch.save({"w": torch.ones(3), "thing": thing}, file, _use_new_zipfile_serialization=archive)
    return file.getvalue()


def object_array(thing: object) -> np.ndarray:
    array = np.empty(1, dtype=object)
    array[0] = thing
    return array


def npy(thing: object) -> bytes:
    file = io.BytesIO()
    np.save(file, object_array(thing), allow_pickle=True)
    return file.getvalue()


def npz(thing: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, w=object_array(thing))
    return file.getvalue()


def zipped(thing: object) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", raw(thing))
    return file.getvalue()


CONTAINERS: dict[str, Callable[[object], bytes]] = {
    "model.pkl": raw,
    "model.pkl.gz": lambda thing: gzip.compress(raw(thing)),
    "model.joblib": joblib_bytes,
    "compressed.joblib": lambda thing: joblib_bytes(thing, 3),
    "model.pt": lambda thing: torch_bytes(thing, archive=True),
    "legacy.pt": lambda thing: torch_bytes(thing, archive=False),
    "pytorch_model.bin": lambda thing: torch_bytes(thing, archive=True),
    "deflated.pt": zipped,
    "weights.npy": npy,
    "weights.npz": npz,
}
CODE_FREE = sorted(set(TABLE) - {"sklearn"})  # these open no pickle at all, or none that names more than tensors


def harmless(name: str) -> bytes:
    """What was signed: the same container with a number where the other one has its callable."""
    return CONTAINERS[name](7)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark"


@pytest.fixture(params=CONTAINERS)
def model(request: pytest.FixtureRequest, tmp_path: Path, mark: Path) -> Path:
    """A folder with one such file, beside the signature of another content of the same name."""
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "former").write_bytes(harmless(request.param))  # kept: the legacy container differs each time
    shutil.copyfile(tmp_path / "former", folder / request.param)
    sign(folder, SIGNER, signature=tmp_path / "former.sig", now=NOW)
    (folder / request.param).write_bytes(CONTAINERS[request.param](Marks(mark)))
    return folder


def test_the_mark_is_real(model: Path, mark: Path) -> None:
    (path,) = model.iterdir()
    load: Callable[[object], object] = {
        ".joblib": joblib.load,
        ".npy": lambda file: np.load(file, allow_pickle=True),
        ".npz": lambda file: np.load(file, allow_pickle=True)["w"],
    }.get(path.suffix, lambda file: torch.load(file, weights_only=False))
    if path.suffix in {".pkl", ".gz"}:
        load = lambda file: pickle.loads(  # noqa: E731, S301  our own mark
            gzip.decompress(Path(str(file)).read_bytes()) if path.suffix == ".gz" else Path(str(file)).read_bytes()
        )
    if path.name == "deflated.pt":
        with zipfile.ZipFile(path) as archive:
            pickle.loads(archive.read("archive/data.pkl"))  # noqa: S301  our own mark
    else:
        load(path)
    assert mark.exists()


@pytest.mark.parametrize("options", [{}, {"hold": True}, {"defer": True}, {"digests": "both"}], ids=str)
def test_a_pickle_put_in_place_of_a_signed_file_is_refused_and_never_unpickled(
    model: Path, mark: Path, options: dict[str, object]
) -> None:
    with pytest.raises(VerificationError, match="has other bytes than were signed"):
        verify(model, signature=model.parent / "former.sig", signers=SIGNERS, now=NOW, **options)  # type: ignore[arg-type]
    assert not mark.exists()


def test_a_pickle_swapped_in_after_verification_is_refused_by_every_plug(model: Path, mark: Path) -> None:
    (path,) = model.iterdir()
    evil = path.read_bytes()
    shutil.copyfile(model.parent / "former", path)
    for framework in TABLE:
        with verify(model, signature=model.parent / "former.sig", signers=SIGNERS, now=NOW) as verified:
            path.write_bytes(evil)
            with pytest.raises(VerificationError, match="has other bytes than were signed"):
                verified.load(framework)
        shutil.copyfile(model.parent / "former", path)
    assert not mark.exists()


def test_signing_verifying_and_holding_unpickle_nothing_even_when_it_is_signed(model: Path, mark: Path) -> None:
    sign(model, SIGNER, now=NOW)
    for options in ({}, {"hold": True}, {"digests": "both"}):
        with verify(model, signers=SIGNERS, now=NOW, **options) as verified:
            verified.files().folder()
    assert not mark.exists()


def test_plugs_that_need_no_code_run_none_even_when_it_is_signed(model: Path, mark: Path) -> None:
    sign(model, SIGNER, now=NOW)
    with verify(model, signers=SIGNERS, now=NOW, hold=True) as verified:
        for framework in CODE_FREE:
            with pytest.raises(LoadError):
                verified.load(framework)
    assert not mark.exists()


def test_nothing_is_started_on_it_and_the_scan_names_what_it_would_call(
    model: Path, mark: Path, tmp_path: Path
) -> None:
    generate(tmp_path / "other.pem", passphrase=None)
    (path,) = model.iterdir()
    evil = path.read_bytes()
    shutil.copyfile(model.parent / "former", path)
    assert typed("sign", model, "--key", tmp_path / "other.pem").code == 0
    path.write_bytes(evil)
    typed("exec", model, "--public-key", tmp_path / "other.pub", "--", "ls", "{model}").refused(1, path.name)
    found = typed("scan", model, "--json")
    assert found.code == 1, found.out
    assert "open" in found.out
    assert not mark.exists()
