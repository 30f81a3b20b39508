"""The wire of Protocol Buffers: numbered fields, read forward without building messages.

Source: protobuf.dev, "Encoding". Groups, which proto3 has not, and field number 0 are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from assay.errors import FormatError
from assay.formats.reading import Window

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10
_MAX_TEXT_BYTES = 65_536


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: Which field.
        wire: How it is encoded.
        value: The number, where it is one.
        start: First byte of the payload.
        end: One past its last byte.
    """

    number: int
    wire: int
    value: int
    start: int
    end: int


def varint(window: Window) -> int:
    """The next number of variable length.

    Raises:
        FormatError: It is longer than ten bytes, or cut off.
    """
    value = shift = 0
    for _ in range(_MAX_VARINT_BYTES):
        byte = window.byte()
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  # the high bit says that more follows
            return value & 0xFFFF_FFFF_FFFF_FFFF
        shift += 7
    raise FormatError(f"a number before byte {window.at} is too long")


def fields(window: Window, end: int) -> Iterator[Field]:
    """Every field of the message that begins where the window stands.

    Between two fields the window may be moved anywhere; reading goes on behind the field.

    Args:
        window: Stands at the message's first byte.
        end: One past the message's last byte.

    Raises:
        FormatError: A field is malformed or ends outside the message.
    """
    at = window.at
    while at < end:
        window.seek(at)
        tag = varint(window)
        number, wire = tag >> 3, tag & 7
        start = window.at
        value = 0
        if wire == VARINT:
            value = varint(window)
            at = window.at
        elif wire == BYTES:
            length = varint(window)
            start = window.at
            at = start + length
        elif wire in {FIXED32, FIXED64}:
            at = start + (4 if wire == FIXED32 else 8)
        else:
            raise FormatError(f"the field before byte {start} has wire type {wire}")
        if not number or at > end:
            raise FormatError(f"the field before byte {start} has no number or ends outside its message")
        window.seek(start)
        yield Field(number, wire, value, start, at)


def text(window: Window, field: Field) -> str:
    """A field's payload as text.

    Raises:
        FormatError: It is no UTF-8, or absurdly long.
    """
    if field.wire != BYTES or field.end - field.start > _MAX_TEXT_BYTES:
        raise FormatError(f"the field at byte {field.start} is no name")
    window.seek(field.start)
    try:
        return window.take(field.end - field.start).decode("utf-8")
    except UnicodeDecodeError as err:
        raise FormatError(f"the name at byte {field.start} is not UTF-8") from err


def message(window: Window, field: Field) -> Iterator[Field]:
    """The fields of the message that a field holds.

    Raises:
        FormatError: It holds none, or a field of it is malformed.
    """
    if field.wire != BYTES:
        raise FormatError(f"the field at byte {field.start} is no message")
    window.seek(field.start)
    return fields(window, field.end)
