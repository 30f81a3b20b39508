"""A hunt with tables nobody would make on purpose: every task ends in findings or one sentence, and every row is told.

Columns of any type, the roles among them, partitions of other schemas, mixed CSV columns, unicode names, empty parts.
"""

from __future__ import annotations

import csv
import math
import uuid
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.unit.monitoring.kinds import LIVE, NOW, START, prose, vectors, when

from assay.engines.base import Source
from assay.engines.duckdb import DuckDb
from assay.errors import AssayError, TableError
from assay.monitoring.baseline import Baseline
from assay.monitoring.learning import TASKS, Task
from assay.monitoring.monitor import evaluate
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.signals import WindowCounts
from assay.monitoring.windows import count

pytestmark = pytest.mark.slow

ENGINE = DuckDb()
ROWS = 40
FEATURES = ("x", "body", "emb", "ключ ü ß", 'a"b')
SCHEMAS: dict[Task, PredictionSchema] = {
    "classification": PredictionSchema(
        time="ts", prediction="pred", label="y", confidence="p", slices=("kind",), texts=("body",)
    ),
    "regression": PredictionSchema(time="ts", prediction="pred", label="y", slices=("kind",), tolerance=0.5),
    "ranking": PredictionSchema(time="ts", prediction="pred", label="y", query="kind", label_time="came"),
    "binary": PredictionSchema(time="ts", prediction="pred", label="y", positive="1", request_id="kind"),
}

numbers = st.floats(width=64) | st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, 1e308, 5e-324, 2.0**53 + 2])
words = st.text(max_size=12) | st.sampled_from(["", "1", "nan", "true", "a b c d", "日本語 です", "1e999", "\x00"])
near = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001 - naive on purpose
odd_lists = st.none() | st.lists(st.none() | numbers, max_size=5)
KINDS: dict[str, tuple[st.SearchStrategy[object], pa.DataType]] = {
    "double": (numbers, pa.float64()),
    "half": (st.floats(width=16).map(np.float16), pa.float16()),
    "text": (words, pa.string()),
    "large text": (words, pa.large_string()),
    "whole": (st.integers(-(2**63), 2**63 - 1), pa.int64()),
    "unsigned": (st.integers(0, 2**64 - 1), pa.uint64()),
    "truth": (st.booleans(), pa.bool_()),
    "decimal": (st.decimals(-(10**20), 10**20, places=4), pa.decimal128(38, 4)),
    "huge decimal": (st.decimals(-(10**40), 10**40, places=2), pa.decimal256(60, 2)),
    "date": (st.dates(date(1, 1, 2)), pa.date32()),
    "time with a zone": (near, pa.timestamp("ms", "America/New_York")),
    "time of nanoseconds": (st.integers(-(2**61), 2**61), pa.timestamp("ns")),
    "time of day": (st.times(), pa.time64("us")),
    "duration": (st.integers(-(2**40), 2**40), pa.duration("us")),
    "bytes": (st.binary(max_size=5), pa.binary()),
    "nothing": (st.just(None), pa.null()),
    "list": (odd_lists, pa.list_(pa.float64())),
    "list of wholes": (st.none() | st.lists(st.none() | st.integers(-9, 9), max_size=4), pa.list_(pa.int32())),
    "list of lists": (st.lists(st.lists(numbers, max_size=2), max_size=2), pa.list_(pa.list_(pa.float64()))),
    "list of texts": (st.lists(words, max_size=3), pa.list_(pa.string())),
    "struct": (st.fixed_dictionaries({"a": numbers, "b": words}), pa.struct([("a", pa.float64()), ("b", pa.string())])),
    "map": (st.lists(st.tuples(st.text(max_size=2), numbers), max_size=2), pa.map_(pa.string(), pa.float64())),
}
ROLES = ("ts", "pred", "y", "p", "kind", "came", *FEATURES)


def good(days: int, start: datetime, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    n = days * ROWS
    y = (rng.random(n) < 0.5).astype(int)
    emb = pa.array(vectors(rng, n, size=3).tolist(), pa.list_(pa.float64()))
    columns = {"ts": when(days, ROWS, start), "pred": np.clip(y + 0.3 * rng.normal(size=n), 0, 1), "y": y}
    columns |= {"p": rng.uniform(0.5, 1, n), "kind": (np.arange(n) // 5).astype(str), "came": when(days, ROWS, start)}
    columns |= {"x": rng.normal(size=n), "body": prose(rng, n), "emb": emb}
    return pa.table(columns | {"ключ ü ß": rng.normal(size=n), 'a"b': rng.choice(["a", "b"], n)})


@pytest.fixture(scope="module")
def baselines() -> dict[Task, Baseline]:
    table = good(15, START, 1)
    found: dict[Task, Baseline] = {}
    for task in TASKS:
        rows = table.set_column(1, "pred", table["y"].cast(pa.string())) if task == "classification" else table
        found[task] = Baseline.learn(ENGINE, Source(table=rows), SCHEMAS[task], window="1d", now=NOW, task=task)
    return found


@st.composite
def spoiled(draw: st.DrawFn) -> pa.Table:
    """A good table with some columns of another kind, missing, null, empty or constant."""
    table = good(2, LIVE, draw(st.integers(0, 3)))
    for name in draw(st.lists(st.sampled_from(ROLES), min_size=1, max_size=4, unique=True)):
        place = table.column_names.index(name)
        how = draw(st.sampled_from(["kind", "kind", "kind", "missing", "some null", "constant"]))
        if how == "missing":
            table = table.drop_columns([name])
        elif how == "constant":
            table = table.set_column(place, name, pa.concat_arrays([table[name].chunk(0).slice(0, 1)] * table.num_rows))
        elif how == "some null":
            keep = draw(st.lists(st.booleans(), min_size=table.num_rows, max_size=table.num_rows))
            values = [v if k else None for v, k in zip(table[name].to_pylist(), keep, strict=True)]
            table = table.set_column(place, name, pa.array(values, table[name].type))
        else:
            values_of, kind = KINDS[draw(st.sampled_from(sorted(KINDS)))]
            some = draw(st.lists(st.none() | values_of, min_size=4, max_size=8))
            values = [some[i % len(some)] for i in range(table.num_rows)]
            table = table.set_column(place, name, pa.array(values, kind))
    return table


def judge(baseline: Baseline, source: Source, rows: int) -> tuple[WindowCounts, ...]:
    """Count and judge; every row is in a window, or told, and a signal never counts a row twice."""
    counted = count(
        ENGINE,
        source,
        baseline.schema,
        baseline.specs,
        window="1d",
        now=NOW,
        families=baseline.families,
        live=True,
        since=LIVE,
    )
    told = {finding.rule: int(finding.numbers.get("rows", 0)) for finding in counted.findings}
    outside = sum(told.get(rule, 0) for rule in ("rows.before", "rows.waiting", "time.unreadable"))
    assert sum(window.rows for window in counted.windows) + outside == rows
    for window in counted.windows:
        for spec in baseline.specs:
            if spec.family == "inputs" and spec.name.endswith(":null") and window.rows:
                assert sum(window.counts[spec.name]) == window.rows
            elif spec.family == "inputs":
                assert sum(window.counts.get(spec.name, ())) <= window.rows
    evaluate(baseline, counted.windows, false_alarm_every=timedelta(days=365))
    return counted.windows


def told(*words: str) -> Callable[[AssayError], None]:
    """What an error must say one of, in one sentence of reasonable length."""

    def check(err: AssayError) -> None:
        assert any(word in err.message for word in words), err.message
        assert 0 < len(err.message) < 600

    return check


def run(task: Callable[[], object], check: Callable[[AssayError], None]) -> None:
    """Do it; our own errors are fine where they say what they must, all others are not."""
    caught: AssayError | None = None
    try:
        task()
    except AssayError as err:
        caught = err
    if caught is not None:
        check(caught)


HUNT = settings(deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
TIMES = ("'ts'", "'came'", "windows of 1d")
"""Only a column of times that holds none cannot be judged: everything else is a finding."""


@pytest.mark.parametrize("task", TASKS)
def test_odd_live_tables_end_in_findings(baselines: dict[Task, Baseline], task: Task) -> None:
    @settings(HUNT, max_examples=12)
    @given(spoiled())
    def hunt(table: pa.Table) -> None:
        run(lambda: judge(baselines[task], Source(table=table), table.num_rows), told(*TIMES))

    hunt()


@pytest.mark.parametrize("task", TASKS)
def test_odd_references_are_learned_or_refused_in_a_sentence(task: Task) -> None:
    @settings(HUNT, max_examples=6)
    @given(spoiled())
    def hunt(table: pa.Table) -> None:
        source = Source(table=table)
        run(lambda: Baseline.learn(ENGINE, source, SCHEMAS[task], window="1d", now=NOW, task=task), told(""))

    hunt()


@pytest.mark.parametrize("task", TASKS)
def test_partitions_of_other_schemas_add_up(baselines: dict[Task, Baseline], task: Task, tmp_path: Path) -> None:
    @settings(HUNT, max_examples=4)
    @given(spoiled(), st.booleans())
    def hunt(odd: pa.Table, empty: bool) -> None:
        folder = tmp_path / uuid.uuid4().hex
        folder.mkdir()
        first = good(2, LIVE, 9)
        pq.write_table(first, folder / "a.parquet")
        pq.write_table(odd.slice(0, 0) if empty else odd, folder / "b.parquet")
        rows = first.num_rows + (0 if empty else odd.num_rows)
        run(lambda: judge(baselines[task], Source((str(folder),)), rows), told(str(folder), *TIMES))

    hunt()


@settings(HUNT, max_examples=8)
@given(st.lists(st.tuples(*[words | numbers.map(repr) | st.just("")] * 4), max_size=60))
def test_mixed_columns_of_csv_are_told(
    baselines: dict[Task, Baseline], tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, ...]]
) -> None:
    path = tmp_path_factory.mktemp("mixed") / "live.csv"
    rows = [
        (f"{LIVE + timedelta(minutes=i):%Y-%m-%dT%H:%M:%S}", *(cell.replace("\x00", "") for cell in row))
        for i, row in enumerate(cells)
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows([("ts", "pred", "y", "x", "body"), *rows])
    run(lambda: judge(baselines["binary"], Source((str(path),)), len(rows)), told(str(path), *TIMES))


@pytest.mark.parametrize(
    ("values", "kind", "family"),
    [
        ([1.5, None], pa.float16(), "number"),
        ([1, None], pa.decimal256(60, 2), "number"),
        ([[("a", 1.0), ("a", 2.0)], None], pa.map_(pa.string(), pa.float64()), "other"),
        ([[1.5], None], pa.list_(pa.float16()), "vector"),
    ],
    ids=["16-bit floats", "60 digits", "a key twice", "vectors of 16 bits"],
)
def test_types_that_an_engine_lacks_are_read_from_memory(values: list[object], kind: pa.DataType, family: str) -> None:
    source = Source(table=pa.table({"ts": [START, START], "v": pa.array(values, kind)}))
    assert ENGINE.columns(source)["v"] == family
    assert ENGINE.oddities(source, time="ts", now=NOW, columns=("v",)).counts == {"v": 1}


def test_two_columns_of_one_name_are_refused() -> None:
    twins = pa.table([[START], [1.0], [2.0]], names=["ts", "pred", "pred"])
    with pytest.raises(TableError, match="cannot tell apart"):
        Baseline.learn(ENGINE, Source(table=twins), SCHEMAS["regression"], window="1d", now=NOW)
