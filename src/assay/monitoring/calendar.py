"""Which seasons a baseline is long enough to tell, and where in them each window lies. All clocks are UTC.

Windows of a day or shorter have weekdays from eight weeks on, windows shorter than a day have hours from eight days on
and hours of the week from eight weeks on, and windows of up to a month have months once every month has come in two
years and the baseline is longer than two. Windows of rows have none: each is as long as the traffic makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from assay.inference.seasons import Calendar, Ints, Season
from assay.monitoring.clock import DAY, instant
from assay.monitoring.signals import WindowCounts

CYCLES: Final = 8
"""Repetitions of a day or a week before it can be told from noise."""

TWO_YEARS: Final = timedelta(days=730)
MONTH: Final = timedelta(days=31)

_HOUR: Final = timedelta(hours=1)
_WEEK: Final = 7
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True)
class Cycle:
    """A season of windows of one length.

    Attributes:
        name: As in `assay.inference.seasons.Season`.
        places: How many places it has.
        place: The place of an instant.
        cell: The repetition an instant is in.
        word: A place in words.
        always: Whether it is learned wherever it can be; else only where some signal shows it beyond doubt.
    """

    name: str
    places: int
    place: Callable[[datetime], int]
    cell: Callable[[datetime], int]
    word: Callable[[int], str]
    always: bool


def cycles_of(span: timedelta) -> tuple[Cycle, ...]:
    """The cycles that windows of this length can have, in the order in which they are learned."""
    found = []
    slot = max(span, _HOUR)
    if span < DAY and DAY % slot == timedelta(0):
        found.append(_hours(slot))
    if span <= DAY:
        always = span == DAY
        found.append(Cycle("weekday", _WEEK, datetime.weekday, _week, lambda place: _DAYS[place], always))
    if span < DAY and DAY % slot == timedelta(0):
        found.append(_hours_of_the_week(_hours(slot)))
    if span <= MONTH:
        month = Cycle("month", 12, lambda at: at.month - 1, lambda at: at.year, lambda place: _MONTHS[place], False)  # noqa: FBT003 - the last field
        found.append(month)
    return tuple(found)


def told(cycle: Cycle, windows: Sequence[WindowCounts], span: timedelta) -> bool:
    """Whether the baseline is long enough: every place is there, and has come back often enough."""
    at = [instant(one.start) for one in windows]
    cells = {(cycle.place(one), cycle.cell(one)) for one in at}
    each = [sum(place == one for one, _ in cells) for place in range(cycle.places)]
    if cycle.name == "month":
        return min(each) > 1 and instant(windows[-1].end) - at[0] > TWO_YEARS
    return min(each) > 0 and len(cells) >= CYCLES * cycle.places and len(windows) * span >= CYCLES * DAY


def calendar_of(
    cycles: Sequence[Cycle], baseline: Sequence[WindowCounts], live: Sequence[WindowCounts]
) -> tuple[Calendar | None, Ints]:
    """The calendar of a baseline for these cycles (None without any), and the stratum of each live window."""
    if not cycles:
        return None, np.zeros(len(live), dtype=np.intp)
    then, now = [instant(one.start) for one in baseline], [instant(one.start) for one in live]
    seasons = tuple(
        Season(
            cycle.name,
            np.array([cycle.place(at) for at in then], dtype=np.intp),
            np.array([cycle.cell(at) for at in then], dtype=np.intp),
        )
        for cycle in cycles
    )
    places = np.array([[cycle.place(at) for cycle in cycles] for at in (*then, *now)], dtype=np.intp)
    strata, at = np.unique(places, axis=0, return_inverse=True)
    at = at.reshape(-1)
    return Calendar(seasons, strata, at[: len(then)]), at[len(then) :]


def strata_at(cycles: Sequence[Cycle], calendar: Calendar, windows: Sequence[WindowCounts]) -> Ints | None:
    """The stratum of each window in a calendar that was made for others; None when one of them is in none.

    Args:
        cycles: The cycles of the calendar.
        calendar: As `calendar_of` made it.
        windows: Windows.
    """
    places = {tuple(one): stratum for stratum, one in enumerate(calendar.strata.tolist())}
    times = [instant(one.start) for one in windows]
    found = [places.get(tuple(cycle.place(at) for cycle in cycles)) for at in times]
    known = [one for one in found if one is not None]
    return np.array(known, dtype=np.intp) if len(known) == len(found) else None


def _week(at: datetime) -> int:
    return (at.toordinal() - 1) // _WEEK  # day 1 of the calendar was a Monday


def _hours(slot: timedelta) -> Cycle:
    def place(at: datetime) -> int:
        return timedelta(hours=at.hour, minutes=at.minute) // slot

    def word(number: int) -> str:
        return f"{number * slot // _HOUR:02d} h"

    return Cycle("hour", DAY // slot, place, datetime.toordinal, word, True)  # noqa: FBT003 - the last field


def _hours_of_the_week(hours: Cycle) -> Cycle:
    def place(at: datetime) -> int:
        return at.weekday() * hours.places + hours.place(at)

    def word(number: int) -> str:
        return f"{_DAYS[number // hours.places]} {hours.word(number % hours.places)}"

    return Cycle("hour of the week", _WEEK * hours.places, place, _week, word, False)  # noqa: FBT003 - the last field
