"""A table whose columns are missing, retyped, null or infinite, whose times jump, ends in findings that name it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.monitoring.streams import START, requests, written

from assay.engines.duckdb import DuckDb
from assay.errors import TableError
from assay.findings import Finding, Severity
from assay.monitoring.baseline import Baseline
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.windows import Counted, count

ENGINE = DuckDb()
DAYS = 15
LIVE = START + timedelta(days=DAYS)
NOW = LIVE + timedelta(days=3)
SCHEMA = PredictionSchema(
    time="ts",
    prediction="pred",
    confidence="p",
    latency_s="lat",
    label="y",
    label_time="came",
    request_id="id",
    slices=("region",),
)


def stream(days: int, **options: object) -> pa.Table:
    table = requests(days, **options)  # type: ignore[arg-type]  # the stream's own options
    table = table.append_column("came", table["ts"])
    return table.append_column("id", pa.array([f"request-{i}" for i in range(table.num_rows)]))


def put(table: pa.Table, column: str, change: Callable[[list[object]], list[object]]) -> pa.Table:
    values = change(table[column].to_pylist())
    kind = table.schema.field(column).type if pa.types.is_timestamp(table.schema.field(column).type) else None
    return table.set_column(table.column_names.index(column), column, pa.array(values, kind))


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Baseline:
    source = written(stream(DAYS), tmp_path_factory.mktemp("reference") / "reference.parquet")
    return Baseline.learn(ENGINE, source, SCHEMA, window="1d", now=LIVE)


def judge(baseline: Baseline, table: pa.Table, path: Path) -> Counted:
    return count(
        ENGINE,
        written(table, path / "live.parquet"),
        SCHEMA,
        baseline.specs,
        window="1d",
        now=NOW,
        families=baseline.families,
        live=True,
        since=LIVE,
    )


TABLES: dict[str, tuple[Callable[[pa.Table], pa.Table], str, str]] = {
    "missing feature": (lambda t: t.drop_columns(["temperature"]), "column.missing", "temperature"),
    "missing label": (lambda t: t.drop_columns(["y"]), "column.missing", "y"),
    "missing prediction": (lambda t: t.drop_columns(["pred"]), "column.missing", "pred"),
    "missing slice": (lambda t: t.drop_columns(["region"]), "column.missing", "region"),
    "missing request id": (lambda t: t.drop_columns(["id"]), "column.missing", "id"),
    "retyped feature": (
        lambda t: put(t, "temperature", lambda x: [f"{v} °C" for v in x]),
        "column.retyped",
        "temperature",
    ),
    "unreadable feature": (
        lambda t: put(t, "temperature", lambda x: [f"{v} °C" for v in x]),
        "column.unreadable",
        "temperature",
    ),
    "retyped label": (lambda t: put(t, "y", lambda x: list(range(len(x)))), "column.retyped", "y"),
    "all-null feature": (lambda t: put(t, "temperature", lambda x: [None] * len(x)), "column.all-null", "temperature"),
    "all-null label": (lambda t: put(t, "y", lambda x: [None] * len(x)), "column.all-null", "y"),
    "NaN": (lambda t: put(t, "temperature", lambda x: [float("nan"), *x[1:]]), "column.nan", "temperature"),
    "infinite": (lambda t: put(t, "temperature", lambda x: [float("-inf"), *x[1:]]), "column.infinite", "temperature"),
    "infinite confidence": (lambda t: put(t, "p", lambda x: [float("inf"), *x[1:]]), "column.infinite", "p"),
    "confidence above 1": (lambda t: put(t, "p", lambda x: [1.2, *x[1:]]), "confidence.outside", "p"),
    "confidence below 0": (lambda t: put(t, "p", lambda x: [-0.2, *x[1:]]), "confidence.outside", "p"),
    "confidence NaN": (lambda t: put(t, "p", lambda x: [float("nan"), *x[1:]]), "column.nan", "p"),
    "confidence null": (lambda t: put(t, "p", lambda x: [None, *x[1:]]), "confidence.missing", "p"),
    "negative latency": (lambda t: put(t, "lat", lambda x: [-0.001, *x[1:]]), "latency.negative", "lat"),
    "latency NaN": (lambda t: put(t, "lat", lambda x: [float("nan"), *x[1:]]), "column.nan", "lat"),
    "latency null": (lambda t: put(t, "lat", lambda x: [None, *x[1:]]), "latency.missing", "lat"),
    "new column": (lambda t: t.append_column("gust", t["temperature"]), "column.new", "gust"),
    "clock back": (lambda t: put(t, "ts", lambda x: [*x[:9], x[2], *x[10:]]), "time.backwards", "ts"),
    "no time": (lambda t: put(t, "ts", lambda x: [None, *x[1:]]), "time.unreadable", "ts"),
    "future": (lambda t: put(t, "ts", lambda x: [*x[:-1], NOW + timedelta(days=9)]), "time.future", "ts"),
    "repeated id": (lambda t: put(t, "id", lambda x: [x[1], *x[1:]]), "rows.repeated", "id"),
    "no id": (lambda t: put(t, "id", lambda x: [None, *x[1:]]), "rows.without-id", "id"),
    "label before its row": (lambda t: put(t, "came", lambda x: [*x[:-1], LIVE]), "label.early", "came"),
    "label of the future": (
        lambda t: put(t, "came", lambda x: [*x[:-1], NOW + timedelta(days=9)]),
        "label.future",
        "came",
    ),
    "unlabelled": (lambda t: put(t, "y", lambda x: [None, *x[1:]]), "label.waiting", "y"),
    "empty window": (
        lambda t: t.take(np.r_[0:200, 400:600]),
        "window.empty",
        "2026-01-21T00:00:00.000000Z",
    ),
    "old rows": (lambda t: put(t, "ts", lambda x: [START, *x[1:]]), "rows.before", "rows"),
}


@pytest.mark.parametrize("name", TABLES)
def test_what_is_odd_is_named_and_no_row_is_dropped(baseline: Baseline, tmp_path: Path, name: str) -> None:
    spoil, rule, subject = TABLES[name]
    good = stream(3, start=LIVE, seed=1)
    table = spoil(good)
    assert (rule, subject) not in {(f.rule, f.subject) for f in judge(baseline, good, tmp_path).findings}
    found = judge(baseline, table, tmp_path)
    assert (rule, subject) in {(finding.rule, finding.subject) for finding in found.findings}
    told = {f.rule: int(f.numbers.get("rows", 0)) for f in found.findings}
    outside = sum(told.get(one, 0) for one in ("rows.before", "rows.waiting", "time.unreadable"))
    # Rows from beyond the last window are among those that wait, when their file was looked at.
    assert sum(window.rows for window in found.windows) + outside == table.num_rows
    for window in found.windows:
        for spec in baseline.specs:
            if spec.name.endswith(":null") and window.rows and spec.family == "inputs":
                assert sum(window.counts[spec.name]) == window.rows


def found_of(counted: Counted, rule: str) -> Finding:
    (finding,) = [one for one in counted.findings if one.rule == rule]
    return finding


def bins_of(counted: Counted, signal: str) -> list[tuple[int, ...]]:
    return [window.counts[signal] for window in counted.windows]


def test_impossible_values_are_counted_where_they_were_and_told_with_their_windows(
    baseline: Baseline, tmp_path: Path
) -> None:
    good = stream(3, start=LIVE, seed=1)
    places = [0, 1, 250]  # of two windows of 200 rows

    def with_values(column: str, value: float) -> pa.Table:
        return put(good, column, lambda x: [value if i in places else v for i, v in enumerate(x)])

    high = judge(baseline, with_values("p", 7.5), tmp_path)
    said = found_of(high, "confidence.outside")
    assert (said.severity, dict(said.numbers)) == (Severity.WARNING, {"rows": 3, "windows": 2})
    assert "in 2 windows, the first is the window of 2026-01-20" in said.detail
    assert "highest bin" in said.detail
    assert bins_of(high, "confidence") == bins_of(judge(baseline, with_values("p", 1 + 1e-7), tmp_path), "confidence")
    low = judge(baseline, with_values("p", -7.5), tmp_path)
    assert "lowest bin" in found_of(low, "confidence.outside").detail
    assert bins_of(low, "confidence") == bins_of(judge(baseline, with_values("p", 0.0), tmp_path), "confidence")
    back = judge(baseline, with_values("lat", -3.0), tmp_path)
    assert found_of(back, "latency.negative").severity is Severity.WARNING
    assert back.windows == judge(baseline, with_values("lat", 0.0), tmp_path).windows
    assert "7.5" not in said.detail  # never a record's value


def test_a_column_of_impossible_values_is_an_error_and_rounding_is_none(baseline: Baseline, tmp_path: Path) -> None:
    good = stream(3, start=LIVE, seed=1)
    percent = judge(baseline, put(good, "p", lambda x: [100 * float(str(v)) for v in x]), tmp_path)
    assert found_of(percent, "confidence.outside").severity is Severity.ERROR
    rounded = judge(baseline, put(good, "p", lambda x: [1 + 2**-23] * len(x)), tmp_path)
    assert "confidence.outside" not in {one.rule for one in rounded.findings}


def test_impossible_values_of_the_reference_are_told_by_its_baseline(tmp_path: Path) -> None:
    table = put(stream(DAYS), "p", lambda x: [100 * float(str(v)) for v in x])
    table = put(table, "lat", lambda x: [-1.0, *x[1:]])
    learned = Baseline.learn(ENGINE, written(table, tmp_path / "r.parquet"), SCHEMA, window="1d", now=LIVE)
    severities = {one.rule: one.severity for one in learned.findings}
    assert severities["confidence.outside"] is Severity.ERROR
    assert severities["latency.negative"] is Severity.WARNING
    assert "confidence" not in {spec.name for spec in learned.specs}  # and yet it is told


def test_new_columns_are_named_once_and_declared_inputs_stay_the_only_ones(baseline: Baseline, tmp_path: Path) -> None:
    good = stream(3, start=LIVE, seed=1)
    more = good.append_column("gust", good["temperature"]).append_column("rain", good["hours"])
    said = found_of(judge(baseline, more, tmp_path), "column.new")
    assert (said.severity, said.subject, dict(said.numbers)) == (Severity.INFO, "columns", {"columns": 2})
    assert "'gust', 'rain'" in said.detail
    few = replace(SCHEMA, features=("temperature", "region"))
    source = written(stream(DAYS), tmp_path / "reference.parquet")
    told = Baseline.learn(ENGINE, source, few, window="1d", now=LIVE)
    live = written(more, tmp_path / "live.parquet")
    options = {"window": "1d", "now": NOW, "families": told.families, "live": True, "since": LIVE}
    found = count(ENGINE, live, few, told.specs, **options)  # type: ignore[arg-type]  # one dictionary of options
    assert "column.new" not in {one.rule for one in found.findings}
    unknown = {name: kind for name, kind in told.families.items() if name != "lat"}  # a role that it does not know
    found = count(ENGINE, live, few, told.specs, **options | {"families": unknown})  # type: ignore[arg-type]  # the same
    assert found_of(found, "column.new").subject == "lat"


def test_without_a_time_column_nothing_is_claimed(baseline: Baseline, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="'ts'"):
        judge(baseline, stream(3).drop_columns(["ts"]), tmp_path)
    with pytest.raises(TableError, match="where times were wanted"):
        judge(baseline, put(stream(3), "region", lambda x: x).set_column(0, "ts", pa.array(range(600))), tmp_path)


def test_no_finding_tells_a_records_value(baseline: Baseline, tmp_path: Path) -> None:
    secret = put(stream(3, start=LIVE), "temperature", lambda x: ["secret-7731"] * len(x))
    said = " ".join(f"{f.detail} {dict(f.numbers)}" for f in judge(baseline, secret, tmp_path).findings)
    assert "secret-7731" not in said
