"""Where the bins of a number end."""

from __future__ import annotations

import math
from typing import Final

from assay.engines.base import Profile

BINS: Final = 20
"""Quantile bins of a number; the two beyond the observed range come on top."""
QUANTILES: Final = (*(i / BINS for i in range(1, BINS)), 0.95, 0.99)
"""What is asked of every number: where its bins end, and the shares that latency and errors are watched at."""

_TINY: Final = 1e-300


def edges_of(profile: Profile, *, low: float = -math.inf, high: float = math.inf) -> tuple[float, ...]:
    """Ends of bins: the observed quantiles, and the observed range, so that the outer bins are what is beyond it.

    Args:
        profile: Of a number.
        low: Smallest possible value: no bin lies below it.
        high: Largest possible value.
    """
    if profile.least is None or profile.most is None:
        return ()
    below = min(math.nextafter(profile.least, -math.inf), profile.least if abs(profile.least) > _TINY else -_TINY)
    inner = {*profile.quantiles[: BINS - 1], profile.most}
    edges = {edge + 0.0 for edge in inner if low <= edge <= high and math.isfinite(edge)}
    if low <= below <= high and math.isfinite(below):
        edges.add(below)
    return tuple(sorted(edges))


def at(profile: Profile, share: float) -> float | None:
    """The quantile of a profile asked for `QUANTILES`; None where there is none."""
    return profile.quantiles[QUANTILES.index(share)] if profile.quantiles else None


def middle(profile: Profile, *, low: float | None = None) -> tuple[float, float] | None:
    """Where all but the outer twentieths of a number are; None where that is one point.

    Args:
        profile: Of a number, asked for `QUANTILES`.
        low: The lower end instead of the quantile: of numbers that are not negative, 0.
    """
    first, last = at(profile, QUANTILES[0]), at(profile, 0.95)
    first = first if low is None else low
    return None if first is None or last is None or first >= last else (first, last)
