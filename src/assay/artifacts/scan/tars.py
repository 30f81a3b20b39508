"""TAR archives, ``.nemo`` among them: members by their headers. Source: POSIX.1-2017 pax, ustar; GNU tar."""

from __future__ import annotations

from collections.abc import Iterator

from assay.artifacts.scan.source import Window
from assay.artifacts.scan.trouble import Inner, Inside, Trouble
from assay.findings import Severity
from assay.formats.base import Content

BLOCK = 512
MAX_MEMBERS = 100_000
MAX_NAME_BYTES = 64 * 1024
_REGULAR = b"\x000\x377"  # a file, in four ways of saying so
_LINKS = b"12"


def looks_like_tar(head: bytes) -> bool:
    """Whether a first block is a header whose checksum holds."""
    if len(head) < BLOCK or head[0] == 0:
        return False
    wanted = _octal(head[148:156])
    return wanted > 0 and _checksum(head[:BLOCK]) == wanted


def inside_tar(content: Content) -> Inside:
    """Every file of an archive, and names and links that lead out of it."""
    inside = Inside()
    for name, kind, start, size, link in _members(content):
        if _leads_out(name) or (kind in _LINKS and _leads_out(link)):
            detail = f"its member {name[:100]!a} leads out of the folder it is unpacked in"
            inside.troubles.append(Trouble("scan.path-escape", Severity.ERROR, detail))
        inside.inners.append(Inner(name, Window(content, start, size)))
    return inside


def _members(content: Content) -> Iterator[tuple[str, bytes, int, int, str]]:
    at, long_name = 0, ""
    for _ in range(MAX_MEMBERS):
        head = content.read(at, BLOCK)
        if len(head) < BLOCK or not any(head):
            return
        size = _octal(head[124:136])
        if _checksum(head) != _octal(head[148:156]) or size < 0:
            return
        kind, data = head[156:157], at + BLOCK
        name = long_name or "/".join(part for part in (_text(head[345:500]), _text(head[:100])) if part)
        long_name = ""
        if kind == b"L":
            long_name = _text(content.read(data, min(size, MAX_NAME_BYTES)))
        elif kind not in b"xgK":
            yield name, kind, data, size if kind in _REGULAR else 0, _text(head[157:257])
        elif kind == b"x":
            long_name = _pax_path(content.read(data, min(size, MAX_NAME_BYTES)))
        at = data + -(-size // BLOCK) * BLOCK


def _pax_path(records: bytes) -> str:
    for record in records.split(b"\n"):
        _, _, field = record.partition(b" ")
        key, _, value = field.partition(b"=")
        if key == b"path":
            return value.decode("utf-8", "surrogateescape")
    return ""


def _leads_out(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/")


def _checksum(head: bytes) -> int:
    return sum(head[:148]) + 8 * 32 + sum(head[156:])  # its own field counts as spaces


def _octal(field: bytes) -> int:
    if field[:1] == b"\x80":  # GNU: larger than octal digits can say
        return int.from_bytes(field[1:], "big")
    text = field.split(b"\0")[0].strip()
    try:
        return int(text or b"0", 8)
    except ValueError:
        return -1


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("utf-8", "surrogateescape")
