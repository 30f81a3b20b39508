"""How many different values there are: a rounded tensor takes few."""

from __future__ import annotations

import numpy as np

from assay.artifacts.diff.decode import LAYOUTS, Floats, Words

MOST_DISTINCT = 4096  # 16 times the values of 8 bits
_PEEK = 8192  # unrounded numbers show more than MOST_DISTINCT values among the first so many
GROUP = 256  # elements looked at together: as many as 8 bits have codes
_GROUPS_A_BLOCK = 8
_SMALLEST_GROUP = 16
_TABLE_WIDTH = 2  # bytes: up to here every bit pattern has a place in a table


class Distinct:
    """Counts different bit patterns, up to :data:`MOST_DISTINCT` where elements are wider than 16 bits.

    Args:
        dtype: A key of :data:`~assay.artifacts.diff.decode.LAYOUTS`.
    """

    def __init__(self, dtype: str) -> None:
        width = LAYOUTS[dtype].width
        self._table = np.zeros(1 << (8 * width), dtype=np.bool_) if width <= _TABLE_WIDTH else None
        self._seen: Words | None = None
        self._many = False

    def take(self, words: Words) -> None:
        """Take the next elements."""
        if self._table is not None:
            self._table[words] = True
        elif not self._many:
            for part in (words[:_PEEK], words[_PEEK:]):
                found = np.unique(part)
                self._seen = found if self._seen is None else np.union1d(self._seen, found)
                self._many = self._seen.size > MOST_DISTINCT
                if self._many:
                    self._seen = None
                    return

    def count(self) -> int | None:
        """How many; None for more than are counted."""
        if self._table is not None:
            return int(np.count_nonzero(self._table))
        return None if self._many else (0 if self._seen is None else int(self._seen.size))


class Levels:
    """Compares how many different values OLD and NEW take in small groups of a row or of a column.

    A grid of b bits has at most ``2**b`` values in whatever shares a scale (a tensor, a row, a
    column, a group of weights); looking at groups inside one row and inside one column finds all of these.

    Args:
        columns: Elements per row; for vectors all of them.
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._found = np.zeros((2, 2, 2))  # along rows, columns; old, new; different values, values

    def take(self, old: Floats, new: Floats) -> None:
        """Take the next whole rows, flat."""
        if self._columns < _SMALLEST_GROUP:
            self._along(0, old[:GROUP], new[:GROUP])
            starts = np.linspace(0, max(old.size - GROUP, 0), _GROUPS_A_BLOCK, dtype=np.int64)
            for start in np.unique(starts):
                self._along(0, old[start : start + GROUP], new[start : start + GROUP])
            return
        rows = old.size // self._columns
        before, after = old.reshape(rows, -1), new.reshape(rows, -1)
        for row in np.unique(np.linspace(0, rows - 1, _GROUPS_A_BLOCK, dtype=np.int64)):
            self._along(0, before[row, :GROUP], after[row, :GROUP])
        for column in np.unique(np.linspace(0, self._columns - 1, _GROUPS_A_BLOCK, dtype=np.int64)):
            self._along(1, before[:GROUP, column], after[:GROUP, column])

    def _along(self, way: int, old: Floats, new: Floats) -> None:
        kept_old, kept_new = old[old != 0], new[new != 0]
        if min(kept_old.size, kept_new.size) < _SMALLEST_GROUP:
            return
        for side, kept in enumerate((kept_old, kept_new)):
            self._found[way, side] += (np.unique(kept).size, kept.size)

    def ratio(self) -> float:
        """Share of different values in NEW relative to that in OLD; 1.0 when there was too little to see."""
        ratios = [(new[0] / new[1]) / (old[0] / old[1]) for old, new in self._found if old[1] and new[1]]
        return float(min(ratios, default=1.0))


class Narrow:
    """Whether all values fit a narrower floating-point type exactly.

    Args:
        dtype: The type they are stored in.
    """

    def __init__(self, dtype: str) -> None:
        self._left = {"F32": ["F16", "BF16"], "F64": ["F16", "BF16", "F32"]}.get(dtype, [])

    def take(self, values: Floats) -> None:
        """Take the next values."""
        self._left = [kind for kind in self._left if _fits(values, kind)]

    def kind(self) -> str:
        """The narrowest type that fits; empty for none."""
        return self._left[0] if self._left else ""


def _fits(values: Floats, kind: str) -> bool:
    finite = values[np.isfinite(values)]
    with np.errstate(over="ignore", under="ignore"):
        if kind == "F16":
            return bool((finite.astype(np.float16) == finite).all())
        single = finite.astype(np.float32)
        fits = bool((single == finite).all())
    return fits and (kind == "F32" or not (single.view(np.uint32) & np.uint32(0xFFFF)).any())
