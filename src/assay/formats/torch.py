"""PyTorch checkpoints: a ZIP file with a pickle that says which tensor lies where, and the bytes of each storage.

Source: torch/serialization.py and torch/_utils.py (the functions a pickled tensor names) of
github.com/pytorch/pytorch. The pickle is never executed: :mod:`assay.formats.pickles` writes down
what it would build. Checkpoints from before PyTorch 1.6 are no ZIP files and have no parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from assay.errors import FormatError
from assay.formats.archive import STORED, Member, members, unpacked
from assay.formats.base import OPAQUE, Content, Part, distinct
from assay.formats.layout import ArrayPart, Layout, array_elements
from assay.formats.pickles import MAX_PICKLE_BYTES, described
from assay.formats.tensors import Found, named_tensors

# Elements of strided views, together: a view may repeat one element a billion times.
MAX_VIEW_BYTES = 256 * 1024 * 1024
_VIEWS_PER_BYTE = 64
_PICKLE, _ORDER = "data.pkl", "byteorder"


class TorchZip:
    """A PyTorch checkpoint; parts are its tensors, then what is in the archive besides."""

    name = "PyTorch"

    def recognises(self, name: str) -> bool:
        """Whether a file of this name may be a PyTorch checkpoint."""
        return name.lower().endswith((".pt", ".pth", ".bin", ".ckpt"))

    def accepts(self, content: Content) -> bool:
        """Whether it is one: a ZIP file. All others are read as a whole."""
        return content.read(0, 4) == b"PK\x03\x04"

    def parts(self, content: Content) -> tuple[Part, ...]:
        """Every tensor with its byte range, in the order of the bytes; tensors may share bytes.

        Raises:
            FormatError: The archive can be read in two ways, the pickle is malformed, or a tensor
                lies outside its storage.
        """
        inside = _inside(members(content))
        pickled = inside.get(_PICKLE)
        tensors: list[Part] = []
        if pickled is not None and pickled.size <= MAX_PICKLE_BYTES:
            tensors = list(_tensors(content, inside, unpacked(content, pickled)))
        _check_views(tensors, content.size)
        whole = {(part.start, part.end) for part in tensors}
        tensors += [
            Part(name, OPAQUE, (member.size,), member.data, member.end)
            for name, member in inside.items()
            if (member.data, member.end) not in whole
        ]
        # The pickle's names first, so that a member called like a tensor gets the number.
        names = distinct(part.name for part in tensors)
        parts = [replace(part, name=name) for part, name in zip(tensors, names, strict=True)]
        return tuple(sorted(parts, key=lambda part: (part.start, part.end)))

    def elements(self, content: Content, part: Part) -> Iterator[bytes]:
        """The elements of a tensor, little-endian and row-major."""
        return array_elements(content, part)


def _inside(every: Sequence[Member]) -> Mapping[str, Member]:
    """The members by their name without the archive's own, which stands before each."""
    folders = {member.name.partition("/")[0] for member in every}
    if len(folders) > 1:
        raise FormatError("its members lie in several folders")
    return {member.name.partition("/")[2]: member for member in every if "/" in member.name}


def _tensors(content: Content, inside: Mapping[str, Member], pickled: bytes) -> Iterator[Part]:
    order = inside.get(_ORDER)
    big = order is not None and order.size < 16 and unpacked(content, order) == b"big"  # noqa: PLR2004  # one word
    for found in named_tensors(described(pickled)):
        member = inside.get(f"data/{found.storage}")
        if member is None:
            raise FormatError(f"tensor {found.name!a} lies in storage {found.storage!a}, which is not there")
        yield _part(found, member, big=big)


def _part(found: Found, member: Member, *, big: bool) -> Part:
    swap = found.number if big else 1
    layout = Layout(found.shape, found.strides, found.offset * found.item, found.item, swap)
    if found.storage_bytes > member.size or layout.offset + layout.span > found.storage_bytes:
        raise FormatError(f"tensor {found.name!a} ends outside storage {found.storage!a}")
    packed = member.method != STORED
    start = member.data + (0 if packed else layout.offset)
    end = member.end if packed else start + layout.span
    if found.dtype == OPAQUE or (packed and not layout.row_major):
        return Part(found.name, OPAQUE, (end - start,), start, end)
    if layout.row_major and not packed and swap == 1:
        return Part(found.name, found.dtype, found.shape, start, end)
    return ArrayPart(found.name, found.dtype, found.shape, start, end, plain=False, layout=layout, member=member)


def _check_views(parts: Sequence[Part], size: int) -> None:
    total = sum(
        math.prod(part.shape) * part.layout.item
        for part in parts
        if isinstance(part, ArrayPart) and part.layout is not None
    )
    if total > MAX_VIEW_BYTES + _VIEWS_PER_BYTE * size:
        raise FormatError(f"its views have {total} bytes, {total // max(size, 1)} times those of the file")
