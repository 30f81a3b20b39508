"""Elements that do not lie row by row, put into that order: strides, byte order, packing."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from assay.errors import FormatError
from assay.formats.archive import Member, Unpacked
from assay.formats.base import PIECE_BYTES, Content, Part, exactly, plain_elements

# Elements are put in order in blocks of this size; a packed source is unpacked again for each block.
BLOCK_BYTES = 32 * 1024 * 1024
_READ_BYTES = 4096  # one more read costs about as much as reading so many bytes more
_UNITS: Mapping[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the elements of an array lie.

    Attributes:
        shape: Elements per dimension.
        strides: From one element to the next of each dimension, in elements, zero or more.
        offset: The byte of the first element.
        item: Bytes of an element.
        swap: Bytes of the numbers whose order is turned round (8 for a big-endian complex of 16
            bytes); 1 where nothing is.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    item: int
    swap: int = 1

    @property
    def span(self) -> int:
        """Bytes from the first to the end of the last element."""
        if 0 in self.shape:
            return 0
        return (sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True)) + 1) * self.item

    @property
    def row_major(self) -> bool:
        """Whether the elements lie in order, without gaps."""
        wanted = row_major_strides(self.shape)
        every = zip(self.shape, self.strides, wanted, strict=True)
        return 0 in self.shape or all(size == 1 or stride == want for size, stride, want in every)


@dataclass(frozen=True, slots=True)
class ArrayPart(Part):
    """A part whose elements have to be put in order.

    Attributes:
        layout: Where they lie, in the file or in the unpacked member.
        member: The member of the archive that has to be unpacked first.
    """

    layout: Layout | None = None
    member: Member | None = None


def row_major_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements when the last index runs fastest."""
    return tuple(math.prod(shape[index + 1 :]) for index in range(len(shape)))


def column_major_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements when the first index runs fastest."""
    return tuple(math.prod(shape[:index]) for index in range(len(shape)))


def array_elements(content: Content, part: Part) -> Iterator[bytes]:
    """The elements of any part that this module, or no one, has to put in order.

    Raises:
        FormatError: The content ends before, or packed bytes are damaged.
    """
    if isinstance(part, ArrayPart) and part.layout is not None:
        source = content if part.member is None else Unpacked(content, part.member)
        block = BLOCK_BYTES if part.member is None else 4 * BLOCK_BYTES
        return in_order(source, part.layout, block)
    return plain_elements(content, part)


def in_order(source: Content, layout: Layout, block: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The elements little-endian and row-major, in pieces.

    Args:
        source: Where they lie.
        layout: How they lie there.
        block: At most about three times so many bytes are held at once.

    Raises:
        FormatError: The source ends before the last element.
    """
    if not layout.span:
        return
    if layout.offset + layout.span > source.size:
        raise FormatError(f"elements end at byte {layout.offset + layout.span}, but there are {source.size}")
    if layout.row_major:
        yield from _straight(source, layout)
        return
    unit = next(width for width in (8, 4, 2, 1) if layout.item % width == 0)
    shape, strides = _merged(layout, layout.item // unit)
    room = max(block // unit, 1)
    axis = next(index for index in range(len(shape)) if math.prod(shape[index + 1 :]) <= room)
    step = room // math.prod(shape[axis + 1 :])
    for outer in product(*(range(size) for size in shape[:axis])):
        at = sum(index * stride for index, stride in zip(outer, strides, strict=False))
        for first in range(0, shape[axis], step):
            inner = (min(step, shape[axis] - first), *shape[axis + 1 :])
            start = layout.offset + (at + first * strides[axis]) * unit
            yield _swapped(_block(source, start, inner, strides[axis:], unit), layout.swap)


def _straight(source: Content, layout: Layout) -> Iterator[bytes]:
    end = layout.offset + layout.span
    for at in range(layout.offset, end, PIECE_BYTES):  # a multiple of every number's width
        yield _swapped(exactly(source, at, min(PIECE_BYTES, end - at), "an array"), layout.swap)


def _swapped(raw: bytes | bytearray, width: int) -> bytes:
    if width == 1:
        return bytes(raw)
    numbers = array(_UNITS[width], bytes(raw))
    numbers.byteswap()
    return numbers.tobytes()


def _merged(layout: Layout, units: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and strides in units, neighbours that run on made one."""
    dimensions = [
        (size, stride * units) for size, stride in zip(layout.shape, layout.strides, strict=True) if size != 1
    ]
    merged = [(units, 1)] if units > 1 else []
    for size, stride in reversed(dimensions):
        if merged and stride == merged[0][0] * merged[0][1]:
            merged[0] = (size * merged[0][0], merged[0][1])
        else:
            merged.insert(0, (size, stride))
    return tuple(size for size, _ in merged), tuple(stride for _, stride in merged)


def _block(source: Content, start: int, shape: Sequence[int], strides: Sequence[int], unit: int) -> bytearray:
    """One block in order: runs along one dimension are copied at once."""
    found = bytearray(math.prod(shape) * unit)
    to = memoryview(found).cast(_UNITS[unit])
    span = (sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) + 1) * unit
    # The far dimensions outside, so that a packed source is read forward.
    dimensions = sorted(zip(shape, strides, row_major_strides(shape), strict=True), key=lambda one: -one[1])
    if span <= 2 * len(found) + PIECE_BYTES:
        held = memoryview(exactly(source, start, span, "an array")).cast(_UNITS[unit])
        run = max(dimensions, key=lambda one: one[0])
    else:
        held = None
        run = min(dimensions, key=lambda one: (_READ_BYTES + min(one[1] * unit, _READ_BYTES) * one[0]) / one[0])
    dimensions.remove(run)
    size, stride, place = run
    for steps in product(*(_steps(*one) for one in dimensions)):
        at, into = sum(one for one, _ in steps), sum(one for _, one in steps)
        if held is not None and stride:
            to[into : into + (size - 1) * place + 1 : place] = held[at : at + (size - 1) * stride + 1 : stride]
            continue
        for index, taken in _run(source, start + at * unit, size, stride, unit):
            first = into + index * place
            to[first : first + (len(taken) - 1) * place + 1 : place] = taken
    to.release()
    return found


def _steps(size: int, stride: int, place: int) -> Iterator[tuple[int, int]]:
    """Where the elements of one dimension are taken from and where they go, in units."""
    return ((index * stride, index * place) for index in range(size))


def _run(source: Content, start: int, size: int, stride: int, unit: int) -> Iterator[tuple[int, memoryview]]:
    """``size`` units that lie ``stride`` apart, in pieces with the index of their first."""
    if not stride:
        yield 0, memoryview(exactly(source, start, unit, "an array") * size).cast(_UNITS[unit])
        return
    if stride * unit > _READ_BYTES:
        for index in range(size):
            one = exactly(source, start + index * stride * unit, unit, "an array")
            yield index, memoryview(one).cast(_UNITS[unit])
        return
    step = max(PIECE_BYTES // (stride * unit), 1)
    for index in range(0, size, step):
        count = min(step, size - index)
        raw = exactly(source, start + index * stride * unit, ((count - 1) * stride + 1) * unit, "an array")
        yield index, memoryview(raw).cast(_UNITS[unit])[::stride]
