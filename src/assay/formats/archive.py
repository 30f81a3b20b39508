"""ZIP archives, read so that no two readers can see different members.

Source: PKWARE APPNOTE.TXT 6.3.10 (section numbers below). A ZIP file says most things twice, in
front of each member and in the directory at its end, and two readers may believe different places.
Here both must agree, and every byte must belong to a member or to the directory.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from assay.errors import FormatError
from assay.formats.base import Content, exactly

MAX_DIRECTORY_BYTES = 32 * 1024 * 1024  # bounds memory; holds more than 200,000 members
_PIECE_BYTES = 256 * 1024  # unpacked and thrown away at once while skipping

_END = struct.Struct("<4s4H2IH")  # 4.3.16
_END64 = struct.Struct("<4sQ2H2I4Q")  # 4.3.14
_LOCATOR = struct.Struct("<4sIQI")  # 4.3.15
_ENTRY = struct.Struct("<4s6H3I5H2I")  # 4.3.12
_LOCAL = struct.Struct("<4s5H3I2H")  # 4.3.7
_BIG16, _BIG32 = 0xFFFF, 0xFFFFFFFF  # "see the ZIP64 record"
_ENCRYPTED, _DESCRIPTOR, _UTF8 = 0x0001 | 0x0040 | 0x2000, 0x0008, 0x0800  # 4.4.4
_DESCRIPTOR_BYTES = frozenset({12, 16, 20, 24})  # 4.3.9: with and without signature, 32 and 64 bits
STORED, DEFLATED = 0, 8


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an archive.

    Attributes:
        name: Its name.
        method: How it is packed (4.4.5): 0 stored, 8 deflated.
        size: Bytes once unpacked, as the directory claims.
        packed: Bytes as it lies in the archive.
        data: Where these begin.
    """

    name: str
    method: int
    size: int
    packed: int
    data: int

    @property
    def end(self) -> int:
        """One past the last packed byte."""
        return self.data + self.packed


@dataclass(frozen=True, slots=True)
class _Entry:
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    start: int


class Unpacked:
    """The unpacked bytes of a member, as a content of its own; read forward, it unpacks once.

    Args:
        content: The archive.
        member: A stored or deflated member of it.

    Raises:
        FormatError: It is packed in another way; from ``read`` also when the bytes are damaged.
    """

    def __init__(self, content: Content, member: Member) -> None:
        if member.method not in {STORED, DEFLATED}:
            raise FormatError(
                f"member {member.name!a} is packed by method {member.method}; stored and deflated are read"
            )
        self._content = content
        self._member = member
        self.size = member.size
        self._rewind()

    def read(self, start: int, length: int) -> bytes:
        """The bytes from ``start``; fewer than ``length`` only where the member ends."""
        length = max(min(length, self.size - start), 0)
        if self._member.method == STORED:
            return self._content.read(self._member.data + start, length)
        if start < self._at:
            self._rewind()
        try:
            while self._at < start and self._inflate(min(start - self._at, _PIECE_BYTES)):
                pass
            found = bytearray()
            while len(found) < length and (more := self._inflate(length - len(found))):
                found += more
            if length and self._at == self.size and (self._inflate(1) or not self._inflater.eof):
                raise FormatError(f"member {self._member.name!a} unpacks to more than the {self.size} bytes it claims")
        except zlib.error as err:
            raise FormatError(f"the packed bytes of member {self._member.name!a} are damaged") from err
        return bytes(found)

    def _rewind(self) -> None:
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._at = 0
        self._fed = 0

    def _inflate(self, limit: int) -> bytes:
        """At most ``limit`` further bytes; none where the packed bytes end."""
        while not self._inflater.eof:
            packed = self._inflater.unconsumed_tail
            if not packed:
                packed = self._content.read(
                    self._member.data + self._fed, min(_PIECE_BYTES, self._member.packed - self._fed)
                )
                self._fed += len(packed)
            found = self._inflater.decompress(packed, limit)
            self._at += len(found)
            if found or not packed:
                return found
        return b""


def unpacked(content: Content, member: Member) -> bytes:
    """All bytes of a member; look at its ``size`` first.

    Raises:
        FormatError: It does not unpack to its size.
    """
    inside = Unpacked(content, member)
    found = inside.read(0, member.size)
    if len(found) != member.size:
        raise FormatError(f"member {member.name!a} does not unpack to the {member.size} bytes it claims")
    return found


def members(content: Content) -> tuple[Member, ...]:
    """Every member, in the order of the bytes.

    Raises:
        FormatError: Directory and members disagree, a name stands twice, members overlap, or there
            are bytes that belong to nothing.
    """
    directory, length, count = _directory(content)
    entries = sorted(_entries(exactly(content, directory, length, "the directory"), count), key=_start)
    if len({entry.raw_name for entry in entries}) != len(entries):
        raise FormatError("the directory names a member twice")
    if (entries[0].start if entries else directory) != 0:
        raise FormatError("there are bytes before the first member")
    ends = [*(entry.start for entry in entries), directory][1:]
    return tuple(_member(content, entry, end) for entry, end in zip(entries, ends, strict=True))


def _start(entry: _Entry) -> int:
    return entry.start


def _directory(content: Content) -> tuple[int, int, int]:
    """Where the directory starts, its bytes, and how many members it lists."""
    at = content.size - _END.size
    mark, disk, first_disk, here, count, length, start, comment = _END.unpack(
        exactly(content, at, _END.size, "the end record")
    )
    if mark != b"PK\x05\x06" or comment:
        raise FormatError("the file does not end with a ZIP end record (cut off, or trailing bytes)")
    narrow = (disk, first_disk, here, count, length, start)
    # PyTorch writes the wide record always: readers prefer it wherever it is.
    if _BIG16 in narrow or _BIG32 in narrow or content.read(max(at - _LOCATOR.size, 0), 4) == b"PK\x06\x07":
        at, *wide = _end64(content, at)
        if any(said not in {found, _BIG16, _BIG32} for said, found in zip(narrow, wide, strict=True)):
            raise FormatError("the end record and the ZIP64 end record disagree")
        disk, first_disk, here, count, length, start = wide
    if disk or first_disk or here != count:
        raise FormatError("the archive spans several files")
    if length > MAX_DIRECTORY_BYTES:
        raise FormatError(f"the directory claims {length} bytes; at most {MAX_DIRECTORY_BYTES} are read")
    if start + length != at:
        raise FormatError("there are bytes between the directory and the end record")
    return start, length, count


def _end64(content: Content, end: int) -> tuple[int, int, int, int, int, int, int]:
    mark, disk, at, disks = _LOCATOR.unpack(exactly(content, end - _LOCATOR.size, _LOCATOR.size, "the ZIP64 locator"))
    if mark != b"PK\x06\x07" or disk or disks != 1 or at + _END64.size + _LOCATOR.size != end:
        raise FormatError("the ZIP64 locator does not point at the record before it")
    record = _END64.unpack(exactly(content, at, _END64.size, "the ZIP64 end record"))
    mark, length, _, _, disk, first_disk, here, count, size, start = record
    if mark != b"PK\x06\x06" or length != _END64.size - 12:  # 4.3.14.1: without the first 12 bytes
        raise FormatError("the ZIP64 end record is malformed")
    return at, disk, first_disk, here, count, size, start


def _entries(directory: bytes, count: int) -> list[_Entry]:
    entries, at = [], 0
    while at < len(directory):
        if len(directory) - at < _ENTRY.size:
            raise FormatError("the directory is cut off")
        entry = _ENTRY.unpack_from(directory, at)
        mark, _, _, flags, method, _, _, crc, packed, size, names, extras, comments, disk, _, _, start = entry
        at += _ENTRY.size
        name, extra = directory[at : at + names], directory[at + names : at + names + extras]
        at += names + extras + comments
        if mark != b"PK\x01\x02" or at > len(directory) or disk:
            raise FormatError("the directory is malformed")
        if flags & _ENCRYPTED:
            raise FormatError("a member is encrypted")
        size, packed, start = _wide(extra, (size, packed, start))
        entries.append(_Entry(name, flags, method, crc, packed, size, start))
    if len(entries) != count:
        raise FormatError(f"the directory lists {len(entries)} members, the end record {count}")
    return entries


def _wide(extra: bytes, values: tuple[int, ...]) -> Sequence[int]:
    """The values, those too big for 32 bits taken from the ZIP64 extra field (4.5.3)."""
    wanted = values.count(_BIG32)
    if not wanted:
        return values
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1 and length >= 8 * wanted and at + 4 + length <= len(extra):
            wide = iter(struct.unpack_from(f"<{wanted}Q", extra, at + 4))
            return [next(wide) if value == _BIG32 else value for value in values]
        at += 4 + length
    raise FormatError("a member's ZIP64 sizes are missing")


def _member(content: Content, entry: _Entry, end: int) -> Member:
    raw = exactly(content, entry.start, _LOCAL.size, "a member's header")
    mark, _, flags, method, _, _, crc, packed, size, names, extras = _LOCAL.unpack(raw)
    rest = exactly(content, entry.start + _LOCAL.size, names + extras, "a member's name")
    name = _name(entry)
    if mark != b"PK\x03\x04" or rest[:names] != entry.raw_name or (flags, method) != (entry.flags, entry.method):
        raise FormatError(f"member {name!a}: its own header and the directory disagree")
    if not flags & _DESCRIPTOR:
        size, packed = _wide(rest[names:], (size, packed))
        if (crc, size, packed) != (entry.crc, entry.size, entry.packed):
            raise FormatError(f"member {name!a}: its own header and the directory disagree")
    data = entry.start + _LOCAL.size + names + extras
    left = end - data - entry.packed
    if left != 0 and not (flags & _DESCRIPTOR and left in _DESCRIPTOR_BYTES):
        raise FormatError(f"member {name!a} overlaps what follows, or bytes after it belong to nothing")
    if method == STORED and entry.size != entry.packed:
        raise FormatError(f"member {name!a} is stored, yet has two sizes")
    return Member(name, method, entry.size, entry.packed, data)


def _name(entry: _Entry) -> str:
    try:
        name = entry.raw_name.decode("utf-8" if entry.flags & _UTF8 else "ascii")
    except UnicodeDecodeError as err:
        raise FormatError("a member's name is not in the encoding it claims") from err
    if not name or "\0" in name:  # readers cut a name at NUL: it would be another member for them
        raise FormatError("a member's name is empty or holds a NUL")
    return name
