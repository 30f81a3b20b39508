"""Archives of NumPy arrays: ``.npz`` files are ZIP files with ``.npy`` members."""

from __future__ import annotations

from collections.abc import Iterator

from assay.errors import FormatError
from assay.formats.archive import DEFLATED, STORED, Member, Unpacked, members
from assay.formats.base import OPAQUE, Content, Part
from assay.formats.layout import ArrayPart, array_elements
from assay.formats.npy import is_plain, read_array

# A packed array that lies column by column is unpacked again for each block of 128 MiB: larger ones would take hours.
MAX_PACKED_COLUMNS_BYTES = 1024 * 1024 * 1024
_SUFFIX = ".npy"


class Npz:
    """An archive of arrays; parts are its members, named as ``numpy.load`` names them."""

    name = "npz"

    def recognises(self, name: str) -> bool:
        """Whether a file of this name must be an archive of arrays."""
        return name.lower().endswith(".npz")

    def accepts(self, content: Content) -> bool:  # noqa: ARG002  # the name alone decides
        """Whether it is one; always."""
        return True

    def parts(self, content: Content) -> tuple[Part, ...]:
        """Every member with its byte range, in the order of the bytes.

        Raises:
            FormatError: The archive can be read in two ways, or two members are one array.
        """
        found = tuple(
            array_part(content, member, member.name.removesuffix(_SUFFIX) or member.name) for member in members(content)
        )
        if len({part.name for part in found}) != len(found):  # "w" and "w.npy" are both w to NumPy
            raise FormatError("two members are one array")
        return found

    def elements(self, content: Content, part: Part) -> Iterator[bytes]:
        """The elements of a part, little-endian and row-major."""
        return array_elements(content, part)


def array_part(content: Content, member: Member, name: str) -> Part:
    """A member of an archive as a part: an array, or bytes.

    Args:
        content: The archive.
        member: One of its members.
        name: What to call the part.

    Raises:
        FormatError: The array does not fill the member, or its packed bytes are damaged.
    """
    opaque = Part(name, OPAQUE, (member.size,), member.data, member.end)
    if not member.name.endswith(_SUFFIX) or member.method not in {STORED, DEFLATED}:
        return opaque
    found = read_array(Unpacked(content, member), name)
    if found is None or found.layout is None:
        return opaque
    layout = found.layout
    if member.method == STORED:
        start = member.data + layout.offset
        if is_plain(layout):
            return Part(name, found.dtype, found.shape, start, member.end)
    else:
        start = member.data
        if not layout.row_major and member.size > MAX_PACKED_COLUMNS_BYTES:
            return opaque
    return ArrayPart(name, found.dtype, found.shape, start, member.end, plain=False, layout=layout, member=member)
