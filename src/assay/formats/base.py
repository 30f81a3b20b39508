"""The shelf's promise: a format turns a container's bytes into named parts.

A format is pure: it asks a :class:`Content` for the bytes it needs and answers with the parts, or
raises :class:`~assay.errors.FormatError`. It never opens a file and never builds an object from
what it reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from assay.errors import FormatError

# The dtype of a part that is no tensor: a member of an archive, a tree, a header.
OPAQUE = "bytes"

# Canonical element types, in the words of safetensors, with their width in bytes.
WIDTHS: Mapping[str, int] = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
    "C64": 8,
    "C128": 16,
}


@dataclass(frozen=True, slots=True)
class Part:
    """One named part of a container: a tensor, or a member of an archive.

    A format may answer with a subclass that also holds what its :meth:`Format.elements` needs.

    Attributes:
        name: The name the container gives it; no two parts of a file have the same.
        dtype: The canonical element type where there is one (:data:`WIDTHS`), else the container's
            own word (``Q4_K``, ``U12``); :data:`OPAQUE` for what is no tensor.
        shape: Elements per dimension; ``()`` is a scalar; ``(n,)`` with ``bytes`` is n bytes.
        start: First byte inside the file.
        end: One past the last byte inside the file.
        file: The other file of the model that the bytes lie in, relative to the folder of the file
            that names it, parts joined by ``/``, never leading out of that folder; empty for this file.
        plain: The range holds the elements and nothing else, little-endian and row-major. Otherwise
            they are packed, big-endian, transposed or in pieces, and :meth:`Format.elements` has them.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int
    file: str = ""
    plain: bool = True


class Content(Protocol):
    """The bytes of one container, wherever they lie."""

    @property
    def size(self) -> int:
        """How many bytes there are."""
        ...

    def read(self, start: int, length: int) -> bytes:
        """The bytes from ``start``; fewer than ``length`` only where the content ends."""
        ...


@dataclass(frozen=True, slots=True)
class ViewContent:
    """Content that lies in memory.

    Attributes:
        view: The bytes, one dimension of unsigned bytes.
    """

    view: memoryview

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self.view.nbytes

    def read(self, start: int, length: int) -> bytes:
        """The bytes from ``start``; fewer than ``length`` only where the content ends."""
        return bytes(self.view[start : start + length])


class Format(Protocol):
    """A container format."""

    @property
    def name(self) -> str:
        """The format's own word for itself."""
        ...

    def recognises(self, name: str) -> bool:
        """Whether a file of this name may be such a container."""
        ...

    def accepts(self, content: Content) -> bool:
        """Whether a file of such a name is one, when other files have such names too (``.json``).

        Always True where the name alone decides: then anything else is malformed.
        """
        ...

    def parts(self, content: Content) -> tuple[Part, ...]:
        """Every part, in the order of their first bytes.

        Ranges overlap only where the container lets tensors share bytes (views of one PyTorch
        storage, interleaved chunks of HDF5, external data of ONNX): hash each by itself.

        Raises:
            FormatError: Anything malformed; nothing is guessed.
        """
        ...

    def elements(self, content: Content, part: Part) -> Iterator[bytes]:
        """The elements of a part, little-endian and row-major, in pieces; bounded memory.

        Args:
            content: The container; for a part with a ``file``, that file.
            part: As :meth:`parts` gave it.

        Raises:
            FormatError: They cannot be had, for instance because packed bytes are damaged.
        """
        ...


# How much of a plain part is read at once.
PIECE_BYTES = 1024 * 1024


def plain_elements(content: Content, part: Part) -> Iterator[bytes]:
    """The bytes of a part as they lie in the file, in pieces."""
    for at in range(part.start, part.end, PIECE_BYTES):
        yield exactly(content, at, min(PIECE_BYTES, part.end - at), f"part {part.name!a}")


def distinct(names: Iterator[str]) -> Iterator[str]:
    """The names, a repeated one with ``#2``, ``#3`` … behind it."""
    seen: dict[str, int] = {}
    for name in names:
        chosen = name
        while chosen in seen:
            seen[name] += 1
            chosen = f"{name}#{seen[name]}"
        seen[chosen] = 1
        yield chosen


def exactly(content: Content, start: int, length: int, what: str) -> bytes:
    """Read ``length`` bytes or refuse.

    Raises:
        FormatError: The content ends before.
    """
    found = content.read(start, length) if start >= 0 else b""
    if len(found) != length:
        raise FormatError(f"{what} needs {length} bytes at {start}, but the file ends after {content.size}")
    return found
