"""Whether a share moves steadily inside the baseline, beyond what its windows vary by.

For each question the log-odds get a slope over time, by Newton's method on the binomial likelihood, beside the seasons.
The design effect is learned from what the slope leaves, and its upper end is used, so that days which persist are not
taken for a trend; a slope is judged against the standard error of so many effective rows.

A question that clearly moves varies by nature as its residuals do, and not as its trend does: else a baseline that
drifted would excuse as much drift again.

References:
    McCullagh, P. and Nelder, J. A. (1989). Generalized Linear Models, 2nd ed., sections 4.4 and 4.5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit, ndtri

from assay.inference.natural import CLAIMABLE, Floats, Natural, clusters_of, design_of_residuals
from assay.inference.seasons import Calendar, learn_steps, strata_shares

MISTAKEN = 0.01
"""Chance that a trend is found in any question of a kind where there is none."""

_EDGE = 1e-15
_STEPS = 8
_MOST = 4.0  # log-odds over the baseline: more is a jump or no share at all


@dataclass(frozen=True, slots=True)
class Trend:
    """The slope of W questions over the baseline.

    Attributes:
        first: Fitted share at its beginning, (W,).
        last: Fitted share at its end.
        z: Slope in its standard errors.
        design: Design effect of what the slope leaves.
    """

    first: Floats
    last: Floats
    z: Floats
    design: Floats

    @property
    def moved(self) -> Floats:
        """What the share moved from beginning to end, in share points, (W,)."""
        return self.last - self.first


def find_trend(
    events: Floats,
    rows: Floats,
    *,
    calendar: Calendar | None = None,
    signals: int | None = None,
    day: int | None = None,
) -> Trend:
    """Fit a slope to each question.

    Args:
        events: Events per window and question, in time order, (K, W).
        rows: Rows per window and question, (K, W).
        calendar: Seasons of the baseline.
        signals: How many signals the questions belong to.
        day: Windows a day, where they are shorter.
    """
    windows, width = events.shape
    share = (events.sum(0) + 0.5) / (rows.sum(0) + 1.0)
    usual = np.broadcast_to(share, events.shape)
    if calendar is not None:
        usual = strata_shares(share, learn_steps(events, rows, share, calendar.seasons), calendar.strata)[calendar.at]
    start = logit(np.clip(usual, _EDGE, 1 - _EDGE))
    time = np.linspace(-0.5, 0.5, windows)[:, None]
    level, slope = np.zeros(width), np.zeros(width)
    for _ in range(_STEPS):
        fitted = expit(start + level + slope * time)
        weight = rows * fitted * (1 - fitted) + 1e-12
        left = events - rows * fitted
        middle = (weight * time).sum(0) / weight.sum(0)
        around = (weight * (time - middle) ** 2).sum(0) + 1e-12
        change = (left * (time - middle)).sum(0) / around
        slope = np.clip(slope + change, -_MOST, _MOST)
        level += left.sum(0) / weight.sum(0) - change * middle
    fitted = expit(start + level + slope * time)
    weight = rows * fitted * (1 - fitted)
    middle = (weight * time).sum(0) / np.maximum(weight.sum(0), 1e-12)
    around = (weight * (time - middle) ** 2).sum(0)
    design = design_of_residuals(events, rows, fitted, spent=2, signals=signals, day=day)
    z = slope * np.sqrt(around / design)
    ends = (expit(logit(np.clip(share, _EDGE, 1 - _EDGE)) + level + slope * at) for at in (-0.5, 0.5))
    first, last = ends
    told = (events.sum(0) > 0) & (events.sum(0) < rows.sum(0))
    return Trend(first, last, np.where(told, z, 0.0), design)


def limit_of(questions: int) -> float:
    """Standard errors beyond which a slope is clear, over so many questions of a kind together."""
    return float(-ndtri(MISTAKEN / 2 / max(questions, 1)))  # scipy.stats takes half a second to import


def without_trend(
    natural: Natural, events: Floats, rows: Floats, *, calendar: Calendar | None, signals: int, day: int | None
) -> Natural:
    """The same, where what clearly moves varies only as what its slope leaves.

    Args:
        natural: What was learned of W questions.
        events: Events per window and question, in time order, (K, W).
        rows: Rows per window and question, (K, W).
        calendar: Seasons of the baseline.
        signals: How many signals the questions belong to.
        day: Windows a day, where they are shorter.
    """
    if natural.windows < CLAIMABLE:
        return natural
    usual = natural.strata[calendar.at] if calendar is not None else natural.share
    time = np.linspace(-0.5, 0.5, len(events))[:, None]
    weight = rows * usual * (1 - usual) + 1e-12
    away = time - (weight * time).sum(0) / weight.sum(0)
    score = ((events - rows * usual) * away).sum(0) / np.sqrt((weight * away**2).sum(0) + 1e-12)
    limit = limit_of(len(score))
    some = np.flatnonzero((np.abs(score) > limit) & natural.known)  # with more than independent rows it is less clear
    if not len(some):
        return natural
    trend = find_trend(events[:, some], rows[:, some], calendar=calendar, signals=signals, day=day)
    moving = some[np.abs(trend.z) > limit]
    design = natural.design.copy()
    design[moving] = np.minimum(design[moving], trend.design[np.abs(trend.z) > limit])
    clusters = clusters_of(events, rows, design, natural.window_rows)
    return replace(natural, design=design, clusters=clusters)
