"""Ordered numbers: every half-line of the baseline's bins."""

from __future__ import annotations

import numpy as np

from assay.inference.natural import Floats
from assay.monitoring.detectors.base import Question, View
from assay.monitoring.detectors.fixed import FixedWatcher, count, watch
from assay.monitoring.signals import SignalSpec


class HalfLine:
    """The share at or below each edge, for a rise and for a fall: shifts, spreads and tails of a number.

    Use ``learnedset`` beside it for changes in the middle. Promise: that of the shelf, with the floor ``distribution``.
    """

    name = "halfline"

    def covers(self, spec: SignalSpec) -> bool:
        """Ordered signals; not those whose tolerance is in their unit, which no share can tell."""
        return spec.kind == "ordered" and spec.tolerance is None

    def questions(self, spec: SignalSpec) -> tuple[Question, ...]:
        """Two per edge; for a one-sided signal ``up`` (larger numbers) asks only whether fewer stay below."""
        out = []
        for i, edge in enumerate(spec.edges):
            below, label = tuple(range(i + 1)), f"{spec.subject} <= {edge:.6g}"
            if spec.sides != "up":
                out.append(Question(label, below, "up"))
            if spec.sides != "down":
                out.append(Question(label, below, "down"))
        return tuple(out)

    def tally(self, spec: SignalSpec, counts: Floats) -> tuple[Floats, Floats]:
        """Rows at or below each edge."""
        return count(self.questions(spec), counts)

    def watch(self, view: View) -> FixedWatcher:
        """Judge by the floor of distributions."""
        floor = np.full(len(view.natural.share), view.floors.distribution)
        return watch(view, self.questions(view.spec), self.tally(view.spec, view.counts), floor)
