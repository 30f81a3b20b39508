"""Does a client do what no client should? E-processes against tolerances, one budget for all clients. Pure.

For each client and question (is this query a near copy of one of its own? far from all that is usual? …) the tolerance
is a share ``q`` of its queries. With ``s`` events in ``n`` tries since a start, and tilts ``d``::

    E = mean over d of exp( sum min( d s - n log(1 - q + q exp(d)), cap ) )

has expectation at most 1 for every client whose queries, given all that was before, are events with probability at
most ``q``. For the number of queries, with at most ``t`` to be expected in a window, ``1 - b + b n / t`` does the same
for bets ``b`` (Markov). Starts of window ``j`` get a mass that is shared over the clients seen in it, 1 in all. The sum
over clients, questions and starts of mass times E therefore grows by at most 1 a window in expectation, and reaches
``A`` in expectation at most once in A windows, however many clients there are and however they depend on each other.

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
import numpy.typing as npt

from assay.inference.evidence import CAP_SHARE, IDLE
from assay.inference.intervals import clopper_pearson
from assay.inference.sequence import rate_sequence
from assay.monitoring.clients.sight import ASKED, NEWCOMERS, Seen

Floats = npt.NDArray[np.float64]

QUESTIONS: Final = (*ASKED, "volume")
TOLERANCES: Final[Mapping[str, float]] = {"copies": 0.35, "walking": 0.15, "edging": 0.15, "far": 0.35}
"""Share of its queries that any client may have without ever raising an alarm."""

USUAL: Final[Mapping[str, float]] = {"copies": 0.01, "walking": 0.01, "edging": 0.01, "far": 0.01}
"""Share in the reference, by how the cuts were learned."""

OF_OTHERS: Final = 2.0
"""A client may do what all others do in the same window, twice as often, where these are enough to say something: a
world that moves accuses nobody."""

MORE: Final = 0.1
"""A client that is in the reference may also do as often what it did there, and so much more."""

NEWCOMERS_SHARE: Final = 0.2
"""Share of each start's mass for all newcomers together."""

FEWEST_ROWS: Final = 200
MUCH_MORE: Final = 4.0
"""Queries a window that may be expected: so many times the client's own mean of earlier days, at least 200, and at
least 10 times what 99 of 100 clients send."""

_BEYOND_MOST: Final = 10.0
_TILTS: Final = np.array([0.5, 1.0, 2.0, 4.0])
_LOOK_BACKS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_BETS: Final = np.array([0.1, 0.3, 0.6, 0.9])
_WEIGHT: Final = 1 / len(QUESTIONS)
_LEVEL: Final = 0.95
_ENOUGH_OTHERS: Final = 200
_MOST_TOLERATED: Final = 0.95
_CALM_WINDOWS: Final = 8
_EARLIER: Final = 24  # windows of its own before a client's mean says anything, and how old they are at least


@dataclass(frozen=True, slots=True)
class ClientWindow:
    """What was seen of all clients in one window.

    Attributes:
        start: First instant, ISO 8601 UTC.
        end: First instant after it.
        seen: By client.
    """

    start: str
    end: str
    seen: Mapping[str, Seen]


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
        tolerance: What it may do without an alarm, in the same unit.
        rows: Its queries since.
        log_e: Natural logarithm of the evidence, summed over starts, with its mass.
        until: End of the window after which it was calm; None while it is not.
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


@dataclass(frozen=True, slots=True)
class _Unit:
    """One client and question over the windows it was there in.

    Attributes:
        client: Who.
        question: What is asked.
        at: Those windows, (n,).
        level: Log evidence by window and look-back, (n, look-backs); minus infinity where it does not reach.
        mass: Of a start in each of those windows, (n,).
    """

    client: str
    question: str
    at: npt.NDArray[np.intp]
    level: Floats
    mass: Floats

    def value(self, i: int, restart: int) -> float:
        """Weighted evidence at its i-th window, of starts from window ``restart`` on."""
        starts = i + 1 - np.array(_LOOK_BACKS)
        fits = (starts >= 0) & (self.at[np.maximum(starts, 0)] >= restart) & (self.level[i] >= np.log(IDLE))
        return float((np.exp(np.minimum(self.level[i][fits], 600.0)) * self.mass[starts[fits]]).sum() * _WEIGHT)


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
) -> tuple[ClientAlarm, ...]:
    """Judge all windows; the same windows give the same alarms.

    Args:
        windows: In time order, those without rows among them.
        windows_per_alarm: ``A``: in expectation at most one false alarm in so many windows.
        usual: By client, what it did in the reference, where the reference says who asked.
        trusted: Clients that are not judged.
    """
    units = _units(windows, windows_per_alarm, usual or {}, frozenset(trusted))
    return tuple(
        _described(units[one.unit], windows, one, usual or {})
        for one in _walked(units, len(windows), windows_per_alarm)
    )


def _units(
    windows: Sequence[ClientWindow], limit: float, usual: Mapping[str, Seen], trusted: frozenset[str]
) -> list[_Unit]:
    there: dict[str, list[int]] = {}
    for k, window in enumerate(windows):
        for name, seen in window.seen.items():
            if name not in trusted and seen.rows:
                there.setdefault(name, []).append(k)
    active = np.array([max(1, sum(name != NEWCOMERS for name in one.seen)) for one in windows], dtype=np.float64)
    sums = _sums(windows)
    most = _most_rows(windows)
    units: list[_Unit] = []
    for name, places in there.items():
        mine = [windows[k].seen[name] for k in places]
        if not any(any(one.events) or one.rows > FEWEST_ROWS for one in mine):
            continue  # nothing happened that evidence could grow by; of a large crowd, that is most
        at = np.array(places)
        mass = np.full(len(at), NEWCOMERS_SHARE) if name == NEWCOMERS else (1 - NEWCOMERS_SHARE) / active[at]
        cap = CAP_SHARE * np.log(limit / (mass * _WEIGHT))
        steps = _shares(mine, tolerated(name, mine, sums[at], usual.get(name)))
        if name != NEWCOMERS:
            steps["volume"] = _volume(mine, np.maximum(most[at], _own_rows(mine, at)))
        for question, step in steps.items():
            level = _level(np.minimum(step, cap[:, None]))
            if level.max() >= np.log(IDLE):  # else nothing about it ever says anything
                units.append(_Unit(name, question, at, level, mass))
    return units


def _shares(seen: Sequence[Seen], edge: Floats) -> dict[str, Floats]:
    """Log evidence of each window by question and tilt, (n, tilts)."""
    out = {}
    for q, question in enumerate(ASKED):
        tries = np.array([one.tries[q] for one in seen], np.float64)[:, None]
        events = np.array([one.events[q] for one in seen], np.float64)[:, None]
        out[question] = _TILTS * events - tries * np.log1p(edge[:, q, None] * np.expm1(_TILTS))
    return out


def _volume(seen: Sequence[Seen], expected: Floats) -> Floats:
    """Log evidence of each window by bet; nothing where nothing is known to be expected."""
    rows = np.array([one.rows for one in seen], np.float64)
    known = np.where(np.isnan(expected), np.maximum(rows, 1.0), expected)
    return np.asarray(np.log1p(_BETS * (rows / known - 1)[:, None]), np.float64)


def _level(steps: Floats) -> Floats:
    """Log evidence by window and look-back, from that of each window by tilt."""
    sums = np.concatenate([np.zeros((1, steps.shape[1])), np.cumsum(steps, axis=0)])
    level = np.full((len(steps), len(_LOOK_BACKS)), -np.inf)
    for i, back in enumerate(_LOOK_BACKS):
        if back > len(steps):
            break
        change = sums[back:] - sums[:-back]
        top = change.max(1)
        level[back - 1 :, i] = top + np.log(np.exp(change - top[:, None]).mean(1))
    return level


def tolerated(name: str, seen: Sequence[Seen], sums: Floats, usual: Seen | None) -> Floats:
    """What share of each question a client may have in each of its windows, (n, questions).

    Args:
        name: The client.
        seen: What was seen of it, (n,).
        sums: Tries and events of all clients in the same windows, (n, 2, questions).
        usual: What it did in the reference, or None.
    """
    edge = np.tile([TOLERANCES[question] for question in ASKED], (len(seen), 1))
    own = np.array([[one.tries, one.events] for one in seen], np.float64)
    others = sums if name == NEWCOMERS else sums - own
    enough = others[:, 0] >= _ENOUGH_OTHERS
    theirs = OF_OTHERS * (others[:, 1] + 1) / (others[:, 0] + 2)
    if name != NEWCOMERS:  # what all do together is no excuse for all together
        edge = np.where(enough, np.maximum(edge, theirs), edge)
    if usual is not None:
        for q in range(len(ASKED)):
            if usual.tries[q]:
                edge[:, q] = np.maximum(edge[:, q], clopper_pearson(usual.events[q], usual.tries[q], _LEVEL)[1] + MORE)
    return np.asarray(np.minimum(edge, _MOST_TOLERATED), np.float64)


def _sums(windows: Sequence[ClientWindow]) -> Floats:
    """Tries and events of all clients in each window, (windows, 2, questions)."""
    out = np.zeros((len(windows), 2, len(ASKED)))
    for k, window in enumerate(windows):
        for name, seen in window.seen.items():
            if name != NEWCOMERS:
                out[k] += (seen.tries, seen.events)
    return out


def _most_rows(windows: Sequence[ClientWindow]) -> Floats:
    """Queries of one client that may be expected in each window, by what clients sent a day before; NaN before that."""
    out = np.full(len(windows), np.nan)
    before: list[int] = []
    for k in range(_EARLIER, len(windows)):
        before += [one.rows for name, one in windows[k - _EARLIER].seen.items() if name != NEWCOMERS]
        if before:
            out[k] = max(FEWEST_ROWS, _BEYOND_MOST * float(np.quantile(before[-5000:], 0.99)))
    return out


def _own_rows(seen: Sequence[Seen], at: npt.NDArray[np.intp]) -> Floats:
    """The same by what the client itself sent in its windows of earlier days; 0 where there are too few."""
    rows = np.array([one.rows for one in seen], np.float64)
    counts = np.searchsorted(at, at - _EARLIER, side="right")
    sums = np.concatenate([[0.0], np.cumsum(rows)])
    return np.asarray(np.where(counts > 0, MUCH_MORE * sums[counts] / np.maximum(counts, 1), 0.0), np.float64)


def _walked(units: Sequence[_Unit], windows: int, limit: float) -> list[_Opening]:
    """Open the strongest until the rest is below the limit; an open one leaves the sum until it was calm."""
    by_window: dict[int, list[tuple[int, int]]] = {}
    for u, unit in enumerate(units):
        for i, k in enumerate(unit.at):
            by_window.setdefault(int(k), []).append((u, i))
    value, restart, quiet = np.zeros(len(units)), np.zeros(len(units), dtype=np.intp), np.zeros(len(units), np.intp)
    current: dict[int, int] = {}
    out: list[_Opening] = []
    for k in range(windows):
        for u, i in by_window.get(k, ()):
            value[u] = units[u].value(i, int(restart[u]))
            if u in current:
                quiet[u] = 0 if np.exp(units[u].level[i, :4].max()) >= IDLE else quiet[u]
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


def _described(
    unit: _Unit, windows: Sequence[ClientWindow], opening: _Opening, usual: Mapping[str, Seen]
) -> ClientAlarm:
    i = int(np.searchsorted(unit.at, opening.window, side="right")) - 1
    back = _LOOK_BACKS[int(np.argmax(unit.level[i]))]
    places = unit.at[i + 1 - back : i + 1]
    seen = [windows[k].seen[unit.client] for k in places]
    whole = Seen(0)
    for one in seen:
        whole = whole.plus(one)
    alarm = ClientAlarm(
        client=unit.client,
        question=unit.question,
        window=windows[opening.window].start,
        since=windows[int(places[0])].start,
        share=whole.rows / len(seen),
        low=whole.rows / len(seen),
        high=whole.rows / len(seen),
        tolerance=0.0,
        rows=whole.rows,
        log_e=float(np.log(opening.value)),
        until=None if opening.calm is None else windows[opening.calm].end,
    )
    if unit.question == "volume":
        most = float(np.nanmax(_most_rows(windows)[places], initial=FEWEST_ROWS))
        return replace(alarm, tolerance=most)
    q = ASKED.index(unit.question)
    low, high = rate_sequence(whole.events[q], whole.tries[q], level=_LEVEL, starts=back)
    edge = tolerated(unit.client, seen, _sums([windows[k] for k in places]), usual.get(unit.client))
    share = whole.events[q] / max(whole.tries[q], 1)
    return replace(alarm, share=share, low=low, high=high, tolerance=float(edge[:, q].max()))
