"""Evidence that the mean of a score has moved, by betting on its bins.

With fixed bin values ``g`` and a bet ``l``: ``log e = sum_b c_b log(1 + l (g_b - m))``, which is an e-value for
every distribution whose mean does not exceed ``m`` (for ``l > 0``). The mean is shifted by the floor; what the
baseline leaves open is taken off as ``(n l)^2 var / (2 N)``.

References:
    Waudby-Smith, I. and Ramdas, A. (2024). Estimating means of bounded random variables by betting. JRSS B 86(1), 1-27.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assay.inference.distribution import Distribution
from assay.inference.evidence import running
from assay.inference.natural import Floats, Ints

MEAN_TO_MEDIAN = np.pi / 2
"""How much more a shift of a normal score moves the mean than the share below the median, in units of variance."""

BETS: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)

_LEFT = 0.05  # of the stake: no bet may lose more than the rest in one row


@dataclass(frozen=True, slots=True)
class MeanWatch:
    """Running sums, (T + 1, bets), of the wager and of the rows staked, and what the baseline leaves open.

    Attributes:
        wager: Running log wealth of each bet.
        stake: Running ``n |l|`` of each bet, divided by the design effect.
        open_half: Half the variance of the baseline's mean.
        bets: The bets, positive for a rise, negative for a fall, (bets,).
    """

    wager: Floats
    stake: Floats
    open_half: float
    bets: Floats

    def cut(self, begin: int, end: int) -> MeanWatch:
        """The same of the windows ``begin`` to ``end - 1``."""
        around = slice(begin, end + 1)
        return MeanWatch(self.wager[around], self.stake[around], self.open_half, self.bets)


def prepare(
    counts: Floats,
    values: Floats,
    known: Distribution,
    *,
    floor: float,
    at: Ints,
    cap: float | None,
    sides: str,
    before: MeanWatch | None = None,
) -> MeanWatch:
    """Sum up the bets on one signal.

    Args:
        counts: Rows per window and bin, (T, B).
        values: The fixed value that stands for each bin, in [0, 1], (B,).
        known: What the baseline knows about the bins.
        floor: Tolerated change of the mean, in the unit of ``values``.
        at: Stratum of each window, (T,).
        cap: Most one window may bring, in nats.
        sides: ``up``, ``down`` or ``both``: which change is looked for.
        before: The windows before these, which are carried on; None for none.
    """
    mean = known.strata @ values  # (S,)
    spread = float(known.share @ (values - known.share @ values) ** 2)
    size = counts.sum(1, keepdims=True)
    design = 1 + MEAN_TO_MEDIAN * (known.design_at(size) - 1)
    signs = {"both": (1, -1), "up": (1,), "down": (-1,)}[sides]
    bets = np.array([bet * sign for bet in BETS for sign in signs])
    centre = mean[:, None] + np.sign(bets) * floor  # (S, bets)
    odds = 1 + bets * (values[None, :, None] - centre[:, None, :])  # (S, B, bets)
    safe = odds.min((0, 1)) > _LEFT
    bets, odds = bets[safe], odds[:, :, safe]
    steps = np.einsum("tb,tbl->tl", counts, np.log(odds)[at]) / design
    if cap is not None:
        steps = np.minimum(steps, cap)
    wide = (1 + MEAN_TO_MEDIAN * (known.design - 1)) * spread / known.rows
    stakes = size * np.abs(bets) / design
    if before is None:
        return MeanWatch(running(steps), running(stakes), wide / 2, bets)
    wager = np.concatenate([before.wager[:-1], running(steps, before.wager)])
    return MeanWatch(wager, np.concatenate([before.stake[:-1], running(stakes, before.stake)]), wide / 2, bets)


def log_evidence(watch: MeanWatch, first: Ints, last: Ints) -> Floats:
    """``log E`` of the mixture of all bets for windows ``first..last``, (n,)."""
    if not len(watch.bets):
        return np.full(len(first), -np.inf)
    stake = watch.stake[last + 1] - watch.stake[first]
    best = watch.wager[last + 1] - watch.wager[first] - stake**2 * watch.open_half
    top = best.max(1)
    return np.asarray(top + np.log(np.exp(best - top[:, None]).mean(1)), dtype=np.float64)
