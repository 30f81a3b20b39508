"""Reads a table without those of its files that cannot be read, and says which they are.

One damaged file must not stop all monitoring: whoever can write into a folder of predictions could end it with a file
of noise. Nor may it go unsaid: every file that is left out is an error, and what it may hold is told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from os import SEEK_END
from pathlib import Path
from typing import Final, TypeVar

import duckdb
import pyarrow as pa

from assay.engines.addresses import TABLE
from assay.engines.base import ColumnFamily, CountQuery, Engine, Oddities, Profile, Quantity, Source, Span, Tally, Text
from assay.engines.bringing import at_hand, called
from assay.engines.files import PARQUET, find, forbidden, is_forbidden, recorded_span
from assay.engines.relation import blame, connect, relation
from assay.engines.sql import quoted
from assay.engines.times import EPOCH, MICROSECOND
from assay.errors import TableError
from assay.findings import Finding, Severity

NAMED: Final = 20
"""So many files that were left out are named one by one."""
AT_ONCE: Final = 128
"""Columns of a file that are read at once to see whether they can be."""

_END: Final = b"PAR1"

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that was left out.

    Attributes:
        path: Where it is, or where it is from.
        why: What was found, in a sentence.
        forbidden: Whether it is only that this user may not read it.
        span: From when to when it may hold rows; None where nobody can tell.
    """

    path: str
    why: str
    forbidden: bool
    span: tuple[datetime, datetime] | None

    def finding(self) -> Finding:
        """What a person must know of it."""
        when = "any window may lack rows of it"
        if self.span is not None:
            first, last = (f"{at:%Y-%m-%d %H:%M}" for at in self.span)
            when = f"windows between {first} and {last} UTC may lack rows of it"
        todo = "let it be read" if self.forbidden else "mend it or take it away"
        rule = "table.forbidden" if self.forbidden else "table.damaged"
        return Finding(rule, self.path, Severity.ERROR, f"{self.why}; it was left out, and {when}: {todo}")


class Forbearing:
    """An engine that leaves out files which cannot be read, as long as others can.

    A table of one file, and one that is in memory or elsewhere, is read or is an error, as by the engine itself.

    Args:
        engine: What reads the rest.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._left: dict[str, LeftOut] = {}
        self._time = ""

    @property
    def name(self) -> str:
        """The name on the shelf of the engine."""
        return self._engine.name

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The files that were left out so far, in the order of their names."""
        return tuple(self._left[path] for path in sorted(self._left))

    def findings(self) -> tuple[Finding, ...]:
        """An error for each file that was left out so far."""
        left = self.left_out
        found = [one.finding() for one in left[:NAMED]]
        if len(left) > NAMED:
            detail = f"{len(left) - NAMED} more files cannot be read and were left out, the last is {left[-1].path}"
            numbers = {"files": len(left) - NAMED}
            found.append(Finding("table.damaged", left[-1].path, Severity.ERROR, detail, numbers))
        return tuple(found)

    def columns(self, source: Source) -> Mapping[str, ColumnFamily]:
        """The columns of a table; see `Engine.columns`."""
        return self._asked(source, self._engine.columns)

    def rows(
        self,
        source: Source,
        *,
        columns: Sequence[str] | None = None,
        time: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        seed: int = 0,
    ) -> pa.Table:
        """Rows as a table in memory; see `Engine.rows`."""
        self._time = time or self._time

        def ask(some: Source) -> pa.Table:
            return self._engine.rows(some, columns=columns, time=time, since=since, until=until, limit=limit, seed=seed)

        return self._asked(source, ask, since, until)

    def span(self, source: Source, time: str) -> Span:
        """From when to when the rows are; see `Engine.span`."""
        self._time = time
        return self._asked(source, lambda some: self._engine.span(some, time))

    def steps(self, source: Source, time: str, rows: int, *, since: datetime | None = None) -> tuple[datetime, ...]:
        """The times at which every ``rows``-th row begins; see `Engine.steps`."""
        self._time = time
        return self._asked(source, lambda some: self._engine.steps(some, time, rows, since=since))

    def profile(
        self,
        source: Source,
        quantities: Mapping[str, Quantity | Text],
        *,
        quantiles: Sequence[float] = (),
        top: int = 20,
    ) -> Mapping[str, Profile]:
        """How quantities are distributed; see `Engine.profile`."""
        return self._asked(source, lambda some: self._engine.profile(some, quantities, quantiles=quantiles, top=top))

    def oddities(
        self,
        source: Source,
        *,
        time: str,
        now: datetime,
        request_id: str | None = None,
        label: str | None = None,
        label_time: str | None = None,
        columns: Sequence[str] = (),
        since: datetime | None = None,
    ) -> Oddities:
        """What is strange about the rows; see `Engine.oddities`."""
        self._time = time

        def ask(some: Source) -> Oddities:
            return self._engine.oddities(
                some,
                time=time,
                now=now,
                request_id=request_id,
                label=label,
                label_time=label_time,
                columns=columns,
                since=since,
            )

        return self._asked(source, ask, since)

    def counts(self, source: Source, query: CountQuery) -> Tally:
        """Count everything asked for; see `Engine.counts`."""
        self._time = query.time
        since = None if query.label_time else query.cuts[0]
        return self._asked(source, lambda some: self._engine.counts(some, query), since, query.cuts[-1])

    def _asked(
        self,
        source: Source,
        ask: Callable[[Source], Answer],
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Answer:
        """What the engine says of all files that can be read."""
        if source.table is not None or any(path.startswith(TABLE) for path in source.paths):
            return ask(source)
        if not self._left:
            try:
                return ask(source)
            except TableError:
                pass  # which file it is, is looked for below
        with at_hand(source, since=since, until=until) as here:
            return self._of_the_rest(here, ask, since, until)

    def _of_the_rest(
        self, source: Source, ask: Callable[[Source], Answer], since: datetime | None, until: datetime | None
    ) -> Answer:
        again = True
        while True:
            every = find(source, since=since, until=until)
            files = [file for file in every if file not in self._left]
            if not files:
                raise TableError(self._left[every[0]].why, files=every)
            try:
                return ask(Source(tuple(files)))
            except TableError as err:
                if len(every) == 1:
                    raise
                bad = _bad(files, err, ask) or ({} if again and err.files else _read_whole(files))
                if bad:
                    self._left |= {file: self._leave(file, why) for file, why in bad.items()}
                elif again:
                    again = False  # it was being replaced, or was taken away, while it was read
                else:
                    raise

    def _leave(self, file: str, why: TableError) -> LeftOut:
        message = why.message.replace(file, called(file))
        return LeftOut(called(file), message, is_forbidden(file), recorded_span(file) or _span_of(file, self._time))


def trouble_of(file: str) -> TableError | None:
    """Why a file cannot be read to its end; None where it can, and where it is gone."""
    if not Path(file).exists():
        return None
    try:
        with connect() as connection:
            table = relation(connection, [file])
            names = [quoted(name) for name in connection.sql(f"SELECT * FROM {table} LIMIT 0").columns]
            for place in range(0, len(names), AT_ONCE):
                read = ", ".join(f"bit_xor(hash({name}))" for name in names[place : place + AT_ONCE])
                connection.execute(f"SELECT {read} FROM {table}").fetchall()
    except (TableError, duckdb.Error) as err:
        if isinstance(err, TableError) and not err.files:
            return err  # its names are at fault, not its bytes
        if file.endswith(PARQUET):
            return forbidden(file) if is_forbidden(file) else _torn(file)
        return err if isinstance(err, TableError) else blame([file], err)
    return None


def _torn(file: str) -> TableError:
    return TableError(f"cannot read {file}: it is damaged, or only half written", files=[file])


def _is_torn(file: str) -> bool:
    """Whether a Parquet file does not end as one does: seen without reading it."""
    try:
        with Path(file).open("rb") as opened:
            opened.seek(-min(len(_END), Path(file).stat().st_size), SEEK_END)
            return file.endswith(PARQUET) and opened.read() != _END
    except OSError:
        return False


def _bad(files: Sequence[str], err: TableError, ask: Callable[[Source], object]) -> Mapping[str, TableError]:
    """The files that cannot be read, or not together with most of the others; none where it is not about files."""
    named = {file: why for file in err.files if file in files and (why := trouble_of(file)) is not None}
    if named:
        return {file: _torn(file) for file in files if _is_torn(file)} | named
    alike: dict[tuple[tuple[str, str], ...], list[str]] = defaultdict(list)
    unread: dict[str, TableError] = {}
    for file in files:
        try:
            alike[_columns(file)].append(file)
        except TableError as trouble:
            unread |= {file: trouble_of(file) or trouble} if Path(file).exists() else {}
    return unread or _misfits(sorted(alike.values(), key=len, reverse=True), ask)


def _read_whole(files: Sequence[str]) -> dict[str, TableError]:
    """The files that cannot be read to their end; an engine may name another one, or none."""
    return {file: why for file in files if (why := trouble_of(file)) is not None}


def _misfits(groups: Sequence[Sequence[str]], ask: Callable[[Source], object]) -> dict[str, TableError]:
    """Files that can be read, but not as one table with those that have the columns of most files.

    Args:
        groups: Files of the same columns, the largest group first.
        ask: What was asked of all of them.
    """
    found: dict[str, TableError] = {}
    kept: list[str] = []
    for group in groups if len(groups) > 1 else ():
        try:
            ask(Source((*kept, *group)))
        except TableError:
            broken = _read_whole(group)
            if broken or not kept:  # not even most of the files give an answer: it is the question that is at fault
                return broken
            for file in group:
                said = f"{file} does not fit the other files: it has other columns, or values of another type"
                found[file] = TableError(said, files=[file])
        else:
            kept += group
    return found


def _columns(file: str) -> tuple[tuple[str, str], ...]:
    """The names and types of a file's columns.

    Raises:
        TableError: It cannot be read.
    """
    try:
        with connect() as connection:
            described = connection.sql(f"SELECT * FROM {relation(connection, [file])} LIMIT 0")
            return tuple((str(n), str(t)) for n, t in zip(described.columns, described.types, strict=True))
    except duckdb.Error as err:
        raise blame([file], err) from err


def _span_of(file: str, time: str) -> tuple[datetime, datetime] | None:
    """From when to when a Parquet file has rows, as its end says; None where that cannot be read either."""
    import pyarrow.parquet as pq

    if not file.endswith(PARQUET):
        return None
    try:
        found = pq.read_metadata(file)
        names = [found.schema.column(i).path for i in range(len(found.schema))]
        told = [found.row_group(i).column(names.index(time)).statistics for i in range(found.num_row_groups)]
        ends = [(_instant(one.min), _instant(one.max)) for one in told if one is not None and one.has_min_max]
    except (pa.ArrowException, OSError, ValueError, OverflowError, AttributeError, TypeError):
        return None
    return (min(first for first, _ in ends), max(last for _, last in ends)) if ends and len(ends) == len(told) else None


def _instant(value: object) -> datetime:
    """A time of a file's statistics, which is UTC without a zone.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=EPOCH.tzinfo)
    if isinstance(value, int) and not isinstance(value, bool):
        return EPOCH + value * MICROSECOND
    raise ValueError(type(value).__name__)
