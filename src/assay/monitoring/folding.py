"""From what an engine says of codes to the bins of signals: many signals are told by one question. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise

import numpy as np

from assay.engines.base import Code, Question, Tally
from assay.engines.binning import LOWEST, Doubles
from assay.engines.tallying import size_of
from assay.monitoring.questions import Asked
from assay.monitoring.signals import SignalSpec

Answer = Mapping[tuple[int, ...], int]
Cells = dict[tuple[int, ...], dict[tuple[int, ...], list[tuple[int, int]]]]
Counts = dict[str, dict[int, tuple[int, ...]]]
"""The bins of signals by name, each by window; a window without rows of a signal is not there."""


@dataclass(frozen=True, slots=True)
class Table:
    """The bins of all signals that ask one question of one code.

    Attributes:
        signals: Their names, each with the places of its bins.
        member: 1 where a code, from `LOWEST` on, is in a bin, (codes, bins of all signals).
    """

    signals: Mapping[str, slice]
    member: Doubles

    def counts(self, answer: Answer, windows: int) -> Counts:
        """The bins of each signal, from rows by window and code."""
        rows = np.zeros((windows, len(self.member)))
        for (place, code), number in answer.items():
            rows[place, code - LOWEST] = number
        found: Counts = {name: {} for name in self.signals}
        # Whole numbers below 2^53 add up exactly, in any order.
        for place, bins in enumerate((rows @ self.member).astype(np.int64).tolist()):
            for name, some in self.signals.items():
                mine = bins[some]
                if any(mine):
                    found[name][place] = tuple(mine)
        return found


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked of a table.

    Attributes:
        asked: What is asked for each signal, by its name.
        questions: Every different question once, under the name of the first signal that asks it.
        tables: By question, the bins of the signals that ask it, where it has one code.
        answered: Labels of rows that were answered before do not count; None for all.
    """

    asked: Mapping[str, Asked]
    questions: tuple[Question, ...]
    tables: Mapping[str, Table]
    answered: datetime | None = None

    @classmethod
    def of(cls, asked: Mapping[str, Asked], specs: Sequence[SignalSpec], *, answered: datetime | None = None) -> Asking:
        """Ask the same once.

        Args:
            asked: What is asked, by signal.
            specs: The signals.
            answered: Labels of rows that were answered before do not count; None for all.
        """
        known: dict[tuple[tuple[Code, ...], str], Question] = {}
        found: dict[str, Asked] = {}
        for name, one in asked.items():
            same = known.setdefault((one.question.codes, one.question.clock), replace(one.question, name=name))
            found[name] = replace(one, question=same)
        asking: dict[str, list[SignalSpec]] = defaultdict(list)
        for spec in specs:
            if spec.name in found:
                asking[found[spec.name].question.name].append(spec)
        each = ((one, asking[one.name]) for one in known.values() if len(one.codes) == 1)
        tables = {one.name: _table(size_of(one.codes[0]), mine, found) for one, mine in each}
        return cls(found, tuple(known.values()), tables, answered)

    @property
    def nbytes(self) -> int:
        """About how much memory the tables take, in bytes."""
        return sum(one.member.nbytes for one in self.tables.values())


def _table(codes: int, specs: Sequence[SignalSpec], asked: Mapping[str, Asked]) -> Table:
    ends = np.cumsum([0, *(spec.bins for spec in specs)]).tolist()
    member = np.zeros((codes, ends[-1]))
    for spec, start in zip(specs, ends, strict=False):
        for place in range(codes):
            bin_ = asked[spec.name].bin_of((place + LOWEST,))
            if bin_ is not None:
                member[place, start + bin_] = 1.0
    return Table({spec.name: slice(*some) for spec, some in zip(specs, pairwise(ends), strict=True)}, member)


def fold(
    tally: Tally, specs: Sequence[SignalSpec], asking: Asking, columns: Collection[str]
) -> list[dict[str, tuple[int, ...]]]:
    """The counts of every window by signal, from the counts of every code.

    Args:
        tally: What the engine said.
        specs: The signals.
        asking: What was asked for them.
        columns: The columns of the table.
    """
    found = dict(_told(tally, specs, asking))
    counts: list[dict[str, tuple[int, ...]]] = [{} for _ in tally.windows]
    for spec in specs:
        if spec.kind == "volume":
            for place, window in enumerate(tally.windows):
                counts[place][spec.name] = (window.rows,)
        elif spec.name in found:
            for place, bins in found[spec.name].items():
                counts[place][spec.name] = bins
        elif spec.kind == "rate" and spec.name.endswith(":null") and spec.column not in columns:
            for place, window in enumerate(tally.windows):  # a column that is gone is null in every row
                if window.rows:
                    counts[place][spec.name] = (0, window.rows)
    return counts


def _told(
    tally: Tally, specs: Sequence[SignalSpec], asking: Asking
) -> Iterator[tuple[str, Mapping[int, tuple[int, ...]]]]:
    """The bins of every signal that was asked for, by window."""
    for question in asking.questions:
        if question.name in asking.tables:
            yield from asking.tables[question.name].counts(tally.answers[question.name], len(tally.windows)).items()
    cells: dict[str, Cells] = {}
    for spec in specs:
        asked = asking.asked.get(spec.name)
        if asked is None or asked.question.name in asking.tables:
            continue
        name = asked.question.name
        if name not in cells:
            cells[name] = _cells(tally.answers[name])
        parts = cells[name]
        some = parts.values() if asked.within is None else [parts.get(asked.within, {})]
        yield spec.name, {place: tuple(bins) for place, bins in _added(spec, asked, some).items()}


def _cells(answer: Mapping[tuple[int, ...], int]) -> Cells:
    """Rows by all codes but the last, then by all codes, then by window: many signals share one answer."""
    found: Cells = {}
    for key, rows in answer.items():
        codes = key[1:]
        part = found.get(key[1:-1])
        if part is None:
            part = found[key[1:-1]] = {}
        if codes in part:
            part[codes].append((key[0], rows))
        else:
            part[codes] = [(key[0], rows)]
    return found


def _added(
    spec: SignalSpec, asked: Asked, parts: Iterable[Mapping[tuple[int, ...], Sequence[tuple[int, int]]]]
) -> dict[int, list[int]]:
    """The bins of a signal, by window."""
    found: dict[int, list[int]] = {}
    size, bin_of = spec.bins, asked.bin_of
    for part in parts:
        for codes, windows in part.items():
            bin_ = bin_of(codes)
            if bin_ is not None:
                for place, rows in windows:
                    if place not in found:
                        found[place] = [0] * size
                    found[place][bin_] += rows
    return found
