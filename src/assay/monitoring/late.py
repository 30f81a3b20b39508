"""Counts the rows that came when their window was no longer counted again: in which windows, and how many.

A run counts the newest windows anew and reads nothing of those before. Names of recorded files say which windows they
belong to, and their ends how many rows they have, so no row is read for it. Of any other table the times are read, and
only where it has not as many rows from before as were counted then.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from assay.engines.base import CountQuery, Engine
from assay.engines.stamps import Files
from assay.findings import Finding, Severity
from assay.monitoring.clock import instant, readable
from assay.monitoring.signals import WindowCounts


@dataclass(frozen=True, slots=True)
class Late:
    """Rows of before the windows that are counted again.

    Attributes:
        rows: In the time of a window that was counted before, but more than it had then. Where rows were deleted
            since, as many of those that came are not seen.
        since: The first window that has such; empty for none.
        older: Before the first window of all.
    """

    rows: int
    since: str
    older: int

    def findings(self, recounted: int) -> tuple[Finding, ...]:
        """What a person must know.

        Args:
            recounted: How many of the newest windows are counted again.
        """
        if not self.rows:
            return ()
        detail = (
            f"{self.rows:,} row{'s' if self.rows > 1 else ''} came too late to be counted, the oldest in the window of "
            f"{readable(self.since)}: only the newest {recounted} windows are counted again"
        )
        return (Finding("rows.late", "rows", Severity.WARNING, detail, {"rows": self.rows}),)


Piece = tuple[datetime, datetime, int]
"""Rows from an instant on, and before another one."""


def late(
    engine: Engine,
    files: Files,
    time: str,
    earlier: Sequence[WindowCounts],
    seen: datetime,
    *,
    before: int,
    whole: bool,
) -> Late:
    """Count the rows that came too late.

    Args:
        engine: What reads the table.
        files: The table.
        time: Its time column.
        earlier: The windows before those that are counted again, in time order, as they were counted then.
        seen: Where the first window begins that is counted again.
        before: Rows before it that the engine met, counting.
        whole: Whether the engine met all of them, and not only those in a file with later ones.
    """
    first = instant(earlier[0].start)
    counted = sum(one.rows for one in earlier)
    if files.recorded:
        pieces = [(one.first, one.end, rows) for one, rows in files.recorded if one.end <= seen]
        over = [one.first for one, _ in files.recorded if one.first < seen < one.end]
        if over:
            pieces.append((min(over), seen, before - sum(rows for _, _, rows in pieces) if whole else before))
        older = sum(rows for _, end, rows in pieces if end <= first)
        if sum(rows for _, _, rows in pieces) - older == counted:
            return Late(0, "", older)
        return _compared(earlier, pieces, older)
    if before == counted:
        return Late(0, "", 0)
    cuts = sorted({instant(one.start) for one in earlier} | {seen})
    tally = engine.counts(files.source, CountQuery(time, tuple(cuts), ()))
    spans = zip(cuts, cuts[1:], tally.windows, strict=False)
    return _compared(earlier, [(start, end, one.rows) for start, end, one in spans], tally.before)


def _compared(earlier: Sequence[WindowCounts], pieces: Iterable[Piece], older: int) -> Late:
    """Hold what there is now against what was counted then, in the shortest times that both can be told of."""
    starts = [instant(one.start) for one in earlier]
    now, apart, known = [0] * len(starts), [True] * len(starts), [True] * len(starts)
    for begins, ends, rows in pieces:
        if ends <= starts[0]:
            continue
        low, high = max(bisect_right(starts, begins) - 1, 0), bisect_left(starts, ends) - 1
        now[low] += rows
        known[low] = known[low] and begins >= starts[0]  # else some of them are older than all windows
        apart[low + 1 : high + 1] = [False] * (high - low)
    rows, since, place = 0, "", 0
    while place < len(starts):
        end = next((at for at in range(place + 1, len(starts)) if apart[at]), len(starts))
        more = sum(now[place:end]) - sum(one.rows for one in earlier[place:end])
        if more > 0 and all(known[place:end]):
            rows, since = rows + more, since or earlier[place].start
        place = end
    return Late(rows, since, older)
