"""Which names a file of a model may have.

A name that two readers can take for different files is a place to hide one: it is refused before
anything is signed, and when it turns up later.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

MAX_NAME_BYTES = 4096
MAX_PARTS = 64
# What most names look like; nothing below can be wrong with such a one.
_COMMON = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}/){0,9}[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}\Z")

# Marks that make a terminal show a name in another order than it is stored (Unicode UAX 9, 2.1-2.6).
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})


def fault(name: str) -> str | None:
    """Why a file may not have this name, or None when it may.

    Args:
        name: Relative to the model, parts joined by ``/``.
    """
    return None if _COMMON.match(name) else _oddity(name)


def _oddity(name: str) -> str | None:
    if not name.isascii() or not name.isprintable():
        for letter in name:
            if "\udc80" <= letter <= "\udcff":  # how Python carries bytes that are not UTF-8
                return "its name is not valid UTF-8"
            if letter in _REORDERING or unicodedata.category(letter) in _CONTROLS:
                return f"its name holds the control character U+{ord(letter):04X}"
    for letter in (":", "\\"):  # OMS writes shards as path:start:end; a backslash is a separator elsewhere
        if letter in name:
            return f"its name holds {letter!r}"
    parts = name.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        return "its name has an empty, '.' or '..' part"
    if len(name.encode()) > MAX_NAME_BYTES or len(parts) > MAX_PARTS:
        return f"its name is longer than {MAX_NAME_BYTES} bytes or {MAX_PARTS} folders"
    return None


def shown(name: str) -> str:
    """The name as it may be printed: escaped when a terminal would not show what is there."""
    plain = name.isprintable() and not _REORDERING.intersection(name)
    return name if plain else ascii(name)


def _folded(name: str) -> str:
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def clashes(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Pairs of names that are one name on some file system.

    Two names clash when they, or the folders they lie in, differ only by letter case or by the
    Unicode form, when one is the folder of another, or when they are equal.

    Args:
        names: File names, relative, parts joined by ``/``.
    """
    folders: dict[str, str] = {}
    files: dict[str, str] = {}
    found: list[tuple[str, str]] = []
    for name in names:
        at = name.find("/")
        while at >= 0:
            folder = name[:at]
            other = folders.setdefault(_folded(folder), folder)
            if other != folder:
                found.append((other, folder))
            at = name.find("/", at + 1)
        key = _folded(name)
        if key in files:
            found.append((files[key], name))
        files[key] = name
    found.extend((files[key], folder) for key, folder in folders.items() if key in files)
    return tuple(dict.fromkeys(found))
