from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import ConfigError, StorageError
from assay.storage.clock import from_text, parse_span, utc_text


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_comes_back_from_its_text(time: datetime) -> None:
    assert from_text(utc_text(time)) == time


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_texts_are_ordered_as_their_times(one: datetime, other: datetime) -> None:
    assert (utc_text(one) < utc_text(other)) == (one < other)


def test_a_time_of_another_zone_is_stored_in_utc() -> None:
    berlin = timezone(timedelta(hours=2))
    assert utc_text(datetime(2026, 3, 1, 1, 30, tzinfo=berlin)) == "2026-02-28T23:30:00.000000Z"


def test_the_hour_that_comes_twice_when_a_clock_goes_back_is_two_hours() -> None:
    first = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    second = first.replace(fold=1)
    assert first == second  # Python compares what the clock on the wall shows
    assert [utc_text(first), utc_text(second)] == ["2026-10-25T00:30:00.000000Z", "2026-10-25T01:30:00.000000Z"]


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="timezone"):
        utc_text(datetime(2026, 3, 1))  # noqa: DTZ001 the attack


@given(st.text())
def test_any_other_text_is_our_error(text: str) -> None:
    with pytest.raises(StorageError) as refusal:
        from_text(text)
    assert repr(text) in refusal.value.message


@pytest.mark.parametrize("text", ["2026-02-30T00:00:00.000000Z", "2026-03-01T09:30:00", "", "0000-01-01T00:00:00Z"])
def test_no_time_is_refused(text: str) -> None:
    with pytest.raises(StorageError):
        from_text(text)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("2h", timedelta(hours=2)),
        ("1d", timedelta(days=1)),
        ("4w", timedelta(days=28)),
        ("1y", timedelta(days=365)),
        (" 30d ", timedelta(days=30)),
    ],
)
def test_a_span_is_read(text: str, span: timedelta) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize("text", ["", "d", "0d", "-1d", "1.5h", "1 month", "1D", "999999999y", "99999y", "\u0661d"])
def test_no_span_is_refused_with_what_was_found(text: str) -> None:
    with pytest.raises(ConfigError, match="span"):
        parse_span(text)
