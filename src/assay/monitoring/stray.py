"""Tells rows whose time cannot be right from rows that come after a pause: they make no windows.

One row of 1970 in a table of this month would otherwise make twenty thousand empty windows, in which the service
looks dead. A row is *stray* when it is one of few at an end of the table, and the pause between them and all others is
far longer than any other. A pause with a service's rows on both sides is a pause, however long: its windows are
empty, and judged so. Rows later than the clock are never judged before their time, unless they are most of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from typing import Final

from assay.engines.base import CountQuery, Engine, Source, WindowRows
from assay.findings import Finding, Severity
from assay.storage.clock import utc_text

FAR: Final = 20
"""A pause is far longer than any other when it is so many times as long as that, as a window and as a day."""
SHARE: Final = 10
"""Few rows are at most one in so many of those in a typical window, a day at least, and of all."""
HANDFUL: Final = 5
"""So many are few even where a window has hardly more, if the pause is `LONG` and longer than all the others' time."""
LONG: Final = timedelta(days=100)
"""Rows that come after a shorter pause than this are those of a service that is back."""
AGES: Final = timedelta(days=3650)
"""No service pauses so long: then one row in `SHARE` is few enough."""
MANY: Final = 100
"""More stray rows than a `HANDFUL` and than one in so many are a fault of the table: part of it could not be judged."""

CELLS: Final = 2000
"""Pieces of time that are looked at at once."""
MOST_LOOKS: Final = 6
"""Looks at one table: each but the last finds rows that are farther away than the next one can see past."""

_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)
_INSTANT: Final = timedelta(microseconds=1)
_NOTHING: Final = WindowRows(0)


@dataclass(frozen=True, slots=True)
class Times:
    """From when to when the rows are that can be judged.

    Attributes:
        first: First of them; None when there is none.
        last: Last of them.
        judged: How many they are.
        before: Stray rows earlier than these.
        after: Stray rows later than these, but not than the clock.
        future: Rows later than the clock.
        odd_clock: The rows later than the clock are most of the table, and are judged.
    """

    first: datetime | None
    last: datetime | None
    judged: int = 0
    before: WindowRows = _NOTHING
    after: WindowRows = _NOTHING
    future: WindowRows = _NOTHING
    odd_clock: bool = False

    @property
    def ends(self) -> bool:
        """Whether rows behind the last one are left out."""
        return bool(self.after.rows or (self.future.rows and not self.odd_clock))

    @property
    def behind(self) -> int:
        """How many rows behind the last one are left out."""
        return self.after.rows + (0 if self.odd_clock else self.future.rows)

    def findings(self, column: str, now: datetime, *, live: bool) -> tuple[Finding, ...]:
        """What a person must know of the rows that are not judged.

        Args:
            column: The time column.
            now: The reading of the clock.
            live: Whether rows still come: then those later than the clock wait, which is told at every run.
        """
        found = []
        of = self.judged + self.before.rows + self.behind
        for rows, other, word in ((self.before, self.first, "before"), (self.after, self.last, "after")):
            if rows.rows:
                many = rows.rows > HANDFUL and rows.rows * MANY > of
                detail = (
                    f"{_named(rows)}, long {word} all others ({_day(other)}): a time so far off is taken for wrong, "
                    f"and {_they(rows)} not judged"
                )
                found.append(
                    Finding(
                        "time.stray",
                        column,
                        Severity.ERROR if many else Severity.WARNING,
                        detail,
                        {"rows": rows.rows, "of": of},
                    )
                )
        if self.future.rows and not live:
            detail = f"{_named(self.future)}, later than the clock, which says {_day(now)}"
            if self.odd_clock:
                detail += ": these are most of the table, and all are judged; is the clock wrong?"
            else:
                detail += f": {_they(self.future)} not judged"
            numbers = {"rows": self.future.rows, "of": of}
            found.append(Finding("time.future", column, Severity.WARNING, detail, numbers))
        return tuple(found)


def _they(rows: WindowRows) -> str:
    return "it was" if rows.rows == 1 else "they were"


def _named(rows: WindowRows) -> str:
    one, other = _day(rows.first), _day(rows.last)
    when = f"is of {one}" if rows.rows == 1 else f"are of {one}" if one == other else f"are from {one} to {other}"
    return f"{rows.rows:,} row{'' if rows.rows == 1 else 's'} {when}"


def _day(time: datetime | None) -> str:
    return utc_text(time)[:16].replace("T", " ") if time is not None else "never"


def look(
    engine: Engine, source: Source, column: str, width: timedelta | int, *, now: datetime, live: bool = False
) -> Times:
    """Find out from when to when the rows are that can be judged. Reads the time column, few times.

    Args:
        engine: What reads the table.
        source: The table.
        column: Its time column.
        width: How long a window is, or how many rows it has.
        now: The reading of the clock.
        live: Whether rows still come: then those that come after a pause are no strays, and those later than the
            clock wait for their time.

    Raises:
        TableError: When the table cannot be read.
    """
    span = engine.span(source, column)
    if span.first is None or span.last is None:
        return Times(None, None)
    times = Times(span.first, span.last, span.rows - span.undated)
    if span.last > now:
        times = _until(engine, source, column, times, now, live=live)
    for _ in range(MOST_LOOKS):
        if times.first is None or times.last is None:
            break
        cuts = _cells(times.first, times.last, width)
        if not cuts:  # so short a time has no pause that is long enough
            break
        found = engine.counts(source, CountQuery(column, cuts, ())).windows
        kept = _without(times, found, width, cell=cuts[1] - cuts[0], live=live)
        if kept == times:
            break
        times = kept
    return times


def _until(engine: Engine, source: Source, column: str, times: Times, now: datetime, *, live: bool) -> Times:
    """Leave out what is later than the clock."""
    first, last, later = times.first, times.last, now + _INSTANT
    if first is None or last is None:
        return times
    cuts = (*((first,) if first < later else ()), max(first, later), _after(last, _INSTANT))
    tally = engine.counts(source, CountQuery(column, cuts, ()))
    *past, future = tally.windows
    future = WindowRows(future.rows + tally.after, future.first or last, last)
    rows = sum(one.rows for one in past)
    if future.rows > rows and not live:
        return replace(times, future=future, odd_clock=True)
    return Times(first if rows else None, past[0].last if rows else None, rows, future=future)


def _after(time: datetime, span: timedelta) -> datetime:
    return time + span if time <= _LATEST - span else _LATEST


def _cells(first: datetime, last: datetime, width: timedelta | int) -> tuple[datetime, ...]:
    """Pieces of the time of a table, as long as its windows where these are not too many; none where it is short."""
    unit = width if isinstance(width, timedelta) else _DAY
    if last - first < FAR * max(unit, _DAY):
        return ()
    few = (last - first) // unit < CELLS - 1
    start = first - (first - _EPOCH) % unit if few and first - _EARLIEST > unit else first
    size = unit if few else (last - first) // CELLS + _INSTANT
    cuts = [start + place * size for place in range((last - start) // size + 1)]
    return (*cuts, _after(cuts[-1], size))


def _without(
    times: Times, found: Sequence[WindowRows], width: timedelta | int, *, cell: timedelta, live: bool
) -> Times:
    """Leave out the stray rows at both ends; while rows still come, at the beginning."""
    there = [one for one in found if one.rows]
    low, high = bulk(there, width, cell=cell, live=live)
    return replace(
        times,
        first=there[low].first,
        last=there[high].last,
        judged=sum(one.rows for one in there[low : high + 1]),
        before=_together((times.before, *there[:low])),
        after=_together((*there[high + 1 :], times.after)),
    )


def _together(parts: Sequence[WindowRows]) -> WindowRows:
    some = [one for one in parts if one.rows]
    return WindowRows(sum(one.rows for one in some), some[0].first, some[-1].last) if some else _NOTHING


def bulk(
    there: Sequence[WindowRows], width: timedelta | int, *, cell: timedelta, live: bool = False
) -> tuple[int, int]:
    """The first and the last piece of time whose rows are not stray. Pure.

    Args:
        there: Pieces with rows, in time order; each with its first and last time.
        width: How long a window is, or how many rows it has.
        cell: How long a piece is: pauses within one are not seen.
        live: Rows at the end are never stray.
    """
    rows = sum(one.rows for one in there)
    typical = _typical(there, width)
    upto = list(accumulate((one.rows for one in there), initial=0))
    few = max(HANDFUL, rows / SHARE)
    low = max(place for place, n in enumerate(upto[:-1]) if n <= few and 2 * n < rows)
    high = min(place for place in range(len(there)) if (n := rows - upto[place + 1]) <= few and 2 * n < rows)
    pauses = [timedelta.max, *(_pause(one, other) for one, other in pairwise(there)), timedelta.max]
    unit = max(_DAY, cell, width if isinstance(width, timedelta) else _DAY)
    longest = max([unit, *pauses[low + 1 : high + 1]])
    # From the middle outwards, the shorter pause first: what is not far away belongs to the others.
    while True:
        lived = _lived(there[low], there[high])
        before, after = _Outside(upto[low], pauses[low]), _Outside(rows - upto[high + 1], pauses[high + 1])
        near = []
        if before.rows and not before.stray(rows, typical, longest, lived):
            near.append((before.pause, True))
        back = live or after.pause < LONG
        if after.rows and (back or not after.stray(rows, typical, longest, lived)):
            near.append((after.pause, False))
        if not near:
            return low, high
        pause, left = min(near)
        low, high = (low - 1, high) if left else (low, high + 1)
        longest = max(longest, pause)


@dataclass(frozen=True, slots=True)
class _Outside:
    """Rows at an end, and the pause between them and the others."""

    rows: int
    pause: timedelta

    def stray(self, of: int, typical: float, longest: timedelta, lived: timedelta) -> bool:
        """Whether they are stray, being at most one row in `SHARE`, or fewer than the others and a `HANDFUL`.

        Args:
            of: All rows.
            typical: Rows of a window that has any, or of a day.
            longest: The longest pause of the others, or what is not seen as one.
            lived: The time of the others.
        """
        if self.pause < FAR * longest or (self.rows * SHARE > of and self.pause < AGES):
            return False
        handful = self.rows <= HANDFUL and self.pause >= max(lived, LONG)
        return self.pause >= AGES or self.rows * SHARE <= typical or handful


def _typical(there: Sequence[WindowRows], width: timedelta | int) -> float:
    """About how many rows a window has that has any; of windows shorter than a day, a day."""
    unit = max(width, _DAY) if isinstance(width, timedelta) else _DAY
    windows, upto = 0, -1
    for one in there:
        if one.first is not None and one.last is not None:
            begins, ends = ((at - _EARLIEST) // unit for at in (one.first, one.last))
            windows += max(0, ends - max(begins, upto + 1) + 1)
            upto = ends
    mean = sum(one.rows for one in there) / max(windows, 1)
    return mean if isinstance(width, timedelta) else min(mean, width)


def _pause(one: WindowRows, other: WindowRows) -> timedelta:
    return other.first - one.last if other.first is not None and one.last is not None else timedelta(0)


def _lived(one: WindowRows, other: WindowRows) -> timedelta:
    return other.last - one.first if other.last is not None and one.first is not None else timedelta(0)
