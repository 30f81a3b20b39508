"""Archives of NumPy arrays: ``.npz`` files are ZIP files with ``.npy`` members.

Source: PKWARE APPNOTE.TXT 6.3.10 (section numbers below) and numpy.lib.format for the members.
A ZIP file says most things twice, in front of each member and in the directory at its end, and two
readers may believe different places. Here both must agree, and every byte must belong to a member
or to the directory.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from assay.errors import FormatError
from assay.formats.base import Content, Part, exactly

MAX_DIRECTORY_BYTES = 32 * 1024 * 1024  # bounds memory; holds more than 200,000 members
MAX_HEADER_BYTES = 10_000  # numpy.lib.format refuses longer array headers too

_END = struct.Struct("<4s4H2IH")  # 4.3.16
_END64 = struct.Struct("<4sQ2H2I4Q")  # 4.3.14
_LOCATOR = struct.Struct("<4sIQI")  # 4.3.15
_ENTRY = struct.Struct("<4s6H3I5H2I")  # 4.3.12
_LOCAL = struct.Struct("<4s5H3I2H")  # 4.3.7
_BIG16, _BIG32 = 0xFFFF, 0xFFFFFFFF  # "see the ZIP64 record"
_ENCRYPTED, _DESCRIPTOR, _UTF8 = 0x0001 | 0x0040 | 0x2000, 0x0008, 0x0800  # 4.4.4
_DESCRIPTOR_BYTES = frozenset({12, 16, 20, 24})  # 4.3.9: with and without signature, 32 and 64 bits
_STORED, _DEFLATED = 0, 8

_ARRAY = re.compile(
    r"\{'descr': (?:'(?P<dtype>[^']{1,64})'|\[.*\]), 'fortran_order': (?:True|False), "
    r"'shape': \((?P<shape>[0-9, ]*)\), \}\s*\Z"
)
_PLAIN = re.compile(r"[<>|=]?([biufcmMSUV])(\d{1,9})(?:\[.*\])?\Z")


@dataclass(frozen=True, slots=True)
class _Member:
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    start: int


class Npz:
    """An archive of arrays; parts are its members, from the local header to the end of the data."""

    name = "npz"

    def recognises(self, name: str) -> bool:
        """Whether a file of this name must be an archive of arrays."""
        return name.lower().endswith(".npz")

    def parts(self, content: Content) -> tuple[Part, ...]:
        """Every member with its byte range, in the order of the bytes.

        Raises:
            FormatError: Directory and members disagree, a name stands twice, members overlap, or
                there are bytes that belong to nothing.
        """
        directory, length, count = _directory(content)
        members = sorted(_members(exactly(content, directory, length, "the directory"), count), key=_start)
        if len({member.raw_name for member in members}) != len(members):
            raise FormatError("the directory names a member twice")
        if (members[0].start if members else directory) != 0:
            raise FormatError("there are bytes before the first member")
        ends = [*(member.start for member in members), directory][1:]
        return tuple(_part(content, member, end) for member, end in zip(members, ends, strict=True))


def stored_bytes(content: Content, part: Part) -> bytes:
    """The unpacked bytes of a member that is no array.

    Args:
        content: The archive.
        part: A part of it as :meth:`Npz.parts` gave it, with dtype ``bytes``. Its shape is the
            number of bytes there will be: check it first.

    Raises:
        FormatError: The member is packed in another way than deflated, or unpacks to another size.
        zlib.error: The packed bytes are damaged.
    """
    raw = exactly(content, part.start, part.end - part.start, "a member")
    names, extras = struct.unpack_from("<2H", raw, _LOCAL.size - 4)
    (method,) = struct.unpack_from("<H", raw, 8)
    data = raw[_LOCAL.size + names + extras :]
    (size,) = part.shape
    if method == _STORED:
        return data[:size]
    unpacked = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1) if method == _DEFLATED else b""
    if len(unpacked) != size:
        raise FormatError(f"member {part.name!a} does not unpack to the {size} bytes it claims")
    return unpacked


def _start(member: _Member) -> int:
    return member.start


def _directory(content: Content) -> tuple[int, int, int]:
    """Where the directory starts, its bytes, and how many members it lists."""
    at = content.size - _END.size
    mark, disk, first_disk, here, count, length, start, comment = _END.unpack(
        exactly(content, at, _END.size, "the end record")
    )
    if mark != b"PK\x05\x06" or comment:
        raise FormatError("the file does not end with a ZIP end record (cut off, or trailing bytes)")
    if _BIG16 in {here, count} or _BIG32 in {length, start}:
        at, disk, first_disk, here, count, length, start = _end64(content, at)
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


def _members(directory: bytes, count: int) -> list[_Member]:
    members, at = [], 0
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
        members.append(_Member(name, flags, method, crc, packed, size, start))
    if len(members) != count:
        raise FormatError(f"the directory lists {len(members)} members, the end record {count}")
    return members


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


def _part(content: Content, member: _Member, end: int) -> Part:
    raw = exactly(content, member.start, _LOCAL.size, "a member's header")
    mark, _, flags, method, _, _, crc, packed, size, names, extras = _LOCAL.unpack(raw)
    rest = exactly(content, member.start + _LOCAL.size, names + extras, "a member's name")
    name = _name(member)
    if mark != b"PK\x03\x04" or rest[:names] != member.raw_name or (flags, method) != (member.flags, member.method):
        raise FormatError(f"member {name!a}: its own header and the directory disagree")
    if not flags & _DESCRIPTOR:
        size, packed = _wide(rest[names:], (size, packed))
        if (crc, size, packed) != (member.crc, member.size, member.packed):
            raise FormatError(f"member {name!a}: its own header and the directory disagree")
    data = member.start + _LOCAL.size + names + extras
    left = end - data - member.packed
    if left != 0 and not (flags & _DESCRIPTOR and left in _DESCRIPTOR_BYTES):
        raise FormatError(f"member {name!a} overlaps what follows, or bytes after it belong to nothing")
    if method == _STORED and member.size != member.packed:
        raise FormatError(f"member {name!a} is stored, yet has two sizes")
    dtype, shape = _array(name, member, content, data)
    return Part(name, dtype, shape, member.start, end)


def _name(member: _Member) -> str:
    try:
        name = member.raw_name.decode("utf-8" if member.flags & _UTF8 else "ascii")
    except UnicodeDecodeError as err:
        raise FormatError("a member's name is not in the encoding it claims") from err
    if not name or "\0" in name:  # readers cut a name at NUL: it would be another member for them
        raise FormatError("a member's name is empty or holds a NUL")
    return name


def _array(name: str, member: _Member, content: Content, data: int) -> tuple[str, tuple[int, ...]]:
    """What a member holds: an array's dtype and shape, or plain bytes."""
    plain = "bytes", (member.size,)
    if not name.endswith(".npy"):
        return plain
    head = _head(member, content, data)
    if head[:6] != b"\x93NUMPY":
        return plain
    wide = head[6] > 1
    begin = 12 if wide else 10
    length = int.from_bytes(head[8:begin], "little")
    found = _ARRAY.match(head[begin : begin + length].decode("latin-1"))
    if length > MAX_HEADER_BYTES or found is None:
        return plain
    try:
        shape = tuple(int(size) for size in found["shape"].replace(" ", "").split(",") if size)
    except ValueError as err:  # more digits than Python converts
        raise FormatError(f"array {name!a} has an absurd shape") from err
    simple = _PLAIN.match(found["dtype"] or "")
    if simple is not None:
        width = int(simple[2]) * (4 if simple[1] == "U" else 1)
        if begin + length + math.prod(shape) * width != member.size:
            raise FormatError(f"array {name!a}: {found['dtype']} of shape {list(shape)} does not fill its member")
    return found["dtype"] or "structured", shape


def _head(member: _Member, content: Content, data: int) -> bytes:
    limit = MAX_HEADER_BYTES + 16
    raw = content.read(data, min(member.packed, limit))
    if member.method == _STORED:
        return raw.ljust(16, b"\0")
    if member.method != _DEFLATED:
        return bytes(16)
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw, limit).ljust(16, b"\0")
    except zlib.error as err:
        raise FormatError("a member's compressed bytes are damaged") from err
