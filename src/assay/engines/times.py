"""Instants as whole microseconds since 1970 UTC, as engines compare them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
EARLIEST: Final = -62_135_596_800_000_000
"""The year 1 begins, in microseconds since 1970: a time before it is none."""
LATEST: Final = 253_402_300_799_999_999
"""The year 9999 ends: a time after it is none."""


def to_micros(time: datetime | None) -> int:
    """Microseconds since 1970 UTC."""
    if time is None or time.tzinfo is None:
        raise ValueError("a time needs a timezone; use datetime.now(UTC)")
    return (time - EPOCH) // MICROSECOND


def to_time(micro: float | str | None) -> datetime | None:
    """The instant that microseconds since 1970 say."""
    return None if micro is None else EPOCH + min(max(int(micro), EARLIEST), LATEST) * MICROSECOND
