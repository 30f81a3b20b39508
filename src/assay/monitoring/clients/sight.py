"""What is seen of each client, row by row in time: counts that are all that judging needs."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assay.monitoring.clients.space import CROWD, Points, Space, as_numbers, as_texts, neighbours

Bools = npt.NDArray[np.bool_]
Answers = npt.NDArray[np.object_]

ASKED: Final = ("copies", "walking", "edging", "far")
"""The questions asked of single queries: is it a near copy of an earlier one; one that was answered otherwise; one, or
one of a crowd of copies, with a narrow answer; is it far from all that is usual."""

MOST_JUDGED: Final = 2_000
"""Queries of one client and window that are looked at one by one; of more, the first."""

MOST_CLIENTS: Final = 20_000
"""Clients of one window that are told apart; those with the fewest rows are left out, and a finding says so."""

NEWCOMERS: Final = "\0new"
"""Stands for all clients together that were not there before: one attacker may be many clients."""

NOBODY: Final = "(none)"
"""Stands for rows that do not say who asked."""

_POOL_CROWD: Final = 4 * CROWD
_BLOCK: Final = 256
_LONGEST_NAME: Final = 120


@dataclass(frozen=True, slots=True)
class Seen:
    """What one client did in one window.

    Attributes:
        rows: How many queries.
        tries: By question, of how many queries it could be asked.
        events: By question, how often the answer was yes.
    """

    rows: int
    tries: tuple[int, ...] = (0,) * len(ASKED)
    events: tuple[int, ...] = (0,) * len(ASKED)

    def plus(self, other: Seen) -> Seen:
        """Both together."""
        return Seen(
            self.rows + other.rows,
            tuple(a + b for a, b in zip(self.tries, other.tries, strict=True)),
            tuple(a + b for a, b in zip(self.events, other.events, strict=True)),
        )


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
class Columns:
    """Where a row says what.

    Attributes:
        client: Column of who asked.
        prediction: Column of what was answered.
        confidence: Column of how sure, or None.
        low: A confidence at or below it is a narrow answer: one in twenty of the reference; None when unknown.
    """

    client: str
    prediction: str
    confidence: str | None = None
    low: float | None = None


@dataclass
class Sight:
    """Looks at rows in the order of their time; forgets all but the last queries of each client.

    Attributes:
        space: How queries are compared.
        columns: Where a row says what.
        known: Clients that are no newcomers.
    """

    space: Space
    columns: Columns
    known: Collection[str] = ()
    _past: dict[str, tuple[Points, Answers]] = field(default_factory=dict)

    def look(self, rows: pa.Table, seen: dict[str, Seen]) -> None:
        """Add what is seen in some rows to what was seen in the window before them.

        Args:
            rows: In the order of their time.
            seen: By client, what was seen in this window so far; added to.
        """
        if not len(rows):
            return
        points = self.space.points(rows)
        answers = np.array([str(one) for one in rows.column(self.columns.prediction).to_pylist()], dtype=object)
        narrow = self._narrow(rows)
        clients = _names(rows.column(self.columns.client)).dictionary_encode()
        names = [_named(name) for name in clients.dictionary.to_pylist()]
        places = np.asarray(clients.indices.fill_null(-1), dtype=np.intp)
        order = np.argsort(places, kind="stable")
        cuts = np.flatnonzero(np.diff(places[order])) + 1
        groups: dict[str, npt.NDArray[np.intp]] = {}
        for part in np.split(order, cuts):
            place = int(places[part[0]])
            name = names[place] if place >= 0 else NOBODY
            groups[name] = np.sort(np.concatenate([groups[name], part])) if name in groups else part
        fresh = [part for name, part in groups.items() if name not in self.known]
        if fresh:
            groups[NEWCOMERS] = np.sort(np.concatenate(fresh))
        judged = {name: part[: self._room(name, seen)] for name, part in groups.items()}
        wanted = np.zeros(len(rows), dtype=bool)
        wanted[np.concatenate([*judged.values()])] = True
        strange = np.zeros(len(rows), dtype=bool)
        strange[wanted] = self.space.strange(
            points.pick(np.flatnonzero(wanted))
        )  # of all at once: a crowd is many calls
        for name, some in judged.items():
            found = self._of(name, points.pick(some), answers[some], narrow=narrow[some], strange=strange[some])
            whole = Seen(len(groups[name]), found.tries, found.events)
            seen[name] = seen.get(name, Seen(0)).plus(whole)

    def _room(self, name: str, seen: Mapping[str, Seen]) -> int:
        """How many more queries of a client are looked at in this window."""
        most = MOST_JUDGED * (4 if name == NEWCOMERS else 1)
        return max(0, most - seen[name].tries[-1]) if name in seen else most

    def _narrow(self, rows: pa.Table) -> Bools:
        if self.columns.confidence is None or self.columns.low is None:
            return np.zeros(len(rows), dtype=bool)
        values = as_numbers(rows.column(self.columns.confidence))
        return np.asarray(np.where(np.isnan(values), np.inf, values) <= self.columns.low, dtype=bool)

    def _of(self, name: str, points: Points, answers: Answers, *, narrow: Bools, strange: Bools) -> Seen:
        copies = walking = edging = asked = 0
        crowd = _POOL_CROWD if name == NEWCOMERS else CROWD
        if len(points) == 1 and name not in self._past:  # as whoever invents a name for every query has it
            self._remember(name, points, answers)
            return Seen(1, (0, 0, 0, 1), (0, 0, 0, int(strange[0])))
        past, said = self._past.get(name, (points.pick(slice(0, 0)), answers[:0]))
        fresh = np.ones(len(points), dtype=bool)
        for start in range(0, len(points), _BLOCK):
            block = points.pick(slice(start, start + _BLOCK))
            every = past.then(block)
            told = np.concatenate([said, answers[start : start + _BLOCK]])
            beside = neighbours(every, first=len(past))
            new = ~beside.same
            fresh[start : start + _BLOCK] = new
            judged = new & ~np.isnan(beside.ratio[:, 0])
            under = beside.ratio < self.space.close
            close, around = judged & under[:, 0], judged & (under.any(1) if name != NEWCOMERS else under[:, 0])
            other = told[len(past) :] != told[np.maximum(beside.nearest, 0)]
            asked += int(judged.sum())
            copies += int(close.sum())
            walking += int((close & other).sum())
            edging += int((around & narrow[start : start + _BLOCK]).sum())
            kept = np.concatenate([np.arange(len(past)), len(past) + np.flatnonzero(new)])[-crowd:]
            past, said = every.pick(kept), told[kept]
        self._remember(name, past, said)
        tries = (asked, asked, asked if self.columns.low is not None else 0, int(fresh.sum()))
        return Seen(len(points), tries, (copies, walking, edging, int((strange & fresh).sum())))

    def _remember(self, name: str, past: Points, said: Answers) -> None:
        self._past.pop(name, None)  # the order is that of the last query
        self._past[name] = (past, said)
        while len(self._past) > MOST_CLIENTS:
            del self._past[next(iter(self._past))]


def _names(column: pa.ChunkedArray) -> pa.Array:
    """Who asked, as texts: the same one whichever type the column happens to have, and whoever else is in it."""
    if pa.types.is_floating(column.type):  # whole numbers, where some rows do not say who asked
        values = column.to_pylist()
        whole = [None if one is None or np.isnan(one) else int(one) if one.is_integer() else one for one in values]
        return pa.array([None if one is None else str(one) for one in whole], pa.string())
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        values = column.to_pylist()
        return pa.array([None if one is None else _read(one) for one in values], pa.string())
    return as_texts(column)


def _read(name: bytes) -> str:
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return f"0x{name.hex()}"
    return text if text.isprintable() else f"0x{name.hex()}"


def _named(name: str) -> str:
    """A name fit to be kept and shown; whoever asks may choose it."""
    whole = "".join(letter if letter.isprintable() else "?" for letter in name)
    if not whole.strip():  # a blank says nobody
        return NOBODY
    if len(whole) <= _LONGEST_NAME:
        return whole
    return f"{whole[: _LONGEST_NAME - 17]}…{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def as_json(seen: Mapping[str, Seen]) -> dict[str, list[int]]:
    """What was seen, as JSON types: rows, then tries and events of each question."""
    return {name: [one.rows, *one.tries, *one.events] for name, one in seen.items()}


def parse(name: str, numbers: Sequence[int]) -> Seen:
    """Read what `as_json` wrote of one client.

    Raises:
        ValueError: It is anything else.
    """
    width = len(ASKED)
    if len(numbers) != 1 + 2 * width or any(type(one) is not int or one < 0 for one in numbers):
        raise ValueError(f"what was seen of {name!r} is malformed")
    return Seen(numbers[0], tuple(numbers[1 : 1 + width]), tuple(numbers[1 + width :]))
