from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import PolicyError, VerificationError
from assay.keys.pem import PemSigner
from assay.signing.moment import Moment
from assay.signing.trust import TrustedKey, TrustStore
from assay.storage.clock import utc_text

DAY = timedelta(days=1)
ANNA = "anna@example.org"


def rules(error: VerificationError) -> list[str]:
    return [finding.rule for finding in error.findings]


def test_an_empty_store_trusts_nobody(signer: PemSigner, now: datetime) -> None:
    with pytest.raises(VerificationError) as caught:
        TrustStore().identify(signer.key_id, Moment(now))
    assert rules(caught.value) == ["trust.unknown-key"]


def test_a_key_speaks_for_its_identity_between_its_times(signer: PemSigner, now: datetime) -> None:
    store = TrustStore().trust(ANNA, signer.public_pem(), since=now, until=now + DAY)
    assert store.identify(signer.key_id, Moment(now)).identity == ANNA
    with pytest.raises(VerificationError) as early:
        store.identify(signer.key_id, Moment(now - timedelta(microseconds=1)))
    assert rules(early.value) == ["trust.not-yet"]
    with pytest.raises(VerificationError) as late:
        store.identify(signer.key_id, Moment(now + DAY))
    assert rules(late.value) == ["trust.expired"]


def test_a_key_revoked_and_expired_gives_both_reasons(signer: PemSigner, now: datetime) -> None:
    store = TrustStore().trust(ANNA, signer.public_pem(), until=now).revoke(signer.key_id, at=now)
    with pytest.raises(VerificationError) as caught:
        store.identify(signer.key_id, Moment(now))
    assert rules(caught.value) == ["trust.revoked", "trust.expired"]
    assert ANNA in str(caught.value)


def test_a_revocation_counts_from_its_moment_and_an_earlier_one_stands(signer: PemSigner, now: datetime) -> None:
    store = TrustStore().trust(ANNA, signer.public_pem()).revoke(signer.key_id, at=now)
    assert store.identify(signer.key_id, Moment(now - DAY)).identity == ANNA
    assert store.revoke(signer.key_id, at=now + DAY) == store
    earlier = store.revoke(signer.key_id, at=now - DAY)
    with pytest.raises(VerificationError):
        earlier.identify(signer.key_id, Moment(now - DAY))


def test_an_unknown_key_cannot_be_revoked_silently(stranger: PemSigner, trust: TrustStore, now: datetime) -> None:
    with pytest.raises(PolicyError, match="found no key"):
        trust.revoke(stranger.key_id, at=now)


def test_one_key_speaks_for_one_identity(signer: PemSigner, trust: TrustStore) -> None:
    with pytest.raises(PolicyError, match="listed twice"):
        trust.trust("mallory@example.org", signer.public_pem())


def test_a_revoked_key_cannot_be_trusted_again(signer: PemSigner, trust: TrustStore, now: datetime) -> None:
    with pytest.raises(PolicyError):
        trust.revoke(signer.key_id, at=now).trust(ANNA, signer.public_pem())


def test_one_identity_may_have_several_keys(signer: PemSigner, stranger: PemSigner, trust: TrustStore) -> None:
    both = trust.trust(ANNA, stranger.public_pem())
    assert {key.key_id for key in both.keys_of(ANNA)} == {signer.key_id, stranger.key_id}
    assert both.keys_of("nobody") == ()


def test_a_key_under_anothers_id_is_refused(signer: PemSigner, stranger: PemSigner) -> None:
    with pytest.raises(PolicyError, match="listed as"):
        TrustedKey(ANNA, stranger.key_id, signer.public_pem().decode())


@pytest.mark.parametrize("identity", ["", "  ", "anna\nmallory", "anna\u202e"])
def test_an_identity_nobody_can_read_is_refused(signer: PemSigner, identity: str) -> None:
    with pytest.raises(PolicyError, match="people can read"):
        TrustStore().trust(identity, signer.public_pem())


def test_a_key_trusted_for_no_moment_is_refused(signer: PemSigner, now: datetime) -> None:
    with pytest.raises(PolicyError, match="no moment"):
        TrustStore().trust(ANNA, signer.public_pem(), since=now, until=now)


def test_what_is_no_key_is_refused() -> None:
    with pytest.raises(PolicyError, match="no PEM text"):
        TrustStore().trust(ANNA, b"hello")


def test_the_text_and_digest_do_not_depend_on_the_order_of_trusting(signer: PemSigner, stranger: PemSigner) -> None:
    one = TrustStore().trust(ANNA, signer.public_pem()).trust("ben", stranger.public_pem())
    two = TrustStore().trust("ben", stranger.public_pem()).trust(ANNA, signer.public_pem())
    assert one.to_json() == two.to_json()
    assert one.digest == two.digest != TrustStore().digest
    assert TrustStore.parse(one.to_json()).digest == one.digest


def test_times_survive_the_text(signer: PemSigner, now: datetime) -> None:
    store = TrustStore().trust(ANNA, signer.public_pem(), since=now, until=now + DAY).revoke(signer.key_id, at=now)
    assert TrustStore.parse(store.to_json()) == store


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: {**body, "version": 2},
        lambda body: {**body, "more": 1},
        lambda body: {**body, "keys": {}},
        lambda body: {**body, "keys": body["keys"] * 2},
        lambda body: {**body, "keys": [{**body["keys"][0], "key_id": "0" * 64}]},
        lambda body: {**body, "keys": [{**body["keys"][0], "key_id": "0"}]},
        lambda body: {**body, "keys": [{**body["keys"][0], "public_pem": "x"}]},
        lambda body: {**body, "keys": [{**body["keys"][0], "since": "yesterday"}]},
        lambda body: {**body, "keys": [{**body["keys"][0], "revoked": 5}]},
        lambda body: {**body, "keys": [{**body["keys"][0], "admin": True}]},
        lambda body: {**body, "keys": [{**body["keys"][0], "identity": ""}]},
        lambda _: [],
    ],
)
def test_half_a_trust_store_is_none(trust: TrustStore, spoil: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(PolicyError):
        TrustStore.parse(json.dumps(spoil(json.loads(trust.to_json()))))


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_text_is_a_store_or_our_error(text: bytes | str) -> None:
    with pytest.raises(PolicyError):
        TrustStore.parse(text)


def test_a_key_is_trusted_from_its_first_moment_until_its_last(signer: PemSigner, now: datetime) -> None:
    day = timedelta(days=1)
    (always,) = TrustStore().trust("anna", signer.public_pem()).keys
    (key,) = TrustStore().trust("anna", signer.public_pem(), since=now, until=now + 2 * day).keys
    (revoked,) = TrustStore((key,)).revoke(key.key_id, at=now + day).keys
    (only,) = TrustStore((always,)).revoke(always.key_id, at=now + day).keys
    moments = (now - day, now, now + day, now + 2 * day)
    assert [always.is_trusted(at) for at in moments] == [True, True, True, True]
    assert [key.is_trusted(at) for at in moments] == [False, True, True, False]
    assert [revoked.is_trusted(at) for at in moments] == [False, True, False, False]
    assert [only.is_trusted(at) for at in moments] == [True, True, False, False]


def test_rotating_ends_the_other_keys_after_the_overlap_and_never_later(
    signer: PemSigner, stranger: PemSigner, now: datetime
) -> None:
    overlap = timedelta(days=7)
    for until, ends in (
        (None, now + overlap),
        (now + 2 * overlap, now + overlap),
        (now + overlap / 2, now + overlap / 2),
    ):
        before = TrustStore().trust("anna", signer.public_pem(), until=until)
        old, new = before.rotate("anna", stranger.public_pem(), now=now, overlap=overlap).keys
        assert (old.until, old.since) == (utc_text(ends), None)
        assert (new.key_id, new.since, new.until) == (stranger.key_id, utc_text(now), None)


def test_only_who_has_a_trusted_key_can_rotate(signer: PemSigner, stranger: PemSigner, now: datetime) -> None:
    ended = TrustStore().trust("anna", signer.public_pem(), until=now)
    for store in (TrustStore(), ended, TrustStore().trust("ben", signer.public_pem())):
        with pytest.raises(PolicyError, match="anna has no trusted key to rotate"):
            store.rotate("anna", stranger.public_pem(), now=now, overlap=timedelta(days=1))
    with pytest.raises(PolicyError, match="beyond the year 9999"):
        TrustStore().trust("anna", signer.public_pem()).rotate(
            "anna", stranger.public_pem(), now=now, overlap=timedelta(days=3_000_000)
        )
