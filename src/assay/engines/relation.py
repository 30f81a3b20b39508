"""How DuckDB reads a set of files as one table: types settled over all rows, nothing guessed, nothing skipped.

DuckDB's own guessing looks at the first rows and skips lines that do not fit; here the types of CSV columns
are settled over all rows first, and a line that does not fit is an error.
"""

from __future__ import annotations

import atexit
import ctypes
import glob
import os
import re
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from functools import cache, partial
from typing import Final

import duckdb

from assay.engines.files import CSV, PARQUET, CsvFile, forbidden, is_forbidden, read_head, refuse_twins
from assay.engines.sql import literal, quoted
from assay.errors import TableError

NULLS: Final = ("", "NA", "N/A", "null", "NULL", "NaN", "nan")
SAMPLE_ROWS: Final = 1000
AT_ONCE: Final = 256
"""Expressions of one statement about the columns of a CSV: the time of a statement grows with their square."""
MEMORY_MB: Final = 128
"""What DuckDB may hold of any table, and `THREAD_MB` for each processor; what is more is put on disk."""
THREAD_MB: Final = 128

_LINE = re.compile(r"CSV Error on Line: (\d+)")

# Casts would take '1.5' for the whole number 2 and 't' for true, so the text must look the part as well.
_FITS: Final = {
    "BIGINT": "regexp_full_match({x}, '[+-]?[0-9]{{1,18}}')",
    "DOUBLE": "TRY_CAST({x} AS DOUBLE) IS NOT NULL",
    "BOOLEAN": "lower({x}) IN ('true', 'false')",
    "TIMESTAMPTZ": "TRY_CAST({x} AS TIMESTAMPTZ) IS NOT NULL",
}


def relation(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> str:
    """The FROM part that reads these files as one table, columns matched by name.

    Raises:
        TableError: When a file cannot be read; names it and, for CSV, the line.
    """
    parts = [part for _, part in readers(connection, files)]
    refuse_twins("the table", _names(connection, parts, files))
    if len(parts) == 1:
        return parts[0]
    return "(" + " UNION ALL BY NAME ".join(f"SELECT * FROM {part}" for part in parts) + ")"


def readers(
    connection: duckdb.DuckDBPyConnection, files: Sequence[str], *, apart: bool = False
) -> list[tuple[tuple[str, ...], str]]:
    """What reads these files: for each reader its files and its FROM part, CSV files first.

    Args:
        connection: Where types of CSV columns are settled.
        files: CSV and Parquet files.
        apart: One reader for each CSV file, instead of one for all that look the same.

    Raises:
        TableError: When a CSV file cannot be read; names it and the line.
    """
    heads: dict[tuple[tuple[str, ...], str, str], list[CsvFile]] = defaultdict(list)
    for head in (read_head(file) for file in files if not file.endswith(PARQUET)):
        heads[head.columns, head.delimiter, head.path if apart else ""].append(head)
    groups = [([head.path for head in group], columns, delimiter) for (columns, delimiter, _), group in heads.items()]
    found: list[tuple[tuple[str, ...], str]] = []
    if groups:
        whole = " UNION ALL BY NAME ".join(f"SELECT * FROM {_csv(*group, {})}" for group in groups)
        try:
            types = _settle(connection, whole)
        except duckdb.Error as err:
            raise blame(files, err) from err
        found = [(tuple(group[0]), _csv(*group, types)) for group in groups]
    parquet = [file for file in files if file.endswith(PARQUET)]
    if parquet:
        # Columns come from the rows alone, never from folder names; files may differ in their columns. Statistics of
        # Parquet leave NaN out: without can_have_nan, isnan() is optimised away and NaN counted as a large number.
        options = "union_by_name = true, hive_partitioning = false, can_have_nan = true"
        found.append((tuple(parquet), f"read_parquet({_paths(parquet)}, {options})"))
    return found


def _names(connection: duckdb.DuckDBPyConnection, parts: Sequence[str], files: Sequence[str]) -> list[str]:
    """Every column of any part, once; two parts may spell one name in two ways."""
    names: dict[str, None] = {}
    try:
        for part in parts:
            names |= dict.fromkeys(connection.sql(f"SELECT * FROM {part} LIMIT 0").columns)
    except duckdb.Error as err:
        raise blame(files, err) from err
    return list(names)


def _paths(files: Sequence[str]) -> str:
    # DuckDB takes every path for a pattern: a file called a[1].csv must be asked for as a[[]1].csv.
    return "[" + ", ".join(literal(glob.escape(file)) for file in files) + "]"


def _csv(files: Sequence[str], columns: Sequence[str], delimiter: str, types: dict[str, str]) -> str:
    struct = ", ".join(f"{literal(column)}: {literal(types.get(column, 'VARCHAR'))}" for column in columns)
    nulls = ", ".join(literal(null) for null in NULLS)
    return (
        f"read_csv({_paths(files)}, auto_detect = false, header = true, columns = {{{struct}}}, "
        f"delim = {literal(delimiter)}, quote = '\"', escape = '\"', nullstr = [{nulls}], "
        "strict_mode = true, hive_partitioning = false)"
    )


def _settle(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, str]:
    """The narrowest type that all values of a column fit: first refuted on some rows, then proved on all."""
    columns = connection.sql(f"SELECT * FROM ({query}) LIMIT 0").columns
    possible = {column: list(_FITS) for column in columns}
    for rows in (f"(SELECT * FROM ({query}) LIMIT {SAMPLE_ROWS})", f"({query})"):
        asked = [(column, kind) for column, kinds in possible.items() for kind in kinds]
        misfits = [f"bool_or({quoted(c)} IS NOT NULL AND NOT {_fit(c, kind)})" for c, kind in asked]
        for (column, kind), misfit in zip(asked, _told(connection, misfits, rows), strict=True):
            if misfit:
                possible[column].remove(kind)
    filled = _told(connection, [f"count({quoted(c)})" for c in columns], f"({query})")
    return {
        column: possible[column][0] for column, count in zip(columns, filled, strict=True) if count and possible[column]
    }


def _told(connection: duckdb.DuckDBPyConnection, asked: Sequence[str], rows: str) -> list[int | bool | None]:
    """What each expression is over these rows, so many in one statement."""
    parts = (asked[start : start + AT_ONCE] for start in range(0, len(asked), AT_ONCE))
    return [x for part in parts for x in connection.sql(f"SELECT {', '.join(part)} FROM {rows}").fetchall()[0]]


def _fit(column: str, kind: str) -> str:
    return _FITS[kind].format(x=quoted(column))


def blame(files: Sequence[str], err: Exception) -> TableError:
    """Our error for one of DuckDB's: which file, and where. DuckDB's own words may hold a record's values."""
    bad = next((file for file in files if f"file = {file}" in str(err)), None)
    bad = bad or next((file for file in files if file in str(err)), None) or _first_bad(files)
    line = _LINE.search(str(err))
    where = f"{bad}, line {line[1]}" if bad and line else bad or ", ".join(files[:3])
    if isinstance(err, duckdb.OutOfMemoryException):
        return TableError(f"there is not enough memory to read {where}")
    if bad and is_forbidden(bad):
        return forbidden(bad)
    named = [bad] if bad else []
    if line:
        said = f"{where}: it does not fit the header, is longer than 2 MB, or is no UTF-8 text"
        return TableError(said, files=named)
    said = f"cannot read {where}: it is damaged, changes while it is read, or holds types that do not match"
    return TableError(said, files=named)


def _first_bad(files: Sequence[str]) -> str | None:
    for file in files:
        if not file.endswith(PARQUET + CSV):
            continue
        reader = "read_parquet" if file.endswith(PARQUET) else "read_csv"
        try:
            with connect() as connection:
                connection.sql(f"SELECT * FROM {reader}({_paths([file])}) LIMIT 1").fetchall()
        except duckdb.Error:
            return file
    return None


def connect() -> duckdb.DuckDBPyConnection:
    """A connection of its own, in memory, that fetches nothing from anywhere and reads no foreign settings."""
    connection = _database(os.getpid()).cursor()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


@cache
def _database(process: int) -> duckdb.DuckDBPyConnection:
    """The database of this process; to open one takes longer than to count a thousand rows. A fork opens its own."""
    # Rows that memory does not hold are written here: DuckDB's own folder would be read by everybody on this machine.
    spill = tempfile.mkdtemp(prefix="assay-spill-")
    atexit.register(_leave, process, spill)
    if util := sys.modules.get("multiprocessing.util"):  # its processes end without what atexit was told
        util.Finalize(None, _leave, (process, spill), exitpriority=0)
    opened = duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "enable_external_file_cache": "false",  # it would hold a file's rows as long as there is memory
            "temp_directory": spill,
            "memory_limit": f"{MEMORY_MB + THREAD_MB * (os.cpu_count() or 1)}MB",
        },
    )
    # A fork that closed its copy would wait for threads that it has not: there, it is never closed.
    os.register_at_fork(after_in_child=partial(ctypes.pythonapi.Py_IncRef, ctypes.py_object(opened)))
    return opened


def _leave(process: int, folder: str) -> None:
    """Take the folder away when its process ends; a fork of it does not."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
