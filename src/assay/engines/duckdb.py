"""The default engine: DuckDB, in memory, over CSV and Parquet files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, cast

import duckdb
import pyarrow as pa

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
    WindowRows,
)
from assay.engines.files import find
from assay.engines.relation import blame, connect, relation
from assay.engines.sql import code, family_of, micros, number, present, quoted, text, window
from assay.errors import TableError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
NEARLY_FEW: Final = 1000
"""Up to about so many different numbers are told exactly; of more, within some percent."""
SETS_PER_QUERY: Final = 60
"""Grouping sets of one statement; more make the statement slow to plan."""


@dataclass(frozen=True, slots=True)
class _Table:
    """A source opened on a connection of its own."""

    connection: duckdb.DuckDBPyConnection
    table: str
    families: Mapping[str, ColumnFamily]
    files: int

    def ask(self, query: str) -> list[tuple[int | float | str | None, ...]]:
        return cast("list[tuple[int | float | str | None, ...]]", self.connection.sql(query).fetchall())


class DuckDb:
    """Counts with DuckDB. Nothing is kept between calls, and nothing but the files is read."""

    name = "duckdb"

    def columns(self, source: Source) -> Mapping[str, ColumnFamily]:
        """The columns of a table in its order, each with the family of its type."""
        with _open(source) as table:
            return table.families

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
            wanted = list(table.families) if columns is None else list(columns)
            for column in wanted:
                if column not in table.families:
                    raise TableError(f"the table has no column {column!r}")
            place, clock = _fresh(table.families, "place"), _fresh(table.families, "clock")
            micro = "0" if time is None else micros(table.families, time)
            where = [f"{quoted(clock)} >= {_to_micros(since)}"] if since is not None else []
            where += [f"{quoted(clock)} < {_to_micros(until)}"] if until is not None else []
            shown = [
                f"make_timestamptz({quoted(clock)}) AS {quoted(column)}" if column == time else quoted(column)
                for column in wanted
            ]
            query = f"SELECT *, {micro} AS {quoted(clock)}, row_number() OVER () AS {quoted(place)} FROM {table.table}"
            query = f"SELECT * FROM ({query})" + (f" WHERE {' AND '.join(where)}" if where else "")
            if limit is not None:
                drawn = f"ORDER BY hash({quoted(place)}, {int(seed)}), {quoted(place)} LIMIT {int(limit)}"
                query = f"SELECT * FROM ({query}) {drawn}"
            order = f"ORDER BY {quoted(clock)} NULLS LAST, {quoted(place)}"
            return table.connection.sql(f"SELECT {', '.join(shown)} FROM ({query}) {order}").to_arrow_table()

    def span(self, source: Source, time: str) -> Span:
        """From when to when the rows are, and how many."""
        with _open(source) as table:
            clock = micros(table.families, time)
            query = f"SELECT min(t), max(t), count(*), count(t) FROM (SELECT {clock} AS t FROM {table.table})"
            first, last, rows, dated = table.ask(query)[0]
            return Span(_to_time(first), _to_time(last), _int(rows), _int(rows) - _int(dated))

    def steps(self, source: Source, time: str, rows: int, *, since: datetime | None = None) -> tuple[datetime, ...]:
        """The times at which every ``rows``-th row begins; see `Engine.steps`."""
        if rows < 1:
            raise ValueError("a window needs at least one row")
        with _open(source, since=since) as table:
            clock = micros(table.families, time)
            where = "t IS NOT NULL" + (f" AND t >= {_to_micros(since)}" if since is not None else "")
            query = (
                f"SELECT t, row_number() OVER (ORDER BY t) - 1 AS i, max(t) OVER () AS last, count(*) OVER () AS n "
                f"FROM (SELECT {clock} AS t FROM {table.table}) WHERE {where}"
            )
            query = f"SELECT t, min(i), any_value(last), any_value(n) FROM ({query}) WHERE i % {rows} = 0 GROUP BY t"
            found = [tuple(_int(x) for x in row) for row in table.ask(f"{query} ORDER BY t")]
            cuts = [t for t, _, _, _ in found]
            if found and found[-1][3] - found[-1][1] >= rows:
                cuts.append(found[-1][2] + 1)
            return tuple(EPOCH + t * MICROSECOND for t in cuts)

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
            return {
                name: _texts(table, of, top) if isinstance(of, Text) else _numbers(table, of, quantiles)
                for name, of in quantities.items()
            }

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
    ) -> Oddities:
        """What is strange about the rows' order, identity and labels."""
        with _open(source) as table:
            clock = micros(table.families, time)
            asked = {
                "rows": "count(*)",
                "undated": "count(*) - count(t)",
                "backward": "count(*) FILTER (WHERE t < before AND same)",
                "future": f"count(*) FILTER (WHERE t > {_to_micros(now)})",
            }
            parts = [f"{clock} AS t", f"lag({clock}) OVER () AS before", f"{_same_file(table)} AS same"]
            if request_id is not None:
                parts.append(f"{text(table.families, Text(request_id))} AS id")
                asked |= {"repeated_ids": "count(id) - count(DISTINCT id)", "without_id": "count(*) - count(id)"}
            if label is not None:
                parts.append(f"{text(table.families, Text(label))} AS y")
                asked |= {"labelled": "count(y)"}
                if label_time is not None:
                    parts.append(f"{micros(table.families, label_time)} AS came")
                    asked |= {"early_labels": "count(y) FILTER (WHERE came < t)"}
            for i, column in enumerate(columns):
                text(table.families, Text(column))
                parts.append(f"{quoted(column)} AS c{i}")
            counted = [*asked.values(), *(f"count(c{i})" for i in range(len(columns)))]
            query = f"SELECT {', '.join(counted)} FROM (SELECT {', '.join(parts)} FROM {table.table})"
            found = [_int(x) for x in table.ask(query)[0]]
            counts = dict(zip(columns, found[len(asked) :], strict=True))
            return Oddities(**dict(zip(asked, found, strict=False)), counts=counts)

    def counts(self, source: Source, query: CountQuery) -> Tally:
        """Count everything asked for: one scan for every `SETS_PER_QUERY` questions."""
        with _open(source, since=None if query.label_time else query.cuts[0], until=query.cuts[-1]) as table:
            cuts = [_to_micros(cut) for cut in query.cuts]
            answers: dict[str, dict[tuple[int, ...], int]] = {question.name: {} for question in query.questions}
            last = len(cuts) - 1
            rows = [WindowRows(0)] * last
            outside = {-1: 0, last: 0, None: 0}
            for w, n, first, latest in table.ask(_rows_query(table, query, cuts)):
                if w in outside:
                    outside[cast("int | None", w)] = _int(n)
                else:
                    rows[_int(w)] = WindowRows(_int(n), _to_time(first), _to_time(latest))
            for start in range(0, len(query.questions), SETS_PER_QUERY):
                _answer(table, query, cuts, slice(start, start + SETS_PER_QUERY), answers)
            return Tally(tuple(rows), answers, before=outside[-1], after=outside[last], undated=outside[None])


@contextmanager
def _open(source: Source, *, since: datetime | None = None, until: datetime | None = None) -> Iterator[_Table]:
    files = find(source, since=since, until=until)
    with connect() as connection:
        table = relation(connection, files)
        try:
            described = connection.sql(f"SELECT * FROM {table} LIMIT 0")
            families = {str(n): family_of(str(t)) for n, t in zip(described.columns, described.types, strict=True)}
            yield _Table(connection, table, families, len(files))
        except duckdb.Error as err:
            raise blame(files, err) from err


def _rows_query(table: _Table, query: CountQuery, cuts: Sequence[int]) -> str:
    clock = micros(table.families, query.time)
    return (
        f"SELECT CASE WHEN t IS NULL THEN NULL ELSE {window('t', cuts)} END AS w, count(*), min(t), max(t) "
        f"FROM (SELECT {clock} AS t FROM {table.table}) GROUP BY w"
    )


def _answer(
    table: _Table,
    query: CountQuery,
    cuts: Sequence[int],
    part: slice,
    answers: Mapping[str, dict[tuple[int, ...], int]],
) -> None:
    """One scan: codes first, then a grouping set per question. NULL says "not in this set": no code is NULL."""
    questions = query.questions[part]
    codes = list(dict.fromkeys(asked for question in questions for asked in question.codes))
    places = {asked: f"k{i}" for i, asked in enumerate(codes)}
    last = len(cuts) - 1
    clock = micros(table.families, query.time)
    scan = [f"{clock} AS t"] + [f"{code(table.families, asked)} AS {place}" for asked, place in places.items()]
    clocks = {question.clock for question in questions}
    windows = {"w_time": "t"} if "time" in clocks else {}
    if "label" in clocks:
        came = clock if query.label_time is None else f"greatest({clock}, {micros(table.families, query.label_time)})"
        known = f"{text(table.families, Text(cast('str', query.label)))} IS NOT NULL AND {clock} IS NOT NULL"
        scan.append(f"(CASE WHEN {known} THEN {came} END) AS y")
        windows["w_label"] = "y"
    sets = {
        question.name: tuple(dict.fromkeys([f"w_{question.clock}", *(places[asked] for asked in question.codes)]))
        for question in questions
    }
    columns = [*windows, *places.values()]
    seen = [*(f"coalesce({window(at, cuts)}, -1) AS {name}" for name, at in windows.items()), *places.values()]
    grouping = ", ".join(f"({', '.join(group)})" for group in dict.fromkeys(sets.values()))
    rows = f"SELECT {', '.join(seen)} FROM (SELECT {', '.join(scan)} FROM {table.table})"
    statement = f"SELECT {', '.join(columns)}, count(*) FROM ({rows}) GROUP BY GROUPING SETS ({grouping})"
    by_set: dict[frozenset[str], list[tuple[dict[str, int], int]]] = {}
    for *values, n in table.ask(statement):
        row = {column: _int(value) for column, value in zip(columns, values, strict=True) if value is not None}
        by_set.setdefault(frozenset(row), []).append((row, _int(n)))
    for question in questions:
        for row, n in by_set.get(frozenset(sets[question.name]), []):
            w = row[f"w_{question.clock}"]
            if 0 <= w < last:
                answers[question.name][(w, *(row[places[asked]] for asked in question.codes))] = n


def _numbers(table: _Table, of: Quantity, quantiles: Sequence[float]) -> Profile:
    x = number(table.families, of)
    asked = ", ".join(f"{float(q)!r}::DOUBLE" for q in quantiles)
    finite = "FILTER (WHERE isfinite(x))"
    spread = f"quantile_disc(x, [{asked}]) {finite}" if asked else "NULL"
    query = (
        f"SELECT count(*), count(*) FILTER (WHERE NOT there OR isnan(x)), count(*) FILTER (WHERE isinf(x)), "
        f"count(*) FILTER (WHERE there AND x IS NULL), approx_count_distinct(x) {finite}, "
        f"min(x) {finite}, max(x) {finite}, {spread} "
        f"FROM (SELECT {x} AS x, {present(table.families, of)} AS there FROM {table.table})"
    )
    rows, missing, infinite, unreadable, distinct, least, most, values = table.ask(query)[0]
    if _int(distinct) <= NEARLY_FEW:  # so few that telling them exactly costs nothing
        distinct = table.ask(f"SELECT count(DISTINCT {x}) FROM {table.table} WHERE isfinite({x})")[0][0]
    return Profile(
        rows=_int(rows),
        missing=_int(missing),
        infinite=_int(infinite),
        unreadable=_int(unreadable),
        distinct=_int(distinct),
        quantiles=tuple(cast("list[float]", values) if values is not None else ()),
        least=None if least is None else float(least),
        most=None if most is None else float(most),
    )


def _texts(table: _Table, of: Text, top: int) -> Profile:
    grouped = f"SELECT x, count(*) AS n FROM (SELECT {text(table.families, of)} AS x FROM {table.table}) GROUP BY x"
    rows, missing, distinct = table.ask(
        f"SELECT coalesce(sum(n), 0)::BIGINT, coalesce(sum(n) FILTER (WHERE x IS NULL), 0)::BIGINT, count(x) "
        f"FROM ({grouped})"
    )[0]
    first = table.ask(f"SELECT x, n FROM ({grouped}) WHERE x IS NOT NULL ORDER BY n DESC, x LIMIT {int(top)}")
    return Profile(
        rows=_int(rows),
        missing=_int(missing),
        distinct=_int(distinct),
        top=tuple((str(x), _int(n)) for x, n in first),
    )


def _same_file(table: _Table) -> str:
    """Whether a row is in the same file as the row before; false where the engine cannot say."""
    if table.files == 1:
        return "true"
    told = table.table.startswith("read_") and "filename" not in {column.casefold() for column in table.families}
    return "(filename = lag(filename) OVER ())" if told else "false"


def _fresh(taken: Iterable[str], name: str) -> str:
    """A column name that no other column has, in any case."""
    folded = {column.casefold() for column in taken}
    while name in folded:
        name += "_"
    return name


def _int(value: float | str | None) -> int:
    return 0 if value is None else int(value)


def _to_micros(time: datetime | None) -> int:
    if time is None or time.tzinfo is None:
        raise ValueError("a time needs a timezone; use datetime.now(UTC)")
    return (time - EPOCH) // MICROSECOND


def _to_time(micro: float | str | None) -> datetime | None:
    return None if micro is None else EPOCH + int(micro) * MICROSECOND
