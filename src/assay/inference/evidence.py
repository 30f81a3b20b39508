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

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from assay.inference.natural import Floats, Ints, Natural, grouped

Place = Ints | tuple[Ints, Ints]

LOOK_BACKS: tuple[int, ...] = (*range(1, 9), *range(10, 21, 2), 24, 28, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512)
"""Starts that are kept of the Shiryaev-Roberts sum, in windows back from now. What lies between two starts is evidence
lost: up to 48 windows, within which most changes are found, at most a fifth of it."""

START: float = 18 / len(LOOK_BACKS)
"""What each start counts in the sum. Starts that lie close together are nearly copies of each other: more of them shall
find a change sooner, not count the same odd days more often. Together they count as 18, with starts up to a half apart.
"""

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
_LOG_NOTHING = -690.0
"""Beside a 1, exp of it and of anything below adds nothing to a sum, bit for bit. Processors take ten times as long
for numbers below the smallest normal one."""


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


@dataclass(frozen=True, slots=True)
class Terms:
    """What a row and an event bring to W questions: all of a `Watch` that the windows do not change.

    Attributes:
        tilt: Log-odds steps, with the sign of what is looked for, (W, tilts).
        beyond: What a row costs at the edge of the tolerance, per stratum, (S, W, tilts).
        usual: What a row costs at the share itself, per stratum; None where natural variation is not known.
        moved: How far a step moves the share, per stratum; None likewise.
        design: Design effect at ``window_rows`` rows a window, (W,).
        window_rows: Mean rows of a window of the baseline, at least 1, (W,).
        growth: How many times as much each stratum varies, (S, W).
        twice_info: Twice the baseline's information, (W, 1).
        cap: Most a single window may bring, in nats; infinite for no cap, (W, 1).
        rare: Which questions the baseline has hardly any of, (R,).
        rises: Whether those are looked for to rise, (R,).
        tried: What a try of those costs at the limit of its share, (R, tilts).
    """

    tilt: Floats
    beyond: Floats
    usual: Floats | None
    moved: Floats | None
    design: Floats
    window_rows: Floats
    growth: Floats
    twice_info: Floats
    cap: Floats
    rare: Ints
    rises: npt.NDArray[np.bool_]
    tried: Floats

    @property
    def nbytes(self) -> int:
        """Memory that is held for every stratum, in bytes."""
        each = (self.beyond, self.usual, self.moved, self.growth)
        return sum(one.nbytes for one in each if one is not None)


def terms_of(watch: Watch) -> Terms:
    """Work out once what does not change from window to window."""
    natural, tilt = watch.natural, watch.sign[:, None] * TILTS  # (W, tilts)
    share = np.clip(natural.strata, _EDGE, 1 - _EDGE)  # (S, W)
    edge = np.clip(natural.strata + watch.sign * watch.floor, _EDGE, 1 - _EDGE)
    step = np.expm1(tilt)
    beyond = np.log1p(edge[..., None] * step)
    usual = moved = None
    if natural.varies:
        usual = np.log1p(share[..., None] * step)
        moved = share[..., None] * np.exp(tilt - usual) - share[..., None]
    rare = np.flatnonzero(~np.isnan(watch.limit)) if natural.varies else np.zeros(0, dtype=np.intp)
    return Terms(
        tilt=tilt,
        beyond=beyond,
        usual=usual,
        moved=moved,
        design=natural.design,
        window_rows=np.maximum(natural.window_rows, 1.0),
        growth=natural.growth,
        twice_info=2 * natural.info[:, None],
        cap=np.full((len(watch.sign), 1), np.inf if watch.cap is None else watch.cap),
        rare=rare,
        rises=watch.sign[rare] > 0,
        tried=np.log1p(np.minimum(watch.limit[rare], 1.0)[:, None] * np.expm1(TILTS)),
    )


def together(terms: Sequence[Terms]) -> Terms:
    """The questions of several signals as one, side by side; all of one baseline."""
    offsets = np.cumsum([0, *(len(one.tilt) for one in terms)])

    def joined(each: Iterable[Floats | None], axis: int) -> Floats | None:
        there = [one for one in each if one is not None]
        return np.concatenate(there, axis=axis) if len(there) == len(terms) else None

    return Terms(
        tilt=np.concatenate([one.tilt for one in terms]),
        beyond=np.concatenate([one.beyond for one in terms], axis=1),
        usual=joined((one.usual for one in terms), 1),
        moved=joined((one.moved for one in terms), 1),
        design=np.concatenate([one.design for one in terms]),
        window_rows=np.concatenate([one.window_rows for one in terms]),
        growth=np.concatenate([one.growth for one in terms], axis=1),
        twice_info=np.concatenate([one.twice_info for one in terms]),
        cap=np.concatenate([one.cap for one in terms]),
        rare=np.concatenate([one.rare + offset for one, offset in zip(terms, offsets, strict=False)]),
        rises=np.concatenate([one.rises for one in terms]),
        tried=np.concatenate([one.tried for one in terms]),
    )


def paths(events: Floats, rows: Floats, watch: Watch) -> Paths:
    """Running sums of the evidence of W questions over T windows.

    Args:
        events: Events per window, (T, W).
        rows: Rows per window, (T, W).
        watch: Against what they are judged.
    """
    return carried_on(events, rows, terms_of(watch), watch.at)


def carried_on(events: Floats, rows: Floats, terms: Terms, at: Ints, before: Paths | None = None) -> Paths:
    """Running sums over T more windows, (T + 1, W, tilts), beginning with the last of those before.

    Every window's steps are its own, and sums are made one window after the other: the sums are the same, bit for bit,
    however the windows come in parts.

    Args:
        events: Events per window, (T, W).
        rows: Rows per window, (T, W).
        terms: Against what they are judged.
        at: Stratum of each window, (T,).
        before: The sums so far; None for none.
    """
    gain, size = terms.tilt * events[..., None], rows[..., None]
    floor = gain - size * terms.beyond[at]
    if terms.usual is None or terms.moved is None:  # nothing is known about nature: the floor alone, capped
        floor = running(np.minimum(floor, terms.cap), None if before is None else before.floor)
        return Paths(floor, None, None, terms.twice_info)
    sized = 1 + (terms.design - 1) * rows / terms.window_rows
    design = 1 + (sized - 1) * terms.growth[at] if len(terms.growth) > 1 else sized
    nature = (gain - size * terms.usual[at]) / design[..., None]
    pull = size * terms.moved[at] / design[..., None]
    if len(terms.rare):
        some = terms.rare
        nature[:, some] = _of_rare(events[:, some], rows[:, some], design[:, some], terms)
        pull[:, some] = 0.0
    return Paths(
        running(floor, None if before is None else before.floor),
        running(np.minimum(nature, terms.cap), None if before is None else before.nature),
        running(pull, None if before is None else before.pull),
        terms.twice_info,
    )


def _of_rare(events: Floats, rows: Floats, design: Floats, terms: Terms) -> Floats:
    """Nature's part for the questions of which there is hardly any: events in groups, against the limit."""
    gains = grouped(np.where(terms.rises, events, rows - events), design)
    return np.asarray(TILTS * gains[..., None] - (rows / design)[..., None] * terms.tried, dtype=np.float64)


def log_evidence(path: Paths, first: Ints, last: Ints, *, idle: bool = True) -> Floats:
    """``log E`` of each question for windows ``first..last`` (both included), (len(first), W).

    Args:
        path: The running sums.
        first: First window of each look-back, (n,).
        last: Last window of each look-back, (n,).
        idle: Whether to weigh questions none of whose bets has gained anything against the floor; else they have no
            evidence at all, where they had less than 1. Most questions of most windows are so.
    """
    if not len(last):
        return np.zeros((0, path.floor.shape[1]))
    ends = last[:1] + 1 if (last == last[0]).all() else last + 1
    best = path.floor[ends] - path.floor[first]
    if idle:
        return _mixture(_with_nature(best, path, ends, first, slice(None)))
    gained = _top(best) > 0
    if 2 * np.count_nonzero(gained) > gained.size:  # most have: to pick them takes longer than to weigh the others too
        return np.where(gained, _mixture(_with_nature(best, path, ends, first, slice(None))), -np.inf)
    pair, which = np.nonzero(gained)
    out = np.full(gained.shape, -np.inf)
    best = _with_nature(best[pair, which], path, (last[pair] + 1, which), (first[pair], which), which)
    out[pair, which] = _mixture(best)
    return out


def _with_nature(best: Floats, path: Paths, end: Place, start: Place, which: slice | Ints) -> Floats:
    """The smaller of the floor's part and nature's, in place."""
    if path.nature is not None and path.pull is not None:
        pull = path.pull[end] - path.pull[start]
        pull *= pull
        pull /= path.twice_info[which]
        nature = path.nature[end] - path.nature[start]
        nature -= pull
        np.minimum(best, nature, out=best)
    return best


def _mixture(best: Floats) -> Floats:
    """``log`` of the mean over tilts, the last axis."""
    top = _top(best)
    best -= top[..., None]
    np.maximum(best, _LOG_NOTHING, out=best)
    np.exp(best, out=best)
    total = best[..., 0].copy()
    for i in range(1, best.shape[-1]):
        total += best[..., i]
    return np.asarray(top + np.log(total / best.shape[-1]), dtype=np.float64)


def _top(best: Floats) -> Floats:
    """The largest along the last axis, tilt by tilt: numpy takes a step of its own for each along so short an axis."""
    top = best[..., 0].copy()
    for i in range(1, best.shape[-1]):
        np.maximum(top, best[..., i], out=top)
    return top


def mixed(each: Floats) -> Floats:
    """``log`` of the mean of E over the questions of one signal, the last axis."""
    top = each.max(-1)
    top[np.isneginf(top)] = 0.0
    whole = np.exp(each - top[..., None]).mean(-1)
    return np.asarray(top + np.log(np.maximum(whole, _EDGE)), dtype=np.float64)  # of none at all: next to none


@lru_cache(maxsize=4)  # all signals ask for the same
def look_backs(begin: int, end: int) -> tuple[Ints, Ints, Ints]:
    """Every look-back that fits, of the windows ``begin`` to ``end - 1``: its place, first and last window, each (n,).

    Args:
        begin: First window looked back from.
        end: Behind the last.
    """
    row, last = [], []
    for place, back in enumerate(LOOK_BACKS):
        own = np.arange(max(begin, back - 1), end)
        row.append(np.full(len(own), place))
        last.append(own)
    rows, ends = np.concatenate(row), np.concatenate(last)
    found = rows, ends - np.array(LOOK_BACKS)[rows] + 1, ends
    for one in found:
        one.setflags(write=False)
    return found


def over_look_backs(log_e: Callable[[Ints, Ints], Floats], windows: int) -> Floats:
    """E for every look-back and window, (look-backs, T); 0 where a look-back does not fit.

    Args:
        log_e: ``log E`` of one signal for windows ``first..last``, two arrays of the same length.
        windows: How many windows there are.
    """
    return since(log_e, 0, windows, _AT_ONCE)


def since(log_e: Callable[[Ints, Ints], Floats], begin: int, end: int, at_once: int) -> Floats:
    """E for every look-back from the windows ``begin`` to ``end - 1``, (look-backs, end - begin); else as above.

    Args:
        log_e: As in `over_look_backs`; or of more signals, (n, signals): then E is (look-backs, end - begin, signals).
        begin: First window looked back from.
        end: Behind the last.
        at_once: Pairs of windows that are weighed together.
    """
    row, first, last = look_backs(begin, end)
    out: Floats | None = None
    for start in range(0, len(row), at_once):
        some = slice(start, start + at_once)
        found = np.exp(np.minimum(log_e(first[some], last[some]), _LOG_MOST))
        if out is None:
            out = np.zeros((len(LOOK_BACKS), end - begin, *found.shape[1:]))
        out[row[some], last[some] - begin] = found
    return np.zeros((len(LOOK_BACKS), end - begin)) if out is None else out


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


def running(steps: Floats, before: Floats | None = None) -> Floats:
    """Running sums along the first axis, beginning with the last of those before, or zero."""
    start = np.zeros((1, *steps.shape[1:])) if before is None else before[-1:]
    return np.cumsum(np.concatenate([start, steps]), axis=0)
