"""Keep whole files by name, apart from where they are used: in a local folder; elsewhere see the siblings.

``storage.s3`` keeps them in a bucket, ``storage.sealed`` in one encrypted file; all three are an :class:`Objects`.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from assay.errors import StorageError

CHUNK_BYTES = 1 << 20
_HIDDEN = ".new-"


@dataclass(frozen=True, slots=True)
class Item:
    """A file to be kept.

    Attributes:
        name: Relative, with ``/`` between folders: ``spam/3/model.skops``.
        size: Bytes; what is read must have as many.
        open: Gives its bytes, to be read once and in order; what it raises ends the keeping.
    """

    name: str
    size: int
    open: Callable[[], BinaryIO]

    @classmethod
    def of(cls, name: str, content: bytes) -> Item:
        """Bytes at hand, to be kept under a name."""
        return cls(name, len(content), lambda: io.BytesIO(content))


class Objects(Protocol):
    """A place that keeps whole files by name."""

    @property
    def place(self) -> str:
        """Where it is, as the person who named it wrote it; never a secret."""
        ...

    def ready(self) -> None:
        """Return when nothing is seen to stand in the way of keeping files here.

        Raises:
            StorageError: The place refuses.
            KeyFileError: Its passphrase is wrong, or cannot be had.
        """
        ...

    def put_all(self, items: Sequence[Item]) -> None:
        """Keep files, in this order: when the last is there, all are.

        Raises:
            StorageError: The place refuses, or an item was not of its size.
        """
        ...

    def names(self, under: str = "") -> list[str]:
        """The names of what is kept, sorted by code point.

        Args:
            under: Only those in this folder; empty for all.

        Raises:
            StorageError: The place cannot be read.
        """
        ...

    def get(self, name: str, *, most_bytes: int | None = None) -> bytes:
        """The bytes of one object.

        Args:
            name: Which.
            most_bytes: Refuse a larger one without reading it.

        Raises:
            StorageError: There is none, it is too large, or the place cannot be read.
        """
        ...

    def walk(self, under: str) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Every object in a folder with its bytes in pieces, which are read before the next object.

        Raises:
            StorageError: The place cannot be read.
        """
        ...


class FolderObjects:
    """Objects as files below a folder.

    Args:
        root: Made when something is first put there.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    @property
    def place(self) -> str:
        """The folder."""
        return str(self._root)

    def ready(self) -> None:
        """Make the folder, and see that it can be written."""
        with touching(f"the folder {self._root}"):
            self._root.mkdir(parents=True, exist_ok=True)
        if not os.access(self._root, os.W_OK | os.X_OK):
            raise StorageError(f"the folder {self._root} cannot be written by this user")

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
        if isinstance(content, bytes):
            return self.put_pieces(name, iter((content,)))
        path = self._path(name)
        with touching(f"the object {path}"), content.open("rb") as source:
            return self.put_pieces(name, _pieces(source, f"the file {content}"))

    def put_pieces(self, name: str, pieces: Iterator[bytes]) -> Path:
        """Keep an object that comes in pieces, like :meth:`put`."""
        path = self._path(name)
        new = path.with_name(_HIDDEN + secrets.token_hex(8))
        with touching(f"the object {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with new.open("xb") as file:
                    for piece in pieces:
                        file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())
                new.replace(path)
            finally:
                new.unlink(missing_ok=True)
        return path

    def put_all(self, items: Sequence[Item]) -> None:
        """Keep files, in this order."""
        for item in items:
            with item.open() as content:
                kept = self.put_pieces(item.name, _pieces(content, f"the file for {item.name}"))
            if kept.stat().st_size != item.size:
                kept.unlink()
                raise wrong_size(item)

    def get(self, name: str, *, most_bytes: int | None = None) -> bytes:
        """Return an object's bytes.

        Raises:
            StorageError: There is none, it is too large, or it cannot be read.
        """
        with self.open(name) as file, touching(f"the object {name}"):
            size = os.fstat(file.fileno()).st_size
            if most_bytes is not None and size > most_bytes:
                raise too_large(name, size, most_bytes)
            return file.read(-1 if most_bytes is None else most_bytes)

    def open(self, name: str) -> BinaryIO:
        """Open an object for reading; the caller closes it.

        Raises:
            StorageError: There is none, or it cannot be read.
        """
        path = self._path(name)
        with touching(f"the object {path}"):
            # O_NONBLOCK: a pipe in the object's place must not hang us.
            return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb")

    def walk(self, under: str) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Every object in a folder with its bytes in pieces."""
        for name in self.names(under):
            with self.open(name) as file:
                yield name, _pieces(file, f"the object {name}")

    def names(self, under: str = "") -> list[str]:
        """Return the names of all objects, sorted by code point.

        Args:
            under: Only those in this folder; empty for all.
        """
        top = self._path(under) if under else self._root
        with touching(f"the folder {top}"):
            files = [path for path in top.rglob("*") if path.is_file() and not path.name.startswith(_HIDDEN)]
        return sorted(path.relative_to(self._root).as_posix() for path in files)

    def _path(self, name: str) -> Path:
        plain = checked_name(name)
        path = self._root.joinpath(*plain.parts)
        if path.parent.resolve() != self._root.resolve().joinpath(*plain.parts[:-1]):
            raise StorageError(f"{name!r} leads through a link out of {self._root}")
        return path


def _pieces(file: BinaryIO, what: str) -> Iterator[bytes]:
    while True:
        with touching(what):
            piece = file.read(CHUNK_BYTES)
        if not piece:
            return
        yield piece


def checked_name(name: str) -> PurePosixPath:
    """The name of an object as a path.

    Raises:
        StorageError: It leads elsewhere, or is a second name of the same object.
    """
    # "a/../../b", "/etc/passwd" and "a//b" are other people's files, or two names of one object.
    plain = PurePosixPath(name)
    if not name or plain.is_absolute() or plain.as_posix() != name or ".." in plain.parts or "\0" in name:
        raise StorageError(f"{name!r} cannot name an object: write folder/file, without . or ..")
    if any(part.startswith(_HIDDEN) for part in plain.parts) or name == ".":
        raise StorageError(f"{name!r} cannot name an object: such names are in use while writing")
    return plain


def wrong_size(item: Item) -> StorageError:
    """The error for an item that had other bytes than it said."""
    return StorageError(f"the object {item.name} was not kept: it changed while it was read")


def too_large(name: str, size: int, most: int) -> StorageError:
    """The error for an object that is larger than what was asked for can be."""
    return StorageError(f"the object {name} has {size} bytes; wanted at most {most}")


@contextmanager
def touching(what: str) -> Iterator[None]:
    """Turn what the disk says into one sentence.

    Raises:
        StorageError: The disk refused.
    """
    try:
        yield
    except OSError as err:
        raise StorageError(f"{what} cannot be read or written ({err.strerror or err})") from err
