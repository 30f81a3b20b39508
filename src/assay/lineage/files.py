"""Tables on disk: which files a path means, and their rows. CSV and Parquet."""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from assay.errors import TableError
from assay.lineage.rows import family

_CSV = (".csv", ".csv.gz", ".csv.bz2")
_PARQUET = (".parquet", ".pq")
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")  # row numbers that pandas writes beside the data
_LONG = r"^[+-]?[0-9]{16,}$"
_LARGEST_BLOCK = 2**30  # bytes; above, a CSV file is parsed in pieces and its types come from the first


@dataclass(frozen=True, slots=True)
class TableFiles:
    """The files of one table, in the order of their names.

    Attributes:
        source: What was asked for, as messages name it.
        paths: Where each file is, by its POSIX name relative to the folder they share.
    """

    source: str
    paths: Mapping[str, Path]


def find(source: Path | str) -> TableFiles:
    """The files that a file, a folder or a glob pattern means, sorted by name.

    A folder means every CSV and Parquet file below it, but none whose name begins with a dot or an underscore.

    Raises:
        TableError: There are none, or one is neither CSV nor Parquet.
    """
    path = Path(source)
    if path.is_dir():
        found = [
            each
            for each in path.rglob("*")
            if each.is_file() and each.name.lower().endswith(_CSV + _PARQUET) and each.name[0] not in "._"
        ]
    elif path.exists() or not glob.has_magic(str(source)):
        found = [path]
    else:
        found = [Path(each) for each in glob.glob(str(source), recursive=True) if Path(each).is_file()]  # noqa: PTH207 - an absolute pattern
    if not found:
        raise TableError(f"{source}: no CSV or Parquet file is there")
    base = path if path.is_dir() else _shared_folder(found)
    for each in found:
        if not each.is_file():
            raise TableError(f"{each}: no such file" if not each.exists() else f"{each}: not a regular file")
        if not each.name.lower().endswith(_CSV + _PARQUET):
            raise TableError(f"{each}: neither CSV nor Parquet by its name; wanted .csv or .parquet")
    named = {each.relative_to(base).as_posix(): each for each in found}
    return TableFiles(str(source), {name: named[name] for name in sorted(named)})


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hex. Always of the bytes: size and time can be put back.

    Raises:
        TableError: The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as err:
        raise TableError(f"{path}: cannot be read: {err.strerror}") from err


def read_table(source: Path | str, *, needs: Sequence[str] = ()) -> pa.Table:
    """The whole table in memory, files one after the other in the order of their names.

    Args:
        source: A file, a folder or a glob pattern.
        needs: Columns that must be there.

    Raises:
        TableError: Nothing is there, it cannot be read, has no rows, or lacks a column.
    """
    files = find(source)
    read = (list(pieces) for _, pieces in batches(files, 2**20))
    tables = [pa.Table.from_batches(pieces) for pieces in read if pieces]
    if not tables:
        raise TableError(f"{source}: the table has no rows")
    order = tables[0].column_names
    try:
        table = pa.concat_tables([each.select(order) for each in tables], promote_options="permissive")
    except pa.ArrowException as err:
        raise TableError(f"{source}: a column has types that do not go together in its files") from err
    check_columns(table.column_names, needs, str(source))
    return table


def check_columns(there: Sequence[str], needs: Sequence[str], source: str) -> None:
    """Return when every needed column is there.

    Raises:
        TableError: It names those that are not, and what there is.
    """
    lacking = [name for name in needs if name not in there]
    if lacking:
        raise TableError(f"{source}: no column {', '.join(map(repr, lacking))}; it has {', '.join(there)}")


def batches(files: TableFiles, rows: int, *, exact: bool = False) -> Iterator[tuple[str, Iterator[pa.RecordBatch]]]:
    """The rows of each file, in order, in batches of at most ``rows``; all files have the same columns.

    Args:
        files: From ``find``.
        rows: In one batch.
        exact: Whether a CSV column of whole numbers that no double and no 64 bits can hold is read as text. Else it
            is read as floats, which is what a model takes, but which hides an edit of the last digits.

    Raises:
        TableError: A file cannot be read, names a column twice, or has other columns than the first.
    """
    as_text = _columns_of_text(files, exact=exact)
    first: tuple[str, list[str]] | None = None
    for name, path in files.paths.items():
        opened = _open_csv(path, as_text) if _is_csv(path) else _open_parquet(path)
        columns = _data_columns(opened)
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            raise TableError(f"{path}: the column {twice[0]!r} is there twice")
        if first is None:
            first = (name, columns)
        elif set(columns) != set(first[1]):
            odd = sorted(set(columns) ^ set(first[1]))
            raise TableError(f"{path}: has other columns than {first[0]}: {', '.join(odd)}")
        yield name, _pieces(path, opened, columns, rows)


def columns(files: TableFiles) -> list[str]:
    """The names of the columns, in the order of the first file.

    Raises:
        TableError: The first file cannot be read.
    """
    path = next(iter(files.paths.values()))
    if not _is_csv(path):
        return _data_columns(_open_parquet(path))
    try:
        with csv.open_csv(path) as stream:
            return [name for name in stream.schema.names if is_data(name)]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as err:
        raise TableError(_csv_reason(path, err)) from err


def is_data(column: str) -> bool:
    """Whether a column is data, and not the row numbers that pandas writes beside it."""
    return not _PANDAS_INDEX.fullmatch(column)


def _is_csv(path: Path) -> bool:
    return path.name.lower().endswith(_CSV)


def _shared_folder(found: Sequence[Path]) -> Path:
    parents = [each.parent for each in found]
    shared = parents[0]
    while not all(parent == shared or shared in parent.parents for parent in parents):
        shared = shared.parent
    return shared


def _columns_of_text(files: TableFiles, *, exact: bool) -> tuple[str, ...]:
    """Columns that look like one kind in one CSV file and like another in the next: there, they are text."""
    spread = [path for path in files.paths.values() if _is_csv(path)]
    if len(spread) < 2 and not exact:  # noqa: PLR2004 - one file cannot disagree
        return ()
    seen: dict[str, set[str]] = {}
    for path in spread:
        table = _open_csv(path, ())
        for field in table.schema:
            seen.setdefault(field.name, set()).add(family(field.type))
        for name in _too_long(path, table) if exact else ():
            seen[name].add("text")
    return tuple(name for name, families in seen.items() if len(families - {"empty"}) > 1)


def _too_long(path: Path, table: pa.Table) -> list[str]:
    """Columns read as floats that hold whole numbers of more digits than a float has."""
    large = [
        field.name
        for field in table.schema
        if field.type == pa.float64() and (pc.max(pc.abs(table.column(field.name))).as_py() or 0) >= 2.0**53
    ]
    if not large:
        return []
    spelled = _open_csv(path, large)
    return [name for name in large if pc.any(pc.match_substring_regex(spelled.column(name), _LONG)).as_py()]


def _open_csv(path: Path, as_text: Sequence[str]) -> pa.Table:
    try:
        # One block, so that every value of a column has its say in the column's type.
        block = max(2**20, min(path.stat().st_size + 1, _LARGEST_BLOCK))
        if not path.name.lower().endswith(".csv"):
            block = _LARGEST_BLOCK // 4  # compressed: the size on disk says little
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(block_size=block),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(as_text, pa.string())),
        )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as err:
        raise TableError(_csv_reason(path, err)) from err
    for at, field in enumerate(table.schema):
        if field.type == pa.string():  # CSV has no other way to say "missing"
            column = table.column(at)
            nothing = pc.equal(column, "")
            table = table.set_column(at, field.name, pc.if_else(nothing, pa.scalar(None, pa.string()), column))
    return table


def _open_parquet(path: Path) -> parquet.ParquetFile:
    try:
        return parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as err:
        raise TableError(f"{path}: cannot be read as Parquet; it is damaged or of another format") from err


def _data_columns(opened: pa.Table | parquet.ParquetFile) -> list[str]:
    names = opened.column_names if isinstance(opened, pa.Table) else opened.schema_arrow.names
    return [name for name in names if is_data(name)]


def _pieces(
    path: Path, opened: pa.Table | parquet.ParquetFile, columns: list[str], rows: int
) -> Iterator[pa.RecordBatch]:
    if isinstance(opened, pa.Table):
        yield from opened.select(columns).to_batches(max_chunksize=rows)
        return
    try:
        yield from opened.iter_batches(batch_size=rows, columns=columns)
    except (pa.ArrowException, OSError) as err:
        raise TableError(f"{path}: cannot be read as Parquet; its data pages are damaged") from err


def _csv_reason(path: Path, err: Exception) -> str:
    """Where a CSV file is malformed, without the values that the reader's message quotes."""
    if isinstance(err, OSError) and err.strerror:
        return f"{path}: cannot be read: {err.strerror}"
    if "Empty CSV" in str(err):
        return f"{path}: the file is empty"
    where = re.search(r"(Row #\d+: )?Expected \d+ columns, got \d+", str(err))
    return f"{path}: cannot be read as CSV" + (f": {where[0]}" if where else "; it is damaged or of another format")
