"""What a piece of evidence is, and what a plug of this shelf must do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from assay.findings import Finding

if TYPE_CHECKING:
    from assay.diagnosis.comparison import Comparison


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that speaks for or against a cause.

    Attributes:
        name: Stable name, part of the public API: ``replay``.
        value: The one number a person reads, or None when missing or not a number.
        low: Lower end of its 95 % interval, in the unit of ``value``.
        high: Upper end.
        unit: What ``value`` is: ``share of outputs``, ``accuracy``.
        detail: One sentence for the person on call.
        missing: What is absent and what it would take to get it; None when the evidence is there.
        numbers: The measures the verdict weighs, by name; only finite numbers.
        decides: A verdict this settles as a fact, without statistics.
        findings: What was seen, one by one: the columns, slices and class pairs.
        onset_s: When it began, in seconds since 1970 UTC, when this evidence can tell.
        notes: Things to show but not to weigh, of JSON types.
    """

    name: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    detail: str = ""
    missing: str | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    decides: str | None = None
    findings: tuple[Finding, ...] = ()
    onset_s: float | None = None
    notes: Mapping[str, object] = field(default_factory=dict)


class Gatherer(Protocol):
    """A plug of the shelf: looks at a comparison, answers with one piece of evidence, never raises for absence."""

    def __call__(self, comparison: Comparison) -> Evidence:
        """The evidence; ``missing`` says so when it cannot be had."""
        ...
