"""Counts with Spark: on this machine, on a cluster, or through Spark Connect, with DuckDB's answers bit for bit."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import pyarrow as pa

from assay.engines import asking
from assay.engines.addresses import shown
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
from assay.engines.landing import UNREAD, Landed, Landing, land
from assay.engines.memory import HERE
from assay.engines.spark_sessions import functions_of, session_at
from assay.engines.spark_sql import dialect, type_of, widened
from assay.engines.spark_tables import is_sparks, quoted, taken
from assay.engines.sql import Columns, family_of, micros, number, present
from assay.engines.times import to_micros
from assay.errors import MissingExtraError, TableError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

SETS_PER_QUERY: Final = 20
"""Spark repeats each row for each grouping set, and compiles no statement that is longer."""

_SAID = re.compile(r"assay: (.*?)(?: SQLSTATE.*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Table:
    """A source opened in a session of our own."""

    session: SparkSession
    frame: DataFrame
    table: str
    columns: Columns
    landing: Landing

    def ask(self, query: str) -> list[tuple[Cell, ...]]:
        return [tuple(row) for row in self.session.sql(query).collect()]

    def before(self, expression: str) -> str:
        """An expression's value in the row before in the same file; NULL where DuckDB cannot say."""
        return f"lag({expression}) OVER (PARTITION BY f ORDER BY r)" if self.landing.ordered else "NULL::BIGINT"


class Spark:
    """Counts with Spark.

    Parquet files are read where they are: every worker must see them under the same path, and so must it see
    the folder for temporary files (``TMPDIR``), where CSV files are written as Parquet.

    Args:
        address: A master (``local[2]``, ``spark://host:7077``) or a Spark Connect address (``sc://host``). Empty
            for all processors of this machine. A classic session that runs already is used before a master.
    """

    name = "spark"

    def __init__(self, address: str = "") -> None:
        self._address = address

    def columns(self, source: Source) -> Mapping[str, ColumnFamily]:
        """The columns of a table in its order, each with the family of its type."""
        if is_sparks(source):
            with self._open(source) as table:
                return table.columns.families
        with tempfile.TemporaryDirectory(prefix="assay-spark-") as folder, at_hand(source) as here:
            return {name: family_of(kind) for name, kind in land(here, Path(folder)).types.items()}

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
        with self._open(source, since=since, until=until) as table:
            wanted = list(table.columns.families) if columns is None else list(columns)
            for column in wanted:
                table.columns.family(column)
            micro = "0L" if time is None else micros(table.columns, time)
            where = [f"t >= {to_micros(since)}"] if since is not None else []
            where += [f"t < {to_micros(until)}"] if until is not None else []
            quoted = table.columns.dialect.quoted
            shown = [
                f"{'timestamp_micros(t)' if column == time else quoted(column)} AS s{i}"
                for i, column in enumerate(wanted)
            ]
            starts = ", ".join(f"{start}L" for start in _starts(table.landing.files))
            query = f"SELECT *, {micro} AS t, element_at(array({starts}), f + 1) + r + 1 AS place FROM {table.table}"
            query = f"SELECT * FROM ({query}) AS placed" + (f" WHERE {' AND '.join(where)}" if where else "")
            if limit is not None:
                query = (
                    f"SELECT * FROM ({query}) AS all ORDER BY {asking.drawing('place', seed)}, place LIMIT {int(limit)}"
                )
            query = f"SELECT {', '.join(shown)} FROM ({query}) AS drawn ORDER BY t NULLS LAST, place"
            found = table.session.sql(query).toArrow()
            return _as_duckdb(found, wanted, table.landing.schema, time)

    def span(self, source: Source, time: str) -> Span:
        """From when to when the rows are, and how many."""
        with self._open(source) as table:
            return asking.span(table, time)

    def steps(self, source: Source, time: str, rows: int, *, since: datetime | None = None) -> tuple[datetime, ...]:
        """The times at which every ``rows``-th row begins; see `Engine.steps`."""
        with self._open(source) as table:
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
        with self._open(source) as table:
            return {
                name: asking.texts(table, of, top)
                if isinstance(of, Text)
                else _numbers(asking.making(table, [of]), of, quantiles)
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
        since: datetime | None = None,
    ) -> Oddities:
        """What is strange about the rows' order, identity and labels."""
        with self._open(source, since=since) as table:
            return asking.oddities(
                table,
                time=time,
                now=now,
                request_id=request_id,
                label=label,
                label_time=label_time,
                columns=columns,
                since=since,
            )

    def counts(self, source: Source, query: CountQuery) -> Tally:
        """Count everything asked for: one scan for every `SETS_PER_QUERY` questions."""
        with self._open(source, since=None if query.label_time else query.cuts[0], until=query.cuts[-1]) as table:
            return asking.counts(table, query, SETS_PER_QUERY)

    @contextmanager
    def _open(
        self, source: Source, *, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[_Table]:
        with (
            tempfile.TemporaryDirectory(prefix="assay-spark-") as folder,
            at_hand(source, since=since, until=until) as here,
        ):
            landing = None if is_sparks(source) else land(here, Path(folder), since=since, until=until)
            with _blaming(source), session_at(self._address) as session:
                view = f"assay_{Path(folder).name.rpartition('-')[2]}"
                if landing is None:
                    landing, columns, frame = taken(session, source, view)
                else:
                    columns, frame = _read(session, landing)
                frame.createOrReplaceTempView(view)
                try:
                    yield _Table(session, frame, view, columns, landing)
                finally:
                    session.catalog.dropTempView(view)
                    session.catalog.dropGlobalTempView(view)


def _read(session: SparkSession, landing: Landing) -> tuple[Columns, DataFrame]:
    """All files as one frame: columns ``c0``, ``c1`` …, the number of the file ``f``, the place of the row ``r``."""
    refused: dict[str, str] = {}
    wanted = {name: _united(landing, name, kind, refused) for name, kind in landing.types.items()}
    names = {name: f"c{i}" for i, name in enumerate(wanted)}
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for file in landing.files:
        groups.setdefault(tuple(file.types.items()), []).append(file.path)
    read = {name: kind for name, kind in wanted.items() if name not in refused}
    frames = [_group(session, dict(types), paths, wanted, read) for types, paths in groups.items()]
    frame = frames[0]
    for other in frames[1:]:
        frame = frame.union(other)
    families = {name: family_of(kind) for name, kind in landing.types.items()}
    return Columns(families, wanted, dialect(names, refused)), frame


def _united(landing: Landing, name: str, kind: str, refused: dict[str, str]) -> str:
    """The type that a column has in the frame; a column that some file holds in no way Spark reads is refused."""
    had = [file.types[name] for file in landing.files if name in file.types]
    wanted = type_of(kind) or (had[0] if had else UNREAD)
    if not wanted or any(not one or widened("x", one, wanted) is None for one in had if kind != '"NULL"'):
        refused[name] = f"holds {kind} values"
    elif "${" in name:  # Hadoop puts the value of a setting there, and then finds no such column
        refused[name] = "has '${' in its name"
    else:
        return wanted
    return "string"


def _group(
    session: SparkSession,
    types: Mapping[str, str],
    paths: Sequence[str],
    wanted: Mapping[str, str],
    readable: Mapping[str, str],
) -> DataFrame:
    """Files that look the same, in the columns of all files."""
    functions = functions_of(session)
    read = {name: had for name, had in types.items() if name in readable and widened("x", had, readable[name])}
    schema = ", ".join(f"{quoted(name)} {had}" for name, had in read.items())
    frame = session.read.schema(schema).parquet(*paths)
    place = frame.metadataColumn("_metadata")

    def column(number: int, name: str) -> Column:
        if name not in read:
            nothing: Column = functions.lit(None)
            return nothing.cast(wanted[name]).alias(f"c{number}")
        found: Column = frame[quoted(name)]
        if read[name] == "string":  # DuckDB refuses text that is none; so does this
            found = functions.validate_utf8(found)
        return found.cast(wanted[name]).alias(f"c{number}")

    return frame.select(
        *(column(number, name) for number, name in enumerate(wanted)),
        functions.substring(place["file_name"], 1, 8).cast("int").alias("f"),
        place["row_index"].alias("r"),
    )


def _starts(files: Sequence[Landed]) -> list[int]:
    """How many rows are before each file."""
    starts = [0]
    for file in files:
        starts.append(starts[-1] + file.rows)
    return starts


def _numbers(table: _Table, of: Quantity, quantiles: Sequence[float]) -> Profile:
    """One sort of the different values, whose counts say everything."""
    x, there = number(table.columns, of), present(table.columns, of)
    finite = "abs(x) < 'Infinity'::DOUBLE"
    grouped = (
        f"SELECT x, there, count(*) AS n "
        f"FROM (SELECT {x} + 0.0::DOUBLE AS x, {there} AS there FROM {table.table}) AS each_row GROUP BY x, there"
    )
    counted = (
        f"SELECT x, there, n, sum(CASE WHEN {finite} THEN n ELSE 0 END) OVER (ORDER BY x) AS upto, "
        f"sum(CASE WHEN {finite} THEN n ELSE 0 END) OVER () AS whole FROM ({grouped}) AS each"
    )
    values = [
        f"min(x) FILTER (WHERE {finite} AND upto >= greatest(1L, whole - floor(whole::DOUBLE - whole::DOUBLE * q{i})))"
        for i in range(len(quantiles))
    ]
    values = [
        value.replace(f"q{i}", f"{float(q)!r}::DOUBLE")
        for i, (value, q) in enumerate(zip(values, quantiles, strict=True))
    ]
    rows = ("true", "NOT there OR isnan(x)", "abs(x) = 'Infinity'::DOUBLE", "there AND x IS NULL")
    asked = [f"coalesce(sum(n) FILTER (WHERE {said}), 0L)" for said in rows]
    asked += [f"count(*) FILTER (WHERE {finite})", f"min(x) FILTER (WHERE {finite})", f"max(x) FILTER (WHERE {finite})"]
    found = table.ask(f"SELECT {', '.join([*asked, *values])} FROM ({counted}) AS ranked")[0]
    least, most, *spread = found[5:]
    return Profile(
        rows=asking.whole(found[0]),
        missing=asking.whole(found[1]),
        infinite=asking.whole(found[2]),
        unreadable=asking.whole(found[3]),
        distinct=asking.whole(found[4]),
        quantiles=() if least is None else tuple(float(cast("float", value)) for value in spread),
        least=None if least is None else float(least),
        most=None if most is None else float(most),
    )


def _as_duckdb(found: pa.Table, wanted: Sequence[str], schema: pa.Schema, time: str | None) -> pa.Table:
    """Rows in the types that DuckDB hands out."""
    kinds = [
        pa.timestamp("us", "UTC") if column == time else schema.field(schema.get_field_index(column)).type
        for column in wanted
    ]
    columns = [column.cast(kind) for column, kind in zip(found.columns, kinds, strict=True)]
    return pa.table(columns, schema=pa.schema([pa.field(name, kind) for name, kind in zip(wanted, kinds, strict=True)]))


@contextmanager
def _blaming(source: Source) -> Iterator[None]:
    """Our error for one of Spark's. Its own words may hold a record's values."""
    try:
        from py4j.protocol import Py4JError  # type: ignore[import-untyped]  # it ships no types
        from pyspark.errors import PySparkException
    except ModuleNotFoundError as err:
        raise MissingExtraError("the engine spark", "spark") from err
    try:
        yield
    except (PySparkException, Py4JError, pa.ArrowException) as err:
        said = _SAID.search(str(err))
        where = ", ".join(map(shown, source.paths[:3])) or HERE
        if said:
            raise TableError(f"{where}: {said[1]}") from err
        raise TableError(
            f"Spark cannot read {where}: it is damaged, no worker sees it, the session ended, or a type is unknown"
        ) from err
