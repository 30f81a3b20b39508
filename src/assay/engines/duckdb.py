"""The default engine: DuckDB, in memory, over CSV and Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypedDict, cast

import duckdb
import pyarrow as pa

from assay.engines import asking, direct, streaming
from assay.engines.asking import Cell
from assay.engines.base import (
    ColumnFamily,
    CountQuery,
    Oddities,
    Profile,
    Quantity,
    Source,
    Span,
    Tally,
    Text,
)
from assay.engines.bringing import at_hand
from assay.engines.files import find
from assay.engines.grouping import distinct
from assay.engines.made import Made
from assay.engines.memory import HERE, in_memory
from assay.engines.relation import blame, connect, relation
from assay.engines.sql import DUCKDB, Columns, family_of, micros, number, present, quoted
from assay.engines.times import to_micros
from assay.errors import TableError

NEARLY_FEW: Final = 1000
"""Up to about so many different numbers are told exactly; of more, within some percent."""


@dataclass(frozen=True, slots=True)
class _Table:
    """A source opened on a connection of its own."""

    connection: duckdb.DuckDBPyConnection
    table: str
    columns: Columns
    files: int

    def ask(self, query: str) -> list[tuple[Cell, ...]]:
        # A relation, `sql`, would be planned twice: once for its columns.
        return cast("list[tuple[Cell, ...]]", self.connection.execute(query).fetchall())

    def before(self, expression: str) -> str:
        """An expression's value in the row before in the same file; NULL where the engine cannot say."""
        if self.files == 1:
            return f"lag({expression}) OVER ()"
        told = "filename" not in {column.casefold() for column in self.columns.families}
        if not (told and self.table.startswith("read_")):
            return "NULL::BIGINT"
        return f"(CASE WHEN filename = lag(filename) OVER () THEN lag({expression}) OVER () END)"


class _Wanted(TypedDict):
    """What is asked about the rows' order, identity and labels; see `Engine.oddities`."""

    time: str
    now: datetime
    request_id: str | None
    label: str | None
    label_time: str | None
    columns: Sequence[str]
    since: datetime | None


class DuckDb:
    """Counts with DuckDB. Nothing is kept between calls, and nothing but the files is read."""

    name = "duckdb"

    def columns(self, source: Source) -> Mapping[str, ColumnFamily]:
        """The columns of a table in its order, each with the family of its type."""
        with _open(source) as table:
            return table.columns.families

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
        if time is None and (since is not None or until is not None):
            raise ValueError("since and until need a time column")
        with _open(source, since=since, until=until) as table:
            wanted = list(table.columns.families) if columns is None else list(columns)
            for column in wanted:
                if column not in table.columns.families:
                    raise TableError(f"the table has no column {column!r}")
            place, clock = asking.fresh(table.columns.families, "place"), asking.fresh(table.columns.families, "clock")
            micro = "0" if time is None else micros(table.columns, time)
            where = [f"{quoted(clock)} >= {to_micros(since)}"] if since is not None else []
            where += [f"{quoted(clock)} < {to_micros(until)}"] if until is not None else []
            shown = [
                f"make_timestamptz({quoted(clock)}) AS {quoted(column)}" if column == time else quoted(column)
                for column in wanted
            ]
            query = f"SELECT *, {micro} AS {quoted(clock)}, row_number() OVER () AS {quoted(place)} FROM {table.table}"
            query = f"SELECT * FROM ({query})" + (f" WHERE {' AND '.join(where)}" if where else "")
            if limit is not None:
                drawn = f"ORDER BY {asking.drawing(quoted(place), seed)}, {quoted(place)} LIMIT {int(limit)}"
                query = f"SELECT * FROM ({query}) {drawn}"
            order = f"ORDER BY {quoted(clock)} NULLS LAST, {quoted(place)}"
            return table.connection.sql(f"SELECT {', '.join(shown)} FROM ({query}) {order}").to_arrow_table()

    def span(self, source: Source, time: str) -> Span:
        """From when to when the rows are, and how many."""
        with _open(source) as table:
            return asking.span(table, time)

    def steps(self, source: Source, time: str, rows: int, *, since: datetime | None = None) -> tuple[datetime, ...]:
        """The times at which every ``rows``-th row begins; see `Engine.steps`."""
        with _open(source) as table:
            return asking.steps(table, time, rows, since)

    def profile(
        self,
        source: Source,
        quantities: Mapping[str, Quantity | Text],
        *,
        quantiles: Sequence[float] = (),
        top: int = 20,
    ) -> Mapping[str, Profile]:
        """How quantities are distributed over all rows; see `Engine.profile`."""
        with _open(source) as table:
            rows = asking.whole(table.ask(f"SELECT count(*) FROM {table.table}")[0][0])
            plain = {name: of for name, of in quantities.items() if not isinstance(of, Text | Made)}
            told = streaming.spreads(
                table.connection, table.table, table.columns, plain, rows=rows, quantiles=quantiles
            )
            for name, of in quantities.items():
                if isinstance(of, Text):
                    told[name] = asking.texts(table, of, top)
                elif name not in told:
                    told[name] = _numbers(asking.making(table, [of]), of, quantiles, rows)
            return {name: told[name] for name in quantities}

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
        """What is strange about the rows' order, identity and labels."""
        wanted: _Wanted = {
            "time": time,
            "now": now,
            "request_id": request_id,
            "label": label,
            "label_time": label_time,
            "columns": columns,
            "since": since,
        }
        with at_hand(source, since=since) as here:
            files = _files(here, since, None)
            said = direct.oddities(files, **wanted)
            if said is not None:
                return said
            with _opened(here, files) as table:
                return asking.oddities(table, **wanted)

    def counts(self, source: Source, query: CountQuery) -> Tally:
        """Count everything asked for in one scan."""
        since, until = None if query.label_time else query.cuts[0], query.cuts[-1]
        asked = distinct(query.questions)
        with at_hand(source, since=since, until=until) as here:
            files = _files(here, since, until)
            said = direct.counts(files, query, list(asked))
            if said is None:
                with _opened(here, files) as opened:
                    table = asking.making(opened, asking.made_of(asked))
                    said = streaming.counts(opened.connection, table.table, table.columns, query, list(asked))
        found, tally = said
        named = zip(asked.values(), found, strict=True)
        return replace(tally, answers={name: answer for names, answer in named for name in names})


@contextmanager
def _open(source: Source, *, since: datetime | None = None, until: datetime | None = None) -> Iterator[_Table]:
    with at_hand(source, since=since, until=until) as here, _opened(here, _files(here, since, until)) as table:
        yield table


def _files(source: Source, since: datetime | None, until: datetime | None) -> tuple[str, ...]:
    return () if source.table is not None else find(source, since=since, until=until)


@contextmanager
def _opened(source: Source, files: Sequence[str]) -> Iterator[_Table]:
    given = in_memory(source)
    files = files if given is None else (HERE,)
    with connect() as connection:
        table = "given" if given is not None else relation(connection, files)
        try:
            if given is not None:
                connection.register(table, given)
            described = connection.sql(f"SELECT * FROM {table} LIMIT 0")
            types = {str(n): str(t) for n, t in zip(described.columns, described.types, strict=True)}
            families = {name: family_of(kind) for name, kind in types.items()}
            yield _Table(connection, table, Columns(families, types, DUCKDB), len(files))
        except duckdb.Error as err:
            raise blame(files, err) from err
        except (pa.ArrowException, OSError) as err:  # what DuckDB finds while Arrow takes its batches
            if isinstance(err, OSError) and err.errno is not None:
                raise
            raise blame(files, err) from err


def _numbers(table: _Table, of: Quantity, quantiles: Sequence[float], rows: int) -> Profile:
    here = streaming.spreads(table.connection, table.table, table.columns, {"": of}, rows=rows, quantiles=quantiles)
    if here:
        return here[""]
    x = number(table.columns, of)
    asked = ", ".join(f"{float(q)!r}::DOUBLE" for q in quantiles)
    finite = "FILTER (WHERE isfinite(x))"
    spread = f"quantile_disc(x, [{asked}]) {finite}" if asked else "NULL"
    query = (
        f"SELECT count(*), count(*) FILTER (WHERE NOT there OR isnan(x)), count(*) FILTER (WHERE isinf(x)), "
        f"count(*) FILTER (WHERE there AND x IS NULL), approx_count_distinct(x) {finite}, "
        f"min(x) {finite}, max(x) {finite}, {spread} "
        f"FROM (SELECT {x} + 0.0::DOUBLE AS x, {present(table.columns, of)} AS there FROM {table.table})"
    )
    counted, missing, infinite, unreadable, distinct, least, most, values = table.ask(query)[0]
    if asking.whole(distinct) <= NEARLY_FEW:  # so few that telling them exactly costs nothing
        distinct = table.ask(f"SELECT count(DISTINCT {x}) FROM {table.table} WHERE isfinite({x})")[0][0]
    return Profile(
        rows=asking.whole(counted),
        missing=asking.whole(missing),
        infinite=asking.whole(infinite),
        unreadable=asking.whole(unreadable),
        distinct=asking.whole(distinct),
        quantiles=tuple(cast("list[float]", values) if values is not None else ()),
        least=None if least is None else float(least),
        most=None if most is None else float(most),
    )
