"""What is strange about a table: a finding for each thing, so that nothing is dropped silently."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import Final

from assay.engines.base import (
    NEGATIVE_INFINITY,
    NOT_A_NUMBER,
    POSITIVE_INFINITY,
    UNREADABLE,
    ColumnFamily,
    Oddities,
    Tally,
)
from assay.findings import Finding, Severity
from assay.monitoring.clock import readable
from assay.monitoring.questions import Asked, Beyond
from assay.monitoring.schema import WATCHED, PredictionSchema
from assay.monitoring.settled import Odd
from assay.monitoring.signals import SignalSpec, WindowCounts

NEARLY_ORDERED = 0.01
"""Up to this share of steps back, a file is one that was written in time order by a clock that went back."""

NAMED = 20
"""So many empty windows, or runs of them, are named one by one, and so many new columns."""

RUN = 3
"""From so many empty windows in a row on they are told together."""

_NUMERIC = frozenset({"integer", "number", "boolean"})

_TELLS: Final[Mapping[str, str]] = {
    "label": "performance",
    "confidence": "confidence and calibration",
    "latency_s": "latency",
    "error": "what failed",
    "query": "how lists are ranked",
}
"""By role, what cannot be judged without its column, where the baseline had one."""


def about_columns(
    schema: PredictionSchema,
    specs: Sequence[SignalSpec],
    columns: Mapping[str, ColumnFamily],
    families: Mapping[str, ColumnFamily],
    *,
    live: bool,
) -> tuple[Finding, ...]:
    """Columns that are declared or in the baseline and missing now, and columns of another type than then.

    Args:
        schema: What the columns mean.
        specs: The signals of the baseline.
        columns: The columns there are now.
        families: The columns of the baseline's table.
        live: Whether rows still come: then labels may.
    """
    found = {one.subject: one for one in schema.check(columns)}
    for role, column in schema.roles().items():
        if column in found and column in families and role in _TELLS:
            waits = live and role == "label"
            detail = f"{found[column].detail}: {_TELLS[role]} cannot be judged{' until one comes' if waits else ''}"
            found[column] = replace(
                found[column], severity=Severity.WARNING if waits else Severity.ERROR, detail=detail
            )
    for column in {spec.column: None for spec in specs if spec.column}:
        if column not in columns and column not in found:
            detail = f"the table has no column {column!r}, which the baseline has: its rows count as null"
            found[column] = Finding("column.missing", column, Severity.ERROR, detail)
    for column, family in families.items():
        now = columns.get(column, family)
        if now != family and not {now, family} <= _NUMERIC:
            detail = f"column {column!r} holds {now} values, the baseline's are {family}: it is read as far as it goes"
            found[column] = Finding("column.retyped", column, Severity.ERROR, detail)
    return (*found.values(), *_about_new(schema, columns, families))


def _about_new(
    schema: PredictionSchema, columns: Mapping[str, ColumnFamily], families: Mapping[str, ColumnFamily]
) -> Iterator[Finding]:
    """Inputs, and columns with a role that a signal tells of, that there are now and were not in the baseline's table.

    Where the features are declared, other columns are none, on purpose.
    """
    roles = schema.roles()
    wanted = [*(roles[role] for role in WATCHED if role in roles), *schema.features_of(columns)]
    new = [column for column in dict.fromkeys(wanted) if column in columns and column not in families]
    if new:
        named = ", ".join(map(repr, new[:NAMED])) + (f" and {len(new) - NAMED} more" if len(new) > NAMED else "")
        detail = f"new since the baseline, and watched only when one is learned from rows that have it: {named}"
        subject = new[0] if len(new) == 1 else "columns"
        yield Finding("column.new", subject, Severity.INFO, detail, {"columns": len(new)})


def about_rows(odd: Oddities, schema: PredictionSchema, *, live: bool) -> tuple[Finding, ...]:
    """Rows without time, out of order, twice, labelled too early or from the future; columns without a value.

    Args:
        odd: What the engine said.
        schema: What the columns mean.
        live: Whether rows still come. In a finished table those of the future wait for nothing; see
            `assay.monitoring.stray`.
    """
    found = [
        Finding(
            "column.all-null",
            column,
            Severity.WARNING if live and column == schema.label else Severity.ERROR,
            f"column {column!r} is null in all {odd.rows:,} rows",
            {"rows": odd.rows},
        )
        for column, values in odd.counts.items()
        # An error column is empty while nothing fails.
        if odd.rows and not values and column != schema.error
    ]
    return (*found, *_about_order(odd, schema, live=live))


def _about_order(odd: Oddities, schema: PredictionSchema, *, live: bool) -> tuple[Finding, ...]:
    cases: list[tuple[str, str, Severity, int, str]] = [
        (
            "time.unreadable",
            schema.time,
            Severity.ERROR,
            odd.undated,
            "rows have no readable time: they are in no window",
        ),
        (
            "time.future",
            schema.time,
            Severity.WARNING,
            odd.future if live else 0,
            "rows are later than the clock: they wait until their time has come",
        ),
    ]
    if odd.rows and odd.backward <= NEARLY_ORDERED * odd.rows:
        said = "rows are earlier than the row before them: a clock went back; each goes by the time it says"
        cases.append(("time.backwards", schema.time, Severity.WARNING, odd.backward, said))
    if schema.request_id is not None:
        said = "rows repeat a request id: each row is counted"
        cases.append(("rows.repeated", schema.request_id, Severity.WARNING, odd.repeated_ids, said))
        cases.append(("rows.without-id", schema.request_id, Severity.INFO, odd.without_id, "rows have no request id"))
    if schema.label_time is not None:
        said = "labels came before their rows were answered: they are counted at the time of the answer"
        cases.append(("label.early", schema.label_time, Severity.WARNING, odd.early_labels, said))
        wait = "they wait until their time has come" if live else "they are in no window that is over"
        said = f"labels are later than the clock: {wait}"
        cases.append(("label.future", schema.label_time, Severity.WARNING, odd.future_labels, said))
    if schema.label is not None and 0 < odd.labelled < odd.rows:
        said = f"of {odd.rows:,} rows have no label yet: they say nothing about performance"
        cases.append(("label.waiting", schema.label, Severity.INFO, odd.rows - odd.labelled, said))
    return tuple(
        Finding(rule, column, severity, f"{rows:,} {said}", {"rows": rows, "of": odd.rows})
        for rule, column, severity, rows, said in cases
        if rows
    )


def about_windows(
    windows: Sequence[WindowCounts], odd: Sequence[tuple[WindowCounts, Odd]], asked: Mapping[str, Asked]
) -> tuple[Finding, ...]:
    """Windows without rows, and values that are missing, no finite number, or impossible.

    Args:
        windows: The windows.
        odd: Odd values of each window that was looked at, by question.
        asked: What was asked.
    """
    return (*_about_empty(windows), *_about_values(odd, asked))


def _about_empty(windows: Sequence[WindowCounts]) -> Iterator[Finding]:
    """One finding for a few windows without rows, and one for as many as follow each other."""
    runs = [[one.start for one in run] for empty, run in groupby(windows, lambda one: not one.rows) if empty]
    told = [part for run in runs for part in ([run] if len(run) >= RUN else [[start] for start in run])]
    for run in told[:NAMED]:
        if len(run) == 1:
            yield Finding("window.empty", run[0], Severity.WARNING, f"the window of {readable(run[0])} has no rows")
            continue
        detail = (
            f"{len(run)} windows in a row have no rows, from that of {readable(run[0])} to that of {readable(run[-1])}"
        )
        yield Finding("window.empty", run[0], Severity.WARNING, detail, {"windows": len(run)})
    left = [start for run in told[NAMED:] for start in run]
    if left:
        detail = f"{len(left)} more windows have no rows, the last is that of {readable(left[-1])}"
        yield Finding("window.empty", left[-1], Severity.WARNING, detail, {"windows": len(left)})


def about_outside(before: int, after: int, labels: int = 0) -> tuple[Finding, ...]:
    """Rows and labels outside of all windows.

    Args:
        before: Rows older than the first; 0 where that is no wonder, or is told otherwise.
        after: Rows later than the last.
        labels: Labels later than the last, where none are awaited.
    """
    told: list[tuple[str, str, int, str]] = [
        ("rows.before", "rows", before, "rows are older than the first window, and were not counted"),
        ("rows.waiting", "rows", after, "rows are in a window that is not complete, and were not counted"),
        (
            "label.after",
            "labels",
            labels,
            "labels came when the last window was over: performance is judged without them",
        ),
    ]
    return tuple(
        Finding(rule, of, Severity.INFO, f"{number:,} {said}", {"rows": number})
        for rule, of, number, said in told
        if number
    )


def odd_values(tally: Tally, asked: Mapping[str, Asked]) -> tuple[Odd, ...]:
    """Values that are missing where no signal tells it, no finite number, or impossible, by window and question."""
    found: list[dict[str, Mapping[int, int]]] = [{} for _ in tally.windows]
    known: dict[int, Mapping[int, Mapping[int, int]]] = {}
    for name, one in asked.items():
        if len(one.columns) != 1 or len(one.question.codes) != 1:
            continue
        answer = tally.answers[one.question.name]  # signals about one column share it
        if id(answer) not in known:
            told: dict[int, dict[int, int]] = defaultdict(dict)
            for (place, code), rows in answer.items():
                if code in _KINDS or code in one.beyond:
                    told[place][code] = rows
            known[id(answer)] = told
        for place, codes in known[id(answer)].items():
            found[place][name] = codes
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is odd about values, and what became of them.

    Attributes:
        rule: Of the finding.
        severity: Of it.
        said: Behind "12 values of 'x' are".
    """

    rule: str
    severity: Severity
    said: str


_INFINITE: Final = _Kind("column.infinite", Severity.WARNING, "infinite: they are in the outer bins")
_KINDS: Final[Mapping[int, _Kind]] = {
    NOT_A_NUMBER: _Kind("column.nan", Severity.INFO, "NaN: they count as null"),
    NEGATIVE_INFINITY: _INFINITE,
    POSITIVE_INFINITY: _INFINITE,
    UNREADABLE: _Kind("column.unreadable", Severity.ERROR, "no {}: they count as null"),
}
_UNJUDGED: Final = _Kind("column.nan", Severity.WARNING, "NaN: they count as null, and no signal tells of it")
_BEYOND: Final[Mapping[tuple[str, Beyond], _Kind]] = {
    ("confidence", "null"): _Kind("confidence.missing", Severity.INFO, "null: their rows say nothing about confidence"),
    ("confidence", "below"): _Kind(
        "confidence.outside", Severity.WARNING, "below 0, and no probabilities: they are counted in the lowest bin"
    ),
    ("confidence", "above"): _Kind(
        "confidence.outside", Severity.WARNING, "above 1, and no probabilities: they are counted in the highest bin"
    ),
    ("latency_s", "null"): _Kind("latency.missing", Severity.INFO, "null: their rows say nothing about latency"),
    ("latency_s", "below"): _Kind(
        "latency.negative", Severity.WARNING, "below 0 seconds, as when a clock went back: they are counted as quick"
    ),
}
"""By role; from values of which most are impossible nothing can be told, and it is an error."""
_IMPOSSIBLE: Final = frozenset({"confidence.outside", "latency.negative"})
_MISSING: Final = frozenset({"confidence.missing", "latency.missing"})


def _about_values(odd: Sequence[tuple[WindowCounts, Odd]], asked: Mapping[str, Asked]) -> Iterator[Finding]:
    found: dict[tuple[str, _Kind], dict[tuple[int, int], int]] = defaultdict(dict)
    for place, (_, values) in enumerate(odd):
        for name, codes in values.items():
            one = asked[name]
            for code, rows in codes.items():
                kind = _kind(one, code)
                if kind is not None:  # several signals ask about one column; each is told the same rows
                    found[one.columns[0], kind][place, code] = rows
    rows_in_all = sum(window.rows for window, _ in odd)
    for (column, kind), told in sorted(found.items(), key=lambda item: (item[0][0], item[0][1].rule, item[0][1].said)):
        rows, places = sum(told.values()), sorted({place for place, _ in told})
        if kind.rule in _MISSING and rows == rows_in_all:
            continue  # told of the column
        most = kind.rule in _IMPOSSIBLE and 2 * rows > rows_in_all
        asks = "; these are most rows: is it the right column?" if most else ""
        where = _where([odd[place][0] for place in places])
        yield Finding(
            kind.rule,
            column,
            Severity.ERROR if most else kind.severity,
            f"{rows:,} values of {column!r} ({where}) are {kind.said}{asks}",
            {"rows": rows, "windows": len(places)},
        )


def _where(windows: Sequence[WindowCounts]) -> str:
    first = f"the window of {readable(windows[0].start)}"
    return f"in {first}" if len(windows) == 1 else f"in {len(windows)} windows, the first is {first}"


def _kind(asked: Asked, code: int) -> _Kind | None:
    """What is odd about values of this code; None where nothing is."""
    if code in asked.beyond:
        return _BEYOND[asked.role, asked.beyond[code]]
    if code == UNREADABLE:
        return _unreadable(asked.wanted) if asked.wanted else None
    return _UNJUDGED if asked.role and code == NOT_A_NUMBER else _KINDS[code]


@lru_cache(maxsize=16)
def _unreadable(wanted: str) -> _Kind:
    kind = _KINDS[UNREADABLE]
    return replace(kind, said=kind.said.format(wanted))
