"""The time text of windows, and how long a window is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from statistics import median
from typing import Final

from assay.errors import BaselineError
from assay.monitoring.signals import WindowCounts

DAY = timedelta(days=1)

_UNITS: Final = (("year", 365 * DAY), ("day", DAY), ("hour", DAY / 24), ("minute", DAY / 1440))


@lru_cache(maxsize=1 << 15)  # a baseline's are asked for at every run
def instant(text: str) -> datetime:
    """The instant that a window's text names; a text without zone is UTC.

    Raises:
        BaselineError: When it is no time.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError as err:
        raise BaselineError(f"a window's time is malformed: {text!r}, wanted YYYY-MM-DDTHH:MM:SS.ffffffZ") from err
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def readable(text: str) -> str:
    """The instant for a person, in UTC: its date, and the hour and minute when it is not midnight."""
    at = instant(text)
    return f"{at:%Y-%m-%d}" if (at.hour, at.minute) == (0, 0) else f"{at:%Y-%m-%d %H:%M}"


def spoken(span: timedelta) -> str:
    """A span for a person, in the largest unit of which it has one: ``90 minutes`` are ``1.5 hours``."""
    unit, length = next(((unit, length) for unit, length in _UNITS if span >= length), ("second", timedelta(seconds=1)))
    number = f"{span / length:.3g}" if span < 1000 * length else f"{span / length:,.0f}"
    return f"{number} {unit}" if number == "1" else f"{number} {unit}s"


def span_of(windows: Sequence[WindowCounts], *, by_rows: bool) -> timedelta:
    """How long a window lasts: by spans their own length; by rows the whole baseline over its windows.

    Args:
        windows: The baseline's windows, in time order.
        by_rows: Whether windows are a number of rows.
    """
    if by_rows:
        return (instant(windows[-1].end) - instant(windows[0].start)) / len(windows)
    return timedelta(seconds=median((instant(w.end) - instant(w.start)).total_seconds() for w in windows))
