"""Evidence from a set of bins that earlier windows chose: for changes that no fixed question fits.

The set for a start ``j`` is made of the bins whose decayed counts before ``j`` exceed expectation by half a
standard error; it is tested on the windows ``j..k`` only, so no row that chose a set counts for it. The
baseline's error enters with its selection bias, 0.8 x the sum of the bins' standard errors, because sets are
drawn towards bins that the baseline underestimates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.inference.distribution import Distribution
from assay.inference.evidence import TILTS, running
from assay.inference.natural import Floats, Ints

DECAY = 0.8
SELECTION = 0.8
"""Expected size of a baseline error that is positive, in standard errors: sqrt(2 / pi)."""

SDS = 3.0
"""Standard errors of a set's share that the baseline is given besides: the same error is met in every window."""

_TILTED = np.expm1(TILTS)
_BROADEST = 0.95  # a set of nearly everything cannot gain


@dataclass(frozen=True, slots=True)
class SetWatch:
    """Running sums for the learned sets of one signal.

    Attributes:
        sets: The set that a start at this window uses, (T, B).
        cost: What a row costs each tilt at the share that tolerance and the baseline's error allow, per start and
            stratum, (T, S, tilts).
        events: Running counts per bin, divided by the design effect, (T + 1, B).
        rows: Running rows per stratum, divided likewise, (T + 1, S).
        usable: Whether the set of that start is neither empty nor nearly everything, (T,).
        cap: Most one window may bring, in nats; None for no cap.
        seen: Decayed counts before each window, and behind the last, (T + 1, B).
        wanted: What was expected of them, (T + 1, B).
    """

    sets: npt.NDArray[np.bool_]
    cost: Floats
    events: Floats
    rows: Floats
    usable: npt.NDArray[np.bool_]
    cap: float | None
    seen: Floats
    wanted: Floats

    def cut(self, begin: int, end: int) -> SetWatch:
        """The same of the windows ``begin`` to ``end - 1``."""
        mine, around = slice(begin, end), slice(begin, end + 1)
        return SetWatch(
            sets=self.sets[mine],
            cost=self.cost[mine],
            events=self.events[around],
            rows=self.rows[around],
            usable=self.usable[mine],
            cap=self.cap,
            seen=self.seen[around],
            wanted=self.wanted[around],
        )


def prepare(
    counts: Floats, known: Distribution, *, floor: float, at: Ints, cap: float | None, before: SetWatch | None = None
) -> SetWatch:
    """Choose the sets and sum up.

    Args:
        counts: Rows per window and bin, (T, B).
        known: What the baseline knows about the bins.
        floor: Tolerated total variation.
        at: Stratum of each window, (T,).
        cap: Most one window may bring, in nats.
        before: The windows before these, which are carried on; None for none.
    """
    size = counts.sum(1, keepdims=True)
    share = known.strata  # (S, B)
    expected = size * share[at]
    sets = np.zeros(counts.shape, dtype=np.bool_)
    seen, wanted = (np.zeros((len(counts) + 1, counts.shape[1])) for _ in range(2))
    if before is not None:
        seen[0], wanted[0] = before.seen[-1], before.wanted[-1]
    for j in range(len(counts)):
        sets[j] = seen[j] - wanted[j] > 0.5 * np.sqrt(wanted[j] + 1e-9)
        seen[j + 1], wanted[j + 1] = DECAY * seen[j] + counts[j], DECAY * wanted[j] + expected[j]
    design = known.design_at(size[:, 0])
    # No product of matrices: how it adds up depends on how many windows come together.
    if len(share) == 1:
        inside = (sets * share[0]).sum(1, keepdims=True)  # (T, S)
    elif len(counts) < len(share):
        inside = np.array([(one * share).sum(1) for one in sets]).reshape(len(counts), len(share))
    else:
        inside = np.stack([(sets * one).sum(1) for one in share], axis=1)
    whole = np.sqrt(inside * (1 - inside) * known.design / known.rows)
    limit = inside + np.maximum(floor, SELECTION * (sets * known.error).sum(1)[:, None] + SDS * whole)
    by_stratum = np.zeros((len(counts), len(share)))
    by_stratum[np.arange(len(counts)), at] = size[:, 0] / design
    most = inside.max(1)
    watch = SetWatch(
        sets=sets,
        cost=np.log1p(np.minimum(np.maximum(limit, 1e-6), 0.999)[..., None] * _TILTED),
        events=running(counts / design[:, None], None if before is None else before.events),
        rows=running(by_stratum, None if before is None else before.rows),
        usable=(most > 0) & (most < _BROADEST),
        cap=cap,
        seen=seen,
        wanted=wanted,
    )
    return watch if before is None else _joined(before, watch)


def _joined(before: SetWatch, after: SetWatch) -> SetWatch:
    return SetWatch(
        sets=np.concatenate([before.sets, after.sets]),
        cost=np.concatenate([before.cost, after.cost]),
        events=np.concatenate([before.events, after.events[1:]]),
        rows=np.concatenate([before.rows, after.rows[1:]]),
        usable=np.concatenate([before.usable, after.usable]),
        cap=after.cap,
        seen=np.concatenate([before.seen, after.seen[1:]]),
        wanted=np.concatenate([before.wanted, after.wanted[1:]]),
    )


def log_evidence(watch: SetWatch, first: Ints, last: Ints) -> Floats:
    """``log E`` of the set of each start for windows ``first..last``, (n,); minus infinity without a usable set."""
    chosen = watch.sets[first]
    events = ((watch.events[last + 1] - watch.events[first]) * chosen).sum(1)
    rows = watch.rows[last + 1] - watch.rows[first]  # (n, S)
    cost = watch.cost[first]
    spent = rows * cost[:, 0] if cost.shape[1] == 1 else np.einsum("ns,nst->nt", rows, cost)
    best = events[:, None] * TILTS - spent
    top = best.max(1)
    value = top + np.log(np.exp(best - top[:, None]).sum(1) / len(TILTS))
    if watch.cap is not None:
        value = np.minimum(value, watch.cap * (last - first + 1))
    return np.where(watch.usable[first], value, -np.inf)
