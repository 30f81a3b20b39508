"""What a detector must do, and what it is given.

A detector turns a signal into *questions* (sets of bins asked for a rise or a fall) and weighs the answers as
evidence. Its promise: for every stream whose shares, given the past, stay within the floor of the estimated
baseline, ``E(j..k)`` has expectation at most 1 for every start ``j``; so the weighted sum over starts, detectors
and signals reaches ``A`` in expectation at most once in ``A`` windows, whatever depends on whatever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from assay.inference.natural import Floats, Ints, Natural
from assay.monitoring.signals import SignalSpec


@dataclass(frozen=True, slots=True)
class Floors:
    """How much change does not matter: nothing smaller raises an alarm; and how long one has to last.

    Attributes:
        rate_relative: Of a rate, as a share of it (of the smaller of rate and 1 - rate).
        rate_points: Of a rate, in share points; the larger of the two counts.
        distribution: Of a distribution, in total variation.
        mean: Of a mean, as a share of the range.
        volume_relative: Of the number of rows, as a share of it.
        one_window: A single window may do. Otherwise most questions need two at least: one odd day is no alarm.
    """

    rate_relative: float = 0.10
    rate_points: float = 0.005
    distribution: float = 0.02
    mean: float = 0.005
    volume_relative: float = 0.10
    one_window: bool = False

    def __post_init__(self) -> None:
        values = (self.rate_relative, self.rate_points, self.distribution, self.mean, self.volume_relative)
        if not all(0 <= x < 1 for x in values):
            raise ValueError("floors are shares: each must be at least 0 and below 1")


SENSITIVE = Floors(0.0, 0.0, 0.0, 0.0, 0.0, one_window=True)
"""Every change matters, at once. Then the promise holds for streams that are as alike as their rows are independent."""


@dataclass(frozen=True, slots=True)
class Question:
    """One yes/no question asked of every row of a signal.

    Attributes:
        label: What "yes" means, for a person: ``temperature <= 12.3``.
        bins: The counts that are "yes".
        side: Which change of the share of "yes" is looked for.
    """

    label: str
    bins: tuple[int, ...]
    side: Literal["up", "down"]


@dataclass(frozen=True, slots=True)
class View:
    """What a detector is given about one signal.

    Attributes:
        spec: The signal.
        counts: Its counts, (T, bins).
        natural: What the baseline knows about the detector's questions, in their order.
        floors: What does not matter.
        at: Stratum of each window, (T,).
        cap: Most evidence one window may bring, in nats; None when one window may do.
    """

    spec: SignalSpec
    counts: Floats
    natural: Natural
    floors: Floors
    at: Ints
    cap: float | None


class Watcher(Protocol):
    """One signal under one detector, over the windows of one evaluation."""

    def log_evidence(self, first: Ints, last: Ints) -> Floats:
        """``log E`` for windows ``first..last`` (both included), (n,); minus infinity when nothing can be asked."""
        ...

    def strongest(self, first: int, last: int) -> Question:
        """The question that speaks loudest over these windows."""
        ...


class Detector(Protocol):
    """A way of asking a kind of signal questions."""

    @property
    def name(self) -> str:
        """Stable name, as the shelf lists it."""
        ...

    def covers(self, spec: SignalSpec) -> bool:
        """Whether it has anything to ask of this signal."""
        ...

    def questions(self, spec: SignalSpec) -> tuple[Question, ...]:
        """All it may ask. The baseline learns the natural variation of each."""
        ...

    def tally(self, spec: SignalSpec, counts: Floats) -> tuple[Floats, Floats]:
        """Answers: events and rows per window and question, each (T, questions), from counts (T, bins)."""
        ...

    def watch(self, view: View) -> Watcher:
        """Judge these windows."""
        ...
