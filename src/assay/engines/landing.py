"""Brings a source to where Spark can read it as DuckDB does: Parquet files under plain names in one folder.

Parquet files are linked, not copied. CSV files are read by DuckDB, which settles the types of their columns
over all rows, and tables in memory are written: both once, by this process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from assay.engines.base import Source
from assay.engines.files import PARQUET, find, forbidden
from assay.engines.memory import HERE, in_memory
from assay.engines.relation import blame, connect, readers, relation
from assay.engines.sql import literal
from assay.errors import TableError

UNREAD: Final = ""
"""The Spark type of a column that Spark cannot read."""

_PLAIN: Final = {
    "int8": "tinyint",
    "int16": "smallint",
    "int32": "int",
    "int64": "bigint",
    "uint8": "smallint",
    "uint16": "int",
    "uint32": "bigint",
    "uint64": "decimal(20,0)",
    "float": "float",
    "double": "double",
    "bool": "boolean",
    "string": "string",
    "large_string": "string",
    "string_view": "string",
    "date32[day]": "date",
    "date64[ms]": "date",
    "null": "int",
}


@dataclass(frozen=True, slots=True)
class Landed:
    """One Parquet file that Spark reads.

    Attributes:
        path: Its plain path; files are numbered in the order of their rows.
        rows: How many rows it has.
        types: Its columns with the Spark type each is read as; `UNREAD` where there is none.
    """

    path: str
    rows: int
    types: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Landing:
    """A source that Spark can read, and what DuckDB says of it.

    Attributes:
        files: The Parquet files, in the order of the rows.
        types: The DuckDB type of each column.
        schema: The columns as DuckDB hands them out.
        ordered: Whether DuckDB tells the rows of different files apart.
    """

    files: tuple[Landed, ...]
    types: Mapping[str, str]
    schema: pa.Schema
    ordered: bool


def land(source: Source, folder: Path, *, since: datetime | None = None, until: datetime | None = None) -> Landing:
    """Link or write a source's rows into an empty folder.

    Raises:
        TableError: When the source cannot be read, naming the file.
    """
    given = in_memory(source)
    if given is not None:
        (folder / "given").mkdir()
        source = Source((str(folder / "given" / "table.parquet"),))
        try:
            pq.write_table(given, source.paths[0])
        except (pa.ArrowException, OSError) as err:
            raise TableError(f"cannot write {HERE} for Spark: {type(err).__name__}") from err
    files: Sequence[str] = find(source, since=since, until=until)
    with connect() as connection:
        table = relation(connection, files)
        try:
            described = connection.sql(f"SELECT * FROM {table} LIMIT 0")
            types = {str(n): str(t) for n, t in zip(described.columns, described.types, strict=True)}
            paths: list[str] = []
            for read, part in readers(connection, files, apart=True):
                if not read[0].endswith(PARQUET):
                    paths.append(str(folder / f"{len(paths):08}.parquet"))
                    connection.execute(f"COPY (SELECT * FROM {part}) TO {literal(paths[-1])} (FORMAT parquet)")
                    continue
                for file in read:
                    paths.append(str(folder / f"{len(paths):08}.parquet"))
                    Path(paths[-1]).symlink_to(Path(file).resolve())
            schema = described.to_arrow_table().schema
        except duckdb.Error as err:
            raise blame(files, err) from err
    told = "filename" not in {name.casefold() for name in types}
    return Landing(tuple(map(_look, paths)), types, schema, len(files) == 1 or (told and table.startswith("read_")))


def _look(path: str) -> Landed:
    try:
        found = pq.read_metadata(path)
        schema = found.schema.to_arrow_schema()
        stamped = {column.name for column in map(found.schema.column, range(len(found.schema))) if _is_int96(column)}
    except PermissionError as err:
        raise forbidden(str(Path(path).resolve())) from err
    except (pa.ArrowException, OSError) as err:
        file = str(Path(path).resolve())
        raise TableError(f"cannot read {file}: it is damaged", files=[file]) from err
    return Landed(
        path, found.num_rows, {field.name: _spark_type(field.type, field.name in stamped) for field in schema}
    )


def _is_int96(column: object) -> bool:
    return getattr(column, "physical_type", "") == "INT96"


def _spark_type(kind: pa.DataType, int96: bool) -> str:  # noqa: PLR0911 - a table of cases
    """What Spark reads an Arrow type as; times of nanoseconds as whole numbers."""
    if pa.types.is_dictionary(kind):
        return _spark_type(kind.value_type, int96)
    if pa.types.is_timestamp(kind):
        if int96:
            return "timestamp"
        if kind.unit == "ns":
            return "bigint"
        return "timestamp_ntz" if kind.tz is None else "timestamp"
    if pa.types.is_duration(kind):
        return "bigint"
    if pa.types.is_decimal128(kind) or pa.types.is_decimal32(kind) or pa.types.is_decimal64(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return "binary"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inside = _spark_type(kind.value_type, int96)
        return f"array<{inside}>" if inside else UNREAD
    return _PLAIN.get(str(kind), UNREAD)
