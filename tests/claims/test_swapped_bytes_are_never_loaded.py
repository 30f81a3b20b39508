"""Threats: a file swapped between verification and load, or while loading. Never the swapped bytes are opened."""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from assay.errors import VerificationError
from assay.frameworks import shelf
from assay.frameworks.base import ModelFiles
from assay.keys.pem import PemSigner, load_public
from assay.signing.sign import sign
from assay.signing.signers import SignedByKey
from assay.signing.verify import verify

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGNER = PemSigner(ec.generate_private_key(ec.SECP256R1()), encrypted=False, loose_mode=False)
SIGNERS = SignedByKey(load_public(SIGNER.public_pem()))
GOOD, EVIL = b"good" * 2_000, b"evil" * 2_000
RACES = 1_000


class Opened:
    """What the files held when they were opened: by path, and as a view."""

    def __init__(self, by_path: bytes, as_view: bytes) -> None:
        self.contents = (by_path, as_view)


class Plug:
    """A framework that reads the model in every way it can be read."""

    def open(self, files: ModelFiles) -> Opened:
        return Opened(Path(files.path("weights.bin")).read_bytes(), bytes(files.view("weights.bin")))


class Swapper(threading.Thread):
    """Swaps the file for an evil one and back, in place and by renaming, until told to stop."""

    def __init__(self, model: Path) -> None:
        super().__init__(daemon=True)
        self._target, self._other = model / "weights.bin", model.parent / "other.bin"
        self._ended = threading.Event()

    def run(self) -> None:
        generator = random.Random(5)  # noqa: S311 - it chooses a way, not a secret
        while not self._ended.is_set():
            for content in (EVIL, GOOD):
                if generator.random() < 0.5:
                    with self._target.open("r+b") as file:
                        file.write(content)
                else:
                    self._other.write_bytes(content)
                    self._other.replace(self._target)

    def end(self) -> None:
        self._ended.set()
        self.join()


@pytest.mark.parametrize("hold", [False, True])
def test_in_a_thousand_races_only_verified_bytes_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, hold: bool
) -> None:
    monkeypatch.setattr(shelf, "find", lambda _name: Plug())
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.bin").write_bytes(GOOD)
    signature = sign(model, SIGNER, signature=tmp_path / "model.sig", now=NOW).bundle_path
    swapper = Swapper(model)
    swapper.start()
    opened = refused = 0
    try:
        for _ in range(RACES // 2):  # the two cases make the thousand
            try:
                with verify(model, signature=signature, signers=SIGNERS, now=NOW, hold=hold) as verified:
                    contents = verified.load("raced").contents  # type: ignore[attr-defined]  # the plug's own
                opened += 1
                assert contents == (GOOD, GOOD)
            except VerificationError:
                refused += 1
    finally:
        swapper.end()
    assert opened + refused == RACES // 2
    assert opened > 0
    assert refused > 0  # otherwise the race was never a race
