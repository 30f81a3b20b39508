"""Is it a client that moves, or the world? What a client does, weighed against what the others do meanwhile. Pure.

Windows are joined to blocks until the others have asked `ENOUGH` queries, so that the two are compared over the
same time. In a block let the others have ``s'`` events in ``n'`` tries, the client ``s`` in ``n``, and let ``p`` be the
share that is true of the others. A client may do so twice as often: ``q(p) = max(tolerance, min(2 p, 0.95))``, and from
there in a straight line to 1 where all others do nothing else. Then::

    F(p) = max over d' of exp( - d' s' - n' log(1 - p + p exp(-d')) ) / 2      small where the others show p or more
    G(p) = max( 1, exp( d s - n log(1 - q + q exp(d)) ) ) / 2 * F(p)
    E    = min( exp( d s - n log(1 - t + t exp(d)) ), min over p > t / 2 of G(p) )         t: the tolerance

A maximum of two halved is at most their mean. So for the ``p`` that is true, either ``q(p) = t`` and the first part, or
``G(p)``, has expectation at most 1 for every client whose queries are events with probability at most ``q(p)``; E is at
most either. Nothing need be known of ``p``, which may be another one in each block. Of both only the mean over the
queries of a block counts (the logarithm is concave), so queries may depend on each other and on the time. Without
others, or with few, E is small: nobody can tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

OF_OTHERS: Final = 2.0
"""A client may do what all others do in the same time, so many times as often: a world that moves accuses nobody."""

MOST_TOLERATED: Final = 0.95
"""No client is allowed more than this share, but where more than half of what the others ask is so too."""

ENOUGH: Final = 30
"""Queries of others that close a block: zero events in so many say that the others' share is below 15 %."""

TILTS: Final = np.array([0.5, 1.0, 2.0, 4.0])

_OTHERS_TILTS: Final = (1.5, 4.0)
_CELLS: Final = 16
_CELLS_ABOVE: Final = 5
_HALF: Final = float(np.log(2))


@dataclass(frozen=True, slots=True)
class Blocks:
    """Windows joined until the others were asked about enough queries.

    Attributes:
        first: First window of each block: the client is there, (blocks,).
        last: Last window of each, (blocks,).
        alone: Whether the others were as good as absent and are not compared with, (blocks,).
    """

    first: Places
    last: Places
    alone: npt.NDArray[np.bool_]


def joined(there: Places, others: Floats, *, longest: int, alone_below: float = 0.0) -> Blocks:
    """Join a client's windows to blocks; by numbers of queries only, never by what was asked.

    Args:
        there: Windows the client is in, ascending, (n,).
        others: How many queries of others could be asked about in each window, (windows,).
        longest: Windows of the longest block.
        alone_below: A client in whose last ``longest`` windows the others asked fewer queries is judged without them,
            each window a block. 0: nobody is.
    """
    total = np.concatenate([[0.0], np.cumsum(others)])
    ends = np.arange(1, len(total))
    recent = total[ends] - total[np.maximum(ends - longest, 0)]
    if (others[there] >= ENOUGH).all():  # a large crowd: each window is a block
        return Blocks(there, there, np.zeros(len(there), dtype=bool))
    first, last, alone = [], [], []
    i = 0
    while i < len(there):
        start = int(there[i])
        single = recent[start] < alone_below
        full = int(np.searchsorted(total, total[start] + ENOUGH)) - 1
        end = start if single else min(max(full, start), start + longest - 1, len(others) - 1)
        first.append(start)
        last.append(end)
        alone.append(single)
        i = int(np.searchsorted(there, end, side="right"))
    return Blocks(np.array(first, dtype=np.intp), np.array(last, dtype=np.intp), np.array(alone, dtype=bool))


def plain(own: Floats, tolerance: float) -> Floats:
    """Log evidence against a tolerance, by tilt.

    Args:
        own: Tries and events of the client, (n, 2).
        tolerance: Share it may have, in (0, 1).

    Returns:
        (n, tilts).
    """
    return np.asarray(TILTS * own[:, 1:] - own[:, :1] * np.log1p(tolerance * np.expm1(TILTS)), dtype=np.float64)


def allowed(share: float) -> float:
    """What share a client may have where the others have a share, both in [0, 1]."""
    half = MOST_TOLERATED / OF_OTHERS
    if share < half:
        return OF_OTHERS * share
    return MOST_TOLERATED + (1 - MOST_TOLERATED) * (share - half) / (1 - half)


def beside(own: Floats, others: Floats, tolerance: float) -> Floats:
    """Log evidence that a client does more than any may and more than twice what the others do meanwhile.

    Args:
        own: Tries and events of the client in each block, (n, 2).
        others: Those of all others in the same blocks, (n, 2).
        tolerance: Share it may have whatever the others do, in (0, 0.95].

    Returns:
        By tilt, (n, tilts).
    """
    out = plain(own, tolerance)
    half = MOST_TOLERATED / OF_OTHERS
    edges = np.concatenate([np.linspace(tolerance / OF_OTHERS, half, _CELLS), np.linspace(half, 1, _CELLS_ABOVE)[1:]])
    least = _lower(others, edges[0]) - _HALF
    open_ = np.flatnonzero((out > least[:, None]).any(1))  # elsewhere no share of the others takes anything off
    mine, theirs, lowest = own[open_], others[open_], out[open_]
    for below, above in pairwise(edges.tolist()):
        # In a cell of p, the least of what falls with p, and of what rises with it: at its upper and its lower end.
        against = np.maximum(plain(mine, max(tolerance, allowed(above))), 0.0)
        np.minimum(lowest, against + (_lower(theirs, below) - _HALF)[:, None], out=lowest)
    out[open_] = lowest
    return out


def _lower(others: Floats, share: float) -> Floats:
    """Log evidence that the others' share is lower than one, (n,)."""
    first, second = (-tilt * others[:, 1] - others[:, 0] * np.log1p(share * np.expm1(-tilt)) for tilt in _OTHERS_TILTS)
    return np.asarray(np.maximum(first, second) - _HALF, dtype=np.float64)
