from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assay.errors import VerificationError
from assay.keys.pem import PemSigner, generate
from assay.release.evidence import examine
from assay.signing.statement import LINEAGE, VALIDATION, Envelope, Statement, Subject, seal
from assay.signing.trust import TrustStore
from assay.storage.clock import utc_text

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
ROOT = "aa" * 32


@pytest.fixture
def signer(tmp_path: Path) -> PemSigner:
    return generate(tmp_path / "key.pem", passphrase=None)


@pytest.fixture
def trust(signer: PemSigner) -> TrustStore:
    return TrustStore().trust("release@example.org", signer.public_pem())


def statement(
    signer: PemSigner, predicate: dict[str, object], *, kind: str = VALIDATION, roots: tuple[str, ...] = (ROOT,)
) -> Envelope:
    subjects = tuple(Subject(f"model {number}", {"sha256": root}) for number, root in enumerate(roots))
    return seal(Statement(subjects, kind, predicate), signer)


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        ("PASSED", "pass"),
        ("WARNED", "insufficient"),
        ("FAILED", "fail"),
        ("passed", "insufficient"),
        (None, "insufficient"),
        (["PASSED"], "insufficient"),
    ],
)
def test_only_a_signed_pass_is_a_pass(signer: PemSigner, trust: TrustStore, result: object, outcome: str) -> None:
    envelope = statement(signer, {"result": result, "created": utc_text(NOW)})
    found = examine(envelope, kind="validation", root=ROOT, trust=trust, now=NOW)
    assert (found.outcome, found.identity, found.created) == (outcome, "release@example.org", NOW)
    assert found.digest == envelope.digest


@pytest.mark.parametrize("created", [None, "", "yesterday", 7])
def test_what_says_no_time_is_undated(signer: PemSigner, trust: TrustStore, created: object) -> None:
    envelope = statement(signer, {"result": "PASSED", "created": created})
    assert examine(envelope, kind="validation", root=ROOT, trust=trust, now=NOW).created is None


@pytest.mark.parametrize("roots", [("bb" * 32,), (ROOT, "bb" * 32), ("bb" * 32, ROOT)])
def test_a_pass_of_another_model_filed_under_this_one_does_not_count(
    signer: PemSigner, trust: TrustStore, roots: tuple[str, ...]
) -> None:
    envelope = statement(signer, {"result": "PASSED"}, roots=roots)
    with pytest.raises(VerificationError, match="other bytes") as caught:
        examine(envelope, kind="validation", root=ROOT, trust=trust, now=NOW)
    assert caught.value.findings[0].subject == "validation"


def test_a_statement_of_another_kind_does_not_count(signer: PemSigner, trust: TrustStore) -> None:
    lineage = statement(signer, {}, kind=LINEAGE)
    assert examine(lineage, kind="lineage", root=ROOT, trust=trust, now=NOW).outcome == "pass"
    with pytest.raises(VerificationError, match="does not count"):
        examine(lineage, kind="validation", root=ROOT, trust=trust, now=NOW)
    with pytest.raises(VerificationError, match="scan"):
        examine(lineage, kind="scan", root=ROOT, trust=trust, now=NOW)


def test_a_statement_of_an_unknown_or_revoked_key_does_not_count(signer: PemSigner, trust: TrustStore) -> None:
    envelope = statement(signer, {"result": "PASSED"})
    revoked = trust.revoke(signer.key_id, at=NOW - timedelta(days=1))
    for store in (TrustStore(), revoked):
        with pytest.raises(VerificationError, match="does not count"):
            examine(envelope, kind="validation", root=ROOT, trust=store, now=NOW)
