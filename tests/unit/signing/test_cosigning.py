from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from assay.errors import ArtifactError, BundleError, KeyFileError, VerificationError
from assay.keys.pem import PemSigner, load_public
from assay.signing.cosigning import add_signature, cosign
from assay.signing.moment import Moment
from assay.signing.reading import parse
from assay.signing.sign import sign
from assay.signing.signers import (
    AllOf,
    AnyOf,
    AtLeast,
    SignedBy,
    SignedByKey,
    SignerRule,
    UnsafeTrustAnyone,
    signatory,
)
from assay.signing.trust import TrustStore
from assay.signing.verify import verify

ANNA, BEN, CLEO = "anna@example.org", "ben@example.org", "cleo@example.org"


def made() -> PemSigner:
    return PemSigner(ec.generate_private_key(ec.SECP256R1()), encrypted=False, loose_mode=False)


ONE, TWO, THREE, STRANGER = made(), made(), made(), made()


def by(signer: PemSigner) -> SignedByKey:
    return SignedByKey(load_public(signer.public_pem()))


def rules(error: VerificationError) -> list[str]:
    return [finding.rule for finding in error.findings]


@pytest.fixture
def model(tmp_path: Path, now: datetime) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"weights")
    sign(folder, ONE, now=now)
    return folder


@pytest.fixture
def both(model: Path, now: datetime) -> Path:
    cosign(model, TWO, now=now)
    return model


def spoil(model: Path, change: Callable[[Any], None]) -> None:
    body = json.loads((model / "model.sig").read_text())
    change(body)
    (model / "model.sig").write_text(json.dumps(body))


@pytest.fixture
def trust() -> TrustStore:
    store = TrustStore().trust(ANNA, ONE.public_pem()).trust(BEN, TWO.public_pem())
    return store.trust(ANNA, THREE.public_pem())


def test_two_people_sign_the_same_payload_and_both_are_named(both: Path, now: datetime) -> None:
    bundle = parse((both / "model.sig").read_bytes())
    assert [key_id for key_id, _ in bundle.signatures] == [ONE.key_id, TWO.key_id]
    who = signatory(AtLeast(2, by(ONE), by(TWO)), bundle, Moment(now))
    assert [(one.key_id, one.position) for one in who.each()] == [(ONE.key_id, 0), (TWO.key_id, 1)]
    assert verify(both, signers=AtLeast(2, by(ONE), by(TWO)), now=now).key_id == ONE.key_id


def test_what_is_signed_does_not_change_with_who_signs(model: Path, now: datetime) -> None:
    before = parse((model / "model.sig").read_bytes())
    cosign(model, TWO, now=now)
    after = parse((model / "model.sig").read_bytes())
    assert after.envelope.payload == before.envelope.payload
    assert after.signatures[0] == before.signatures[0]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (AtLeast(2, by(ONE), by(TWO)), []),
        (AtLeast(1, by(ONE), by(TWO)), []),
        (AllOf(by(ONE), by(TWO)), []),
        (AnyOf(by(ONE), by(TWO)), []),
        (UnsafeTrustAnyone(), []),
        (by(ONE), ["signature.unknown-cosigner"]),
        (by(TWO), ["signature.unknown-cosigner"]),
        (AnyOf(by(ONE), by(STRANGER)), ["signature.unknown-cosigner"]),
        (AtLeast(2, by(ONE), by(STRANGER)), ["signature.wrong-key", "signature.wrong-key", "signature.too-few"]),
        (AtLeast(3, by(ONE), by(TWO), by(THREE)), ["signature.wrong-key", "signature.wrong-key", "signature.too-few"]),
        (AllOf(by(ONE), by(THREE)), ["signature.wrong-key", "signature.wrong-key"]),
        (by(STRANGER), ["signature.wrong-key", "signature.wrong-key"]),
    ],
)
def test_rules_about_several_signers(both: Path, now: datetime, rule: SignerRule, expected: list[str]) -> None:
    bundle = parse((both / "model.sig").read_bytes())
    if not expected:
        assert signatory(rule, bundle, Moment(now)).position == 0
        return
    with pytest.raises(VerificationError) as caught:
        signatory(rule, bundle, Moment(now))
    assert rules(caught.value) == expected


def test_a_second_signature_that_is_bad_is_refused_whatever_the_first_is(both: Path, now: datetime) -> None:
    def forge(body: Any) -> None:  # noqa: ANN401 - it is any JSON
        signatures = body["dsseEnvelope"]["signatures"]
        signatures[1]["sig"] = signatures[0]["sig"]

    spoil(both, forge)
    for rule in (AtLeast(1, by(ONE), by(TWO)), AnyOf(by(ONE), by(TWO))):
        with pytest.raises(VerificationError) as caught:
            verify(both, signers=rule, now=now)
        assert rules(caught.value) == ["signature.bad"]


def test_a_first_signature_that_is_bad_is_refused_whatever_the_second_is(
    both: Path, trust: TrustStore, now: datetime
) -> None:
    def forge(body: Any) -> None:  # noqa: ANN401 - it is any JSON
        signatures = body["dsseEnvelope"]["signatures"]
        signatures[0]["sig"] = signatures[1]["sig"]

    spoil(both, forge)
    for rule in (AtLeast(1, by(ONE), by(TWO)), SignedBy(trust, [ANNA, BEN])):
        with pytest.raises(VerificationError) as caught:
            verify(both, signers=rule, now=now)
        assert rules(caught.value) == ["signature.bad"]


def test_identities_are_counted_not_keys(model: Path, trust: TrustStore, now: datetime) -> None:
    cosign(model, THREE, now=now)  # Anna's other key
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=SignedBy(trust, [ANNA, BEN], at_least=2), now=now)
    assert rules(caught.value) == ["signature.too-few"]
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=AtLeast(2, SignedBy(trust, [ANNA]), SignedBy(trust, [ANNA, BEN])), now=now)
    assert rules(caught.value) == ["signature.too-few"]
    cosign(model, TWO, now=now)
    assert verify(model, signers=SignedBy(trust, [ANNA, BEN], at_least=2), now=now).signer == ANNA


def test_one_key_counts_once_however_many_rules_know_it(model: Path, trust: TrustStore, now: datetime) -> None:
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=AtLeast(2, by(ONE), SignedBy(trust, [ANNA])), now=now)
    assert rules(caught.value) == ["signature.too-few"]


def test_a_cosigner_who_is_trusted_but_not_asked_for_does_not_count(
    both: Path, trust: TrustStore, now: datetime
) -> None:
    assert verify(both, signers=SignedBy(trust, [ANNA]), now=now).signer == ANNA
    assert verify(both, signers=SignedBy(trust, [BEN]), now=now).signer == BEN
    store = trust.trust(CLEO, STRANGER.public_pem())
    for rule in (
        SignedBy(store, [ANNA, CLEO], at_least=2),
        AtLeast(2, SignedBy(store, [ANNA]), SignedBy(store, [CLEO])),
    ):
        with pytest.raises(VerificationError) as caught:
            verify(both, signers=rule, now=now)
        assert "signature.too-few" in rules(caught.value)
    with pytest.raises(VerificationError) as caught:
        verify(both, signers=SignedBy(store, [CLEO]), now=now)
    assert rules(caught.value) == ["signature.wrong-identity"]


def test_a_cosigner_nobody_trusts_is_refused(model: Path, trust: TrustStore, now: datetime) -> None:
    cosign(model, STRANGER, now=now)
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=SignedBy(trust, [ANNA]), now=now)
    assert rules(caught.value) == ["trust.unknown-key"]


def test_a_cosigner_is_judged_by_the_time_of_their_own_signature(both: Path, trust: TrustStore, now: datetime) -> None:
    # The first signature was stamped before the second key was taken back; the second was not.
    bundle = parse((both / "model.sig").read_bytes())
    store = trust.revoke(TWO.key_id, at=now - timedelta(days=1))
    early = now - timedelta(days=2)
    when = Moment(now, early, {bundle.signatures[0][1]: early})
    with pytest.raises(VerificationError) as caught:
        signatory(SignedBy(store, [ANNA, BEN], at_least=2), bundle, when)
    assert "trust.revoked" in rules(caught.value)
    when = Moment(now, early, {signature: early for _, signature in bundle.signatures})
    assert signatory(SignedBy(store, [ANNA, BEN], at_least=2), bundle, when).identity == ANNA


def test_a_key_signs_once(both: Path, now: datetime) -> None:
    for signer in (ONE, TWO):
        with pytest.raises(KeyFileError, match="already"):
            cosign(both, signer, now=now)

    def twice(body: Any) -> None:  # noqa: ANN401 - it is any JSON
        signatures = body["dsseEnvelope"]["signatures"]
        signatures.append(signatures[1])

    spoil(both, twice)
    with pytest.raises(BundleError, match="twice"):
        verify(both, signers=AtLeast(2, by(ONE), by(TWO)), now=now)


def rename(word: str | None, body: Any) -> None:  # noqa: ANN401 - it is any JSON
    body["dsseEnvelope"]["signatures"][1]["keyid"] = word


def test_a_cosigner_who_does_not_name_a_key_is_malformed(both: Path, now: datetime) -> None:
    for word in ("", None, "xyz", "11"):
        spoil(both, partial(rename, word))
        with pytest.raises(BundleError):
            verify(both, signers=AtLeast(2, by(ONE), by(TWO)), now=now)


def test_a_bundle_has_a_bounded_number_of_signatures(both: Path, now: datetime) -> None:
    spoil(
        both,
        lambda body: body["dsseEnvelope"].update(
            signatures=[{**body["dsseEnvelope"]["signatures"][0], "keyid": f"{i:064x}"} for i in range(65)]
        ),
    )
    with pytest.raises(BundleError, match="more than 64"):
        verify(both, signers=by(ONE), now=now)


def test_no_signature_is_added_that_nobody_could_read_again(both: Path) -> None:
    def fill(body: Any) -> None:  # noqa: ANN401 - it is any JSON
        first = body["dsseEnvelope"]["signatures"][0]
        body["dsseEnvelope"]["signatures"] = [{**first, "keyid": f"{i:064x}"} for i in range(64)]

    spoil(both, fill)
    with pytest.raises(BundleError, match="more than 64"):
        add_signature(parse((both / "model.sig").read_bytes()), TWO)


def test_the_holder_of_a_certificate_does_not_sign_again_with_its_key(model: Path, now: datetime) -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "one")])
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    holder = PemSigner(key, encrypted=False, loose_mode=False)
    sign(model, holder, certificates=(certificate.public_bytes(Encoding.DER),), now=now)
    with pytest.raises(KeyFileError, match="already"):
        cosign(model, holder, now=now)


def test_changed_files_are_never_cosigned(model: Path, now: datetime) -> None:
    (model / "weights.bin").write_bytes(b"heavier")
    (model / "added.py").touch()
    before = (model / "model.sig").read_bytes()
    with pytest.raises(VerificationError) as caught:
        cosign(model, TWO, now=now)
    assert rules(caught.value) == ["artifact.extra", "artifact.changed"]
    assert (model / "model.sig").read_bytes() == before


def test_there_must_be_a_signature_to_add_to(tmp_path: Path, now: datetime) -> None:
    (tmp_path / "weights.bin").write_bytes(b"weights")
    with pytest.raises(ArtifactError, match="without --add"):
        cosign(tmp_path, TWO, now=now)


def test_a_log_hears_of_it_after_it_is_written(model: Path, now: datetime) -> None:
    class Journal:
        entries: list[tuple[object, ...]] = []  # noqa: RUF012 - one test, one journal

        def append(
            self, kind: str, subject: str, data: object, *, actor: str, now: datetime, once: str | None = None
        ) -> int:
            del now, once
            self.entries.append((kind, subject, data, actor, len(parse((model / "model.sig").read_bytes()).signatures)))
            return 0

    journal = Journal()
    cosign(model, TWO, log=journal, now=now)
    ((kind, subject, data, actor, signatures),) = journal.entries
    assert (kind, subject, actor, signatures) == ("model.cosigned", "model", f"key {TWO.key_id[:16]}", 2)
    assert isinstance(data, dict)
    assert data["key_id"] == TWO.key_id
    cosign(model, THREE, log=journal, actor="cleo", now=now)
    assert [entry[3] for entry in journal.entries[1:]] == ["cleo"]


def test_other_schemes_cosign_and_it_is_said(model: Path, now: datetime) -> None:
    key = PemSigner(ed25519.Ed25519PrivateKey.generate(), encrypted=False, loose_mode=False)
    cosign(model, key, now=now)
    verified = verify(model, signers=AtLeast(2, by(ONE), by(key)), now=now)
    assert [finding.rule for finding in verified.findings] == ["signature.not-everywhere"]


def test_a_key_of_another_scheme_cosigns_nothing(model: Path, now: datetime) -> None:
    class Odd:
        key_id, algorithm = "11" * 32, "rsa-2048"
        public_pem, sign = ONE.public_pem, ONE.sign

    with pytest.raises(KeyFileError, match="rsa-2048"):
        cosign(model, Odd(), now=now)


def test_the_form_of_020_takes_no_second_signature(model: Path) -> None:
    from dataclasses import replace

    with pytest.raises(BundleError, match="sign it again"):
        add_signature(replace(parse((model / "model.sig").read_bytes()), old=True), TWO)


def test_what_canonical_json_cannot_say_is_our_error(model: Path) -> None:
    def odd(body: Any) -> None:  # noqa: ANN401 - it is any JSON
        body["verificationMaterial"]["publicKey"]["more"] = 2**60

    spoil(model, odd)
    with pytest.raises(BundleError, match="canonical"):
        add_signature(parse((model / "model.sig").read_bytes()), TWO)


def test_rules_that_can_never_be_met_cannot_be_made(trust: TrustStore) -> None:
    for count in (0, 3):
        with pytest.raises(ValueError, match="1 to 2"):
            AtLeast(count, by(ONE), by(TWO))
        with pytest.raises(ValueError, match="1 to 2"):
            SignedBy(trust, [ANNA, BEN], at_least=count)
    with pytest.raises(ValueError, match="at least one rule"):
        AtLeast(1)


def test_a_single_file_takes_a_second_signature(tmp_path: Path, now: datetime) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"weights")
    sign(path, ONE, now=now)
    cosign(path, TWO, now=now)
    assert verify(path, signers=AtLeast(2, by(ONE), by(TWO)), now=now).root
    assert base64.b64decode(json.loads((tmp_path / "weights.bin.sig").read_text())["dsseEnvelope"]["payload"])
