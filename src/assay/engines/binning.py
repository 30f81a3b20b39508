"""Codes and counts of rows that come in batches, in memory that does not grow with the rows. Pure.

The SQL form of the same, `assay.engines.grouping`, takes twice as long: a database compares every number with five
edges, and hashes it once for each question. Here a number's bin is looked up and checked, and counting is adding one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from assay.engines.base import (
    MISSING,
    NEGATIVE_INFINITY,
    NOT_A_NUMBER,
    POSITIVE_INFINITY,
    UNREADABLE,
)

LOWEST: Final = NOT_A_NUMBER
"""The smallest code there is."""
CELLS: Final = 4096
"""Cells of the look-up; in each there should be one edge at most."""
MOST_STEPS: Final = 3
"""More edges than this in one cell are searched by halves."""
FEW: Final = 3
"""Up to so many edges are compared with, one after the other."""
BRIEF: Final = 64
"""Up to so many counts of one window are looked through one by one."""
DENSE: Final = 1 << 21
"""Counts of one question that are kept one by one; beyond, only those that are not zero are."""
UNDATED: Final = -9_200_000_000_000_000_000
"""Stands for a time that is not there, in microseconds since 1970."""

Codes = npt.NDArray[np.int32]
Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Clock = Literal["time", "label"]


class Edges:
    """Finds the bin of numbers: ``i`` where ``edges[i-1] < x <= edges[i]``, exactly.

    A number's cell never falls where the number grows, whatever is rounded. So all edges of lower cells are below the
    number, and counting begins behind them: the guess is never too high, and how far it may be too low is known.

    Args:
        edges: Increasing and finite.
    """

    def __init__(self, edges: Sequence[float]) -> None:
        self._edges = np.asarray(edges, dtype=np.float64)
        self._above = np.append(self._edges, np.inf)
        # The outer bins are what was hardly ever seen: the cells are spread over the others.
        inner = self._edges[1:-1] if len(edges) > 3 else self._edges  # noqa: PLR2004 - two outer edges and two inner
        self._low = float(inner[0]) if len(inner) else 0.0
        width = float(inner[-1]) - self._low if len(inner) else 0.0
        with np.errstate(over="ignore", divide="ignore"):
            self._scale = float(CELLS / np.float64(width)) if width > 0 else 0.0
        if not np.isfinite(self._scale):
            self._scale = 0.0
        self._guess = np.searchsorted(self._cells(self._edges), np.arange(CELLS)).astype(np.int32)
        with np.errstate(over="ignore"):
            least = self._cells(np.nextafter(self._edges, np.inf))  # cells of the least numbers above each edge
        behind = np.arange(1, len(self._edges) + 1) - self._guess.take(least)
        self._steps = int(behind.max(initial=0)) if self._scale else MOST_STEPS + 1

    def _cells(self, x: Doubles) -> Codes:
        with np.errstate(over="ignore", invalid="ignore"):
            place = (x - self._low) * self._scale
        np.fmax(np.fmin(place, CELLS - 1, out=place), 0, out=place)
        return place.astype(np.int32)

    def find(self, x: Doubles) -> Codes:
        """The bin of each number; of what is no number, any."""
        if len(self._edges) <= FEW:
            found = np.zeros(len(x), dtype=np.int32)
            for edge in self._edges:
                found += x > edge
            return found
        if self._steps > MOST_STEPS:
            return np.searchsorted(self._edges, x).astype(np.int32)
        found = self._guess.take(self._cells(x))
        for _ in range(self._steps):
            found += x > self._above.take(found)
        return found


edges_of = lru_cache(maxsize=256)(Edges)  # whoever counts again and again asks about the same


def bins(edges: Edges, x: Doubles, there: npt.NDArray[np.bool_] | None, known: npt.NDArray[np.bool_] | None) -> Codes:
    """The code of each number; see `assay.engines.base.Bins`.

    Args:
        edges: Where the bins end.
        x: The numbers; NaN where there is none.
        there: Where there is a number, NaN among them; None for everywhere.
        known: Where there is a value, readable or not; None for wherever there is a number.
    """
    found = edges.find(x)
    if not np.isfinite(x).all():
        least, most = float(np.fmin.reduce(x)), float(np.fmax.reduce(x))
        if least == -np.inf:
            found[x == -np.inf] = NEGATIVE_INFINITY
        if most == np.inf:
            found[x == np.inf] = POSITIVE_INFINITY
        found[np.isnan(x)] = NOT_A_NUMBER
    if there is not None:
        found[~there] = MISSING
        if known is not None:
            found[~there & known] = UNREADABLE
    return found


@dataclass(slots=True)
class Counter:
    """Adds up one question.

    Attributes:
        clock: Which time puts a row into a window.
        codes: Which of the batch's codes are asked for.
        sizes: How many values each code has, from `LOWEST` on.
        windows: How many windows there are.
        cells: Counts of one window.
    """

    clock: Clock
    codes: tuple[int, ...]
    sizes: tuple[int, ...]
    windows: int
    cells: int = field(init=False)
    _dense: Longs | None = field(default=None, init=False)
    _sparse: dict[int, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.cells = prod(self.sizes)

    def add(self, window: Longs, codes: Sequence[Codes], span: tuple[int, int], *, alone: bool) -> None:
        """Add a batch.

        Args:
            window: The window of each row by this clock, the first of the span being 1; 0 outside of them.
            codes: All codes of the batch.
            span: First window that the batch has rows in, and the last.
            alone: Whether all rows are in the first of them.
        """
        first, last = span
        if last < first:
            return
        key: Longs | int = 1 if alone and self.codes else window
        for at, size in zip(self.codes, self.sizes, strict=True):
            key = np.add(codes[at], key * size - LOWEST, dtype=np.int64)
        cells = self.cells
        width = (last - first + 2) * cells
        if width <= DENSE:
            found = np.bincount(key, minlength=width)[cells:width]
            if self.windows * cells <= DENSE:
                if self._dense is None and len(found) == self.windows * cells:
                    self._dense = found
                    return
                if self._dense is None:
                    self._dense = np.zeros(self.windows * cells, dtype=np.int64)
                self._dense[first * cells : (last + 1) * cells] += found
                return
            places = np.flatnonzero(found)
            numbers = found[places]
        else:
            places, numbers = np.unique(key, return_counts=True)
            places, numbers = places[places >= cells] - cells, numbers[places >= cells]
        for place, number in zip((places + first * cells).tolist(), numbers.tolist(), strict=True):
            self._sparse[place] = self._sparse.get(place, 0) + number

    def answer(self) -> dict[tuple[int, ...], int]:
        """The counts by window and codes; what is not there is zero."""
        if self._dense is not None and len(self.sizes) == self.windows == 1 and self.cells <= BRIEF:
            return {(0, code): n for code, n in enumerate(self._dense.tolist(), LOWEST) if n}
        if self._dense is not None:
            places = np.flatnonzero(self._dense)
            numbers = self._dense[places].tolist()
        else:
            places = np.fromiter(self._sparse, dtype=np.int64, count=len(self._sparse))
            numbers = list(self._sparse.values())
        columns: list[list[int]] = []
        for size in reversed(self.sizes):
            places, code = np.divmod(places, size)
            columns.append((code + LOWEST).tolist())
        columns.append(places.tolist())
        return dict(zip(zip(*reversed(columns), strict=True), numbers, strict=True))


@dataclass(slots=True)
class Places:
    """Which window a time is in, and what is outside of all.

    Attributes:
        cuts: Ends of the windows, increasing, microseconds.
        rows: Rows of each window so far.
        first: Earliest time in each.
        last: Latest time in each.
        before: Rows before the first cut.
        after: Rows at or after the last cut.
        undated: Rows without a time.
    """

    cuts: Longs
    rows: Longs = field(init=False)
    first: Longs = field(init=False)
    last: Longs = field(init=False)
    before: int = 0
    after: int = 0
    undated: int = 0

    def __post_init__(self) -> None:
        windows = len(self.cuts) - 1
        self.rows = np.zeros(windows, dtype=np.int64)
        self.first = np.full(windows, np.iinfo(np.int64).max)
        self.last = np.full(windows, np.iinfo(np.int64).min)

    def of(self, times: Longs) -> tuple[Longs, tuple[int, int]]:
        """The window of each time, and the first and last that any is in; outside of all, one less than the first."""
        place = np.searchsorted(self.cuts, times, side="right") - 1
        inside = (place >= 0) & (place < len(self.rows))
        if inside.all():
            return place, (int(place.min()), int(place.max())) if place.size else (0, -1)
        some = place[inside]
        if not some.size:
            return place, (0, -1)
        first = int(some.min())
        return np.where(inside, place, first - 1), (first, int(some.max()))

    def see(self, times: Longs) -> None:
        """Count the rows of each window, and remember its first and last time."""
        ordered = times if bool((times[1:] >= times[:-1]).all()) else np.sort(times)
        undated = int(np.searchsorted(ordered, UNDATED, side="right"))
        edges = np.searchsorted(ordered, self.cuts)
        self.undated += undated
        self.before += int(edges[0]) - undated
        self.after += len(ordered) - int(edges[-1])
        some = np.flatnonzero(np.diff(edges))
        self.rows[some] += np.diff(edges)[some]
        self.first[some] = np.minimum(self.first[some], ordered[edges[some]])
        self.last[some] = np.maximum(self.last[some], ordered[edges[some + 1] - 1])
