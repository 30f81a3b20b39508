"""XGBoost models as JSON or Universal Binary JSON; parts are each tree and the named pieces around them.

Source: doc/model.schema and doc/tutorials/saving_model.rst of github.com/dmlc/xgboost; ubjson.org
for the binary form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from assay.errors import FormatError
from assay.formats.base import OPAQUE, Content, Part, plain_elements
from assay.formats.json_text import JsonText
from assay.formats.ubjson import Ubjson

MAX_PIECES = 1_000_000
_MODEL = "learner.gradient_booster.model"
_DART = "learner.gradient_booster.gbtree"
# What is looked into; everything else is one piece.
_OBJECTS = frozenset({"learner", "learner.gradient_booster", _MODEL, _DART, f"{_DART}.model"})
_ARRAYS = frozenset({f"{_MODEL}.trees", f"{_DART}.model.trees"})

_JSON = re.compile(rb'\s*\{\s*("version"\s*:\s*\[[\d,\s]{0,64}\]\s*,\s*)?"learner"\s*:')
_UBJ = re.compile(rb"\{L\0{7}\x07(version\[.{0,64}L\0{7}\x07)?learner\{", re.DOTALL)
_HEAD_BYTES = 512


class _Reader(Protocol):
    """Reads one value after the other."""

    at: int

    def kind(self) -> str:
        """``{``, ``[``, or anything else for a value without inner ones; stands at its first byte afterwards."""
        ...

    def members(self) -> Iterator[str]:
        """The keys of the object here; after each, its value has to be read."""
        ...

    def items(self) -> Iterator[int]:
        """The indices of the array here; after each, its item has to be read."""
        ...

    def skip(self) -> None:
        """Read over one value."""
        ...

    def finish(self) -> None:
        """Refuse anything that follows."""
        ...


class XgboostJson:
    """An XGBoost model as JSON."""

    name = "XGBoost JSON"

    def recognises(self, name: str) -> bool:
        """Whether a file of this name may be an XGBoost model."""
        return name.lower().endswith(".json")

    def accepts(self, content: Content) -> bool:
        """Whether it is one: an object with a learner."""
        return _JSON.match(content.read(0, _HEAD_BYTES)) is not None

    def parts(self, content: Content) -> tuple[Part, ...]:
        """Every tree and every other piece with its byte range, in the order of the bytes.

        Raises:
            FormatError: It is malformed as far as it is looked into, or says a key twice.
        """
        return _parts(JsonText(content))

    def elements(self, content: Content, part: Part) -> Iterator[bytes]:
        """The bytes of a piece."""
        return plain_elements(content, part)


class XgboostUbj:
    """An XGBoost model as Universal Binary JSON."""

    name = "XGBoost UBJ"

    def recognises(self, name: str) -> bool:
        """Whether a file of this name may be an XGBoost model."""
        return name.lower().endswith(".ubj")

    def accepts(self, content: Content) -> bool:
        """Whether it is one: an object with a learner."""
        return _UBJ.match(content.read(0, _HEAD_BYTES)) is not None

    def parts(self, content: Content) -> tuple[Part, ...]:
        """Every tree and every other piece with its byte range, in the order of the bytes.

        Raises:
            FormatError: It is malformed, or says a key twice.
        """
        return _parts(Ubjson(content))

    def elements(self, content: Content, part: Part) -> Iterator[bytes]:
        """The bytes of a piece."""
        return plain_elements(content, part)


def _parts(reader: _Reader) -> tuple[Part, ...]:
    found: list[Part] = []
    for part in _pieces(reader, ""):
        found.append(part)
        if len(found) > MAX_PIECES:
            raise FormatError(f"it has more than {MAX_PIECES} pieces")
    reader.finish()
    if len({part.name for part in found}) != len(found):  # a key may hold a dot
        raise FormatError("two pieces have one name")
    return tuple(found)


def _pieces(reader: _Reader, path: str) -> Iterator[Part]:
    """The pieces of the value here; no deeper than the few paths that are looked into."""
    kind = reader.kind()
    if kind == "{" and (not path or path in _OBJECTS):
        seen: set[str] = set()
        for key in reader.members():
            if key in seen:
                raise FormatError(f"it says {key[:80]!a} twice")
            seen.add(key)
            yield from _pieces(reader, f"{path}.{key}" if path else key)
        return
    if kind == "[" and path in _ARRAYS:
        for index in reader.items():
            yield from _pieces(reader, f"{path}.{index}")
        return
    if not path:
        raise FormatError("it is no object")
    start = reader.at
    reader.skip()
    yield Part(path, OPAQUE, (reader.at - start,), start, reader.at)
