"""Walk the windows: when does the evidence of all signals together reach the budget, and when is it calm again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from assay.inference.evidence import IDLE, LOOK_BACKS, e_bh
from assay.inference.natural import Floats, Ints

CALM_WINDOWS = 8
CALM_LOOK_BACK = 16

_BACKS = np.array(LOOK_BACKS)


@dataclass(frozen=True, slots=True)
class Opening:
    """One signal whose incident opens.

    Attributes:
        signal: Index of the signal.
        window: Index of the window that raised the alarm.
        start: First window its evidence may reach back to.
        level: Its evidence, summed over look-backs, without its weight.
        calm: Index of the window after which it was calm again; None while it is open.
    """

    signal: int
    window: int
    start: int
    level: float
    calm: int | None


@dataclass(frozen=True, slots=True)
class Walked:
    """How things stand after some windows.

    Attributes:
        windows: How many there were.
        openings: What was opened in them.
        start: First window that each signal's evidence may reach back to, (S,).
        calm: For how many windows each open signal has been quiet, (S,).
        reach: How far back each open signal must be quiet, in windows, (S,).
        current: The place of the opening of each signal that is open.
    """

    windows: int
    openings: tuple[Opening, ...]
    start: Ints
    calm: Ints
    reach: Ints
    current: Mapping[int, int]

    @classmethod
    def nowhere(cls, signals: int) -> Walked:
        """Before the first window."""
        zeros = np.zeros(signals, dtype=np.intp)
        return cls(0, (), zeros, zeros, np.full(signals, CALM_LOOK_BACK), {})

    def then(self, evidence: Floats, weight: Floats, limit: float) -> Walked:
        """After one more window; see `walk`.

        Args:
            evidence: E per signal and look-back, (S, look-backs).
            weight: Share of the budget of each signal, (S,).
            limit: ``A``: windows per false alarm.
        """
        k, backs = self.windows, _BACKS
        level = np.where(evidence >= IDLE, evidence, 0.0)
        now = level * (backs <= k - self.start[:, None] + 1)
        total = now.sum(1)
        total[list(self.current)] = 0.0
        opening = _to_open(total, weight, limit)
        if not opening and not self.current:
            return replace(self, windows=k + 1)
        out, current = list(self.openings), dict(self.current)
        start, calm, reach = self.start.copy(), self.calm.copy(), self.reach.copy()
        for i in opening:
            current[i], calm[i] = len(out), 0
            reach[i] = max(CALM_LOOK_BACK, int(backs[int(now[i].argmax())]))
            out.append(Opening(i, k, int(start[i]), float(total[i]), None))
        for i in list(current):
            quiet = level[i, backs <= reach[i]].sum() < 1
            calm[i] = calm[i] + 1 if quiet else 0
            if calm[i] >= CALM_WINDOWS:
                opened = out[current[i]]
                out[current.pop(i)] = Opening(i, opened.window, opened.start, opened.level, k)
                start[i] = k + 1
        return Walked(k + 1, tuple(out), start, calm, reach, current)


def walk(evidence: Floats, weight: Floats, limit: float) -> tuple[Opening, ...]:
    """Open an incident whenever the weighted sum over all signals that have none open reaches the limit.

    The strongest signals are opened until the rest is below the limit, and with them all that weighted e-BH lists.
    An open signal leaves the sum, so one cause raises one incident. It closes, and its detectors start again, when
    for eight windows no look-back up to 16 windows, or up to the one that raised it, had evidence.

    Args:
        evidence: E per signal, look-back and window, (S, look-backs, T).
        weight: Share of the budget of each signal, (S,).
        limit: ``A``: windows per false alarm.
    """
    at = Walked.nowhere(len(evidence))
    for k in range(evidence.shape[2]):
        at = at.then(np.ascontiguousarray(evidence[:, :, k]), weight, limit)
    return at.openings


def _to_open(total: Floats, weight: Floats, limit: float) -> Sequence[int]:
    """Signals to open now, strongest first."""
    value = weight * total
    if value.sum() < limit:
        return ()
    order = [int(i) for i in np.argsort(-value, kind="stable")]
    left, needed = float(value.sum()), 0
    while left >= limit and needed < len(order):
        left -= float(value[order[needed]])
        needed += 1
    return order[: max(needed, len(e_bh(total, weight, limit)))]
