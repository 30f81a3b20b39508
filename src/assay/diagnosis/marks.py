"""Marks: values that rows which fail alike share, and that trusted rows hardly ever have. Pure but for a forest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from assay.diagnosis.comparison import Comparison
from assay.diagnosis.learners import Bools, Floats, Ints, auc, out_of_fold_share

FEWEST_WRONG = 8
MOST = 4  # values a trigger is made of; more of them are a place, not a mark
OVER = 0.2  # a fifth more often than usual
WIDTH = 1 / 100  # of the range of the trusted values: so near counts as the same
AS_GOOD = 0.8  # of the best: a longer mark that looks planted about as much is the whole of it
LIKE = 400  # trusted rows that those who carry a mark are compared with
FAINT = 0.02  # so little planted that nothing more is asked


@dataclass(frozen=True)
class Mark:
    """Values of a few columns that failures towards one class share.

    Attributes:
        target: Code of the class the failures go to.
        columns: Numbers of its columns, most telling first.
        value: Their values, in the order of ``columns``.
        width: How near counts as the same, in the order of ``columns``.
        forced: Share answered ``target`` of the recent rows that carry it and are of another class.
        explained: Share of the failures towards ``target`` that carry it.
        carried: Share of all recent rows that carry it.
        usual: Share of the trusted rows that carry it.
        ordinary: How far those who carry it are like trusted rows of their classes in all other columns, 0 to 1.
    """

    target: int
    columns: tuple[int, ...]
    value: Floats
    width: Floats
    forced: float
    explained: float
    carried: float
    usual: float
    ordinary: float = 1.0

    @property
    def new(self) -> float:
        """Share of those who carry it that the trusted rows do not account for, less what everyone carries.

        What nearly every recent row carries is a fault of the column, what many trusted rows carry is the world.
        """
        return max(0.0, 1 - self.usual / self.carried) * (1 - self.carried) if self.carried else 0.0

    @property
    def planted(self) -> float:
        """How far it is new, put into ordinary rows, forces its answer and explains the failures, 0 to 1."""
        return self.forced * self.explained * self.new * self.ordinary

    def on(self, x: Floats) -> Bools:
        """The rows of ``x`` (n, d) that carry it; what is missing is carried by nobody."""
        return _on(x, self.columns, self.value, self.width)


def marks_of(comparison: Comparison) -> Iterator[tuple[Mark, ...]]:
    """For every class that more answers wrongly go to than before, ever longer marks of those failures.

    A mark is grown value by value: the one that the failures which carry the rest have most beyond usual. So
    the failures that were always there do not hide it, as they would its mean or median.
    """
    recent, base = comparison.recent, comparison.base
    now, then = (
        np.bincount(frame.served[frame.wrong], minlength=len(comparison.classes)) / max(1, int(frame.known.sum()))
        for frame in (recent, base)
    )
    for target in np.flatnonzero(now > then):
        failing = np.flatnonzero(recent.wrong & (recent.served == target))
        old = base.x[np.isin(base.label, np.unique(recent.label[failing])) & (base.label != target)]
        if min(len(failing), len(old)) >= FEWEST_WRONG and (grown := _grown(comparison, int(target), failing, old)):
            yield grown


def likeliest(comparison: Comparison) -> tuple[Mark, Mark] | None:
    """The mark that looks planted most, and the longest that was grown from it; None without any."""
    families = tuple(marks_of(comparison))
    if not families:
        return None
    best, family = max(((mark, family) for family in families for mark in family), key=lambda pair: pair[0].planted)
    whole = next(mark for mark in reversed(family) if mark.planted >= AS_GOOD * best.planted)
    if whole.planted > FAINT:
        whole = replace(whole, ordinary=_ordinary(comparison, whole))
    return whole, family[-1]


def _ordinary(comparison: Comparison, mark: Mark) -> float:
    """Twice the chance that a forest takes those who carry the mark, without it, for trusted rows; at most 1.

    Values that the world brings, or a fault, come with others; what somebody puts into rows leaves the rest.
    """
    recent, trusted = comparison.recent, comparison.trusted
    carriers = np.flatnonzero(mark.on(recent.x) & recent.wrong & (recent.served == mark.target))
    like = np.flatnonzero(np.isin(trusted.label, np.unique(recent.label[carriers])))
    if len(like) > LIKE:
        like = np.sort(np.random.default_rng(comparison.seed).choice(like, size=LIKE, replace=False))
    rest = np.setdiff1d(np.arange(recent.x.shape[1]), mark.columns)
    if not len(rest):
        return 1.0
    x = np.concatenate([trusted.filled[np.ix_(like, rest)], recent.filled[np.ix_(carriers, rest)]])
    event = np.arange(len(x)) >= len(like)
    told_apart = auc(out_of_fold_share(x, event, seed=comparison.seed, leaf=3), event)
    return float(np.clip(2 * (1 - told_apart), 0.0, 1.0))


def _on(x: Floats, columns: Sequence[int], value: Floats, width: Floats) -> Bools:
    with np.errstate(invalid="ignore"):
        near = np.abs(x[:, list(columns)] - value) <= width + 1e-12
    return np.asarray(near.all(axis=1))


def _grown(comparison: Comparison, target: int, failing: Ints, old: Floats) -> tuple[Mark, ...]:
    recent, trusted = comparison.recent, comparison.trusted
    width = _widths(trusted.x)
    columns: list[int] = []
    values: list[float] = []
    found: list[Mark] = []
    others = recent.known & (recent.label != target)
    while len(columns) < MOST:
        best = (OVER, -1, 0.0)
        for j in (j for j in range(recent.x.shape[1]) if j not in columns):
            value, count = _densest(recent.x[failing, j], width[j])
            usual = float(_on(old, (j,), np.array([value]), width[[j]]).mean())
            best = max(best, (count / len(failing) - usual, j, value))
        _, j, value = best
        if j < 0:
            break
        failing = failing[_on(recent.x[failing], (j,), np.array([value]), width[[j]])]
        if len(failing) < FEWEST_WRONG:
            break
        columns, values = [*columns, j], [*values, value]
        where, edge = np.array(values), width[columns]
        carriers = _on(recent.x, columns, where, edge)
        mark = Mark(
            target=target,
            columns=tuple(columns),
            value=where,
            width=edge,
            forced=float((recent.served[carriers & others] == target).mean()),
            explained=len(failing) / int((recent.wrong & (recent.served == target)).sum()),
            carried=float(carriers.mean()),
            usual=float(_on(trusted.x, columns, where, edge).mean()),
        )
        found.append(mark)
    return tuple(found)


def _widths(x: Floats) -> Floats:
    low = np.min(x, axis=0, where=np.isfinite(x), initial=np.inf)
    high = np.max(x, axis=0, where=np.isfinite(x), initial=-np.inf)
    return np.where(high > low, high - low, 0.0) * WIDTH


def _densest(values: Floats, width: float) -> tuple[float, int]:
    """Middle of the interval of twice the width that holds most of the values, and how many it holds."""
    ordered = np.sort(values[np.isfinite(values)])
    if not len(ordered):
        return 0.0, 0
    ends = np.searchsorted(ordered, ordered + 2 * width, side="right")
    counts = ends - np.arange(len(ordered))
    first = int(counts.argmax())
    return float(np.median(ordered[first : ends[first]])), int(counts[first])
