"""Reads baselines and windows back from the state: every text is fetched and compared, but parsed once in a process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from sqlalchemy import Connection, bindparam, select

from assay.errors import BaselineError, StorageError
from assay.monitoring.baseline import Baseline
from assay.monitoring.signals import WindowCounts
from assay.storage.tables import baselines
from assay.storage.tables import windows as windows_table

# Only digests are put in order: sorting the bodies takes a database longer than reading one.
_NEWEST: Final = select(baselines.c.digest, baselines.c.body).where(
    baselines.c.digest
    == select(baselines.c.digest)
    .where(baselines.c.model == bindparam("of_model"))
    .order_by(baselines.c.created.desc(), baselines.c.digest)
    .limit(1)
    .scalar_subquery()
)
_COUNTED: Final = (  # a window's summary is for charts, and longer than its counts
    select(windows_table.c.start, windows_table.c.end, windows_table.c.rows, windows_table.c.counts)
    .where(windows_table.c.model == bindparam("of_model"), windows_table.c.baseline == bindparam("of_baseline"))
    .where(windows_table.c.start >= bindparam("since"))
    .order_by(windows_table.c.start)
)


class StoredBaseline(NamedTuple):
    """A baseline as it is stored: looked up by its digest, and the same where every letter is.

    Attributes:
        digest: What it is kept under.
        body: Its JSON.
    """

    digest: str
    body: str

    def __hash__(self) -> int:
        return hash(self.digest)

    def intact(self, model: str) -> Baseline:
        """The baseline.

        Args:
            model: Whose it is, for the error.

        Raises:
            BaselineError: What is stored is no baseline, or another than was stored.
        """
        try:
            return _verified(self)
        except ValueError as err:
            raise BaselineError(f"the stored baseline of {model} was edited: learn it again") from err


class _StoredWindow(NamedTuple):
    """A window as it is stored: looked up by its start and rows, and the same where every letter is."""

    start: str
    end: str
    rows: int
    counts: str

    def __hash__(self) -> int:
        return hash((self.start, self.rows))


def newest_baseline(connection: Connection, model: str) -> StoredBaseline | None:
    """The newest baseline of a model; None when it has none."""
    row = connection.execute(_NEWEST, {"of_model": model}).first()
    return None if row is None else StoredBaseline(*row)


def windows_since(connection: Connection, model: str, baseline: str, since: str = "") -> tuple[WindowCounts, ...]:
    """The windows counted for a baseline, in time order.

    Args:
        connection: An open transaction.
        model: The model's name.
        baseline: The baseline's digest.
        since: Start of the first that is wanted; all without.

    Raises:
        BaselineError: What is stored is no window.
        StorageError: It is no JSON.
    """
    asked = {"of_model": model, "of_baseline": baseline, "since": since}
    rows = connection.execute(_COUNTED, asked).all()
    return tuple(_parsed(_StoredWindow(*row)) for row in rows)


@lru_cache(maxsize=8)
def _verified(stored: StoredBaseline) -> Baseline:
    baseline = Baseline.parse(stored.body)
    if baseline.digest != stored.digest:
        raise ValueError(stored.digest)
    return baseline


@lru_cache(maxsize=4096)
def _parsed(stored: _StoredWindow) -> WindowCounts:
    counts = json_of(stored.counts)
    return WindowCounts.parse({"start": stored.start, "end": stored.end, "rows": stored.rows, "counts": counts})


def json_of(text: str) -> Mapping[str, object]:
    """What a stored text says.

    Raises:
        StorageError: It is no JSON object.
    """
    try:
        found = json.loads(text)
    except ValueError as err:
        raise StorageError("a monitoring row cannot be read: the database was edited") from err
    if not isinstance(found, Mapping):
        raise StorageError("a monitoring row cannot be read: the database was edited")
    return found
