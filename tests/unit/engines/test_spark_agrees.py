"""Hunts for tables that Spark and DuckDB count differently; both must answer the same, or Spark must refuse."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from assay.engines.base import (
    Bins,
    Code,
    CountQuery,
    Distance,
    Failed,
    Gap,
    Number,
    Quantity,
    Question,
    Source,
    Text,
    Values,
    Wrong,
)
from assay.engines.duckdb import DuckDb
from assay.engines.shelf import find
from assay.errors import TableError

if TYPE_CHECKING:
    from assay.engines.spark import Spark

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("spark")]

START = datetime(2026, 3, 1, tzinfo=UTC)
ROWS = 60
ODD_NUMBERS = [
    0.0,
    -0.0,
    1e308,
    -1e308,
    math.inf,
    -math.inf,
    math.nan,
    2.0**53,
    2.0**53 + 2,
    1e15 + 0.5,
    1e16,
    1e-5,
    1e-4,
]
ODD_NUMBERS += [1e-3, 0.1 + 0.2, 1e7, 12345678.9, 8.41e21, 2e23, 2.0**-44, 1e22, 9007199254740993.0, 5e-310, 1e-307]
ODD_TEXTS = [
    "",
    " ",
    "0",
    "false",
    "FALSE",
    " False ",
    "\ttrue",
    "null",
    "NaN",
    "nan",
    "-nan",
    "+inf",
    "Infinity",
    "1e999",
]
ODD_TEXTS += [
    "1_000",
    "0x10",
    "1d",
    "1f",
    "1.",
    ".5",
    "1e5",
    " 7 ",
    "7\n",
    "\u00a07",
    "\u0661",
    "é",
    "e\u0301",
    "'",
    '"',
    "`",
    "\\",
]
ODD_TEXTS += [
    "\\'",
    "${x}",
    "{x}",
    "%s",
    "a\x00b",
    "\u212a",
    "\u017false",
    "💥",
    "1e-999",
    "-0",
    "00012",
    "12345678901234567890",
]
ODD_STAMPS = [
    "2026-03-01",
    "2026-3-1 5:03",
    "2026/03/01 05:30:00.123456789+0230",
    "2026-03/01",
    "2026-02-30",
    "epoch",
    "now",
]
ODD_STAMPS += [
    "infinity",
    "2026-03-01T05:30:00-14:59",
    "2026-03-01T05:30:00+15",
    "2026-03-01 24:00:00",
    "2026-03-01Z",
    "12",
]
ODD_STAMPS += [
    "12026-03-01",
    "0999-01-01",
    "1582-10-10",
    "2026-03-01 05:30 UTC",
    "2026-03-01 05:30\n",
    "2026-3-01T23:59:59.",
]
ODD_STAMPS += [
    "2026-03-01 05:30 Europe/Berlin",
    "2026-00-10",
    "2026-03-01T05:30:00.1Z",
    "2024-02-29",
    "2026-03-01t05:30:00z",
]
ODD_NAMES = [
    "c0",
    "f",
    "r",
    "t",
    "x`y",
    'a"b',
    "a.b",
    "o'clock",
    "{x}",
    "_metadata",
    "back\\slash",
    "ü ß",
    " ",
    "-- a",
]

texts = st.sampled_from(ODD_TEXTS) | st.text(max_size=6) | st.floats().map(repr) | st.integers().map(str)
stamps = (
    st.sampled_from(ODD_STAMPS)
    | st.datetimes(datetime(1500, 1, 1), datetime(2500, 1, 1)).map(str)  # noqa: DTZ001 - naive on purpose
    | st.from_regex(
        r"\A2026[-/]0?[1-3][-/][0-3]?[0-9]([ T][0-2]?[0-9]:[0-5][0-9](:[0-6][0-9](\.[0-9]{1,9})?)?"
        r"(Z|[+-][01][0-9](:?[0-5][0-9])?)?)?\Z"
    )
)
near = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001 - naive on purpose
doubles = st.sampled_from(ODD_NUMBERS) | st.floats(allow_subnormal=False) | st.floats(-1e6, 1e6, allow_subnormal=False)


def column(values: st.SearchStrategy[object], kind: pa.DataType) -> st.SearchStrategy[pa.Array]:
    return st.lists(st.none() | values, min_size=ROWS, max_size=ROWS).map(lambda x: pa.array(x, kind))


UNSHOWN = {"binary", "timestamp[ns]"}
TIMES = {pa.date32(), pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("ms", "America/New_York"), pa.string()}
COLUMNS: list[st.SearchStrategy[pa.Array]] = [
    column(doubles, pa.float64()),
    column(st.floats(width=32, allow_subnormal=False), pa.float32()),
    column(texts, pa.string()),
    column(stamps, pa.string()),
    column(st.integers(-(2**63), 2**63 - 1) | st.integers(2**53 - 2, 2**53 + 2), pa.int64()),
    column(st.integers(0, 2**64 - 1), pa.uint64()),
    column(st.integers(0, 255), pa.uint8()),
    column(st.booleans(), pa.bool_()),
    column(st.decimals(-(10**17), 10**17, places=3), pa.decimal128(38, 3)),
    column(st.dates(date(1, 1, 2)), pa.date32()),
    column(near, pa.timestamp("us")),
    column(near, pa.timestamp("ms", "America/New_York")),
    column(st.integers(-(2**61), 2**61), pa.timestamp("ns")),
    column(st.just(None), pa.null()),
    column(st.binary(max_size=3), pa.binary()),
]


@pytest.fixture(scope="module")
def spark() -> Spark:
    return cast("Spark", find("spark local[2]"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hunt")


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    kinds = draw(st.lists(st.sampled_from(range(len(COLUMNS))), min_size=3, max_size=4))
    names = draw(st.permutations(ODD_NAMES))
    hours = draw(st.lists(st.none() | st.integers(-5, 80), min_size=ROWS, max_size=ROWS))
    when = pa.array([None if h is None else START + timedelta(hours=h) for h in hours], pa.timestamp("us", "UTC"))
    return pa.table({"ts": when} | {name: draw(COLUMNS[kind]) for name, kind in zip(names, kinds, strict=False)})


def codes_of(table: pa.Table) -> list[Code]:
    """Every kind of code over every column, but for what only DuckDB shows as text."""
    names = table.column_names[1:]
    shown = [name for name in names if str(table[name].type) not in UNSHOWN]
    known = tuple(dict.fromkeys(str(x) for name in names for x in table[name].to_pylist()[:3] if isinstance(x, str)))
    found: list[Code] = [Bins(Number(name), (-1.0, 0.0, 0.1, 2.0**53)) for name in names]
    for name, other in zip(shown, [*shown[1:], *shown[:1]], strict=True):
        found += [Failed(name), Values(Text(name), ("1", "0.1", *known)), Wrong(name, other), Wrong(name, name)]
        found += [Bins(Distance(name, other), (0.0, 1.0)), Bins(Gap(names[0], name, other), (0.0, 0.5))]
    return found


@pytest.mark.timeout(900)
@settings(max_examples=3, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(tables())
def test_spark_answers_as_duckdb_does(spark: Spark, folder: Path, table: pa.Table) -> None:
    path = folder / f"{uuid.uuid4().hex}.parquet"
    pq.write_table(table, path)
    source, duck, names = Source((str(path),)), DuckDb(), table.column_names[1:]
    assert dict(spark.columns(source)) == dict(duck.columns(source))
    cuts = tuple(START + timedelta(hours=h) for h in (0, 7, 24, 50))
    asked = tuple(Question(f"q{i}", (code,)) for i, code in enumerate(codes_of(table)))
    one, other = (engine.counts(source, CountQuery("ts", cuts, asked)) for engine in (spark, duck))
    odd = {
        q.codes: (one.answers[q.name], other.answers[q.name])
        for q in asked
        if one.answers[q.name] != other.answers[q.name]
    }
    assert odd == {}
    assert one == other
    wanted: dict[str, Quantity | Text] = {f"number {name}": Number(name) for name in names}
    wanted |= {f"text {name}": Text(name) for name in names if str(table[name].type) not in UNSHOWN}
    described = [engine.profile(source, wanted, quantiles=(0.0, 0.05, 0.5, 0.9, 1.0)) for engine in (spark, duck)]
    assert repr(described[0]) == repr(described[1])  # which tells -0.0 from 0.0
    for clock in ("ts", *(name for name in names if table[name].type in TIMES)):
        assert spark.span(source, clock) == duck.span(source, clock)
    assert spark.steps(source, "ts", 7) == duck.steps(source, "ts", 7)
    name = next(name for name in [*names, "ts"] if str(table[name].type) not in UNSHOWN)
    looked = [
        engine.oddities(source, time="ts", now=START, request_id=name, label=name, label_time="ts", columns=names)
        for engine in (spark, duck)
    ]
    assert looked[0] == looked[1]
    drawn = [engine.rows(source, time="ts", since=START, limit=9, seed=3) for engine in (spark, duck)]
    assert drawn[0].schema == drawn[1].schema
    assert repr(drawn[0].to_pydict()) == repr(drawn[1].to_pydict())


def test_what_only_duckdb_shows_as_text_is_refused_by_name(spark: Spark, tmp_path: Path) -> None:
    table = pa.table({"ts": [START], "raw": [b"a"], "half": pa.array([1.5], pa.float32()).cast(pa.float16())})
    pq.write_table(table, tmp_path / "t.parquet")
    source = Source((str(tmp_path / "t.parquet"),))
    with pytest.raises(TableError, match="binary values in other words"):
        spark.counts(source, CountQuery("ts", (START, START + timedelta(days=1)), (Question("q", (Failed("raw"),)),)))
    with pytest.raises(TableError, match="'half' holds FLOAT values, which Spark cannot read"):
        spark.profile(source, {"half": Number("half")})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (pa.array([5e-324]), "nearer to zero"),
        (pa.array([-(10**6)], pa.date32()), "before the year 1"),
    ],
)
def test_a_value_that_engines_show_differently_is_refused(
    spark: Spark, tmp_path: Path, values: pa.Array, said: str
) -> None:
    pq.write_table(pa.table({"ts": [START], "x": values}), tmp_path / "t.parquet")
    with pytest.raises(TableError, match=said) as caught:
        spark.profile(Source((str(tmp_path / "t.parquet"),)), {"x": Text("x")})
    assert "SQLSTATE" not in str(caught.value)


def test_a_name_that_hadoop_would_replace_is_refused_and_harms_no_other(spark: Spark, tmp_path: Path) -> None:
    pq.write_table(pa.table({"ts": [START], "${spark.app.name}": [1.0], "x": [2.0]}), tmp_path / "t.parquet")
    source = Source((str(tmp_path / "t.parquet"),))
    assert spark.profile(source, {"x": Number("x")})["x"].most == 2.0
    with pytest.raises(TableError, match="in its name"):
        spark.profile(source, {"x": Number("${spark.app.name}")})


def test_text_that_is_none_is_an_error_in_both(spark: Spark, tmp_path: Path) -> None:
    bad = pa.array([b"\xff\xfe"]).view(pa.string())
    pq.write_table(pa.table({"ts": [START], "x": bad}), tmp_path / "t.parquet")
    source = Source((str(tmp_path / "t.parquet"),))
    for engine in (spark, DuckDb()):
        with pytest.raises(TableError, match="cannot read") as caught:
            engine.profile(source, {"x": Text("x")})
        assert "xff" not in str(caught.value)
