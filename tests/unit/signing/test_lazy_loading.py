"""`verify(..., defer=True)` and what `load("safetensors")` does without a copy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from safetensors.numpy import load_file, save_file

from assay.errors import LoadError, VerificationError
from assay.keys.pem import PemSigner, generate, load_public
from assay.signing.sign import sign
from assay.signing.signers import SignedByKey
from assay.signing.verify import verify

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGNER = PemSigner(ec.generate_private_key(ec.SECP256R1()), encrypted=False, loose_mode=False)
SIGNERS = SignedByKey(load_public(SIGNER.public_pem()))


class Log:
    def __init__(self) -> None:
        self.kinds: list[str] = []

    def append(
        self, kind: str, subject: str, data: Mapping[str, object], *, actor: str, now: datetime, once: str | None = None
    ) -> int:
        del subject, data, actor, now, once
        self.kinds.append(kind)
        return len(self.kinds) - 1


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"v": np.arange(5, dtype="f4"), "w": np.ones((2, 3), dtype="f8")}, folder / "a.safetensors")
    save_file({"x": np.zeros(4, dtype="i4")}, folder / "b.safetensors")
    (folder / "config.json").write_text("{}")
    sign(folder, SIGNER, now=NOW)
    return folder


def flip(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))


def test_a_deferred_verification_says_so_and_gives_what_was_signed(model: Path) -> None:
    with verify(model, signers=SIGNERS, now=NOW, defer=True) as verified:
        assert [one.rule for one in verified.findings] == ["verify.deferred"]
        tensors = verified.load("safetensors")
        assert set(tensors) == {"v", "w", "x"}
        assert np.array_equal(tensors["v"], np.arange(5, dtype="f4"))
        assert tensors["w"].dtype == np.float64
        assert not tensors["w"].flags.writeable
        assert {name: array.shape for name, array in tensors.arrays().items()} == {"v": (5,), "w": (2, 3), "x": (4,)}
        assert verified._snapshot is None  # no copy was taken
        root = verified.root
    with verify(model, signers=SIGNERS, now=NOW, digests="both") as whole:
        assert whole.root == root


def test_a_changed_tensor_passes_the_deferred_verification_and_is_refused_when_read(model: Path) -> None:
    flip(model / "b.safetensors")
    log, told = Log(), list[VerificationError]()
    with verify(model, signers=SIGNERS, now=NOW, defer=True, log=log, on_refusal=told.append) as verified:
        tensors = verified.load("safetensors")
        assert tensors["v"].tolist() == [0, 1, 2, 3, 4]
        assert log.kinds == []
        with pytest.raises(VerificationError, match=r"tensor x of b\.safetensors \(bytes \d+ to \d+\)") as caught:
            tensors["x"]
        assert [one.subject for one in caught.value.findings] == ["b.safetensors:x"]
        assert log.kinds == ["verify.refused"]
        assert told == [caught.value]
        with pytest.raises(VerificationError):
            tensors.arrays()
    with pytest.raises(VerificationError):
        verify(model, signers=SIGNERS, now=NOW)


def test_everything_else_is_checked_at_once(model: Path) -> None:
    (model / "config.json").write_text('{"evil": 1}')
    (model / "extra").touch()
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=SIGNERS, now=NOW, defer=True)
    assert {one.rule for one in caught.value.findings} == {"artifact.changed", "artifact.extra"}


def test_another_plug_gets_a_copy_that_is_verified_as_a_whole(model: Path) -> None:
    with verify(model, signers=SIGNERS, now=NOW, defer=True) as verified:
        assert bytes(verified.files().view("config.json")) == b"{}"
    flip(model / "a.safetensors")
    with (
        verify(model, signers=SIGNERS, now=NOW, defer=True) as verified,
        pytest.raises(VerificationError, match=r"a\.safetensors"),
    ):
        verified.load("onnx")


def test_a_single_file_is_read_lazily_too(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    save_file({"w": np.ones(3, dtype="f4")}, path)
    sign(path, SIGNER, now=NOW)
    with verify(path, signers=SIGNERS, now=NOW, defer=True) as verified:
        tensors = verified.load("safetensors")
        assert tensors["w"].tolist() == [1, 1, 1]
        flip(path)
        with pytest.raises(VerificationError, match=r"tensor w of one\.safetensors"):
            tensors["w"]
    with pytest.raises(LoadError, match="closed with its model"):
        tensors["w"]


def test_what_is_held_is_opened_from_the_copy(model: Path) -> None:
    with verify(model, signers=SIGNERS, now=NOW, hold=True) as verified:
        flip(model / "b.safetensors")
        assert verified.load("safetensors")["x"].tolist() == [0, 0, 0, 0]
    with pytest.raises(ValueError, match="choose one"):
        verify(model, signers=SIGNERS, now=NOW, hold=True, defer=True)


LOAD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from assay import SignedByKey, read_public, verify
path = Path(sys.argv[1])
rule = SignedByKey(read_public(Path(sys.argv[2])))
with verify(path, signers=rule, now=datetime.now(UTC), defer=True) as model:
    arrays = model.load("safetensors").arrays()
lines = Path("/proc/self/status").read_text().splitlines()  # getrusage would count who started us
print(len(arrays), next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")))
"""


def test_loading_takes_no_more_memory_than_the_model_and_200_mb(tmp_path: Path) -> None:
    path, megabytes = tmp_path / "big.safetensors", 320
    save_file({f"w{number}": np.full((20, 1024, 1024), number, dtype="u1") for number in range(16)}, path)
    sign(path, generate(tmp_path / "key.pem", passphrase=None), now=datetime.now(UTC))
    line = [sys.executable, "-c", LOAD, str(path), str(tmp_path / "key.pub")]
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=120)
    count, peak = map(int, done.stdout.split())
    assert count == len(load_file(path))
    assert megabytes <= peak <= megabytes + 200
