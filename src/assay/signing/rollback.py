"""A rollback, signed: that an older version counts again, and which one, said by somebody who may say so. Pure.

A signature says its version, and a host that has seen a newer one refuses an older: whoever can write the files
could put yesterday's weakness back. Who returns to it on purpose signs for exactly that step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from assay.errors import AssayError, VerificationError
from assay.findings import Finding, Severity
from assay.keys.base import Signer
from assay.signing import canonical
from assay.signing.canonical import malformed
from assay.signing.moment import CLOCK_SKEW
from assay.signing.statement import ROLLBACK, Envelope, Statement, Subject, open_envelope, seal
from assay.signing.trust import TrustStore
from assay.storage.clock import from_text, utc_text

WHAT = "rollback statement"
_FIELDS = ("name", "from", "to", "reason", "created")


@dataclass(frozen=True, slots=True)
class Rollback:
    """A step back.

    Attributes:
        name: The model's signed name.
        left: Version and root digest (hex) that is left.
        to: Version and root digest (hex) that counts again; lower.
        reason: Why, for people.
        created: Stored UTC text.
    """

    name: str
    left: tuple[int, str]
    to: tuple[int, str]
    reason: str
    created: str

    def __post_init__(self) -> None:
        if self.to[0] >= self.left[0]:
            raise ValueError(f"found a rollback from version {self.left[0]} to {self.to[0]}; wanted one to a lower one")
        if not self.reason.strip():
            raise ValueError("a rollback needs a reason")
        try:
            from_text(self.created)
        except AssayError as err:
            raise ValueError(err.message) from err

    def statement(self) -> Statement:
        """What is signed."""
        (left, left_root), (to, to_root) = self.left, self.to
        predicate = {
            "name": self.name,
            "from": {"version": left, "root": left_root},
            "to": {"version": to, "root": to_root},
            "reason": self.reason,
            "created": self.created,
        }
        return Statement((Subject(self.name, {"sha256": to_root}),), ROLLBACK, predicate)

    @classmethod
    def take(cls, statement: Statement) -> Rollback:
        """Read it from a statement.

        Raises:
            BundleError: A field is missing, does not belong there, or is not what it should be.
        """
        found = canonical.record(statement.predicate, _FIELDS, what=WHAT)
        try:
            made = cls(
                name=canonical.string(found["name"], what=WHAT),
                left=_version(found["from"]),
                to=_version(found["to"]),
                reason=canonical.string(found["reason"], what=WHAT),
                created=canonical.string(found["created"], what=WHAT),
            )
        except ValueError as err:
            raise malformed(WHAT, str(err)) from err
        if [(one.name, dict(one.digest)) for one in statement.subjects] != [(made.name, {"sha256": made.to[1]})]:
            raise malformed(WHAT, "its subject is not the version it returns to")
        return made


@dataclass(frozen=True, slots=True)
class Allowed:
    """A rollback that counts.

    Attributes:
        rollback: The step.
        identity: Who signed for it.
        digest: Hex SHA-256 of what was signed: it is used up by this.
    """

    rollback: Rollback
    identity: str
    digest: str


def sign_rollback(rollback: Rollback, signer: Signer) -> Envelope:
    """Sign a step back."""
    return seal(rollback.statement(), signer)


def make(name: str, left: tuple[int, str], to: tuple[int, str], *, reason: str, now: datetime) -> Rollback:
    """Say a step back that is taken now."""
    return Rollback(name, left, to, reason.strip(), utc_text(now))


def check(
    envelope: Envelope,
    trust: TrustStore,
    identities: Collection[str],
    *,
    name: str,
    seen: tuple[int, str],
    to: tuple[int, str],
    used: Collection[str],
    now: datetime,
) -> Allowed:
    """Return the rollback when it allows exactly this step.

    Args:
        envelope: As read.
        trust: Whose keys count.
        identities: Who may say so: the model's signers and approvers.
        name: The signed name of the model that is here.
        seen: Version and root digest of the newest that was seen here.
        to: Version and root digest of what is here.
        used: Digests of the rollbacks that were taken here already: each counts once, else it would allow the
            same step back again after the newer version had returned.
        now: The present.

    Raises:
        VerificationError: It is by nobody who may, about another step, or was used; every reason is in ``findings``.
    """
    opened = open_envelope(envelope, trust, predicate_type=ROLLBACK, now=now)
    found = Rollback.take(opened.statement)
    digest = hashlib.sha256(envelope.payload).hexdigest()
    against: list[str] = []
    if opened.identity not in identities:
        against.append(f"it is by {opened.identity}, wanted {' or '.join(sorted(identities))}")
    if (found.name, found.to) != (name, to):
        against.append(f"it returns to version {found.to[0]} of {found.name} ({found.to[1][:12]}), not to what is here")
    if found.left[0] < seen[0] or (found.left[0] == seen[0] and found.left[1] != seen[1]):
        against.append(f"it leaves version {found.left[0]}, but version {seen[0]} ({seen[1][:12]}) was seen here since")
    if digest in used:
        against.append("it was used here before")
    if from_text(found.created) > now + CLOCK_SKEW:
        against.append(f"it is of {found.created}, which is to come")
    if against:
        raise VerificationError("; ".join(against), [_against(one, name) for one in against])
    return Allowed(found, opened.identity, digest)


def _against(detail: str, name: str) -> Finding:
    return Finding("rollback.refused", name, Severity.CRITICAL, f"the rollback statement does not count: {detail}")


def _version(value: object) -> tuple[int, str]:
    found = canonical.record(value, ("version", "root"), what=WHAT)
    return canonical.whole(found["version"], what=WHAT), canonical.hexadecimal(found["root"], 64, what=WHAT)
