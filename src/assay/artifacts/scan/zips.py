"""ZIP archives as every reader could take them: by the directory at the end, and member by member from the front.

Loaders disagree about damaged archives: one obeys the flags, another ignores them; one trusts the name
in front of the member, another that in the directory. Here both are read, flags and checksums stop
nothing, and where the two differ it is said. Section numbers: PKWARE APPNOTE.TXT 6.3.10.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from assay.artifacts.scan.source import Budget, Unpacked, Window
from assay.artifacts.scan.trouble import Inner, Inside, Trouble
from assay.findings import Severity
from assay.formats.base import Content

MAX_MEMBERS = 100_000
MAX_DIRECTORY_BYTES = 32 * 1024 * 1024
_TAIL_BYTES = 66_000  # 4.3.16: a comment of at most 65,535 bytes stands behind the end record
_LOCAL = struct.Struct("<4s5H3I2H")  # 4.3.7
_ENTRY = struct.Struct("<4s6H3I5H2I")  # 4.3.12
_END = struct.Struct("<4s4H2IH")  # 4.3.16
_END64 = struct.Struct("<4sQ2H2I4Q")  # 4.3.14
_BIG32 = 0xFFFFFFFF
_ENCRYPTED, _DESCRIPTOR = 0x2041, 0x0008  # 4.4.4
_STORED, _DEFLATED = 0, 8
_KINDS = {_DEFLATED: "deflate", 12: "bz2", 14: "lzma", 95: "xz"}
_GAP_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    at: int
    flags: int
    method: int
    packed: int
    size: int
    data: int


def begins_like_zip(head: bytes) -> bool:
    """Whether a reader from the front would open it as an archive."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def ends_like_zip(head: bytes, content: Content) -> bool:
    """Whether only a reader from the end would: something else stands in front of the archive."""
    if begins_like_zip(head):
        return False
    tail = content.read(max(0, content.size - _TAIL_BYTES), _TAIL_BYTES)
    return b"PK\x05\x06" in tail and _listed(content) is not None


def inside_zip(content: Content, budget: Budget) -> Inside:
    """Every member of an archive, by either reading."""
    inside = Inside()
    listed = _listed(content)
    front = list(_front(content, listed))
    by_place = {member.at: member for member in front}
    if listed is None:
        inside.troubles.append(_confusion("it has no readable directory, though loaders may read it from the front"))
    names: set[str] = set()
    for entry in listed or ():
        if entry.name in names:
            inside.troubles.append(_confusion(f"its directory lists {entry.name[:100]!a} twice"))
        names.add(entry.name)
        local = by_place.pop(entry.at, None) or _local(content, entry.at)
        if local is None:
            inside.troubles.append(_confusion(f"{entry.name[:100]!a} is listed where no member begins"))
            continue
        inside.troubles += _differences(entry, local)
        both = [entry] if entry.name == local.name and _same(entry, local) else [entry, local]
        for one in both:
            _take(inside, content, one, local.data, budget)
    for member in by_place.values():
        if listed is not None:
            inside.troubles.append(_confusion(f"{member.name[:100]!a} lies in it and is not listed in its directory"))
        _take(inside, content, member, member.data, budget)
    inside.inners += _gaps(content, [*front], listed)
    return inside


def _same(entry: _Member, local: _Member) -> bool:
    known = local.packed if not local.flags & _DESCRIPTOR else entry.packed
    return (entry.method, entry.packed) == (local.method, known)


def _take(inside: Inside, content: Content, member: _Member, data: int, budget: Budget) -> None:
    length = max(0, min(member.packed, content.size - data))
    packed = Window(content, data, length)
    raw = _is_storage(member.name)
    if member.method == _STORED:
        inside.inners.append(Inner(member.name, packed, raw=raw))
        return
    kind = _KINDS.get(member.method)
    if kind is None:
        detail = f"{member.name[:100]!a} is packed by method {member.method}, which is not read here"
        inside.troubles.append(Trouble("scan.incomplete", Severity.ERROR, detail))
        return
    inside.inners.append(Inner(member.name, Unpacked(packed, kind, budget), raw=raw))
    # A reader that trusts another place may take packed bytes as they are.
    if length and packed.read(0, 1)[0] == 0x80:  # noqa: PLR2004 - how a pickle begins
        inside.inners.append(Inner(member.name, packed, raw=True))


def _is_storage(name: str) -> bool:
    """Whether it is a tensor's numbers by the naming of torch: ``archive/data/17``."""
    folder, _, last = name.rpartition("/")
    return last.isdecimal() and folder.rpartition("/")[2] == "data"


def _differences(entry: _Member, local: _Member) -> Iterator[Trouble]:
    shown = f"{entry.name[:100]!a}"
    if entry.name != local.name:
        yield _confusion(f"its directory says {shown} where the member itself says {local.name[:100]!a}")
    if (entry.flags | local.flags) & _ENCRYPTED:
        yield _confusion(f"{shown} claims to be encrypted; some loaders ignore that and read it")
    if entry.method != local.method:
        yield _confusion(f"{shown} is packed by method {entry.method} or {local.method}, depending on who reads")
    if not local.flags & _DESCRIPTOR and _BIG32 not in {local.packed, local.size} and entry.packed != local.packed:
        yield _confusion(f"{shown} has {entry.packed} or {local.packed} bytes, depending on who reads")


def _confusion(detail: str) -> Trouble:
    return Trouble("scan.zip-confusion", Severity.ERROR, detail)


def _listed(content: Content) -> list[_Member] | None:
    """The members by the directory, None when there is none that could be read."""
    size = content.size
    start = max(0, size - _TAIL_BYTES)
    tail = content.read(start, _TAIL_BYTES)
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) - place < _END.size:
        return None
    _, _, _, _, _, length, offset, _ = _END.unpack_from(tail, place)
    end = start + place
    record = content.read(max(0, end - 20 - _END64.size), _END64.size)
    if len(record) == _END64.size and record.startswith(b"PK\x06\x06"):  # 4.3.14: the wide record comes first
        wide = _END64.unpack(record)
        length, offset, end = wide[8], wide[9], end - 20 - _END64.size
    if length > MAX_DIRECTORY_BYTES or length > end:
        return None
    # What stands in front of the first member shifts every offset (a prefix; Python's zipfile allows for it).
    shift = end - length - offset
    members = list(_entries(content.read(end - length, length), max(shift, 0)))
    return members or None


def _entries(directory: bytes, shift: int) -> Iterator[_Member]:
    at = 0
    for _ in range(MAX_MEMBERS):
        if len(directory) - at < _ENTRY.size:
            return
        fields = _ENTRY.unpack_from(directory, at)
        mark, _, _, flags, method, _, _, _, packed, size, names, extras, comments, _, _, _, place = fields
        if mark != b"PK\x01\x02":
            return
        at += _ENTRY.size
        name, extra = directory[at : at + names], directory[at + names : at + names + extras]
        at += names + extras + comments
        size, packed, place = _wide(extra, size, packed, place)
        yield _Member(_text(name), place + shift, flags, method, packed, size, 0)


def _wide(extra: bytes, size: int, packed: int, place: int) -> tuple[int, int, int]:
    """The 64-bit sizes and place, where the short fields say that they are in the extra field (4.5.3)."""
    values, at = [size, packed, place], 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            field = extra[at + 4 : at + 4 + length]
            for position, value in enumerate(values):
                if value == _BIG32 and len(field) >= 8:  # noqa: PLR2004
                    values[position] = int.from_bytes(field[:8], "little")
                    field = field[8:]
        at += 4 + length
    return values[0], values[1], values[2]


def _local(content: Content, at: int) -> _Member | None:
    head = content.read(at, _LOCAL.size)
    if len(head) != _LOCAL.size or not head.startswith(b"PK\x03\x04"):
        return None
    _, _, flags, method, _, _, _, packed, size, names, extras = _LOCAL.unpack(head)
    rest = content.read(at + _LOCAL.size, names + extras)
    size, packed, _ = _wide(rest[names:], size, packed, 0)
    return _Member(_text(rest[:names]), at, flags, method, packed, size, at + _LOCAL.size + names + extras)


def _front(content: Content, listed: list[_Member] | None) -> Iterator[_Member]:
    """The members from the front; a length that stands behind a member's data is taken from the directory."""
    sizes = {member.at: member.packed for member in listed or ()}
    at = min(sizes, default=0)
    for _ in range(MAX_MEMBERS):
        member = _local(content, at)
        if member is None:
            return
        packed = sizes.get(at, member.packed) if member.flags & _DESCRIPTOR else member.packed
        if member.flags & _DESCRIPTOR and at not in sizes:
            packed = content.size - member.data  # nobody says where it ends
        yield _Member(member.name, at, member.flags, member.method, packed, member.size, member.data)
        at = member.data + packed
        if member.flags & _DESCRIPTOR:
            at = _behind_descriptor(content, at)


def _behind_descriptor(content: Content, at: int) -> int:
    """Where the next record begins: a descriptor has 12 to 24 bytes (4.3.9)."""
    window = content.read(at, 28)
    return next((at + length for length in (16, 12, 24, 20, 0) if window[length : length + 2] == b"PK"), at)


def _gaps(content: Content, front: list[_Member], listed: list[_Member] | None) -> list[Inner]:
    """Bytes that belong to no member: a prefix, or what lies behind the last member up to the directory."""
    gaps: list[Inner] = []
    places = [member.at for member in [*front, *(listed or ())]]
    first = min(places, default=0)
    if first > 0:
        gaps.append(Inner("(before the archive)", Window(content, 0, min(first, _GAP_BYTES))))
    ends = [member.data + member.packed for member in front]
    last = max(ends, default=0)
    tail = content.read(last, 4)
    if front and not tail.startswith(b"PK"):
        gaps.append(Inner("(between members)", Window(content, last, min(max(0, content.size - last), _GAP_BYTES))))
    return gaps


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
