"""Whose keys count: changes to the trust store, each with its log entry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from assay.errors import ConfigError, KeyFileError, VerificationError
from assay.findings import Finding, Severity
from assay.keys.pem import read_public
from assay.project.project import Project
from assay.signing import store as signing_store
from assay.signing.moment import Moment
from assay.signing.trust import TrustedKey


def signing_identities(project: Project, name: str) -> frozenset[str]:
    """Whose signature counts for a model: the policy's signers, or without a policy anybody in the trust store.

    Raises:
        ConfigError: Nobody is trusted.
    """
    policy = project.config.model(name).policy
    identities = frozenset(policy.signed_by if policy else (key.identity for key in project.trust.keys))
    if not identities:
        raise ConfigError(
            "nobody is trusted to sign: assay keys trust IDENTITY KEY.pub, or set signed_by in the policy"
        )
    return identities


def must_count(project: Project, name: str, key_id: str, *, now: datetime) -> str:
    """Whose key it is, when what it signs counts for a model.

    Raises:
        VerificationError: The key is not trusted, or its owner does not sign this model.
    """
    wanted = signing_identities(project, name)
    identity = project.trust.identify(key_id, Moment(now)).identity
    if identity not in wanted:
        detail = f"{identity} does not sign {name}: wanted {' or '.join(sorted(wanted))}"
        raise VerificationError(detail, [Finding("signature.wrong-identity", name, Severity.CRITICAL, detail)])
    return identity


def trust_key(project: Project, identity: str, public: Path, *, until: datetime | None, now: datetime) -> TrustedKey:
    """Let the key in a file count as an identity, from now on.

    Raises:
        KeyFileError: The file holds no key we verify with.
        PolicyError: The key is there already.
    """
    end = until.replace(tzinfo=UTC) if until and until.tzinfo is None else until
    verifier = read_public(public)
    store = project.stored_trust.trust(identity, verifier.public_pem(), since=now, until=end)
    project.places.trust.parent.mkdir(parents=True, exist_ok=True)
    signing_store.write(project.places.trust, store)
    key = next(key for key in store.keys if key.key_id == verifier.key_id)
    data = {"identity": identity, "key_id": key.key_id, "until": key.until, "trust_digest": store.digest}
    project.log.append("key.trusted", identity, data, actor=project.actor, now=now)
    return key


def revoke_key(project: Project, key_id: str, *, at: datetime | None, now: datetime) -> TrustedKey:
    """Refuse what a key signed from a moment on.

    Args:
        project: Whose trust store.
        key_id: The whole key id, or enough of its first digits to be the only one.
        at: From when on; None for now.
        now: The present.

    Raises:
        KeyFileError: No key, or more than one, begins so.
    """
    store = project.stored_trust
    meant = [key for key in store.keys if key.key_id.startswith(key_id.lower())]
    if len(meant) != 1 or not key_id:
        raise KeyFileError(f"{len(meant)} trusted keys begin with {key_id!r}, one is wanted: see assay keys list")
    moment = now if at is None else at if at.tzinfo else at.replace(tzinfo=UTC)
    store = store.revoke(meant[0].key_id, at=moment)
    signing_store.write(project.places.trust, store)
    key = next(key for key in store.keys if key.key_id == meant[0].key_id)
    data = {"identity": key.identity, "key_id": key.key_id, "revoked": key.revoked, "trust_digest": store.digest}
    project.log.append("key.revoked", key.identity, data, actor=project.actor, now=now)
    return key


def rotate_key(
    project: Project, identity: str, public: Path, *, overlap: timedelta, now: datetime
) -> tuple[TrustedKey, tuple[TrustedKey, ...]]:
    """Let a new key count as an identity, and its keys until now no longer than an overlap.

    Returns:
        The new key, and the old ones with their end.

    Raises:
        KeyFileError: The file holds no key we verify with.
        PolicyError: The identity has no key to rotate, or the new one is there already.
    """
    verifier = read_public(public)
    before = project.stored_trust
    store = before.rotate(identity, verifier.public_pem(), now=now, overlap=overlap)
    signing_store.write(project.places.trust, store)
    key = next(key for key in store.keys if key.key_id == verifier.key_id)
    old = tuple(one for one in store.keys_of(identity) if one not in before.keys and one is not key)
    data = {
        "identity": identity,
        "key_id": key.key_id,
        "former": {one.key_id: one.until for one in old},
        "trust_digest": store.digest,
    }
    project.log.append("key.rotated", identity, data, actor=project.actor, now=now)
    return key, old
