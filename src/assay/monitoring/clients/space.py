"""How far apart two queries are, and what is usual: learned from the reference, the same each time.

A query is a point: numbers in units of the reference's own spread, texts as equal or not. What is learned are two cuts,
each passed by one in a hundred rows of the reference: closer to one earlier row than to the others, and farther from
every row of the reference than its rows are from each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assay.engines.base import ColumnFamily
from assay.errors import TableError

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

SAMPLE: Final = 3072
"""Rows of the reference that are looked at: two thirds stand for all, a third sets the cuts."""

FEWEST: Final = 100
"""Rows of a reference from which cuts are learned."""

NEIGHBOURS: Final = (1, 8, 64)
"""A query is a near copy when its nearest earlier one is much nearer than its eighth nearest, or that than its 64th."""

CROWD: Final = 256
"""So many earlier queries of a client are remembered."""

RARELY: Final = 0.01
"""Share of the reference that passes each cut."""

_FARTHEST: Final = 8.0  # beyond so many spreads all values are alike: one wild column must not hide the others
_CLOSEST, _LOOSEST = 0.02, 0.5
_SAME: Final = 1e-9
_UNIQUE: Final = 0.5  # texts that mostly name their row say nothing about what was asked


@dataclass(frozen=True, slots=True)
class Points:
    """Queries as points.

    Attributes:
        numbers: In spreads of the reference, (n, numeric columns).
        texts: Codes of texts, equal where the texts are, (n, text columns).
    """

    numbers: Floats
    texts: Codes

    def __len__(self) -> int:
        return len(self.numbers)

    def pick(self, rows: npt.NDArray[np.intp] | slice) -> Points:
        """Some of them."""
        return Points(self.numbers[rows], self.texts[rows])

    def then(self, other: Points) -> Points:
        """These, then others."""
        return Points(np.concatenate([self.numbers, other.numbers]), np.concatenate([self.texts, other.texts]))


@dataclass(frozen=True, slots=True)
class Space:
    """What is usual among queries.

    Attributes:
        numeric: Columns read as numbers.
        textual: Columns read as texts.
        centre: Median of each numeric column.
        spread: Unit of each numeric column.
        landmarks: Rows of the reference that stand for all.
        close: Two cuts: a near copy has its nearest earlier query nearer than this share of the distance to its eighth
            nearest, or that nearer than this share of the distance to its 64th.
        far: A query farther from every landmark than this is far from all that is usual.
        digest: SHA-256 of all that; counts of other spaces are other counts.
    """

    numeric: tuple[str, ...]
    textual: tuple[str, ...]
    centre: Floats
    spread: Floats
    landmarks: Points
    close: tuple[float, float]
    far: float
    digest: str

    @classmethod
    def learn(cls, rows: pa.Table, families: Mapping[str, ColumnFamily], features: Sequence[str]) -> Space:
        """Learn from a sample of the reference.

        Args:
            rows: At most `SAMPLE` rows.
            families: What kind each column is.
            features: The model's inputs.

        Raises:
            TableError: There are fewer than `FEWEST` rows, or no column to compare by.
        """
        there = [name for name in features if name in rows.column_names]
        numeric = tuple(one for one in there if families.get(one) in ("integer", "number", "boolean"))
        textual = tuple(one for one in there if families.get(one) == "text" and not _names_rows(rows.column(one)))
        if len(rows) < FEWEST or not numeric + textual:
            raise TableError(
                f"the reference has {len(rows)} rows and {len(numeric + textual)} columns to compare queries by; "
                f"wanted at least {FEWEST} rows and one column"
            )
        values = [as_numbers(rows.column(name)) for name in numeric]
        centre, spread = _scales(values)
        bare = cls(
            numeric, textual, centre, spread, Points(np.empty((0, 0)), np.empty((0, 0), np.int64)), (0, 0), 0, ""
        )
        points = bare.points(rows).pick(np.random.default_rng(0).permutation(len(rows)))
        held = points.pick(slice(0, len(points) // 3))
        landmarks = points.pick(slice(len(points) // 3, None))
        far = float(np.quantile(np.sqrt(_squares(held, landmarks).min(1)), 1 - RARELY, method="higher"))
        close = _closeness(points)
        said = f"{numeric}{textual}{close!r}{far!r}".encode()
        parts = (centre, spread, landmarks.numbers, landmarks.texts)
        digest = hashlib.sha256(said + b"".join(np.ascontiguousarray(one).tobytes() for one in parts)).hexdigest()
        return cls(numeric, textual, centre, spread, landmarks, close, far, digest)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that queries are compared by."""
        return self.numeric + self.textual

    def points(self, rows: pa.Table) -> Points:
        """Rows as points; a missing number is the middle, a missing text a text of its own."""
        numbers = [
            np.clip((as_numbers(rows.column(name)) - centre) / spread, -_FARTHEST, _FARTHEST)
            for name, centre, spread in zip(self.numeric, self.centre, self.spread, strict=True)
        ]
        texts = [_codes(rows.column(name)) for name in self.textual]
        empty = np.empty((len(rows), 0))
        return Points(
            np.nan_to_num(np.column_stack(numbers)) if numbers else empty,
            np.column_stack(texts) if texts else empty.astype(np.int64),
        )

    def strange(self, points: Points) -> npt.NDArray[np.bool_]:
        """Which queries are far from all that is usual."""
        out = np.zeros(len(points), dtype=bool)
        for start in range(0, len(points), 1024):
            part = slice(start, start + 1024)
            out[part] = np.sqrt(_squares(points.pick(part), self.landmarks).min(1)) > self.far
        return out


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Each of some queries beside the queries before it.

    Attributes:
        nearest: Place of its nearest earlier query; -1 where there is none, (n,).
        ratio: Distance to it as a share of that to its eighth nearest, and that as a share of that to its 64th; NaN
            where there are not so many, (n, 2).
        same: Whether an earlier query was exactly this one: a retry, (n,).
    """

    nearest: npt.NDArray[np.intp]
    ratio: Floats
    same: npt.NDArray[np.bool_]


def neighbours(points: Points, *, first: int) -> Neighbours:
    """What each query from ``first`` on has before it, among all points; those before ``first`` are older ones.

    Equal earlier queries count once: a client that repeats itself has no more neighbours than it asked questions.
    """
    squares = _squares(points.pick(slice(first, None)), points)
    n = len(points)
    earlier = np.arange(n)[None, :] < np.arange(first, n)[:, None]
    same = np.asarray(((squares <= _SAME) & earlier).any(1), dtype=bool)
    repeated = np.concatenate([np.zeros(first, dtype=bool), same])
    squares = np.where(earlier & ~repeated[None, :], squares, np.inf)
    count = np.isfinite(squares).sum(1)
    nearest = np.where(count > 0, squares.argmin(1) if n else 0, -1)
    ratio = np.full((n - first, len(NEIGHBOURS) - 1), np.nan)
    for i, (inner, outer) in enumerate(pairwise(NEIGHBOURS)):
        enough = count >= outer
        if enough.any():
            some = np.partition(squares[enough], (inner - 1, outer - 1), axis=1)
            ratio[enough, i] = np.sqrt(some[:, inner - 1] / np.maximum(some[:, outer - 1], _SAME))
    return Neighbours(nearest, ratio, same)


def _closeness(points: Points) -> tuple[float, float]:
    """The ratios that one row in a hundred undercuts, among crowds as large as a client's memory."""
    crowds = [neighbours(points.pick(slice(start, start + CROWD)), first=0) for start in range(0, len(points), CROWD)]
    ratio = np.concatenate([crowd.ratio[~crowd.same] for crowd in crowds])
    cuts = []
    for column in ratio.T:
        there = column[~np.isnan(column)]
        cut = np.quantile(there, RARELY, method="lower") if there.size else _CLOSEST
        cuts.append(float(np.clip(cut, _CLOSEST, _LOOSEST)))
    return cuts[0], cuts[1]


def _squares(some: Points, others: Points) -> Floats:
    """Squared distances, (some, others): numbers by their difference, texts one where they differ."""
    a, b = some.numbers, others.numbers
    out = (a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T
    for column in range(some.texts.shape[1]):
        out += some.texts[:, column, None] != others.texts[None, :, column]
    return np.asarray(np.where(out < _SAME, 0.0, out), dtype=np.float64)


def _scales(values: Sequence[Floats]) -> tuple[Floats, Floats]:
    centre, spread = np.zeros(len(values)), np.ones(len(values))
    for at, column in enumerate(values):
        finite = column[np.isfinite(column)]
        if not finite.size:
            continue
        low, centre[at], high = np.quantile(finite, [0.25, 0.5, 0.75])
        wide = float(high - low) / 1.349  # of a normal distribution: its standard deviation
        spread[at] = wide if wide > 0 else float(finite.std()) or 1.0
    return centre, spread


def as_numbers(column: pa.ChunkedArray) -> Floats:
    """A column as numbers, NaN where there is none: a log may hold other types than its reference did."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        coded = column.combine_chunks().dictionary_encode()
        known = np.array([*map(_number, coded.dictionary.to_pylist()), np.nan])
        values = known[np.asarray(coded.indices.fill_null(-1), dtype=np.intp)]
    else:
        try:
            # Not safe: an integer beyond 2**53 is the nearest number, as it is wherever numbers are counted.
            values = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
        except pa.ArrowException:
            values = np.full(len(column), np.nan)
    return np.where(np.isinf(values), np.nan, values)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def as_texts(column: pa.ChunkedArray) -> pa.Array:
    """A column as texts, whatever it holds; null stays null."""
    try:
        return column.cast(pa.string()).combine_chunks()
    except pa.ArrowException:  # bytes that are no text, lists, records
        return pa.array([None if one is None else str(one) for one in column.to_pylist()], pa.string())


def _codes(column: pa.ChunkedArray) -> Codes:
    """Texts as numbers, the same in every table."""
    coded = as_texts(column).dictionary_encode()
    words = [
        int.from_bytes(hashlib.blake2b((word or "").encode(), digest_size=8).digest(), "little", signed=True)
        for word in coded.dictionary.to_pylist()
    ]
    places = np.asarray(coded.indices.fill_null(-1), dtype=np.intp)
    return np.append(np.array(words, dtype=np.int64), 0)[places]


def _names_rows(column: pa.ChunkedArray) -> bool:
    return len(column.unique()) > _UNIQUE * len(column)
