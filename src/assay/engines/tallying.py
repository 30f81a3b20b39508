"""Adds up codes of rows that come in batches to the answer of a query. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from assay.engines.base import Bins, Code, CountQuery, Question, Tally, Values, WindowRows
from assay.engines.binning import LOWEST, Codes, Counter, Longs, Places
from assay.engines.times import to_micros, to_time

_YES_OR_NO: Final = 2


class Counting:
    """Counts every question of a query.

    Args:
        query: The windows.
        asked: The questions, each once.
        codes: Their codes, each once, in the order in which they come.
    """

    def __init__(self, query: CountQuery, asked: Sequence[Question], codes: Sequence[Code]) -> None:
        order = {one: at for at, one in enumerate(codes)}
        sizes = [size_of(one) for one in codes]
        self._places = Places(np.array([to_micros(cut) for cut in query.cuts], dtype=np.int64))
        self._counters = [
            Counter(one.clock, at, tuple(sizes[place] for place in at), len(query.cuts) - 1)
            for one, at in ((one, tuple(order[code] for code in one.codes)) for one in asked)
        ]

    def add(self, clocks: Sequence[Longs], codes: Sequence[Codes]) -> None:
        """Add a batch of rows.

        Args:
            clocks: When each row was answered, and when its label came where a question goes by that, in microseconds.
            codes: Each code of each row.
        """
        self._places.see(clocks[0])
        windows = []
        for clock in clocks:
            places, span = self._places.of(clock)
            places = places - (span[0] - 1)
            windows.append((places, span, span[0] == span[1] and bool(places.all())))
        for counter in self._counters:
            window, span, alone = windows[0 if counter.clock == "time" else -1]
            counter.add(window, codes, span, alone=alone)

    def told(self) -> tuple[list[Mapping[tuple[int, ...], int]], Tally]:
        """The answers in the order of the questions, and a tally that has none."""
        places = self._places
        rows = tuple(
            WindowRows(n, to_time(first), to_time(last)) if n else WindowRows(0)
            for n, first, last in zip(places.rows.tolist(), places.first.tolist(), places.last.tolist(), strict=True)
        )
        tally = Tally(rows, {}, before=places.before, after=places.after, undated=places.undated)
        return [counter.answer() for counter in self._counters], tally


def size_of(code: Code) -> int:
    """How many values a code has, from `LOWEST` on."""
    if isinstance(code, Bins):
        return len(code.edges) + 1 - LOWEST
    return (len(code.values) + 1 if isinstance(code, Values) else _YES_OR_NO) - LOWEST
