"""What every SQL engine asks in the same words: spans, steps, oddities, profiles and counts.

An engine opens a table, says how its dialect writes, and answers statements; everything else is here, so
that two engines cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol, TypeVar, cast

from assay.engines.base import Bins, CountQuery, Oddities, Profile, Question, Span, Tally, Text, Values, WindowRows
from assay.engines.grouping import Answer, distinct, group, parts, read
from assay.engines.making import with_made
from assay.engines.sql import Columns, micros, text, window
from assay.engines.times import EPOCH, MICROSECOND, to_micros, to_time

Cell = int | float | str | None


class Table(Protocol):
    """A source that is open for questions."""

    @property
    def table(self) -> str:
        """What stands after FROM."""
        ...

    @property
    def columns(self) -> Columns:
        """The columns and how to write about them."""
        ...

    def before(self, expression: str) -> str:
        """An expression's value in the row before in the same file, NULL in the first row of a file."""
        ...

    def ask(self, query: str) -> list[tuple[Cell, ...]]:
        """The rows a statement gives."""
        ...


Opened = TypeVar("Opened", bound=Table)


def making(table: Opened, wanted: Iterable[object]) -> Opened:
    """The table with what must be made of its rows for these quantities; see `assay.engines.made`."""
    found = with_made(table.table, table.columns, wanted)
    if not found.columns.made:
        return table
    changed: Any = table  # every table of an engine is a dataclass
    return cast("Opened", replace(changed, table=found.table, columns=found.columns))


def span(table: Table, time: str) -> Span:
    """From when to when the rows are; see `Engine.span`."""
    clock = micros(table.columns, time)
    query = f"SELECT min(t), max(t), count(*), count(t) FROM (SELECT {clock} AS t FROM {table.table}) AS dated"
    first, last, rows, dated = table.ask(query)[0]
    return Span(to_time(first), to_time(last), whole(rows), whole(rows) - whole(dated))


def steps(table: Table, time: str, rows: int, since: datetime | None) -> tuple[datetime, ...]:
    """The times at which every ``rows``-th row begins; see `Engine.steps`."""
    if rows < 1:
        raise ValueError("a window needs at least one row")
    clock = micros(table.columns, time)
    where = "t IS NOT NULL" + (f" AND t >= {to_micros(since)}" if since is not None else "")
    query = (
        f"SELECT t, row_number() OVER (ORDER BY t) - 1 AS i, max(t) OVER () AS last, count(*) OVER () AS n "
        f"FROM (SELECT {clock} AS t FROM {table.table}) AS dated WHERE {where}"
    )
    query = f"SELECT t, min(i), any_value(last), any_value(n) FROM ({query}) AS placed WHERE i % {rows} = 0 GROUP BY t"
    found = [tuple(whole(x) for x in row) for row in table.ask(f"{query} ORDER BY t")]
    cuts = [t for t, _, _, _ in found]
    if found and found[-1][3] - found[-1][1] >= rows:
        cuts.append(found[-1][2] + 1)
    return tuple(EPOCH + t * MICROSECOND for t in cuts)


def oddities(
    table: Table,
    *,
    time: str,
    now: datetime,
    request_id: str | None,
    label: str | None,
    label_time: str | None,
    columns: Sequence[str],
    since: datetime | None,
) -> Oddities:
    """What is strange about the rows' order, identity and labels; see `Engine.oddities`."""
    clock = micros(table.columns, time)
    asked = {
        "rows": "count(*)",
        "undated": "count(*) - count(t)",
        "backward": "count(*) FILTER (WHERE t < before)",
        "future": f"count(*) FILTER (WHERE t > {to_micros(now)})",
    }
    parts = [f"{clock} AS t", f"{table.before(clock)} AS before"]
    if request_id is not None:
        parts.append(f"{text(table.columns, Text(request_id))} AS id")
        asked |= {"repeated_ids": "count(id) - count(DISTINCT id)", "without_id": "count(*) - count(id)"}
    if label is not None:
        parts.append(f"{text(table.columns, Text(label))} AS y")
        asked |= {"labelled": "count(y)"}
        if label_time is not None:
            parts.append(f"{micros(table.columns, label_time)} AS came")
            asked |= {
                "early_labels": "count(y) FILTER (WHERE came < t)",
                "future_labels": f"count(y) FILTER (WHERE came > {to_micros(now)})",
            }
    for i, column in enumerate(columns):
        table.columns.family(column)
        parts.append(f"{table.columns.dialect.quoted(column)} AS c{i}")
    counted = [*asked.values(), *(f"count(c{i})" for i in range(len(columns)))]
    query = f"SELECT {', '.join(counted)} FROM (SELECT {', '.join(parts)} FROM {table.table}) AS looked_at"
    if since is not None:
        query += f" WHERE t IS NULL OR t >= {to_micros(since)}"
    found = [whole(x) for x in table.ask(query)[0]]
    counts = dict(zip(columns, found[len(asked) :], strict=True))
    return Oddities(**dict(zip(asked, found, strict=False)), counts=counts)


def texts(table: Table, of: Text, top: int) -> Profile:
    """How texts are distributed; see `Engine.profile`."""
    shown = text(table.columns, of)
    grouped = f"SELECT x, count(*) AS n FROM (SELECT {shown} AS x FROM {table.table}) AS shown GROUP BY x"
    rows, missing, distinct = table.ask(
        f"SELECT coalesce(sum(n), 0)::BIGINT, coalesce(sum(n) FILTER (WHERE x IS NULL), 0)::BIGINT, count(x) "
        f"FROM ({grouped}) AS counted"
    )[0]
    first = table.ask(
        f"SELECT x, n FROM ({grouped}) AS counted WHERE x IS NOT NULL ORDER BY n DESC, x LIMIT {int(top)}"
    )
    return Profile(
        rows=whole(rows),
        missing=whole(missing),
        distinct=whole(distinct),
        top=tuple((str(x), whole(n)) for x, n in first),
    )


def made_of(questions: Iterable[Question]) -> list[object]:
    """The quantities that questions are about."""
    asked = (one for question in questions for one in question.codes)
    return [one.of for one in asked if isinstance(one, Bins | Values)]


def counts(table: Table, query: CountQuery, sets: int) -> Tally:
    """Count everything asked for: one scan for every so many questions, a grouping set for each."""
    cuts = [to_micros(cut) for cut in query.cuts]
    answers: dict[str, Answer] = {}
    last = len(cuts) - 1
    rows = [WindowRows(0)] * last
    outside = {-1: 0, last: 0, None: 0}
    for w, n, first, latest in table.ask(_rows_query(table, query, cuts)):
        if w in outside:
            outside[cast("int | None", w)] = whole(n)
        else:
            rows[whole(w)] = WindowRows(whole(n), to_time(first), to_time(latest))
    asked_for = distinct(query.questions)
    table = making(table, made_of(asked_for))
    for part in parts(list(asked_for), sets):
        grouped = group(table.table, table.columns, query, part, cuts)
        for question, answer in zip(part, read(grouped, table.ask(grouped.statement), last), strict=True):
            answers |= dict.fromkeys(asked_for[question], answer)
    return Tally(tuple(rows), answers, before=outside[-1], after=outside[last], undated=outside[None])


def _rows_query(table: Table, query: CountQuery, cuts: Sequence[int]) -> str:
    clock = micros(table.columns, query.time)
    place = window(table.columns.dialect, "t", cuts)
    return (
        f"SELECT w, count(*), min(t), max(t) FROM (SELECT t, CASE WHEN t IS NULL THEN NULL ELSE {place} END AS w "
        f"FROM (SELECT {clock} AS t FROM {table.table}) AS dated) AS placed GROUP BY w"
    )


def drawing(place: str, seed: int) -> str:
    """What rows are drawn by: digits as good as random, the same in every engine."""
    return f"md5(concat({place}, ' ', {int(seed)}))"


def fresh(taken: Iterable[str], name: str) -> str:
    """A column name that no other column has, in any case."""
    folded = {column.casefold() for column in taken}
    while name in folded:
        name += "_"
    return name


def whole(value: Cell) -> int:
    """A count that a statement gave."""
    return 0 if value is None else int(value)
