"""Evidence about each client and question, by window and start. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from assay.inference.evidence import CAP_SHARE, IDLE
from assay.inference.intervals import clopper_pearson
from assay.monitoring.clients import crowd
from assay.monitoring.clients.crowd import MOST_TOLERATED, Floats, Places
from assay.monitoring.clients.roster import SETTLED, Roster
from assay.monitoring.clients.sight import ASKED, NEWCOMERS, ClientWindow, Seen
from assay.storage.clock import from_text

Bools = npt.NDArray[np.bool_]

QUESTIONS: Final = (*ASKED, "volume")
TOLERANCES: Final[Mapping[str, float]] = {"copies": 0.35, "walking": 0.15, "edging": 0.15, "far": 0.35}
"""Share of its queries that any client may have without ever raising an alarm."""

OF_ITSELF: Final = frozenset({"copies", "walking", "edging"})
"""What a client does to queries of its own: where nobody else is there, it is judged all the same. Whether it is the
client that is far from the reference or the world that has moved, nobody can tell without others."""

FEW_A_DAY: Final = 200
"""Where the others asked fewer queries in a day, what a client does to queries of its own is judged without waiting for
them. So long is waited at most where there are more; to tell a client from the world, as long as a client is new."""

MORE: Final = 0.1
"""A client that is in the reference may also do as often what it did there, and so much more."""

NEWCOMERS_SHARE: Final = 0.2
"""Share of each start's mass for all newcomers together."""

FEWEST_ROWS: Final = 200
MUCH_MORE: Final = 4.0
"""Queries a window that may be expected: so many times the client's own mean of earlier days, at least 200, and at
least 10 times what 99 of 100 clients send."""

LOOK_BACKS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Starts that are looked back to, in blocks."""

WEIGHT: Final = 1 / len(QUESTIONS)

_BEYOND_MOST: Final = 10.0
_BETS: Final = np.array([0.1, 0.3, 0.6, 0.9])
_LEVEL: Final = 0.95
_EARLIER: Final = 24  # windows of its own before a client's mean says anything, and how old they are at least
_HIGHEST: Final = 600.0  # no logarithm of evidence is believed beyond this: it would overflow


@dataclass(frozen=True, slots=True)
class Unit:
    """One client and question over the windows in which something can be told of it.

    Attributes:
        client: Who.
        question: What is asked.
        at: Those windows, ascending, (n,).
        there: Whether the client asked anything in each, (n,).
        block: The block each is in, (n,).
        first: First window of each block, (blocks,).
        level: Log evidence by window and look-back, (n, look-backs); minus infinity where it does not reach.
        mass: Of a start of each block, (blocks,).
        tolerance: Share it may have whatever the others do; 0 for ``volume``.
        bare: The same by the tolerance alone, whatever the others did, each window a block; None where it says nothing.
    """

    client: str
    question: str
    at: Places
    there: Bools
    block: Places
    first: Places
    level: Floats
    mass: Floats
    tolerance: float
    bare: Unit | None = None

    def value(self, i: int, restart: int) -> float:
        """Weighted evidence at its i-th window, of starts from window ``restart`` on."""
        level = self.level[i]
        starts = self.block[i] + 1 - np.array(LOOK_BACKS)
        fits = (starts >= 0) & (self.first[np.maximum(starts, 0)] >= restart) & (level >= np.log(IDLE))
        return float((np.exp(np.minimum(level[fits], _HIGHEST)) * self.mass[starts[fits]]).sum() * WEIGHT)

    def begins(self, i: int) -> tuple[int, int]:
        """Window since which the evidence at the i-th window is strongest, and how many blocks that is back."""
        back = LOOK_BACKS[int(np.argmax(self.level[i]))]
        return int(self.first[self.block[i] + 1 - back]), back


@dataclass(frozen=True, slots=True)
class Traffic:
    """What all clients together did in each window, but for those that are trusted, and those that are accused.

    Attributes:
        every: Tries and events of all, (windows, 2, questions).
        settled: Of those that are no newcomers.
        settled_at: In which windows each client is no newcomer, ascending.
        active: How many clients there are, at least 1, (windows,).
        most: Queries of one client that may be expected by what clients sent a day before; NaN before that, (windows,).
        width: Of a window.
        accused: In which windows a client was accused already, (windows,); what it does then is not the world.
    """

    every: Floats
    settled: Floats
    settled_at: Mapping[str, Sequence[int]]
    active: Floats
    most: Floats
    width: timedelta
    accused: Mapping[str, Bools]

    @classmethod
    def of(
        cls,
        windows: Sequence[ClientWindow],
        *,
        usual: Collection[str] = (),
        trusted: Collection[str] = (),
        accused: Mapping[str, Bools] | None = None,
    ) -> Traffic:
        """Count it.

        Args:
            windows: In time order.
            usual: Clients in the reference: no newcomers.
            trusted: Clients that excuse nobody: what a load test sends is not the world.
            accused: In which windows which client was accused already.
        """
        apart = accused or {}
        every = np.zeros((len(windows), 2, len(ASKED)))
        settled = np.zeros_like(every)
        settled_at: dict[str, list[int]] = {}
        roster = Roster()
        for k, window in enumerate(windows):
            start = from_text(window.start)
            names = [name for name in window.seen if name != NEWCOMERS and name not in trusted]
            for name in names:
                if name in apart and apart[name][k]:
                    continue
                counts = (window.seen[name].tries, window.seen[name].events)
                every[k] += counts
                if name in usual or roster.is_settled(name, start):
                    settled[k] += counts
                    settled_at.setdefault(name, []).append(k)
            roster.see(names, start)
        active = np.array([max(1, sum(name != NEWCOMERS for name in one.seen)) for one in windows], dtype=np.float64)
        width = from_text(windows[0].end) - from_text(windows[0].start) if windows else SETTLED
        return cls(every, settled, settled_at, active, _most_rows(windows), width, apart)

    def windows_of(self, span: timedelta) -> int:
        """How many windows a span has, at least 1."""
        return max(1, round(span / self.width))

    def others(self, name: str, own: Floats) -> Floats:
        """Tries and events of those that one client is compared with.

        With those that have settled: what newcomers do together is no excuse for them, and a newcomer that does nothing
        unusual must not make the world look as if it had not moved. Only a newcomer in whose last week these asked
        hardly anything is compared with all others.

        Args:
            name: The client.
            own: What it did in each window, (windows, 2, questions).
        """
        if name == NEWCOMERS:
            return self.settled
        if name in self.accused:
            own = np.where(self.accused[name][:, None, None], 0.0, own)
        known = np.zeros(len(own), dtype=bool)
        if name in self.settled_at:
            known[self.settled_at[name][0] :] = True
            new = np.asarray(own[:, 0].any(1), dtype=bool)
            last = np.maximum.accumulate(np.where(new, np.arange(len(own)), 0))
            new[self.settled_at[name]] = False
            known &= ~new[last]  # a client that came back is new until it has settled again
        total = np.concatenate([[0.0], np.cumsum(self.settled[:, 0, ASKED.index("far")])])
        ends = np.arange(1, len(total))
        enough = total[ends] - total[np.maximum(ends - self.windows_of(SETTLED), 0)] >= crowd.ENOUGH
        among = np.where((known | ~enough)[:, None, None], own, 0.0)  # a newcomer is not among those that have settled
        measure = np.where((known | enough)[:, None, None], self.settled, self.every)
        return np.asarray(np.maximum(measure - among, 0.0), dtype=np.float64)


def units_of(
    windows: Sequence[ClientWindow],
    traffic: Traffic,
    *,
    limit: float,
    usual: Mapping[str, Seen],
    trusted: Collection[str],
) -> list[Unit]:
    """Everything of which there is any evidence."""
    there: dict[str, list[int]] = {}
    for k, window in enumerate(windows):
        for name, seen in window.seen.items():
            if name not in trusted and seen.rows:
                there.setdefault(name, []).append(k)
    units: list[Unit] = []
    for name, places in there.items():
        mine = [windows[k].seen[name] for k in places]
        if not any(any(one.events) or one.rows > FEWEST_ROWS for one in mine):
            continue  # nothing happened that evidence could grow by; of a large crowd, that is most
        at = np.array(places, dtype=np.intp)
        units += _units(name, at, mine, usual.get(name), traffic=traffic, limit=limit)
    return units


def tolerated(question: str, usual: Seen | None) -> float:
    """What share of its queries a client may have whatever the others do.

    Args:
        question: One of `ASKED`.
        usual: What it did in the reference, or None.
    """
    q, share = ASKED.index(question), TOLERANCES[question]
    if usual is not None and usual.tries[q]:
        share = max(share, clopper_pearson(usual.events[q], usual.tries[q], _LEVEL)[1] + MORE)
    return min(share, MOST_TOLERATED)


def _units(
    name: str, at: Places, seen: Sequence[Seen], usual: Seen | None, *, traffic: Traffic, limit: float
) -> list[Unit]:
    found: list[Unit] = []
    counts = np.array([(one.tries, one.events) for one in seen], dtype=np.float64)
    asked = [
        (q, tolerance)
        for q, tolerance in enumerate(tolerated(question, usual) for question in ASKED)
        if _most(crowd.plain(counts[:, :, q], tolerance)) >= np.log(IDLE)  # else not even by the tolerance alone
    ]
    if asked:
        own = np.zeros_like(traffic.every)
        own[at] = counts
        others = traffic.others(name, own)
        both = np.stack([own, others])
        found = [_asked(name, q, at, both[..., q], share, traffic=traffic, limit=limit) for q, share in asked]
    if name != NEWCOMERS:
        found.append(_volume(name, at, seen, traffic, limit))
    return [one for one in found if one.bare is not None or one.level.max() >= np.log(IDLE)]


def _asked(name: str, q: int, there: Places, both: Floats, tolerance: float, *, traffic: Traffic, limit: float) -> Unit:
    """One question, from what the client and the others did in each window, (2, windows, 2)."""
    question = ASKED[q]
    if question in OF_ITSELF:
        longest = traffic.windows_of(timedelta(days=1))
        blocks = crowd.joined(there, both[1, :, 0], longest=longest, alone_below=FEW_A_DAY)
    else:
        blocks = crowd.joined(there, both[1, :, 0], longest=traffic.windows_of(SETTLED))
    lengths = blocks.last - blocks.first + 1
    block = np.repeat(np.arange(len(lengths)), lengths)
    at = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + blocks.first[block]
    total = np.concatenate([np.zeros((2, 1, 2)), np.cumsum(both, axis=1)], axis=1)
    own, others = total[:, at + 1] - total[:, blocks.first[block]]
    mass = _mass(name, traffic.active[blocks.first])
    cap = _cap(mass, limit)[block]
    apart = blocks.alone[block]
    steps = np.where(apart[:, None], crowd.plain(own, tolerance), crowd.beside(own, others, tolerance))
    level = _level(np.minimum(steps, cap), block)
    asking = np.isin(at, there, assume_unique=True)
    bare = _bare(name, question, there, crowd.plain(both[0, there], tolerance), traffic=traffic, limit=limit)
    return Unit(name, question, at, asking, block, blocks.first, level, mass, tolerance, bare)


def _bare(name: str, question: str, there: Places, steps: Floats, *, traffic: Traffic, limit: float) -> Unit | None:
    mass, block = _mass(name, traffic.active[there]), np.arange(len(there))
    steps = np.minimum(steps, _cap(mass, limit))
    if _most(steps) < np.log(limit):
        return None
    return Unit(name, question, there, np.ones(len(there), dtype=bool), block, there, _level(steps, block), mass, 0.0)


def _volume(name: str, at: Places, seen: Sequence[Seen], traffic: Traffic, limit: float) -> Unit:
    """The number of queries, by bet; nothing where nothing is known to be expected."""
    rows = np.array([one.rows for one in seen], dtype=np.float64)
    expected = np.maximum(traffic.most[at], _own_rows(rows, at))
    known = np.where(np.isnan(expected), np.maximum(rows, 1.0), expected)
    mass, block = _mass(name, traffic.active[at]), np.arange(len(at))
    level = _level(np.minimum(np.log1p(_BETS * (rows / known - 1)[:, None]), _cap(mass, limit)), block)
    return Unit(name, "volume", at, np.ones(len(at), dtype=bool), block, at, level, mass, 0.0)


def _mass(name: str, active: Floats) -> Floats:
    return np.full(len(active), NEWCOMERS_SHARE) if name == NEWCOMERS else (1 - NEWCOMERS_SHARE) / active


def _cap(mass: Floats, limit: float) -> Floats:
    """What one block may bring, (blocks, 1)."""
    return np.asarray(CAP_SHARE * np.log(limit / (mass * WEIGHT))[:, None], dtype=np.float64)


def _most(steps: Floats) -> float:
    """The most that neighbouring windows bring together: no start and end have more, (n, tilts) in."""
    sums = np.concatenate([np.zeros((1, steps.shape[1])), np.cumsum(steps, axis=0)])
    return float((sums[1:] - np.minimum.accumulate(sums, axis=0)[:-1]).max())


def _level(steps: Floats, block: Places) -> Floats:
    """Log evidence by window and look-back.

    Args:
        steps: By tilt, of each window with those of its block before it, (n, tilts).
        block: The block each window is in, ascending without a gap, (n,).
    """
    whole = steps[np.append(np.flatnonzero(np.diff(block)), len(block) - 1)]  # as each block ends
    sums = np.concatenate([np.zeros((1, steps.shape[1])), np.cumsum(whole, axis=0)])
    level = np.full((len(steps), len(LOOK_BACKS)), -np.inf)
    for i, back in enumerate(LOOK_BACKS):
        if back > len(whole):
            break
        there = block >= back - 1
        now = block[there]
        change = steps[there] + sums[now] - sums[now + 1 - back]
        top = change.max(1)
        level[there, i] = top + np.log(np.exp(change - top[:, None]).mean(1))
    return level


def _most_rows(windows: Sequence[ClientWindow]) -> Floats:
    out = np.full(len(windows), np.nan)
    before: list[int] = []
    for k in range(_EARLIER, len(windows)):
        before += [one.rows for name, one in windows[k - _EARLIER].seen.items() if name != NEWCOMERS]
        if before:
            out[k] = max(FEWEST_ROWS, _BEYOND_MOST * float(np.quantile(before[-5000:], 0.99)))
    return out


def _own_rows(rows: Floats, at: Places) -> Floats:
    """What may be expected of a client by what it sent in its windows of earlier days; 0 where there are too few."""
    counts = np.searchsorted(at, at - _EARLIER, side="right")
    sums = np.concatenate([[0.0], np.cumsum(rows)])
    return np.asarray(np.where(counts > 0, MUCH_MORE * sums[counts] / np.maximum(counts, 1), 0.0), np.float64)
