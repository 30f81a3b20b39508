"""skops models with types of the signer's own: opened when the signature lists them, and only then."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import skops.io
from cryptography.hazmat.primitives.asymmetric import ec

from assay.errors import LoadError
from assay.keys.pem import PemSigner, load_public
from assay.signing.sign import sign
from assay.signing.signers import SignedByKey
from assay.signing.verify import verify

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGNER = PemSigner(ec.generate_private_key(ec.SECP256R1()), encrypted=False, loose_mode=False)
SIGNERS = SignedByKey(load_public(SIGNER.public_pem()))
ROWS = pa.table({"a": [1.0, 2.0]})


class Constant:
    """A model of the signer's own."""

    def __init__(self, answer: int) -> None:
        self.answer = answer

    def predict(self, rows: object) -> np.ndarray:
        return np.full(len(rows), self.answer)  # type: ignore[arg-type]  # a frame or a matrix


@pytest.fixture
def own() -> Iterator[type]:
    module = types.ModuleType("acme_models")
    module.Constant = type("Constant", (Constant,), {"__module__": "acme_models"})  # type: ignore[attr-defined]
    sys.modules["acme_models"] = module
    yield module.Constant
    del sys.modules["acme_models"]


@pytest.mark.parametrize("single", [False, True])
def test_a_type_that_the_signature_lists_is_opened(own: type, single: bool, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    model = folder / "model.skops" if single else folder
    skops.io.dump(own(7), folder / "model.skops")
    sign(model, SIGNER, signature=tmp_path / "s", now=NOW)
    with verify(model, signature=tmp_path / "s", signers=SIGNERS, now=NOW) as verified:
        assert verified.load("sklearn").predict(ROWS).labels.tolist() == [7, 7]


def test_a_type_that_the_signature_does_not_list_is_refused(own: type, tmp_path: Path) -> None:
    skops.io.dump(own(7), tmp_path / "model.skops")
    sign(tmp_path, SIGNER, callables={}, now=NOW)
    with (
        verify(tmp_path, signers=SIGNERS, now=NOW) as verified,
        pytest.raises(LoadError, match=r"holds acme_models\.Constant, not known to be harmless"),
    ):
        verified.load("sklearn")


def test_nobody_can_vouch_for_what_is_dangerous(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").touch()
    listed = {"labels.txt": {"os system", "acme_models Constant", "builtins eval"}}
    sign(tmp_path, SIGNER, callables=listed, now=NOW)
    with verify(tmp_path, signers=SIGNERS, now=NOW) as verified:
        assert verified._vouched() == {"labels.txt": frozenset({"acme_models.Constant"})}
