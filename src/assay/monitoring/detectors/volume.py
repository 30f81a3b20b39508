"""The number of rows: far more or far fewer than usual."""

from __future__ import annotations

import numpy as np

from assay.inference.natural import Floats, Natural
from assay.monitoring.detectors.base import Question, View
from assay.monitoring.detectors.fixed import FixedWatcher, watch
from assay.monitoring.signals import SignalSpec

_SLOTS = 1e12


class Volume:
    """Rows per window as a Poisson count: one event in a great many slots of a window.

    A binomial of 10^12 slots is a Poisson count for all that can be measured. With fewer than 14 baseline windows it
    says nothing: how much traffic varies cannot be guessed. Promise: that of the shelf, with the floor
    ``volume_relative x rows``, of the rows at that hour or on that weekday, and of at least half the mean; rows that
    come in bursts are natural variation.
    """

    name = "volume"

    def covers(self, spec: SignalSpec) -> bool:
        """Volume only."""
        return spec.kind == "volume"

    def questions(self, spec: SignalSpec) -> tuple[Question, ...]:
        """More rows; fewer rows."""
        asked = (Question("rows per window", (0,), "up"), Question("rows per window", (0,), "down"))
        return tuple(q for q in asked if spec.sides in ("both", q.side))

    def tally(self, spec: SignalSpec, counts: Floats) -> tuple[Floats, Floats]:
        """Rows as events; the same number of slots in every window."""
        events = np.repeat(counts, len(self.questions(spec)), axis=1)
        return events, np.full(events.shape, _SLOTS)

    def watch(self, view: View) -> FixedWatcher:
        """Judge by the floor of volume."""
        questions, natural = self.questions(view.spec), view.natural
        if natural.short:
            return FixedWatcher(questions, None)
        usual = np.maximum(natural.strata, (natural.strata + natural.share) / 2)  # an hour of no rows may have some
        floor = view.floors.volume_relative * usual
        return watch(view, questions, self.tally(view.spec, view.counts), _at_least(floor, natural))


def _at_least(floor: Floats, natural: Natural) -> Floats:
    """Two standard errors of the mean volume, when that is more than the floor (in share of slots)."""
    error = np.sqrt(natural.share * natural.design / np.maximum(natural.rows, 1.0))
    return np.asarray(np.maximum(floor, 2 * error), dtype=np.float64)
