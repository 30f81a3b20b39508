"""HDF5: the objects of a file, their header messages, and the links of groups.

Source: HDF5 File Format Specification 3.0 (section numbers below). What h5py writes by default is
read, and the newer forms as far as small files have them; where a file uses more (dense groups,
other sizes of addresses), :attr:`Objects.beyond` is set and nobody should rely on the rest. Links
that lead elsewhere are refused: soft and external links, external storage, virtual datasets.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from assay.errors import FormatError
from assay.formats.base import Content, exactly

SIGNATURE = b"\x89HDF\r\n\x1a\n"
UNDEFINED = 0xFFFF_FFFF_FFFF_FFFF
MAX_OBJECTS = 200_000
MAX_NODES = 500_000
MAX_HEADER_BYTES = 64 * 1024 * 1024  # of one object: attributes lie there, and one may hold a model's configuration
_MAX_HEAP_BYTES = 64 * 1024 * 1024
_MAX_NAME_BYTES = 65_535
_MAX_DEPTH = 64

DATASPACE, LINK_INFO, DATATYPE, FILL_VALUE, LINK, EXTERNAL, LAYOUT, FILTERS, CONTINUATION, SYMBOLS = (
    0x1,
    0x2,
    0x3,
    0x5,
    0x6,
    0x7,
    0x8,
    0xB,
    0x10,
    0x11,
)
_SHARED = 0x02
_EIGHT_BYTES = b"\x08\x08"


@dataclass(frozen=True, slots=True)
class Message:
    """One header message.

    Attributes:
        kind: Its type.
        start: Where its data begin in the file.
        data: Its data.
        shared: The data say where the message lies, instead of being it.
    """

    kind: int
    start: int
    data: bytes
    shared: bool


@dataclass(slots=True)
class Objects:
    """Walks the objects of one file.

    Attributes:
        content: The file.
        beyond: The file uses more of HDF5 than is read here.
    """

    content: Content
    beyond: bool = False
    _nodes: int = 0
    _visited: set[int] = field(default_factory=set)

    def datasets(self) -> Iterator[tuple[str, int, tuple[Message, ...]]]:
        """Path, address and messages of every dataset, in the order of the links.

        Raises:
            FormatError: Anything malformed, or a link that leads elsewhere.
        """
        stack: list[tuple[str, int, int]] = [("", self._root(), 0)]
        while stack:
            path, address, depth = stack.pop()
            messages = tuple(self._messages(address)) if address != UNDEFINED else ()
            self._nodes += 1
            if depth > _MAX_DEPTH or self._nodes > MAX_NODES:
                raise FormatError("its groups are nested too deeply, or are too many")
            if any(one.kind == EXTERNAL for one in messages):
                raise FormatError(f"{path!a} keeps its bytes in another file")
            if any(one.kind == LAYOUT for one in messages):
                yield path, address, messages
                continue
            if address in self._visited:
                raise FormatError(f"group {path!a} can be reached in two ways")
            self._visited.add(address)
            links = list(self._links(path, messages))
            if len({name for name, _ in links}) != len(links):
                raise FormatError(f"group {path!a} has two links of one name")
            stack += [(f"{path}/{name}" if path else name, where, depth + 1) for name, where in links[::-1]]

    def _root(self) -> int:
        """The address of the root group's header (II)."""
        head = exactly(self.content, 0, 96, "the superblock")
        version = head[8]
        if head[:8] != SIGNATURE:
            raise FormatError("it does not begin as an HDF5 file does")
        if version <= 1:
            sizes, first = head[13:15], 24 if version == 0 else 28
            base, end, root = first, first + 16, first + 40
        else:
            sizes, base, end, root = head[9:11], 12, 28, 36
        if sizes != _EIGHT_BYTES or version > 3 or head[base : base + 8] != bytes(8):  # noqa: PLR2004  # known versions
            self.beyond = True
            return UNDEFINED
        if _u64(head, end) != self.content.size:
            raise FormatError(f"it claims to end at byte {_u64(head, end)}, but ends at {self.content.size}")
        return _u64(head, root)

    def _messages(self, address: int) -> Iterator[Message]:
        """The messages of an object header (IV.A.1)."""
        head = exactly(self.content, address, 16, "an object header")
        if head[:4] == b"OHDR":
            yield from self._messages2(address, head)
        elif head[0] == 1:
            _, _, _, _, length = struct.unpack("<BBHII", head[:12])
            yield from self._run([(address + 16, length)], prefix=8, mark=b"")
        else:
            raise FormatError(f"there is no object header at byte {address}")

    def _messages2(self, address: int, head: bytes) -> Iterator[Message]:
        flags = head[5]
        at = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        raw = exactly(self.content, address + at, width, "an object header")
        length = int.from_bytes(raw, "little")
        if head[4] != 2:  # noqa: PLR2004  # the version
            raise FormatError(f"the object header at byte {address} has version {head[4]}")
        prefix = 6 if flags & 0x4 else 4
        yield from self._run([(address + at + width, length)], prefix=prefix, mark=b"OCHK")

    def _run(self, blocks: list[tuple[int, int]], *, prefix: int, mark: bytes) -> Iterator[Message]:
        """The messages of all blocks; a continuation adds one."""
        total, seen = 0, set()
        while blocks:
            start, length = blocks.pop(0)
            total += length
            if start in seen or total > MAX_HEADER_BYTES:
                raise FormatError("an object header runs in a circle, or is absurdly long")
            seen.add(start)
            raw, at = exactly(self.content, start, length, "an object header"), 0
            while at + prefix <= length:
                kind, size, what = _prefix(raw, at, new=bool(mark))
                at += prefix
                if at + size > length:
                    raise FormatError(f"a message at byte {start + at} ends outside its header")
                data = raw[at : at + size]
                if kind == CONTINUATION:
                    blocks.append(self._continued(data, mark))
                elif kind:
                    yield Message(kind, start + at, data, bool(what & _SHARED))
                at += size

    def _continued(self, data: bytes, mark: bytes) -> tuple[int, int]:
        where, length = _u64(data, 0), _u64(data, 8)
        if not mark:
            return where, length
        if exactly(self.content, where, 4, "an object header") != mark or length < 8:  # noqa: PLR2004  # mark, checksum
            raise FormatError(f"an object header does not go on at byte {where}")
        return where + 4, length - 8

    def _links(self, path: str, messages: tuple[Message, ...]) -> Iterator[tuple[str, int]]:
        for one in messages:
            if one.kind == LINK:
                yield _link(path, one.data)
            elif one.kind == SYMBOLS:
                yield from self._symbols(path, _u64(one.data, 0), _u64(one.data, 8))
            elif one.kind == LINK_INFO:
                at = 2 + (8 if one.data[1:2] > b"" and one.data[1] & 1 else 0)
                self.beyond |= _u64(one.data, at) != UNDEFINED  # dense: in a fractal heap

    def _symbols(self, path: str, tree: int, heap: int) -> Iterator[tuple[str, int]]:
        """The links of an old-style group: a tree of symbol nodes, names in a heap (III.A, III.C, III.D)."""
        head = exactly(self.content, heap, 32, "a local heap")
        length, where = _u64(head, 8), _u64(head, 24)
        if head[:4] != b"HEAP" or length > _MAX_HEAP_BYTES:
            raise FormatError(f"group {path!a} has no sound heap of names")
        names = exactly(self.content, where, length, "a local heap")
        for node in self.leaves(tree, 0, 8):
            raw = exactly(self.content, node[1], 8, "a symbol node")
            count = int.from_bytes(raw[6:8], "little")
            if raw[:4] != b"SNOD":
                raise FormatError(f"group {path!a} has no sound symbol node at byte {node[1]}")
            entries = exactly(self.content, node[1] + 8, 40 * count, "a symbol node")
            for at in range(0, 40 * count, 40):
                name = _until_nul(names, _u64(entries, at))
                if int.from_bytes(entries[at + 16 : at + 20], "little") == 2:  # noqa: PLR2004  # a soft link
                    raise FormatError(f"group {path!a} has the soft link {name!a}, which is refused")
                yield name, _u64(entries, at + 8)

    def leaves(self, address: int, kind: int, key_bytes: int) -> Iterator[tuple[bytes, int]]:
        """Key and child of every entry at the lowest level of a version 1 B-tree (III.A.1).

        Args:
            address: Of the root node.
            kind: 0 for groups, 1 for chunks.
            key_bytes: How long a key is.

        Raises:
            FormatError: A node is malformed, or the tree is no tree.
        """
        stack: list[tuple[int, int | None]] = [(address, None)]
        while stack:
            at, wanted = stack.pop()
            self._nodes += 1
            head = exactly(self.content, at, 24, "a tree's node")
            level, used = head[5], int.from_bytes(head[6:8], "little")
            if head[:4] != b"TREE" or head[4] != kind or wanted not in {None, level} or self._nodes > MAX_NODES:
                raise FormatError(f"the node at byte {at} is not the one its tree needs")
            raw = exactly(self.content, at + 24, used * (key_bytes + 8), "a tree's node")
            step = key_bytes + 8
            entries = [(raw[i : i + key_bytes], _u64(raw, i + key_bytes)) for i in range(0, len(raw), step)]
            if level == 0:
                yield from entries
            else:
                stack += [(child, level - 1) for _, child in reversed(entries)]


def _prefix(raw: bytes, at: int, *, new: bool) -> tuple[int, int, int]:
    """Type, size and flags of the message at a place."""
    kind, size, flags = struct.unpack_from("<BHB" if new else "<HHB", raw, at)
    return kind, size, flags


def _link(path: str, data: bytes) -> tuple[str, int]:
    """Name and address of a link message (IV.A.2.g)."""
    if len(data) < 2 or data[0] != 1:  # noqa: PLR2004  # version and flags
        raise FormatError(f"group {path!a} has a malformed link")
    flags, at = data[1], 2
    kind = 0
    if flags & 0x8:
        kind, at = data[at] if len(data) > at else -1, at + 1
    at += (8 if flags & 0x4 else 0) + (1 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    length = int.from_bytes(data[at : at + width], "little")
    raw = data[at + width : at + width + length]
    if kind != 0:
        raise FormatError(f"group {path!a} has the link {raw[:80]!a}, which leads elsewhere: refused")
    return _name(raw), _u64(data, at + width + length)


def _until_nul(names: bytes, at: int) -> str:
    end = names.find(b"\0", at)
    if at >= len(names) or end < 0:
        raise FormatError("a link's name lies outside the heap")
    return _name(names[at:end])


def _name(raw: bytes) -> str:
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError as err:
        raise FormatError("a link's name is not UTF-8") from err
    if not name or len(raw) > _MAX_NAME_BYTES or "/" in name or "\0" in name or name in {".", ".."}:
        raise FormatError(f"a link has the name {name[:80]!a}")
    return name


def _u64(raw: bytes, at: int) -> int:
    found = raw[at : at + 8]
    if len(found) != 8:  # noqa: PLR2004  # an address
        raise FormatError("an address of the file is cut off")
    return int.from_bytes(found, "little")
