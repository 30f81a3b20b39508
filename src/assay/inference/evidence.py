"""Evidence that a share has moved by more than matters and by more than nature explains.

For a start ``j`` and a tilt ``d`` in log-odds, with ``K(q) = log(1 - q + q exp(d))``, sums over windows ``j..k``::

    floor  = sum [ d s - n K(q + floor) ]
    nature = sum min([ d s - n K(q) ] / D, cap)  -  (sum n (q1 - q) / D)^2 / (2 info)
    E      = mean over tilts of exp(min(floor, nature))

The floor part is an e-process for every stream whose rows, given the past, stay within the floor of the
estimated share; E is at most that, so summing E over starts keeps the promise of an e-detector. The nature
part takes off what the finite baseline leaves open (a Gaussian average over the log-odds) and what varies by
nature (the design effect D); it is first order, measured, not proved.

Where the baseline has hardly any events there is no share to be near, and D is borrowed: up to D events of a window
may have come together (a day's value, copied to all its hours) and count as one, in n / D tries. With ``t`` the upper
limit that the baseline, counted likewise, leaves for the share of tries, and ``s'`` the events so counted::

    nature = sum min(d s' - n / D K(t), cap)

References:
    Shin, J., Ramdas, A. and Rinaldo, A. (2024). E-detectors: a nonparametric framework for sequential change
    detection. New England Journal of Statistics in Data Science 2(2), 229-260.
    Wald, A. (1945). Sequential tests of statistical hypotheses. Ann. Math. Stat. 16, 117-186 (the tilt).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.inference.natural import Floats, Ints, Natural, grouped

LOOK_BACKS: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Starts that are kept of the Shiryaev-Roberts sum, in windows back from now."""

TILTS: Floats = np.array([0.06, 0.12, 0.24, 0.48, 0.96, 1.92])
"""Log-odds steps that are bet on, with equal weight: 0.06 to 1.92."""

CAP_SHARE = 0.6
"""One window may bring at most this share of the evidence an alarm needs."""

IDLE = 2.0
"""Evidence below this says nothing and is left out of the sum. Leaving out keeps the promise; counting it would
let 18 look-backs of 1 each pass a budget of 12 monthly windows without any evidence."""

_EDGE = 1e-15
_AT_ONCE = 2048
"""Pairs of windows that are weighed together: enough to hide the price of a call, few enough for a cache."""
_LOG_MOST = 600.0  # exp of it fits a double with room for sums


@dataclass(frozen=True, slots=True)
class Watch:
    """Against what W questions are judged.

    Attributes:
        natural: What the baseline knows about them.
        floor: Tolerance of each share, in share points, (W,) or per stratum (S, W).
        sign: +1 where a rise is looked for, -1 where a fall, (W,).
        at: Stratum of each window, (T,).
        cap: Most a single window may bring, in nats; None for no cap.
        limit: Where the baseline has hardly any of what is looked for: upper limit of its share of the tries; NaN where
            the share is known, (W,).
    """

    natural: Natural
    floor: Floats
    sign: Floats
    at: Ints
    cap: float | None
    limit: Floats


@dataclass(frozen=True, slots=True)
class Paths:
    """Running sums over windows, (T + 1, W, tilts), of the three terms of the evidence, and 2 x info, (W, 1).

    Without knowledge of natural variation there is the floor alone.
    """

    floor: Floats
    nature: Floats | None
    pull: Floats | None
    twice_info: Floats


def cap_of(windows_per_alarm: float, weight: float) -> float:
    """Most evidence, in nats, that one window may bring to a signal of this weight in the sum."""
    return max(1.0, CAP_SHARE * float(np.log(windows_per_alarm / weight)))


def paths(events: Floats, rows: Floats, watch: Watch) -> Paths:
    """Running sums of the evidence of W questions over T windows.

    Args:
        events: Events per window, (T, W).
        rows: Rows per window, (T, W).
        watch: Against what they are judged.
    """
    natural, tilt = watch.natural, watch.sign[:, None] * TILTS  # (W, tilts)
    share = np.clip(natural.strata, _EDGE, 1 - _EDGE)  # (S, W)
    edge = np.clip(natural.strata + watch.sign * watch.floor, _EDGE, 1 - _EDGE)
    step = np.expm1(tilt)
    gain = tilt * events[..., None]
    size = rows[..., None]
    floor = gain - size * np.log1p(edge[..., None] * step)[watch.at]
    if not natural.varies:  # nothing is known about nature: the floor alone, capped
        return Paths(_running(_capped(floor, watch.cap)), None, None, 2 * natural.info[:, None])
    lifted = np.log1p(share[..., None] * step)
    moved = share[..., None] * np.exp(tilt - lifted) - share[..., None]
    design = natural.design_at(rows, watch.at)[..., None]
    nature = (gain - size * lifted[watch.at]) / design
    pull = size * moved[watch.at] / design
    rare = np.flatnonzero(~np.isnan(watch.limit))
    nature[:, rare], pull[:, rare] = _of_rare(events[:, rare], rows[:, rare], watch, rare), 0.0
    return Paths(_running(floor), _running(_capped(nature, watch.cap)), _running(pull), 2 * natural.info[:, None])


def _of_rare(events: Floats, rows: Floats, watch: Watch, rare: Ints) -> Floats:
    """Nature's part for the questions ``rare``: events in groups, against the limit, (T, len(rare), tilts)."""
    design = watch.natural.pick(rare).design_at(rows, watch.at)
    gains = grouped(np.where(watch.sign[rare] > 0, events, rows - events), design)
    cost = np.log1p(np.minimum(watch.limit[rare], 1.0)[:, None] * np.expm1(TILTS))
    return np.asarray(TILTS * gains[..., None] - (rows / design)[..., None] * cost, dtype=np.float64)


def log_evidence(path: Paths, first: Ints, last: Ints) -> Floats:
    """``log E`` of each question for windows ``first..last`` (both included), (len(first), W).

    Args:
        path: The running sums.
        first: First window of each look-back, (n,).
        last: Last window of each look-back, (n,).
    """
    best = path.floor[last + 1] - path.floor[first]
    if path.nature is not None and path.pull is not None:
        pull = path.pull[last + 1] - path.pull[first]
        best = np.minimum(best, path.nature[last + 1] - path.nature[first] - pull**2 / path.twice_info)
    # Tilt by tilt: numpy takes a step of its own for each sum along so short an axis.
    tilts = range(1, best.shape[-1])
    top = best[..., 0].copy()
    for i in tilts:
        np.maximum(top, best[..., i], out=top)
    best -= top[..., None]
    np.exp(best, out=best)
    total = best[..., 0].copy()
    for i in tilts:
        total += best[..., i]
    return np.asarray(top + np.log(total / best.shape[-1]), dtype=np.float64)


def over_look_backs(log_e: Callable[[Ints, Ints], Floats], windows: int) -> Floats:
    """E for every look-back and window, (look-backs, T); 0 where a look-back does not fit.

    Args:
        log_e: ``log E`` of one signal for windows ``first..last``, two arrays of the same length.
        windows: How many windows there are.
    """
    out = np.zeros((len(LOOK_BACKS), windows))
    fits = [back for back in LOOK_BACKS if back <= windows]
    if not fits:
        return out
    row = np.repeat(np.arange(len(fits)), [windows - back + 1 for back in fits])
    last = np.concatenate([np.arange(back - 1, windows) for back in fits])
    first = last - np.array(fits)[row] + 1
    for start in range(0, len(last), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        out[row[some], last[some]] = np.exp(np.minimum(log_e(first[some], last[some]), _LOG_MOST))
    return out


def e_bh(evidence: Floats, weight: Floats, limit: float) -> tuple[int, ...]:
    """Which signals to list at an alarm: the largest r with ``w_(r) E_(r) >= limit / r``, strongest first.

    Args:
        evidence: Evidence of each signal, not negative, (n,).
        weight: Their weights, (n,).
        limit: What a single signal must reach.

    References:
        Wang, R. and Ramdas, A. (2022). False discovery rate control with e-values. JRSS B 84(3), 822-852.
    """
    value = weight * evidence
    order = np.argsort(-value, kind="stable")
    reached = np.flatnonzero(value[order] * np.arange(1, len(value) + 1) >= limit)
    return tuple(int(i) for i in order[: reached[-1] + 1]) if len(reached) else ()


def _running(steps: Floats) -> Floats:
    """Running sums with a leading zero."""
    return np.concatenate([np.zeros((1, *steps.shape[1:])), np.cumsum(steps, axis=0)])


def _capped(steps: Floats, cap: float | None) -> npt.NDArray[np.float64]:
    return steps if cap is None else np.minimum(steps, cap)
