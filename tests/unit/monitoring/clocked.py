"""Counts of a deployment whose inputs, errors and traffic go by the clock: hours, weekdays, months, and a trend."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from scipy.stats import norm
from tests.unit.monitoring.drifting import MONDAY, Normal

from assay.monitoring.signals import SignalSpec, WindowCounts

Floats = npt.NDArray[np.float64]
EDGES = tuple(float(x) for x in norm.ppf(np.arange(1, 10) / 10))


@dataclass(frozen=True)
class ClockedStream:
    """Windows of one length; every signal has its own pattern, the same in every cycle.

    Attributes:
        seed: Of everything.
        span: Length of a window.
        rows: Mean rows of a window.
        features: Numeric features.
        hours: Size of the hourly pattern: of features in standard deviations, of rates in log-odds, of traffic twice.
        weekdays: The same of weekdays.
        both: The same of hours of the week, beyond hours and weekdays.
        months: The same of months.
        day_sd: Variation of whole days.
        trend: What errors move in 30 days of the baseline, in log-odds; it stops at its end unless ``onward``.
        onward: Whether the trend goes on in the live windows.
        worse: What errors move at the live window ``at``, in log-odds.
        at: When.
    """

    seed: int
    span: timedelta = timedelta(hours=1)
    rows: int = 200
    features: int = 4
    hours: float = 0.0
    weekdays: float = 0.0
    both: float = 0.0
    months: float = 0.0
    day_sd: float = 0.0
    trend: float = 0.0
    onward: bool = False
    worse: float = 0.0
    at: int = 0

    def specs(self) -> tuple[SignalSpec, ...]:
        out = [SignalSpec(f"feature:f{i}", "inputs", "ordered", f"f{i}", edges=EDGES) for i in range(self.features)]
        out += [
            SignalSpec("prediction", "outputs", "values", "pred", values=("a", "b", "c")),
            SignalSpec("volume", "service", "volume", ""),
            SignalSpec("error", "errors", "rate", "label", sides="up"),
        ]
        return tuple(out)

    def windows(self, baseline: int, live: int) -> tuple[Normal, tuple[WindowCounts, ...]]:
        """The reference and the live windows after it."""
        rng = np.random.default_rng(self.seed)
        total = baseline + live
        starts = [MONDAY + i * self.span for i in range(total)]
        width = self.features + 5
        effect = self._effects(rng, starts, width)
        size = rng.poisson(self.rows * np.exp(2 * effect[:, 0] - 2 * effect[:baseline, 0].mean()))
        below = norm.cdf(np.array(EDGES)[None, None] - effect[:, 1 : self.features + 1, None])
        ends = np.ones((total, self.features, 1))
        bins = np.diff(np.concatenate([0 * ends, below, ends], axis=2), axis=2)
        share = np.exp(effect[:, -3:])
        days = np.array([(at - starts[0]) / timedelta(days=30) for at in starts])
        moved = self.trend * np.where(self.onward, days, np.minimum(days, days[baseline - 1] if baseline else 0.0))
        late = np.arange(total) >= baseline + self.at
        wrong = expit(logit(0.08) + effect[:, -4] + moved + self.worse * late)
        errors = rng.binomial(size, wrong)
        out = []
        for t, start in enumerate(starts):
            counts = {f"feature:f{i}": _drawn(rng, size[t], bins[t, i]) for i in range(self.features)}
            counts["prediction"] = (*_drawn(rng, size[t], share[t] / share[t].sum()), 0)
            counts["error"] = (int(size[t] - errors[t]), int(errors[t]))
            out.append(WindowCounts(_text(start), _text(start + self.span), int(size[t]), counts))
        return Normal(self.specs(), tuple(out[:baseline])), tuple(out[baseline:])

    def _effects(self, rng: np.random.Generator, starts: list[datetime], width: int) -> Floats:
        phase = rng.uniform(0, 2 * np.pi, (4, width))
        weekday, week = rng.normal(size=(7, width)), rng.normal(size=(168, width))
        whole = rng.normal(size=((starts[-1] - starts[0]).days + 1, width))
        day = np.array([(at - starts[0]).days for at in starts])
        hour = np.array([at.hour for at in starts])
        weekdays = np.array([at.weekday() for at in starts])
        month = np.array([at.timetuple().tm_yday for at in starts])
        out = self.hours * np.sin(2 * np.pi * hour[:, None] / 24 + phase[0])
        out += self.weekdays * weekday[weekdays] + self.both * week[weekdays * 24 + hour]
        out += self.months * np.sin(2 * np.pi * month[:, None] / 365 + phase[1])
        return np.asarray(out + self.day_sd * whole[day], dtype=np.float64)


def _drawn(rng: np.random.Generator, size: int, share: Floats) -> tuple[int, ...]:
    return tuple(int(n) for n in rng.multinomial(size, share))


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
