"""JSON read forward without building it, to learn where each value begins and ends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from assay.errors import FormatError
from assay.formats.base import Content

_WINDOW_BYTES = 1024 * 1024
_MAX_KEY_BYTES = 65_536
_MAX_SCALAR_BYTES = 64
_MAX_DEPTH = 500

_SPACE = re.compile(rb"[ \t\r\n]*")
_STRUCTURE = re.compile(rb'["\[\]{}]')
_QUOTE = re.compile(rb'["\\]')
_SCALAR = re.compile(rb"[-+.0-9A-Za-z]+")
_CLOSES = {"[": "]", "{": "}"}


class JsonText:
    """Reads JSON text; brackets and strings are followed, numbers are not judged.

    Args:
        content: The text, UTF-8.
    """

    def __init__(self, content: Content) -> None:
        self._content = content
        self._held = b""
        self._first = 0
        self.at = 0

    def kind(self) -> str:
        """The first character of the value here.

        Raises:
            FormatError: The text ends.
        """
        while True:
            begin = self._fill()
            found = _SPACE.match(self._held, begin)
            self.at = self._first + (found.end() if found else 0)
            if self.at < self._first + len(self._held):
                return chr(self._held[self.at - self._first])
            if self.at >= self._content.size or not self._held:
                raise FormatError("the text ends before its value does")

    def members(self) -> Iterator[str]:
        """The keys of the object here; after each, its value has to be read.

        Raises:
            FormatError: It is malformed.
        """
        self._expect("{")
        if self.kind() == "}":
            self.at += 1
            return
        while True:
            yield self._key()
            if self._separated("}"):
                return

    def items(self) -> Iterator[int]:
        """The indices of the array here; after each, its item has to be read.

        Raises:
            FormatError: It is malformed.
        """
        self._expect("[")
        if self.kind() == "]":
            self.at += 1
            return
        index = 0
        while True:
            yield index
            index += 1
            if self._separated("]"):
                return

    def skip(self) -> None:
        """Read over one value.

        Raises:
            FormatError: Brackets do not match, or the text ends.
        """
        kind = self.kind()
        if kind == '"':
            self._string()
        elif kind not in _CLOSES:
            begin = self._fill(_MAX_SCALAR_BYTES)
            found = _SCALAR.match(self._held, begin)
            if found is None:
                raise FormatError(f"there is no value at byte {self.at}")
            self.at += found.end() - found.start()
        else:
            self._nested()

    def finish(self) -> None:
        """Refuse anything but white space.

        Raises:
            FormatError: Something follows.
        """
        while self.at < self._content.size:
            begin = self._fill()
            found = _SPACE.match(self._held, begin)
            if found is None or found.end() < len(self._held) or not self._held:
                raise FormatError(f"something follows the value at byte {self.at}")
            self.at = self._first + found.end()

    def _fill(self, wanted: int = 1) -> int:
        """Hold the bytes from here on; where they begin in what is held."""
        begin = self.at - self._first
        if not 0 <= begin <= len(self._held) - wanted:
            self._held = self._content.read(self.at, _WINDOW_BYTES)
            self._first, begin = self.at, 0
        return begin

    def _expect(self, character: str) -> None:
        if self.kind() != character:
            raise FormatError(f"byte {self.at} should be {character}")
        self.at += 1

    def _separated(self, closing: str) -> bool:
        """Read a comma or the end; whether it was the end."""
        found = self.kind()
        if found not in {",", closing}:
            raise FormatError(f"byte {self.at} should be , or {closing}")
        self.at += 1
        return found == closing

    def _key(self) -> str:
        self._at_string()
        start = self.at
        self._string()
        raw = self._content.read(start, min(self.at - start, _MAX_KEY_BYTES + 1))
        try:
            key = json.loads(raw) if len(raw) <= _MAX_KEY_BYTES else None
        except ValueError as err:
            raise FormatError(f"the key at byte {start} is malformed") from err
        self._expect(":")
        if not isinstance(key, str):
            raise FormatError(f"the key at byte {start} is malformed or too long")
        return key

    def _at_string(self) -> None:
        if self.kind() != '"':
            raise FormatError(f"byte {self.at} should begin a key")

    def _string(self) -> None:
        """Read over the string here."""
        self.at += 1
        while (found := self._search(_QUOTE)) == b"\\":
            self.at += 1  # whatever is escaped
        if not found:
            raise FormatError("the text ends within a string")

    def _nested(self) -> None:
        """Read over the brackets here and all within."""
        open_: list[str] = []
        while True:
            found = self._search(_STRUCTURE).decode()
            if not found:
                raise FormatError("the text ends within brackets")
            if found == '"':
                self.at -= 1
                self._string()
            elif found in _CLOSES:
                open_.append(_CLOSES[found])
                if len(open_) > _MAX_DEPTH:
                    raise FormatError(f"brackets are nested more than {_MAX_DEPTH} deep")
            elif open_.pop() != found:
                raise FormatError(f"the brackets do not match at byte {self.at}")
            if not open_:
                return

    def _search(self, pattern: re.Pattern[bytes]) -> bytes:
        """Go behind the next match, and say what it was; empty where the text ends."""
        while self.at < self._content.size:
            begin = self._fill()
            found = pattern.search(self._held, begin)
            if found is not None:
                self.at = self._first + found.end()
                return found[0]
            self.at = self._first + len(self._held)
            if not self._held:
                break
        return b""
