"""Rates: one question in each direction that does harm."""

from __future__ import annotations

import numpy as np

from assay.inference.natural import Floats, Natural
from assay.monitoring.detectors.base import Question, View
from assay.monitoring.detectors.fixed import FixedWatcher, count, watch
from assay.monitoring.floors import Floors
from assay.monitoring.signals import SignalSpec


class Rate:
    """The share of rows with an event: errors, failures, nulls, rows slower than the baseline's p95.

    Promise: that of the shelf, with the floor ``max(rate_relative x min(p, 1 - p), rate_points)``.
    """

    name = "rate"

    def covers(self, spec: SignalSpec) -> bool:
        """Rates only."""
        return spec.kind == "rate"

    def questions(self, spec: SignalSpec) -> tuple[Question, ...]:
        """One per harmful direction."""
        label = _said(spec)
        asked = (Question(label, (1,), "up"), Question(label, (1,), "down"))
        return tuple(q for q in asked if spec.sides in ("both", q.side))

    def tally(self, spec: SignalSpec, counts: Floats) -> tuple[Floats, Floats]:
        """Events and rows, once per direction."""
        return count(self.questions(spec), counts)

    def watch(self, view: View) -> FixedWatcher:
        """Judge by the floor of rates."""
        floor = floor_of(view.natural, view.floors)
        return watch(view, self.questions(view.spec), self.tally(view.spec, view.counts), floor)


def _said(spec: SignalSpec) -> str:
    """What is counted, in words: a signal called accuracy counts the answers that were not."""
    if spec.family not in ("errors", "classes", "slices"):
        return spec.name
    what = "larger errors than nearly all" if spec.edges else "wrong answers"  # a regression's, beyond the p95
    where = spec.name.removeprefix("accuracy:").removeprefix("slice:")
    return what if spec.name == "error" else f"{what} where {where}"


def floor_of(natural: Natural, floors: Floors) -> Floats:
    """Tolerance of each rate, in share points, (W,)."""
    smaller = np.minimum(natural.share, 1 - natural.share)
    return np.asarray(np.maximum(floors.rate_relative * smaller, floors.rate_points), dtype=np.float64)
