"""Keep files in one encrypted file, that opens with a passphrase only.

The file is: a mark, 16 bytes of salt, then pieces of 1 MiB, each sealed with AES-256-GCM. The key is
scrypt(passphrase, salt), so every file has its own and a counter serves as nonce; its last byte says
whether a piece is the last one (the STREAM construction), so pieces can neither be exchanged nor cut
off. Inside: the length of a table, the table (names and sizes as JSON), the contents one after another.

References:
    RFC 7914 (scrypt); NIST SP 800-38D (GCM); Hoang, Reyhanitabar, Rogaway, Vizar (2015), Online
    authenticated-encryption and its nonce-reuse misuse-resistance, section 7 (STREAM).
"""

from __future__ import annotations

import io
import json
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from assay.errors import KeyFileError, StorageError
from assay.storage.objects import CHUNK_BYTES, Item, checked_name, too_large, touching, wrong_size

PREFIX = "sealed:"
MARK = b"assay sealed file 1\n"
_SALT_BYTES, _TAG_BYTES, _COUNTER_BYTES = 16, 16, 11
# 128 MiB and 0.3 s a guess. Fixed, not written in the file: nobody can make us use more.
_COST, _BLOCK, _LANES = 1 << 17, 8, 1
_MAX_TABLE_BYTES = 64 << 20
_LENGTH_BYTES = 8


class SealedFile:
    """Objects in one encrypted file. It holds what was put last; what was there before is replaced.

    Args:
        path: The file.
        passphrase: Asked for once, when the file is first touched.
    """

    def __init__(self, path: Path, passphrase: Callable[[], str]) -> None:
        self._path = path
        self._passphrase = cache(passphrase)

    @property
    def place(self) -> str:
        """The file, as it was named."""
        return f"{PREFIX}{self._path}"

    def ready(self) -> None:
        """Ask for the passphrase; a file that is there must open with it, else it is somebody else's."""
        self._passphrase()
        self.names()
        folder = self._path.absolute().parent
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StorageError(f"{self.place}: the folder {folder} is missing or cannot be written by this user")

    def put_all(self, items: Sequence[Item]) -> None:
        """Write the file anew with these objects; readers see the former one or the new one, never a part.

        Raises:
            KeyFileError: The file is there and does not open with this passphrase: it is somebody else's.
            StorageError: The disk refuses, or an item was not of its size.
        """
        self.ready()
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
        with touching(self.place):
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                with os.fdopen(handle, "wb") as file:
                    self._write(file, items)
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(self._path)
            finally:
                draft.unlink(missing_ok=True)

    def names(self, under: str = "") -> list[str]:
        """The names of what is kept, sorted by code point; none when there is no file yet."""
        if not self._path.exists():
            return []
        with self._opened() as file:
            pieces = self._pieces(file)
            table, _ = _table(pieces)
        return sorted(name for name, _ in table if not under or name.startswith(f"{under}/"))

    def get(self, name: str, *, most_bytes: int | None = None) -> bytes:
        """The bytes of one object; the whole file is read, so that a cut or damaged one is noticed.

        Raises:
            StorageError: There is none, it is too large, or the file is damaged.
        """
        found: bytes | None = None
        for one, pieces in self._all(most_bytes={name: most_bytes} if most_bytes is not None else {}):
            if one == name:
                found = b"".join(pieces)
            else:
                for _ in pieces:
                    pass
        if found is None:
            raise StorageError(f"{self.place} has no object {name}")
        return found

    def walk(self, under: str) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Every object in a folder with its bytes in pieces."""
        for name, pieces in self._all():
            if name.startswith(f"{under}/"):
                yield name, pieces
            for _ in pieces:  # what nobody read
                pass

    def _all(self, most_bytes: dict[str, int] | None = None) -> Iterator[tuple[str, Iterator[bytes]]]:
        with self._opened() as file:
            pieces = self._pieces(file)
            table, rest = _table(pieces)
            stream = _Stream(rest, pieces, self.place)
            for name, size in table:
                most = (most_bytes or {}).get(name)
                if most is not None and size > most:
                    raise too_large(name, size, most)
                yield name, stream.take(size)
            stream.end()

    def _opened(self) -> BinaryIO:
        with touching(self.place):
            return os.fdopen(os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")

    def _cipher(self, salt: bytes) -> AESGCM:
        scrypt = Scrypt(salt=salt, length=32, n=_COST, r=_BLOCK, p=_LANES)
        return AESGCM(scrypt.derive(self._passphrase().encode("utf-8", "surrogateescape")))

    def _write(self, file: BinaryIO, items: Sequence[Item]) -> None:
        head = MARK + secrets.token_bytes(_SALT_BYTES)
        cipher = self._cipher(head[len(MARK) :])
        file.write(head)
        pending, counter = bytearray(), 0
        for piece in _plain(items):
            pending += piece
            while len(pending) > CHUNK_BYTES:  # the last piece is never empty, unless it is the only one
                file.write(cipher.encrypt(_nonce(counter, last=False), bytes(pending[:CHUNK_BYTES]), head))
                del pending[:CHUNK_BYTES]
                counter += 1
        file.write(cipher.encrypt(_nonce(counter, last=True), bytes(pending), head))

    def _pieces(self, file: BinaryIO) -> Iterator[bytes]:
        """The plain bytes, piece by piece, each checked before it is given out."""
        sealed = CHUNK_BYTES + _TAG_BYTES
        with touching(self.place):
            head = file.read(len(MARK) + _SALT_BYTES)
            if not head.startswith(MARK) or len(head) != len(MARK) + _SALT_BYTES:
                raise StorageError(f"{self.place} is no file sealed by assay")
            cipher = self._cipher(head[len(MARK) :])
            piece, counter = file.read(sealed), 0
            while True:
                after = file.read(sealed) if len(piece) == sealed else b""
                try:
                    yield cipher.decrypt(_nonce(counter, last=not after), piece, head)
                except InvalidTag as err:
                    raise self._wrong(counter) from err
                if not after:
                    return
                piece, counter = after, counter + 1

    def _wrong(self, counter: int) -> KeyFileError | StorageError:
        if counter == 0:
            return KeyFileError(f"{self.place}: the passphrase is wrong, or the file is damaged")
        return StorageError(f"{self.place} is damaged or cut off after {counter * CHUNK_BYTES} bytes")


class _Stream:
    """The pieces as one run of bytes, given out in the lengths of the table."""

    def __init__(self, rest: bytes, pieces: Iterator[bytes], place: str) -> None:
        self._held = rest
        self._pieces = pieces
        self._place = place

    def take(self, size: int) -> Iterator[bytes]:
        left = size
        while left:
            piece, self._held = self._held[:left], self._held[left:]
            left -= len(piece)
            if piece:
                yield piece
            if left:
                self._held = self._more()

    def end(self) -> None:
        """Read to the end: whatever was cut off is noticed here."""
        if self._held or any(self._pieces):
            raise StorageError(f"{self._place} holds more than its table says")

    def _more(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            raise StorageError(f"{self._place} holds less than its table says") from None


def _nonce(counter: int, *, last: bool) -> bytes:
    return counter.to_bytes(_COUNTER_BYTES) + (b"\1" if last else b"\0")


def _plain(items: Sequence[Item]) -> Iterator[bytes]:
    table = json.dumps([[checked_name(item.name).as_posix(), item.size] for item in items]).encode()
    yield len(table).to_bytes(_LENGTH_BYTES)
    yield table
    for item in items:
        done = 0
        with item.open() as content:
            while piece := content.read(CHUNK_BYTES):
                done += len(piece)
                yield piece
        if done != item.size:
            raise wrong_size(item)


def _table(pieces: Iterator[bytes]) -> tuple[list[tuple[str, int]], bytes]:
    """The table, and what was read beyond it. Whoever made it knew the passphrase; its form is checked all the same."""
    held = io.BytesIO()
    wanted = _LENGTH_BYTES
    while True:
        if held.tell() >= _LENGTH_BYTES:
            wanted = _LENGTH_BYTES + int.from_bytes(held.getvalue()[:_LENGTH_BYTES])
        if held.tell() >= wanted or wanted > _MAX_TABLE_BYTES:
            break
        try:
            held.write(next(pieces))
        except StopIteration:
            wanted = _MAX_TABLE_BYTES + 1
    text = held.getvalue()
    try:
        rows = json.loads(text[_LENGTH_BYTES:wanted] if wanted <= _MAX_TABLE_BYTES else b"")
        table = [(checked_name(name).as_posix(), size) for name, size in rows]
        sound = all(type(size) is int and size >= 0 for _, size in table)
    except (ValueError, TypeError, RecursionError) as err:
        raise StorageError("a sealed file has no table: it was not made by assay") from err
    if not sound or len({name for name, _ in table}) != len(table):
        raise StorageError("a sealed file has an odd table: it was not made by assay")
    return table, text[wanted:]
