"""Counts what DuckDB reads: rows come in batches, and memory holds one of them and the counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar, cast

import numpy as np
import numpy.typing as npt

from assay.engines.base import (
    Bins,
    Code,
    CountQuery,
    Number,
    Profile,
    Quantity,
    Question,
    Tally,
    Text,
)
from assay.engines.binning import UNDATED, Codes, Edges, bins, edges_of
from assay.engines.grouping import parts
from assay.engines.sql import Columns, code, micros, number, present, text
from assay.engines.tallying import Counting
from assay.engines.times import to_micros

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Plain = TypeVar("Plain", np.int32, np.int64, np.uint8, np.float64)

_PLAIN: Final = frozenset({"integer", "number", "boolean"})

BATCH_ROWS: Final = 1 << 16
"""Rows that are counted at once: a column of them fits into a processor's cache."""
AT_ONCE: Final = 128
"""Codes of one scan: a batch of them takes 64 MiB."""
MOST_SORTED: Final = 1 << 22
"""Values of a column that are sorted in memory: 32 MiB of them."""


@dataclass(frozen=True, slots=True)
class Feed:
    """What is read for one code.

    Attributes:
        shown: The expressions.
        edges: Where a number's bins end; None when the code is read as it is.
    """

    shown: tuple[str, ...]
    edges: Edges | None

    def codes(self, batch: Sequence[pa.Array]) -> Codes:
        """The code of each row of a batch."""
        if self.edges is None:
            return values(batch[0], np.int32)
        x, there = values(batch[0], np.float64), valid(batch[0])
        known = None
        if there is not None:
            x = np.where(there, x, np.nan)
            known = values(batch[1], np.uint8).astype(bool) if len(batch) > 1 else None
        return bins(self.edges, x, there, known)


def values(column: pa.Array, kind: type[Plain]) -> npt.NDArray[Plain]:
    """The numbers of a column as they lie in memory; anything where there is none. Arrow's own way imports pandas."""
    found = np.frombuffer(column.buffers()[1], dtype=kind) if len(column) else np.zeros(0, dtype=kind)
    return found[column.offset : column.offset + len(column)]


def valid(column: pa.Array) -> npt.NDArray[np.bool_] | None:
    """Where a column has a value; None for everywhere."""
    if not column.null_count:
        return None
    bits = np.unpackbits(np.frombuffer(column.buffers()[0], dtype=np.uint8), bitorder="little")
    return bits[column.offset : column.offset + len(column)].astype(bool)


def feed(columns: Columns, asked: Code) -> Feed:
    """How a code is read: bins from the number itself, everything else as DuckDB tells it."""
    if not isinstance(asked, Bins):
        return Feed((code(columns, asked),), None)
    shown = [number(columns, asked.of)]
    if not (isinstance(asked.of, Number) and columns.family(asked.of.column) in _PLAIN):
        shown.append(f"({present(columns, asked.of)})::UTINYINT")  # what is there may be no number
    return Feed(tuple(shown), edges_of(asked.edges))


def counts(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Columns, query: CountQuery, asked: Sequence[Question]
) -> tuple[list[Mapping[tuple[int, ...], int]], Tally]:
    """Count every question, so many columns in one scan.

    Args:
        connection: Where the table is.
        table: What stands after FROM.
        columns: Its columns, with all that must be made of its rows.
        query: The windows and the clocks.
        asked: The questions, each once.

    Returns:
        The answers in the order of the questions, and a tally that has none.
    """
    first, *rest = parts(asked, len(asked), AT_ONCE) if asked else [[]]
    found, tally = _scan(connection, table, columns, query, first)
    for part in rest:
        found += _scan(connection, table, columns, query, part)[0]
    return found, tally


def _scan(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Columns, query: CountQuery, asked: Sequence[Question]
) -> tuple[list[Mapping[tuple[int, ...], int]], Tally]:
    feeds = {one: feed(columns, one) for one in dict.fromkeys(code for question in asked for code in question.codes)}
    counting = Counting(query, asked, list(feeds))
    clocks = _clocks(columns, query, asked)
    shown = [*clocks, *(expression for one in feeds.values() for expression in one.shown)]
    statement = f"SELECT {', '.join(f'{x} AS s{i}' for i, x in enumerate(shown))} FROM {table}"
    for batch in connection.sql(statement).to_arrow_reader(BATCH_ROWS):
        _add(batch.columns, len(clocks), list(feeds.values()), counting)
    return counting.told()


def _clocks(columns: Columns, query: CountQuery, asked: Sequence[Question]) -> tuple[str, ...]:
    """The times that put a row into a window: when it was answered, and, where asked for, when its label came."""
    clock = micros(columns, query.time)
    shown = [f"coalesce({clock}, {UNDATED})"]
    if any(question.clock == "label" for question in asked):
        came = clock if query.label_time is None else f"greatest({clock}, {micros(columns, query.label_time)})"
        since = f">= {to_micros(query.answered)}" if query.answered else "IS NOT NULL"
        known = f"{text(columns, Text(cast('str', query.label)))} IS NOT NULL AND {clock} {since}"
        shown.append(f"coalesce(CASE WHEN {known} THEN {came} END, {UNDATED})")
    return tuple(shown)


def _add(batch: Sequence[pa.Array], clocks: int, feeds: Sequence[Feed], counting: Counting) -> None:
    codes, at = [], clocks
    for one in feeds:
        codes.append(one.codes(batch[at : at + len(one.shown)]))
        at += len(one.shown)
    counting.add([values(column, np.int64) for column in batch[:clocks]], codes)


@dataclass(slots=True)
class _Spread:
    """How one quantity is distributed, so far."""

    rows: int = 0
    missing: int = 0
    infinite: int = 0
    unreadable: int = 0
    finite: list[npt.NDArray[np.float64]] = field(default_factory=list)

    def add(self, number: pa.Array, there: pa.Array) -> None:
        """Add the values of a batch, and where its columns have any."""
        x, has = values(number, np.float64), valid(number)
        self.rows += len(x)
        if has is not None:
            unreadable = int((values(there, np.uint8)[~has]).sum())
            self.unreadable += unreadable
            self.missing += len(x) - int(has.sum()) - unreadable
            x = x[has]
        good = x[np.isfinite(x)]
        nothing = int(np.isnan(x).sum())
        self.missing += nothing
        self.infinite += len(x) - len(good) - nothing
        self.finite.append(good)

    def told(self, quantiles: Sequence[float]) -> Profile:
        """Exactly, by sorting the values."""
        ordered = np.sort(np.concatenate([np.zeros(0), *self.finite]))
        n = len(ordered)
        # The place of a quantile as DuckDB and Spark find it.
        places = [max(1, n - int(np.floor(n - n * float(q)))) - 1 for q in quantiles]
        return Profile(
            rows=self.rows,
            missing=self.missing,
            infinite=self.infinite,
            unreadable=self.unreadable,
            distinct=int(np.count_nonzero(np.diff(ordered))) + 1 if n else 0,
            quantiles=tuple(float(ordered[place]) for place in places) if n else (),
            least=float(ordered[0]) if n else None,
            most=float(ordered[-1]) if n else None,
        )


def spreads(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: Columns,
    wanted: Mapping[str, Quantity],
    *,
    rows: int,
    quantiles: Sequence[float],
) -> dict[str, Profile]:
    """How quantities are distributed, exactly, by sorting their values; none where they are more than `MOST_SORTED`.

    As many at once as fit: a statement about one column of a table takes longer the more columns that table has.

    Args:
        connection: Where the table is.
        table: What stands after FROM.
        columns: Its columns, with all that must be made of its rows.
        wanted: The quantities, by name.
        rows: How many rows the table has.
        quantiles: Probabilities in [0, 1].
    """
    found: dict[str, Profile] = {}
    if rows > MOST_SORTED:
        return found
    size = max(1, min(AT_ONCE, MOST_SORTED // max(rows, 1)))
    names = list(wanted)
    for some in (names[start : start + size] for start in range(0, len(names), size)):
        shown = (
            f"{number(columns, wanted[name])} + 0.0::DOUBLE AS x{i}, "
            f"({present(columns, wanted[name])})::UTINYINT AS there{i}"
            for i, name in enumerate(some)
        )
        spread = [_Spread() for _ in some]
        for batch in connection.sql(f"SELECT {', '.join(shown)} FROM {table}").to_arrow_reader(MOST_SORTED // size):
            for i, one in enumerate(spread):
                one.add(batch.column(2 * i), batch.column(2 * i + 1))
        found |= {name: one.told(quantiles) for name, one in zip(some, spread, strict=True)}
    return found
