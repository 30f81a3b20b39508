"""Models signed on a PKCS#11 token: the reference implementation reads ours, we read what it signed."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests import token_box

from assay.errors import VerificationError
from assay.keys.pem import read_public
from assay.keys.pkcs11 import open_key
from assay.signing.sign import sign
from assay.signing.signers import SignedByKey
from assay.signing.verify import verify

HERE = Path(__file__).parent
PEER = HERE.parents[1] / ".venv-interop" / "bin" / "model_signing"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
# Signed by model_signing 1.1.1 with PyKCS11 and SoftHSM 2.6.1:
# model_signing sign pkcs11-key --pkcs11_uri 'pkcs11:token=assay;object=k256?pin-value=…&module-path=…' FOLDER
THEIRS = HERE / "signed_on_a_token"


@pytest.mark.skipif(not PEER.exists(), reason="model_signing is not installed: run make test")
@pytest.mark.parametrize("kind", ["p256", "p384", "p521"])
def test_model_signing_verifies_what_a_token_signed_for_us(tmp_path: Path, kind: str) -> None:
    token_box.box()
    token_box.make_key(tmp_path.name, kind)
    signer = open_key(token_box.address(tmp_path.name), lambda _: token_box.PIN).signer
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.bin").write_bytes(b"weights")
    public = tmp_path / "key.pub"
    public.write_bytes(signer.public_pem())
    signature = sign(model, signer, now=NOW).bundle_path
    words: list[str | Path] = [PEER, "verify", "key", model, "--signature", signature, "--public_key", public]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (model / "weights.bin").write_bytes(b"weightz")
    assert subprocess.run(words, capture_output=True, check=False).returncode != 0


def test_we_verify_what_a_token_signed_for_model_signing(tmp_path: Path) -> None:
    rule = SignedByKey(read_public(THEIRS.with_suffix(".pub")))
    model = tmp_path / "model"
    shutil.copytree(THEIRS, model)
    verify(model, signers=rule, now=NOW).close()
    (model / "weights.bin").write_bytes(b"others\n")
    with pytest.raises(VerificationError, match=r"weights\.bin"):
        verify(model, signers=rule, now=NOW)
