"""Tables and views of PostgreSQL, streamed into Parquet from one snapshot, a few thousand rows in memory at a time.

Values keep what engines can count: numbers that no double holds become infinite or zero, times without end or beyond
the years 1 to 9999 become null, and what has no type of ours becomes text, as PostgreSQL shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from assay.engines.addresses import DATABASE, shown
from assay.engines.files import refuse_twins
from assay.errors import MissingExtraError, TableError

if TYPE_CHECKING:
    import psycopg

ROWS: Final = 10_000
"""Rows in memory at a time, at most."""
MOST_BYTES: Final = 32 << 20
"""Bytes of columns in memory at a time, as the rows before let expect: a value may have a gigabyte."""
_GROWTH: Final = 10

_WHOLE: Final = frozenset({"int2", "int4", "int8"})
_DOUBLES: Final = frozenset({"_float4", "_float8", "_int2", "_int4", "_int8"})
_TIMES: Final = frozenset({"date", "timestamp", "timestamptz"})
# Whoever may create functions in a schema of the search path could have theirs called for PostgreSQL's own where no
# overload fits exactly (CVE-2018-1058). So names are qualified, and operators are given two values of one type.
_COLUMNS: Final = (
    "SELECT attname, coalesce(base.typname, own.typname), pg_catalog.quote_ident(attname::pg_catalog.text) "
    "FROM pg_catalog.pg_attribute JOIN pg_catalog.pg_type AS own ON own.oid = atttypid "
    "LEFT JOIN pg_catalog.pg_type AS base ON base.oid = own.typbasetype "
    "WHERE attrelid = %s::pg_catalog.regclass::pg_catalog.oid AND attnum > 0::pg_catalog.int2 AND NOT attisdropped "
    "ORDER BY attnum"
)


def bring(address: str, here: Path) -> None:
    """Write a table into a Parquet file.

    Args:
        address: ``postgresql://HOST/BASE#TABLE``, ``TABLE`` as PostgreSQL writes it: ``predictions``,
            ``schema.predictions``, ``"Odd Name"``. Who signs in is best left to ``PGPASSWORD`` or ``~/.pgpass``.
        here: The Parquet file.

    Raises:
        TableError: When the table cannot be read.
        MissingExtraError: When psycopg is not installed.
    """
    where, _, table = address.partition("#")
    if not table:
        raise TableError(f"{shown(address)} names no table: write postgresql://HOST/BASE#TABLE")
    with _connected(address, DATABASE.sub("postgresql://", where)) as connection:
        name = _found(connection, table, address)
        columns = connection.execute(_COLUMNS, (name,)).fetchall()
        refuse_twins(shown(address), [column for column, _, _ in columns])
        if not columns:
            raise TableError(f"{shown(address)} has no columns")
        asked = [_asked(kind, quoted) for _, kind, quoted in columns]
        schema = pa.schema([pa.field(column, kind) for (column, _, _), (_, kind) in zip(columns, asked, strict=True)])
        # Both names come quoted from the server itself.
        query = f"SELECT {', '.join(words for words, _ in asked)} FROM {name}"
        with connection.cursor(name="assay") as cursor, pq.ParquetWriter(here, schema) as writer:
            cursor.execute(query)
            wanted = 1
            while rows := cursor.fetchmany(wanted):
                batch = _batch(rows, schema)
                writer.write_batch(batch)
                fit = len(rows) * MOST_BYTES // max(batch.nbytes, 1)
                wanted = max(1, min(_GROWTH * wanted, fit, ROWS))


def _batch(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    columns = [pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _found(connection: psycopg.Connection[Any], table: str, address: str) -> str:
    """The table's name as the server quotes it."""
    import psycopg

    for said in (table, '"' + table.replace('"', '""') + '"'):
        try:
            with connection.transaction():
                row = connection.execute("SELECT pg_catalog.to_regclass(%s)::text", (said,)).fetchone()
        except (psycopg.DataError, psycopg.ProgrammingError):
            continue  # no name in PostgreSQL's own words
        if row is not None and row[0] is not None:
            found: str = row[0]
            return found
    raise TableError(f"there is no table {shown(address)}")


def _asked(kind: str, x: str) -> tuple[str, pa.DataType]:  # noqa: PLR0911 - a table of cases
    """How a column is asked for, and what it becomes."""
    if kind in _WHOLE:
        return f"{x}::int8", pa.int64()
    if kind in {"float4", "float8"}:
        return f"{x}::float8", pa.float64()
    if kind == "numeric":  # an error where no double holds it, unless it is asked for like this
        huge = f"WHEN {x} = 'NaN' THEN 'NaN'::float8 WHEN abs({x}) > 1e308 THEN sign({x})::float8 * 'Infinity'::float8"
        return f"CASE {huge} WHEN {x} <> 0.0 AND abs({x}) < 1e-307 THEN 0 ELSE {x}::float8 END", pa.float64()
    if kind == "bool":
        return x, pa.bool_()
    if kind in _TIMES:
        near = f"isfinite({x}) AND {x} >= '0001-01-01' AND {x} < '9999-12-31'"
        zone = None if kind == "timestamp" else "UTC"
        micros = f"(extract(epoch FROM {x}) OPERATOR(pg_catalog.*) 1000000)::int8"
        return f"CASE WHEN {near} THEN {micros} END", pa.timestamp("us", zone)
    if kind in _DOUBLES:
        return f"CASE WHEN coalesce(pg_catalog.array_ndims({x}), 1) = 1 THEN {x}::float8[] END", pa.list_(pa.float64())
    if kind in {"vector", "halfvec"}:  # of pgvector
        return f"pg_catalog.string_to_array(trim(BOTH '[]' FROM {x}::text), ',')::float8[]", pa.list_(pa.float64())
    return f"{x}::text", pa.string()


@contextmanager
def _connected(address: str, where: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection that only reads, in one snapshot; our error for one of the server's, which may quote a record."""
    try:
        import psycopg
    except ModuleNotFoundError as err:
        raise MissingExtraError("tables in PostgreSQL", "postgres") from err
    patient = _patient(where)
    if patient is None:  # raised here, where no error stands behind it that quotes the whole address
        raise TableError(
            f"{shown(address)} is no address that PostgreSQL reads: write / # ? @ in a name or a password as %2F %23 "
            "%3F %40, or better leave the password to PGPASSWORD or ~/.pgpass"
        )
    try:
        with psycopg.connect(patient) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            yield connection
    except psycopg.OperationalError as err:
        raise TableError(f"cannot read {shown(address)}: {_reason(err)}") from err
    except (psycopg.Error, pa.ArrowException, UnicodeError) as err:
        raise TableError(f"cannot read {shown(address)}: {_reason(err)}") from err
    except OSError as err:
        raise TableError(f"cannot keep {shown(address)} for reading: {err.strerror}") from err


def _patient(where: str) -> str | None:
    """The address with an end to waiting, unless it says one; None where it is none."""
    import psycopg

    try:
        told = psycopg.conninfo.conninfo_to_dict(where)
        if "@" in str(told.get("host", "")):  # the end of a password with @ in it
            return None
        return psycopg.conninfo.make_conninfo(where, connect_timeout=told.get("connect_timeout", 10))
    except psycopg.Error:
        return None


def _reason(err: Exception) -> str:
    """Why, in words that hold nothing of the table and no password."""
    said = str(err)
    reasons = {
        "password": "the server refuses who signs in",
        "authentication": "the server refuses who signs in",
        "does not exist": "there is no such database, role or column",
        "refused": "the server refused the connection",
        "No such file": "there is no server at this place",
        "could not translate": "there is no such host",
        "resolve": "there is no such host",
        "permission denied": "permission was denied",
        "timeout": "the server did not answer in time",
    }
    return next((reason for word, reason in reasons.items() if word in said), type(err).__name__)
