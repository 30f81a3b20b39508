"""Universal Binary JSON read forward without building it. Source: ubjson.org, draft 12."""

from __future__ import annotations

from collections.abc import Iterator

from assay.errors import FormatError
from assay.formats.base import Content
from assay.formats.reading import Window

_FIXED = {"Z": 0, "N": 0, "T": 0, "F": 0, "i": 1, "U": 1, "C": 1, "I": 2, "l": 4, "d": 4, "L": 8, "D": 8}
_INTEGERS = frozenset("iUIlL")
_MAX_KEY_BYTES = 65_536
_MAX_DEPTH = 500


class Ubjson:
    """Reads Universal Binary JSON.

    Args:
        content: The bytes.
    """

    def __init__(self, content: Content) -> None:
        self._window = Window(content)

    @property
    def at(self) -> int:
        """The next byte."""
        return self._window.at

    @at.setter
    def at(self, at: int) -> None:
        self._window.seek(at)

    def kind(self) -> str:
        """The marker of the value here; ``V`` for an array of numbers without markers.

        Raises:
            FormatError: The bytes end.
        """
        at = self.at
        marker = self._marker()
        typed = marker == "[" and self._window.left > 0 and self._marker() == "$"
        self.at = at
        return "V" if typed else marker

    def members(self) -> Iterator[str]:
        """The keys of the object here; after each, its value has to be read.

        Raises:
            FormatError: It is malformed.
        """
        self._expect("{")
        while True:
            at = self.at
            if self._marker() == "}":
                return
            self.at = at
            yield self._key()

    def items(self) -> Iterator[int]:
        """The indices of the array here; after each, its item has to be read.

        Raises:
            FormatError: It is malformed.
        """
        self._expect("[")
        count = self._count()
        index = 0
        while count is None or index < count:
            at = self.at
            if count is None and self._marker() == "]":
                return
            self.at = at
            yield index
            index += 1

    def skip(self) -> None:
        """Read over one value.

        Raises:
            FormatError: It is malformed, or nested too deeply.
        """
        # What is open: how many items are left, -1 for an array up to its end, -2 for an object.
        stack: list[int] = [1]
        while stack:
            left = stack[-1]
            if left == 0:
                stack.pop()
                continue
            at = self.at
            marker = self._marker()
            if marker == ("]" if left == -1 else "}") and left < 0:
                stack.pop()
                continue
            if left > 0:
                stack[-1] = left - 1
            elif left == -2:  # noqa: PLR2004  # an object
                self.at = at
                self._key()
                marker = self._marker()
            self._open(marker, stack)
            if len(stack) > _MAX_DEPTH:
                raise FormatError(f"values are nested more than {_MAX_DEPTH} deep")

    def finish(self) -> None:
        """Refuse anything that follows.

        Raises:
            FormatError: Something does.
        """
        if self._window.left:
            raise FormatError(f"{self._window.left} bytes follow the value")

    def _open(self, marker: str, stack: list[int]) -> None:
        """Read a value whose marker was read, or note that its inner values follow."""
        if marker in _FIXED:
            self._window.skip(_FIXED[marker])
        elif marker in {"S", "H"}:
            self._window.skip(self._length())
        elif marker == "{":
            stack.append(-2)
        elif marker == "[":
            at = self.at
            if self._marker() == "$":
                self._typed()
            else:
                self.at = at
                count = self._count()
                stack.append(-1 if count is None else count)
        else:
            raise FormatError(f"there is no value with the marker {marker!a} before byte {self.at}")

    def _typed(self) -> None:
        """An array of numbers without markers; its ``$`` was read."""
        width = _FIXED.get(self._marker())
        count = self._count()
        if width is None or count is None:
            raise FormatError(f"the typed array before byte {self.at} has no numbers or no length")
        self._window.skip(width * count)

    def _count(self) -> int | None:
        at = self.at
        if self._marker() == "#":
            return self._length()
        self.at = at
        return None

    def _length(self) -> int:
        marker = self._marker()
        if marker not in _INTEGERS:
            raise FormatError(f"the length before byte {self.at} is no whole number")
        length = int.from_bytes(self._window.take(_FIXED[marker]), "big", signed=marker != "U")
        if length < 0:
            raise FormatError(f"the length before byte {self.at} is negative")
        return length

    def _key(self) -> str:
        length = self._length()
        if length > _MAX_KEY_BYTES:
            raise FormatError(f"a key claims {length} bytes")
        try:
            return self._window.take(length).decode("utf-8")
        except UnicodeDecodeError as err:
            raise FormatError(f"the key before byte {self.at} is not UTF-8") from err

    def _expect(self, marker: str) -> None:
        if self._marker() != marker:
            raise FormatError(f"the value before byte {self.at} should begin with {marker}")

    def _marker(self) -> str:
        return chr(self._window.byte())
