"""The shelf's promise: a format turns a container's bytes into named parts.

A format is pure: it asks a :class:`Content` for the bytes it needs and answers with the parts, or
raises :class:`~assay.errors.FormatError`. It never opens a file and never builds an object from
what it reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from assay.errors import FormatError


@dataclass(frozen=True, slots=True)
class Part:
    """One named part of a container: a tensor, or a member of an archive.

    Attributes:
        name: The name the container gives it.
        dtype: The element type in the container's own words (``F32``, ``<f8``), or ``bytes``.
        shape: Elements per dimension; ``()`` is a scalar; ``(n,)`` with ``bytes`` is n bytes.
        start: First byte inside the file.
        end: One past the last byte inside the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


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
        """Whether a file of this name must be such a container."""
        ...

    def parts(self, content: Content) -> tuple[Part, ...]:
        """Every part, in the order of the bytes, none overlapping.

        Raises:
            FormatError: Anything malformed; nothing is guessed.
        """
        ...


def exactly(content: Content, start: int, length: int, what: str) -> bytes:
    """Read ``length`` bytes or refuse.

    Raises:
        FormatError: The content ends before.
    """
    found = content.read(start, length) if start >= 0 else b""
    if len(found) != length:
        raise FormatError(f"{what} needs {length} bytes at {start}, but the file ends after {content.size}")
    return found
