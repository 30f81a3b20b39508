"""Recognises a reference that was drawn at random from the time it shares with other rows.

Rows that were split at random and not by time know the days they are judged on: neighbours in time lie on both sides. A
model looks better on such a hold-out than it will be, so the first honest day looks like drift. The mark of it: the
time both tables share is cut into small cells, and nearly every cell has rows of both. Tables that follow each other
share no cell but one, and whole days or weeks taken in turn share only the cells at their borders.

A reference that is a piece of the very same log has its rows in every cell, as many and at the same times, and is no
split: its time is judged once more, and the time behind it honestly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from assay.engines.base import CountQuery, Engine, Source, Span
from assay.errors import BaselineError
from assay.findings import Finding, Severity
from assay.monitoring.stray import look

OPTION: Final = "--random-split"
"""The option that says: it was on purpose."""

PER_CELL: Final = 20
"""Rows of both tables in a cell, on average."""
MOST_CELLS: Final = 2000
FEWEST_ROWS: Final = 40
"""Rows of each table in the shared time below which nothing can be said."""
SHARED: Final = 0.5
"""Share of one table's rows that must lie in the shared time; less is an overlap at the end."""
MIXED: Final = 0.5
"""Share of what a random split would mix; days taken in turn mix only their borders."""
SAME: Final = 0.9
"""Share of cells in which both tables have as many rows, and the first and the last at the same time: one log."""

_DAY: Final = timedelta(days=1)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)
_INSTANT: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Split:
    """A reference that lies in the same time as other rows, and between them.

    Attributes:
        first: First instant of the shared time.
        last: Last instant of it.
        cells: Into how many cells it was cut: those with rows.
        mixed: How many of them have rows of both tables.
        reference: Share of the reference's rows in the shared time.
        other: Share of the other rows in it.
    """

    first: datetime
    last: datetime
    cells: int
    mixed: int
    reference: float
    other: float


def find_split(
    engine: Engine, reference: Source, other: Source, time: str, *, since: datetime | None = None
) -> Split | None:
    """Whether the reference looks drawn at random from the time of other rows; None when it does not.

    Args:
        engine: What reads the tables.
        reference: Rows of when the model was known to work.
        other: Rows that are monitored, or that the model was trained on.
        time: Their time column; where a table lacks it nothing can be said.
        since: Only other rows from here on count: a deployment.

    Raises:
        TableError: When a table cannot be read.
    """
    if any(time not in engine.columns(source) for source in (reference, other)):
        return None
    spans = engine.span(reference, time), engine.span(other, time)
    found = _within(engine, (reference, other), time, spans, since)
    if found is None:
        return None
    # Rows of 1970 in both tables would put all others into one cell.
    seen = [look(engine, source, time, _DAY, now=_LATEST) for source in (reference, other)]
    narrow = [replace(span, first=one.first, last=one.last) for span, one in zip(spans, seen, strict=True)]
    return _within(engine, (reference, other), time, narrow, since) if narrow != list(spans) else found


def _within(
    engine: Engine, sources: Sequence[Source], time: str, spans: Sequence[Span], since: datetime | None
) -> Split | None:
    """The same of the time that these spans share."""
    shared = _shared(spans[0], spans[1], since)
    if shared is None:
        return None
    first, last = shared
    rows = sum(span.rows - span.undated for span in spans)
    cuts = _cuts(first, last, cells=min(MOST_CELLS, max(1, rows // PER_CELL)))
    query = CountQuery(time, cuts, ())
    counted = [engine.counts(source, query).windows for source in sources]
    ours, theirs = (np.array([one.rows for one in windows], dtype=np.float64) for windows in counted)
    same = np.array([one == another for one, another in zip(*counted, strict=True)])
    shares = [
        float(inside.sum()) / max(span.rows - span.undated, 1)
        for inside, span in zip((ours, theirs), spans, strict=True)
    ]
    if min(ours.sum(), theirs.sum()) < FEWEST_ROWS or max(shares) < SHARED or not _interleaved(ours, theirs, same):
        return None
    there, both = (ours + theirs) > 0, (ours > 0) & (theirs > 0)
    return Split(first, last, int(there.sum()), int(both.sum()), shares[0], shares[1])


def allow(split: Split | None, *, meant: bool, other: str) -> tuple[Finding, ...]:
    """Refuse a reference that was drawn at random, or, where that is meant, say so in a finding.

    Args:
        split: What was found; None is fine.
        meant: Whether the user has said that it is on purpose.
        other: What the reference lies between, in words: ``the rows to judge``.

    Raises:
        BaselineError: It was found and is not meant; the message says what, and which option says otherwise.
    """
    if split is None:
        return ()
    found = (
        f"the reference looks like a random split: from {split.first:%Y-%m-%d} to {split.last:%Y-%m-%d} its rows lie "
        f"between {other}, in {split.mixed:,} of {split.cells:,} small pieces of that time "
        f"({split.reference:.0%} of the reference, {split.other:.0%} of the others)"
    )
    harm = "a model looks better on such rows than it will be"
    if not meant:
        raise BaselineError(
            f"{found}; {harm}, and the first honest day then looks like drift. Take a reference that ends before; "
            f"if this one is meant, say {OPTION}"
        )
    numbers = {"pieces": split.cells, "mixed": split.mixed}
    return (Finding("baseline.random-split", "reference", Severity.WARNING, f"{found}, as was told: {harm}", numbers),)


def _shared(reference: Span, other: Span, since: datetime | None) -> tuple[datetime, datetime] | None:
    if reference.first is None or reference.last is None or other.first is None or other.last is None:
        return None
    begins = [reference.first, other.first] + ([since] if since is not None else [])
    first, last = max(begins), min(reference.last, other.last)
    return (first, last) if last > first else None


def _cuts(first: datetime, last: datetime, *, cells: int) -> tuple[datetime, ...]:
    width = max((last - first) / cells, _INSTANT)
    return (*(first + width * i for i in range(int((last - first) / width))), last + _INSTANT)


def _interleaved(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64], same: npt.NDArray[np.bool_]) -> bool:
    """Whether rows of both share cells about as often as rows drawn at random would, and are not the same rows."""
    size, both = ours + theirs, (ours > 0) & (theirs > 0)
    share = float(ours.sum() / size.sum())
    expected = float((size * (1 - share**size - (1 - share) ** size)).sum())
    copied = float(same[both].mean()) if both.any() else 1.0
    return float(size[both].sum()) >= MIXED * expected > 0 and copied < SAME
