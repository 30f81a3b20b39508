"""One thing that happened, and the bytes of it that the log's tree hashes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import rfc8785

from assay.errors import LogError, StorageError
from assay.storage.clock import from_text, utc_text

VERSION = 1
"""Version of the entry's layout; it is part of the hashed bytes."""

MAX_BYTES = 1_048_576
"""Largest canonical entry, in bytes. An entry says what happened and points at the rest by digest."""

MAX_DEPTH = 32
"""Deepest nesting of an entry's data."""

_KIND = re.compile(r"[a-z][a-z0-9-]*(\.[a-z][a-z0-9-]*)+")
_WHOLE = 2**53
_FIELDS = frozenset({"version", "kind", "subject", "time", "actor", "data"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened.

    Attributes:
        kind: Dotted words: ``model.signed``.
        subject: The model, key, data set or incident it happened to.
        time: When, by the clock of who wrote it; stored in UTC with microseconds.
        actor: Who did it: an identity, or the name of the program.
        data: JSON values; copied when the entry is made. Never a secret, never a record's values.

    Raises:
        ValueError: A field cannot be stored (no dotted kind, no timezone, no JSON, more than 1 MiB).
    """

    kind: str
    subject: str
    time: datetime
    actor: str
    data: Mapping[str, object]

    def __post_init__(self) -> None:
        if not _KIND.fullmatch(self.kind):
            raise ValueError(f"the entry kind {self.kind!r} is not dotted lower-case words")
        object.__setattr__(self, "data", _plain(self.data, "data"))
        if len(self.canonical()) > MAX_BYTES:
            raise ValueError(f"the entry {self.kind} is longer than {MAX_BYTES} bytes: log a digest instead")

    def canonical(self) -> bytes:
        """Return the RFC 8785 JSON that the Merkle leaf hashes: equal entries have equal bytes."""
        body = {
            "version": VERSION,
            "kind": self.kind,
            "subject": self.subject,
            "time": utc_text(self.time),
            "actor": self.actor,
            "data": self.data,
        }
        try:
            return rfc8785.dumps(body)  # type: ignore[arg-type]  # _plain made data plain JSON
        except rfc8785.CanonicalizationError as err:
            raise ValueError(f"the entry {self.kind} has a value that JSON cannot carry: {err}") from err

    @classmethod
    def parse(cls, body: bytes) -> Entry:
        """Return the entry that canonical bytes say.

        Raises:
            LogError: The bytes are not exactly what :meth:`canonical` writes.
        """
        try:
            entry = _read(body)
            same = entry.canonical() == body
        except (ValueError, RecursionError, StorageError) as err:
            raise LogError(f"an entry's bytes cannot be read: {err}") from err
        if not same:  # another spelling of the same JSON has another hash, so somebody rewrote it
            raise LogError("an entry's bytes are not canonical JSON")
        return entry

    def as_json(self) -> dict[str, object]:
        """The entry as the ``--json`` output of ``assay log show`` prints it."""
        return {
            "kind": self.kind,
            "subject": self.subject,
            "time": utc_text(self.time),
            "actor": self.actor,
            "data": dict(self.data),
        }


@dataclass(frozen=True, slots=True)
class Logged:
    """An entry where it stands.

    Attributes:
        position: From 0.
        entry: What happened.
    """

    position: int
    entry: Entry


def _read(body: bytes) -> Entry:
    if len(body) > MAX_BYTES:
        raise ValueError(f"they are longer than {MAX_BYTES} bytes")
    fields = json.loads(body.decode(), parse_int=_number)
    if not isinstance(fields, dict) or fields.keys() != _FIELDS:
        raise ValueError("they do not have the fields of an entry")
    if fields["version"] != VERSION:
        raise ValueError("they are of a newer layout: upgrade assay")
    kind, subject, time, actor, data = (fields[name] for name in ("kind", "subject", "time", "actor", "data"))
    if not (isinstance(data, dict) and all(isinstance(each, str) for each in (kind, subject, time, actor))):
        raise ValueError("a field is of the wrong type")
    return Entry(kind, subject, from_text(time), actor, data)


def _number(digits: str) -> int | float:
    # RFC 8785 writes the float 1e17 as 100000000000000000; beyond 2**53 no integer was ever put in.
    number = int(digits)
    return number if abs(number) < _WHOLE else float(digits)


def _plain(value: Mapping[str, object], path: str, depth: int = 0) -> dict[str, object]:
    for key in value:
        if not isinstance(key, str):
            raise ValueError(f"{path} has the key {key!r}, which is no text")  # noqa: TRY004 one kind of refusal for all data
    return {key: _plain_value(each, f"{path}.{key}", depth + 1) for key, each in value.items()}


def _plain_value(value: object, path: str, depth: int) -> object:
    if depth > MAX_DEPTH:
        raise ValueError(f"{path[:80]} is nested deeper than {MAX_DEPTH}")
    if isinstance(value, Mapping):
        return _plain(value, path, depth)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
        return [_plain_value(each, f"{path}[{index}]", depth + 1) for index, each in enumerate(value)]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise ValueError(f"{path} is a {type(value).__name__}, which JSON cannot carry")
