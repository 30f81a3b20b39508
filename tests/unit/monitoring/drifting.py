"""A simulated deployment, as counts: features, predictions, confidence, service and labels, with natural variation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from scipy.stats import norm

from assay.monitoring.signals import SignalSpec, WindowCounts

Floats = npt.NDArray[np.float64]
MONDAY = datetime(2025, 1, 6, tzinfo=UTC)


@dataclass(frozen=True)
class Normal:
    """A reference: signals and baseline windows."""

    specs: tuple[SignalSpec, ...]
    windows: tuple[WindowCounts, ...]
    window: str = "1d"


@dataclass(frozen=True)
class Change:
    """What changes at ``at`` (index of a live window)."""

    at: int
    feature_sd: float = 0.0
    error_to: float | None = None
    class_error_to: float | None = None
    confidence: float = 0.0
    scattered: float = 0.0


@dataclass(frozen=True)
class DriftingStream:
    """Counts of ``windows`` windows of ``rows`` rows."""

    seed: int
    features: int = 20
    bins: int = 20
    classes: int = 10
    slices: int = 0
    rows: int = 1000
    feature_day_sd: float = 0.0
    rate_day_sd: float = 0.0
    rho: float = 0.0
    weekday_sd: float = 0.0
    span: timedelta = timedelta(days=1)
    change: Change = field(default_factory=lambda: Change(at=10**9))

    def specs(self) -> tuple[SignalSpec, ...]:
        edges = tuple(float(x) for x in norm.ppf(np.arange(1, self.bins) / self.bins))
        score = tuple(float(x) for x in np.linspace(0.5, 0.975, self.bins - 1))
        out = [SignalSpec(f"feature:f{i}", "inputs", "ordered", f"f{i}", edges=edges) for i in range(self.features)]
        out += [
            SignalSpec("feature:f0:null", "inputs", "rate", "f0"),
            SignalSpec("prediction", "outputs", "values", "pred", values=tuple(str(c) for c in range(self.classes))),
            SignalSpec("confidence", "outputs", "ordered", "p", edges=score),
            SignalSpec("latency_s:p50", "service", "rate", "latency"),
            SignalSpec("latency_s:p95", "service", "rate", "latency", sides="up"),
            SignalSpec("latency_s:p99", "service", "rate", "latency", sides="up"),
            SignalSpec("failures", "service", "rate", "failed", sides="up"),
            SignalSpec("volume", "service", "volume", ""),
            SignalSpec("error", "errors", "rate", "label", sides="up"),
        ]
        out += [SignalSpec(f"accuracy:class={c}", "classes", "rate", "label", sides="up") for c in range(self.classes)]
        out += [
            SignalSpec(f"accuracy:slice:s={i}", "slices", "rate", "s", sides="up", slice={"s": str(i)})
            for i in range(self.slices)
        ]
        return tuple(out)

    def windows(self, baseline: int, live: int) -> tuple[Normal, tuple[WindowCounts, ...]]:
        """The reference of ``baseline`` windows and the ``live`` ones after it."""
        rng = np.random.default_rng(self.seed)
        total = baseline + live
        changed = np.arange(total) >= baseline + self.change.at
        counts = {**self._numbers(rng, total, changed), **self._rates(rng, total, changed)}
        volume = rng.poisson(self.rows * np.exp(self._effects(rng, total, 1, self.rate_day_sd)[:, 0]))
        out = []
        for t in range(total):
            start = MONDAY + t * self.span
            here = {name: tuple(int(n) for n in c[t]) for name, c in counts.items()}
            out.append(WindowCounts(_text(start), _text(start + self.span), int(volume[t]), here))
        return Normal(self.specs(), tuple(out[:baseline])), tuple(out[baseline:])

    def _numbers(
        self, rng: np.random.Generator, total: int, changed: npt.NDArray[np.bool_]
    ) -> Mapping[str, npt.NDArray[np.int64]]:
        out: dict[str, npt.NDArray[np.int64]] = {}
        edges = norm.ppf(np.arange(1, self.bins) / self.bins)
        effects = self._effects(rng, total, self.features, self.feature_day_sd)
        effects[:, 0] += self.change.feature_sd * changed
        for i in range(self.features):
            out[f"feature:f{i}"] = rng.multinomial(self.rows, _bins(edges, effects[:, [i]], 1.0))
        score = np.linspace(0.5, 0.975, self.bins - 1)
        middle = (
            0.85 + self._effects(rng, total, 1, self.feature_day_sd / 10) + self.change.confidence * changed[:, None]
        )
        out["confidence"] = rng.multinomial(self.rows, _bins(score, middle, 0.1))
        share = np.full((total, self.classes + 1), 1.0 / self.classes)
        share[:, -1] = 0.0
        tilt = np.where(np.arange(self.classes) % 2 == 0, 1.0, -1.0) * 2 * self.change.scattered / self.classes
        share[:, : self.classes] += changed[:, None] * tilt
        day = self._effects(rng, total, self.classes, self.rate_day_sd)
        share[:, : self.classes] *= np.exp(day)
        out["prediction"] = rng.multinomial(self.rows, share / share.sum(1, keepdims=True))
        return out

    def _rates(
        self, rng: np.random.Generator, total: int, changed: npt.NDArray[np.bool_]
    ) -> Mapping[str, npt.NDArray[np.int64]]:
        base = {"feature:f0:null": 0.01, "latency_s:p50": 0.5, "latency_s:p95": 0.05, "latency_s:p99": 0.01}
        base |= {"failures": 0.002, "error": 0.05}
        base |= {f"accuracy:class={c}": 0.2 if c == 0 else 0.05 for c in range(self.classes)}
        base |= {f"accuracy:slice:s={i}": 0.05 for i in range(self.slices)}
        effects = self._effects(rng, total, len(base), self.rate_day_sd)
        out: dict[str, npt.NDArray[np.int64]] = {}
        for i, (name, p) in enumerate(base.items()):
            share = expit(logit(p) + effects[:, i])
            if name == "error" and self.change.error_to is not None:
                share = np.where(changed, self.change.error_to, share)
            if name == "accuracy:class=0" and self.change.class_error_to is not None:
                share = np.where(changed, self.change.class_error_to, share)
            rows = self.rows
            if name.startswith("accuracy"):
                rows = rows // (self.classes if "class" in name else max(self.slices, 1))
            events = rng.binomial(rows, share)
            out[name] = np.stack([rows - events, events], axis=1)
        return out

    def _effects(self, rng: np.random.Generator, total: int, width: int, sd: float) -> Floats:
        """Log-odds (or sd) effects per window: AR(1), and a weekday pattern."""
        out = np.zeros((total, width))
        if sd == 0:
            return out
        out[0] = sd * rng.normal(size=width)
        for t in range(1, total):
            out[t] = self.rho * out[t - 1] + np.sqrt(1 - self.rho**2) * sd * rng.normal(size=width)
        pattern = self.weekday_sd * rng.normal(size=(7, width))
        return out + pattern[np.arange(total) % 7]


def _bins(edges: Floats, middle: Floats, sd: float) -> Floats:
    below = norm.cdf((edges - middle) / sd)
    ends = np.ones((len(middle), 1))
    share = np.diff(np.concatenate([0 * ends, below, ends], axis=1), axis=1)
    return np.asarray(share, dtype=np.float64)


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
