"""A reading: what kind of change two models differ by, how sure that is, and why. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from assay.artifacts.diff.change import Measures, TensorChange, kind_of
from assay.artifacts.names import shown

MOST_NAMES = 3


class Kind(StrEnum):
    """What kind of change it is."""

    IDENTICAL = "identical"
    CONTAINER = "container changed only"
    BESIDE = "other content changed"
    ROT = "bit rot"
    ONE_TENSOR = "one tensor edited"
    LOW_RANK = "low-rank edit"
    PRUNED = "pruned"
    QUANTISED = "quantised"
    FINE_TUNED = "fine-tuned"
    RETRAINED = "retrained"
    ARCHITECTURE = "other architecture"
    UNCLEAR = "unclear"


class Confidence(StrEnum):
    """How sure a reading is."""

    CERTAIN = "certain"  # follows from the bytes
    LIKELY = "likely"  # another cause would have to imitate it
    UNSURE = "unsure"  # near a threshold, or little to see


@dataclass(frozen=True, slots=True)
class Reading:
    """What kind of change it is, how sure, and why.

    Attributes:
        kind: The kind.
        confidence: How sure.
        reason: One sentence with the numbers it rests on.
    """

    kind: Kind
    confidence: Confidence
    reason: str

    @property
    def differs(self) -> bool:
        """Whether the models differ in anything a prediction can depend on."""
        return self.kind not in {Kind.IDENTICAL, Kind.CONTAINER}

    def as_json(self) -> dict[str, object]:
        """As ``assay diff --json`` prints it."""
        return {"kind": self.kind.value, "confidence": self.confidence.value, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the rules look at.

    Attributes:
        every: Every tensor of both models.
        changed: Those whose values were compared and differ.
    """

    every: tuple[TensorChange, ...]
    changed: tuple[tuple[TensorChange, Measures], ...]

    @property
    def matrices(self) -> tuple[tuple[TensorChange, Measures], ...]:
        """Those of two dimensions or more."""
        return tuple(pair for pair in self.changed if len(pair[0].place.shape) > 1)

    @property
    def weights(self) -> tuple[tuple[TensorChange, Measures], ...]:
        """Matrices, or, where no matrix changed, all that changed."""
        return self.matrices or self.changed

    def total(self, of: Callable[[Measures], float]) -> float:
        """Sum over all changed tensors."""
        return sum(of(measures) for _, measures in self.changed)


def names(changes: Sequence[TensorChange]) -> str:
    """Few names; those that differ in the layer's number only are one."""
    if len(changes) <= MOST_NAMES:
        return ", ".join(shown(one.name) for one in changes)
    kinds = list(dict.fromkeys(shown(kind_of(one.name)[0]) for one in changes))
    more = len(kinds) - MOST_NAMES
    return f"{len(changes)} tensors ({', '.join(kinds[:MOST_NAMES])}{f' and {more} more kinds' if more > 0 else ''})"


def count(number: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{number} {one if number == 1 else many}"


def percent(share: float) -> str:
    """A share from 0 to 1 in words."""
    if 0 < share < 0.001:  # noqa: PLR2004
        return "less than 0.1 %"
    return f"{100 * share:.1f} %" if share < 1 else "100 %"
