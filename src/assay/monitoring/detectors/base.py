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
from assay.monitoring.floors import Floors
from assay.monitoring.signals import SignalSpec


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


class Carried(Watcher, Protocol):
    """A watcher that is carried on by the windows that come later, with the same evidence as if all came at once."""

    @property
    def windows(self) -> int:
        """How many windows it has."""
        ...

    def then(self, counts: Floats, at: Ints) -> Carried:
        """The same after more windows: their counts, (T, bins), and strata, (T,)."""
        ...

    def cut(self, begin: int, end: int) -> Carried:
        """The same of the windows ``begin`` to ``end - 1`` alone, with what those before have chosen and summed up."""
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
