"""Whose keys count as which identity, and from when to when. Pure: files are in ``store``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from assay.errors import AssayError, KeyFileError, PolicyError, VerificationError
from assay.findings import Finding, Severity
from assay.keys.pem import PemVerifier, load_public
from assay.signing import canonical
from assay.signing.moment import Moment
from assay.storage.clock import from_text, utc_text

WHAT = "trust store"
VERSION = 1
_FIELDS = ("identity", "key_id", "public_pem", "since", "until", "revoked")


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """One key of one identity.

    Attributes:
        identity: Whom the key speaks for: ``anna@example.org``.
        key_id: Hex SHA-256 of ``public_pem``.
        public_pem: SubjectPublicKeyInfo PEM text.
        since: Stored UTC text; trusted from then on, None from ever.
        until: Stored UTC text; no longer trusted from then on, None for ever.
        revoked: Stored UTC text; from then on everything it signed is refused.
    """

    identity: str
    key_id: str
    public_pem: str
    since: str | None = None
    until: str | None = None
    revoked: str | None = None

    def __post_init__(self) -> None:
        if not self.identity.strip() or not self.identity.isprintable():
            raise PolicyError(f"found the identity {self.identity!r}; wanted a name people can read")
        found = self.verifier().key_id
        if found != self.key_id:
            raise PolicyError(f"the key of {self.identity} is {found}, but it is listed as {self.key_id}")
        for time in (self.since, self.until, self.revoked):
            if time is not None:
                _moment(time)
        if self.since is not None and self.until is not None and _moment(self.since) >= _moment(self.until):
            raise PolicyError(f"the key {self.key_id[:16]} of {self.identity} is trusted for no moment at all")

    def is_trusted(self, at: datetime) -> bool:
        """Whether it is trusted at a time."""
        begun = self.since is None or _moment(self.since) <= at
        return begun and all(end is None or at < _moment(end) for end in (self.until, self.revoked))

    def verifier(self) -> PemVerifier:
        """The key, ready to verify.

        Raises:
            PolicyError: The text is no key we verify with.
        """
        try:
            return load_public(self.public_pem.encode("utf-8", "replace"))
        except KeyFileError as err:
            raise PolicyError(f"the key of {self.identity}: {err.message}") from err

    def as_json(self) -> dict[str, object]:
        """The key as plain JSON values."""
        return {name: getattr(self, name) for name in _FIELDS}


@dataclass(frozen=True, slots=True)
class TrustStore:
    """All trusted keys. An empty one trusts nobody.

    Attributes:
        keys: Each key once; one identity may have several.
    """

    keys: tuple[TrustedKey, ...] = ()

    def __post_init__(self) -> None:
        owners: dict[str, str] = {}
        for key in self.keys:
            if key.key_id in owners:
                both = f"{owners[key.key_id]} and {key.identity}"
                raise PolicyError(f"the key {key.key_id[:16]} is listed twice, for {both}; one key speaks for one")
            owners[key.key_id] = key.identity

    def identify(self, key_id: str, when: Moment) -> TrustedKey:
        """Say whose key this is.

        Args:
            key_id: Hex SHA-256 of the public PEM text.
            when: Its end and its revocation are judged at the trusted time of the signature, else now; that it
                is trusted yet, always now.

        Raises:
            VerificationError: Rule ``trust.unknown-key``, ``trust.not-yet``, ``trust.expired`` or
                ``trust.revoked``; the last two and the second can come together.
        """
        key = next((one for one in self.keys if one.key_id == key_id), None)
        if key is None:
            name = key_id[:16] or "(not named)"
            detail = f"signed with the key {name}, which the trust store does not know"
            raise VerificationError(detail, [Finding("trust.unknown-key", name, Severity.CRITICAL, detail)])
        findings: list[Finding] = []
        name = f"the key {key.key_id[:16]} of {key.identity}"
        # A time inside the signed thing is the signer's own claim, and who stole a key can claim any: only the
        # word of a timestamp authority puts a signature before the end or the revocation of its key.
        if key.revoked is not None and when.at >= _moment(key.revoked):
            findings.append(_against(key, "trust.revoked", f"{name} was revoked on {key.revoked}"))
        if key.since is not None and when.now < _moment(key.since):
            findings.append(_against(key, "trust.not-yet", f"{name} is trusted only from {key.since} on"))
        if key.until is not None and when.at >= _moment(key.until):
            findings.append(_against(key, "trust.expired", f"{name} was trusted until {key.until}"))
        if findings:
            raise VerificationError("; ".join(one.detail for one in findings), findings)
        return key

    def keys_of(self, identity: str) -> tuple[TrustedKey, ...]:
        """All keys of one identity, trusted now or not."""
        return tuple(key for key in self.keys if key.identity == identity)

    def trust(
        self, identity: str, public_pem: bytes, *, since: datetime | None = None, until: datetime | None = None
    ) -> TrustStore:
        """Return a store that also trusts this key.

        Args:
            identity: Whom it speaks for.
            public_pem: The key.
            since: From when on; None from ever.
            until: Until when; None for ever.

        Raises:
            PolicyError: The key is there already (also when revoked: make a new key), or is no key of ours.
        """
        try:
            verifier = load_public(public_pem)
        except KeyFileError as err:
            raise PolicyError(f"the key of {identity}: {err.message}") from err
        key = TrustedKey(
            identity=identity,
            key_id=verifier.key_id,
            public_pem=verifier.public_pem().decode(),
            since=None if since is None else utc_text(since),
            until=None if until is None else utc_text(until),
        )
        return TrustStore((*self.keys, key))

    def rotate(self, identity: str, public_pem: bytes, *, now: datetime, overlap: timedelta) -> TrustStore:
        """Return a store that trusts a new key of an identity, and its others no longer than an overlap.

        Args:
            identity: Whose keys.
            public_pem: The new key.
            now: From when on it is trusted.
            overlap: For how long the others still are; what they signed counts on with a trusted timestamp only.

        Raises:
            PolicyError: The identity has no key that is trusted now, or the new key is there already.
        """
        try:
            end = now + overlap
        except OverflowError as err:
            raise PolicyError("an overlap beyond the year 9999 cannot be written: choose a shorter one") from err
        mine = [key for key in self.keys_of(identity) if key.is_trusted(now)]
        if not mine:
            raise PolicyError(f"{identity} has no trusted key to rotate: assay keys trust adds the first one")
        sooner = [key for key in mine if key.until is None or _moment(key.until) > end]
        ended = {key.key_id: replace(key, until=utc_text(end)) for key in sooner}
        kept = TrustStore(tuple(ended.get(key.key_id, key) for key in self.keys))
        return kept.trust(identity, public_pem, since=now)

    def revoke(self, key_id: str, *, at: datetime) -> TrustStore:
        """Return a store that refuses what this key signed, from ``at`` on.

        The key stays listed so that refusals can say whose it was. An earlier revocation stands.

        Raises:
            PolicyError: The key is not in the store.
        """
        found = next((key for key in self.keys if key.key_id == key_id), None)
        if found is None:
            raise PolicyError(f"found no key {key_id[:16]} to revoke; list the keys to see what is trusted")
        earlier = found.revoked is not None and _moment(found.revoked) <= at
        revoked = found if earlier else replace(found, revoked=utc_text(at))
        return TrustStore(tuple(revoked if key is found else key for key in self.keys))

    def to_json(self) -> str:
        """The store as canonical JSON text."""
        keys = [key.as_json() for key in sorted(self.keys, key=lambda one: (one.identity, one.key_id))]
        return canonical.dumps({"version": VERSION, "keys": keys}).decode()

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the canonical text: what approvals and gate decisions are bound to."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def parse(cls, text: str | bytes) -> TrustStore:
        """Read a store from JSON text.

        Raises:
            PolicyError: The text is no trust store; nobody is trusted by half of one.
        """
        try:
            found = canonical.record(canonical.parse(text, what=WHAT), ("version", "keys"), what=WHAT)
            if found["version"] != VERSION:
                raise PolicyError(f"found a trust store of version {found['version']!r}, wanted {VERSION}")
            return cls(tuple(_key(one) for one in canonical.sequence(found["keys"], what=WHAT)))
        except VerificationError as err:
            raise PolicyError(err.message, err.findings) from err


def _key(value: object) -> TrustedKey:
    found = canonical.record(value, _FIELDS, what=WHAT)
    return TrustedKey(
        identity=canonical.string(found["identity"], what=WHAT),
        key_id=canonical.hexadecimal(found["key_id"], 64, what=WHAT),
        public_pem=canonical.string(found["public_pem"], what=WHAT),
        since=_optional(found, "since"),
        until=_optional(found, "until"),
        revoked=_optional(found, "revoked"),
    )


def _optional(found: Mapping[str, object], field: str) -> str | None:
    return None if found[field] is None else canonical.string(found[field], what=WHAT)


def _moment(text: str) -> datetime:
    try:
        return from_text(text)
    except AssayError as err:
        raise PolicyError(f"the trust store is malformed: {err.message}") from err


def _against(key: TrustedKey, rule: str, detail: str) -> Finding:
    return Finding(rule, key.identity, Severity.CRITICAL, detail)
