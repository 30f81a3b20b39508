from __future__ import annotations

import re
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.authority import MAIL, NOW, Authority

from assay.artifacts.manifest import FileDigest, Manifest
from assay.errors import KeyFileError, VerificationError
from assay.keys.pem import PemSigner, load_public
from assay.keys.x509 import der
from assay.signing import bundle, reading
from assay.signing.bundle import Bundle
from assay.signing.certificate import SignedByCertificate
from assay.signing.cosigning import add_signature
from assay.signing.moment import Moment
from assay.signing.signers import AtLeast, SignedByKey, signatory

MANIFEST = Manifest("m", (FileDigest("a", 1, "11" * 32, "22" * 32),))
KEY, AUTHORITY = ec.generate_private_key(ec.SECP256R1()), Authority.root()
ROOT, LEAF = AUTHORITY.certificate, AUTHORITY.leaf(key=KEY)
SIGNER = PemSigner(KEY, encrypted=False, loose_mode=False)


@pytest.fixture(scope="module")
def signed() -> Bundle:
    return reading.parse(bundle.write(MANIFEST, SIGNER, certificates=(der(LEAF), der(ROOT))))


def rules(error: VerificationError) -> list[str]:
    return [finding.rule for finding in error.findings]


def test_whom_the_authority_certified_is_accepted_by_name(signed: Bundle) -> None:
    who = SignedByCertificate([ROOT], [MAIL, "ben@acme.example"]).check(signed, Moment(NOW))
    assert (who.identity, who.key_id, who.findings) == (MAIL, SIGNER.key_id, ())


def test_a_second_person_adds_a_signature_by_key(signed: Bundle, stranger: PemSigner) -> None:
    both = reading.parse(add_signature(signed, stranger))
    rule = SignedByCertificate([ROOT], [MAIL])
    who = signatory(AtLeast(2, rule, SignedByKey(load_public(stranger.public_pem()))), both, Moment(NOW))
    assert [one.key_id for one in who.each()] == [SIGNER.key_id, stranger.key_id]
    with pytest.raises(VerificationError) as caught:
        signatory(rule, both, Moment(NOW))
    assert rules(caught.value) == ["signature.unknown-cosigner"]


def test_the_right_authority_with_another_name_is_refused(signed: Bundle) -> None:
    with pytest.raises(VerificationError, match=re.escape(f"signed by {MAIL}, wanted eve@acme.example")) as caught:
        SignedByCertificate([ROOT], ["eve@acme.example"]).check(signed, Moment(NOW))
    assert rules(caught.value) == ["signature.wrong-identity"]


def test_the_right_name_from_another_authority_is_refused(signed: Bundle) -> None:
    with pytest.raises(VerificationError) as caught:
        SignedByCertificate([Authority.root().certificate], [MAIL]).check(signed, Moment(NOW))
    assert rules(caught.value) == ["certificate.untrusted"]


def test_an_expired_certificate_is_refused(signed: Bundle) -> None:
    with pytest.raises(VerificationError, match="expired on") as caught:
        SignedByCertificate([ROOT], [MAIL]).check(signed, Moment(NOW + timedelta(days=2)))
    assert rules(caught.value) == ["certificate.expired"]


def test_a_certificate_does_not_vouch_for_another_keys_signature(signed: Bundle, stranger: PemSigner) -> None:
    forged = reading.parse(bundle.write(MANIFEST, stranger))
    mixed = Bundle(
        signed.claim,
        None,
        forged.envelope,
        "certificate",
        "",
        None,
        signed.certificates,
        single=False,
        algorithm="sha256",
    )
    with pytest.raises(VerificationError) as caught:
        SignedByCertificate([ROOT], ["eve@acme.example"]).check(mixed, Moment(NOW))
    assert rules(caught.value) == ["signature.bad", "signature.wrong-identity"]


def test_accepting_anyone_certified_says_so(signed: Bundle) -> None:
    who = SignedByCertificate.of_any_identity([ROOT]).check(signed, Moment(NOW))
    assert who.identity == MAIL
    assert [finding.rule for finding in who.findings] == ["signature.any-identity"]


def test_keys_and_certificates_do_not_stand_for_each_other(signed: Bundle) -> None:
    by_key = reading.parse(bundle.write(MANIFEST, SIGNER))
    for rule, found in (
        (SignedByCertificate([ROOT], [MAIL]), by_key),
        (SignedByKey(load_public(SIGNER.public_pem())), signed),
    ):
        with pytest.raises(VerificationError) as caught:
            rule.check(found, Moment(NOW))
        assert rules(caught.value) == ["signature.wrong-method"]


def test_signing_with_somebody_elses_certificate_is_refused(stranger: PemSigner) -> None:
    with pytest.raises(KeyFileError, match="another key"):
        bundle.write(MANIFEST, stranger, certificates=(der(LEAF),))


def test_empty_rules_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="at least one"):
        SignedByCertificate([], [MAIL])
    with pytest.raises(ValueError, match="at least one"):
        SignedByCertificate([ROOT], [])
    with pytest.raises(TypeError, match="one text"):
        SignedByCertificate([ROOT], MAIL)
