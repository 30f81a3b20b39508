"""Signed human reviews: making one, and counting those that are valid for exactly these digests.

Approvals are counted by identity, never by key or account: two keys of one person are one
approval, and neither the requester nor the model's signer counts (four eyes).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Literal

from assay.errors import ApprovalError, StorageError, VerificationError
from assay.findings import Finding, Severity
from assay.keys.base import Signer
from assay.release.policy import ReleasePolicy
from assay.signing.statement import APPROVAL, Envelope, Opened, Statement, Subject, open_envelope, seal
from assay.signing.trust import TrustStore
from assay.storage.clock import from_text, utc_text

Verdict = Literal["approve", "reject"]
CLOCK_SKEW = timedelta(minutes=5)  # two well-kept machines differ by less


@dataclass(frozen=True, slots=True)
class ReviewSubject:
    """Exactly what is reviewed; an approval for anything else does not count.

    Attributes:
        model: Name of the model in assay.toml.
        model_root: Root digest of its files, hex.
        data_root: Root digest of its training data, hex; empty when the model declares none.
        policy_digest: Digest of the :class:`~assay.release.policy.ReleasePolicy`, hex.
        report_digest: Digest of the validation statement's envelope, hex; empty when the policy wants none.
        environment: Where it shall go live: ``production``.
        request_id: The request this answers; one deployment uses it up.
    """

    model: str
    model_root: str
    data_root: str
    policy_digest: str
    report_digest: str
    environment: str
    request_id: str

    def __post_init__(self) -> None:
        for name in ("model", "model_root", "policy_digest", "environment", "request_id"):
            if not getattr(self, name):  # two empty texts are equal: an unbound approval would fit anything
                raise ApprovalError(f"nothing to approve: the review names no {name}")

    def as_json(self) -> dict[str, str]:
        """The fields by name, as they are signed."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Review:
    """One counted decision of one person.

    Attributes:
        identity: Who decided, as the trust store names them.
        key_id: Which of their keys signed.
        decision: ``approve`` or ``reject``.
        reason: Their words.
        created: When they signed, by their own clock.
        digest: Hex SHA-256 of the signed payload: what a deployment uses up. Not the envelope's: an ECDSA
            signature has a second valid form, under which a used review would come back as a new one.
    """

    identity: str
    key_id: str
    decision: Verdict
    reason: str
    created: datetime
    digest: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How the reviews of one subject add up.

    Attributes:
        subject: What was reviewed.
        approved: Valid approvals, one for each identity.
        rejected: Valid rejections by approvers, one for each identity.
        refused: Why each other review does not count.
    """

    subject: ReviewSubject
    approved: tuple[Review, ...]
    rejected: tuple[Review, ...]
    refused: tuple[Finding, ...]


def approve(
    subject: ReviewSubject, signer: Signer, *, decision: Verdict, reason: str, created: datetime, expires: datetime
) -> Envelope:
    """Sign a decision about exactly this subject.

    Args:
        subject: What was looked at.
        signer: The reviewer's key; the trust store says whose it is.
        decision: ``approve`` or ``reject``.
        reason: Why, in the reviewer's words; a rejection needs one.
        created: Now.
        expires: When the decision stops counting; after ``created``.

    Raises:
        ApprovalError: The decision is unknown, expires before it begins, or rejects without a reason.
    """
    if decision not in ("approve", "reject"):
        raise ApprovalError(f"found the decision {decision!r}, wanted approve or reject")
    if expires <= created:
        raise ApprovalError(f"the approval would expire at {utc_text(expires)}, before it is made")
    if decision == "reject" and not reason.strip():
        raise ApprovalError("a rejection needs a reason: say what must change")
    predicate = {
        **subject.as_json(),
        "decision": decision,
        "reason": reason,
        "created": utc_text(created),
        "expires": utc_text(expires),
    }
    reviewed = (Subject(subject.model, {"sha256": subject.model_root}),)
    return seal(Statement(reviewed, APPROVAL, predicate), signer)


def count(
    envelopes: Iterable[Envelope],
    subject: ReviewSubject,
    policy: ReleasePolicy,
    trust: TrustStore,
    *,
    requester: str,
    model_signer: str,
    now: datetime,
    used: Collection[str],
) -> Tally:
    """Count the reviews that are valid for this subject, and say why each other one is not.

    Args:
        envelopes: Every review known of the model, in any order; nothing in them is believed.
        subject: What shall go live.
        policy: Who may approve.
        trust: Whose key is whose, and since when it is revoked.
        requester: Identity that asked for the release; never counts.
        model_signer: Identity that signed the model; never counts.
        now: The time to judge expiry and revocation at.
        used: Payload digests of reviews that earlier deployments used up.
    """
    if subject.policy_digest != policy.digest:  # a caller's mistake, not an attack: nothing was decided yet
        raise ApprovalError("the review is about another policy than the one in force: ask for a new request")
    outsiders = {_person(requester): "the requester", _person(model_signer): "the signer of the model"}
    valid: dict[str, list[Review]] = {}
    refused: list[Finding] = []
    for envelope in envelopes:
        try:
            review = _read(envelope, subject, trust, now)
            _check_person(review, policy, outsiders)
            if review.digest in used:
                raise _refusal("approval.used", review.identity, "was used up by an earlier deployment")
        except VerificationError as err:
            refused.extend(err.findings or (_finding("approval.unreadable", "an unreadable review", err.message),))
            continue
        valid.setdefault(_person(review.identity), []).append(review)
    latest = [_latest(reviews, refused) for reviews in valid.values()]
    return Tally(
        subject=subject,
        approved=tuple(review for review in latest if review.decision == "approve"),
        rejected=tuple(review for review in latest if review.decision == "reject"),
        refused=tuple(refused),
    )


def _read(envelope: Envelope, subject: ReviewSubject, trust: TrustStore, now: datetime) -> Review:
    """Verify one review's signature, subject and times."""
    opened = open_envelope(envelope, trust, predicate_type=APPROVAL, now=now)
    predicate = opened.statement.predicate
    decision = predicate.get("decision")
    if decision not in ("approve", "reject"):
        raise _refusal("approval.malformed", opened.identity, f"has the decision {decision!r}")
    wrong = _differences(opened, subject)
    if wrong:
        raise _refusal("approval.other-subject", opened.identity, f"is for something else: {'; '.join(wrong)}")
    created, expires = _time(opened, "created"), _time(opened, "expires")
    if created > now + CLOCK_SKEW:
        raise _refusal("approval.not-yet", opened.identity, f"says it was made in the future, at {utc_text(created)}")
    if expires <= now:
        raise _refusal("approval.expired", opened.identity, f"expired at {utc_text(expires)}")
    return Review(
        identity=opened.identity,
        key_id=opened.key_id,
        decision="approve" if decision == "approve" else "reject",
        reason=_text(predicate, "reason"),
        created=created,
        digest=hashlib.sha256(envelope.payload).hexdigest(),
    )


def _differences(opened: Opened, subject: ReviewSubject) -> list[str]:
    """Each signed field that is not the one wanted, the in-toto subject included."""
    predicate = opened.statement.predicate
    wrong = [
        f"{name} is {predicate.get(name)!r}, wanted {wanted!r}"
        for name, wanted in subject.as_json().items()
        if predicate.get(name) != wanted
    ]
    named = [(item.name, item.digest.get("sha256")) for item in opened.statement.subjects]
    if named != [(subject.model, subject.model_root)]:
        wrong.append("the statement's subject is another model")
    return wrong


def _check_person(review: Review, policy: ReleasePolicy, outsiders: Mapping[str, str]) -> None:
    """The four-eyes rule. Identities are compared without case: mail addresses have none in practice."""
    person = _person(review.identity)
    if person not in {_person(name) for name in policy.approvers}:
        raise _refusal("approval.not-an-approver", review.identity, "is by somebody the policy does not name")
    if review.decision == "approve" and person in outsiders:
        raise _refusal("approval.own-work", review.identity, f"is by {outsiders[person]}, who may not approve")


def _latest(reviews: list[Review], refused: list[Finding]) -> Review:
    """The last word of one person; at the same moment a rejection stands."""
    ranked = sorted(reviews, key=lambda review: (review.created, review.decision == "reject"))
    refused.extend(
        _finding("approval.repeated", review.identity, f"the review of {review.identity} is not their last: one counts")
        for review in ranked[:-1]
    )
    return ranked[-1]


def _person(identity: str) -> str:
    return identity.strip().casefold()


def _text(predicate: Mapping[str, object], name: str) -> str:
    value = predicate.get(name)
    return value if isinstance(value, str) else ""


def _time(opened: Opened, name: str) -> datetime:
    try:
        return from_text(_text(opened.statement.predicate, name))
    except StorageError as err:
        raise _refusal("approval.malformed", opened.identity, f"has no time {name!r}") from err


def _finding(rule: str, subject: str, detail: str) -> Finding:
    return Finding(rule, subject, Severity.WARNING, detail)


def _refusal(rule: str, identity: str, what: str) -> VerificationError:
    detail = f"the review of {identity} {what}"
    return VerificationError(detail, [_finding(rule, identity, detail)])
