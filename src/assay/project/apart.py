"""The second store of a project's model: its signature and known-good copy, kept where whoever runs it cannot write."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from assay.errors import KeyFileError
from assay.project.project import Project
from assay.signing.kept import keep, open_place, verify_held
from assay.signing.sign import Signed, default_signature
from assay.signing.verified import VerifiedModel
from assay.storage.objects import Objects

SEAL = "ASSAY_SEAL_PASSPHRASE"


def place_of(project: Project, name: str, *, now: datetime) -> Objects | None:
    """The second store that assay.toml names for a model; None when it names none.

    Raises:
        ConfigError: Its address is malformed.
    """
    word = project.config.model(name).second_store
    return None if word is None else open_place(word, now=now, passphrase=lambda: _passphrase(word))


def keep_apart(
    project: Project, name: str, signed: Signed, second: Objects | None, *, now: datetime
) -> dict[str, object]:
    """Put a signed model into its second store and log that; nothing without one.

    Returns:
        What was kept where, for the person who asked.

    Raises:
        StorageError: The place refuses; the model is signed, and must be signed again once the place takes it.
        VerificationError: A file changed since it was signed.
    """
    if second is None:
        return {}
    kept = keep(second, project.config.model(name).path, signed, name=name, now=now)
    data = {"place": kept.place, "entry": kept.entry, "root": signed.manifest.root}
    project.log.append("model.kept", name, data, actor=project.actor, now=now)
    return {"kept": f"{kept.place} {kept.entry}"}


def held(
    project: Project,
    name: str,
    verify: Callable[[], VerifiedModel],
    second: Objects | None,
    *,
    signature: Path | None,
    further: Callable[[VerifiedModel], None] | None,
) -> VerifiedModel:
    """Verify a model, and hold it against its second store and whatever else was asked for.

    Raises:
        VerificationError: Refused by any of them.
        StorageError: The second store cannot be read.
    """
    place = default_signature(project.config.model(name).path) if signature is None else signature
    return verify_held(verify, second, [name], place, further=further)


def _passphrase(word: str) -> str:
    if os.environ.get(SEAL):
        return os.environ[SEAL]
    raise KeyFileError(f"{word}: set {SEAL} to open the sealed file")
