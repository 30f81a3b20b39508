"""Patterns of the clock in the baseline: what an hour, a weekday or a month does to a share, as far as it repeats.

A season puts every window at a *place* of its cycle (14 h of the day) and in a *cell* (that hour of that day). Places
are compared by cells, because only what comes back in the next cycle is a pattern: thirty days of one warm March are
one observation of March. For one question, with observed events O and expected ones E, and V their binomial variance::

    between = sum over places (O - E)^2 / V / (places - 1)
    within  = sum over cells (O - E')^2 / V' / (cells - places)      E' from each place's own share
    keep    = clip(1 - within / between, 0, 1)

The step of a place on the log-odds is its own, times ``keep``: nothing where places differ no more than their cells do.
Seasons are learned one after the other, each from what those before leave, and add up on the log-odds.

References:
    James, W. and Stein, C. (1961). Estimation with quadratic loss. Proc. 4th Berkeley Symp. 1, 361-379 (the shrinkage).
    Efron, B. and Morris, C. (1973). Stein's estimation rule and its competitors. JASA 68, 117-130.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from assay.inference.quantiles import f_tail

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

EACH = 5
"""Events, and non-events, a place needs on average before its own share says anything."""

CLEAR = 0.01
"""Chance, over all signals of a kind together, that noise is taken for a pattern where one must be clear."""

_TINY = 1e-9
_EDGE = 1e-15


@dataclass(frozen=True, slots=True)
class Season:
    """One cycle of the clock.

    Attributes:
        name: ``hour``, ``weekday``, ``hour of the week``, ``month``.
        place: Place of each baseline window in the cycle, from 0, (K,).
        cell: Which repetition of the cycle each is in, (K,); windows of one place and cell are one observation.
    """

    name: str
    place: Ints
    cell: Ints


@dataclass(frozen=True, slots=True)
class Calendar:
    """Seasons, and the strata that their places make together.

    Attributes:
        seasons: In the order in which they are learned.
        strata: Place of each season in each stratum, (S, seasons).
        at: Stratum of each baseline window, (K,).
    """

    seasons: tuple[Season, ...]
    strata: Ints
    at: Ints


@dataclass(frozen=True, slots=True)
class Step:
    """What one season does to W questions.

    Attributes:
        effect: Step of each place on the log-odds, shrunk, (places, W).
        keep: Share of the differences between places that is kept, 0 to 1, (W,).
        ratio: Mean square between places over that within, 1 where there is no pattern, (W,).
        within: Dispersion of the cells around their place, (W,).
        places: Places with rows, (W,).
        cells: Cells with rows, (W,).
    """

    effect: Floats
    keep: Floats
    ratio: Floats
    within: Floats
    places: Floats
    cells: Floats

    def chance(self) -> Floats:
        """How often noise alone makes places differ so much, (W,); 1 where nothing can be said."""
        free = self.places - 1, self.cells - self.places
        said = (free[0] > 0) & (free[1] > 0) & (self.keep > 0)
        tail = f_tail(self.ratio, np.maximum(free[0], 1), np.maximum(free[1], 1))
        return np.where(said, tail, 1.0)


def learn_steps(events: Floats, rows: Floats, share: Floats, seasons: Sequence[Season]) -> tuple[Step, ...]:
    """What each season does, in their order, each on what those before leave.

    Args:
        events: Events per window and question, (K, W).
        rows: Rows per window and question, (K, W).
        share: Share of each question over all windows, (W,).
        seasons: One or more.
    """
    start = np.broadcast_to(logit(np.clip(share, _EDGE, 1 - _EDGE)), events.shape)
    steps = []
    for season in seasons:
        step = _step(events, rows, share, start, season)
        steps.append(step)
        start = start + step.effect[season.place]
    return tuple(steps)


def strata_shares(share: Floats, steps: Sequence[Step], strata: Ints) -> Floats:
    """The share of each question in each stratum, (S, W)."""
    at = np.repeat(logit(np.clip(share, _EDGE, 1 - _EDGE))[None], len(strata), axis=0)
    for number, step in enumerate(steps):
        at = at + step.effect[strata[:, number]]
    return np.asarray(expit(at), dtype=np.float64)


def clear(steps: Sequence[Step], signals: int) -> tuple[bool, ...]:
    """Which seasons some question shows beyond doubt, at the level `CLEAR` over all signals."""
    return tuple(bool(step.chance().min(initial=1.0) * signals < CLEAR) for step in steps)


def _step(events: Floats, rows: Floats, share: Floats, start: Floats, season: Season) -> Step:
    cells, cell = np.unique(np.stack([season.place, season.cell]), axis=1, return_inverse=True)
    cell, place = cell.reshape(-1), cells[0]
    known = np.clip(expit(start), _EDGE, 1 - _EDGE)
    seen, size = _summed(events, cell), _summed(rows, cell)
    wanted, spread = _summed(rows * known, cell), _summed(rows * known * (1 - known), cell)
    at_seen, at_size = _summed(seen, place), _summed(size, place)
    at_wanted, at_spread = _summed(wanted, place), _summed(spread, place)
    apart = _log_odds(at_seen, at_size, share) - _log_odds(at_wanted, at_size, share)
    own = np.clip(expit(start + apart[season.place]), _EDGE, 1 - _EDGE)
    around, noise = _summed(rows * own, cell), _summed(rows * own * (1 - own), cell)
    used, places = (size > 0).sum(0), (at_size > 0).sum(0)
    within = ((seen - around) ** 2 / (noise + _TINY)).sum(0) / np.maximum(used - places, 1)
    between = ((at_seen - at_wanted) ** 2 / (at_spread + _TINY)).sum(0) / np.maximum(places - 1, 1)
    ratio = between / np.maximum(within, _TINY)
    total = seen.sum(0)
    told = (np.minimum(total, size.sum(0) - total) >= EACH * places) & (used > places)
    keep = np.where(told, np.clip(1 - within / np.maximum(between, _TINY), 0.0, 1.0), 0.0)
    return Step(keep * apart, keep, ratio, within, places.astype(np.float64), used.astype(np.float64))


def _log_odds(events: Floats, rows: Floats, share: Floats) -> Floats:
    return np.asarray(logit(np.clip((events + share) / (rows + 1), _EDGE, 1 - _EDGE)), dtype=np.float64)


def _summed(values: Floats, group: Ints) -> Floats:
    """Sums of rows of the same group, (groups, W)."""
    out = np.zeros((int(group.max()) + 1, values.shape[1]))
    np.add.at(out, group, values)
    return out
