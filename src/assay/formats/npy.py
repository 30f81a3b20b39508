"""NumPy arrays: ``.npy`` files and the members of archives of them.

Source: numpy.lib.format, versions 1.0 to 3.0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from assay.errors import FormatError
from assay.formats.base import OPAQUE, WIDTHS, Content, Part
from assay.formats.layout import ArrayPart, Layout, array_elements, column_major_strides, row_major_strides

MAX_HEADER_BYTES = 10_000  # numpy.lib.format refuses longer ones too
_MAGIC = b"\x93NUMPY"
_MAX_DIMENSIONS = 64  # NumPy's own limit

_HEADER = re.compile(
    r"\{'descr': (?:'(?P<dtype>[^']{1,64})'|\[.*\]), 'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>[0-9, ]*)\),? ?\}\s*\Z"
)
_DTYPE = re.compile(r"(?P<order>[<>|=]?)(?P<kind>[biufcmMSUV])(?P<size>\d{1,9})(?P<unit>\[[^\]]*\])?\Z")
_KINDS: Mapping[str, str] = {"b": "BOOL", "i": "I", "u": "U", "f": "F", "c": "C"}


@dataclass(frozen=True, slots=True)
class Array:
    """What the header of an array says.

    Attributes:
        dtype: Canonical, or NumPy's word without byte order (``U12``); :data:`~assay.formats.base.OPAQUE`
            for records and objects.
        layout: Where its elements lie, counted from the array's own first byte; ``offset`` is the
            length of the header. None for records and objects.
        shape: Elements per dimension.
    """

    dtype: str
    shape: tuple[int, ...]
    layout: Layout | None


class Npy:
    """One NumPy array; the part is named after it: ``array``."""

    name = "npy"

    def recognises(self, name: str) -> bool:
        """Whether a file of this name must be a NumPy array."""
        return name.lower().endswith(".npy")

    def accepts(self, content: Content) -> bool:  # noqa: ARG002  # the name alone decides
        """Whether it is one; always."""
        return True

    def parts(self, content: Content) -> tuple[Part, ...]:
        """The one array.

        Raises:
            FormatError: It is no NumPy array (a bare pickle is not), or does not end where the file ends.
        """
        found = read_array(content, "array")
        if found is None:
            raise FormatError("there is no NumPy array header")
        if found.layout is None:
            return (Part("array", OPAQUE, (content.size,), 0, content.size),)
        layout, start, end = found.layout, found.layout.offset, content.size
        if is_plain(layout):
            return (Part("array", found.dtype, found.shape, start, end),)
        return (ArrayPart("array", found.dtype, found.shape, start, end, plain=False, layout=layout),)

    def elements(self, content: Content, part: Part) -> Iterator[bytes]:
        """The elements, little-endian and row-major."""
        return array_elements(content, part)


def is_plain(layout: Layout) -> bool:
    """Whether the elements lie little-endian and row-major."""
    return layout.swap == 1 and layout.row_major


def read_array(content: Content, name: str) -> Array | None:
    """Read an array's header; None where there is none that can be read without guessing.

    Raises:
        FormatError: The array does not fill the content.
    """
    head = content.read(0, MAX_HEADER_BYTES + 16)
    if len(head) < 10 or head[:6] != _MAGIC:  # noqa: PLR2004  # magic, version, short length
        return None
    begin = 12 if head[6] > 1 else 10
    length = int.from_bytes(head[8:begin], "little")
    found = _HEADER.match(head[begin : begin + length].decode("latin-1"))
    if length > MAX_HEADER_BYTES or found is None:
        return None
    try:
        shape = tuple(int(size) for size in found["shape"].replace(" ", "").split(",") if size)
    except ValueError as err:  # more digits than Python converts
        raise FormatError(f"array {name!a} has an absurd shape") from err
    if len(shape) > _MAX_DIMENSIONS:
        raise FormatError(f"array {name!a} has {len(shape)} dimensions")
    simple = _DTYPE.match(found["dtype"] or "")
    if simple is None:  # records, or objects: the rest may be a pickle, which nobody reads here
        return Array(OPAQUE, shape, None)
    dtype, item, swap = _dtype(simple)
    if begin + length + math.prod(shape) * item != content.size:
        raise FormatError(f"array {name!a}: {found['dtype']} of shape {list(shape)} does not fill its member")
    strides = column_major_strides(shape) if found["fortran"] == "True" else row_major_strides(shape)
    return Array(dtype, shape, Layout(shape, strides, begin + length, item, swap))


def _dtype(found: re.Match[str]) -> tuple[str, int, int]:
    """Canonical word, bytes of an element, and of the numbers to turn round."""
    kind, size = found["kind"], int(found["size"])
    item = size * 4 if kind == "U" else size
    word = "BOOL" if (kind, size) == ("b", 1) else f"{_KINDS.get(kind, '')}{8 * size}"
    if kind not in _KINDS or word not in WIDTHS:
        word = f"{kind}{size}{found['unit'] or ''}"
    number = {"c": size // 2, "U": 4, "S": 1, "V": 1}.get(kind, item)
    return word, item, number if found["order"] == ">" and number in {2, 4, 8} else 1
