"""Pickle opcodes one after another, their arguments bounded, nothing built from them.

The opcodes and the kinds of their arguments are those of Python's own ``pickletools``. Its reader is
not used: it gives up where the unpickler does not (a hexadecimal INT, a name in UTF-8), and it takes
the whole of an argument into memory, be it 4 GB long.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass

from assay.formats.base import Content

WINDOW_BYTES = 64 * 1024
MAX_TEXT_BYTES = 4096  # of a text whose letters are kept; no module or name is longer
MAX_NUMBER_BYTES = 16  # no shape is longer, nor the number that torch files begin with
MAX_LINE_BYTES = 64 * 1024 * 1024

# Argument kinds of pickletools, by what has to be read: a number of bytes, a counted text, or lines.
_FIXED = {"uint1": 1, "uint2": 2, "int4": 4, "uint4": 4, "uint8": 8, "float8": 8}
_COUNTED = {
    "string1": 1,
    "string4": 4,
    "bytes1": 1,
    "bytes4": 4,
    "bytes8": 8,
    "bytearray8": 8,
    "unicodestring1": 1,
    "unicodestring4": 4,
    "unicodestring8": 8,
    "long1": 1,
    "long4": 4,
}
NUMBER, TEXT, BYTES, LINE, PAIR, NOTHING = "number", "text", "bytes", "line", "pair", "nothing"


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes, or a text too long to be a name: where they lie, not what they are.

    Attributes:
        start: First byte inside the content.
        length: Bytes.
        text: Whether it is a text.
    """

    start: int
    length: int
    text: bool = False


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    how: str
    width: int

    @property
    def signed(self) -> bool:
        """Whether its number is: lengths of two old opcodes are, and the unpickler refuses negative ones."""
        return self.name in {"BININT", "BINSTRING", "LONG4"}


def _kinds() -> dict[int, _Kind]:
    kinds: dict[int, _Kind] = {}
    for opcode in pickletools.opcodes:
        argument = "" if opcode.arg is None else opcode.arg.name
        if argument in _FIXED:
            how, width = NUMBER, _FIXED[argument]
        elif argument in _COUNTED:
            width = _COUNTED[argument]
            how = NUMBER if argument.startswith("long") else TEXT if argument.startswith("unicode") else BYTES
            width = -width
        elif argument == "stringnl_noescape_pair":
            how, width = PAIR, 0
        elif argument:
            how, width = LINE, 0
        else:
            how, width = NOTHING, 0
        kinds[ord(opcode.code)] = _Kind(opcode.name, how, width)
    return kinds


KINDS = _kinds()
Argument = str | int | Blob | tuple[str, str] | None
PLAIN: dict[int, tuple[str, Argument]] = {
    code: (kind.name, None) for code, kind in KINDS.items() if kind.how == NOTHING
}
SHORT = {
    code: kind
    for code, kind in KINDS.items()
    if (kind.how == NUMBER and kind.width > 0) or kind.name in {"SHORT_BINUNICODE", "SHORT_BINSTRING"}
}
_SHORT_BYTES = 260  # of the longest of them


class Stream:
    """Reads opcodes from a place in some content on.

    Attributes:
        at: Where the next opcode begins.
    """

    __slots__ = ("_base", "_buffer", "_content", "at")

    def __init__(self, content: Content, at: int) -> None:
        self._content = content
        self._buffer = b""
        self._base = at
        self.at = at

    def peek(self) -> int | None:
        """The byte where the next opcode begins, None at the end."""
        place = self.at - self._base
        if not 0 <= place < len(self._buffer):
            self._base, self._buffer = self.at, self._content.read(self.at, WINDOW_BYTES)
            place = 0
        return self._buffer[place] if place < len(self._buffer) else None

    def next(self) -> tuple[str, Argument] | None:
        """The next opcode and its argument; None where the content ends or holds no opcode.

        The stream then stays in front of what it could not read.
        """
        place = self.at - self._base
        buffer = self._buffer
        if 0 <= place < len(buffer):
            code: int | None = buffer[place]
        else:
            code = self.peek()
        if code is None:
            return None
        found = PLAIN.get(code)
        if found is not None:
            self.at += 1
            return found
        short = SHORT.get(code)
        if short is not None and 0 <= place < len(self._buffer) - _SHORT_BYTES:
            return self._short(short, place + 1)
        kind = KINDS.get(code)
        if kind is None:
            return None
        argument = self._argument(kind, self.at + 1)
        return None if argument is None else (kind.name, argument[0])

    def _short(self, kind: _Kind, place: int) -> tuple[str, Argument]:
        """The commonest opcodes, which lie in the buffer as a whole."""
        buffer = self._buffer
        if kind.width > 0:
            self.at += 1 + kind.width
            return kind.name, int.from_bytes(buffer[place : place + kind.width], "little", signed=kind.signed)
        length = buffer[place]
        self.at += 2 + length
        return kind.name, buffer[place + 1 : place + 1 + length].decode("utf-8", "surrogateescape")

    def _take(self, start: int, length: int) -> bytes:
        place = start - self._base
        if place < 0 or place + length > len(self._buffer):
            self._base, self._buffer, place = start, self._content.read(start, max(length, WINDOW_BYTES)), 0
        return self._buffer[place : place + length]

    def _argument(self, kind: _Kind, start: int) -> tuple[Argument] | None:
        if kind.how == LINE:
            return self._line(start)
        if kind.how == PAIR:
            return self._pair(start)
        width = abs(kind.width)
        raw = self._take(start, width)
        if len(raw) != width:
            return None
        number = int.from_bytes(raw, "little", signed=kind.signed)
        if kind.width >= 0:
            self.at = start + width
            return (number,)
        return self._counted(kind, start + width, number)

    def _pair(self, start: int) -> tuple[Argument] | None:
        first = self._line(start)
        second = self._line(self.at) if first else None
        if first is None or second is None:
            self.at = start - 1
            return None
        return ((_text(first[0]), _text(second[0])),)

    def _counted(self, kind: _Kind, start: int, length: int) -> tuple[Argument] | None:
        if length < 0 or (length and not self._content.read(start + length - 1, 1)):
            return None
        self.at = start + length
        if kind.how == NUMBER:
            return (
                int.from_bytes(self._take(start, length), "little", signed=True)
                if length <= MAX_NUMBER_BYTES
                else None,
            )
        if kind.how == TEXT or kind.name in {"SHORT_BINSTRING", "BINSTRING"}:
            if length <= MAX_TEXT_BYTES:
                return (self._take(start, length).decode("utf-8", "surrogateescape"),)
            return (Blob(start, length, text=True),)
        return (Blob(start, length),)

    def _line(self, start: int) -> tuple[Argument] | None:
        """Everything to the end of the line; long lines are passed over, not kept."""
        place = start - self._base
        if place < 0 or place > len(self._buffer):
            self._base, self._buffer, place = start, self._content.read(start, WINDOW_BYTES), 0
        end = self._buffer.find(b"\n", place)
        if end >= 0 and end - place <= MAX_TEXT_BYTES:
            self.at = self._base + end + 1
            return (self._buffer[place:end].decode("utf-8", "surrogateescape"),)
        at, window = start, self._content.read(start, WINDOW_BYTES)
        while window and at - start <= MAX_LINE_BYTES:
            end = window.find(b"\n")
            if end >= 0:
                self.at = at + end + 1
                length = self.at - 1 - start
                if length <= MAX_TEXT_BYTES:
                    return (self._content.read(start, length).decode("utf-8", "surrogateescape"),)
                return (Blob(start, length, text=True),)
            at += len(window)
            window = self._content.read(at, WINDOW_BYTES)
        return None


def _text(value: Argument) -> str:
    return value if isinstance(value, str) else "\ufffd"  # longer than any name: nothing of it is ever known
