"""Categories: every single value."""

from __future__ import annotations

import numpy as np

from assay.inference.natural import Floats
from assay.monitoring.detectors.base import Question, View
from assay.monitoring.detectors.fixed import FixedWatcher, count, watch
from assay.monitoring.signals import SignalSpec


class Value:
    """The share of each listed value, and of all others together, for a rise and for a fall.

    Use ``learnedset`` beside it for many small changes. Promise: that of the shelf, with the floor ``distribution``.
    """

    name = "value"

    def covers(self, spec: SignalSpec) -> bool:
        """Signals of values only."""
        return spec.kind == "values"

    def questions(self, spec: SignalSpec) -> tuple[Question, ...]:
        """Two per value."""
        labels = [f"{spec.subject} = {value}" for value in spec.values]
        labels.append(f"{spec.subject} is another value than in the baseline")
        return tuple(
            Question(label, (i,), side)
            for i, label in enumerate(labels)
            for side in (("up", "down") if spec.sides == "both" else (spec.sides,))
        )

    def tally(self, spec: SignalSpec, counts: Floats) -> tuple[Floats, Floats]:
        """Rows of each value."""
        return count(self.questions(spec), counts)

    def watch(self, view: View) -> FixedWatcher:
        """Judge by the floor of distributions."""
        floor = np.full(len(view.natural.share), view.floors.distribution)
        return watch(view, self.questions(view.spec), self.tally(view.spec, view.counts), floor)
