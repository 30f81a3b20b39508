"""Which reviews count: the row of threats.md on approvals, one attack a test."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from assay.errors import ApprovalError
from assay.keys.pem import PemSigner, generate
from assay.release.approval import ReviewSubject, Tally, approve, count
from assay.release.policy import ReleasePolicy
from assay.signing.statement import APPROVAL, LINEAGE, Envelope, Statement, Subject, seal
from assay.signing.trust import TrustStore

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=30)
POLICY = ReleasePolicy(
    signed_by=frozenset({"release@example.org"}),
    approvers=frozenset({"anna@example.org", "ben@example.org", "dora@example.org", "release@example.org"}),
    approvals=2,
)
SUBJECT = ReviewSubject("spam", "aa" * 32, "dd" * 32, POLICY.digest, "ee" * 32, "production", "request-1")
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
KeyOf = Callable[[str], PemSigner]


@pytest.fixture(scope="module")
def key_of(tmp_path_factory: pytest.TempPathFactory) -> KeyOf:
    folder: Path = tmp_path_factory.mktemp("keys")
    made: dict[str, PemSigner] = {}

    def get(name: str) -> PemSigner:
        if name not in made:
            made[name] = generate(folder / f"{name}.pem", passphrase=None)
        return made[name]

    return get


@pytest.fixture
def trust(key_of: KeyOf) -> TrustStore:
    store = TrustStore()
    for name in ("anna", "ben", "dora", "release", "mallory"):
        store = store.trust(f"{name}@example.org", key_of(name).public_pem())
    return store.trust("anna@example.org", key_of("anna-second").public_pem())


def signed(
    signer: PemSigner,
    subject: ReviewSubject = SUBJECT,
    *,
    decision: Literal["approve", "reject"] = "approve",
    created: datetime = NOW,
    expires: datetime = LATER,
) -> Envelope:
    return approve(subject, signer, decision=decision, reason="looked at it", created=created, expires=expires)


def counted(
    trust: TrustStore,
    *envelopes: Envelope,
    subject: ReviewSubject = SUBJECT,
    policy: ReleasePolicy = POLICY,
    used: frozenset[str] = frozenset(),
    now: datetime = NOW,
) -> Tally:
    return count(
        envelopes,
        subject,
        policy,
        trust,
        requester="dora@example.org",
        model_signer="release@example.org",
        now=now,
        used=used,
    )


def names(tally: Tally) -> list[str]:
    return sorted(review.identity for review in tally.approved)


def why(tally: Tally) -> list[str]:
    return [finding.rule for finding in tally.refused]


def test_two_approvers_count_as_two(trust: TrustStore, key_of: KeyOf) -> None:
    tally = counted(trust, signed(key_of("anna")), signed(key_of("ben")))
    assert names(tally) == ["anna@example.org", "ben@example.org"]
    assert tally.refused == ()


@pytest.mark.parametrize("name", ["dora", "release"])
def test_neither_the_requester_nor_the_models_signer_approves(trust: TrustStore, key_of: KeyOf, name: str) -> None:
    tally = counted(trust, signed(key_of(name)))
    assert names(tally) == []
    assert why(tally) == ["approval.own-work"]


def test_the_requester_under_another_spelling_is_the_requester(trust: TrustStore, key_of: KeyOf) -> None:
    tally = count(
        [signed(key_of("dora"))],
        SUBJECT,
        POLICY,
        trust,
        requester=" Dora@Example.org ",
        model_signer="release@example.org",
        now=NOW,
        used=(),
    )
    assert why(tally) == ["approval.own-work"]


def test_one_identity_with_two_keys_counts_once(trust: TrustStore, key_of: KeyOf) -> None:
    tally = counted(trust, signed(key_of("anna")), signed(key_of("anna-second"), created=NOW - timedelta(hours=1)))
    assert names(tally) == ["anna@example.org"]
    assert why(tally) == ["approval.repeated"]


def test_somebody_the_policy_does_not_name_does_not_count(trust: TrustStore, key_of: KeyOf) -> None:
    assert why(counted(trust, signed(key_of("mallory")))) == ["approval.not-an-approver"]


def test_an_unknown_key_does_not_count(trust: TrustStore, key_of: KeyOf) -> None:
    tally = counted(trust, signed(key_of("stranger")))
    assert names(tally) == []
    assert why(tally) == ["trust.unknown-key"]


def test_a_revoked_key_does_not_count_even_for_what_it_signed_before(trust: TrustStore, key_of: KeyOf) -> None:
    revoked = trust.revoke(key_of("anna").key_id, at=NOW - timedelta(minutes=1))
    tally = counted(revoked, signed(key_of("anna"), created=NOW - timedelta(days=1)))
    assert names(tally) == []
    assert why(tally) == ["trust.revoked"]


@pytest.mark.parametrize(
    "other",
    [
        replace(SUBJECT, model="ham"),
        replace(SUBJECT, model_root="bb" * 32),
        replace(SUBJECT, data_root="bb" * 32),
        replace(SUBJECT, data_root=""),
        replace(SUBJECT, policy_digest="bb" * 32),
        replace(SUBJECT, report_digest="bb" * 32),
        replace(SUBJECT, environment="staging"),
        replace(SUBJECT, request_id="request-0"),
    ],
)
def test_a_review_of_anything_else_does_not_count(trust: TrustStore, key_of: KeyOf, other: ReviewSubject) -> None:
    tally = counted(trust, signed(key_of("anna"), other))
    assert names(tally) == []
    assert why(tally) == ["approval.other-subject"]


def test_a_right_predicate_under_another_models_subject_does_not_count(trust: TrustStore, key_of: KeyOf) -> None:
    predicate = json.loads(signed(key_of("anna")).payload)["predicate"]
    forged = seal(Statement((Subject("spam", {"sha256": "bb" * 32}),), APPROVAL, predicate), key_of("anna"))
    assert why(counted(trust, forged)) == ["approval.other-subject"]


def test_another_kind_of_statement_with_the_words_of_an_approval_does_not_count(
    trust: TrustStore, key_of: KeyOf
) -> None:
    predicate = json.loads(signed(key_of("anna")).payload)["predicate"]
    forged = seal(Statement((Subject("spam", {"sha256": SUBJECT.model_root}),), LINEAGE, predicate), key_of("anna"))
    tally = counted(trust, forged)
    assert names(tally) == []
    assert len(tally.refused) == 1


@pytest.mark.parametrize("when", [LATER, LATER + timedelta(days=1)])
def test_an_expired_review_does_not_count(trust: TrustStore, key_of: KeyOf, when: datetime) -> None:
    assert why(counted(trust, signed(key_of("anna")), now=when)) == ["approval.expired"]


def test_a_review_from_the_future_does_not_count(trust: TrustStore, key_of: KeyOf) -> None:
    assert why(counted(trust, signed(key_of("anna"), created=NOW + timedelta(hours=1)))) == ["approval.not-yet"]


def test_a_used_review_does_not_count_again(trust: TrustStore, key_of: KeyOf) -> None:
    envelope = signed(key_of("anna"))
    (review,) = counted(trust, envelope).approved
    assert why(counted(trust, envelope, used=frozenset({review.digest}))) == ["approval.used"]


def test_a_used_review_does_not_come_back_under_the_other_form_of_its_signature(
    trust: TrustStore, key_of: KeyOf
) -> None:
    envelope = signed(key_of("anna"))
    (review,) = counted(trust, envelope).approved
    ((key_id, signature),) = envelope.signatures
    r, s = decode_dss_signature(signature)
    twin = replace(envelope, signatures=((key_id, encode_dss_signature(r, P256_ORDER - s)),))
    assert twin.digest != envelope.digest
    assert names(counted(trust, twin)) == ["anna@example.org"]  # the signature itself is good
    assert why(counted(trust, twin, used=frozenset({review.digest}))) == ["approval.used"]


@pytest.mark.parametrize("field", ["decision", "created", "expires"])
@pytest.mark.parametrize("value", [None, 7, "", "yes", "2026-13-01T00:00:00Z"])
def test_a_signed_review_with_odd_words_does_not_count(
    trust: TrustStore, key_of: KeyOf, field: str, value: object
) -> None:
    predicate = json.loads(signed(key_of("anna")).payload)["predicate"]
    odd = Statement((Subject("spam", {"sha256": SUBJECT.model_root}),), APPROVAL, {**predicate, field: value})
    assert why(counted(trust, seal(odd, key_of("anna")))) == ["approval.malformed"]


def test_an_edited_review_does_not_count(trust: TrustStore, key_of: KeyOf) -> None:
    envelope = signed(key_of("anna"), replace(SUBJECT, model_root="bb" * 32))
    edited = replace(envelope, payload=envelope.payload.replace(b"bb" * 32, b"aa" * 32))
    tally = counted(trust, edited)
    assert names(tally) == []
    assert len(tally.refused) == 1


def test_the_last_word_of_a_person_counts(trust: TrustStore, key_of: KeyOf) -> None:
    early = NOW - timedelta(hours=1)
    tally = counted(trust, signed(key_of("anna"), created=early), signed(key_of("anna"), decision="reject"))
    assert (names(tally), [review.identity for review in tally.rejected]) == ([], ["anna@example.org"])
    tally = counted(trust, signed(key_of("anna"), decision="reject", created=early), signed(key_of("anna")))
    assert (names(tally), tally.rejected) == (["anna@example.org"], ())


def test_the_requester_may_still_reject(trust: TrustStore, key_of: KeyOf) -> None:
    assert len(counted(trust, signed(key_of("dora"), decision="reject")).rejected) == 1


def test_one_refused_review_hides_no_other(trust: TrustStore, key_of: KeyOf) -> None:
    tally = counted(trust, signed(key_of("stranger")), signed(key_of("anna")), signed(key_of("mallory")))
    assert names(tally) == ["anna@example.org"]
    assert why(tally) == ["trust.unknown-key", "approval.not-an-approver"]


def test_a_subject_under_another_policy_is_a_wrong_use(trust: TrustStore, key_of: KeyOf) -> None:
    with pytest.raises(ApprovalError, match="another policy"):
        counted(trust, signed(key_of("anna")), policy=replace(POLICY, approvals=1))


@pytest.mark.parametrize("field", ["model", "model_root", "policy_digest", "environment", "request_id"])
def test_nobody_reviews_a_subject_that_names_nothing(field: str) -> None:
    with pytest.raises(ApprovalError, match=field):
        replace(SUBJECT, **{field: ""})


def test_a_review_that_could_never_count_is_not_signed(key_of: KeyOf) -> None:
    with pytest.raises(ApprovalError, match="before it is made"):
        signed(key_of("anna"), expires=NOW)
    with pytest.raises(ApprovalError, match="reason"):
        approve(SUBJECT, key_of("anna"), decision="reject", reason=" ", created=NOW, expires=LATER)
    with pytest.raises(ApprovalError, match="maybe"):
        approve(SUBJECT, key_of("anna"), decision="maybe", reason="", created=NOW, expires=LATER)  # type: ignore[arg-type]  # wrong on purpose
