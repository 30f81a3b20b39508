"""What an engine does: read, describe and count tables that may not fit into memory.

An engine answers with counts that add up and decides nothing. Two engines give equal answers, bit for
bit: edges are exact doubles, and the only comparison is ``x <= edge``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, Protocol

import pyarrow as pa

from assay.engines.made import Along, Difference, DrawnToken, OfQuery, TextFigure

ColumnFamily = Literal["integer", "number", "boolean", "text", "time", "vector", "other"]

MISSING: Final = -1
"""Code of a row whose value is null."""
NEGATIVE_INFINITY: Final = -2
"""Code of a row whose value is minus infinity."""
POSITIVE_INFINITY: Final = -3
"""Code of a row whose value is plus infinity."""
UNREADABLE: Final = -4
"""Code of a row whose value is there, but is no number."""
NOT_A_NUMBER: Final = -5
"""Code of a row whose value is NaN: a number column's other way to say null."""


@dataclass(frozen=True, slots=True)
class Source:
    """A table: in files, or in memory.

    Attributes:
        paths: CSV and Parquet files, folders of them, or patterns (``predictions/**/*.parquet``).
        table: A table in memory instead: whatever offers the Arrow C stream (``__arrow_c_stream__``), as tables of
            pyarrow, data frames of pandas and polars, and relations of DuckDB do. What can be read only once is not
            enough. Write ``Source(table=frame)``.
    """

    paths: tuple[str, ...] = field(default=(), repr=False)  # an address may hold a password
    table: object | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.table is None and (not self.paths or not all(self.paths)):
            raise ValueError("a source needs at least one path")
        if self.table is not None and self.paths:
            raise ValueError("a source is either files or a table")
        if self.table is not None and not hasattr(self.table, "__arrow_c_stream__"):
            raise TypeError(f"a {type(self.table).__name__} offers no Arrow stream: give a table or a data frame")


@dataclass(frozen=True, slots=True)
class Number:
    """A column read as a number: numbers, booleans as 0 and 1, and text that says a number."""

    column: str


@dataclass(frozen=True, slots=True)
class Distance:
    """How far two numeric columns lie apart: ``|left - right|``."""

    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Gap:
    """How far a confidence was from what came true: ``|confidence - 1|`` where right, ``|confidence|`` where wrong."""

    confidence: str
    prediction: str
    label: str


Quantity = Number | Distance | Difference | Gap | TextFigure | Along | OfQuery


@dataclass(frozen=True, slots=True)
class Text:
    """A column read as text. Whole numbers have no decimal point, booleans are ``true`` and ``false``."""

    column: str


@dataclass(frozen=True, slots=True)
class Bins:
    """Which bin a number falls in.

    Code ``i`` says ``edges[i-1] < x <= edges[i]``, code ``len(edges)`` above all; or one of `MISSING`,
    `NOT_A_NUMBER`, `NEGATIVE_INFINITY`, `POSITIVE_INFINITY`, `UNREADABLE`.
    """

    of: Quantity
    edges: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Values:
    """Which listed value a row has: its place in the list, ``len(values)`` for all others, or `MISSING`."""

    of: Text | DrawnToken
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """Whether a request failed: 1 where the column is true, not zero or any text but an empty one."""

    column: str


@dataclass(frozen=True, slots=True)
class Wrong:
    """Whether two columns differ as text (1) or agree (0); `MISSING` where either is null."""

    prediction: str
    label: str


Code = Bins | Values | Failed | Wrong


@dataclass(frozen=True, slots=True)
class Question:
    """Rows to count by the joint value of some codes.

    Attributes:
        name: What the answer is called.
        codes: What is asked of every row.
        clock: Which time puts the row into a window: when it was answered, or when its label came.
    """

    name: str
    codes: tuple[Code, ...]
    clock: Literal["time", "label"] = "time"


@dataclass(frozen=True, slots=True)
class CountQuery:
    """One pass over a table.

    Attributes:
        time: The time column. Times without a zone are UTC.
        cuts: Ends of the windows, increasing; window ``i`` is ``cuts[i] <= time < cuts[i+1]``.
        questions: What to count in every window.
        label: The label column, when a question goes by the label's clock.
        label_time: When labels came; None or null stands for ``time``, and so does an earlier time.
        answered: Labels of rows that were answered before are not counted, whenever they came; None for all.
    """

    time: str
    cuts: tuple[datetime, ...]
    questions: tuple[Question, ...]
    label: str | None = None
    label_time: str | None = None
    answered: datetime | None = None

    def __post_init__(self) -> None:
        if len(self.cuts) < 2 or any(b <= a for a, b in zip(self.cuts, self.cuts[1:], strict=False)):  # noqa: PLR2004
            raise ValueError("a query needs increasing cuts, at least two")
        if self.label is None and any(question.clock == "label" for question in self.questions):
            raise ValueError("a question by the label's clock needs a label column")


@dataclass(frozen=True, slots=True)
class WindowRows:
    """The rows of one window: how many, and the first and last time."""

    rows: int
    first: datetime | None = None
    last: datetime | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """The answer to a `CountQuery`.

    Attributes:
        windows: Rows by ``time``, one item a window.
        answers: By question, counts by (window, code, code, …); what is not there is zero.
        before: Rows before the first cut.
        after: Rows at or after the last cut.
        undated: Rows without a readable time.
    """

    windows: tuple[WindowRows, ...]
    answers: Mapping[str, Mapping[tuple[int, ...], int]]
    before: int = 0
    after: int = 0
    undated: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when a table's rows are.

    Attributes:
        first: Earliest time, None when there is no dated row.
        last: Latest time.
        rows: All rows.
        undated: Those without a readable time.
    """

    first: datetime | None
    last: datetime | None
    rows: int
    undated: int


@dataclass(frozen=True, slots=True)
class Profile:
    """How the values of one column are distributed.

    Attributes:
        rows: All rows.
        missing: Null and NaN rows.
        infinite: Infinite rows.
        unreadable: Rows whose value is there but is no number, when a number was asked for.
        distinct: Different finite values or texts; numbers beyond 1,000 within some percent.
        quantiles: Those asked for, of the finite values: each is a value that occurs. Empty for texts.
        least: Smallest finite value.
        most: Largest finite value.
        top: The most frequent texts with their counts, the more frequent first. Empty for numbers.
    """

    rows: int
    missing: int
    infinite: int = 0
    unreadable: int = 0
    distinct: int = 0
    quantiles: tuple[float, ...] = ()
    least: float | None = None
    most: float | None = None
    top: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Oddities:
    """What is strange about the order, the identity and the labels of rows.

    Attributes:
        rows: Rows looked at.
        undated: Rows without a readable time.
        backward: Rows whose time is earlier than that of the row before in the same file.
        repeated_ids: Rows beyond the first of each request id.
        without_id: Rows without a request id.
        early_labels: Labels that came before their row was answered.
        future_labels: Labels that came after the reading of the clock.
        labelled: Rows with a label.
        future: Rows whose time is after the reading of the clock.
        counts: Non-null rows by column, of the columns asked for.
    """

    rows: int
    undated: int
    backward: int = 0
    repeated_ids: int = 0
    without_id: int = 0
    early_labels: int = 0
    future_labels: int = 0
    labelled: int = 0
    future: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)


class Engine(Protocol):
    """Counts big tables. Every method raises `TableError`, naming the file or the column, and nothing else."""

    @property
    def name(self) -> str:
        """The name on the shelf."""
        ...

    def columns(self, source: Source) -> Mapping[str, ColumnFamily]:
        """The columns of a table in its order, each with the family of its type."""
        ...

    def rows(
        self,
        source: Source,
        *,
        columns: Sequence[str] | None = None,
        time: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        seed: int = 0,
    ) -> pa.Table:
        """Rows as a table in memory.

        Args:
            source: The files.
            columns: Which columns, in this order; None for all.
            time: The time column: rows come ordered by it, and it comes as UTC microseconds. Without it rows
                keep the order of the files, and ``since`` and ``until`` must be None.
            since: First instant wanted.
            until: First instant not wanted any more.
            limit: At most so many rows, drawn at random.
            seed: Seed of the drawing: the same files and seed give the same rows.
        """
        ...

    def span(self, source: Source, time: str) -> Span:
        """From when to when the rows are, and how many."""
        ...

    def steps(self, source: Source, time: str, rows: int, *, since: datetime | None = None) -> tuple[datetime, ...]:
        """The times at which every ``rows``-th row begins, in time order from ``since`` on: rows 0, ``rows``, ….

        Equal times are one. The last item is one microsecond after the last row when at least ``rows`` rows
        are left behind the item before it, so that every two neighbours enclose a complete window.
        """
        ...

    def profile(
        self,
        source: Source,
        quantities: Mapping[str, Quantity | Text],
        *,
        quantiles: Sequence[float] = (),
        top: int = 20,
    ) -> Mapping[str, Profile]:
        """How quantities are distributed over all rows, by the names given.

        Args:
            source: The files.
            quantities: What to describe, by name.
            quantiles: Probabilities in [0, 1]: the smallest value with at least that share at or below it.
            top: How many of the most frequent texts.
        """
        ...

    def oddities(
        self,
        source: Source,
        *,
        time: str,
        now: datetime,
        request_id: str | None = None,
        label: str | None = None,
        label_time: str | None = None,
        columns: Sequence[str] = (),
        since: datetime | None = None,
    ) -> Oddities:
        """What is strange about the rows' order, identity and labels.

        Args:
            source: The files.
            time: The time column.
            now: The reading of the clock.
            request_id: Identifies a request.
            label: The truth.
            label_time: When it became known.
            columns: Whose values are counted.
            since: Rows before it are not looked at; those without a readable time are.
        """
        ...

    def counts(self, source: Source, query: CountQuery) -> Tally:
        """Count everything asked for in one pass."""
        ...
