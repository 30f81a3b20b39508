from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import BundleError, VerificationError
from assay.keys.pem import PemSigner
from assay.signing.statement import (
    APPROVAL,
    PAYLOAD_TYPE,
    STATEMENT_TYPE,
    VALIDATION,
    Envelope,
    Statement,
    Subject,
    open_envelope,
    pae,
    seal,
)
from assay.signing.trust import TrustStore

STATEMENT = Statement((Subject("spam", {"sha256": "ab" * 32}),), VALIDATION, {"result": "PASSED", "n": 3})


def rules(error: VerificationError) -> list[str]:
    return [finding.rule for finding in error.findings]


def test_pae_is_as_the_dsse_protocol_shows_it() -> None:
    # The example of the DSSE v1.0 protocol document.
    wanted = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pae("http://example.com/HelloWorld", b"hello world") == wanted


def test_a_signed_statement_comes_back_with_who_said_it(signer: PemSigner, trust: TrustStore, now: datetime) -> None:
    envelope = Envelope.parse(seal(STATEMENT, signer).to_json())
    opened = open_envelope(envelope, trust, predicate_type=VALIDATION, now=now)
    assert opened.statement == STATEMENT
    assert opened.identity == "anna@example.org"
    assert opened.key_id == signer.key_id


def test_the_signed_bytes_do_not_depend_on_the_order_things_were_said_in(signer: PemSigner) -> None:
    other = replace(STATEMENT, predicate={"n": 3, "result": "PASSED"})
    assert seal(other, signer).payload == seal(STATEMENT, signer).payload
    assert b" " not in STATEMENT.payload()


def test_an_envelope_is_stored_under_the_digest_of_its_text(signer: PemSigner) -> None:
    envelope = seal(STATEMENT, signer)
    loose = json.dumps(json.loads(envelope.to_json()), indent=2)
    assert Envelope.parse(loose).digest == envelope.digest
    assert len(envelope.digest) == 64


def test_one_changed_byte_of_the_payload_is_refused(signer: PemSigner, trust: TrustStore, now: datetime) -> None:
    envelope = seal(STATEMENT, signer)
    spoiled = replace(envelope, payload=envelope.payload.replace(b"PASSED", b"PASSEd"))
    with pytest.raises(VerificationError) as caught:
        open_envelope(spoiled, trust, predicate_type=VALIDATION, now=now)
    assert rules(caught.value) == ["signature.bad"]


def test_a_strangers_statement_is_refused(stranger: PemSigner, trust: TrustStore, now: datetime) -> None:
    with pytest.raises(VerificationError, match="does not know") as caught:
        open_envelope(seal(STATEMENT, stranger), trust, predicate_type=VALIDATION, now=now)
    assert rules(caught.value) == ["trust.unknown-key"]


def test_a_stranger_who_names_a_trusted_key_is_refused(
    signer: PemSigner, stranger: PemSigner, trust: TrustStore, now: datetime
) -> None:
    ((_, signature),) = seal(STATEMENT, stranger).signatures
    forged = Envelope(STATEMENT.payload(), PAYLOAD_TYPE, ((signer.key_id, signature),))
    with pytest.raises(VerificationError) as caught:
        open_envelope(forged, trust, predicate_type=VALIDATION, now=now)
    assert rules(caught.value) == ["signature.bad"]


def test_a_revoked_keys_statement_is_refused(signer: PemSigner, trust: TrustStore, now: datetime) -> None:
    revoked = trust.revoke(signer.key_id, at=now - timedelta(days=1))
    with pytest.raises(VerificationError) as caught:
        open_envelope(seal(STATEMENT, signer), revoked, predicate_type=VALIDATION, now=now)
    assert rules(caught.value) == ["trust.revoked"]


def test_a_statement_of_another_kind_does_not_count(signer: PemSigner, trust: TrustStore, now: datetime) -> None:
    with pytest.raises(VerificationError, match="test-result") as caught:
        open_envelope(seal(STATEMENT, signer), trust, predicate_type=APPROVAL, now=now)
    assert rules(caught.value) == ["signature.predicate-type"]


def test_a_signature_for_another_payload_type_does_not_count(
    signer: PemSigner, trust: TrustStore, now: datetime
) -> None:
    kind = "text/plain"
    payload = STATEMENT.payload()
    other = Envelope(payload, kind, ((signer.key_id, signer.sign(pae(kind, payload))),))
    with pytest.raises(VerificationError) as caught:
        open_envelope(other, trust, predicate_type=VALIDATION, now=now)
    assert rules(caught.value) == ["signature.payload-type"]


def test_a_second_signature_is_refused_because_nobody_checks_it(
    signer: PemSigner, trust: TrustStore, now: datetime
) -> None:
    envelope = seal(STATEMENT, signer)
    double = replace(envelope, signatures=(*envelope.signatures, (signer.key_id, b"bad")))
    with pytest.raises(VerificationError) as caught:
        open_envelope(double, trust, predicate_type=VALIDATION, now=now)
    assert rules(caught.value) == ["signature.count"]


Spoil = Callable[[dict[str, object]], object]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: {**body, "_type": "https://in-toto.io/Statement/v0.1"},
        lambda body: {**body, "more": 1},
        lambda body: {**body, "subject": []},
        lambda body: {**body, "subject": {}},
        lambda body: {**body, "subject": ["spam"]},
        lambda body: {**body, "subject": [{"name": "", "digest": {"sha256": "ab"}}]},
        lambda body: {**body, "subject": [{"name": "spam", "digest": {}}]},
        lambda body: {**body, "subject": [{"name": "spam"}]},
        lambda body: {**body, "subject": [{"name": "spam", "digest": {"sha256": "XY"}}]},
        lambda body: {**body, "subject": [{"name": "spam", "digest": {"sha256": 7}}]},
        lambda body: {**body, "subject": [{"name": "spam", "digest": {"sha256": "ab"}}] * 2},
        lambda body: {**body, "predicate": []},
        lambda body: {**body, "predicateType": ""},
        lambda body: {key: value for key, value in body.items() if key != "predicate"},
        lambda _: [],
        lambda _: None,
    ],
)
def test_a_malformed_statement_is_refused(spoil: Spoil) -> None:
    body = json.loads(STATEMENT.payload())
    assert body["_type"] == STATEMENT_TYPE
    with pytest.raises(BundleError):
        Statement.parse(json.dumps(spoil(body)).encode())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: {**body, "payload": "!!!!"},
        lambda body: {**body, "payload": body["payload"][:-1]},
        lambda body: {**body, "payload": ""},
        lambda body: {**body, "payload": "="},
        lambda body: {**body, "payload": "===="},
        lambda body: {**body, "payload": "ä"},
        lambda body: {**body, "payload": 5},
        lambda body: {**body, "payloadType": None},
        lambda body: {**body, "signatures": []},
        lambda body: {**body, "signatures": {}},
        lambda body: {**body, "signatures": ["sig"]},
        lambda body: {**body, "signatures": [{"keyid": "k"}]},
        lambda body: {**body, "signatures": [{"sig": ""}]},
        lambda body: {**body, "signatures": [{"sig": "AAAA", "keyid": 5}]},
        lambda body: {**body, "signatures": [{"sig": "AAAA", "cert": "x"}]},
        lambda body: {**body, "more": 1},
        lambda _: 7,
    ],
)
def test_a_malformed_envelope_is_refused(signer: PemSigner, spoil: Callable[[dict[str, str]], object]) -> None:
    body = json.loads(seal(STATEMENT, signer).to_json())
    with pytest.raises(BundleError):
        Envelope.parse(json.dumps(spoil(body)))


@pytest.mark.parametrize("key_id", [None, ""])
def test_an_envelope_without_a_key_id_parses_but_is_nobodys(
    signer: PemSigner, trust: TrustStore, now: datetime, key_id: str | None
) -> None:
    body = json.loads(seal(STATEMENT, signer).to_json())
    body["signatures"][0]["keyid"] = key_id
    with pytest.raises(VerificationError) as caught:
        open_envelope(Envelope.parse(json.dumps(body)), trust, predicate_type=VALIDATION, now=now)
    assert rules(caught.value) == ["trust.unknown-key"]


@given(st.binary(max_size=200))
def test_any_payload_under_a_valid_signature_is_a_statement_or_our_error(payload: bytes) -> None:
    with pytest.raises(BundleError):
        Statement.parse(payload)


@given(st.binary(min_size=1), st.text(min_size=1), st.lists(st.tuples(st.text(), st.binary(min_size=1)), min_size=1))
def test_every_envelope_survives_its_text(payload: bytes, kind: str, signatures: list[tuple[str, bytes]]) -> None:
    envelope = Envelope(payload, kind, tuple(signatures))
    assert Envelope.parse(envelope.to_json()) == envelope
    assert json.loads(envelope.to_json())["payload"] == base64.b64encode(payload).decode()


def test_half_made_statements_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="subject"):
        Statement((), VALIDATION, {})
    with pytest.raises(ValueError, match="once"):
        Statement((STATEMENT.subjects[0], STATEMENT.subjects[0]), VALIDATION, {})
    with pytest.raises(ValueError, match="digest"):
        Subject("spam", {})
