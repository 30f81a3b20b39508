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
_BY_COLUMN: tuple[Family, ...] = ("inputs", "outputs", "service")


def weights(specs: Sequence[SignalSpec]) -> tuple[float, ...]:
    """The share of the budget of each signal, in their order; the sum is at most 1."""
    groups = [(s.family, (s.column or s.name) if s.family in _BY_COLUMN else s.name) for s in specs]
    members = Counter(groups)
    columns = Counter(family for family, _ in members)
    return tuple(SHARES[family] / columns[family] / members[family, group] for family, group in groups)
