"""Ordered numbers: many half-lines together."""

from __future__ import annotations

import numpy as np

from assay.inference.evidence import carried_on
from assay.inference.natural import Floats
from assay.inference.ranks import FEWEST, spans_of, terms_of_ranks
from assay.monitoring.detectors.base import Question, View
from assay.monitoring.detectors.fixed import FixedWatcher, count, parts_of, short_floor
from assay.monitoring.signals import SignalSpec

PATIENCE = 0.5
"""Of what one window may bring elsewhere it may bring here: a day on which a whole number is off is seen by half-lines,
and what these add is small shifts that last."""


class Rank:
    """Where a number lies among the baseline's: a small shift of the whole of it.

    Use ``halfline`` beside it for tails and spreads. Promise: that of the shelf, with the floor ``distribution`` for
    every half-line.
    """

    name = "rank"

    def covers(self, spec: SignalSpec) -> bool:
        """Ordered signals with edges enough; not those whose tolerance is in their unit."""
        return spec.kind == "ordered" and spec.tolerance is None and len(spec.edges) >= FEWEST

    def questions(self, spec: SignalSpec) -> tuple[Question, ...]:
        """What the baseline must know: every half-line."""
        return parts_of(spec)

    def tally(self, spec: SignalSpec, counts: Floats) -> tuple[Floats, Floats]:
        """Rows at or below each edge."""
        return count(self.questions(spec), counts)

    def watch(self, view: View) -> FixedWatcher:
        """Bet on half-lines together, for a rise and for a fall of their shares."""
        spec, natural = view.spec, view.natural
        sides = {"both": (1.0, -1.0), "up": (-1.0,), "down": (1.0,)}[spec.sides]
        asked = [(some, sign) for some in spans_of(natural) for sign in sides]
        if not asked:
            return FixedWatcher((), None)
        floor = short_floor(natural, np.full(len(natural.share), view.floors.distribution))
        cap = None if view.cap is None else PATIENCE * view.cap
        terms, blend = terms_of_ranks(natural, asked, floor=floor, cap=cap)
        events, rows = self.tally(spec, view.counts)
        path = carried_on(events @ blend, rows @ blend, terms, view.at)
        return FixedWatcher(
            tuple(_middle(spec, int(some[len(some) // 2]), sign) for some, sign in asked), path, terms, blend
        )


def _middle(spec: SignalSpec, edge: int, sign: float) -> Question:
    """What is said of half-lines together: the one in their middle."""
    label = f"{spec.subject} <= {spec.edges[edge]:.6g}"
    return Question(label, tuple(range(edge + 1)), "up" if sign > 0 else "down")
