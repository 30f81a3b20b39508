"""One tensor of an ONNX model: raw bytes, typed numbers, or bytes in another file.

Source: TensorProto in onnx/onnx.proto of github.com/onnx/onnx.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from assay.errors import FormatError
from assay.formats.base import OPAQUE, PIECE_BYTES, Content, Part, plain_elements
from assay.formats.protobuf import BYTES, FIXED32, FIXED64, VARINT, Field, fields, message, text, varint
from assay.formats.reading import Window
from assay.formats.sharded import is_inside

_DIMS, _DATA_TYPE, _SEGMENT, _NAME, _RAW, _EXTERNAL, _LOCATION = 1, 2, 3, 8, 9, 13, 14
_FLOATS, _INT32S, _STRINGS, _INT64S, _DOUBLES, _UINT64S = 4, 5, 6, 7, 10, 11
_DATA = frozenset({_FLOATS, _INT32S, _STRINGS, _INT64S, _DOUBLES, _UINT64S, _RAW})
_ONCE = frozenset({_DATA_TYPE, _NAME, _RAW, _LOCATION})
_KEY, _VALUE = 1, 2
_MAX_DIMENSIONS = 64
_NUMBER = re.compile(r"\d{1,19}\Z")
# Wire type of the single numbers in the typed fields, and their bytes where it is fixed.
_WIRES: Mapping[int, tuple[int, int]] = {
    _FLOATS: (FIXED32, 4),
    _DOUBLES: (FIXED64, 8),
    _INT32S: (VARINT, 0),
    _INT64S: (VARINT, 0),
    _UINT64S: (VARINT, 0),
}
_NOT_LAST = bytes(range(128, 256))  # the bytes of a number of variable length that are not its last


@dataclass(frozen=True, slots=True)
class _Type:
    """An element type: canonical word, bits, the typed field, numbers of that field per element."""

    word: str
    bits: int
    typed: int
    numbers: int = 1


_TYPES: Mapping[int, _Type] = {
    1: _Type("F32", 32, _FLOATS),
    2: _Type("U8", 8, _INT32S),
    3: _Type("I8", 8, _INT32S),
    4: _Type("U16", 16, _INT32S),
    5: _Type("I16", 16, _INT32S),
    6: _Type("I32", 32, _INT32S),
    7: _Type("I64", 64, _INT64S),
    9: _Type("BOOL", 8, _INT32S),
    10: _Type("F16", 16, _INT32S),
    11: _Type("F64", 64, _DOUBLES),
    12: _Type("U32", 32, _UINT64S),
    13: _Type("U64", 64, _UINT64S),
    14: _Type("C64", 64, _FLOATS, 2),
    15: _Type("C128", 128, _DOUBLES, 2),
    16: _Type("BF16", 16, _INT32S),
    17: _Type("F8_E4M3", 8, _INT32S),
    18: _Type("F8_E4M3FNUZ", 8, _INT32S),
    19: _Type("F8_E5M2", 8, _INT32S),
    20: _Type("F8_E5M2FNUZ", 8, _INT32S),
    21: _Type("U4", 4, _INT32S),
    22: _Type("I4", 4, _INT32S),
    23: _Type("F4", 4, _INT32S),
    24: _Type("F8_E8M0", 8, _INT32S),
    25: _Type("U2", 2, _INT32S),
    26: _Type("I2", 2, _INT32S),
}
_EXTERNAL_LOCATION = 1


@dataclass(frozen=True, slots=True)
class TypedPart(Part):
    """A tensor whose numbers stand one by one.

    Attributes:
        number: The field they stand in.
        width: Bytes of an element; each number gives so many.
    """

    number: int = 0
    width: int = 0
    message: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class _Seen:
    """What the fields of one tensor said."""

    name: str = ""
    kind: int = 0
    external: bool = False
    dims: list[int] = field(default_factory=list)
    entries: dict[str, str] = field(default_factory=dict)
    numbers: set[int] = field(default_factory=set)
    data: list[Field] = field(default_factory=list)
    count: int = 0


def read_tensor(window: Window, tensor: Field) -> Part:
    """One tensor as a part with the name it has, which may be empty.

    Raises:
        FormatError: Anything malformed, data given twice, or external data that lead outside.
    """
    seen = _Seen()
    for one in message(window, tensor):
        _take(window, one, seen)
    if _SEGMENT in seen.numbers:
        raise FormatError(f"tensor {seen.name!a} comes in segments, which is refused")
    shape = tuple(seen.dims)
    kind = _TYPES.get(seen.kind)
    if seen.external:
        return _external(seen, shape, kind)
    if seen.entries:
        raise FormatError(f"tensor {seen.name!a} names external data that it does not use")
    if kind is None:  # text, or a type of a later version
        return Part(seen.name, OPAQUE, (tensor.end - tensor.start,), tensor.start, tensor.end)
    return _internal(seen, shape, kind, tensor)


def _take(window: Window, one: Field, seen: _Seen) -> None:
    if one.number in _ONCE and one.number in seen.numbers:
        raise FormatError(f"tensor {seen.name!a} gives field {one.number} twice")
    seen.numbers.add(one.number)
    if one.number == _NAME:
        seen.name = text(window, one)
    elif one.number == _DIMS:
        _dims(window, one, seen.dims)
    elif one.number in {_DATA_TYPE, _LOCATION}:
        if one.wire != VARINT:
            raise FormatError(f"tensor {seen.name!a} has no sound type or location")
        if one.number == _DATA_TYPE:
            seen.kind = one.value
        else:
            seen.external = one.value == _EXTERNAL_LOCATION
    elif one.number == _EXTERNAL:
        entry = {part.number: text(window, part) for part in message(window, one)}
        key = entry.get(_KEY, "")
        if key in seen.entries:
            raise FormatError(f"tensor {seen.name!a} gives {key!a} of its external data twice")
        seen.entries[key] = entry.get(_VALUE, "")
    elif one.number in _DATA:
        _data(window, one, seen)


def _dims(window: Window, one: Field, dims: list[int]) -> None:
    if one.wire == VARINT:
        dims.append(one.value)
    elif one.wire == BYTES and one.end - one.start <= 10 * _MAX_DIMENSIONS:
        window.seek(one.start)
        while window.at < one.end:
            dims.append(varint(window))
    else:
        raise FormatError("a tensor's dimensions are malformed")
    if len(dims) > _MAX_DIMENSIONS or any(size >= 1 << 63 for size in dims):
        raise FormatError("a tensor has a negative dimension or too many")


def _data(window: Window, one: Field, seen: _Seen) -> None:
    """Count the numbers of one field, and remember where the first and the last stand."""
    if len(seen.numbers & _DATA) > 1:
        raise FormatError(f"tensor {seen.name!a} gives its data in two ways")
    length = one.end - one.start
    if one.number in {_RAW, _STRINGS}:
        if one.wire != BYTES:
            raise FormatError(f"tensor {seen.name!a}: its data are malformed")
        seen.count = length
    elif one.wire == BYTES:
        width = _WIRES[one.number][1]
        if width and length % width:
            raise FormatError(f"tensor {seen.name!a}: its data end within a number")
        seen.count += length // width if width else _count(window, one)
    elif one.wire == _WIRES[one.number][0]:
        seen.count += 1
    else:
        raise FormatError(f"tensor {seen.name!a}: its data are malformed")
    seen.data = [*seen.data[:1], one]


def _count(window: Window, one: Field) -> int:
    """How many numbers of variable length a packed field holds."""
    count, last = 0, 0
    for at in range(one.start, one.end, PIECE_BYTES):
        window.seek(at)
        piece = window.take(min(PIECE_BYTES, one.end - at))
        count += len(piece.translate(None, _NOT_LAST))
        last = piece[-1]
    if last in _NOT_LAST:
        raise FormatError(f"the numbers that end at byte {one.end} are cut off")
    return count


def _bytes(count: int, bits: int) -> int:
    return -(-count * bits // 8)


def _internal(seen: _Seen, shape: tuple[int, ...], kind: _Type, tensor: Field) -> Part:
    elements = math.prod(shape)
    size = _bytes(elements, kind.bits)
    raw = _RAW in seen.numbers
    if not raw and seen.data and seen.data[0].number != kind.typed:
        raise FormatError(f"tensor {seen.name!a} is {kind.word}, but its data are of another type")
    # Elements of less than a byte are packed into bytes, and each byte is a number.
    wanted = size if raw else _bytes(elements, kind.bits) if kind.bits < 8 else elements * kind.numbers  # noqa: PLR2004
    if seen.count != wanted:
        raise FormatError(f"tensor {seen.name!a}: {kind.word} of shape {list(shape)} does not fill its data")
    if not seen.data:
        return Part(seen.name, kind.word, shape, tensor.start, tensor.start)
    start, end = seen.data[0].start, seen.data[-1].end
    if raw or (_WIRES[kind.typed][1] and end - start == size):
        return Part(seen.name, kind.word, shape, start, end)
    width = max(kind.bits // 8 // kind.numbers, 1)
    return TypedPart(
        seen.name,
        kind.word,
        shape,
        start,
        end,
        plain=False,
        number=kind.typed,
        width=width,
        message=(tensor.start, tensor.end),
    )


def _external(seen: _Seen, shape: tuple[int, ...], kind: _Type | None) -> Part:
    location = seen.entries.get("location", "").removeprefix("./")
    if not is_inside(location):
        raise FormatError(f"tensor {seen.name!a} lies in {location!a}, which is no path within the model's folder")
    if seen.numbers & _DATA:
        raise FormatError(f"tensor {seen.name!a} gives its data in two ways")
    offset, length = _number(seen, "offset"), _number(seen, "length")
    start = offset or 0
    if kind is None:
        if length is None:
            raise FormatError(f"tensor {seen.name!a} has a type that is not known, and no length")
        return Part(seen.name, OPAQUE, (length,), start, start + length, location)
    size = _bytes(math.prod(shape), kind.bits)
    if length not in {None, size}:
        raise FormatError(f"tensor {seen.name!a}: {kind.word} of shape {list(shape)} does not fill {length} bytes")
    return Part(seen.name, kind.word, shape, start, start + size, location)


def _number(seen: _Seen, key: str) -> int | None:
    value = seen.entries.get(key)
    if value is None:
        return None
    if not _NUMBER.match(value):
        raise FormatError(f"tensor {seen.name!a}: {key} of its external data is {value!a}, no number of bytes")
    return int(value)


def typed_elements(content: Content, part: Part) -> Iterator[bytes]:
    """The elements of a tensor, little-endian and row-major.

    Raises:
        FormatError: The content has changed since the part was read.
    """
    if not isinstance(part, TypedPart):
        yield from plain_elements(content, part)
        return
    first, end = part.message
    window = Window(content, at=first, end=end)
    wire, fixed = _WIRES[part.number]
    mask = (1 << 8 * part.width) - 1
    for one in fields(window, end):
        if one.number != part.number:
            continue
        if wire == VARINT and one.wire == VARINT:
            yield (one.value & mask).to_bytes(part.width, "little")
        elif fixed:
            for at in range(one.start, one.end, PIECE_BYTES):
                window.seek(at)
                yield window.take(min(PIECE_BYTES, one.end - at))
        else:
            yield from _varints(window, one.end, part.width, mask)


def _varints(window: Window, end: int, width: int, mask: int) -> Iterator[bytes]:
    piece = bytearray()
    while window.at < end:
        piece += (varint(window) & mask).to_bytes(width, "little")
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)
