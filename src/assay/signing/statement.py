"""Signed statements about a model: in-toto Statement v1 in a DSSE envelope.

References:
    in-toto Attestation Framework, Statement v1; DSSE protocol v1.0.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from assay.errors import VerificationError
from assay.findings import Finding, Severity
from assay.keys.base import Signer
from assay.signing import canonical
from assay.signing.canonical import malformed
from assay.signing.moment import Moment
from assay.signing.trust import TrustStore

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"

VALIDATION = "https://in-toto.io/attestation/test-result/v0.1"
VSA = "https://slsa.dev/verification_summary/v1"
APPROVAL = "https://assay.dev/approval/v1"
LINEAGE = "https://assay.dev/lineage/v1"
ROLLBACK = "https://assay.dev/rollback/v1"
SCAN = "https://assay.dev/scan/v1"

WHAT = "statement"
ENVELOPE = "envelope"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a statement is about.

    Attributes:
        name: What people call it.
        digest: Hex digests by algorithm, at least one; they, not the name, say what it is.
    """

    name: str
    digest: Mapping[str, str]

    def __post_init__(self) -> None:
        if not self.name or not self.digest:
            raise ValueError("a subject needs a name and at least one digest")


@dataclass(frozen=True, slots=True)
class Statement:
    """Something said about subjects, not yet signed.

    Attributes:
        subjects: At least one, each under its own name.
        predicate_type: URI that says how to read the predicate.
        predicate: What is said; plain JSON values.
    """

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: Mapping[str, object]

    def __post_init__(self) -> None:
        names = [subject.name for subject in self.subjects]
        if not names or not self.predicate_type:
            raise ValueError("a statement needs at least one subject and a predicate type")
        if len(set(names)) != len(names):
            raise ValueError("a statement names each subject once")

    def payload(self) -> bytes:
        """The bytes that are signed: canonical JSON, the same in every process.

        Raises:
            ValueError: The predicate is not plain JSON.
        """
        return canonical.dumps(
            {
                "_type": STATEMENT_TYPE,
                "subject": [{"name": one.name, "digest": dict(one.digest)} for one in self.subjects],
                "predicateType": self.predicate_type,
                "predicate": dict(self.predicate),
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> Statement:
        """Read a statement from a payload.

        Raises:
            BundleError: The bytes are no in-toto Statement v1, or hold fields it does not have.
        """
        found = canonical.record(
            canonical.parse(payload, what=WHAT), ("_type", "subject", "predicateType", "predicate"), what=WHAT
        )
        if found["_type"] != STATEMENT_TYPE:
            raise malformed(WHAT, f"its type is {str(found['_type'])[:80]!r}, wanted {STATEMENT_TYPE!r}")
        predicate = found["predicate"]
        if not isinstance(predicate, dict):
            raise malformed(WHAT, "its predicate is no object")
        subjects = tuple(_subject(one) for one in canonical.sequence(found["subject"], what=WHAT))
        try:
            return cls(subjects, canonical.string(found["predicateType"], what=WHAT), predicate)
        except ValueError as err:
            raise malformed(WHAT, str(err)) from err


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload and who signed it, DSSE.

    Attributes:
        payload: The bytes signed, before base64.
        payload_type: Media type, part of what is signed.
        signatures: (key id, signature) pairs; the key id is a hint, "" when there is none.
    """

    payload: bytes
    payload_type: str
    signatures: tuple[tuple[str, bytes], ...]

    def as_json(self) -> dict[str, object]:
        """The envelope as plain JSON values."""
        return {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": self.payload_type,
            "signatures": [
                {"keyid": key_id, "sig": base64.b64encode(signature).decode()} for key_id, signature in self.signatures
            ],
        }

    def to_json(self) -> str:
        """The envelope as canonical JSON text."""
        return canonical.dumps(self.as_json()).decode()

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the canonical text, under which it is stored.

        An ECDSA signature has a second valid form, so one statement can come under two digests: what may
        be used once is counted by a name inside the statement, not by this.
        """
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def parse(cls, text: str | bytes) -> Envelope:
        """Read an envelope from JSON text of at most 64 MiB.

        Raises:
            BundleError: The text is no DSSE envelope.
        """
        return cls.take(canonical.parse(text, what=ENVELOPE))

    @classmethod
    def take(cls, value: object) -> Envelope:
        """Read an envelope from JSON values already parsed.

        Raises:
            BundleError: The values are no DSSE envelope.
        """
        found = canonical.record(value, ("payload", "payloadType", "signatures"), what=ENVELOPE)
        pairs: list[tuple[str, bytes]] = []
        for one in canonical.sequence(found["signatures"], what=ENVELOPE):
            signature = canonical.record(one, ("sig",), ("keyid",), what=ENVELOPE)
            key_id = signature.get("keyid") or ""  # OMS: absent, empty and null are all "no hint"
            if not isinstance(key_id, str):
                raise malformed(ENVELOPE, "a key id is no string")
            pairs.append((key_id, decode(signature["sig"], what=ENVELOPE)))
        if not pairs:
            raise malformed(ENVELOPE, "it has no signature")
        return cls(
            payload=decode(found["payload"], what=ENVELOPE),
            payload_type=canonical.string(found["payloadType"], what=ENVELOPE),
            signatures=tuple(pairs),
        )

    def signed_bytes(self) -> bytes:
        """What the signatures are over."""
        return pae(self.payload_type, self.payload)


@dataclass(frozen=True, slots=True)
class Opened:
    """A statement whose signature was checked.

    Attributes:
        statement: What is said.
        identity: Who says it, as the trust store names them.
        key_id: The key they used.
    """

    statement: Statement
    identity: str
    key_id: str


def pae(payload_type: str, payload: bytes) -> bytes:
    """Join type and payload into the bytes to sign, so that neither can pass for the other.

    References:
        DSSE protocol v1.0, pre-authentication encoding.
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal(statement: Statement, signer: Signer) -> Envelope:
    """Sign a statement.

    Raises:
        ValueError: The predicate is not plain JSON.
    """
    payload = statement.payload()
    return Envelope(payload, PAYLOAD_TYPE, ((signer.key_id, signer.sign(pae(PAYLOAD_TYPE, payload))),))


def open_envelope(envelope: Envelope, trust: TrustStore, *, predicate_type: str, now: datetime) -> Opened:
    """Check who signed an envelope, then read what it says.

    Args:
        envelope: From :meth:`Envelope.parse`.
        trust: Whose keys count.
        predicate_type: The kind of statement wanted; another kind, however well signed, is refused.
        now: The moment the key must be trusted at.

    Raises:
        VerificationError: Unknown, not yet trusted, expired or revoked key, bad signature, more than
            one signature, or another kind of statement. The reason is in ``findings``.
    """
    if envelope.payload_type != PAYLOAD_TYPE:
        raise _refusal("signature.payload-type", f"found payload type {envelope.payload_type[:80]!r}", PAYLOAD_TYPE)
    if len(envelope.signatures) != 1:
        # A signature that nobody checks could be taken for one that somebody did.
        raise _refusal("signature.count", f"found {len(envelope.signatures)} signatures", "exactly one")
    ((key_id, signature),) = envelope.signatures
    key = trust.identify(key_id, Moment(now))
    key.verifier().verify(signature, envelope.signed_bytes())
    statement = Statement.parse(envelope.payload)
    if statement.predicate_type != predicate_type:
        found = f"found a statement of type {statement.predicate_type[:80]!r}"
        raise _refusal("signature.predicate-type", found, predicate_type)
    return Opened(statement, key.identity, key.key_id)


def decode(value: object, *, what: str) -> bytes:
    """Take base64 text with its padding that says at least one byte, or raise BundleError."""
    text = canonical.string(value, what=what)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as err:
        raise malformed(what, "a field is not base64, or was cut short") from err


def _subject(value: object) -> Subject:
    # A subject is an in-toto resource descriptor, which may say more; what we do not know we do not obey.
    if not isinstance(value, dict):
        raise malformed(WHAT, "a subject is no object")
    digests = canonical.strings(value.get("digest"), what=WHAT)
    for digest in digests.values():
        canonical.hexadecimal(digest, what=WHAT)
    try:
        return Subject(canonical.string(value.get("name"), what=WHAT), digests)
    except ValueError as err:
        raise malformed(WHAT, str(err)) from err


def _refusal(rule: str, found: str, wanted: str) -> VerificationError:
    detail = f"{found}, wanted {wanted}"
    return VerificationError(detail, [Finding(rule, ENVELOPE, Severity.CRITICAL, detail)])
