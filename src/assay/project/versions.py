"""Which version of a model was seen here last: what was rolled back without a word is refused."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from pathlib import Path

from assay.errors import AssayError, BundleError, ConfigError, VerificationError
from assay.findings import Finding, Severity
from assay.keys.base import Signer
from assay.project import checks
from assay.project.people import signing_identities
from assay.project.project import Project
from assay.release import store
from assay.signing import rollback
from assay.signing.moment import Moment
from assay.signing.rollback import Allowed
from assay.signing.sign import default_signature
from assay.signing.statement import Envelope
from assay.signing.store import StoredVersions, read_bounded, write_whole

ACCEPTED = "model.rollback-accepted"
SEEN = "model.seen"


def statement_place(path: Path) -> Path:
    """Where the rollback statement of a model lies: beside its folder or file, never in it.

    In the folder it would be a file that nobody signed, which other tools refuse and ours would have to ignore.
    """
    return path.with_name(f"{path.name}.rollback")


def never_signed(project: Project, name: str) -> bool:
    """Whether a model has no signature and nobody here ever saw one: that is no refusal, and nobody need be told.

    A model that was looked at once, wherever it was signed, is not one of them, nor any while the log is broken.
    """
    try:
        known = project.log.entries(kinds=LoggedVersions.KINDS, subject=name, limit=1)
        stored = StoredVersions(project.state).seen(name)
        dated = checks.last(project.state, name, {"bytes": timedelta(0)})["bytes"].outcome
    except AssayError:
        return False
    if known or stored is not None or dated is not None:
        return False
    return not default_signature(project.config.model(name).path).exists()


class LoggedVersions:
    """The newest version of each signed name, from the database and from the log, which nobody can rewrite unseen.

    Args:
        project: Whose log and database.
    """

    KINDS = ("model.signed", "model.deployed", "model.rolled-back", "model.restored", SEEN, ACCEPTED)

    def __init__(self, project: Project) -> None:
        self._project = project
        self._stored = StoredVersions(project.state)
        self._allowed: Allowed | None = None

    def seen(self, name: str) -> tuple[int, str] | None:
        """Return the newest version and its root digest; a wiped or older database does not make it forgotten."""
        stored = self._stored.seen(name)
        try:
            logged = self._logged(name)
        except AssayError:  # a broken log has a check of its own and must not hide what is wrong with the model
            return stored
        if logged is None:
            return stored
        return stored if stored is not None and stored[0] >= logged[0] else logged

    def highest(self, name: str) -> int:
        """Return the highest version there ever was, 0 for none: after a rollback no number is given twice.

        Raises:
            LogError: The log cannot be read.
        """
        logged = self._project.log.entries(kinds=list(self.KINDS), subject=name)
        versions = [one.entry.data.get("version") for one in logged]
        stored = self._stored.seen(name)
        return max([0, *(one for one in versions if isinstance(one, int)), *([stored[0]] if stored else [])])

    def allows(self, name: str, seen: tuple[int, str], to: tuple[int, str], now: datetime) -> bool:
        """Return whether a signed rollback beside the model allows this step, from the newest version seen.

        Raises:
            VerificationError: The statement there does not count; with its reasons.
        """
        place = statement_place(self._project.config.model(name).path)
        try:
            envelope = Envelope.parse(read_bounded(place))
        except OSError:
            return False
        except BundleError as err:
            raise VerificationError(err.message, [_unread(name, place, err)]) from err
        self._allowed = rollback.check(
            envelope,
            self._project.trust,
            rolling_identities(self._project, name),
            name=name,
            seen=seen,
            to=to,
            used=self._used(name),
            now=now,
        )
        return True

    def remember(self, name: str, version: int, root: str, now: datetime) -> None:
        """Note a version that was verified, in the log too: wiping the database does not make it forgotten."""
        allowed = self._allowed
        if allowed is not None and (name, version, root) == (allowed.rollback.name, *allowed.rollback.to):
            step = allowed.rollback
            data = {
                "version": version,
                "root": root,
                "left_version": step.left[0],
                "left": step.left[1],
                "reason": step.reason,
                "identity": allowed.identity,
                "statement": allowed.digest,
            }
            self._project.log.append(ACCEPTED, name, data, actor=self._project.actor, now=now)
            self._stored.allow(name, version, root, now)
            self._allowed = None
            return
        logged = self._logged(name)
        if logged is None or logged[0] < version:
            self._project.log.append(SEEN, name, {"version": version, "root": root}, actor=self._project.actor, now=now)
        self._stored.remember(name, version, root, now)

    def _logged(self, name: str) -> tuple[int, str] | None:
        logged = self._project.log.entries(kinds=list(self.KINDS), subject=name)
        data = logged[-1].entry.data if logged else {}
        version, root = data.get("version"), data.get("root")
        return (version, root) if isinstance(version, int) and isinstance(root, str) else None

    def _used(self, name: str) -> frozenset[str]:
        logged = self._project.log.entries(kinds=[ACCEPTED, store.ROLLED_BACK, "model.restored"], subject=name)
        return frozenset(str(one.entry.data.get("statement")) for one in logged)


def rolling_identities(project: Project, name: str) -> frozenset[str]:
    """Who may sign for a rollback: the model's signers and its approvers.

    Raises:
        ConfigError: Nobody is trusted.
    """
    policy = project.config.model(name).policy
    return signing_identities(project, name) | frozenset(policy.approvers if policy else ())


def sign_step(
    project: Project, name: str, to: tuple[int, str], signer: Signer, *, reason: str, now: datetime
) -> tuple[Envelope, str] | None:
    """Sign for the step from the newest version seen here to a lower one; None when it is no step down.

    Returns:
        The envelope, and the digest of what was signed.

    Raises:
        VerificationError: The key is nobody's who may say so.
        ConfigError: No reason is given.
    """
    identity = project.trust.identify(signer.key_id, Moment(now)).identity
    wanted = rolling_identities(project, name)
    if identity not in wanted:
        detail = f"{identity} does not roll back {name}: wanted {' or '.join(sorted(wanted))}"
        raise VerificationError(detail, [Finding("signature.wrong-identity", name, Severity.CRITICAL, detail)])
    seen = LoggedVersions(project).seen(name)
    if seen is None or to[0] >= seen[0]:
        return None
    if not reason.strip():
        raise ConfigError("say why it is rolled back: the reason is signed and goes into the log")
    envelope = rollback.sign_rollback(rollback.make(name, seen, to, reason=reason, now=now), signer)
    return envelope, hashlib.sha256(envelope.payload).hexdigest()


def keep_step(project: Project, name: str, envelope: Envelope, root: str, *, now: datetime) -> Path:
    """Put a rollback statement beside the model and into the state.

    Raises:
        StorageError: It cannot be written.
    """
    place = statement_place(project.config.model(name).path)
    write_whole(place, envelope.to_json().encode())
    store.save_statement(project.state, envelope, model=name, kind="rollback", root=root, created=now)
    return place


def _unread(name: str, place: Path, err: BundleError) -> Finding:
    return Finding("rollback.refused", name, Severity.CRITICAL, f"the rollback statement {place}: {err.message}")
