"""Times as text, the one way they are stored: ``2026-03-01T09:30:00.000000Z``.

The text has a fixed width, so that databases order and compare it as they do the times.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from assay.errors import ConfigError, StorageError

_FORMAT = "%Y-%m-%dT%H:%M:%S.%f"
_TEXT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
_SPAN = re.compile(r"([0-9]{1,9})\s*([smhdwy])")
_KNOWN = 1 << 14  # whoever monitors asks about the same windows again and again
_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "y": timedelta(days=365),
}


def utc_text(time: datetime) -> str:
    """Return a time as stored text, in UTC with microseconds.

    Args:
        time: A timezone-aware time, of any zone.

    Raises:
        ValueError: The time has no timezone, so nobody can tell which moment it is.
    """
    if time.tzinfo is None:
        raise ValueError("a time needs a timezone; use datetime.now(UTC)")
    return _text_of(time.astimezone(UTC))


@lru_cache(maxsize=_KNOWN)
def _text_of(at: datetime) -> str:
    """The text of a time in UTC. In other zones two instants an hour apart can be equal, where the clock goes back."""
    # strftime("%Y") does not pad years below 1000 on every platform.
    return f"{at.year:04d}" + at.strftime(_FORMAT[2:]) + "Z"


@lru_cache(maxsize=_KNOWN)
def from_text(text: str) -> datetime:
    """Return the time that stored text says.

    Args:
        text: As :func:`utc_text` writes it; fewer than six decimals are accepted.

    Raises:
        StorageError: The text is not such a time.
    """
    if not _TEXT.fullmatch(text):
        raise StorageError(f"found {text!r} where a UTC time like 2026-03-01T09:30:00.000000Z was wanted")
    try:
        return datetime.fromisoformat(text[:-1]).replace(tzinfo=UTC)
    except ValueError as err:
        raise StorageError(f"found {text!r}, which is no time: {err}") from err


def parse_span(text: str) -> timedelta:
    """Return the span that a word like ``15m``, ``2h``, ``1d``, ``30d``, ``4w`` or ``1y`` says.

    Args:
        text: A whole number above zero and one of ``s m h d w y``; a year is 365 days.

    Raises:
        ConfigError: The word is not such a span, or is zero, or is longer than 10,000 years.
    """
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"found the span {text!r}; write a number and a unit, like 15m, 2h, 1d or 1y")
    number = int(match[1])
    if number == 0:
        raise ConfigError(f"found the span {text!r}; it must be longer than zero")
    try:
        span = number * _UNITS[match[2]]
    except OverflowError as err:
        raise ConfigError(f"found the span {text!r}, which is too long") from err
    if span > timedelta(days=3_650_000):
        raise ConfigError(f"found the span {text!r}, which is too long")
    return span
