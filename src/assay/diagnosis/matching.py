"""Which column holds now what another column held then: by distributions and by how columns go together. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from assay.diagnosis.learners import Floats, Ints

MAX_COLUMNS = 32  # columns matched at once: the cost grows with their square
GAIN = 0.1  # least fall of the cost: two columns of like distribution and like company are not told apart
SHARE = 0.4  # the match must explain at least this share of the mismatch
TURNS = 12
IDLE = 0.02


@dataclass(frozen=True, slots=True)
class Match:
    """The best pairing of columns now with columns then.

    Attributes:
        source: For each column, the number of the column whose contents it holds now.
        matched: Distance of each column from its source: Kolmogorov-Smirnov distance plus the mean difference of
            rank correlations with all others; 0 for columns that were no suspects.
        in_place: The same when every column is itself.
    """

    source: Ints
    matched: Floats
    in_place: Floats

    @property
    def moved(self) -> Ints:
        """Numbers of the columns that hold another's contents; empty unless the pairing explains their mismatch."""
        away = np.flatnonzero(self.source != np.arange(len(self.source)))
        if not len(away):
            return away
        wrong, gain = float(self.in_place[away].mean()), float((self.in_place - self.matched)[away].mean())
        return away if gain >= max(GAIN, SHARE * wrong) else away[:0]


def ks(a: Floats, b: Floats) -> float:
    """Kolmogorov-Smirnov distance of two samples, NaN left out; 0 when one is empty.

    References:
        Smirnov, N. (1948). Table for estimating the goodness of fit of empirical distributions.
        Annals of Mathematical Statistics 19, 279-281.
    """
    a, b = np.sort(a[~np.isnan(a)]), np.sort(b[~np.isnan(b)])
    if not len(a) or not len(b):
        return 0.0
    at = np.concatenate([a, b])
    return float(
        np.abs(np.searchsorted(a, at, side="right") / len(a) - np.searchsorted(b, at, side="right") / len(b)).max()
    )


def rank_correlation(x: Floats) -> Floats:
    """Spearman correlations of the columns; 0 with a column of one value.

    References:
        Spearman, C. (1904). The proof and measurement of association between two things.
        American Journal of Psychology 15, 72-101.
    """
    from scipy.stats import rankdata

    ranks = rankdata(x, axis=0)
    ranks = ranks - ranks.mean(axis=0)
    size = np.sqrt((ranks**2).sum(axis=0))
    size[size == 0] = np.inf
    ranks /= size
    return np.asarray(ranks.T @ ranks, dtype=np.float64)


def match_columns(old: Floats, new: Floats, suspects: Ints) -> Match:
    """Pair the columns of ``new`` with those of ``old``; only ``suspects`` may move.

    The pairing minimises the mean of the Kolmogorov-Smirnov distances of paired columns and of the
    differences of their rank correlations with all others. It is found by solving the assignment
    problem again and again with the other pairs held, from several starts: in place, by
    distributions alone, and rotations, which are what a column lost on the way makes.

    Args:
        old: Trusted rows, shape (n, d), no NaN.
        new: Recent rows, shape (m, d), no NaN.
        suspects: Numbers of the columns that may have moved; at most 32 are looked at.

    References:
        Kuhn, H. W. (1955). The Hungarian method for the assignment problem. Naval Research Logistics 2, 83-97.
    """
    from scipy.optimize import linear_sum_assignment

    d = old.shape[1]
    place, none = np.arange(d, dtype=np.int64), np.zeros(d)
    suspects = np.sort(suspects[:MAX_COLUMNS])
    if len(suspects) < 2:  # noqa: PLR2004 - one column alone has nowhere to go
        return Match(place, none, none)
    distance = np.array([[ks(new[:, i], old[:, j]) for j in suspects] for i in suspects])
    then, now = rank_correlation(old), rank_correlation(new)

    def company(source: Ints) -> Floats:
        """Mean difference of correlations with all others if suspect i held suspect j, the rest as paired."""
        return np.asarray(np.abs(now[suspects][:, None, :] - then[suspects][:, source][None, :, :]).mean(axis=2))

    def each(source: Ints) -> Floats:
        pick = np.searchsorted(suspects, source[suspects])
        cost = np.zeros(d)
        cost[suspects] = (distance + company(source))[np.arange(len(suspects)), pick]
        return cost

    starts = [np.arange(len(suspects)), np.asarray(linear_sum_assignment(distance)[1])]
    starts += [np.roll(np.arange(len(suspects)), shift) for shift in (1, -1, 2, -2)]
    best, best_cost = place, float(each(place).sum())
    for start in starts:
        source = place.copy()
        source[suspects] = suspects[start]
        for _ in range(TURNS):
            cost = float(each(source).sum())
            if cost < best_cost:
                best, best_cost = source, cost
            following = place.copy()
            following[suspects] = suspects[linear_sum_assignment(distance + company(source))[1]]
            if np.array_equal(following, source):
                break
            source = following
    best = _without_idle_cycles(best, each)
    return Match(best, each(best), each(place))


def _without_idle_cycles(source: Ints, each: Callable[[Ints], Floats]) -> Ints:
    """Put back every cycle of columns whose exchange hardly lowers the cost: neighbours that are alike anyway."""
    for start in range(len(source)):
        cycle, at = [start], int(source[start])
        while at != start:
            cycle.append(at)
            at = int(source[at])
        restored = source.copy()
        restored[cycle] = cycle
        if len(cycle) > 1 and float((each(restored) - each(source)).sum()) < IDLE * len(cycle):
            source = restored
    return source
