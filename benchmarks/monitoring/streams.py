"""Simulated deployments as rows, made from seeds: the same rows are judged by ours and written out for the peers.

A stream is cut into windows. All windows before ``baseline`` are known to be good; what changes, changes at the live
window ``at``. Rows of any window can be made without the others, so a long stream never lies in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from scipy.stats import beta

Floats = npt.NDArray[np.float64]
Rows = dict[str, npt.NDArray[np.generic]]

MONDAY = datetime(2025, 1, 6, tzinfo=UTC)
FEATURES = 20
CLASSES = 10
SEGMENTS = 30
SLICED = 10  # categories of the stream with slices, of four levels each
LEVELS = (0.173, 0.227, 0.28, 0.32)  # two columns at their rarest level meet in 3 % of the rows
ERROR = 0.05
CONFIDENCE = (0.85, 0.1)  # mean and standard deviation of a beta distribution


@dataclass(frozen=True)
class Change:
    """What is different from the live window ``at`` on.

    Attributes:
        at: Index of a live window.
        error_to: Error rate of all rows.
        silent: Accuracy of class 0 falls from 80 to 50 % while errors overall, labels and predictions keep their rates.
        confidence: Added to the mean confidence.
        feature_sd: Added to ``f0``, in its standard deviations.
        planted_to: Error rate of the planted slice, ``c0=0`` and ``c1=0``.
    """

    at: int = 10**9
    error_to: float | None = None
    silent: bool = False
    confidence: float = 0.0
    feature_sd: float = 0.0
    planted_to: float | None = None


@dataclass(frozen=True)
class Nature:
    """How an unchanged stream varies from window to window. Effects of different signals are independent.

    Attributes:
        feature_sd: Of a feature's mean, in its standard deviations; of the log of the latency and, a tenth, of the mean
            confidence likewise.
        rate_sd: Of the log-odds of rates and classes, and of the log of the rows a window.
        rho: Autocorrelation at lag one.
        season_sd: Of a pattern that repeats every ``season`` windows, as a multiple of ``feature_sd`` and ``rate_sd``.
        season: Windows of a season: 7 days, 24 hours.
        tails: Normal effects, or Student's t with three degrees of freedom.
        bursts: Share of windows in which a signal leaves for one window, each for itself: by 1 in log-odds, by half a
            standard deviation.
        trend: Total change over the baseline, as a multiple of ``feature_sd`` and ``rate_sd``, linear.
        after: What comes after such a baseline: the last level stays, or the trend goes on.
    """

    feature_sd: float = 0.0
    rate_sd: float = 0.0
    rho: float = 0.0
    season_sd: float = 0.0
    season: int = 7
    tails: Literal["normal", "t3"] = "normal"
    bursts: float = 0.0
    trend: float = 0.0
    after: Literal["stays", "goes on"] = "stays"


@dataclass(frozen=True)
class Stream:
    """One deployment.

    Attributes:
        seed: Fixes every row.
        baseline: Windows before the live ones.
        live: Windows judged.
        rows: Rows a window: as many in each, or on average where the number varies by nature.
        span: How long a window lasts.
        nature: How it varies unchanged.
        change: What changes.
        sliced: Ten categories instead of segments, whose single values and pairs are watched.
        silent_base: Errors are a tenth of the rows, two in ten of class 0: the start of `Change.silent`.
    """

    seed: int
    baseline: int = 20
    live: int = 60
    rows: int = 1000
    span: timedelta = timedelta(days=1)
    nature: Nature = field(default_factory=Nature)
    change: Change = field(default_factory=Change)
    sliced: bool = False
    silent_base: bool = False

    @property
    def windows(self) -> int:
        """Windows of the baseline and live ones."""
        return self.baseline + self.live

    @property
    def change_window(self) -> int:
        """Index of the first changed window among all."""
        return self.baseline + self.change.at

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Rows of each window."""
        if self.nature.rate_sd == 0 and self.nature.bursts == 0:
            return np.full(self.windows, self.rows, dtype=np.int64)
        draw = np.random.default_rng((self.seed, 1))
        many = draw.poisson(self.rows * np.exp(self.effects["volume"][:, 0]))
        return np.maximum(many, 1).astype(np.int64)

    def start(self, window: int) -> datetime:
        """When a window begins."""
        return MONDAY + window * self.span

    @cached_property
    def effects(self) -> dict[str, Floats]:
        """What nature adds to each signal in each window, (windows, signals of the kind)."""
        draw = np.random.default_rng((self.seed, 0))
        nature, out = self.nature, {}
        for name, width, sd, leap in (
            ("features", FEATURES, nature.feature_sd, 0.5),
            ("confidence", 1, nature.feature_sd / 10, 0.05),
            ("latency", 1, nature.feature_sd, 0.5),
            ("error", 1, nature.rate_sd, 1.0),
            ("class_error", CLASSES, nature.rate_sd, 1.0),
            ("classes", CLASSES, nature.rate_sd, 1.0),
            ("failures", 1, nature.rate_sd, 1.0),
            ("volume", 1, nature.rate_sd, 1.0),
        ):
            out[name] = _effects(draw, self, width, sd) + leap * _bursts(draw, self, width)
        return out

    def window(self, place: int) -> Rows:
        """All rows of one window, in order."""
        draw = np.random.default_rng((self.seed, 2, place))
        rows, changed = int(self.sizes[place]), place >= self.change_window
        effects = {name: each[place] for name, each in self.effects.items()}
        out: Rows = {}
        values = draw.normal(size=(FEATURES, rows)) + effects["features"][:, None]
        if changed:
            values[0] += self.change.feature_sd
        out |= {f"f{i}": values[i] for i in range(FEATURES)}
        categories = SLICED if self.sliced else 1
        for i in range(categories):
            if self.sliced:
                out[f"c{i}"] = draw.choice(len(LEVELS), size=rows, p=LEVELS)
            else:
                out["segment"] = draw.integers(0, SEGMENTS, rows)
        out |= self._answers(draw, rows, effects, out, changed=changed)
        middle = CONFIDENCE[0] + effects["confidence"][0] + (self.change.confidence if changed else 0.0)
        out["confidence"] = _confidence(draw, rows, float(middle))
        out["latency_s"] = 0.02 * np.exp(0.4 * (draw.normal(size=rows) + effects["latency"][0]))
        out["failed"] = draw.random(rows) < expit(logit(0.002) + effects["failures"][0])
        return out

    def _answers(
        self, draw: np.random.Generator, rows: int, effects: dict[str, Floats], there: Rows, *, changed: bool
    ) -> Rows:
        """Labels and predictions."""
        if self.silent_base:
            return _silent(draw, rows, fallen=changed and self.change.silent)
        weights = np.exp(effects["classes"])
        label = draw.choice(CLASSES, size=rows, p=weights / weights.sum())
        rate = self.change.error_to if changed and self.change.error_to is not None else ERROR
        chance = expit(logit(rate) + effects["error"][0] + effects["class_error"][label])
        if changed and self.change.planted_to is not None:
            chance = np.where((there["c0"] == 0) & (there["c1"] == 0), self.change.planted_to, chance)
        wrong = draw.random(rows) < chance
        other = (label + draw.integers(1, CLASSES, rows)) % CLASSES
        return {"label": label, "prediction": np.where(wrong, other, label)}

    def blocks(self, first: int, last: int, *, rows: int = 100_000) -> Iterator[tuple[npt.NDArray[np.intp], Rows]]:
        """The rows of the windows ``first..last - 1``, some windows at a time.

        Args:
            first: First window.
            last: First window after them.
            rows: How many rows at least a block has, but for the last.

        Yields:
            The window of each row, and the rows.
        """
        begun, many = first, 0
        for place in range(first, last):
            many += int(self.sizes[place])
            if many >= rows or place == last - 1:
                parts = [self.window(i) for i in range(begun, place + 1)]
                of = np.repeat(np.arange(begun, place + 1), self.sizes[begun : place + 1])
                yield of, {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
                begun, many = place + 1, 0


def _silent(draw: np.random.Generator, rows: int, *, fallen: bool) -> Rows:
    """Class 0 is missed in 2 of 10 rows, or in 5, and named falsely as often; the other classes make up for it."""
    missed = 0.05 if fallen else 0.02
    chance = np.array([missed, missed, 0.10 - 2 * missed, 0.10 - missed, 0.80 + missed])
    kind = draw.choice(5, size=rows, p=chance)
    one, two = draw.integers(1, CLASSES, rows), draw.integers(1, CLASSES - 1, rows)
    other = (one - 1 + two) % (CLASSES - 1) + 1  # another class than `one`, and not class 0
    zero = np.zeros(rows, dtype=np.int64)
    label = np.select([kind == 0, kind == 1, kind == 2, kind == 3], [zero, one, one, zero], one)
    prediction = np.select([kind == 0, kind == 1, kind == 2, kind == 3], [one, zero, other, zero], one)
    return {"label": label, "prediction": prediction}


def _confidence(draw: np.random.Generator, rows: int, mean: float) -> Floats:
    mean, sd = min(max(mean, 0.05), 0.95), CONFIDENCE[1]  # a beta distribution of that deviation has its mean within
    size = mean * (1 - mean) / sd**2 - 1
    return np.asarray(beta.rvs(mean * size, (1 - mean) * size, size=rows, random_state=draw), dtype=np.float64)


def _effects(draw: np.random.Generator, stream: Stream, width: int, sd: float) -> Floats:
    nature, total = stream.nature, stream.windows
    out = np.zeros((total, width))
    if sd == 0:
        return out
    new = draw.standard_t(3, size=(total, width)) if nature.tails == "t3" else draw.normal(size=(total, width))
    out[0] = sd * new[0]
    for t in range(1, total):
        out[t] = nature.rho * out[t - 1] + np.sqrt(1 - nature.rho**2) * sd * new[t]
    pattern = nature.season_sd * sd * draw.normal(size=(nature.season, width))
    out += pattern[np.arange(total) % nature.season]
    if nature.trend:
        along = np.arange(total) / max(stream.baseline - 1, 1)
        if nature.after == "stays":
            along = np.minimum(along, 1.0)
        out += sd * nature.trend * draw.choice([-1.0, 1.0], size=width) * (along - 0.5)[:, None]
    return out


def _bursts(draw: np.random.Generator, stream: Stream, width: int) -> Floats:
    if stream.nature.bursts == 0:
        return np.zeros((stream.windows, width))
    return (draw.random((stream.windows, width)) < stream.nature.bursts).astype(np.float64)
