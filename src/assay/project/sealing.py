"""The root key of a project: whose signature the trust store and the policy must carry, and whether they do.

Which key is the root stands in the audit log, so that nobody takes it away unseen; the seal is a signed
statement over the digests of both, and the log says which seal is the newest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import BundleError, KeyFileError, PolicyError, PolicyTamperedError, VerificationError
from assay.keys.base import Signer, Verifier
from assay.keys.pem import load_public
from assay.project.config import ModelConfig, ProjectConfig
from assay.signing import canonical
from assay.signing.statement import PAYLOAD_TYPE, Envelope, Statement, Subject, seal
from assay.signing.store import read_bounded, write_whole
from assay.signing.trust import TrustStore
from assay.storage.clock import utc_text

if TYPE_CHECKING:
    from assay.project.project import Project

SEAL = "https://assay.dev/trust-seal/v1"
ROOT = "https://assay.dev/trust-root/v1"
ROOT_SET, SEALED = "trust.root-set", "trust.sealed"


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a seal was made over.

    Attributes:
        trust_digest: Hex SHA-256 of the trust store.
        policy_digest: Hex SHA-256 of the policy parts of assay.toml.
        key_id: The root key.
    """

    trust_digest: str
    policy_digest: str
    key_id: str

    def as_json(self) -> dict[str, object]:
        """The fields as plain JSON values."""
        return {"trust_digest": self.trust_digest, "policy_digest": self.policy_digest, "key_id": self.key_id}


def policy_digest(config: ProjectConfig) -> str:
    """Hex SHA-256 of what assay.toml says about whom to believe and what must hold.

    In it are the place of the state, the checkpoints and witnesses of the log, the timestamp authorities with
    their certificates, and of each model its name, path, tier, second store, known-good copies and policy.
    Not in it: whom to alert, whose addresses are secrets, and how data are read and watched.

    Raises:
        PolicyTamperedError: A certificate of a timestamp authority cannot be read.
    """
    try:
        stamps = [hashlib.sha256(read_bounded(path)).hexdigest() for path in config.timestamp_authorities]
    except OSError as err:
        raise PolicyTamperedError(f"a timestamp authority of assay.toml cannot be read: {err}") from err
    said = {
        "name": config.name,
        "store": config.store,
        "checkpoints": [_from(config.root, path) for path in config.checkpoints],
        "witnesses": list(config.witnesses),
        "timestamp_authorities": stamps,
        "crls": [_from(config.root, path) for path in config.crls],
        "models": [_model(config.models[name], config.root) for name in sorted(config.models)],
    }
    return hashlib.sha256(canonical.dumps(said)).hexdigest()


def _model(model: ModelConfig, root: Path) -> dict[str, object]:
    policy = model.policy
    return {
        "name": model.name,
        "path": _from(root, model.path),
        "tier": model.tier,
        "second_store": (model.second_store or "").replace(f"{root}/", "") or None,
        "known_good": None if model.known_good is None else _from(root, model.known_good),
        # Each rule there is, so that none that is added later is left out of what the root signs.
        "policy": {one.name: _plain(getattr(policy, one.name)) for one in fields(policy)} if policy else None,
    }


def _plain(value: object) -> object:
    if isinstance(value, timedelta):
        return int(value.total_seconds())
    return sorted(value) if isinstance(value, tuple) else value


def _from(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def root_key(project: Project) -> Verifier | None:
    """The root key that the log tells of; None when none is set.

    Raises:
        PolicyTamperedError: A root was put in place of another without that one's signature.
    """
    root: Verifier | None = None
    for number, logged in enumerate(project.log.entries(kinds=[ROOT_SET])):
        data = logged.entry.data
        pem, text = data.get("public_pem"), data.get("statement")
        try:
            named = load_public(pem.encode()) if isinstance(pem, str) and pem else None
            if root is not None:
                envelope = Envelope.parse(text if isinstance(text, str) else "")
                said = _opened(envelope, root, ROOT).predicate
                if said != _succession(root, named, number):
                    raise PolicyTamperedError("the signature of the root before is over another change")  # noqa: TRY301
        except (KeyFileError, VerificationError, PolicyTamperedError) as err:
            detail = f"entry {logged.position} of the log sets a root key that the one before did not sign for"
            raise PolicyTamperedError(f"{detail} ({err.message}): restore the log from a backup") from err
        root = named
    return root


def set_root(project: Project, public: Verifier | None, *, former: Signer | None, now: datetime) -> None:
    """Set the key that must sign the trust store and the policy; from then on nothing counts until they are sealed.

    Args:
        project: Whose root.
        public: The new root; None for none any more.
        former: The root until now, which signs for the change; None when there is none yet.
        now: The present.

    Raises:
        PolicyError: There is a root already and it does not sign, or nothing would change.
    """
    root = root_key(project)
    text = None
    if (root.key_id if root else None) == (public.key_id if public else None):
        raise PolicyError("this is the root key already" if root else "no root key is set, so none can be taken away")
    if root is not None:
        if former is None or former.key_id != root.key_id:
            given = "no key was given" if former is None else f"{former.key_id[:16]} was given"
            raise PolicyError(f"the root key {root.key_id[:16]} must sign for its successor, {given}: --key ROOT.pem")
        number = len(project.log.entries(kinds=[ROOT_SET]))
        subject = Subject("root", {"sha256": public.key_id if public else root.key_id})
        text = seal(Statement((subject,), ROOT, _succession(root, public, number)), former).to_json()
    data: dict[str, object] = {
        "key_id": public.key_id if public else "",
        "public_pem": public.public_pem().decode() if public else "",
        "former": root.key_id if root else "",
        "statement": text,
    }
    project.log.append(ROOT_SET, "root", data, actor=project.actor, now=now)


def _succession(root: Verifier, public: Verifier | None, number: int) -> dict[str, object]:
    """What the old root signs; with its number, so that a change made once cannot be made again later."""
    return {"former": root.key_id, "root": public.key_id if public else "", "number": number}


def seal_project(project: Project, signer: Signer, *, now: datetime) -> Sealed:
    """Sign the trust store and the policy as they are now.

    Raises:
        PolicyError: No root key is set, or this key is not it.
        PolicyTamperedError: The trust store is not the one that the log tells of.
    """
    root = root_key(project)
    if root is None:
        raise PolicyError("no root key is set: assay keys root ROOT.pub")
    if signer.key_id != root.key_id:
        raise PolicyError(f"{signer.key_id[:16]} is not the root key {root.key_id[:16]}: only that one seals")
    made = Sealed(project.stored_trust.digest, policy_digest(project.config), root.key_id)
    subjects = (
        Subject("trust-store", {"sha256": made.trust_digest}),
        Subject("policy", {"sha256": made.policy_digest}),
    )
    number = len(project.log.entries(kinds=[SEALED]))
    predicate = {"project": project.config.name, "created": utc_text(now), "number": number}
    envelope = seal(Statement(subjects, SEAL, predicate), signer)
    project.places.seal.parent.mkdir(parents=True, exist_ok=True)
    write_whole(project.places.seal, envelope.to_json().encode())
    data = {**made.as_json(), "statement": _payload_digest(envelope)}
    project.log.append(SEALED, "root", data, actor=project.actor, now=now)
    return made


def check_seal(project: Project, store: TrustStore) -> None:
    """Return when no root key is set, or it signed this trust store and the policy as they are.

    Raises:
        PolicyTamperedError: The seal is missing, by another key, older than the newest, or over others than these.
    """
    root = root_key(project)
    if root is None:
        return
    place = project.places.seal
    advice = "look at what was changed and by whom; if it is right: assay keys seal --key ROOT.pem"
    try:
        envelope = Envelope.parse(read_bounded(place))
        statement = _opened(envelope, root, SEAL)
    except OSError as err:
        detail = f"the seal {place} cannot be read ({err.strerror or err}), and a root key is set"
        raise PolicyTamperedError(f"{detail}: {advice}") from err
    except VerificationError as err:
        raise PolicyTamperedError(f"the seal {place} is not by the root key ({err.message}): {advice}") from err
    digests = {one.name: one.digest.get("sha256") for one in statement.subjects}
    wrong = [
        what
        for what, found, wanted in (
            ("the trust store", digests.get("trust-store"), store.digest),
            ("the policy in assay.toml", digests.get("policy"), policy_digest(project.config)),
        )
        if found != wanted
    ]
    if wrong:
        raise PolicyTamperedError(f"the root key did not sign {' and '.join(wrong)} as found here: {advice}")
    sealed = project.log.entries(kinds=[SEALED])
    if not sealed or sealed[-1].entry.data.get("statement") != _payload_digest(envelope):
        raise PolicyTamperedError(f"the seal {place} is not the newest that the log tells of, somebody put it back")


def _opened(envelope: Envelope, root: Verifier, kind: str) -> Statement:
    """What the root key says.

    Raises:
        VerificationError: It is by another key, or another kind of statement.
    """
    if envelope.payload_type != PAYLOAD_TYPE or len(envelope.signatures) != 1:
        raise BundleError("it has not one signature, or another payload type")
    root.verify(envelope.signatures[0][1], envelope.signed_bytes())
    statement = Statement.parse(envelope.payload)
    if statement.predicate_type != kind:
        raise BundleError(f"it states {statement.predicate_type[:80]!r}, wanted {kind!r}")
    return statement


def _payload_digest(envelope: Envelope) -> str:
    return hashlib.sha256(envelope.payload).hexdigest()
