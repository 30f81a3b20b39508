"""What is strange about a table: a finding for each thing, so that nothing is dropped silently."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

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
from assay.monitoring.questions import Asked
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.settled import Odd
from assay.monitoring.signals import SignalSpec, WindowCounts

NEARLY_ORDERED = 0.01
"""Up to this share of steps back, a file is one that was written in time order by a clock that went back."""

NAMED = 20
"""So many empty windows are named one by one."""

_NUMERIC = frozenset({"integer", "number", "boolean"})


def about_columns(
    schema: PredictionSchema,
    specs: Sequence[SignalSpec],
    columns: Mapping[str, ColumnFamily],
    families: Mapping[str, ColumnFamily],
) -> tuple[Finding, ...]:
    """Columns that are declared or in the baseline and missing now, and columns of another type than then.

    Args:
        schema: What the columns mean.
        specs: The signals of the baseline.
        columns: The columns there are now.
        families: The columns of the baseline's table.
    """
    found = {finding.subject: finding for finding in schema.check(columns)}
    for column in {spec.column: None for spec in specs if spec.column}:
        if column not in columns and column not in found:
            detail = f"the table has no column {column!r}, which the baseline has: its rows count as null"
            found[column] = Finding("column.missing", column, Severity.ERROR, detail)
    for column, family in families.items():
        now = columns.get(column, family)
        if now != family and not {now, family} <= _NUMERIC:
            detail = f"column {column!r} holds {now} values, the baseline's are {family}: it is read as far as it goes"
            found[column] = Finding("column.retyped", column, Severity.ERROR, detail)
    return tuple(found.values())


def about_rows(odd: Oddities, schema: PredictionSchema) -> tuple[Finding, ...]:
    """Rows without time, out of order, twice, labelled too early or from the future; columns without a value."""
    found = [
        Finding(
            "column.all-null",
            column,
            Severity.WARNING if column == schema.label else Severity.ERROR,
            f"column {column!r} is null in all {odd.rows:,} rows",
            {"rows": odd.rows},
        )
        for column, values in odd.counts.items()
        # An error column is empty while nothing fails.
        if odd.rows and not values and column != schema.error
    ]
    return (*found, *_about_order(odd, schema))


def _about_order(odd: Oddities, schema: PredictionSchema) -> tuple[Finding, ...]:
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
            odd.future,
            "rows are from the future: they wait for it",
        ),
    ]
    if odd.rows and odd.backward <= NEARLY_ORDERED * odd.rows:
        said = "rows are earlier than the row before them: a clock went back; they are counted where their time says"
        cases.append(("time.backwards", schema.time, Severity.WARNING, odd.backward, said))
    if schema.request_id is not None:
        said = "rows repeat a request id: each row is counted"
        cases.append(("rows.repeated", schema.request_id, Severity.WARNING, odd.repeated_ids, said))
        cases.append(("rows.without-id", schema.request_id, Severity.INFO, odd.without_id, "rows have no request id"))
    if schema.label_time is not None:
        said = "labels came before their rows were answered: they are counted at the time of the answer"
        cases.append(("label.early", schema.label_time, Severity.WARNING, odd.early_labels, said))
    if schema.label is not None and 0 < odd.labelled < odd.rows:
        said = f"of {odd.rows:,} rows have no label yet: they say nothing about performance"
        cases.append(("label.waiting", schema.label, Severity.INFO, odd.rows - odd.labelled, said))
    return tuple(
        Finding(rule, column, severity, f"{rows:,} {said}", {"rows": rows, "of": odd.rows})
        for rule, column, severity, rows, said in cases
        if rows
    )


def about_windows(
    windows: Sequence[WindowCounts], outside: tuple[int, int], odd: Odd, asked: Mapping[str, Asked], *, live: bool
) -> tuple[Finding, ...]:
    """Windows without rows, rows outside the windows, and values that are there but no finite number.

    Args:
        windows: The windows.
        outside: Rows before and after them.
        odd: Values that are no finite number, by question.
        asked: What was asked.
        live: Whether rows still come.
    """
    found: list[Finding] = []
    empty = [window.start for window in windows if not window.rows]
    found += [
        Finding("window.empty", start, Severity.WARNING, f"the window of {start} has no rows")
        for start in empty[:NAMED]
    ]
    if len(empty) > NAMED:
        detail = f"{len(empty) - NAMED} more windows have no rows, the last is that of {empty[-1]}"
        found.append(Finding("window.empty", empty[-1], Severity.WARNING, detail, {"windows": len(empty) - NAMED}))
    before, after = outside
    told: list[tuple[str, int, str]] = [
        ("rows.before", before, "rows are older than the windows that are looked at, and were not counted"),
        ("rows.waiting", after, "rows are in a window that is not complete, and were not counted"),
    ]
    found += [
        Finding(rule, "rows", Severity.INFO, f"{rows:,} {said}", {"rows": rows})
        for rule, rows, said in told
        if rows and (live or rule == "rows.waiting")
    ]
    return (*found, *_about_values(odd, asked))


def odd_values(tally: Tally, asked: Mapping[str, Asked]) -> tuple[Odd, ...]:
    """Values that are there and no finite number, by window and question."""
    found: list[dict[str, Mapping[int, int]]] = [{} for _ in tally.windows]
    known: dict[int, Mapping[int, Mapping[int, int]]] = {}
    for name, one in asked.items():
        if len(one.columns) != 1 or len(one.question.codes) != 1:
            continue
        answer = tally.answers[one.question.name]  # signals about one column share it
        if id(answer) not in known:
            told: dict[int, dict[int, int]] = defaultdict(dict)
            for (place, code), rows in answer.items():
                if code in _KINDS:
                    told[place][code] = rows
            known[id(answer)] = told
        for place, codes in known[id(answer)].items():
            found[place][name] = codes
    return tuple(found)


_KINDS: dict[int, tuple[str, Severity, str]] = {
    NOT_A_NUMBER: ("column.nan", Severity.INFO, "NaN: they count as null"),
    NEGATIVE_INFINITY: ("column.infinite", Severity.WARNING, "infinite: they are in the outer bins"),
    POSITIVE_INFINITY: ("column.infinite", Severity.WARNING, "infinite: they are in the outer bins"),
    UNREADABLE: ("column.unreadable", Severity.ERROR, "no {}: they count as null"),
}


def _about_values(odd: Odd, asked: Mapping[str, Asked]) -> tuple[Finding, ...]:
    rows: dict[tuple[str, str, Severity, str], dict[int, int]] = {}
    for name, told in odd.items():
        one = asked[name]
        for code in told:
            rule, severity, said = _KINDS[code]
            if code == UNREADABLE and not one.wanted:
                continue
            said = said.format(one.wanted)
            # Several signals ask about one column; each is told the same rows.
            rows.setdefault((one.columns[0], rule, severity, said), {})[code] = told[code]
    return tuple(
        Finding(
            rule, column, severity, f"{sum(n.values()):,} values of {column!r} are {said}", {"rows": sum(n.values())}
        )
        for (column, rule, severity, said), n in sorted(rows.items())
    )
