"""HDF5: the elements of datasets that lie in chunks, packed or not."""

from __future__ import annotations

import math
import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from assay.errors import FormatError
from assay.formats.base import Content, Part, exactly
from assay.formats.hdf5_types import DEFLATE, FLETCHER32, SHUFFLE
from assay.formats.layout import row_major_strides

BLOCK_BYTES = 64 * 1024 * 1024
_CHECKSUM_BYTES = 4


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk.

    Attributes:
        start: Its first byte in the file.
        length: Bytes as it lies there.
        skipped: A bit for each filter that was left out.
    """

    start: int
    length: int
    skipped: int


@dataclass(frozen=True, slots=True)
class ChunkedPart(Part):
    """A dataset in chunks.

    Attributes:
        chunk: Elements per dimension of a chunk.
        chunks: By place among the chunks; one that is not there was never written.
        filters: Number and values of each filter, in the order they were applied.
        item: Bytes of an element.
        swap: Bytes of the numbers whose order is turned round; 1 where nothing is.
        fill: An element that was never written.
        origin: What has to be added to the chunks' places in the file.
    """

    chunk: tuple[int, ...] = ()
    chunks: Mapping[tuple[int, ...], Chunk] = field(default_factory=dict)
    filters: tuple[tuple[int, tuple[int, ...]], ...] = ()
    item: int = 1
    swap: int = 1
    fill: bytes = b"\0"
    origin: int = 0


def chunk_bytes(chunk: Sequence[int], item: int) -> int:
    """Bytes of an unpacked chunk."""
    return math.prod(chunk) * item


def chunked_elements(content: Content, part: ChunkedPart) -> Iterator[bytes]:
    """The elements in order, in pieces; a few chunks and one block are held at once.

    Raises:
        FormatError: A chunk does not unpack to its size.
    """
    shape = part.shape
    if 0 in shape:
        return
    room = max(BLOCK_BYTES // part.item, 1)
    axis = next(index for index in range(len(shape)) if math.prod(shape[index + 1 :]) <= room)
    step = room // math.prod(shape[axis + 1 :])
    if step > part.chunk[axis]:  # whole rows of chunks, so that each is unpacked once
        step -= step % part.chunk[axis]
    for outer in product(*(range(size) for size in shape[:axis])):
        for first in range(0, shape[axis], step):
            lows = (*outer, first, *([0] * (len(shape) - axis - 1)))
            sizes = (*([1] * axis), min(step, shape[axis] - first), *shape[axis + 1 :])
            yield _ordered(_block(content, part, lows, sizes), part.swap)


def _ordered(raw: bytearray, width: int) -> bytes:
    if width == 1:
        return bytes(raw)
    numbers = array({2: "H", 4: "I", 8: "Q"}[width], bytes(raw))
    numbers.byteswap()
    return numbers.tobytes()


def _block(content: Content, part: ChunkedPart, lows: Sequence[int], sizes: Sequence[int]) -> bytearray:
    """The elements of one box of the dataset."""
    found = bytearray(part.fill * math.prod(sizes))
    grid = [
        range(low // chunk, (low + size - 1) // chunk + 1)
        for low, size, chunk in zip(lows, sizes, part.chunk, strict=True)
    ]
    for place in product(*grid):
        one = part.chunks.get(place)
        if one is not None:
            _copy(_unpacked(content, part, one), part, place, (lows, sizes, found))
    return found


def _copy(
    raw: bytes, part: ChunkedPart, place: Sequence[int], box: tuple[Sequence[int], Sequence[int], bytearray]
) -> None:
    """Copy what a chunk and a box have in common, run by run along the last dimension."""
    lows, sizes, found = box
    spans = [
        (max(index * chunk, low), min((index + 1) * chunk, low + size, whole))
        for index, chunk, low, size, whole in zip(place, part.chunk, lows, sizes, part.shape, strict=True)
    ]
    inner, outer = row_major_strides(part.chunk), row_major_strides(sizes)
    width = (spans[-1][1] - spans[-1][0]) * part.item
    heads = [*(range(start, end) for start, end in spans[:-1]), range(spans[-1][0], spans[-1][0] + 1)]
    for index in product(*heads):
        at = sum((i - p * c) * s for i, p, c, s in zip(index, place, part.chunk, inner, strict=True)) * part.item
        to = sum((i - low) * s for i, low, s in zip(index, lows, outer, strict=True)) * part.item
        found[to : to + width] = raw[at : at + width]


def _unpacked(content: Content, part: ChunkedPart, one: Chunk) -> bytes:
    size = chunk_bytes(part.chunk, part.item)
    raw = exactly(content, part.origin + one.start, one.length, "a chunk")
    for index in range(len(part.filters) - 1, -1, -1):
        number, values = part.filters[index]
        if one.skipped >> index & 1:
            continue
        if number == FLETCHER32:
            raw = raw[:-_CHECKSUM_BYTES]
        elif number == DEFLATE:
            raw = _inflated(raw, size + _CHECKSUM_BYTES)
        elif number == SHUFFLE:
            raw = _unshuffled(raw, values[0] if values else part.item)
    if len(raw) != size:
        raise FormatError(f"a chunk of {part.name!a} unpacks to {len(raw)} bytes, not {size}")
    return raw


def _inflated(raw: bytes, limit: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(raw, limit)
    except zlib.error as err:
        raise FormatError("the packed bytes of a chunk are damaged") from err


def _unshuffled(raw: bytes, width: int) -> bytes:
    """First bytes of all elements, then the second bytes, and so on: put back together."""
    if width <= 1 or len(raw) < width:
        return raw
    count = len(raw) // width
    found = bytearray(raw)
    for index in range(width):
        found[index : count * width : width] = raw[index * count : (index + 1) * count]
    return bytes(found)
