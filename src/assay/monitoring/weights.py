"""How the one false-alarm budget is shared: by family first, then by column, then by signal.

Families first, so that a hundred more columns do not slow the error rate. Weights are fixed with the baseline's
signals; a family or a signal that is absent keeps its share unused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from assay.monitoring.signals import Family, SignalSpec

SHARES: Mapping[Family, float] = MappingProxyType(
    {"inputs": 1 / 4, "outputs": 1 / 4, "service": 1 / 8, "errors": 1 / 8, "classes": 1 / 8, "slices": 1 / 8}
)
DISCOVERED = "accuracy:slice:discovered"
"""The signal of slices that are searched for: half the share of slices, or all of it where none is declared."""

_BY_COLUMN: tuple[Family, ...] = ("inputs", "outputs", "service")


def weights(specs: Sequence[SignalSpec]) -> tuple[float, ...]:
    """The share of the budget of each signal, in their order; the sum is at most 1."""
    groups = [(s.family, (s.column or s.name) if s.family in _BY_COLUMN else s.name) for s in specs]
    members = Counter(groups)
    columns = Counter(family for family, _ in members)
    searched = columns["slices"] > 1 and members["slices", DISCOVERED] > 0
    if searched:
        columns["slices"] = 2 * (columns["slices"] - 1)
    each = [SHARES[family] / columns[family] / members[family, group] for family, group in groups]
    return tuple(
        SHARES["slices"] / 2 if searched and spec.name == DISCOVERED else weight
        for spec, weight in zip(specs, each, strict=True)
    )
