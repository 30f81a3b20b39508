"""The mean of a score between 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from assay.inference.distribution import from_half_lines
from assay.inference.meanbet import MeanWatch, log_evidence, prepare
from assay.inference.natural import Floats, Ints
from assay.monitoring.detectors.base import Question, View
from assay.monitoring.detectors.fixed import count, parts_of
from assay.monitoring.signals import SignalSpec


def bin_values(spec: SignalSpec) -> Floats:
    """The value that stands for each bin of an ordered signal, in its unit: its middle; half a bin beyond the ends."""
    edges = np.asarray(spec.edges, dtype=np.float64)
    if len(edges) == 1:
        return np.array([edges[0] - 0.5, edges[0] + 0.5])
    first, last = edges[0] - (edges[1] - edges[0]) / 2, edges[-1] + (edges[-1] - edges[-2]) / 2
    return np.concatenate([[first], (edges[1:] + edges[:-1]) / 2, [last]])


@dataclass(frozen=True, slots=True)
class MeanWatcher:
    """Bets on the mean of one score."""

    view: View
    inner: MeanWatch
    falls: tuple[Question, Question]

    @property
    def windows(self) -> int:
        """How many windows it has."""
        return len(self.inner.wager) - 1

    def then(self, counts: Floats, at: Ints) -> MeanWatcher:
        """The same after more windows."""
        return replace(self, inner=_bets(replace(self.view, counts=counts, at=at), self.inner))

    def cut(self, begin: int, end: int) -> MeanWatcher:
        """The same of some of the windows."""
        return replace(self, inner=self.inner.cut(begin, end))

    def log_evidence(self, first: Ints, last: Ints) -> Floats:
        """``log E`` of the mixture of bets."""
        return log_evidence(self.inner, first, last)

    def strongest(self, first: int, last: int) -> Question:
        """The half-line at the median, in the direction that the mean moved."""
        wager = self.inner.wager[last + 1] - self.inner.wager[first]
        return self.falls[0] if self.inner.bets[int(wager.argmax())] < 0 else self.falls[1]


class Mean:
    """The mean of a bounded score, by betting on its bins: a small shift of the whole score at once.

    Confidence, figures of queries, and errors clipped to where most of the baseline's are.

    Promise: that of the shelf, with the floor ``mean`` or the signal's own tolerance, for streams whose *binned* and
    clipped mean stays within it.
    """

    name = "mean"

    def covers(self, spec: SignalSpec) -> bool:
        """Signals that say where their mean is judged, and confidence: ordered, and between 0 and 1."""
        if spec.span is not None:
            return spec.kind == "ordered"
        inside = bool(spec.edges) and spec.edges[0] >= 0 and spec.edges[-1] <= 1
        return spec.kind == "ordered" and spec.family == "outputs" and spec.name == "confidence" and inside

    def questions(self, spec: SignalSpec) -> tuple[Question, ...]:
        """What the baseline must know: every half-line."""
        return parts_of(spec)

    def tally(self, spec: SignalSpec, counts: Floats) -> tuple[Floats, Floats]:
        """Rows at or below each edge."""
        return count(self.questions(spec), counts)

    def watch(self, view: View) -> MeanWatcher:
        """Bet on both directions that do harm."""
        spec, known = view.spec, from_half_lines(view.natural)
        middle = int(np.searchsorted(np.cumsum(known.share), 0.5))
        below = tuple(range(min(middle, spec.bins - 2) + 1))
        label = f"{spec.subject} <= {spec.edges[len(below) - 1]:.6g}"
        falls = Question(label, below, "up"), Question(label, below, "down")
        return MeanWatcher(replace(view, counts=view.counts[:0], at=view.at[:0]), _bets(view, None), falls)


def _bets(view: View, before: MeanWatch | None) -> MeanWatch:
    spec = view.spec
    low, high = spec.span or (0.0, 1.0)
    values = np.clip((bin_values(spec) - low) / (high - low), 0.0, 1.0)
    floor = view.floors.mean if spec.tolerance is None else spec.tolerance / (high - low)
    known = from_half_lines(view.natural)
    return prepare(view.counts, values, known, floor=floor, at=view.at, cap=view.cap, sides=spec.sides, before=before)
