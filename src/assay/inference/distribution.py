"""What the baseline knows about a whole distribution over bins, for evidence that combines bins freely."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from assay.inference.natural import Floats, Natural

_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class Distribution:
    """Shares of B bins, and one design effect for every set of them.

    Attributes:
        strata: Share of each bin per stratum, rows summing to 1, (S, B).
        rows: Rows in the baseline.
        design: Largest design effect of the questions it was made of, at ``window_rows`` rows a window.
        window_rows: Mean rows of a baseline window.
        share: Share of each bin, the mean over strata, (B,).
        error: Its standard error in the baseline, (B,).
    """

    strata: Floats
    rows: float
    design: float
    window_rows: float
    share: Floats = field(init=False)
    error: Floats = field(init=False)

    def __post_init__(self) -> None:
        share = np.asarray(self.strata.mean(0), dtype=np.float64)
        object.__setattr__(self, "share", share)
        object.__setattr__(self, "error", np.sqrt(share * (1 - share) * self.design / self.rows))

    def design_at(self, rows: Floats) -> Floats:
        """Design effect in windows of so many rows, (T,)."""
        return 1 + (self.design - 1) * rows / max(self.window_rows, 1.0)


def from_values(natural: Natural) -> Distribution:
    """From one question per bin."""
    return _made(natural.strata, natural)


def from_half_lines(natural: Natural) -> Distribution:
    """From one question "at or below this edge" per edge: the last bin is what is above them all.

    Half-lines vary by nature more than single bins do, because a shift moves many bins the same way.
    """
    ends = np.zeros((len(natural.strata), 1)), np.ones((len(natural.strata), 1))
    return _made(np.diff(np.concatenate([ends[0], natural.strata, ends[1]], axis=1), axis=1), natural)


def _made(strata: Floats, natural: Natural) -> Distribution:
    safe = np.maximum(strata, _LEAST)
    return Distribution(
        strata=safe / safe.sum(1, keepdims=True),
        rows=max(float(natural.rows.max()), 1.0),
        design=float(natural.design.max()),
        window_rows=float(natural.window_rows.max()),
    )
