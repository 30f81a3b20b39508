"""Brings tables from elsewhere to files that an engine reads, for as long as they are asked about.

Whoever asks more than once opens `at_hand` around all of it: then a database is read once, and all answers are about
the same rows. An engine that is given an address brings it for each question.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from assay.engines.addresses import ARROW, DATABASE, S3, TABLE, shown
from assay.engines.base import Source
from assay.engines.files import CSV, PARQUET, expand, find
from assay.errors import TableError

_CALLED: Final[dict[str, str]] = {}
"""What the files are called that are here now."""


@contextmanager
def at_hand(source: Source, *, since: datetime | None = None, until: datetime | None = None) -> Iterator[Source]:
    """The source as CSV and Parquet files here; itself where it is that, or a table in memory, or one of Spark's.

    Args:
        source: Files, folders, patterns and addresses.
        since: Leave out recorded hours before this instant.
        until: Leave out recorded hours from this instant on.

    Raises:
        TableError: When something cannot be read; in errors about brought rows too, the address stands for them.
    """
    if source.table is not None or not any(map(_elsewhere, source.paths)):
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="assay-brought-") as folder:
        names: dict[str, str] = {}
        for path in source.paths:
            names |= dict(_brought(path, Path(folder), len(names), since, until))
        _CALLED.update(names)
        try:
            yield Source(tuple(names))
        except TableError as err:
            raise _renamed(err, names) from err
        finally:
            for name in names:
                _CALLED.pop(name, None)


def _elsewhere(path: str) -> bool:
    if path.startswith(S3) or DATABASE.match(path) or path.endswith(ARROW):
        return True
    if path.startswith(TABLE) or path.endswith(PARQUET + CSV):
        return False
    try:
        return any(file.endswith(ARROW) for file in expand(path))
    except TableError:
        return False  # whoever reads it says why


def _brought(
    path: str, folder: Path, number: int, since: datetime | None, until: datetime | None
) -> Iterator[tuple[str, str]]:
    """The files of a path, and what each is called in an error."""
    here = folder / f"{number:08}.parquet"
    if DATABASE.match(path):
        from assay.engines.sources import postgresql

        postgresql.bring(path, here)
        yield str(here), shown(path)
        return
    if path.startswith(S3):
        from assay.engines.sources import s3

        files = {file: shown(path) for file in s3.bring(path, since=since, until=until)}
    else:
        files = {file: file for file in find(Source((path,)), since=since, until=until)}
    for place, (file, said) in enumerate(files.items()):
        if file.endswith(ARROW):
            from assay.engines.sources import arrow

            written = folder / f"{number:08}-{place:08}.parquet"
            try:
                arrow.bring(file, written)
            except TableError as err:
                raise _renamed(err, {file: said}) from err
            yield str(written), said
        else:
            yield file, said


def _renamed(err: TableError, names: Mapping[str, str]) -> TableError:
    message = err.message
    for file, said in names.items():
        message = message.replace(file, said)
    return TableError(message, files=(names.get(file, file) for file in err.files))


def called(file: str) -> str:
    """What a file is called for a person: of one that was brought here, where it is from."""
    return _CALLED.get(file, file)
