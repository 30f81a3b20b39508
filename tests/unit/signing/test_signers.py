from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from assay.artifacts.manifest import FileDigest, Manifest
from assay.errors import VerificationError
from assay.keys.pem import PemSigner, load_public
from assay.signing import bundle, reading
from assay.signing.bundle import Bundle
from assay.signing.moment import Moment
from assay.signing.signers import AllOf, AnyOf, Signatory, SignedBy, SignedByKey, UnsafeTrustAnyone
from assay.signing.trust import TrustStore

ANNA = "anna@example.org"


def rules(error: VerificationError) -> list[str]:
    return [finding.rule for finding in error.findings]


@pytest.fixture(scope="module")
def signed(signer: PemSigner) -> Bundle:
    return reading.parse(bundle.write(Manifest("m", (FileDigest("a", 1, "11" * 32, "22" * 32),)), signer))


@pytest.fixture(scope="module")
def forged(signer: PemSigner, stranger: PemSigner) -> Bundle:
    """A stranger's signature that names the trusted key."""
    text = bundle.write(Manifest("m", (FileDigest("a", 1, "11" * 32, "22" * 32),)), stranger)
    return reading.parse(text.replace(stranger.key_id.encode(), signer.key_id.encode()))


def test_the_right_key_and_the_right_person_are_accepted(
    signed: Bundle, signer: PemSigner, trust: TrustStore, now: datetime
) -> None:
    assert SignedByKey(load_public(signer.public_pem())).check(signed, Moment(now)).key_id == signer.key_id
    assert SignedBy(trust, [ANNA, "ben@example.org"]).check(signed, Moment(now)) == Signatory(ANNA, signer.key_id)


def test_another_key_is_refused(signed: Bundle, stranger: PemSigner, now: datetime) -> None:
    with pytest.raises(VerificationError, match="wanted") as caught:
        SignedByKey(load_public(stranger.public_pem())).check(signed, Moment(now))
    assert rules(caught.value) == ["signature.wrong-key"]


def test_a_forged_signature_under_a_trusted_keys_name_is_refused(
    forged: Bundle, signer: PemSigner, trust: TrustStore, now: datetime
) -> None:
    for rule in (SignedByKey(load_public(signer.public_pem())), SignedBy(trust, [ANNA])):
        with pytest.raises(VerificationError) as caught:
            rule.check(forged, Moment(now))
        assert rules(caught.value) == ["signature.bad"]


def test_the_right_key_of_the_wrong_person_is_refused(signed: Bundle, trust: TrustStore, now: datetime) -> None:
    with pytest.raises(VerificationError, match=re.escape(f"signed by {ANNA}, wanted ben@example.org")) as caught:
        SignedBy(trust, ["ben@example.org"]).check(signed, Moment(now))
    assert rules(caught.value) == ["signature.wrong-identity"]


def test_a_forged_signature_for_the_wrong_person_gives_both_reasons(
    forged: Bundle, trust: TrustStore, now: datetime
) -> None:
    with pytest.raises(VerificationError) as caught:
        SignedBy(trust, ["ben@example.org"]).check(forged, Moment(now))
    assert rules(caught.value) == ["signature.bad", "signature.wrong-identity"]


def test_a_key_unknown_early_late_or_revoked_is_refused(signed: Bundle, signer: PemSigner, now: datetime) -> None:
    pem, day = signer.public_pem(), timedelta(days=1)
    for store, rule in (
        (TrustStore(), "trust.unknown-key"),
        (TrustStore().trust(ANNA, pem, since=now + day), "trust.not-yet"),
        (TrustStore().trust(ANNA, pem, until=now - day), "trust.expired"),
        (TrustStore().trust(ANNA, pem).revoke(signer.key_id, at=now - day), "trust.revoked"),
    ):
        with pytest.raises(VerificationError) as caught:
            SignedBy(store, [ANNA]).check(signed, Moment(now))
        assert rules(caught.value) == [rule]


class OddVerifier:
    """A key of a scheme that has no place in a model signature, and that takes any signature."""

    key_id, algorithm = "11" * 32, "rsa-2048"

    def public_pem(self) -> bytes:
        return b""

    def verify(self, signature: bytes, data: bytes) -> None:
        del signature, data


def test_a_key_of_another_scheme_does_not_vouch_for_models(signed: Bundle, now: datetime) -> None:
    other = replace(signed, key_id=OddVerifier.key_id)
    with pytest.raises(VerificationError, match="rsa-2048") as caught:
        SignedByKey(OddVerifier()).check(other, Moment(now))
    assert rules(caught.value) == ["signature.wrong-key"]


def test_what_two_rules_say_of_one_signature_is_said_once(signed: Bundle, now: datetime) -> None:
    who = AllOf(UnsafeTrustAnyone(), UnsafeTrustAnyone()).check(signed, Moment(now))
    assert [finding.rule for finding in who.findings] == ["signature.unchecked"]


def test_a_scheme_that_the_reference_does_not_read_is_said(now: datetime) -> None:
    key = PemSigner(ed25519.Ed25519PrivateKey.generate(), encrypted=False, loose_mode=False)
    text = bundle.write(Manifest("m", (FileDigest("a", 1, "11" * 32, "22" * 32),)), key)
    who = SignedByKey(load_public(key.public_pem())).check(reading.parse(text), Moment(now))
    assert [finding.rule for finding in who.findings] == ["signature.not-everywhere"]


def test_all_of_needs_every_rule_and_says_every_reason(
    signed: Bundle, signer: PemSigner, stranger: PemSigner, trust: TrustStore, now: datetime
) -> None:
    mine, other = SignedByKey(load_public(signer.public_pem())), SignedByKey(load_public(stranger.public_pem()))
    assert AllOf(SignedBy(trust, [ANNA]), mine).check(signed, Moment(now)).identity == ANNA
    with pytest.raises(VerificationError) as caught:
        AllOf(mine, other, SignedBy(trust, ["ben"])).check(signed, Moment(now))
    assert rules(caught.value) == ["signature.wrong-key", "signature.wrong-identity"]


def test_any_of_needs_one_rule_and_otherwise_says_every_reason(
    signed: Bundle, signer: PemSigner, stranger: PemSigner, trust: TrustStore, now: datetime
) -> None:
    mine, other = SignedByKey(load_public(signer.public_pem())), SignedByKey(load_public(stranger.public_pem()))
    assert AnyOf(other, mine).check(signed, Moment(now)).key_id == signer.key_id
    with pytest.raises(VerificationError) as caught:
        AnyOf(other, SignedBy(trust, ["ben"])).check(signed, Moment(now))
    assert rules(caught.value) == ["signature.wrong-key", "signature.wrong-identity"]


def test_empty_rules_cannot_be_made(trust: TrustStore) -> None:
    with pytest.raises(ValueError, match="at least one rule"):
        AllOf()
    with pytest.raises(ValueError, match="at least one rule"):
        AnyOf()
    with pytest.raises(ValueError, match="at least one identity"):
        SignedBy(trust, [])
    with pytest.raises(TypeError, match="one text"):
        SignedBy(trust, ANNA)


class Mute:
    """A plug that refuses without a finding."""

    def check(self, bundle: Bundle, when: Moment) -> Signatory:  # noqa: ARG002 - it is the shelf's shape
        raise VerificationError("no")


def test_a_rule_that_refuses_without_a_reason_has_refused(signed: Bundle, now: datetime) -> None:
    for rule in (AllOf(Mute()), AnyOf(Mute()), AllOf(UnsafeTrustAnyone(), Mute())):
        with pytest.raises(VerificationError) as caught:
            rule.check(signed, Moment(now))
        assert rules(caught.value) == ["signature.refused"]


def test_trusting_anyone_says_so(forged: Bundle, now: datetime) -> None:
    who = UnsafeTrustAnyone().check(forged, Moment(now))
    assert (who.identity, who.key_id) == ("anyone", "")
    assert [finding.rule for finding in who.findings] == ["signature.unchecked"]
    assert AllOf(UnsafeTrustAnyone()).check(forged, Moment(now)).findings == who.findings
