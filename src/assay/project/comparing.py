"""What a model is compared with: the known-good copy of the version that should be there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from assay.artifacts.diff.diff import Source
from assay.errors import ConfigError
from assay.project.integrity import copy_folder, is_folder, open_copy
from assay.project.project import Project
from assay.project.versions import LoggedVersions
from assay.release.store import live_at
from assay.signing.sign import default_signature


@dataclass(frozen=True, slots=True)
class KnownGood:
    """A known-good copy that was verified just now.

    Attributes:
        source: Where it lies.
        version: The signed version it is of.
        live: Whether that version is recorded as live; else it is the newest that was signed.
        ignore: Names that its signature leaves out.
    """

    source: Source
    version: int
    live: bool
    ignore: tuple[str, ...]


def known_good(project: Project, name: str, *, now: datetime) -> KnownGood:
    """The copy of what is recorded as live, else of the newest version that was signed.

    The copy is verified, then read again to be compared: what is read is explained to a person, and
    never loaded.

    Raises:
        ConfigError: There is no such model, or nothing of it was signed here.
        VerificationError: The copy is not what was signed.
    """
    model = project.config.model(name)
    live = live_at(project.state, name, now)
    seen = (live.version, live.root) if live is not None else LoggedVersions(project).seen(name)
    folder = None if seen is None else copy_folder(project, name, *seen)
    if seen is None or folder is None or not folder.is_dir():
        raise ConfigError(f"{name} has no known-good copy to compare with: assay sign {name} makes one")
    with open_copy(project, name, folder, root=seen[1], now=now) as verified:
        ignore = verified.manifest.ignore
    files = folder / "files"
    path = files if is_folder(model, folder) else next(iter(files.iterdir()))
    return KnownGood(Source(path), seen[0], live is not None, ignore)


def deployed(project: Project, name: str, *, ignore: tuple[str, ...] = ()) -> Source:
    """What lies where the model is deployed, its signature left out.

    Args:
        project: Whose model.
        name: Which.
        ignore: Names that its signature leaves out.

    Raises:
        ConfigError: There is no such model, or nothing lies there.
    """
    path = project.config.model(name).path
    if not Path(path).exists():
        raise ConfigError(f"nothing lies at {path}, where {name} is deployed from")
    return Source(path, ignore, default_signature(path))
