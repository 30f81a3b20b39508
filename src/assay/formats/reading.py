"""Reading a content mostly forward, in windows."""

from __future__ import annotations

from assay.errors import FormatError
from assay.formats.base import Content

_WINDOW_BYTES = 256 * 1024


class Window:
    """Reads a content, mostly forward.

    Args:
        content: What to read.
        limit: Refuse to read beyond so many bytes from the start.
        at: Where to begin.
        end: Where to end; by default with the content.
    """

    def __init__(self, content: Content, limit: int | None = None, at: int = 0, end: int | None = None) -> None:
        self._content = content
        self._end = content.size if end is None else end
        self._limit = limit
        self._held = b""
        self._first = at
        self.at = at

    @property
    def left(self) -> int:
        """Bytes up to the end."""
        return self._end - self.at

    def take(self, length: int) -> bytes:
        """The next bytes.

        Raises:
            FormatError: There are fewer, or the limit is reached.
        """
        begin = self.at - self._first
        if begin + length > len(self._held):
            self._check(length)
            self._held = self._content.read(self.at, min(max(length, _WINDOW_BYTES), self.left))
            self._first, begin = self.at, 0
            if len(self._held) < length:
                raise FormatError(f"{length} bytes are wanted at {self.at}, but the content has shrunk")
        self.at += length
        return self._held[begin : begin + length]

    def byte(self) -> int:
        """The next byte.

        Raises:
            FormatError: There is none, or the limit is reached.
        """
        begin = self.at - self._first
        if 0 <= begin < len(self._held):
            self.at += 1
            return self._held[begin]
        return self.take(1)[0]

    def skip(self, length: int) -> None:
        """Pass over bytes without reading them.

        Raises:
            FormatError: There are fewer, or the limit is reached.
        """
        self._check(length)
        if self.at + length > self._first + len(self._held):
            self._held, self._first = b"", self.at + length
        self.at += length

    def seek(self, at: int) -> None:
        """Stand at a byte before the end; what was read lately is not read again."""
        if not self._first <= at <= self._first + len(self._held):
            self._held, self._first = b"", at
        self.at = at

    def _check(self, length: int) -> None:
        if length > self.left:
            raise FormatError(f"{length} bytes are wanted at {self.at}, but the bytes end at {self._end}")
        if self._limit is not None and self.at + length > self._limit:
            raise FormatError(f"more than {self._limit} bytes of descriptions are not read")
