"""Deletes recorded days that nobody needs any more, and says which, and what still needs the others."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assay.engines.files import RECORDED, REPLACED, recorded_span
from assay.errors import StorageError
from assay.monitoring.partitions import drop_labels, recorded_files

DAY = timedelta(days=1)
EVER = datetime(1, 1, 1, tzinfo=UTC)
LATEST = 0.99
"""The share of labels that have come after what counts as their delay: one that was forgotten keeps no day for ever."""


@dataclass(frozen=True, slots=True)
class Need:
    """Something that still reads recorded rows.

    Attributes:
        what: ``windows``, ``reference``, ``incident 3``, ….
        since: It needs every row from here on.
        detail: One sentence that says why.
    """

    what: str
    since: datetime
    detail: str


@dataclass(frozen=True, slots=True)
class Doomed:
    """Recorded days that are to be deleted.

    Attributes:
        before: They end by this, midnight UTC.
        files: All their files.
        rows: Rows in them.
        bytes: Size of the files.
        first: Start of the first of their days; None when there is none.
        digest: SHA-256, in hex, over the sorted lines ``NAME SHA-256`` of the files that held the rows.
    """

    before: datetime
    files: tuple[Path, ...]
    rows: int
    bytes: int
    first: datetime | None
    digest: str


def floor_of(needs: Iterable[Need]) -> datetime | None:
    """The earliest row that is still needed; None when none is."""
    return min((need.since for need in needs), default=None)


def label_delay(rows: pa.Table) -> timedelta | None:
    """How long after its row a label comes, but for the slowest in a hundred; None where none has come.

    Args:
        rows: The time of each row, and when its label came: text or a date counts as no time.
    """
    time, came = (_instants(column) for column in rows.columns)
    if time is None or came is None:
        return None
    late = pc.drop_null(pc.subtract(came, time)).cast(pa.int64())
    slow = pc.quantile(late, LATEST, interpolation="higher")[0].as_py() if len(late) else None
    return timedelta(microseconds=max(0, slow)) if slow is not None else None


def _instants(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    if not pa.types.is_timestamp(column.type):
        return None
    return column.cast(pa.timestamp("us"), safe=False)


def midnight(at: datetime) -> datetime:
    """The start of the UTC day that a time is in: whole days are deleted, or nothing."""
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def doom(folder: Path, before: datetime) -> Doomed:
    """Find what lies before a day; deletes nothing. A file that cannot be read counts no rows.

    Args:
        folder: A Recorder's folder; the caller holds it `alone`.
        before: Midnight UTC.

    Raises:
        StorageError: A file cannot be read from the disk, or a day is a link.
        TableError: When what compaction has written down cannot be read.
    """
    every, live = [], set()
    rows = size = 0
    first: datetime | None = None
    lines = []
    for day in sorted(folder.glob("date=*")):
        span = recorded_span(f"{day.name}/{'0' * 32}.parquet")
        if span is None or span[1] > before:
            continue
        if day.is_symlink():  # what lies behind it may be another model's
            raise StorageError(f"{day} is a link: nothing is deleted behind it; take the link away")
        live = set(recorded_files(folder, day.name))
        for path in sorted(path for path in day.glob("**/*.parquet") if RECORDED.search(path.as_posix())):
            if not path.is_file():
                continue
            first = first or span[0]
            every.append(path)
            try:
                size += path.stat().st_size
                if path in live:
                    with path.open("rb") as file:
                        digest = hashlib.file_digest(file, "sha256").hexdigest()
                    lines.append(f"{path.relative_to(folder).as_posix()} {digest}\n")
            except OSError as err:
                raise StorageError(f"{path} cannot be read: {err.strerror}") from err
            rows += _rows(path) if path in live else 0
    told = hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
    return Doomed(before, tuple(every), rows, size, first, told)


def _rows(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        return 0


def delete(folder: Path, doomed: Doomed) -> int:
    """Delete these files, and labels that wait for a row that was in them. Killed and run again, the rest is deleted.

    Args:
        folder: The same folder; the caller holds it `alone`.
        doomed: What `doom` found.

    Returns:
        Labels that were deleted: known before that day, so their rows are older.

    Raises:
        StorageError: The disk refused; what is left is found again.
    """
    try:
        for path in doomed.files:
            path.unlink(missing_ok=True)
        for place in sorted({path.parent for path in doomed.files}, reverse=True):
            if place.name.startswith("hour="):
                _leave(place)
        for day in {
            path.parent if path.parent.name.startswith("date=") else path.parent.parent for path in doomed.files
        }:
            (day / REPLACED).unlink(missing_ok=True)
            _leave(day)
        return drop_labels(folder, doomed.before)
    except OSError as err:
        raise StorageError(f"{err.filename or folder} cannot be deleted: {err.strerror}; check the disk") from err


def _leave(place: Path) -> None:
    """Take a folder away, unless something is in it: a late row may come at any moment."""
    try:
        place.rmdir()
    except OSError as err:
        if err.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT}:
            raise
