"""Running evidence of all signals, window after window, carried on from wherever it was left.

A window adds to sums that the windows before it have made, and looks back at those sums at `LOOK_BACKS` places. So a
further window costs the same however many there were, and windows that came later can be taken back. Whatever is done
to a window is done to it alone, and sums are made one window after the other: windows that come one by one, in parts
or all at once give the same evidence, bit for bit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np

from assay.inference.evidence import (
    LOOK_BACKS,
    Paths,
    Terms,
    carried_on,
    log_evidence,
    look_backs,
    mixed,
    since,
    together,
)
from assay.inference.natural import Floats, Ints
from assay.monitoring.detectors.base import Carried, Watcher
from assay.monitoring.detectors.fixed import FixedWatcher
from assay.monitoring.watching import Part

REWOUND: Final = 64
"""So many of the newest windows can be taken back: late rows and labels change them."""

KEPT: Final = LOOK_BACKS[-1] + REWOUND
"""Windows whose sums are kept."""

_TOGETHER: Final = 512
"""Questions that are weighed together: more hide the price of a call no better."""
_PART: Final = 128
"""Windows that are added at once."""
_AT_ONCE: Final = 80_000
"""Pairs of windows times questions that are weighed at once: few enough for a cache."""

Row = tuple[Floats, Floats | None, Floats | None]
"""Sums before one window: of the floor, of nature and of the pull."""


@dataclass(frozen=True, slots=True)
class Alike:
    """Parts with equally many bins and questions.

    Attributes:
        which: Their places on the bench, (P,).
        events: ``m``, (P, bins, questions), where the events of a window are ``counts @ m``.
        rows: The same of its rows.
        always: Rows it has in any case, (P, questions).
        columns: The places of their questions on the bench, (P, questions).
    """

    which: Ints
    events: Floats
    rows: Floats
    always: Floats
    columns: Ints


@dataclass(frozen=True, slots=True)
class Bench:
    """Parts that ask fixed questions, side by side.

    Attributes:
        parts: Their places among all parts.
        signals: Their signals.
        terms: What a row and an event bring to each question.
        alike: The same parts, those of one shape together.
    """

    parts: tuple[int, ...]
    signals: tuple[int, ...]
    terms: Terms
    alike: tuple[Alike, ...]

    def tally(self, counts: Sequence[Floats]) -> tuple[Floats, Floats]:
        """Events and rows of every question, (T, W), from the counts of all signals."""
        windows = len(counts[self.signals[0]])
        events, rows = (np.empty((windows, len(self.terms.tilt))) for _ in range(2))
        for one in self.alike:
            mine = np.array([counts[self.signals[i]] for i in one.which])  # (P, T, bins)
            for out, found in ((events, mine @ one.events), (rows, one.always[:, None] + mine @ one.rows)):
                out[:, one.columns.ravel()] = found.transpose(1, 0, 2).reshape(windows, one.columns.size)
        return events, rows

    def weigh(self, path: Paths, first: Ints, last: Ints) -> Floats:
        """``log E`` of each part, (n, parts)."""
        each, out = log_evidence(path, first, last, idle=False), np.empty((len(first), len(self.parts)))
        for one in self.alike:
            # What `take` gives lies in memory row by row, however many rows there are: sums have one order.
            out[:, one.which] = mixed(np.take(each, one.columns, axis=1))
        return out


@dataclass(frozen=True, slots=True)
class Sums:
    """What the windows so far have left.

    Attributes:
        windows: How many there were.
        benches: By bench, the sums before each of the newest windows and behind the last.
        others: By part that chooses its questions, what it has chosen and summed up in the newest windows.
    """

    windows: int
    benches: tuple[tuple[Row, ...], ...]
    others: tuple[Carried, ...]

    def cut(self, windows: int) -> Sums | None:
        """The same after so many windows; None where the sums of that time are not kept any more."""
        gone = self.windows - windows
        needed = min(windows, LOOK_BACKS[-1])
        kept = [len(rows) - 1 for rows in self.benches] + [one.windows for one in self.others]
        if gone < 0 or any(length - gone < needed for length in kept):
            return None
        if not gone:
            return self
        others = tuple(one.cut(0, one.windows - gone) for one in self.others)
        return Sums(windows, tuple(rows[: len(rows) - gone] for rows in self.benches), others)


class Ledger:
    """All signals of a baseline under their detectors.

    Args:
        parts: The detectors of each signal, with what they know of the baseline.
    """

    def __init__(self, parts: Sequence[Sequence[Part]]) -> None:
        self._each = [(signal, order, part) for signal, mine in enumerate(parts) for order, part in enumerate(mine)]
        self._signals = len(parts)
        self._sizes = np.array([max(len(mine), 1) for mine in parts], dtype=np.float64)
        empty = np.zeros(0, dtype=np.intp)
        watchers = [part.watcher(np.zeros((0, part.spec.bins)), empty) for _, _, part in self._each]
        fixed = [i for i, one in enumerate(watchers) if isinstance(one, FixedWatcher) and one.terms is not None]
        self._benches = tuple(self._bench(some, watchers) for some in _chunks(fixed, watchers))
        self._others = tuple(i for i, one in enumerate(watchers) if not isinstance(one, FixedWatcher))
        self._new = tuple(cast("Carried", watchers[i]) for i in self._others)
        self._adding = self._by_order()

    def _by_order(self) -> tuple[tuple[int, Ints, Ints], ...]:
        """How the evidence of parts is added up: of which bench or all others, which of its parts, to which signals.

        First the first detector of each signal, then the second, …: sums have one order.
        """
        found: dict[tuple[int, int], tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for place, parts in enumerate((*(bench.parts for bench in self._benches), self._others)):
            for at, part in enumerate(parts):
                signal, order, _ = self._each[part]
                which, signals = found[order, place]
                which.append(at)
                signals.append(signal)
        return tuple(
            (place, np.array(which, dtype=np.intp), np.array(signals, dtype=np.intp))
            for (_, place), (which, signals) in sorted(found.items())
        )

    def _bench(self, which: Sequence[int], watchers: Sequence[Watcher]) -> Bench:
        asked = [cast("FixedWatcher", watchers[i]) for i in which]
        blends = [cast("Floats", one.blend) for one in asked]
        ends = np.cumsum([0, *(blend.shape[1] for blend in blends)])
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        maps = []
        for place, (i, blend) in enumerate(zip(which, blends, strict=True)):
            part = self._each[i][2]
            groups[part.spec.bins, blend.shape[1]].append(place)
            # What is told of counts grows in proportion to them: rows of one bin each tell it all.
            _, always = part.detector.tally(part.spec, np.zeros((1, part.spec.bins)))
            events, rows = part.detector.tally(part.spec, np.eye(part.spec.bins))
            maps.append((events @ blend, (rows - always) @ blend, always[0] @ blend))
        alike = tuple(
            Alike(
                which=np.array(places, dtype=np.intp),
                events=np.stack([maps[place][0] for place in places]),
                rows=np.stack([maps[place][1] for place in places]),
                always=np.stack([maps[place][2] for place in places]),
                columns=np.array([np.arange(ends[place], ends[place + 1]) for place in places], dtype=np.intp),
            )
            for places in groups.values()
        )
        terms = together([cast("Terms", one.terms) for one in asked])
        return Bench(tuple(which), tuple(self._each[i][0] for i in which), terms, alike)

    def bytes_for(self, windows: int) -> int:
        """About how much memory the sums of so many windows take, in bytes."""
        kept = min(windows, KEPT) + 1
        fixed = sum(3 * one.terms.tilt.nbytes * kept + one.terms.nbytes for one in self._benches)
        bins = sum(self._each[i][2].spec.bins for i in self._others)
        strata = sum(len(self._each[i][2].natural.strata) for i in self._others)
        return int(fixed + 8 * kept * (4 * bins + 8 * strata))

    def add(self, counts: Sequence[Floats], at: Ints, before: Sums | None, *, keep: bool) -> tuple[Floats, Sums | None]:
        """The evidence of more windows, and what they leave.

        Args:
            counts: Their counts, by signal, each (T, bins).
            at: Their strata, (T,).
            before: What those before have left; None for none.
            keep: Whether what is left is wanted: it takes memory.

        Returns:
            E per signal, look-back and window, (S, look-backs, T), the mean over its detectors; 0 where nothing can be
            asked.
        """
        begin = 0 if before is None else before.windows
        found, benches = [], []
        for place, bench in enumerate(self._benches):
            evidence, rows = _weighed(bench, counts, at, None if before is None else before.benches[place], begin)
            found.append(evidence)
            benches.append(rows if keep else ())
        mine = [counts[self._each[part][0]] for part in self._others]
        chosen, others = _carried(self._new if before is None else before.others, mine, at, begin)
        found.append(chosen)
        out = np.zeros((self._signals, len(LOOK_BACKS), len(at)))
        for place, which, signals in self._adding:
            out[signals] += found[place][..., which].transpose(2, 0, 1)
        out /= self._sizes[:, None, None]
        return out, Sums(begin + len(at), tuple(benches), others) if keep else None


def _chunks(which: Sequence[int], watchers: Sequence[Watcher]) -> Iterator[list[int]]:
    """Parts whose questions are weighed together."""
    part: list[int] = []
    size = 0
    for i in which:
        asked = len(cast("FixedWatcher", watchers[i]).asked)
        if part and size + asked > _TOGETHER:
            yield part
            part, size = [], 0
        part.append(i)
        size += asked
    if part:
        yield part


def _weighed(
    bench: Bench, counts: Sequence[Floats], at: Ints, before: tuple[Row, ...] | None, begin: int
) -> tuple[Floats, tuple[Row, ...]]:
    """E of every part of a bench, (look-backs, T, parts), and the sums that are left."""
    terms = bench.terms
    nothing = np.zeros(terms.tilt.shape)
    unknown = terms.usual is None
    rows = list(before) if before else [(nothing, None if unknown else nothing, None if unknown else nothing)]
    events, sizes = bench.tally(counts)
    out = np.zeros((len(LOOK_BACKS), len(at), len(bench.parts)))
    for start in range(0, len(at), _PART):
        some = slice(start, min(start + _PART, len(at)))
        path = carried_on(events[some], sizes[some], terms, at[some], _stacked(rows[-1:], terms))
        rows += [
            (floor, None if path.nature is None else path.nature[i], None if path.pull is None else path.pull[i])
            for i, floor in enumerate(path.floor)
            if i
        ]
        first, end = begin + some.start, begin + some.stop
        out[:, some] = since(_between(bench, rows, first, end), first, end, max(1, _AT_ONCE // len(terms.tilt)))
        rows = rows[-(KEPT + 1) :]
    return out, tuple(rows)


def _between(bench: Bench, rows: Sequence[Row], begin: int, end: int) -> Callable[[Ints, Ints], Floats]:
    """What weighs the windows ``begin`` to ``end - 1`` and those they look back at, from the sums up to ``end``."""
    _, first, last = look_backs(begin, end)
    needed = np.union1d(first, last + 1)
    path = _stacked([rows[i] for i in needed - (end - len(rows) + 1)], bench.terms)

    def log_e(first: Ints, last: Ints) -> Floats:
        return bench.weigh(path, np.searchsorted(needed, first), np.searchsorted(needed, last + 1) - 1)

    return log_e


def _stacked(rows: Sequence[Row], terms: Terms) -> Paths:
    floor, nature, pull = (None if each[0] is None else np.array(each) for each in zip(*rows, strict=True))
    return Paths(cast("Floats", floor), nature, pull, terms.twice_info)


def _carried(
    watchers: tuple[Carried, ...], counts: Sequence[Floats], at: Ints, begin: int
) -> tuple[Floats, tuple[Carried, ...]]:
    """E of every part that chooses its questions, (look-backs, T, parts), and what is left."""
    out = np.zeros((len(LOOK_BACKS), len(at), len(watchers)))
    if not watchers:
        return out, ()
    for start in range(0, len(at), _PART):
        some = slice(start, min(start + _PART, len(at)))
        end = begin + some.stop
        watchers = tuple(one.then(mine[some], at[some]) for one, mine in zip(watchers, counts, strict=True))
        out[:, some] = since(_weighed_by(watchers, end), begin + some.start, end, _AT_ONCE // 40)
        watchers = tuple(one if one.windows <= KEPT else one.cut(one.windows - KEPT, one.windows) for one in watchers)
    return out, watchers


def _weighed_by(watchers: Sequence[Carried], end: int) -> Callable[[Ints, Ints], Floats]:
    """What watchers say that may have forgotten the first of the ``end`` windows, (n, parts)."""

    def log_e(first: Ints, last: Ints) -> Floats:
        gone = [end - one.windows for one in watchers]
        return np.stack([one.log_evidence(first - n, last - n) for one, n in zip(watchers, gone, strict=True)], axis=1)

    return log_e
