"""Reads small Parquet files of plain columns without a statement: to plan one takes longer than to count 1,000 rows.

Plain is what reads the same in every database: whole numbers, doubles, truth values, texts in UTF-8, and times in
microseconds. Of anything else `read` and the columns say None, and whoever asks writes a statement.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assay.engines.binning import UNDATED, Doubles, Longs
from assay.engines.files import PARQUET, RECORDED
from assay.engines.sql import EXACT_INTEGERS
from assay.engines.streaming import valid, values
from assay.engines.times import EARLIEST, LATEST

MOST_ROWS: Final = 1 << 16
"""Rows of all files together; of more, planning a statement takes no share of the time."""
MOST_BYTES: Final = 1 << 26
"""Bytes of all files together as they lie in memory, by what their ends say."""
MOST_FILES: Final = 64
KEPT_BYTES: Final = 1 << 20
"""A file of no more bytes is kept until the next is read."""

Mask = npt.NDArray[np.bool_]

_WHOLE: Final = frozenset({"INT32", "INT64"})
_REAL: Final = frozenset({"FLOAT", "DOUBLE"})


@dataclass(frozen=True, slots=True)
class Texts:
    """A column as texts.

    Attributes:
        words: The different texts.
        which: The place of each row's among them; -1 where there is none.
    """

    words: tuple[str, ...]
    which: Longs

    def told(self, rows: Mask) -> frozenset[str]:
        """The different texts of some rows."""
        return frozenset(_told(self.words, self.which[rows & (self.which >= 0)]))


def _told(words: tuple[str, ...], which: npt.NDArray[np.integer]) -> Iterable[str]:
    """The words at some places, each at least once."""
    used = np.bincount(which, minlength=len(words)) > 0
    return words if used.all() else compress(words, used.tolist())


@dataclass(frozen=True, slots=True)
class Column:
    """A column of one file.

    Attributes:
        family: What its values are.
        x: The values: numbers, truth values as 0 and 1, microseconds since 1970, or places among the words.
        there: Where there is one.
        full: Whether there is one in every row.
        words: The texts that places stand for.
    """

    family: str
    x: npt.NDArray[np.generic]
    there: Mask
    full: bool
    words: tuple[str, ...] = ()

    def doubles(self) -> Doubles | None:
        """The numbers, anything where there is none; None for a column of others."""
        if self.family not in {"integer", "number", "boolean"}:
            return None
        return self.x.astype(np.float64)

    def micros(self) -> Longs | None:
        """The times, `UNDATED` where there is none; None for a column of others, and for years beyond 1 to 9999."""
        if self.family != "time":
            return None
        found: Longs = np.where(self.there, self.x, UNDATED).astype(np.int64)
        return None if (((found < EARLIEST) & self.there) | (found > LATEST)).any() else found

    def said(self) -> Mask | None:
        """Where its text is not null; None for a column of times."""
        if self.family == "time":
            return None
        return self.there & ~np.isnan(self.x.astype(np.float64)) if self.family == "number" else self.there

    def different(self) -> frozenset[object] | None:
        """The different texts or whole numbers; None for a column of others."""
        if self.family not in {"text", "integer"}:
            return None
        found = self.x[self.there]
        return frozenset(
            _told(self.words, found.astype(np.int64)) if self.family == "text" else np.unique(found).tolist()
        )

    def texts(self) -> Texts | None:
        """The texts as `assay.engines.sql.text` writes them; None where that takes more than digits."""
        said = self.said()
        if said is None:
            return None
        if self.family == "text":
            which = self.x.astype(np.int64) if self.full else np.where(said, self.x, -1).astype(np.int64)
            if len(set(self.words)) < len(self.words):  # a file may have a word twice
                places = dict(zip(self.words, range(len(self.words)), strict=True))
                which = np.array([*(places[word] for word in self.words), -1], dtype=np.int64)[which]
            return Texts(self.words, which)
        numbers = np.where(said, self.x, 0)
        if self.family == "number" and not ((np.abs(numbers) <= EXACT_INTEGERS) & (np.floor(numbers) == numbers)).all():
            return None
        numbers = numbers if self.family == "integer" else numbers.astype(np.int64)
        different, found = np.unique(numbers, return_inverse=True)
        words = tuple(map(str, different.tolist()))
        if self.family == "boolean":
            words = tuple("true" if one else "false" for one in different.tolist())
        return Texts(words, np.where(said, found, -1).astype(np.int64))


@dataclass(frozen=True, slots=True)
class Plain:
    """The rows of one file.

    Attributes:
        rows: How many.
        nbytes: About how much memory all its columns take, by what its end says.
        columns: The columns that were asked for.
    """

    rows: int
    nbytes: int
    columns: Mapping[str, Column]


def read(files: Sequence[str], wanted: Collection[str]) -> list[Plain] | None:
    """Some columns of all files, file by file; None where a statement must be written.

    Args:
        files: CSV and Parquet files.
        wanted: The columns.
    """
    if not 0 < len(files) <= MOST_FILES or not all(file.endswith(PARQUET) for file in files):
        return None
    found: list[Plain] = []
    types: Mapping[str, str] | None = None
    rows = nbytes = 0
    for file in files:
        try:
            one = _kept(file, wanted) if len(files) == 1 else None
            one = one or _read(file, wanted, alone=len(files) == 1)
        except (pa.ArrowException, OSError, ValueError, KeyError):
            return None  # whoever reads it with a statement says why
        if one is None:
            return None
        mine = {name: column.family for name, column in one.columns.items()}
        rows, nbytes = rows + one.rows, nbytes + one.nbytes
        # Of files that differ, the type of a column is settled over all of them.
        if rows > MOST_ROWS or nbytes > MOST_BYTES or mine != (types or mine):
            return None
        types = mine
        found.append(one)
    return found


def _read(file: str, wanted: Collection[str], *, alone: bool) -> Plain | None:
    mark = _mark(file) if alone else None
    with pq.ParquetFile(file, read_dictionary=list(wanted)) as opened:
        rows = opened.metadata.num_rows
        nbytes = sum(opened.metadata.row_group(i).total_byte_size for i in range(opened.num_row_groups))
        types = _types(opened, wanted, alone=alone)
        if rows > MOST_ROWS or nbytes > MOST_BYTES or types is None:
            return None
        table = opened.read(columns=list(wanted), use_threads=False)
    found = {name: _column(table.column(name), kind) for name, kind in types.items()}
    columns = {name: one for name, one in found.items() if one is not None}
    if len(columns) < len(found) or any(len(one.x) != rows for one in columns.values()):
        return None
    one = Plain(rows, nbytes, columns)
    if mark is not None and nbytes <= KEPT_BYTES:
        _last.clear()
        _last[mark] = one
    return one


def _mark(file: str) -> tuple[object, ...] | None:
    """What a recorded file is known by; None for any other, which may be written to in place."""
    if RECORDED.search(file) is None:
        return None
    told = os.stat(file)  # noqa: PTH116 - a Path takes longer to make than its file to look up
    return file, told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns


_last: dict[tuple[object, ...], Plain] = {}
"""The last recorded file that was read alone: whoever asks what is strange about its rows counts them next."""


def _kept(file: str, wanted: Collection[str]) -> Plain | None:
    one = _last.get(_mark(file) or ())
    if one is None or not one.columns.keys() >= set(wanted):
        return None
    return Plain(one.rows, one.nbytes, {name: one.columns[name] for name in wanted})


def _types(opened: pq.ParquetFile, wanted: Collection[str], *, alone: bool) -> Mapping[str, str] | None:
    """What the columns hold, as the file itself says; None where one is not plain, or a name is there twice."""
    schema = opened.schema
    every = [schema.column(i) for i in range(len(schema))]
    names = [str(name).casefold() for name in opened.schema_arrow.names]
    if len(set(names)) < len(names) or ("filename" in names and not alone):  # then no statement tells files apart
        return None
    needed, found = set(wanted), dict[str, str]()
    for column in every:
        path = column.path
        if path not in needed:
            continue
        family = _family(column.physical_type, column.logical_type)
        if family is None or column.max_repetition_level or column.max_definition_level > 1 or path in found:
            return None
        found[path] = family
    return found if len(found) == len(needed) else None


def _family(physical: str, logical: pq.ParquetLogicalType) -> str | None:
    kind = logical.type
    if physical == "BYTE_ARRAY":
        return "text" if kind == "STRING" else None
    if physical == "INT64" and kind == "TIMESTAMP":
        return "time" if "timeUnit=microseconds" in str(logical) else None
    if kind not in {"NONE", "INT"}:
        return None
    if physical in _WHOLE:
        return "integer"
    if kind == "INT":
        return None
    return "number" if physical in _REAL else "boolean" if physical == "BOOLEAN" else None


def _column(chunks: pa.ChunkedArray, family: str) -> Column | None:
    """A column as it lies in memory; None where Arrow took it for something else than the file says."""
    if chunks.num_chunks != 1 and pa.types.is_dictionary(chunks.type):
        chunks = chunks.unify_dictionaries()
    array = chunks.chunk(0) if chunks.num_chunks == 1 else chunks.combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    kind = array.type
    has = valid(array)
    full = has is None
    there = np.ones(len(array), dtype=np.bool_) if has is None else has
    if family == "text" and pa.types.is_dictionary(kind) and pa.types.is_int32(kind.index_type):
        if not (pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type)):
            return None
        words = array.dictionary.to_pylist()  # a word that is no UTF-8 is a ValueError
        return None if None in words else Column(family, values(array.indices, np.int32), there, full, tuple(words))
    if family == "time" and pa.types.is_timestamp(kind) and kind.unit == "us":
        return Column(family, values(array, np.int64), there, full)
    if family == "boolean" and pa.types.is_boolean(kind):
        return Column(family, values(array.cast(pa.uint8()), np.uint8), there, full)
    if (family == "integer" and pa.types.is_integer(kind)) or (
        family == "number" and (pa.types.is_float32(kind) or pa.types.is_float64(kind))
    ):
        return Column(family, values(array, cast("type[np.float64]", kind.to_pandas_dtype())), there, full)
    return None
