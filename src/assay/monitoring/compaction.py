"""Makes few files of the many that a Recorder writes; whoever reads meanwhile sees every row once.

A hidden list beside the files of a day tells which files hold the rows of which others. It is written first;
then the new files get their names. A listing that has a new file leaves out those whose rows it holds, a listing
made before has the old ones, and they stay for `GRACE` for whoever has begun to read them. Killed anywhere and run
again, all is there.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from assay.engines.files import REPLACED, recorded_span, replaced
from assay.errors import StorageError, TableError
from assay.findings import Finding, Severity
from assay.monitoring.partitions import alone, recorded_files, synced, write_whole
from assay.storage.clock import from_text, utc_text

GRACE: Final = timedelta(minutes=15)
"""How long files stay whose rows are in another one: longer than anyone reads after having listed them."""
CLOSED_FOR: Final = timedelta(minutes=10)
"""How long an hour, or a day, is over before its files are put together. Later rows are put to them the next time."""
MOST_BYTES: Final = 128 << 20
"""Bytes of columns, uncompressed, of one file made of several: what is in memory at once."""

_UNDER_WAY: Final = ".compacting"


@dataclass(frozen=True, slots=True)
class Compacted:
    """What `compact` did.

    Attributes:
        merged: Files whose rows are in another one now.
        made: The files that hold them.
        rows: Rows in these.
        removed: Files taken away whose rows were in another one since the last time.
        findings: Files that cannot be read, and were left as they are.
    """

    merged: int
    made: int
    rows: int
    removed: int
    findings: tuple[Finding, ...]


def compact(folder: Path, *, now: datetime, grace: timedelta = GRACE) -> Compacted:
    """Put the files of each hour that is over together, and those of each day that is over.

    Files of other types in one column stay apart, so that nothing is counted otherwise than before. A day that is a
    link stays as it is: another folder's files are locked by another lock.

    Args:
        folder: A Recorder's folder.
        now: The reading of the clock, timezone-aware.
        grace: How long replaced files stay for whoever has begun to read them.

    Raises:
        StorageError: There is no such folder, or the disk refused.
        TableError: When what an earlier compaction has written down cannot be read.
    """
    if not folder.is_dir():
        raise StorageError(f"there is no folder {folder} to compact")
    merged = made = rows = removed = 0
    findings: list[Finding] = []
    try:
        for day in sorted(folder.glob("date=*")):
            if day.is_symlink():
                continue
            with alone(folder):  # for one day at a time: labels need not wait for all of them
                removed += _clear(day, now, grace)
                if (day / REPLACED).exists():
                    continue  # files of the last time are still there for whoever reads them
                done = _compact_day(day, now, findings)
            merged += sum(len(old) for _, old, _ in done)
            made += len(done)
            rows += sum(number for _, _, number in done)
    except (OSError, pa.ArrowException) as err:
        raise StorageError(f"{folder} cannot be compacted: {type(err).__name__}; check the disk") from err
    return Compacted(merged, made, rows, removed, tuple(findings))


def _clear(day: Path, now: datetime, grace: timedelta) -> int:
    """Take away the files replaced the last time; and the list of them only when no listing can have them any more."""
    for left in day.glob(f"**/.*{_UNDER_WAY}*"):
        left.unlink(missing_ok=True)
    told = replaced(day)
    if not told:
        (day / REPLACED).unlink(missing_ok=True)
        return 0
    since, gone = _since(day)
    if since > now:  # a clock was ahead: the time of grace begins when it goes right
        _write_down(day, told, since=now, gone=gone)
        return 0
    if now - since < grace:
        return 0
    if gone:
        (day / REPLACED).unlink()
        synced(day)
        return 0
    taken = 0
    for new, old in told.items():
        if not (day / new).exists():  # killed before it got its name: the old ones are the rows
            continue
        for name in old:
            taken += (day / name).exists()
            (day / name).unlink(missing_ok=True)
    _write_down(day, told, since=now, gone=True)
    return taken


def _compact_day(day: Path, now: datetime, findings: list[Finding]) -> list[tuple[str, list[str], int]]:
    """Put files of one day together; gives each new file with those it replaces, and its rows."""
    done: list[tuple[str, list[str], int]] = []
    hidden: list[tuple[Path, Path]] = []
    for place, files in _units(day, now):
        for group in _alike(files, findings):
            new = place / f"{uuid.uuid4().hex}.parquet"
            under_way = new.with_name(f".{new.name}{_UNDER_WAY}")
            rows = _merge(group, under_way)
            hidden.append((under_way, new))
            done.append((_within(day, new), [_within(day, one) for one in group], rows))
    if done:
        _write_down(day, {new: old for new, old, _ in done}, since=now, gone=False)
        for under_way, new in hidden:
            under_way.replace(new)
        for place in {new.parent for _, new in hidden}:
            synced(place)
    return done


def _within(day: Path, path: Path) -> str:
    return path.relative_to(day).as_posix()


def _units(day: Path, now: datetime) -> Iterator[tuple[Path, list[Path]]]:
    """Files that belong together, and the folder of what is made of them: a day that is over, else its hours."""
    whole = recorded_span(f"{day.name}/{'0' * 32}.parquet")
    if whole is None:
        return
    files = recorded_files(day.parent, day.name)
    if whole[1] + CLOSED_FOR <= now:
        yield day, files
        return
    for hour in sorted({path.parent for path in files} - {day}):
        span = recorded_span(f"{day.name}/{hour.name}/{'0' * 32}.parquet")
        if span is not None and span[1] + CLOSED_FOR <= now:
            yield hour, [path for path in files if path.parent == hour]


def _alike(files: Sequence[Path], findings: list[Finding]) -> Iterator[list[Path]]:
    """Two files and more that have one type in each column they share, and fit into memory together."""
    groups: list[tuple[dict[str, pa.DataType], list[Path], int]] = []
    for path in files:
        try:
            head = pq.read_metadata(path)
            types = {field.name: field.type for field in head.schema.to_arrow_schema()}
        except (pa.ArrowException, OSError):
            detail = f"{path.name} is damaged: it was left as it is"
            findings.append(Finding("table.damaged", str(path), Severity.ERROR, detail))
            continue
        size = sum(head.row_group(place).total_byte_size for place in range(head.num_row_groups))
        for place, (known, group, room) in enumerate(groups):
            if size <= room and len(types) == len(head.schema.names) and _agree(known, types):
                groups[place] = (known | types, [*group, path], room - size)
                break
        else:
            groups.append((types, [path], MOST_BYTES - size))
    yield from (group for _, group, _ in groups if len(group) > 1)


def _agree(known: Mapping[str, pa.DataType], types: Mapping[str, pa.DataType]) -> bool:
    """Whether shared columns have one type; names that differ by case only are no shared column."""
    spelt = {name.casefold(): name for name in known}
    return all(
        known.get(name) == kind if name in known else name.casefold() not in spelt for name, kind in types.items()
    )


def _merge(files: Sequence[Path], path: Path) -> int:
    """Write the rows of all files into one, in the order of their times."""
    tables = [pq.ParquetFile(file).read() for file in files]
    whole = pa.concat_tables(tables, promote_options="default").combine_chunks()
    if "time" in whole.column_names:
        whole = whole.sort_by("time")
    write_whole(whole, path)
    rows = sum(len(table) for table in tables)
    if pq.read_metadata(path).num_rows != rows:
        raise OSError(f"{path.name} does not hold the {rows:,} rows written into it")
    return rows


def _since(day: Path) -> tuple[datetime, bool]:
    try:
        found = json.loads((day / REPLACED).read_bytes())
        return from_text(found["since"]), bool(found["gone"])
    except (ValueError, KeyError, TypeError) as err:
        raise TableError(f"{day / REPLACED} cannot be read ({type(err).__name__}): restore it from a backup") from err


def _write_down(day: Path, told: Mapping[str, Sequence[str]], *, since: datetime, gone: bool) -> None:
    """Write the list that readers go by, whole or not at all."""
    hidden = day / f"{REPLACED}{_UNDER_WAY}"
    hidden.unlink(missing_ok=True)
    with hidden.open("x", encoding="utf-8") as file:
        json.dump(
            {"since": utc_text(since), "gone": gone, "replaced": {new: list(old) for new, old in told.items()}}, file
        )
        file.flush()
        os.fsync(file.fileno())
    hidden.replace(day / REPLACED)
    synced(day)
