"""Looks for what is strange about the rows of live windows: window by window where that is known to be the same.

Whatever is strange about rows adds up over files, but for request ids that come twice: those of every window are kept,
and compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Final

from assay.engines.base import ColumnFamily, CountQuery, Engine, Oddities, Question, Source, Text, Values
from assay.engines.stamps import Files, Stamp, ids_of
from assay.monitoring.schema import PredictionSchema

MOST_IDS: Final = 200_000
"""Request ids that are compared in memory; of more rows than that, all are looked at anew."""

_INSTANT: Final = timedelta(microseconds=1)
_NUMBERS: Final = tuple(part.name for part in fields(Oddities) if part.name != "counts")

MOST_NEW: Final = 3
"""More windows than this that have changed are looked at together with all others."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was strange about the rows of one window.

    Attributes:
        oddities: What the engine said.
        ids: The request ids of its rows.
        now: The reading of the clock: of rows and labels from its future there were none.
    """

    oddities: Oddities
    ids: frozenset[object]
    now: datetime


def _waits(odd: Oddities) -> bool:
    """Whether another reading of the clock may find less."""
    return bool(odd.future or odd.future_labels)


class Met:
    """Request ids of some windows, and in how many of them each is. It changes in place: only one run may have it."""

    def __init__(self) -> None:
        self._known: dict[int, frozenset[object]] = {}
        self._met: set[object] = set()
        self._more: dict[object, int] = {}  # of the ids that are in several windows: in how many beside the first

    def again(self, windows: Sequence[frozenset[object]]) -> int:
        """How often an id is in one more of these windows; what was asked before is not counted again."""
        now = {id(ids): ids for ids in windows}
        for gone in self._known.keys() - now.keys():
            ids = self._known[gone]
            several = self._more.keys() & ids
            self._met -= ids - several
            for one in several:
                self._more[one] -= 1
                if not self._more[one]:
                    del self._more[one]
        for new in now.keys() - self._known.keys():
            for one in self._met & now[new]:
                self._more[one] = self._more.get(one, 0) + 1
            self._met |= now[new]
        self._known = now
        return sum(map(len, now.values())) - len(self._met)


@dataclass(frozen=True, slots=True)
class Looker:
    """Looks at rows.

    Attributes:
        engine: What reads the table.
        files: The table.
        schema: What its columns mean.
        columns: Its columns.
        watched: Whose values are counted.
        now: The reading of the clock.
        since: Rows before it were looked at by an earlier run, and are not again; None for none.
        met: Request ids that an earlier run has compared.
    """

    engine: Engine
    files: Files
    schema: PredictionSchema
    columns: Mapping[str, ColumnFamily]
    watched: Sequence[str]
    now: datetime
    since: datetime | None
    met: Met

    def whole(self) -> Oddities:
        """What is strange about all rows."""
        return self._ask(self.files.some(self.since, None))

    def by_windows(
        self, each: Sequence[tuple[Stamp, ...]], known: Sequence[Look | None], settled: Sequence[bool]
    ) -> tuple[Oddities, tuple[Look | None, ...]]:
        """The same, where it was looked at some windows before.

        Args:
            each: The files of each window.
            known: What was strange about it; None where that is not known.
            settled: Whether its files are what they were.
        """
        looks = [one if one is not None and one.now <= self.now else None for one in known]
        if self._apart() and sum(not one for one in settled) <= MOST_NEW:
            mine = {stamp.path for files in each for stamp in files}
            rest = [one for one in self.files.stamps if one.path not in mine and one.may_hold(self.since, None)]
            looks = [one or self._look(files) for one, files in zip(looks, each, strict=True)]
            found = [one for one in (*looks, self._look(rest)) if one is not None]
            if len(found) > len(looks) and sum(len(one.ids) for one in found) <= MOST_IDS:
                kept = (one if one is not None and not _waits(one.oddities) else None for one in looks)
                return self._together(found), tuple(kept)
        self.met.again(())
        return self.whole(), tuple(one if same else None for one, same in zip(looks, settled, strict=True))

    def labels_behind(self, end: datetime) -> int:
        """How many labels came when the last window was over, and until now.

        Args:
            end: The end of the last window.
        """
        label, came = self.schema.label, self.schema.label_time
        if label is None or came is None or not {label, came} <= self.columns.keys() or end > self.now:
            return 0
        known = Question("labels", (Values(Text(label), ()),), clock="label")
        query = CountQuery(self.schema.time, (end, self.now + _INSTANT), (known,), label, came)
        return sum(self.engine.counts(self.files.source, query).answers[known.name].values())

    def _apart(self) -> bool:
        # Beside a column of that name, an engine cannot say which file a row of several is from.
        return "filename" not in {name.casefold() for name in self.columns}

    def _look(self, files: Sequence[Stamp]) -> Look | None:
        """What is strange about the rows of some files; None where their ids cannot be kept."""
        if not files:
            return Look(Oddities(0, 0, counts=dict.fromkeys(self.watched, 0)), frozenset(), self.now)
        paths = tuple(one.path for one in files)
        column = self.schema.request_id
        odd = self._ask(Source(paths))
        ids = ids_of(paths, column) if column is not None and column in self.columns else frozenset[object]()
        return None if ids is None else Look(odd, ids, self.now)

    def _ask(self, source: Source) -> Oddities:
        def there(column: str | None) -> str | None:
            return column if column in self.columns else None

        return self.engine.oddities(
            source,
            time=self.schema.time,
            now=self.now,
            request_id=there(self.schema.request_id),
            label=there(self.schema.label),
            label_time=there(self.schema.label_time),
            columns=self.watched,
            since=self.since,
        )

    def _together(self, looks: Sequence[Look]) -> Oddities:
        """What is strange about all these rows."""
        each = [one.oddities for one in looks]
        counted = [one.counts.get for one in each]
        counts = {name: sum(count(name, 0) for count in counted) for name in self.watched}
        numbers = {name: sum(getattr(one, name) for one in each) for name in _NUMBERS}
        apart = self.met.again([one.ids for one in looks])
        return Oddities(**numbers | {"repeated_ids": numbers["repeated_ids"] + apart}, counts=counts)
