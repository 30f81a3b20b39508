"""Which rows of two sequences belong together: pure, from integers that say which rows are equal."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]

_EDITS = 300  # differences that one stretch between anchors is searched for; beyond, rows are matched as a bag
_STEPS = 20_000_000  # comparisons that one alignment may spend in stretches: a few seconds
_ORDER_KEPT = 0.5  # share of the rows occurring once that must stand in order, or the order counts as lost


def in_order(old: Ints, new: Ints) -> tuple[Ints, Ints]:
    """Pairs of equal rows that follow one another in both sequences.

    Rows that occur once on both sides are the anchors; the longest run of them that kept its order is taken, and
    the stretches between are aligned by the fewest differences. So a row that occurs many times is matched with
    the copy in its own place.

    Args:
        old: What each row was: equal integers for equal rows.
        new: What each row is.

    Returns:
        Positions in ``old`` and in ``new``, both increasing.

    References:
        Cohen, B. (2010). Patience diff advantages (anchors). Myers, E. W. (1986). An O(ND) difference algorithm
        and its variations. Algorithmica 1, 251-266 (stretches).
    """
    kinds = 1 + int(max(old.max(initial=-1), new.max(initial=-1)))
    often_old, often_new = np.bincount(old, minlength=kinds), np.bincount(new, minlength=kinds)
    once = (often_old == 1) & (often_new == 1)
    place = np.zeros(kinds, dtype=np.int64)
    place[new] = np.arange(len(new))
    anchors_old = np.flatnonzero(once[old])
    anchors_new = place[old[anchors_old]]
    kept = _longest_increasing(anchors_new)
    if len(kept) < _ORDER_KEPT * len(anchors_old):
        return anchors_old[kept], anchors_new[kept]
    both = (often_old > 0) & (often_new > 0) & ~once
    return _fill(old, new, anchors_old[kept], anchors_new[kept], both)


def as_bag(old: Ints, new: Ints) -> tuple[Ints, Ints]:
    """Pairs of equal rows wherever they stand: the first copy with the first, the second with the second.

    Returns:
        Positions in ``old`` (not sorted) and in ``new``.
    """
    several = 1 + max(len(old), len(new))
    key_old, key_new = old * several + _occurrence(old), new * several + _occurrence(new)
    _, at_old, at_new = np.intersect1d(key_old, key_new, assume_unique=True, return_indices=True)
    return np.asarray(at_old, dtype=np.int64), np.asarray(at_new, dtype=np.int64)


def rest(length: int, taken: Ints) -> Ints:
    """The positions below ``length`` that were not taken, increasing."""
    free = np.ones(length, dtype=bool)
    free[taken] = False
    return np.asarray(np.flatnonzero(free), dtype=np.int64)


def _occurrence(values: Ints) -> Ints:
    """How many equal values stand before each."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])) if len(ranked) else ranked
    lengths = np.diff(np.append(starts, len(ranked)))
    copies = np.empty(len(values), dtype=np.int64)
    copies[order] = np.arange(len(values)) - np.repeat(starts, lengths)
    return copies


def _longest_increasing(values: Ints) -> Ints:
    """Indices of one longest increasing subsequence (Schensted 1961), the values being distinct."""
    if len(values) < 2 or bool(np.all(values[1:] > values[:-1])):  # noqa: PLR2004 - nothing to be out of order with
        return np.arange(len(values), dtype=np.int64)
    tails: list[int] = []
    ends: list[int] = []
    before = np.full(len(values), -1, dtype=np.int64)
    for index, value in enumerate(values.tolist()):
        at = bisect_left(tails, value)
        if at:
            before[index] = ends[at - 1]
        if at == len(tails):
            tails.append(value)
            ends.append(index)
        else:
            tails[at], ends[at] = value, index
    run = []
    index = ends[-1]
    while index >= 0:
        run.append(index)
        index = int(before[index])
    return np.array(run[::-1], dtype=np.int64)


def _fill(
    old: Ints, new: Ints, anchors_old: Ints, anchors_new: Ints, both: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> tuple[Ints, Ints]:
    """The anchors, and what can be aligned in the stretches between them."""
    found_old, found_new = [anchors_old], [anchors_new]
    edges_old = np.concatenate([[-1], anchors_old, [len(old)]])
    edges_new = np.concatenate([[-1], anchors_new, [len(new)]])
    # A stretch is worth a look when both sides hold a row that the other side holds too.
    seen_old = np.concatenate([[0], np.cumsum(both[old])])
    seen_new = np.concatenate([[0], np.cumsum(both[new])])
    there = (seen_old[edges_old[1:]] > seen_old[edges_old[:-1] + 1]) & (
        seen_new[edges_new[1:]] > seen_new[edges_new[:-1] + 1]
    )
    spare = _STEPS
    for gap in np.flatnonzero(there).tolist():
        start_old, start_new = int(edges_old[gap]) + 1, int(edges_new[gap]) + 1
        left, right = old[start_old : edges_old[gap + 1]], new[start_new : edges_new[gap + 1]]
        at_old, at_new, spare = _stretch(left, right, spare)
        found_old.append(at_old + start_old)
        found_new.append(at_new + start_new)
    all_old, all_new = np.concatenate(found_old), np.concatenate(found_new)
    order = np.argsort(all_old)
    return all_old[order], all_new[order]


def _stretch(left: Ints, right: Ints, spare: int) -> tuple[Ints, Ints, int]:
    """Pairs in one stretch, and how many comparisons may still be spent in the next."""
    shorter = min(len(left), len(right))
    head = _equal_run(left[:shorter], right[:shorter])
    tail = _equal_run(left[head:][::-1][: shorter - head], right[head:][::-1][: shorter - head])
    left_end, right_end = len(left) - tail, len(right) - tail
    inner_left, inner_right = left[head:left_end], right[head:right_end]
    in_place = np.flatnonzero(inner_left == inner_right) if len(inner_left) == len(inner_right) else None
    # Equal lengths: rows altered in place are the plain reading, unless shifting explains more with less.
    limit = _EDITS if in_place is None else min(_EDITS, len(inner_left) - len(in_place) - 1)
    pairs, spare = _myers(inner_left.tolist(), inner_right.tolist(), limit, spare)
    if pairs is not None:
        middle = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    else:
        place = np.zeros(0, dtype=np.int64) if in_place is None else in_place
        middle = np.stack([place, place], axis=1)
    at_old = np.concatenate([np.arange(head), middle[:, 0] + head, np.arange(left_end, len(left))])
    at_new = np.concatenate([np.arange(head), middle[:, 1] + head, np.arange(right_end, len(right))])
    return at_old, at_new, spare


def _equal_run(left: Ints, right: Ints) -> int:
    differ = np.flatnonzero(left != right)
    return int(differ[0]) if len(differ) else len(left)


def _myers(left: list[int], right: list[int], limit: int, spare: int) -> tuple[list[tuple[int, int]] | None, int]:
    """Pairs of the alignment with the fewest insertions and deletions.

    None when it needs more than ``limit`` of them, or more than ``spare`` comparisons, whose rest comes back too.
    """
    if limit < abs(len(left) - len(right)):
        return None, spare
    reach = {1: 0}
    trace: list[dict[int, int]] = []
    for edits in range(limit + 1):
        trace.append(dict(reach))
        for k in range(-edits, edits + 1, 2):
            down = k == -edits or (k != edits and reach[k - 1] < reach[k + 1])
            start = x = reach[k + 1] if down else reach[k - 1] + 1
            y = x - k
            while x < len(left) and y < len(right) and left[x] == right[y]:
                x, y = x + 1, y + 1
            reach[k] = x
            if x >= len(left) and y >= len(right):
                return _back(trace, len(left), len(right)), spare
            spare -= 1 + x - start
        if spare < 0:
            return None, 0
    return None, spare


def _back(trace: list[dict[int, int]], x: int, y: int) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    for edits in range(len(trace) - 1, -1, -1):
        reach, k = trace[edits], x - y
        down = k == -edits or (k != edits and reach[k - 1] < reach[k + 1])
        previous_k = k + 1 if down else k - 1
        previous_x = reach[previous_k]
        previous_y = previous_x - previous_k
        while x > previous_x and y > previous_y:
            x, y = x - 1, y - 1
            pairs.append((x, y))
        x, y = previous_x, previous_y
    return pairs[::-1]
