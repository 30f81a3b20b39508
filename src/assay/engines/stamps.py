"""Says which recorded files a table is made of and whether they are what they were; reads no row.

A file that the Recorder names holds the rows of its hour or day alone, and is replaced whole. So as long as the files
of an hour have the same stamps, its rows are the same.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from assay.engines.base import Source
from assay.engines.bringing import at_hand
from assay.engines.files import PARQUET, find, recorded_span
from assay.errors import TableError

_KNOWN: Final = 1 << 15
"""Files whose stamps and columns are kept."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """A recorded file as it is now.

    Attributes:
        path: Where it is.
        first: The first instant it may hold, by its name.
        end: The first instant after that.
        size: In bytes.
        identity: Device, inode, and when its bytes and its entry were last changed, in nanoseconds.
    """

    path: str
    first: datetime
    end: datetime
    size: int
    identity: tuple[int, int, int, int]

    def may_hold(self, since: datetime | None, until: datetime | None) -> bool:
        """Whether it may hold rows of this time; see `assay.engines.files.may_hold`."""
        return not ((since is not None and self.end <= since) or (until is not None and self.first >= until))


def stamped(source: Source) -> tuple[Stamp, ...] | None:
    """The files of a source in the order of their names; None where one of them was not recorded, or is not here.

    Args:
        source: A table.
    """
    if source.table is not None:
        return None
    try:
        found = [_stamp(file) for file in find(source)]
    except (TableError, OSError):
        return None  # whoever reads it says why
    known = [one for one in found if one is not None]
    return tuple(known) if len(known) == len(found) else None


_span = lru_cache(maxsize=_KNOWN)(recorded_span)


def _stamp(file: str) -> Stamp | None:
    span = _span(file) if file.endswith(PARQUET) else None
    if span is None:
        return None
    told = os.stat(file)  # noqa: PTH116 - a Path takes longer to make than its file to look up
    return _same(file, *span, told.st_size, (told.st_dev, told.st_ino, told.st_mtime_ns, told.st_ctime_ns))


_same = lru_cache(maxsize=_KNOWN)(Stamp)
"""The stamp of a file: one and the same while the file is as it was, so that comparing it takes no time."""


@dataclass(frozen=True, slots=True)
class Files:
    """A table, and its files where each can be read by itself.

    Attributes:
        source: The table.
        stamps: Its files; empty where some were not recorded or are not here, and where they differ in their columns:
            then the types of a column are settled over all of them.
        types: Names and types of the columns of all files, in one digest; empty without stamps.
        recorded: All its files with how many rows each has, also where they differ in their columns; empty where some
            were not recorded, are not here or cannot be read.
    """

    source: Source
    stamps: tuple[Stamp, ...] = ()
    types: str = ""
    recorded: tuple[tuple[Stamp, int], ...] = ()

    @classmethod
    def of(cls, source: Source) -> Files:
        """Look at a table."""
        stamps = stamped(source) or ()
        told = [_footer(one) for one in stamps]
        known = [(one, rows) for one, (_, rows) in zip(stamps, told, strict=True) if rows is not None]
        recorded = tuple(known) if len(known) == len(told) else ()
        types = {columns for columns, _ in told}
        return cls(source, stamps, types.pop(), recorded) if len(types) == 1 else cls(source, recorded=recorded)

    def newest(self) -> Source:
        """A part that has the columns of the whole."""
        return Source((self.stamps[-1].path,)) if self.stamps else self.source

    def some(self, since: datetime | None, until: datetime | None) -> Source:
        """The part that an engine reads for these times: it need not look for it again.

        Args:
            since: First instant that is asked about; None for the first there is.
            until: The first instant after that; None for the last there is.
        """
        kept = (one.path for one in self.stamps if one.may_hold(since, until))
        return Source(tuple(kept) or self.newest().paths) if self.stamps else self.source


@contextmanager
def files_at_hand(source: Source) -> Iterator[Files]:
    """A table's files as CSV and Parquet files here; see `assay.engines.bringing.at_hand`.

    Recorded files are here: their folders are listed once.

    Args:
        source: Files, folders, patterns and addresses.

    Raises:
        TableError: When something cannot be read.
    """
    files = Files.of(source)
    if files.stamps:
        yield files
        return
    with at_hand(source) as here:
        yield files if here is source else Files.of(here)


def ids_of(paths: Sequence[str], column: str) -> frozenset[object] | None:
    """The different values of a column of recorded files; None where they are neither texts nor whole numbers.

    Args:
        paths: The files.
        column: The column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from assay.engines import plain

    if (read := plain.read(paths, [column])) is not None:
        each = [one.columns[column].different() for one in read]
        return None if None in each else frozenset[object]().union(*(ids for ids in each if ids is not None))
    found: set[object] = set()
    for path in paths:
        try:
            table = pq.ParquetFile(path).read(columns=[column])
        except (pa.ArrowException, OSError):
            return None
        kind = table.schema.types[0] if table.column_names == [column] else pa.null()
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
            return None
        found.update(table.column(0).to_pylist())
    return frozenset(found - {None})


@lru_cache(maxsize=_KNOWN)
def _footer(stamp: Stamp) -> tuple[str, int | None]:
    """Names and types of a file's columns in one digest, and how many rows it has; None where it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(stamp.path) as file:
            schema, rows = file.schema.to_arrow_schema(), int(file.metadata.num_rows)
    except (pa.ArrowException, OSError):
        return stamp.path, None  # like no other: whoever reads it says why
    return hashlib.sha256(str(schema.remove_metadata()).encode()).hexdigest(), rows
