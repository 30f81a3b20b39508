"""Copies of the log's checkpoints outside its database: what a rewritten database is caught by."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from pathlib import Path

LATEST = "latest"
SUFFIX = ".checkpoint"


def folder_of(root: Path, origin: str) -> Path:
    """Return the folder below ``root`` that holds one log's checkpoints; two origins never share one."""
    slug = re.sub(r"[^A-Za-z0-9._-]", "_", origin).lstrip(".") or "_"
    if slug != origin:  # "a/b" and "a_b" are two logs
        slug += "-" + hashlib.sha256(origin.encode()).hexdigest()[:8]
    return root / slug


def publish(root: Path, origin: str, size: int, note: str) -> None:
    """Write ``<size>.checkpoint`` and ``latest``, each whole or not at all.

    A checkpoint of that size that is there already stays: it may be the only witness of another history.

    Args:
        root: One folder of ``[log] checkpoints``.
        origin: The log's.
        size: Entries the checkpoint commits to.
        note: The signed note.

    Raises:
        OSError: The folder cannot be written.
    """
    folder = folder_of(root, origin)
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f".{secrets.token_hex(8)}"
    try:
        with new.open("x", encoding="utf-8") as file:
            file.write(note)
            file.flush()
            os.fsync(file.fileno())  # renamed but empty after a power cut would look like an attack
        with contextlib.suppress(FileExistsError):
            os.link(new, folder / f"{size}{SUFFIX}")
        new.replace(folder / LATEST)
    finally:
        new.unlink(missing_ok=True)


def latest(root: Path, origin: str) -> str | None:
    """Return the newest checkpoint note in the folder, None when there is none.

    Raises:
        OSError: It cannot be read.
    """
    try:
        return read(folder_of(root, origin) / LATEST)
    except FileNotFoundError:
        return None


def files(place: Path, origin: str) -> list[Path]:
    """Return the files of every checkpoint kept in a place; none when the place is missing.

    Args:
        place: A folder of ``[log] checkpoints``, the log's own folder in it, or one checkpoint file.
        origin: The log's.

    Raises:
        OSError: The place cannot be listed.
    """
    if place.is_file():
        return [place]
    found: list[Path] = []
    for folder in (folder_of(place, origin), place):
        if folder.is_dir():
            found += sorted(each for each in folder.iterdir() if each.suffix == SUFFIX or each.name == LATEST)
    return found


def read(path: Path) -> str:
    """Return a checkpoint note; a byte that is no UTF-8 becomes a sign that no signature covers.

    Raises:
        OSError: It cannot be read.
    """
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return file.read(1_000_001)
