"""Addresses of things on a token, as ``pkcs11:`` URIs write them. Pure: text in, values out.

References:
    RFC 7512, sections 2.3 (grammar) and 2.4 (matching). Of its attributes, those that single out a
    token or an object and those that say where the module and the PIN are; others are refused by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote_to_bytes

from assay.errors import KeyFileError

PREFIX = "pkcs11:"
_TOKEN = ("token", "manufacturer", "serial", "model")
_PATH = (*_TOKEN, "slot-id", "object", "id", "type")
_QUERY = ("module-path", "module-name", "pin-source", "pin-value")
_MAX = 4096  # characters; labels have at most 32 bytes, so anything longer is something else
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class TokenAddress:
    """One object on one token.

    Attributes:
        token: What must be true of the token: ``token`` (its label), ``manufacturer``, ``serial``, ``model``.
        slot: Number of the slot, or None for any.
        label: Label of the object, or None.
        id: CKA_ID of the object, or None.
        module: Path of the PKCS#11 library, or None.
        pin_file: File whose first line is the PIN, or None.
        pin: The PIN itself, or None; never shown.
    """

    token: tuple[tuple[str, str], ...] = ()
    slot: int | None = None
    label: str | None = None
    id: bytes | None = None
    module: Path | None = None
    pin_file: Path | None = None
    pin: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """The address without how to reach it: for messages, and free of secrets."""
        found = [f"{name}={value}" for name, value in self.token]
        found += [] if self.slot is None else [f"slot-id={self.slot}"]
        found += [] if self.label is None else [f"object={self.label}"]
        found += [] if self.id is None else [f"id={self.id.hex()}"]
        return PREFIX + ";".join(found)


def parse(text: str) -> TokenAddress:
    """Read an address.

    Raises:
        KeyFileError: It is malformed, or has an attribute that is not read here. The message never holds
            the PIN.
    """
    if not text.startswith(PREFIX):
        raise KeyFileError("a token's address begins with pkcs11:")
    if len(text) > _MAX:
        raise KeyFileError(f"a pkcs11: address has {len(text)} characters; wanted at most {_MAX}")
    path_text, _, query_text = text.removeprefix(PREFIX).partition("?")
    path = _attributes(path_text, ";", _PATH)
    query = _attributes(query_text, "&", _QUERY)
    if path.get("type", b"private") not in {b"private", b"public", b"data"}:
        raise KeyFileError("type= of a pkcs11: address must be private, public or data")
    if "pin-value" in query and "pin-source" in query:
        raise KeyFileError("a pkcs11: address has both pin-value and pin-source; wanted one (RFC 7512, 2.4)")
    return TokenAddress(
        token=tuple((name, _text(name, path[name])) for name in _TOKEN if name in path),
        slot=_slot(path["slot-id"]) if "slot-id" in path else None,
        label=_text("object", path["object"]) if "object" in path else None,
        id=path.get("id"),
        module=_module(query),
        pin_file=_pin_file(_text("pin-source", query["pin-source"])) if "pin-source" in query else None,
        pin=_text("pin-value", query["pin-value"]) if "pin-value" in query else None,
    )


def _attributes(text: str, separator: str, known: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.split(separator) if text else ():
        name, equals, value = part.partition("=")
        if not equals or name not in known:  # the part may hold a PIN: only a name of letters is repeated
            said = repr(name) if equals and re.fullmatch(r"[a-z-]{1,32}", name) else "something else"
            raise KeyFileError(f"a pkcs11: address holds {said}; wanted NAME=VALUE with one of {', '.join(known)}")
        if name in found:
            raise KeyFileError(f"a pkcs11: address says {name}= twice")
        if _BAD_ESCAPE.search(value) or not value.isascii() or not value.isprintable():
            raise KeyFileError(f"{name}= of a pkcs11: address is not percent-encoded (%20 for a space)")
        found[name] = unquote_to_bytes(value)
    return found


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = ""
    if not text or "\0" in text:
        raise KeyFileError(f"{name}= of a pkcs11: address is empty or no UTF-8 text")
    return text


def _slot(value: bytes) -> int:
    if not re.fullmatch(rb"[0-9]{1,20}", value):
        raise KeyFileError("slot-id= of a pkcs11: address is no number")
    return int(value)


def _module(query: dict[str, bytes]) -> Path | None:
    if "module-name" in query:
        raise KeyFileError("module-name= says no file: write module-path=/…/library.so")
    if "module-path" not in query:
        return None
    path = Path(_text("module-path", query["module-path"]))
    if not path.is_absolute():  # a bare name is looked for in places that others may write to
        raise KeyFileError(f"module-path={path} is no absolute path")
    return path


def _pin_file(source: str) -> Path:
    # RFC 7512 2.4 also knows "|command"; a command that an address can start is a way in.
    path = source.removeprefix("file://").removeprefix("file:")
    if path.startswith("|") or not path.startswith("/"):
        raise KeyFileError("pin-source= of a pkcs11: address must be file:/absolute/path")
    return Path(path)
