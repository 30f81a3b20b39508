"""Does a client do what no client should? E-processes against tolerances, one budget for all clients. Pure.

For each client and question (is this query a near copy of one of its own? far from all that is usual? …) the tolerance
is a share ``q`` of its queries. With ``s`` events in ``n`` tries of a block since a start, and tilts ``d``::

    E = mean over d of exp( sum min( d s - n log(1 - q + q exp(d)), cap ) )

has expectation at most 1 for every client whose queries, given all that was before, are events with probability at
most ``q``. Of each block that is taken off which the others may explain (`assay.monitoring.clients.crowd`), so that it
holds too for every client that does no more than twice what the others do meanwhile. For the number of queries, with
at most ``t`` to be expected in a window, ``1 - b + b n / t`` does the same for bets ``b`` (Markov). Starts of window
``j`` get a mass that is shared over the clients seen in it, 1 in all. The sum over clients, questions and starts of
mass times E therefore grows by at most 1 a window in expectation, and reaches ``A`` in expectation at most once in A
windows, however many clients there are and however they depend on each other.

References:
    Shin, J., Ramdas, A. and Rinaldo, A. (2024). E-detectors: a nonparametric framework for sequential change
    detection. New England Journal of Statistics in Data Science 2(2), 229-260.
    Juuti, M., Szyller, S., Marchal, S. and Asokan, N. (2019). PRADA: protecting against DNN model stealing attacks.
    IEEE EuroS&P (distances between the queries of one client tell extraction; judged there by a normality test).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from assay.inference.evidence import IDLE
from assay.inference.sequence import rate_sequence
from assay.monitoring.clients.crowd import ENOUGH, OF_OTHERS, Floats, allowed
from assay.monitoring.clients.roster import SETTLED
from assay.monitoring.clients.sight import ASKED, NEWCOMERS, ClientWindow, Seen
from assay.monitoring.clients.units import FEWEST_ROWS, Bools, Traffic, Unit, units_of

USUAL: Final[Mapping[str, float]] = {"copies": 0.01, "walking": 0.01, "edging": 0.01, "far": 0.01}
"""Share in the reference, by how the cuts were learned."""

_LEVEL: Final = 0.95
_CALM_WINDOWS: Final = 8


@dataclass(frozen=True, slots=True)
class ClientAlarm:
    """One client, or all newcomers together, did more of something than any client may.

    Attributes:
        client: Who; `NEWCOMERS` for all newcomers together.
        question: What it did: one of `QUESTIONS`.
        window: Start of the window that raised the alarm.
        since: Start of the window since which the evidence is strongest.
        share: Share of its queries since; for ``volume`` queries a window.
        low: Lower end of the share's 95 % confidence sequence; for ``volume`` the share itself.
        high: Upper end.
        tolerance: What it may do without an alarm, in the same unit; with that of the others, where they do it too.
        rows: Its queries since.
        log_e: Natural logarithm of the evidence, summed over starts, with its mass.
        until: End of the window after which it was calm; None while it is not.
        others: Share of the others' queries meanwhile; None where there were none, and for ``volume``.
        others_rows: How many these were.
    """

    client: str
    question: str
    window: str
    since: str
    share: float
    low: float
    high: float
    tolerance: float
    rows: int
    log_e: float
    until: str | None = None
    others: float | None = None
    others_rows: int = 0


@dataclass(frozen=True, slots=True)
class Doubt:
    """One client did more of something than any client may, unless it is the world that has moved: no alarm.

    Attributes:
        client: Who; `NEWCOMERS` for all newcomers together.
        question: What it did: one of `ASKED`.
        since: Start of the window since which it is so.
        share: Share of its queries since.
        rows: How many these were.
        others: Share of the others' queries meanwhile; None where there were none.
        others_rows: How many these were.
    """

    client: str
    question: str
    since: str
    share: float
    rows: int
    others: float | None
    others_rows: int

    @property
    def is_world(self) -> bool:
        """Whether the others are enough to say that it is the world."""
        return self.others is not None and self.others_rows >= ENOUGH and OF_OTHERS * self.others >= self.share


@dataclass(frozen=True, slots=True)
class Judged:
    """What the windows say of all clients.

    Attributes:
        alarms: All of them, in the order of the windows that raise them.
        doubts: What is so now and raises no alarm, because it may be the world, most queries first.
    """

    alarms: tuple[ClientAlarm, ...]
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True, slots=True)
class _Opening:
    """When a unit's alarm was raised, by how much evidence, and when it was calm again."""

    unit: int
    window: int
    value: float
    calm: int | None = None


def judge(
    windows: Sequence[ClientWindow],
    *,
    windows_per_alarm: float,
    usual: Mapping[str, Seen] | None = None,
    trusted: Iterable[str] = (),
) -> Judged:
    """Judge all windows; the same windows give the same alarms.

    Args:
        windows: In time order, those without rows among them.
        windows_per_alarm: ``A``: in expectation at most one false alarm in so many windows.
        usual: By client, what it did in the reference, where the reference says who asked.
        trusted: Clients that are not judged, and that excuse nobody.
    """
    known, left_out = usual or {}, frozenset(trusted)

    def walked(accused: Mapping[str, Bools]) -> tuple[Traffic, list[Unit], list[_Opening]]:
        traffic = Traffic.of(windows, usual=known, trusted=left_out, accused=accused)
        units = units_of(windows, traffic, limit=windows_per_alarm, usual=known, trusted=left_out)
        return traffic, units, _walked(units, len(windows), windows_per_alarm)

    traffic, units, openings = walked({})
    accused = _accused(units, openings, len(windows))
    if accused:  # once more: from its alarm on, what an attacker does is no measure for others
        traffic, units, openings = walked(accused)
    alarming = {one.unit for one in openings if one.calm is None}
    calm = {one.unit: one.calm + 1 for one in openings if one.calm is not None}
    week = traffic.windows_of(SETTLED)
    unsure = [
        _doubt(unit.bare, windows, traffic)
        for u, unit in enumerate(units)
        if u not in alarming and unit.bare is not None and unit.bare.at[-1] >= len(windows) - week
        if unit.bare.value(len(unit.bare.at) - 1, calm.get(u, 0)) >= windows_per_alarm
    ]
    return Judged(
        tuple(_described(units[one.unit], windows, traffic, one) for one in openings),
        tuple(sorted(unsure, key=lambda one: -one.rows)),
    )


def _accused(units: Sequence[Unit], openings: Sequence[_Opening], windows: int) -> dict[str, Bools]:
    """In which windows each client was accused already, as far as was known then."""
    out: dict[str, Bools] = {}
    for one in openings:
        name = units[one.unit].client
        if name != NEWCOMERS:
            out.setdefault(name, np.zeros(windows, dtype=bool))[one.window + 1 : one.calm] = True
    return out


def _walked(units: Sequence[Unit], windows: int, limit: float) -> list[_Opening]:
    """Open the strongest until the rest is below the limit; an open one leaves the sum until it was calm."""
    by_window: dict[int, list[tuple[int, int]]] = {}
    for u, unit in enumerate(units):
        speaks = unit.level.max(1) >= np.log(IDLE)
        for i in np.flatnonzero(speaks | np.append(False, speaks[:-1])).tolist():  # once more, to fall silent
            by_window.setdefault(int(unit.at[i]), []).append((u, i))
    value, restart, quiet = np.zeros(len(units)), np.zeros(len(units), dtype=np.intp), np.zeros(len(units), np.intp)
    current: dict[int, int] = {}
    out: list[_Opening] = []
    for k in range(windows):
        for u, i in by_window.get(k, ()):
            value[u] = units[u].value(i, int(restart[u]))
            if u in current and units[u].there[i] and units[u].level[i, :4].max() >= np.log(IDLE):
                quiet[u] = 0
        left = value.copy()
        left[list(current)] = 0.0
        while len(units) and left.sum() >= limit:
            u = int(left.argmax())
            current[u], quiet[u] = len(out), 0
            out.append(_Opening(u, k, float(left[u])))
            left[u] = 0.0
        for u in list(current):
            quiet[u] += 1
            if quiet[u] > _CALM_WINDOWS:
                place = current.pop(u)
                out[place] = replace(out[place], calm=k)
                restart[u], value[u] = k + 1, 0.0
    return out


@dataclass(frozen=True, slots=True)
class _Span:
    """What a client did since the evidence is strongest, and the others meanwhile.

    Attributes:
        since: First window.
        back: How many blocks that is.
        windows: In how many windows it was there.
        own: What it did.
        others: Tries and events of the others, (2, questions).
    """

    since: int
    back: int
    windows: int
    own: Seen
    others: Floats

    @classmethod
    def of(cls, unit: Unit, windows: Sequence[ClientWindow], traffic: Traffic, i: int) -> _Span:
        since, back = unit.begins(i)
        span = slice(since, int(unit.at[i]) + 1)
        every = [window.seen.get(unit.client, Seen(0)) for window in windows]
        others = traffic.others(unit.client, np.array([(one.tries, one.events) for one in every], np.float64))[span]
        seen, whole = every[span], Seen(0)
        for one in seen:
            whole = whole.plus(one)
        return cls(since, back, sum(one.rows > 0 for one in seen), whole, others.sum(0))

    def theirs(self, q: int) -> float | None:
        """Share of the others' queries."""
        return float(self.others[1, q] / self.others[0, q]) if self.others[0, q] else None


def _described(unit: Unit, windows: Sequence[ClientWindow], traffic: Traffic, opening: _Opening) -> ClientAlarm:
    i = int(np.searchsorted(unit.at, opening.window, side="right")) - 1
    span = _Span.of(unit, windows, traffic, i)
    mean = span.own.rows / max(span.windows, 1)
    alarm = ClientAlarm(
        client=unit.client,
        question=unit.question,
        window=windows[opening.window].start,
        since=windows[span.since].start,
        share=mean,
        low=mean,
        high=mean,
        tolerance=float(np.nanmax(traffic.most[span.since : opening.window + 1], initial=FEWEST_ROWS)),
        rows=span.own.rows,
        log_e=float(np.log(opening.value)),
        until=None if opening.calm is None else windows[opening.calm].end,
    )
    if unit.question == "volume":
        return alarm
    q = ASKED.index(unit.question)
    tries, events, theirs = span.own.tries[q], span.own.events[q], span.theirs(q)
    low, high = rate_sequence(events, tries, level=_LEVEL, starts=span.back)
    return replace(
        alarm,
        share=events / max(tries, 1),
        low=low,
        high=high,
        tolerance=max(unit.tolerance, allowed(theirs or 0.0)),
        others=theirs,
        others_rows=int(span.others[0, q]),
    )


def _doubt(unit: Unit, windows: Sequence[ClientWindow], traffic: Traffic) -> Doubt:
    q, span = ASKED.index(unit.question), _Span.of(unit, windows, traffic, len(unit.at) - 1)
    return Doubt(
        client=unit.client,
        question=unit.question,
        since=windows[span.since].start,
        share=span.own.events[q] / max(span.own.tries[q], 1),
        rows=span.own.tries[q],
        others=span.theirs(q),
        others_rows=int(span.others[0, q]),
    )
