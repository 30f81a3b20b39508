"""HDF5 files, as Keras and h5py write them; parts are the datasets, named by their path.

No HDF5 library is asked: it would parse bytes nobody has verified yet, in C. A file that uses more
than is read here has no parts and is verified as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from assay.errors import FormatError
from assay.formats.base import OPAQUE, Content, Part, distinct
from assay.formats.hdf5_chunks import Chunk, ChunkedPart, chunk_bytes, chunked_elements
from assay.formats.hdf5_objects import (
    DATASPACE,
    DATATYPE,
    FILL_VALUE,
    FILTERS,
    LAYOUT,
    SIGNATURE,
    UNDEFINED,
    Message,
    Objects,
)
from assay.formats.hdf5_types import (
    CHUNKED,
    DEFLATE,
    FLETCHER32,
    IMPLICIT,
    SHUFFLE,
    SINGLE_CHUNK,
    Kind,
    Storage,
    element_count,
    fill,
    filters,
    kind,
    shape,
    storage,
)
from assay.formats.layout import ArrayPart, Layout, array_elements, row_major_strides

MAX_CHUNKS = 1_000_000
# Elements that were never written cost nothing in the file, and packed ones little.
_UNPACKED_PER_BYTE = 1100
_ALWAYS_BYTES = 64 * 1024 * 1024
_MAX_CHUNK_BYTES = 128 * 1024 * 1024
_READ_FILTERS = frozenset({DEFLATE, SHUFFLE, FLETCHER32})


class Hdf5:
    """An HDF5 file; parts are its datasets."""

    name = "HDF5"

    def recognises(self, name: str) -> bool:
        """Whether a file of this name may be an HDF5 file."""
        return name.lower().endswith((".h5", ".hdf5"))

    def accepts(self, content: Content) -> bool:
        """Whether it is one, without a block of something else before it."""
        return content.read(0, 8) == SIGNATURE

    def parts(self, content: Content) -> tuple[Part, ...]:
        """Every dataset with its byte range, in the order of the bytes; none if the file uses more than is read.

        Raises:
            FormatError: Anything malformed, a link that leads elsewhere, or datasets that overlap.
        """
        walk = _Walk(content)
        parts = walk.parts()
        if walk.objects.beyond:
            return ()
        names = distinct(part.name for part in parts)
        return tuple(replace(part, name=name) for part, name in zip(parts, names, strict=True))

    def elements(self, content: Content, part: Part) -> Iterator[bytes]:
        """The elements of a dataset, little-endian and row-major."""
        return chunked_elements(content, part) if isinstance(part, ChunkedPart) else array_elements(content, part)


class _Walk:
    """One walk over a file."""

    def __init__(self, content: Content) -> None:
        self.objects = Objects(content)
        self._size = content.size
        self._ranges: list[tuple[int, int, int]] = []  # start, end, whose
        self._chunks = 0

    def parts(self) -> list[Part]:
        found = [
            part
            for path, address, messages in self.objects.datasets()
            if (part := self._dataset(path, address, messages)) is not None
        ]
        self._check_apart()
        return sorted(found, key=lambda part: (part.start, part.end))

    def _check_apart(self) -> None:
        last, owner = 0, 0
        for start, end, address in sorted(set(self._ranges)):
            if start < last and end > start:
                raise FormatError(f"the datasets described at bytes {owner} and {address} overlap")
            last, owner = max(last, end), address

    def _dataset(self, path: str, address: int, messages: Sequence[Message]) -> Part | None:
        by_kind = {one.kind: one for one in messages}
        needed = [by_kind.get(number) for number in (DATASPACE, DATATYPE, LAYOUT)]
        space, datatype, layout = needed
        if space is None or datatype is None or layout is None:
            raise FormatError(f"dataset {path!a} lacks its shape, element type or layout")
        if space.shared or layout.shared:
            self.objects.beyond = True
            return None
        dimensions = shape(space)
        element = Kind(OPAQUE, 0) if datatype.shared else kind(datatype.data)
        where = storage(layout, len(dimensions or ()))
        if where is None:
            self.objects.beyond = True
            return None
        if dimensions is None:
            return Part(path, OPAQUE, (0,), 0, 0)
        try:
            if where.way == CHUNKED:
                return self._chunked(path, address, dimensions, element, where, by_kind=by_kind)
            return self._whole(path, address, dimensions, element, where)
        except FormatError as err:
            raise FormatError(f"dataset {path!a}: {err.message}") from err

    def _whole(self, path: str, address: int, dimensions: tuple[int, ...], element: Kind, where: Storage) -> Part:
        size = element_count(dimensions) * element.item
        if where.address == UNDEFINED:  # never written
            return Part(path, element.word, dimensions, 0, 0) if not size else Part(path, OPAQUE, (0,), 0, 0)
        start, end = where.address, where.address + where.length
        if end > self._size:
            raise FormatError(f"it ends at byte {end}, the file at {self._size}")
        self._ranges.append((start, end, address))
        if element.word == OPAQUE:
            return Part(path, OPAQUE, (end - start,), start, end)
        if where.length != size:
            raise FormatError(f"{element.word} of shape {list(dimensions)} does not fill bytes {start} to {end}")
        if element.swap == 1:
            return Part(path, element.word, dimensions, start, end)
        layout = Layout(dimensions, row_major_strides(dimensions), start, element.item, element.swap)
        return ArrayPart(path, element.word, dimensions, start, end, plain=False, layout=layout)

    def _chunked(
        self,
        path: str,
        address: int,
        dimensions: tuple[int, ...],
        element: Kind,
        where: Storage,
        *,
        by_kind: dict[int, Message],
    ) -> Part:
        pipeline = filters(by_kind[FILTERS].data) if FILTERS in by_kind else ()
        chunks = dict(self._found(dimensions, element, where)) if where.address != UNDEFINED else {}
        for one in chunks.values():
            if one.start + one.length > self._size:
                raise FormatError(f"a chunk ends at byte {one.start + one.length}, the file at {self._size}")
            self._ranges.append((one.start, one.start + one.length, address))
        start = min((one.start for one in chunks.values()), default=0)
        end = max((one.start + one.length for one in chunks.values()), default=0)
        size = element_count(dimensions) * element.item
        readable = (
            element.word != OPAQUE
            and {number for number, _ in pipeline} <= _READ_FILTERS
            and chunk_bytes(where.chunk, element.item) <= _MAX_CHUNK_BYTES
            and size <= max(_UNPACKED_PER_BYTE * (end - start), _ALWAYS_BYTES)
        )
        if not readable:
            return Part(path, OPAQUE, (end - start,), start, end)
        value = fill(by_kind[FILL_VALUE].data, element.item) if FILL_VALUE in by_kind else bytes(element.item)
        return ChunkedPart(
            path,
            element.word,
            dimensions,
            start,
            end,
            plain=False,
            chunk=where.chunk,
            chunks=chunks,
            filters=pipeline,
            item=element.item,
            swap=element.swap,
            fill=value,
        )

    def _found(
        self, dimensions: tuple[int, ...], element: Kind, where: Storage
    ) -> Iterator[tuple[tuple[int, ...], Chunk]]:
        """Every chunk by its place among the chunks."""
        rank, length = len(dimensions), chunk_bytes(where.chunk, element.item)
        if where.index == SINGLE_CHUNK:
            yield (0,) * rank, Chunk(where.address, where.length or length, 0)
            return
        if where.index == IMPLICIT:
            yield from self._implicit(dimensions, where, length)
            return
        seen: set[tuple[int, ...]] = set()
        for key, child in self.objects.leaves(where.address, 1, 8 + 8 * (rank + 1)):
            numbers = [int.from_bytes(key[8 + 8 * index : 16 + 8 * index], "little") for index in range(rank)]
            place = tuple(number // size for number, size in zip(numbers, where.chunk, strict=True))
            self._chunks += 1
            if place in seen or self._chunks > MAX_CHUNKS:
                raise FormatError("a chunk is listed twice, or there are too many")
            if any(number % size for number, size in zip(numbers, where.chunk, strict=True)):
                raise FormatError("a chunk does not begin where one can")
            seen.add(place)
            yield place, Chunk(child, int.from_bytes(key[:4], "little"), int.from_bytes(key[4:8], "little"))

    def _implicit(
        self, dimensions: tuple[int, ...], where: Storage, length: int
    ) -> Iterator[tuple[tuple[int, ...], Chunk]]:
        counts = [-(-size // chunk) for size, chunk in zip(dimensions, where.chunk, strict=True)]
        total = element_count(tuple(counts))
        self._chunks += total
        if self._chunks > MAX_CHUNKS:
            raise FormatError("there are too many chunks")
        strides = row_major_strides(counts)
        for number in range(total):
            place = tuple(number // stride % count for stride, count in zip(strides, counts, strict=True))
            yield place, Chunk(where.address + number * length, length, 0)
