"""assay.toml, wired: one object that opens state, log, trust and incidents when they are first asked for."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from assay.errors import LogError, PolicyTamperedError
from assay.project import config as toml
from assay.project.config import ModelConfig, ProjectConfig
from assay.signing import store as signing_store
from assay.signing.trust import TrustStore

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from assay.audit.log import AuditLog
    from assay.incidents.desk import Desk
    from assay.project.due import Done
    from assay.project.watching import Watched


@dataclass(frozen=True, slots=True)
class Places:
    """Where things lie below the project's state folder.

    Attributes:
        folder: The state folder, ``.assay``.
    """

    folder: Path

    @property
    def keys(self) -> Path:
        """Folder of signing keys made here."""
        return self.folder / "keys"

    @property
    def trust(self) -> Path:
        """The trust store."""
        return self.folder / "trust.json"

    @property
    def seal(self) -> Path:
        """The root key's signature over the trust store and the policy."""
        return self.folder / "trust.seal.json"

    @property
    def log_key(self) -> Path:
        """The log's own key, which signs checkpoints and nothing else."""
        return self.folder / "log.key"

    @property
    def rows(self) -> Path:
        """Folder of row digests of training data."""
        return self.folder / "rows"

    @property
    def reports(self) -> Path:
        """Folder of validation reports."""
        return self.folder / "reports"

    def vault(self, model: ModelConfig) -> Path:
        """Folder of a model's signed known-good copies, one per version."""
        return model.known_good or self.folder / "vault" / model.name


class Project:
    """A project: its configuration and the state that belongs to it.

    Everything is opened when first used, so that a command pays only for what it needs.

    Attributes:
        config: assay.toml, checked.
        places: Where files lie.
        actor: Who acts, as the audit log names them.
    """

    def __init__(self, config: ProjectConfig, *, now: datetime, actor: str) -> None:
        self.config = config
        self.places = Places(config.folder)
        self.actor = actor
        self._opened = now

    @classmethod
    def open(cls, path: Path, *, now: datetime, actor: str) -> Project:
        """Read assay.toml; state is made when first needed.

        Raises:
            ConfigError: assay.toml is missing or wrong.
        """
        return cls(toml.read(path), now=now, actor=actor)

    @cached_property
    def state(self) -> Engine:
        """The database of everything but the log."""
        from assay.storage.database import open_state

        return open_state(self._database("state.db"))

    @property
    def log_database(self) -> str | Path:
        """The audit log's database: a file of its own, or the project's PostgreSQL."""
        return self._database("audit.db")

    @cached_property
    def log(self) -> AuditLog:
        """The audit log."""
        from assay.audit.log import AuditLog

        return AuditLog.open(
            self.log_database,
            key=self.places.log_key,
            origin=self.log_origin,
            checkpoints=self.checkpoint_folders,
            now=self._opened,
        )

    @property
    def checkpoint_folders(self) -> Sequence[Path]:
        """Folders outside the database that hold a copy of every checkpoint."""
        if self.config.checkpoints:
            return self.config.checkpoints
        state_home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        place = hashlib.sha256(str(self.config.root).encode()).hexdigest()[:12]  # projects of one name lie apart
        return (Path(state_home) / "assay" / "checkpoints" / place,)

    @property
    def log_origin(self) -> str:
        """The log's name in its checkpoints, made with its key: two projects of one name never share it."""
        from assay.audit.checkpoint import NoteKey

        if self.places.log_key.exists():
            return NoteKey.read(self.places.log_key).verifier.name
        name = "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in self.config.name)
        for folder in self.checkpoint_folders:
            former = sorted(folder.glob(f"assay.local_{name}-*")) if folder.is_dir() else []
            if former:  # a new log would begin a second history of this project under the eyes of the first
                raise LogError(
                    f"{former[0]} holds checkpoints of a log of this project, but its key {self.places.log_key} is "
                    "missing: restore the state folder from a backup, or move those checkpoints away to begin anew"
                )
        return f"assay.local/{name}-{secrets.token_hex(6)}"

    @property
    def trust(self) -> TrustStore:
        """Whose keys count; read anew each time, since a revocation must count at once.

        Raises:
            PolicyError: The file is malformed.
            PolicyTamperedError: It is not the store that the log tells of, as when a key was slipped in, or a root
                key is set that did not sign it and the policy.
        """
        from assay.project.sealing import check_seal

        store = self.stored_trust
        check_seal(self, store)
        return store

    @property
    def stored_trust(self) -> TrustStore:
        """The trust store as the log tells of it, signed by a root key or not yet: for changing it only.

        Raises:
            PolicyError: The file is malformed.
            PolicyTamperedError: It is not the store that the log tells of.
        """
        if not self.places.trust.exists():
            return TrustStore()  # nobody is trusted: nothing verifies until keys are trusted again
        store = signing_store.read(self.places.trust)
        logged = self.log.entries(kinds=["key.trusted", "key.revoked", "key.rotated"])
        if store.digest != (logged[-1].entry.data.get("trust_digest") if logged else None):
            known = f"entry {logged[-1].position} of the log" if logged else "the log, which knows of no key,"
            raise PolicyTamperedError(
                f"{self.places.trust} is not the trust store that {known} tells of: somebody changed it by hand. "
                "Restore it from a backup, or remove it and trust each key again with assay keys trust"
            )
        return store

    @cached_property
    def desk(self) -> Desk:
        """Incidents and the people to tell."""
        from assay.incidents.audiences import Channels
        from assay.incidents.desk import Desk

        alerts = self.config.alerts
        channels = Channels(security=alerts.security, owners=alerts.owners)
        return Desk(self.state, self.log, channels, escalate_after=alerts.escalate_after, actor="assay")

    def tell(self, now: datetime) -> Sequence[int]:
        """Open incidents from new log entries, escalate and send what is due; run after every verb.

        Returns:
            Numbers of the incidents opened or fed.
        """
        return self.desk.run(now).touched

    def monitor(self, name: str, now: datetime) -> Watched:
        """Judge all complete windows of a model not yet seen, and diagnose when something fell or differs."""
        from assay.project.monitoring import monitor_model

        return monitor_model(self, name, now)

    def run_due(self, now: datetime) -> Sequence[Done]:
        """Do what is due: verification, data checks, validation, monitoring, escalations."""
        from assay.project.due import run_due

        return run_due(self, now)

    def _database(self, name: str) -> str | Path:
        if "://" in self.config.store:
            return self.config.store
        return self.places.folder / name
