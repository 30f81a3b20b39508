"""HDF5: what the header messages of a dataset say: shape, element type, layout, filters.

Source: HDF5 File Format Specification 3.0, IV.A.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from assay.errors import FormatError
from assay.formats.base import OPAQUE
from assay.formats.hdf5_objects import UNDEFINED, Message

DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3
COMPACT, CONTIGUOUS, CHUNKED, VIRTUAL = 0, 1, 2, 3
SINGLE_CHUNK, IMPLICIT, TREE = 1, 2, 0
_MAX_RANK = 32  # H5S_MAX_RANK
_INTEGER, _FLOAT, _STRING, _COMPOUND, _ENUM = 0, 1, 3, 6, 8
# Bytes, bits of the exponent, bits of the fraction.
_FLOATS: Mapping[tuple[int, int, int], str] = {
    (2, 5, 10): "F16",
    (2, 8, 7): "BF16",
    (4, 8, 23): "F32",
    (8, 11, 52): "F64",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """An element type.

    Attributes:
        word: Canonical, ``S12`` for text, or ``bytes`` for what is not read here.
        item: Bytes of an element.
        swap: Bytes of the numbers whose order is turned round; 1 where nothing is.
    """

    word: str
    item: int
    swap: int = 1


@dataclass(frozen=True, slots=True)
class Storage:
    """Where the bytes of a dataset lie.

    Attributes:
        way: Compact, contiguous or chunked.
        address: Of the bytes, or of the index of the chunks.
        length: Bytes, where they are in one piece.
        chunk: Elements per dimension of a chunk.
        index: How chunks are found: by tree, a single one, or one behind the other.
    """

    way: int
    address: int
    length: int = 0
    chunk: tuple[int, ...] = ()
    index: int = TREE


def shape(message: Message) -> tuple[int, ...] | None:
    """The dimensions (IV.A.2.b); None for a dataset without elements at all."""
    raw = message.data
    if len(raw) < 4 or raw[0] not in {1, 2} or raw[1] > _MAX_RANK:  # noqa: PLR2004  # the fixed part
        raise FormatError("a dataset has no sound shape")
    if raw[0] == 2 and raw[3] == 2:  # noqa: PLR2004  # version 2, null
        return None
    at = 8 if raw[0] == 1 else 4
    return tuple(_number(raw, at + 8 * index, 8) for index in range(raw[1]))


def kind(raw: bytes) -> Kind:
    """The element type (IV.A.2.d)."""
    if len(raw) < 8:  # noqa: PLR2004  # the fixed part
        raise FormatError("a dataset has no sound element type")
    word, item = raw[0] & 0xF, _number(raw, 4, 4)
    unknown = Kind(OPAQUE, item)
    big = bool(raw[1] & 1)
    if word == _INTEGER and item in {1, 2, 4, 8} and raw[8:12] == (8 * item << 16).to_bytes(4, "little"):
        return Kind(f"{'I' if raw[1] & 8 else 'U'}{8 * item}", item, item if big else 1)
    if word == _FLOAT and len(raw) >= 20 and not raw[1] & 0x40:  # noqa: PLR2004  # its properties; not VAX
        name = _FLOATS.get((item, raw[13], raw[15]))
        return Kind(name, item, item if big else 1) if name else unknown
    if word == _STRING:
        return Kind(f"S{item}", item)
    if word == _COMPOUND:
        return _complex(raw, item) or unknown
    if word == _ENUM and item == 1 and raw[1:3] == b"\2\0" and b"FALSE\0" in raw and b"TRUE\0" in raw:
        return Kind("BOOL", 1)
    return unknown


def _complex(raw: bytes, item: int) -> Kind | None:
    """A pair of floats called r and i, as h5py writes complex numbers."""
    version, at = raw[0] >> 4, 8
    words: list[Kind] = []
    for name, offset in ((b"r", 0), (b"i", item // 2)):
        padded = 8 if version < 3 else 2  # noqa: PLR2004  # from version 3 on names are not padded
        if raw[at : at + 2] != name + b"\0":
            return None
        at += padded
        width = 4 if version < 3 else 1  # noqa: PLR2004  # the same
        if int.from_bytes(raw[at : at + width], "little") != offset:
            return None
        at += width + (28 if version == 1 else 0)
        if len(raw) < at + 20 or raw[at] & 0xF != _FLOAT:
            return None
        words.append(kind(raw[at : at + 20]))
        at += 20
    word = {"F32": "C64", "F64": "C128"}.get(words[0].word)
    return Kind(word, item, words[0].swap) if word and words[0] == words[1] and raw[1:3] == b"\2\0" else None


def storage(message: Message, rank: int) -> Storage | None:
    """The layout (IV.A.2.i); None for one that is not read here.

    Raises:
        FormatError: It is malformed, or made of other files.
    """
    raw = message.data
    if len(raw) < 2 or raw[0] not in {3, 4}:  # noqa: PLR2004  # versions and the class
        return None
    way = raw[1]
    if way == VIRTUAL:
        raise FormatError("a dataset is made of other datasets, perhaps of other files: refused")
    if way == COMPACT:
        length = _number(raw, 2, 2)
        if 4 + length > len(raw):
            raise FormatError("a dataset in a header ends outside it")
        return Storage(way, message.start + 4, length)
    if way == CONTIGUOUS:
        return Storage(way, _number(raw, 2, 8), _number(raw, 10, 8))
    if way != CHUNKED:
        raise FormatError(f"a dataset has the unknown layout {way}")
    return _chunked3(raw, rank) if raw[0] == 3 else _chunked4(raw, rank)  # noqa: PLR2004  # the version


def _chunked3(raw: bytes, rank: int) -> Storage:
    if _number(raw, 2, 1) != rank + 1:
        raise FormatError("the chunks of a dataset have other dimensions than it has")
    chunk = tuple(_number(raw, 11 + 4 * index, 4) for index in range(rank))
    return Storage(CHUNKED, _number(raw, 3, 8), chunk=_sound(chunk))


def _chunked4(raw: bytes, rank: int) -> Storage | None:
    flags, dimensions, width = (_number(raw, at, 1) for at in (2, 3, 4))
    if dimensions != rank + 1 or not 1 <= width <= 8:  # noqa: PLR2004  # bytes of a number
        raise FormatError("the chunks of a dataset have other dimensions than it has")
    chunk = tuple(_number(raw, 5 + width * index, width) for index in range(rank))
    at = 5 + width * dimensions
    index = _number(raw, at, 1)
    if index == SINGLE_CHUNK:
        length = _number(raw, at + 1, 8) if flags & 2 else 0
        # A mask would say that a filter was left out for this chunk.
        if flags & 2 and _number(raw, at + 9, 4):
            return None
        return Storage(CHUNKED, _number(raw, at + (13 if flags & 2 else 1), 8), length, _sound(chunk), index)
    if index == IMPLICIT:
        return Storage(CHUNKED, _number(raw, at + 1, 8), 0, _sound(chunk), index)
    return None


def _sound(chunk: tuple[int, ...]) -> tuple[int, ...]:
    if not chunk or 0 in chunk:
        raise FormatError("a dataset has chunks without elements")
    return chunk


def filters(raw: bytes) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Number and values of each filter, in the order they were applied (IV.A.2.l)."""
    version, count = _number(raw, 0, 1), _number(raw, 1, 1)
    if version not in {1, 2} or count > _MAX_RANK:
        raise FormatError("a dataset has no sound filters")
    at, found = 8 if version == 1 else 2, []
    for _ in range(count):
        number = _number(raw, at, 2)
        named = version == 1 or number >= 256  # noqa: PLR2004  # registered filters have names
        name = _number(raw, at + 2, 2) if named else 0
        at += 4 if named else 2
        values = _number(raw, at + 2, 2)
        at += 4 + (-(-name // 8) * 8 if version == 1 else name)
        found.append((number, tuple(_number(raw, at + 4 * index, 4) for index in range(values))))
        at += 4 * values + (4 if version == 1 and values % 2 else 0)
    return tuple(found)


def fill(raw: bytes, item: int) -> bytes:
    """The bytes of an element that was never written (IV.A.2.f)."""
    version = _number(raw, 0, 1)
    if version == 3:  # noqa: PLR2004  # flags instead of bytes
        defined, at = bool(_number(raw, 1, 1) & 0x20), 2
    else:
        defined, at = bool(_number(raw, 3, 1)), 4
    value = raw[at + 4 : at + 4 + item] if defined else b""
    return value if len(value) == item else bytes(item)


def element_count(dimensions: tuple[int, ...]) -> int:
    """How many elements there are.

    Raises:
        FormatError: More than any file can have.
    """
    count = math.prod(dimensions)
    if count >= UNDEFINED:
        raise FormatError("a dataset has an absurd shape")
    return count


def _number(raw: bytes, at: int, width: int) -> int:
    found = raw[at : at + width]
    if len(found) != width:
        raise FormatError("a dataset's description is cut off")
    return int.from_bytes(found, "little")
