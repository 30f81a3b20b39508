"""Keras models: an archive of ``config.json``, ``metadata.json`` and ``model.weights.h5``.

Source: keras/src/saving/saving_lib.py of github.com/keras-team/keras.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from assay.formats.archive import STORED, Member, members
from assay.formats.base import OPAQUE, Content, Part, distinct
from assay.formats.hdf5 import Hdf5
from assay.formats.hdf5_chunks import ChunkedPart
from assay.formats.layout import ArrayPart

WEIGHTS = "model.weights.h5"


@dataclass(frozen=True, slots=True)
class _Inside:
    """The bytes of a stored member."""

    content: Content
    member: Member

    @property
    def size(self) -> int:
        return self.member.size

    def read(self, start: int, length: int) -> bytes:
        return self.content.read(self.member.data + start, max(min(length, self.size - start), 0))


class Keras:
    """A Keras model; parts are its weights, then the other members of the archive."""

    name = "Keras"

    def recognises(self, name: str) -> bool:
        """Whether a file of this name must be a Keras model."""
        return name.lower().endswith(".keras")

    def accepts(self, content: Content) -> bool:
        """Whether it is one: older versions of Keras write HDF5 files of this name, which have no parts here."""
        return content.read(0, 4) != b"\x89HDF"

    def parts(self, content: Content) -> tuple[Part, ...]:
        """Every weight and every other member with its byte range, in the order of the bytes.

        Raises:
            FormatError: The archive can be read in two ways, or the weights are malformed.
        """
        found: list[Part] = []
        for member in members(content):
            weights: tuple[Part, ...] = ()
            if member.name == WEIGHTS and member.method == STORED:
                weights = Hdf5().parts(_Inside(content, member))
            found += [_moved(part, member.data) for part in weights] or [
                Part(member.name, OPAQUE, (member.size,), member.data, member.end)
            ]
        names = distinct(part.name for part in found)
        return tuple(replace(part, name=name) for part, name in zip(found, names, strict=True))

    def elements(self, content: Content, part: Part) -> Iterator[bytes]:
        """The elements of a weight, little-endian and row-major."""
        return Hdf5().elements(content, part)


def _moved(part: Part, by: int) -> Part:
    """A part of the member as a part of the archive."""
    if isinstance(part, ChunkedPart):
        return replace(part, start=part.start + by, end=part.end + by, origin=by)
    if isinstance(part, ArrayPart) and part.layout is not None:
        layout = replace(part.layout, offset=part.layout.offset + by)
        return replace(part, start=part.start + by, end=part.end + by, layout=layout)
    return replace(part, start=part.start + by, end=part.end + by)
