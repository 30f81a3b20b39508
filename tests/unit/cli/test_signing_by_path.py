"""``assay sign PATH --expires``: the end is under the signature; a past one is refused before anything is written."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.unit.cli.prompt import at, typed

from assay.errors import VerificationError
from assay.keys.pem import generate, read_public
from assay.signing.signers import SignedByKey
from assay.signing.verify import verify


def test_a_signature_by_path_ends_when_it_says(tmp_path: Path, clock: datetime) -> None:
    here = tmp_path / "here"
    (here / "model").mkdir(parents=True)
    (here / "model" / "w.bin").write_bytes(b"weights")
    generate(here / "key.pem", passphrase=None)
    signers = SignedByKey(read_public(here / "key.pub"))
    tomorrow = clock + timedelta(days=1)
    with at(here):
        typed("sign", "model", "--key", "key.pem", "--expires", "2020-01-01").refused(2, "is past")
        assert not (here / "model" / "model.sig").exists()
        signed = typed("sign", "model", "--key", "key.pem", "--expires", f"{tomorrow:%Y-%m-%d %H:%M:%S}")
    assert signed.code == 0
    verify(here / "model", signers=signers, now=clock).close()
    with pytest.raises(VerificationError) as refused:
        verify(here / "model", signers=signers, now=tomorrow + timedelta(seconds=1))
    assert [finding.rule for finding in refused.value.findings] == ["signature.expired"]
