"""Finds the files of a source and reads the head of a CSV; touches the disk and decides nothing about rows."""

from __future__ import annotations

import csv
import glob
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from assay.engines.addresses import ARROW, ELSEWHERE, TABLE, shown
from assay.engines.base import Source
from assay.errors import TableError

PARQUET: Final = (".parquet", ".pq")
CSV: Final = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
HEAD_BYTES: Final = 1 << 20
DELIMITERS: Final = ",;\t|"

REPLACED: Final = ".replaced.json"
"""In a recorded day: which files hold the rows of which others, that are still there for whoever reads them now."""

# Only files that the Recorder names itself hold just the rows of their hour, or of their day when it was compacted.
RECORDED: Final = re.compile(r"(?:^|/)date=(\d{4}-\d{2}-\d{2})/(?:hour=(\d{2})/)?[0-9a-f]{32}\.parquet$")
_WITHIN = re.compile(r"(?:hour=[0-9]{2}/)?[0-9a-f]{32}\.parquet")
_DAY = re.compile(r"^(.*/)?date=\d{4}-\d{2}-\d{2}(?=/)")
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A CSV file and what its first line says.

    Attributes:
        path: Where it is.
        columns: The names in its header; an empty one is called ``column`` and its place from 0.
        delimiter: What separates the values.
    """

    path: str
    columns: tuple[str, ...]
    delimiter: str


def find(source: Source, *, since: datetime | None = None, until: datetime | None = None) -> tuple[str, ...]:
    """The files of a source, in the order of their names; each once.

    Args:
        source: Files, folders and patterns.
        since: Leave out recorded hours before this instant.
        until: Leave out recorded hours from this instant on.

    Raises:
        TableError: When a path names nothing, or a file is neither CSV nor Parquet.
    """
    found: dict[str, None] = {}
    for path in source.paths:
        for file in expand(path):
            if not file.endswith(PARQUET + CSV + ARROW):
                raise TableError(
                    f"{file} is neither CSV nor Parquet nor Arrow by its name: names end in "
                    f"{', '.join(PARQUET + CSV + ARROW)}"
                )
            found[file] = None
    there = without_replaced(found)
    if since is None and until is None:
        return there
    kept = tuple(file for file in there if may_hold(file, since, until))
    return kept or tuple(there)[-1:]  # one file at least, to know the columns


def expand(path: str) -> list[str]:
    """The tables that one path names, those of Arrow among them, in the order of their names.

    Raises:
        TableError: When it names nothing.
    """
    if path.startswith(TABLE):
        raise TableError(f'{path} is a table of Spark\'s: count it with engine = "spark"')
    if ELSEWHERE.match(path):
        raise TableError(
            f"{shown(path)} is no file here; tables are read from files, s3://BUCKET/KEY and postgresql://HOST/BASE#TABLE"
        )
    where = Path(path)
    if where.is_file():
        return [path]
    if where.is_dir():
        files = sorted(_inside(str(where)))
    elif _MAGIC.search(path):
        files = sorted(file for file in glob.glob(path, recursive=True) if Path(file).is_file())  # noqa: PTH207 - Path.glob takes no absolute pattern
    else:
        raise TableError(f"there is no file {path}")
    if not files:
        raise TableError(f"found no CSV or Parquet file for {path}")
    return files


def _inside(folder: str) -> list[str]:
    """The tables in a folder and in its folders; not in those that are linked."""
    found, waiting = [], [folder]
    while waiting:
        inside = waiting.pop()
        try:
            with os.scandir(inside) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith("."):
                        continue  # the Recorder writes under hidden names before it renames
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(name if inside == "." else entry.path)
                    elif name.endswith(PARQUET + CSV + ARROW) and entry.is_file():
                        found.append(name if inside == "." else entry.path)
        except (FileNotFoundError, PermissionError):
            continue  # gone since its name was read, or somebody else's
    return found


def without_replaced(files: Iterable[str]) -> tuple[str, ...]:
    """Leave out files whose rows are in another file of the same listing: compaction keeps them for a while.

    Args:
        files: A listing that was made before this call.

    Raises:
        TableError: When what compaction has written down cannot be read.
    """
    listed = dict.fromkeys(files)
    left = dict(listed)
    days = {match[0] for file in listed if (match := _DAY.match(file)) is not None}
    for day in days:
        for merged, old in replaced(Path(day)).items():
            if f"{day}/{merged}" in listed:
                for name in old:
                    left.pop(f"{day}/{name}", None)
    return tuple(left)


def replaced(day: Path) -> Mapping[str, Sequence[str]]:
    """Which files of a recorded day hold the rows of which others, as names within the day.

    Raises:
        TableError: When what compaction has written down cannot be read.
    """
    try:
        found = json.loads((day / REPLACED).read_bytes())["replaced"]
        names = {str(merged): [str(name) for name in old] for merged, old in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise TableError(f"{day / REPLACED} cannot be read ({type(err).__name__}): restore it from a backup") from err
    for merged, old in names.items():
        for name in (merged, *old):  # these are removed one day: no name may lead elsewhere
            if _WITHIN.fullmatch(name) is None:
                raise TableError(
                    f"{day / REPLACED} names {name!r}, which is no file of a recorded day: somebody edited it"
                )
    return names


def recorded_span(file: str) -> tuple[datetime, datetime] | None:
    """From when to when a Recorder's file has rows, by its name; None for any other file."""
    match = RECORDED.search(Path(file).as_posix())
    if match is None:
        return None
    try:
        start = datetime.fromisoformat(f"{match[1]}T{match[2] or '00'}:00:00").replace(tzinfo=UTC)
        return start, start + (timedelta(hours=1) if match[2] else timedelta(days=1))
    except (ValueError, OverflowError):
        return None


def may_hold(file: str, since: datetime | None, until: datetime | None) -> bool:
    """Whether a file may hold rows of this time, by the name the Recorder gave it."""
    span = recorded_span(file)
    if span is None:
        return True
    return not ((since is not None and span[1] <= since) or (until is not None and span[0] >= until))


def forbidden(path: str) -> TableError:
    """The error for a file that this user may not read."""
    return TableError(
        f"cannot read {path}: permission denied; let the user that runs assay read it (its owner and mode, and those "
        "of its folders)",
        files=[path],
    )


def is_forbidden(path: str) -> bool:
    """Whether this user may not read a file."""
    try:
        with Path(path).open("rb"):
            return False
    except PermissionError:
        return True
    except OSError:
        return False


def read_head(path: str) -> CsvFile:
    """Read the header of a CSV file.

    The first line always is the header, and the separator is the one of ``, ; tab |`` it holds most of.

    Raises:
        TableError: When the file is empty, is no UTF-8 text, or names a column twice.
    """
    try:
        with gzip.open(path, "rb") if path.endswith(".gz") else Path(path).open("rb") as file:
            raw = file.read(HEAD_BYTES)
    except PermissionError as err:
        raise forbidden(path) from err
    except (OSError, EOFError, zlib.error) as err:
        raise TableError(f"cannot read {path}: it is damaged ({type(err).__name__})", files=[path]) from err
    text = raw.decode("utf-8-sig", errors="replace")  # a character may be cut in half at the end
    first = text.splitlines()[0] if text.strip() else ""
    if not first:
        raise TableError(f"{path} is empty: the first line must name the columns", files=[path])
    delimiter = max(DELIMITERS, key=first.count)
    try:
        names = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except (csv.Error, StopIteration) as err:
        raise TableError(f"the first line of {path} names no columns: {err}", files=[path]) from err
    if any("\ufffd" in name for name in names):
        raise TableError(f"the column names of {path} are not UTF-8 text", files=[path])
    columns = tuple(name or f"column{i}" for i, name in enumerate(names))
    refuse_twins(path, columns)
    return CsvFile(path, columns, delimiter)


def refuse_twins(path: str, columns: Sequence[str]) -> None:
    """Refuse two columns whose names differ by case only: SQL engines cannot tell them apart.

    Raises:
        TableError: When there are two, naming them.
    """
    seen: dict[str, str] = {}
    for column in columns:
        twin = seen.get(column.casefold())
        if twin is not None:
            raise TableError(f"{path} has columns {twin!r} and {column!r}, which SQL cannot tell apart: rename one")
        seen[column.casefold()] = column
