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

VALUES = 3 / 4
"""Of what an input column has, the share of its distributions; nulls, infinities and values beyond the range have the
rest. Of what hardly ever happened a few events show a rise, and a smaller share of the budget costs them next to
nothing; it is a small shift of the values that takes long."""

_BY_COLUMN: tuple[Family, ...] = ("inputs", "outputs", "service")


def weights(specs: Sequence[SignalSpec]) -> tuple[float, ...]:
    """The share of the budget of each signal, in their order; the sum is at most 1."""
    groups = [(s.family, (s.column or s.name) if s.family in _BY_COLUMN else s.name) for s in specs]
    parts = [
        (group, spec.kind == "rate" and spec.family == "inputs") for group, spec in zip(groups, specs, strict=True)
    ]
    members = Counter(parts)
    columns = Counter(family for family, _ in set(groups))
    searched = columns["slices"] > 1 and DISCOVERED in {name for _, name in groups}
    if searched:
        columns["slices"] = 2 * (columns["slices"] - 1)
    each = [
        SHARES[group[0]]
        / columns[group[0]]
        / members[group, rate]
        * _of_column(rate=rate, both=(group, not rate) in members)
        for group, rate in parts
    ]
    return tuple(
        SHARES["slices"] / 2 if searched and spec.name == DISCOVERED else weight
        for spec, weight in zip(specs, each, strict=True)
    )


def _of_column(*, rate: bool, both: bool) -> float:
    """The part of a column's share that its rates have, or its distributions; all of it where it has one kind only."""
    return 1.0 if not both else 1 - VALUES if rate else VALUES
