"""How much change does not matter; light enough to be read with a project."""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Final

SHARES: Final = ("rate_relative", "rate_points", "distribution", "mean", "volume_relative")
"""Floors that are shares."""


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
        if not all(0 <= getattr(self, name) < 1 for name in SHARES):
            raise ValueError("floors are shares: each must be at least 0 and below 1")

    def to_json(self) -> dict[str, float | bool]:
        """Each by its name, as ``assay.toml`` has them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


SENSITIVE: Final = Floors(0.0, 0.0, 0.0, 0.0, 0.0, one_window=True)
"""Every change matters, at once. What keeps the budget then is that days vary as in the baseline, and no more."""
FLOORS: Final = MappingProxyType({"default": Floors(), "sensitive": SENSITIVE})
"""Floors that have a name."""
