"""What the baseline knows about a yes/no question: its share, its seasons, and how much it varies by nature.

Natural variation is one number per question, the design effect: how many times larger the variance of a
window's count is than independent rows would make it. It is learned from windows in time order; a random
split of rows would hide exactly the variation that raises false alarms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import digamma, polygamma

from assay.inference.quantiles import chi2_exceeded, chi2_quantile, trigamma_inverse
from assay.inference.seasons import Calendar, Step, learn_steps, strata_shares

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

UPPER_TAIL = 0.10
"""The design effect used is the upper end of its one-sided 90 % interval; so is the share of what was hardly ever."""

FEWEST = 20
"""Events, and non-events, a question needs in the baseline before its own dispersion says anything."""

LEARNABLE = 4
"""Windows below which nothing can be said about variation between windows."""

CLAIMABLE = 14
"""Windows below which natural variation is not claimed to be known: two weeks of days."""

PERSISTS = 0.25
"""Autocorrelation assumed at least of a baseline too short to measure it."""

COMFORTABLE = 56
"""Windows from which a weekday pattern can be told from noise: eight weeks of days."""

_TINY = 1e-9
_BLOCKS = (2, 4, 7)
_PRIOR_DF = 100.0
_ODD = 0.05


@dataclass(frozen=True, slots=True)
class Natural:
    """What the baseline's windows say about W questions.

    Attributes:
        share: Share of rows that are events, (W,).
        strata: The same per stratum (weekday, hour), shrunk towards ``share``, (S, W); S is 1 without strata.
        design: Design effect at ``window_rows`` rows a window, at least 1, (W,).
        events: Events in the whole baseline, (W,).
        rows: Rows in the whole baseline, (W,).
        window_rows: Mean rows of the windows that have any, (W,).
        windows: Windows in the baseline.
        clusters: Events, non-events and rows of the whole baseline in groups that vary as one, `grouped`, (3, W).
    """

    share: Floats
    strata: Floats
    design: Floats
    events: Floats
    rows: Floats
    window_rows: Floats
    windows: int
    clusters: Floats

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Which questions have events and non-events enough to speak for themselves, (W,)."""
        return np.asarray((self.events >= FEWEST) & (self.rows - self.events >= FEWEST))

    @property
    def varies(self) -> bool:
        """Whether variation between windows was learned; else ``design`` is 1 and means nothing."""
        return self.windows >= LEARNABLE

    @property
    def short(self) -> bool:
        """Whether there are too few windows to claim natural variation."""
        return self.windows < CLAIMABLE

    @property
    def info(self) -> Floats:
        """Fisher information of the baseline about the log-odds of each share, (W,)."""
        return self.rows * self.share * (1 - self.share) / self.design

    @property
    def growth(self) -> Floats:
        """How many times the variance of the mean share each stratum's own is, at least 1, (S, W)."""
        spread = self.strata * (1 - self.strata) / np.maximum(self.share * (1 - self.share), _TINY**2)
        return np.asarray(np.maximum(spread, 1.0), dtype=np.float64)

    def design_at(self, rows: Floats, at: Ints | None = None) -> Floats:
        """Design effect in windows of other sizes: what varies by nature grows with the rows.

        It grows with the stratum's own variance too, ``p (1 - p)``: at noon, when most rows come, a tenth more is more
        rows than at night. It is never taken smaller than at the mean share.

        Args:
            rows: Rows per window and question, (T, W).
            at: Stratum of each window, (T,); None for the mean share.
        """
        sized = _at_size(self.design, rows, self.window_rows)
        if at is None or len(self.strata) == 1:
            return sized
        return np.asarray(1 + (sized - 1) * self.growth[at], dtype=np.float64)

    def pick(self, which: slice | npt.NDArray[np.bool_] | Ints) -> Natural:
        """The same for some of the questions."""
        return Natural(
            share=self.share[which],
            strata=self.strata[:, which],
            design=self.design[which],
            events=self.events[which],
            rows=self.rows[which],
            window_rows=self.window_rows[which],
            windows=self.windows,
            clusters=self.clusters[:, which],
        )

    def borrow(self, design: float, events: Floats, rows: Floats) -> Natural:
        """The same, where questions that cannot speak for themselves take a design effect learned elsewhere.

        It is at most as if all rows of a window were one.

        Args:
            design: Design effect of something that varies like them.
            events: Events per window and question, as learned from, (K, W).
            rows: Rows per window and question, (K, W).
        """
        most = np.maximum(np.minimum(design, self.window_rows), 1.0)
        taken = np.where(self.known, self.design, most)
        return replace(self, design=taken, clusters=clusters_of(events, rows, taken, self.window_rows))


def learn(
    events: Floats,
    rows: Floats,
    *,
    calendar: Calendar | None = None,
    signals: int | None = None,
    day: int | None = None,
) -> Natural:
    """Learn from the baseline's windows, in time order, all questions of one kind together.

    Args:
        events: Events per window and question, (K, W).
        rows: Rows per window and question, (K, W); 0 where a window says nothing.
        calendar: Seasons to learn, or None.
        signals: How many signals the questions belong to; questions of one signal are nearly copies
            of each other and count once. Default: one each.
        day: Windows a day, where they are shorter: the variation of whole days then counts too.

    References:
        McCullagh, P. and Nelder, J. A. (1989). Generalized Linear Models, 2nd ed., section 4.5 (dispersion).
        Kish, L. (1965). Survey Sampling, chapter 8 (the design effect).
    """
    windows = len(events)
    total, size = events.sum(0), rows.sum(0)
    share = (total + 0.5) / (size + 1.0)
    used = (rows > 0).sum(0)
    window_rows = size / np.maximum(used, 1)
    steps = learn_steps(events, rows, share, calendar.seasons) if calendar is not None else ()
    strata = strata_shares(share, steps, calendar.strata) if calendar is not None else share[None]
    expected = strata[calendar.at] if calendar is not None else np.broadcast_to(share, events.shape)
    free = used - 1 - sum((step.effect.shape[0] - 1) * float(step.keep.mean()) for step in steps)
    free = np.maximum(free, 2.0 if steps else 1.0)
    design, enough = _learned(events, rows, expected, free, signals=signals, day=day)
    if enough.any():
        design[enough] += _cost(steps, design)[enough]
        design[~enough] = np.median(design[enough])  # too rare to speak for themselves: as their kind
    clusters = clusters_of(events, rows, design, window_rows)
    return Natural(share, strata, design, total, size, window_rows, windows, clusters)


def design_of_residuals(
    events: Floats, rows: Floats, expected: Floats, *, spent: int, signals: int | None = None, day: int | None = None
) -> Floats:
    """Design effect of what a fit leaves, (W,).

    Args:
        events: Events per window and question, (K, W).
        rows: Rows per window and question, (K, W).
        expected: Fitted shares, (K, W).
        spent: What was fitted to each question.
        signals: How many signals the questions belong to.
        day: Windows a day, where they are shorter.
    """
    free = np.maximum((rows > 0).sum(0) - float(spent), 1.0)
    design, enough = _learned(events, rows, expected, free, signals=signals, day=day)
    design[~enough] = np.median(design[enough]) if enough.any() else 1.0
    return design


def _learned(
    events: Floats, rows: Floats, expected: Floats, free: Floats, *, signals: int | None, day: int | None
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Design effects, (W,), and which of them the questions have told themselves; the others are 1."""
    windows, width = events.shape
    total, size, used = events.sum(0), rows.sum(0), (rows > 0).sum(0)
    design = np.ones(width)
    enough = (total >= FEWEST) & (size - total >= FEWEST) & (used >= LEARNABLE)
    if windows < LEARNABLE or not enough.any():
        return design, np.zeros(width, dtype=np.bool_)
    left = (events - rows * expected)[:, enough]
    variance = (rows * expected * (1 - expected))[:, enough]
    count = min(signals or width, int(enough.sum()))
    blocks = (*_BLOCKS, day) if day is not None and day > _BLOCKS[-1] else _BLOCKS
    most = (size / np.maximum(used, 1))[enough]
    design[enough] = np.maximum(_design(left, variance, free[enough], most, signals=count, sizes=blocks), 1.0)
    return design, enough


def _cost(steps: tuple[Step, ...], design: Floats) -> Floats:
    """What the strata's own errors add to the design effect: the baseline's error about this hour, met at this hour.

    The variance of a shrunken step is ``keep`` times that of the step itself, and a place is known by its cells only.
    """
    each = [step.keep * step.places / step.cells.clip(1) * np.maximum(design, step.within) for step in steps]
    return np.asarray(sum(each, start=np.zeros_like(design)), dtype=np.float64)


def grouped(events: Floats, design: Floats) -> Floats:
    """Events of a window in groups that vary as one: up to ``design`` events may have come together and are one.

    Args:
        events: Events per window and question, (T, W).
        design: Design effect at the rows of that window, at least 1, (T, W).
    """
    return np.asarray(events / np.maximum(np.minimum(events, design), 1.0), dtype=np.float64)


def clusters_of(events: Floats, rows: Floats, design: Floats, window_rows: Floats) -> Floats:
    """Events, non-events and rows of the whole baseline in groups that vary as one, (3, W)."""
    at = _at_size(design, rows, window_rows)
    return np.stack([grouped(events, at).sum(0), grouped(rows - events, at).sum(0), (rows / at).sum(0)])


def _at_size(design: Floats, rows: Floats, window_rows: Floats) -> Floats:
    return np.asarray(1 + (design - 1) * rows / np.maximum(window_rows, 1.0), dtype=np.float64)


def _design(
    left: Floats, variance: Floats, free: Floats, most: Floats, *, signals: int, sizes: tuple[int, ...]
) -> Floats:
    """Long-run design effect: dispersion x autocorrelation, or dispersion of blocks, whichever is larger.

    Args:
        left: Observed minus expected events, (K, W).
        variance: Binomial variance of them, (K, W).
        free: Degrees of freedom, (W,).
        most: Rows of a window: a share varies at most as if all rows of a window were one row, (W,).
        signals: Independent signals among the W questions.
        sizes: Windows of a block.
    """
    windows = len(left)
    z = np.where(variance > 0, left / np.sqrt(variance + _TINY), 0.0)
    dispersion = np.maximum((z**2).sum(0) / free, 0.05)
    rho = _autocorrelation(z, dispersion, free, signals)
    longer = (1 + rho) / (1 - rho)
    kept = np.maximum(free * (1 - rho**2) / (1 + rho**2), min(3.0, float(free.min())))
    one = np.minimum(_upper(*_moderated(dispersion, kept, signals)), most)
    design = 1 + np.maximum(one - 1, 0) / max(1 - longer / windows, 0.4) * longer
    design = np.maximum(design, np.minimum(_upper(*_moderated(dispersion, free, signals)), most))
    for block in sizes:
        blocks = windows // block
        if blocks < 7:  # noqa: PLR2004 - fewer blocks than a week say nothing
            break
        r, v = (x[: blocks * block].reshape(blocks, block, -1).sum(1) for x in (left, variance))
        d = np.maximum(blocks * free / windows, 2.0)
        phi = np.maximum(np.where(v > 0, r**2 / (v + _TINY), 0.0).sum(0) / d, 0.05)
        design = np.maximum(design, np.minimum(_upper(*_moderated(phi, d, signals)), most * block))
    return np.asarray(design, dtype=np.float64)


def _autocorrelation(z: Floats, dispersion: Floats, free: Floats, signals: int) -> float:
    """One lag-1 autocorrelation of the natural variation for a kind of signals, in [0, 0.9].

    It is taken as noise, and 0, unless it exceeds two standard errors counted in signals. The bias of a short series is
    undone as in Kendall, M. G. (1954). Note on bias in the estimation of autocorrelation. Biometrika 41, 403-404.
    """
    windows = len(z)
    least = PERSISTS if windows < CLAIMABLE else 0.0
    if windows < 8:  # noqa: PLR2004 - the bias correction needs more than a handful of pairs
        return least
    lag = float(((z[1:] * z[:-1]).sum(0) / free).mean())
    draws = windows * signals
    if lag <= 2 * float(np.sqrt((dispersion**2).mean() / draws)):
        return least
    excess = float(dispersion.mean()) - 1 + 2 * float(np.sqrt(2 / draws))
    raw = float(np.clip(lag / max(excess, _TINY), 0, 0.9))
    return max(least, min((raw * windows + 1) / (windows - 4), 0.9))


def _moderated(dispersion: Floats, free: Floats, signals: int) -> tuple[Floats, Floats]:
    """Shrink the dispersions of many questions to a common value, as far as they agree.

    What is borrowed is never more than the other signals have: with one signal nothing is. It is all of that where they
    agree as far as chance lets them, on the whole and each with the rest; where one stands out, at most as much as 100
    windows know, so that many quiet signals do not speak for it.

    References:
        Smyth, G. K. (2004). Linear models and empirical Bayes methods. Stat. Appl. Genet. Mol. Biol. 3(1), 3.
    """
    most = float(np.mean(free)) * (signals - 1)
    if most <= 0:
        return dispersion, free
    level = np.log(dispersion) - digamma(free / 2) + np.log(free / 2)
    odd = dispersion * free > np.exp(level.mean()) * chi2_exceeded(_ODD / len(level), free)
    most = min(most, _PRIOR_DF) if odd.any() else most
    spread = float(level.var(ddof=1) - polygamma(1, free / 2).mean()) if len(level) > 2 else 0.0  # noqa: PLR2004
    prior = 2 * trigamma_inverse(spread) if spread > float(polygamma(1, most / 2)) else most
    centre = float(np.exp(level.mean() + digamma(prior / 2) - np.log(prior / 2)))
    return (prior * centre + free * dispersion) / (prior + free), prior + free


def _upper(dispersion: Floats, free: Floats) -> Floats:
    """Upper end of the one-sided interval of a dispersion: ``phi df / chi2``."""
    return np.asarray(dispersion * free / chi2_quantile(UPPER_TAIL, free), dtype=np.float64)
