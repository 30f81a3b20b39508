"""Which of many rates to test next: chosen by windows that are over, tested on windows to come.

For a start ``j`` the rates with the largest excess over the eight windows before ``j`` are chosen, and E is summed over
windows ``j..k`` only. The choice is known before the first row that is counted, so E keeps its promise for every start,
and the mixture over ranks, with weights that sum to less than 1, is evidence of the same kind.

One thing is met again and again, however the windows are split: the baseline's error. Rates that the baseline
underestimates are chosen most, and stay underestimated. So what a chosen rate must exceed is not its share in the
baseline but the upper limit that the baseline leaves for it, at a level that holds for all rates at once.
"""

from __future__ import annotations

import numpy as np

from assay.inference.evidence import LOOK_BACKS, Paths, running
from assay.inference.natural import Floats, Ints, Natural
from assay.inference.quantiles import chi2_exceeded

RANKS = 5
"""Rates chosen for a start."""

WEIGHTS: Floats = 1 / (np.arange(1.0, RANKS + 1) * np.arange(2.0, RANKS + 2))
"""Share of the evidence of each rank: 1/2, 1/6, 1/12, …; together less than 1."""

LEAST_Z = 2.5
"""Standard errors of excess below which a rate is not chosen."""

SIMULTANEOUS = 0.05
"""Chance that some rate truly lies above the limit that the baseline leaves for it."""

HORIZONS = (1, 2, 4, 8)
"""Windows before the start that are looked at: the excess counts that stands out most."""

NONE = -1


def choose(events: Floats, expected: Floats, rows: Floats, *, known: Floats, design: Floats) -> Ints:
    """The rates to test from each window on, by the windows before it, (T, ranks); `NONE` where there is none.

    Args:
        events: Events per window and rate, (T, W).
        expected: Those the baseline expects, tolerance included, more than none, (T, W).
        rows: Rows per window and rate, (T, W).
        known: Rows in the baseline: its own error counts beside the windows', (W,).
        design: Design effect of each rate, (W,).

    The excess is measured by the root of the Poisson deviance: in standard errors, three events where a third of one is
    expected would stand out more than a tenth of the rows going wrong.
    """
    windows, width = events.shape
    best = np.zeros((windows, width))
    seen, wanted, size = (running(one) for one in (events, expected, rows))
    for horizon in HORIZONS:
        first = np.maximum(np.arange(windows) - horizon, 0)
        s, e, n = (one[:windows] - one[first] for one in (seen, wanted, size))
        more = np.where(s > e, s * np.log(np.maximum(s / np.maximum(e, 1e-9), 1.0)) - (s - e), 0.0).clip(0.0)
        best = np.maximum(best, np.sqrt(2 * more / (design * (1 + n / known))))
    out = np.full((windows, RANKS), NONE, dtype=np.intp)
    ranks = min(RANKS, width)
    order = np.argsort(-best, axis=1, kind="stable")[:, :ranks]
    out[:, :ranks] = np.where(np.take_along_axis(best, order, axis=1) > LEAST_Z, order, NONE)
    return out


def upper_limits(natural: Natural) -> Floats:
    """Upper limit of the share of each rate, at `SIMULTANEOUS` over all of them together, (W,).

    Events that vary as one count as one: both counts are divided by the design effect. Exact for Poisson counts, as in
    Garwood, F. (1936). Biometrika 28, 437-442.
    """
    tail = SIMULTANEOUS / max(len(natural.share), 1)
    most = chi2_exceeded(tail, 2 * (natural.events / natural.design + 1)) / 2
    return np.asarray(np.minimum(most * natural.design / np.maximum(natural.rows, 1.0), 1.0), dtype=np.float64)


def chosen_log_evidence(path: Paths, place: Ints, chosen: Ints) -> Floats:
    """``log E`` of the chosen rates, (look-backs, ranks, T); minus infinity where none was chosen or it is not here.

    Args:
        path: Running sums of some of the rates.
        place: Where each rate is in ``path``, `NONE` where it is not, (W,).
        chosen: As `choose` gives it, (T, ranks).
    """
    windows, ranks = chosen.shape
    at = np.where(chosen == NONE, NONE, place[chosen])
    out = np.full((len(LOOK_BACKS), ranks, windows), -np.inf)
    for i, back in enumerate(LOOK_BACKS):
        if back > windows:
            break
        first = np.arange(windows - back + 1)
        for rank in range(ranks):
            which = np.flatnonzero(at[first, rank] != NONE)
            start, end, rate = first[which], first[which] + back, at[first[which], rank]
            best = path.floor[end, rate] - path.floor[start, rate]
            if path.nature is not None and path.pull is not None:
                pull = path.pull[end, rate] - path.pull[start, rate]
                nature = path.nature[end, rate] - path.nature[start, rate]
                best = np.minimum(best, nature - pull**2 / path.twice_info[rate])
            if len(which):
                top = best.max(1)
                out[i, rank, end - 1] = top + np.log(np.exp(best - top[:, None]).mean(1))
    return out
