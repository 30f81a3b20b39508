"""JSON in and out of signed things: canonical when written, bounded and unambiguous when read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping

import rfc8785

from assay.errors import BundleError
from assay.findings import Finding, Severity

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 64  # an OMS statement needs 8, SLSA provenance about 12
MAX_NODES = 4_000_000  # upper bound on values, told from the text before anything is built in memory
_HEX = re.compile(r"[0-9a-f]+\Z")


def malformed(what: str, why: str) -> BundleError:
    """Make the error for text from outside that is not what it should be.

    Args:
        what: The thing read, as a person calls it: ``signature bundle``.
        why: What was found.
    """
    detail = f"the {what} is malformed: {why}"
    return BundleError(detail, [Finding("signature.malformed", what, Severity.CRITICAL, detail)])


def parse(text: str | bytes, *, what: str) -> object:
    """Read JSON that somebody else wrote.

    Args:
        text: UTF-8 JSON, at most 64 MiB, 64 levels deep, about 4 million values.
        what: Names the thing in the error.

    Raises:
        BundleError: Not such JSON; also when two readers could understand it differently (an object
            that names a field twice, NaN, half a surrogate pair).
    """
    if len(text) > MAX_BYTES:
        raise malformed(what, f"it has {len(text)} bytes, more than {MAX_BYTES}")
    try:
        raw = text if isinstance(text, bytes) else text.encode()
        if sum(map(raw.count, (b",", b"[", b"{"))) > MAX_NODES:
            raise malformed(what, f"it has more than {MAX_NODES} values")
        value: object = json.loads(
            raw.decode(),  # json.loads would also take UTF-16 and a byte order mark
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError as err:
        raise malformed(what, f"it is nested deeper than {MAX_DEPTH} levels") from err
    except ValueError as err:  # JSONDecodeError and UnicodeError among them
        if not text.strip():
            raise malformed(what, "it is empty") from err
        raise malformed(what, f"it is not plain JSON ({err})") from err
    _check(value, what)
    return value


def dumps(value: object) -> bytes:
    """Write JSON so that equal values are equal bytes everywhere (RFC 8785).

    Args:
        value: Plain JSON values; whole numbers within 2**53.

    Raises:
        ValueError: The value cannot be said in canonical JSON.
    """
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]  # it checks every value itself
    except (rfc8785.CanonicalizationError, RecursionError) as err:
        raise ValueError(f"not canonical JSON: {err}") from err


def record(value: object, fields: Iterable[str], optional: Iterable[str] = (), *, what: str) -> dict[str, object]:
    """Take a JSON object that has exactly these fields.

    Raises:
        BundleError: No object, a field missing, or one that does not belong there.
    """
    if not isinstance(value, dict):
        raise malformed(what, "an object was wanted")
    wanted = set(fields)
    if missing := sorted(wanted - value.keys()):
        raise malformed(what, f"the field {missing[0]!r} is missing")
    if odd := sorted(value.keys() - wanted - set(optional)):
        raise malformed(what, f"the field {odd[0]!r} does not belong there")
    return value


def string(value: object, *, what: str, empty: bool = False) -> str:
    """Take a JSON string that is not empty (unless it may be), or raise BundleError."""
    if not isinstance(value, str) or not (value or empty):
        raise malformed(what, "a string that is not empty was wanted")
    return value


def whole(value: object, *, what: str) -> int:
    """Take a JSON whole number from 0 to 2**53 - 1, or raise BundleError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise malformed(what, "a whole number from 0 was wanted")
    return value


def sequence(value: object, *, what: str) -> list[object]:
    """Take a JSON array, or raise BundleError."""
    if not isinstance(value, list):
        raise malformed(what, "an array was wanted")
    return value


def hexadecimal(value: object, length: int | None = None, *, what: str) -> str:
    """Take lower-case hex of whole bytes (``length`` digits when given), or raise BundleError."""
    text = string(value, what=what)
    if len(text) % 2 or not _HEX.match(text) or (length is not None and len(text) != length):
        raise malformed(what, "lower-case hexadecimal digits of the right length were wanted")
    return text


def strings(value: object, *, what: str) -> Mapping[str, str]:
    """Take a JSON object of strings, or raise BundleError."""
    if not isinstance(value, dict):
        raise malformed(what, "an object was wanted")
    return {key: string(item, what=what) for key, item in value.items()}


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {double[:40]!r} stands twice in one object")
    return found


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _check(value: object, what: str) -> None:
    """Refuse depth and half surrogates, without recursion."""
    level: list[object] = [value]
    depth = 0
    while level:
        below: list[object] = []
        containers = False
        for item in level:
            if isinstance(item, str):
                if not item.isascii():
                    _whole_characters(item, what)
            elif isinstance(item, dict):
                containers = True
                for key in item:
                    if not key.isascii():
                        _whole_characters(key, what)
                below.extend(item.values())
            elif isinstance(item, list):
                containers = True
                below.extend(item)
        depth += containers
        if depth > MAX_DEPTH:
            raise malformed(what, f"it is nested deeper than {MAX_DEPTH} levels")
        level = below


def _whole_characters(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as err:
        raise malformed(what, "it holds half of a surrogate pair") from err
