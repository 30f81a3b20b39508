"""Keep whole files by name in a local folder: known-good copies, evidence bundles."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from assay.errors import StorageError
from assay.storage.database import guarded

_HIDDEN = ".new-"


class FolderObjects:
    """Objects as files below a folder.

    Args:
        root: Made when something is first put there.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def put(self, name: str, content: bytes | Path) -> Path:
        """Keep an object; readers see the earlier one or the new one, never a part.

        Args:
            name: Relative, with ``/`` between folders: ``spam/3/model.skops``.
            content: The bytes, or a file to copy.

        Returns:
            The file it is kept in.

        Raises:
            StorageError: The name leads elsewhere, the file cannot be read, or the disk refuses.
        """
        path = self._path(name)
        new = path.with_name(_HIDDEN + secrets.token_hex(8))
        with guarded(f"the object {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with new.open("xb") as file:
                    if isinstance(content, Path):
                        with content.open("rb") as source:
                            shutil.copyfileobj(source, file, 1 << 20)
                    else:
                        file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                new.replace(path)
            finally:
                new.unlink(missing_ok=True)
        return path

    def get(self, name: str) -> bytes:
        """Return an object's bytes.

        Raises:
            StorageError: There is none, or it cannot be read.
        """
        with self.open(name) as file, guarded(f"the object {name}"):
            return file.read()

    def open(self, name: str) -> BinaryIO:
        """Open an object for reading; the caller closes it.

        Raises:
            StorageError: There is none, or it cannot be read.
        """
        path = self._path(name)
        with guarded(f"the object {path}"):
            return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")

    def names(self, under: str = "") -> list[str]:
        """Return the names of all objects, sorted by code point.

        Args:
            under: Only those in this folder; empty for all.
        """
        top = self._path(under) if under else self._root
        with guarded(f"the folder {top}"):
            files = [path for path in top.rglob("*") if path.is_file() and not path.name.startswith(_HIDDEN)]
        return sorted(path.relative_to(self._root).as_posix() for path in files)

    def _path(self, name: str) -> Path:
        # "a/../../b", "/etc/passwd" and "a//b" are other people's files, or two names of one object.
        plain = PurePosixPath(name)
        if not name or plain.is_absolute() or plain.as_posix() != name or ".." in plain.parts or "\0" in name:
            raise StorageError(f"{name!r} cannot name an object: write folder/file, without . or ..")
        if any(part.startswith(_HIDDEN) for part in plain.parts) or name == ".":
            raise StorageError(f"{name!r} cannot name an object: such names are in use while writing")
        path = self._root.joinpath(*plain.parts)
        if path.parent.resolve() != self._root.resolve().joinpath(*plain.parts[:-1]):
            raise StorageError(f"{name!r} leads through a link out of {self._root}")
        return path
