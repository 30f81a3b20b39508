"""The bytes a scan looks at: a file, a window of it, or what a compressed stream unpacks to, within a budget."""

from __future__ import annotations

import bz2
import lzma
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO

from assay.formats.base import Content

CHUNK_BYTES = 256 * 1024
HELD_BYTES = 64 * 1024
SPOOL_BYTES = 32 * 1024 * 1024  # unpacked bytes kept in memory; more lie in an unnamed temporary file
MAX_UNPACKED_BYTES = 512 * 1024 * 1024  # of one file of the model, over all its layers
MAX_OPCODES = 20_000_000  # of one file: about half a minute
MAX_LZMA_BYTES = 256 * 1024 * 1024  # a stream may ask for a dictionary of 4 GB
MAX_DEPTH = 6  # containers in containers

PACKED: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x5d\x00", "lzma"),
    (b"\x78\x01", "zlib"),
    (b"\x78\x5e", "zlib"),
    (b"\x78\x9c", "zlib"),
    (b"\x78\xda", "zlib"),
    (b"ZF0x", "zfile"),  # joblib before 0.10: a hexadecimal length, then zlib
)
_ZFILE_HEADER = 21


@dataclass(slots=True)
class Budget:
    """What the scan of one file may still cost; shared by everything found inside it.

    Attributes:
        unpacked: Bytes that may still be unpacked.
        opcodes: Pickle opcodes that may still be followed.
        spent: What ran out, in words; empty while nothing has.
    """

    unpacked: int = MAX_UNPACKED_BYTES
    opcodes: int = MAX_OPCODES
    spent: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class OpenFile:
    """Content that lies in an open file.

    Attributes:
        descriptor: Open for reading; its file offset is neither used nor moved.
        size: Bytes.
    """

    descriptor: int
    size: int

    def read(self, start: int, length: int) -> bytes:
        """The bytes from ``start``; fewer than ``length`` only where the content ends."""
        if not 0 <= start < self.size or length <= 0:  # lengths in hostile files are longer than a file can be
            return b""
        return os.pread(self.descriptor, min(length, self.size - start), start)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of other content.

    Attributes:
        content: The whole.
        start: First byte of the stretch inside the whole.
        size: Bytes.
    """

    content: Content
    start: int
    size: int

    def read(self, start: int, length: int) -> bytes:
        """The bytes from ``start``; fewer than ``length`` only where the content ends."""
        if not 0 <= start < self.size or length <= 0:
            return b""
        return self.content.read(self.start + start, min(length, self.size - start))


class Held:
    """Other content read through a window, for readers that take a few bytes at a time.

    Args:
        content: The whole.
    """

    def __init__(self, content: Content) -> None:
        self._content = content
        self._held = b""
        self._first = 0
        self.size = content.size

    def read(self, start: int, length: int) -> bytes:
        """The bytes from ``start``; fewer than ``length`` only where the content ends."""
        place = start - self._first
        if place < 0 or place + length > len(self._held):
            self._first, place = start, 0
            self._held = self._content.read(start, max(length, HELD_BYTES))
        return self._held[place : place + length]


class Unpacked:
    """What a compressed stream unpacks to, unpacked only as far as it is asked for.

    A damaged or cut off stream simply ends where it cannot be read on: what came before would have
    been read by a loader as well.

    Args:
        packed: The stream.
        kind: A word of :data:`PACKED`, or ``deflate``.
        budget: Bounds what is unpacked.
    """

    def __init__(self, packed: Content, kind: str, budget: Budget) -> None:
        self._pieces = _unpack(packed, kind)
        self._budget = budget
        self._spool: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - closed with us
        self._have = 0
        self._ended = False

    @property
    def size(self) -> int:
        """How many bytes there are; unpacks to the end, or as far as the budget goes."""
        while self._grow():
            pass
        return self._have

    def read(self, start: int, length: int) -> bytes:
        """The bytes from ``start``; fewer than ``length`` only where the content or the budget ends."""
        while self._have < start + length and self._grow():
            pass
        if start < 0 or start >= self._have or length <= 0:
            return b""
        self._spool.seek(start)
        return self._spool.read(min(length, self._have - start))

    def _grow(self) -> bool:
        if self._ended:
            return False
        if self._budget.unpacked <= 0:
            self._budget.spent.add("it unpacks to more than is read")
            self._ended = True
            return False
        try:
            piece = next(self._pieces)
        except (StopIteration, zlib.error, OSError, ValueError, EOFError, lzma.LZMAError):
            self._ended = True
            return False
        self._budget.unpacked -= len(piece)
        self._spool.seek(self._have)
        self._spool.write(piece)
        self._have += len(piece)
        return True


def packing(head: bytes) -> str | None:
    """How a stream that begins with these bytes is compressed, or None."""
    return next((kind for mark, kind in PACKED if head.startswith(mark)), None)


def _unpack(packed: Content, kind: str) -> Iterator[bytes]:
    if kind == "zfile":
        # Python 2 wrote the length with an L behind it.
        wide = packed.read(_ZFILE_HEADER, 1) != b"\x78"
        packed, kind = Window(packed, _ZFILE_HEADER + wide, max(0, packed.size - _ZFILE_HEADER - wide)), "zlib"
    if kind in {"gzip", "zlib", "deflate"}:
        bits = {"gzip": 31, "zlib": 15, "deflate": -15}[kind]  # zlib manual, inflateInit2
        return _inflate(packed, bits, again=kind == "gzip")
    if kind == "bz2":
        return _streams(packed, bz2.BZ2Decompressor)
    form = lzma.FORMAT_XZ if kind == "xz" else lzma.FORMAT_ALONE
    return _streams(packed, lambda: lzma.LZMADecompressor(form, memlimit=MAX_LZMA_BYTES))


def _inflate(packed: Content, bits: int, *, again: bool) -> Iterator[bytes]:
    """Deflated bytes; several gzip members one after another are one content (RFC 1952, 2.2)."""
    machine, at, rest = zlib.decompressobj(bits), 0, b""
    while True:
        if not rest:
            rest = packed.read(at, CHUNK_BYTES)
            at += len(rest)
            if not rest:
                return
        piece = machine.decompress(rest, CHUNK_BYTES)
        rest = machine.unconsumed_tail
        if piece:
            yield piece
        if machine.eof:
            rest = machine.unused_data
            if not again:
                return
            machine = zlib.decompressobj(bits)


def _streams(
    packed: Content, make: Callable[[], bz2.BZ2Decompressor] | Callable[[], lzma.LZMADecompressor]
) -> Iterator[bytes]:
    machine, at, rest = make(), 0, b""
    while True:
        if machine.eof:
            rest, machine = machine.unused_data, make()
        if not rest and machine.needs_input:
            rest = packed.read(at, CHUNK_BYTES)
            at += len(rest)
            if not rest:
                return
        piece = machine.decompress(rest, CHUNK_BYTES)
        rest = b""
        if piece:
            yield piece
