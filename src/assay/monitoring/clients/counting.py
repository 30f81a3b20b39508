"""Cuts a prediction log into windows and looks at each client's rows in the order of their time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa

from assay.engines.base import Engine, Source
from assay.monitoring.clients.roster import MOST_SEEN, Roster
from assay.monitoring.clients.sight import MOST_CLIENTS, NEWCOMERS, ClientWindow, Seen, Sight
from assay.storage.clock import utc_text

LEAD: Final = timedelta(days=1)
"""Queries so long before a window are remembered beside those in it."""

CHUNK: Final = 100_000
"""Rows that are in memory at a time."""


def look_at(sight: Sight, windows: Iterable[tuple[datetime, datetime, pa.Table]], roster: Roster) -> list[ClientWindow]:
    """What is seen in windows whose rows are at hand.

    Args:
        sight: What looks; it remembers.
        windows: Start, end and rows of each, in time order; a window may come in several parts.
        roster: Who was seen when; added to.

    Returns:
        The windows with rows: as many of the newest as `newest` keeps.
    """
    out: list[ClientWindow] = []
    room = MOST_SEEN
    for start, end, rows in windows:
        again = bool(out) and out[-1].start == utc_text(start)
        seen = dict(out.pop().seen) if again else {}
        if not again:
            sight.known = roster.settled(start)
            if out:  # the window before is complete
                out[-1] = ClientWindow(out[-1].start, out[-1].end, _largest(out[-1].seen))
                room -= len(out[-1].seen)
                if room < 0:
                    out = [*newest(out)]
                    room = MOST_SEEN - sum(len(one.seen) for one in out)
        sight.look(rows, seen)
        roster.see((name for name in seen if name != NEWCOMERS), start)
        out.append(ClientWindow(utc_text(start), utc_text(end), seen))
    if out:
        out[-1] = ClientWindow(out[-1].start, out[-1].end, _largest(out[-1].seen))
    return [*newest(out)]


def newest(found: Sequence[ClientWindow]) -> Sequence[ClientWindow]:
    """The newest windows with at most `MOST_SEEN` clients in all; always one.

    Args:
        found: In time order.
    """
    room = MOST_SEEN
    for count, one in enumerate(reversed(found)):
        room -= len(one.seen)
        if room < 0 and count:
            return found[-count:]
    return found


def _largest(seen: Mapping[str, Seen]) -> Mapping[str, Seen]:
    if len(seen) <= MOST_CLIENTS:
        return seen
    most = sorted((name for name in seen if name != NEWCOMERS), key=lambda name: (-seen[name].rows, name))
    pool = {name: one for name, one in seen.items() if name == NEWCOMERS}
    return {name: seen[name] for name in most[:MOST_CLIENTS]} | pool


def count(
    engine: Engine, source: Source, sight: Sight, *, time: str, cuts: Sequence[datetime], roster: Roster
) -> list[ClientWindow]:
    """What is seen in the windows between some times, a bounded number of rows at a time.

    Args:
        engine: What reads the log.
        source: The log.
        sight: What looks; it is shown the day before the first window too.
        time: The log's time column.
        cuts: Ends of the windows; every two neighbours enclose one.
        roster: Who was seen when; added to.

    Returns:
        All of them, those without rows too; where there are too many clients, the newest.

    Raises:
        TableError: The log cannot be read.
    """
    rows_of = _Rows(engine, source, sight, time)
    for rows in rows_of.between(cuts[0] - LEAD, cuts[0]):
        sight.look(rows, {})
    begun: list[datetime] = []

    def told() -> Iterator[tuple[datetime, datetime, pa.Table]]:
        for part in rows_of.windows(cuts):
            begun.append(part[0])
            yield part

    found = {one.start: one for one in look_at(sight, told(), roster)}
    lost = bool(begun) and utc_text(begun[0]) not in found
    there = [cut for cut in cuts if not lost or utc_text(cut) >= min(found)]
    return [found.get(utc_text(a), ClientWindow(utc_text(a), utc_text(b), {})) for a, b in pairwise(there)]


@dataclass(frozen=True)
class _Rows:
    """Rows of a log in the order of their time, some at a time."""

    engine: Engine
    source: Source
    sight: Sight
    time: str

    def between(self, since: datetime, until: datetime) -> Iterator[pa.Table]:
        said = self.sight.columns
        wanted = {self.time, said.client, said.prediction, *self.sight.space.columns}
        wanted |= {said.confidence} if said.confidence else set()
        columns = [name for name in self.engine.columns(self.source) if name in wanted]
        steps = [one for one in self.engine.steps(self.source, self.time, CHUNK, since=since) if since < one < until]
        for start, end in pairwise([since, *steps, until]):
            yield self.engine.rows(self.source, columns=columns, time=self.time, since=start, until=end)

    def windows(self, cuts: Sequence[datetime]) -> Iterator[tuple[datetime, datetime, pa.Table]]:
        bounds = np.array([round(cut.timestamp() * 1e6) for cut in cuts])
        for rows in self.between(cuts[0], cuts[-1]):
            edges = np.searchsorted(rows.column(self.time).cast(pa.int64()).to_numpy(), bounds)
            for (start, end), (low, high) in zip(pairwise(cuts), pairwise(edges.tolist()), strict=True):
                if high > low:
                    yield start, end, rows.slice(low, high - low)
