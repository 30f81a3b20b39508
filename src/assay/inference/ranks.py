"""Evidence that a whole number has moved, and not just one of its half-lines: nested half-lines bet together.

For edges ``e_1 < … < e_m`` let ``g`` be the share of them that a row lies at or below: 1 under all, 0 above all, a
straight line of ranks in between. Its mean is the mean of the half-lines' shares F; over all edges it is Wilcoxon's
statistic, the chance that a row of now lies below one of the baseline. For a tilt ``t``, negative for a fall::

    exp(t g) = 1 + sum_i a_i [x <= e_i],    a_i = exp(t (m - i + 1) / m) - exp(t (m - i) / m)

So the expectation of ``exp(t g)`` is linear in the half-lines' shares, and for every stream whose half-lines each stay
within their floor it is at most ``1 + sum a_i (F_i ± floor_i)``: the promise is kept for just the streams that
half-lines keep theirs for. Against nature: the baseline's error of ``sum a_i F_i`` is that of a mean of rows, and the
design effect is the most that those of the half-lines allow, all moving as one (Minkowski's inequality)::

    D = 1 + mean_i( sqrt((D_i - 1) F_i (1 - F_i)) )^2 / Var(g)

Why more than half-lines: a shift of a normal number by δ standard deviations holds δ²/2 nats a row. The half-line at
the median sees 2/π of them, all edges together 3/π. With a floor, edges beyond the middle bring less than they are
tolerated to move, and those around the median together are best (Huber's clipped likelihood ratio).

References:
    Huber, P. J. (1965). A robust version of the probability ratio test. Ann. Math. Stat. 36, 1753-1758.
    Lehmann, E. L. (1975). Nonparametrics: statistical methods based on ranks, section 2.4 (efficiency 3/π).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assay.inference.evidence import TILTS, Terms
from assay.inference.natural import Floats, Ints, Natural

SPANS: tuple[tuple[float, float], ...] = ((0.275, 0.725), (0.125, 0.875), (0.025, 0.975))
"""Shares in the baseline between which edges bet together: around the median, most of them, all of them."""

FEWEST = 3
"""Edges that are more than a half-line or two."""

_EDGE = 1e-15


def spans_of(natural: Natural) -> tuple[Ints, ...]:
    """The half-lines that bet together, each set in the order of its edges.

    Args:
        natural: What the baseline knows of the half-lines of one signal, in the order of their edges.
    """
    found: list[Ints] = []
    for low, high in SPANS:
        some = np.flatnonzero(natural.known & (natural.share >= low) & (natural.share <= high))
        if len(some) >= FEWEST and not any(np.array_equal(some, other) for other in found):
            found.append(some)
    return tuple(found)


def terms_of_ranks(
    natural: Natural, asked: Sequence[tuple[Ints, float]], *, floor: Floats, cap: float | None
) -> tuple[Terms, Floats]:
    """What a row and an event bring, and whether the events of each half-line are theirs.

    Rows and events are those of all m half-lines of a question together, and each brings 1/m: sums of whole numbers are
    the same in whatever order they are made.

    Args:
        natural: What the baseline knows of the half-lines of one signal.
        asked: Half-lines that bet together, and +1 where a rise of their shares is looked for, -1 where a fall.
        floor: Tolerance of each half-line, in share points.
        cap: Most a single window may bring, in nats; None for no cap.

    Returns:
        The terms of W questions, and (half-lines, W).
    """
    width, strata = len(asked), len(natural.strata)
    tilt = np.array([sign * TILTS for _, sign in asked])
    beyond, usual, moved = (np.zeros((strata, width, len(TILTS))) for _ in range(3))
    design, growth, blend = np.ones(width), np.ones((strata, width)), np.zeros((len(natural.share), width))
    for place, (some, sign) in enumerate(asked):
        steps = np.arange(len(some), -1, -1) / len(some)
        each = -np.diff(np.exp(tilt[place][:, None] * steps), axis=1)  # (tilts, edges)
        share, mean = natural.strata[:, some], natural.share[some]
        edge = np.clip(share + sign * floor[some], _EDGE, 1 - _EDGE)
        beyond[:, place], usual[:, place] = np.log1p(edge @ each.T), np.log1p(share @ each.T)
        together = _together(share)
        spread = np.einsum("ti,sij,tj->st", each, together, each)
        moved[:, place] = np.sqrt(np.maximum(spread, 0.0)) / np.exp(usual[:, place])
        own = float(_together(mean[None]).mean())
        design[place] = 1 + np.sqrt((natural.design[some] - 1) * mean * (1 - mean)).mean() ** 2 / own
        growth[:, place] = np.maximum(together.mean((1, 2)) / own, 1.0)
        blend[some, place] = 1.0
    each_of = blend.sum(0)[:, None]
    terms = Terms(
        tilt=tilt / each_of,
        beyond=beyond / each_of,
        usual=usual / each_of if natural.varies else None,
        moved=moved / each_of if natural.varies else None,
        design=design,
        window_rows=max(float(natural.window_rows.max()), 1.0) * each_of[:, 0],
        growth=growth,
        twice_info=(2 * float(natural.rows.max()) / design)[:, None],
        cap=np.full((width, 1), np.inf if cap is None else cap),
        rare=np.zeros(0, dtype=np.intp),
        rises=np.zeros(0, dtype=np.bool_),
        tried=np.zeros((0, len(TILTS))),
    )
    return terms, blend


def _together(share: Floats) -> Floats:
    """Covariance of nested half-lines in one row, (S, m, m), from their shares, (S, m)."""
    low = np.minimum(share[:, :, None], share[:, None, :])
    return np.asarray(low - share[:, :, None] * share[:, None, :], dtype=np.float64)
