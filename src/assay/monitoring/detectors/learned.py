"""A set of bins that earlier windows chose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assay.inference.distribution import Distribution, from_half_lines, from_values
from assay.inference.learnedset import SetWatch, log_evidence, prepare
from assay.inference.natural import Floats, Ints
from assay.monitoring.detectors.base import Question, View
from assay.monitoring.detectors.fixed import count, parts_of
from assay.monitoring.signals import SignalSpec

_FEWEST_BINS = 3


@dataclass(frozen=True, slots=True)
class SetWatcher:
    """The learned sets of one signal."""

    spec: SignalSpec
    known: Distribution
    floor: float
    inner: SetWatch

    @property
    def windows(self) -> int:
        """How many windows it has."""
        return len(self.inner.sets)

    def then(self, counts: Floats, at: Ints) -> SetWatcher:
        """The same after more windows."""
        inner = self.inner
        after = prepare(counts, self.known, floor=self.floor, at=at, cap=inner.cap, before=inner)
        return SetWatcher(self.spec, self.known, self.floor, after)

    def cut(self, begin: int, end: int) -> SetWatcher:
        """The same of some of the windows."""
        return SetWatcher(self.spec, self.known, self.floor, self.inner.cut(begin, end))

    def log_evidence(self, first: Ints, last: Ints) -> Floats:
        """``log E`` of the set that each start had chosen."""
        return log_evidence(self.inner, first, last)

    def strongest(self, first: int, last: int) -> Question:  # noqa: ARG002 - the shelf's words
        """The set that this start had chosen."""
        bins = tuple(int(i) for i in np.flatnonzero(self.inner.sets[first]))
        return Question(f"{self.spec.subject} is in {len(bins)} of {self.spec.bins} bins", bins, "up")


class LearnedSet:
    """A set of bins that gained before, tested on what comes after: scattered changes no fixed question fits.

    Promise: that of the shelf, with the floor ``distribution`` and the baseline's selection error added. Its log
    evidence is divided by the largest design effect of the half-lines or values.
    """

    name = "learnedset"

    def covers(self, spec: SignalSpec) -> bool:
        """Distributions of three bins or more, looked at in both directions, but for those with a tolerance."""
        wide = spec.kind in ("ordered", "values") and spec.bins >= _FEWEST_BINS
        return wide and spec.sides == "both" and spec.tolerance is None

    def questions(self, spec: SignalSpec) -> tuple[Question, ...]:
        """What the baseline must know: half-lines of numbers, single values of categories."""
        return parts_of(spec)

    def tally(self, spec: SignalSpec, counts: Floats) -> tuple[Floats, Floats]:
        """Rows of each."""
        return count(self.questions(spec), counts)

    def watch(self, view: View) -> SetWatcher:
        """Choose sets as the windows pass, and test each on what follows."""
        floor = view.floors.distribution
        known = from_half_lines(view.natural) if view.spec.kind == "ordered" else from_values(view.natural)
        inner = prepare(view.counts, known, floor=floor, at=view.at, cap=view.cap)
        return SetWatcher(view.spec, known, floor, inner)
