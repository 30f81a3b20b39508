"""Every engine gives the same answers: one list of claims for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from tests.spark_server import spark_server

from assay.engines import plain
from assay.engines.base import (
    MISSING,
    NEGATIVE_INFINITY,
    NOT_A_NUMBER,
    POSITIVE_INFINITY,
    UNREADABLE,
    Bins,
    CountQuery,
    Distance,
    Engine,
    Failed,
    Gap,
    Number,
    Quantity,
    Question,
    Source,
    Span,
    Text,
    Values,
    Wrong,
)
from assay.engines.shelf import ENGINES, find
from assay.engines.times import to_micros
from assay.errors import ConfigError, TableError

START = datetime(2026, 3, 1, tzinfo=UTC)
EVIL = 'a"; drop table x; --'


CONNECT = "spark connect"
STATEMENTS = "duckdb, always in statements"


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.slow, pytest.mark.xdist_group("spark")] if "spark" in name else [])
        for name in sorted({*ENGINES, CONNECT, STATEMENTS})
    ]
)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    if request.param == STATEMENTS:
        monkeypatch.setattr(plain, "MOST_FILES", 0)
        return find("duckdb")
    if request.param == CONNECT:
        return find(f"spark {request.getfixturevalue('connect')}")
    return find("spark local[2]" if request.param == "spark" else request.param)


@pytest.fixture(scope="module")
def connect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with spark_server(tmp_path_factory.mktemp("spark")) as address:
        yield address


def days(n: int) -> tuple[datetime, ...]:
    return tuple(START + timedelta(days=i) for i in range(n + 1))


def write(path: Path, columns: dict[str, object]) -> Source:
    pq.write_table(pa.table(columns), path)
    return Source((str(path),))


def times(*hours: float) -> pa.Array:
    return pa.array([START + timedelta(hours=h) for h in hours], pa.timestamp("us", tz="UTC"))


def test_counts_equal_a_count_by_hand(engine: Engine, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    n = 5000
    x, hours = rng.normal(size=n), rng.uniform(0, 72, n)
    y, p = rng.integers(0, 3, n), rng.integers(0, 3, n)
    source = write(tmp_path / "t.parquet", {"ts": times(*hours), "x": x, "y": y, "p": p.astype(float)})
    edges = (-1.0, -0.1, 0.1, 0.7)
    asked = (
        Question("x", (Bins(Number("x"), edges),)),
        Question("y,wrong", (Values(Text("y"), ("1", "0")), Wrong("p", "y"))),
        Question("far", (Bins(Distance("p", "y"), (0.0, 1.0)),)),
    )
    tally = engine.counts(source, CountQuery("ts", days(3), asked))
    day = (hours // 24).astype(int)
    assert [w.rows for w in tally.windows] == [int((day == d).sum()) for d in range(3)]
    code = np.searchsorted(edges, x, side="left")
    wanted = {(d, k): int(((day == d) & (code == k)).sum()) for d in range(3) for k in range(5)}
    assert tally.answers["x"] == {k: v for k, v in wanted.items() if v}
    place = {1: 0, 0: 1, 2: 2}
    for label, k in place.items():
        for wrong in (0, 1):
            hit = (day == 1) & (y == label) & ((p != y) == bool(wrong))
            assert tally.answers["y,wrong"][1, k, wrong] == int(hit.sum())
    assert tally.answers["far"][0, 2] == int(((day == 0) & (abs(p - y) > 1)).sum())


def test_nothing_is_dropped_silently(engine: Engine, tmp_path: Path) -> None:
    x = pa.array([1.0, None, float("nan"), float("inf"), float("-inf"), 3.0])
    source = write(tmp_path / "t.parquet", {"ts": times(0, 1, 2, 3, 4, 5), "x": x})
    tally = engine.counts(source, CountQuery("ts", days(1), (Question("x", (Bins(Number("x"), (2.0,)),)),)))
    assert tally.answers["x"] == {
        (0, 0): 1,
        (0, 1): 1,
        (0, MISSING): 1,
        (0, NOT_A_NUMBER): 1,
        (0, POSITIVE_INFINITY): 1,
        (0, NEGATIVE_INFINITY): 1,
    }


def test_a_nan_that_the_statistics_of_a_file_leave_out_is_told(engine: Engine, tmp_path: Path) -> None:
    x = np.arange(200.0)
    x[7] = float("nan")
    source = write(tmp_path / "t.parquet", {"ts": times(*([1.0] * 200)), "x": x})
    asked = (Question("x", (Bins(Number("x"), (-1.0, 500.0)),)),)
    tally = engine.counts(source, CountQuery("ts", days(1), asked))
    assert tally.answers["x"] == {(0, 1): 199, (0, NOT_A_NUMBER): 1}
    assert engine.profile(source, {"x": Number("x")}, quantiles=(1.0,))["x"].missing == 1


def test_a_retyped_column_is_read_as_far_as_it_goes(engine: Engine, tmp_path: Path) -> None:
    source = write(tmp_path / "t.parquet", {"ts": times(0, 1, 2, 3), "x": ["1.5", "high", None, "nan"]})
    tally = engine.counts(source, CountQuery("ts", days(1), (Question("x", (Bins(Number("x"), (2.0,)),)),)))
    assert tally.answers["x"] == {(0, 0): 1, (0, UNREADABLE): 1, (0, MISSING): 1, (0, NOT_A_NUMBER): 1}


def test_rows_outside_the_windows_and_without_time_are_told(engine: Engine, tmp_path: Path) -> None:
    stamp = [START - timedelta(hours=1), START, None, START + timedelta(days=2), START + timedelta(days=2)]
    source = write(tmp_path / "t.parquet", {"ts": pa.array(stamp, pa.timestamp("us", tz="UTC"))})
    tally = engine.counts(source, CountQuery("ts", days(2), ()))
    assert ([w.rows for w in tally.windows], tally.before, tally.after, tally.undated) == ([1, 0], 1, 2, 1)
    assert (tally.windows[0].first, tally.windows[1].last) == (START, None)


def test_windows_of_unequal_width_are_cut_exactly(engine: Engine, tmp_path: Path) -> None:
    cuts = tuple(START + timedelta(hours=h) for h in (0, 1, 3, 10, 11))
    source = write(tmp_path / "t.parquet", {"ts": times(0, 0.999, 1, 2.999, 3, 9.999, 10, 10.999, 11)})
    tally = engine.counts(source, CountQuery("ts", cuts, ()))
    assert [w.rows for w in tally.windows] == [2, 2, 2, 2]
    assert tally.after == 1


def test_labels_are_counted_when_they_come(engine: Engine, tmp_path: Path) -> None:
    source = write(
        tmp_path / "t.parquet",
        {
            "ts": times(1, 2, 3, 4, 30),
            "p": ["a", "a", "b", "b", "a"],
            "y": ["a", "b", "b", None, "a"],
            "came": times(49, 25, 2, 26, 31).take(pa.array([0, 1, 2, None, 4])),
        },
    )
    query = CountQuery("ts", days(3), (Question("wrong", (Wrong("p", "y"),), "label"),), label="y", label_time="came")
    # Row 0 came on day 2, row 1 on day 1, row 2 "before" it was answered: day 0, row 4 on day 1; row 3 never.
    assert engine.counts(source, query).answers["wrong"] == {(2, 0): 1, (1, 1): 1, (0, 0): 1, (1, 0): 1}


def test_answers_by_request_and_by_label_come_in_one_statement(engine: Engine, tmp_path: Path) -> None:
    table = {"ts": times(1, 2, 26), "p": ["a", "a", "b"], "y": ["a", "b", "b"], "came": times(1, 25, 26)}
    asked = (
        Question("answers", (Values(Text("p"), ("a", "b")),)),
        Question("wrong", (Wrong("p", "y"),), "label"),
        Question("both", (Values(Text("p"), ("a", "b")), Wrong("p", "y")), "label"),
    )
    source = write(tmp_path / "t.parquet", table)
    answers = engine.counts(source, CountQuery("ts", days(2), asked, label="y", label_time="came")).answers
    assert answers["wrong"] == {(0, 0): 1, (1, 1): 1, (1, 0): 1}
    assert sum(answers["answers"].values()) == sum(answers["both"].values()) == 3


def test_numbers_and_texts_agree_across_types(engine: Engine, tmp_path: Path) -> None:
    source = write(tmp_path / "t.parquet", {"ts": times(0, 1, 2), "p": [1.0, 2.0, 2.5], "y": ["1", "3", "2.5"]})
    tally = engine.counts(source, CountQuery("ts", days(1), (Question("wrong", (Wrong("p", "y"),)),)))
    assert tally.answers["wrong"] == {(0, 0): 2, (0, 1): 1}


def test_the_gap_between_confidence_and_truth(engine: Engine, tmp_path: Path) -> None:
    table = {"ts": times(0, 1, 2, 3), "p": ["a", "a", "b", "b"], "y": ["a", "b", "b", None], "c": [0.75, 0.75, 1, 0.5]}
    source = write(tmp_path / "t.parquet", table)
    asked = (Question("gap", (Bins(Gap("c", "p", "y"), (0.0, 0.25, 0.75)),)),)
    assert engine.counts(source, CountQuery("ts", days(1), asked)).answers["gap"] == {
        (0, 0): 1,
        (0, 1): 1,
        (0, 2): 1,
        (0, MISSING): 1,
    }


@pytest.mark.parametrize(
    ("values", "failed"),
    [
        ([None, "", "false", "0", " ", "Timeout"], 1),
        ([0, 1, None, 500, 0, 0], 2),
        ([True, False, None, False, False, True], 2),
        ([0.0, None, 0.5, 0.0, 0.0, 0.0], 1),
    ],
)
def test_what_failed_is_told_in_every_type(engine: Engine, tmp_path: Path, values: list[object], failed: int) -> None:
    source = write(tmp_path / "t.parquet", {"ts": times(*range(6)), "error": values})
    tally = engine.counts(source, CountQuery("ts", days(1), (Question("f", (Failed("error"),)),)))
    assert tally.answers["f"] == {(0, 0): 6 - failed, (0, 1): failed}


def test_a_column_called_like_an_attack_is_a_column(engine: Engine, tmp_path: Path) -> None:
    odd = [EVIL, "t", "x", "k0", "w_time", "y", "{x}", "o'clock", "%s", "same", "place", "clock"]
    table = pa.table({"ts": times(0, 1)} | {name: [1.0, 2.0] for name in odd})
    pq.write_table(table, tmp_path / "t.parquet")
    pacsv.write_csv(table, tmp_path / "t.csv")
    for file in ("t.parquet", "t.csv"):
        source = Source((str(tmp_path / file),))
        assert list(engine.columns(source)) == ["ts", *odd]
        asked = tuple(Question(c, (Bins(Number(c), (1.5,)), Values(Text(c), (EVIL, "'"))), "label") for c in odd)
        tally = engine.counts(source, CountQuery("ts", days(1), asked, label=EVIL))
        assert all(tally.answers[c] == {(0, 0, 2): 1, (0, 1, 2): 1} for c in odd)
        described: dict[str, Quantity | Text] = {c: Text(c) for c in odd}
        profiles = engine.profile(source, {**described, "n": Number(EVIL)}, quantiles=(0.5,))
        assert (profiles[EVIL].top, profiles["n"].quantiles) == ((("1", 1), ("2", 1)), (1.0,))
        rows = engine.rows(source, columns=[*odd, "ts"], time="ts", since=START + timedelta(minutes=1), limit=5)
        assert rows.column_names == [*odd, "ts"]
        assert rows[EVIL].to_pylist() == [2.0]
        assert engine.oddities(source, time="ts", now=START, request_id=EVIL, label="t", columns=odd).counts[EVIL] == 2


def test_csv_and_parquet_give_the_same_counts(engine: Engine, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    stamp = pa.array([START + timedelta(minutes=7 * i) for i in range(500)], pa.timestamp("us"))
    kind = [["a", "b", None][i % 3] for i in range(500)]
    table = pa.table({"ts": stamp, "x": rng.normal(size=500), "n": range(500), "kind": kind})
    pq.write_table(table, tmp_path / "t.parquet")
    pacsv.write_csv(table, tmp_path / "t.csv")
    asked = (
        Question("x", (Bins(Number("x"), (-0.3, 0.1, 0.2)),)),
        Question("n", (Bins(Number("n"), (100.0, 499.0)),)),
        Question("kind", (Values(Text("kind"), ("b",)),)),
    )
    query = CountQuery("ts", days(3), asked)
    sources = [Source((str(tmp_path / name),)) for name in ("t.parquet", "t.csv")]
    assert engine.counts(sources[0], query) == engine.counts(sources[1], query)
    assert dict(engine.columns(sources[0])) == dict(engine.columns(sources[1]))


def test_split_tables_add_up(engine: Engine, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"ts": times(0, 1, 2), "x": [1, 2, 3]})
    write(tmp_path / "b.parquet", {"x": [4.5], "more": ["z"], "ts": times(3)})
    (tmp_path / "c.csv").write_text("x,ts\n7,2026-03-01T04:00:00Z\n")
    tally = engine.counts(
        Source((str(tmp_path),)), CountQuery("ts", days(1), (Question("x", (Bins(Number("x"), (2.0, 4.5)),)),))
    )
    assert tally.answers["x"] == {(0, 0): 2, (0, 1): 2, (0, 2): 1}


def test_many_questions_are_all_answered(engine: Engine, tmp_path: Path) -> None:
    columns = {f"f{i}": [float(i), float(i + 1)] for i in range(150)}
    source = write(tmp_path / "t.parquet", {"ts": times(0, 1)} | columns)
    asked = tuple(Question(c, (Bins(Number(c), (i + 0.5,)),)) for i, c in enumerate(columns))
    tally = engine.counts(source, CountQuery("ts", days(1), asked))
    assert all(tally.answers[c] == {(0, 0): 1, (0, 1): 1} for c in columns)


def test_steps_enclose_whole_windows_of_rows(engine: Engine, tmp_path: Path) -> None:
    source = write(tmp_path / "t.parquet", {"ts": times(5, 3, 1, 2, 4, 0, 6)})
    hour = timedelta(hours=1)
    assert engine.steps(source, "ts", 3) == (START, START + 3 * hour, START + 6 * hour)
    assert engine.steps(source, "ts", 7) == (START, START + 6 * hour + timedelta(microseconds=1))
    assert engine.steps(source, "ts", 8) == (START,)
    assert engine.steps(source, "ts", 2, since=START + 5 * hour)[-1] == START + 6 * hour + timedelta(microseconds=1)


def test_steps_never_part_equal_times(engine: Engine, tmp_path: Path) -> None:
    source = write(tmp_path / "t.parquet", {"ts": times(0, 0, 0, 0, 0, 1, 1, 2)})
    assert engine.steps(source, "ts", 2)[:2] == (START, START + timedelta(hours=1))


def test_profiles_tell_what_occurs(engine: Engine, tmp_path: Path) -> None:
    x = [float(i) for i in range(1, 101)] + [None, float("nan"), float("inf")]
    kind = ["b"] * 60 + ["a"] * 40 + [None] * 3
    source = write(tmp_path / "t.parquet", {"x": x, "kind": kind})
    asked: dict[str, Quantity | Text] = {"x": Number("x"), "kind": Text("kind")}
    asked |= {"zero": Distance("x", "x"), "bad": Number("kind")}
    found = engine.profile(source, asked, quantiles=(0.05, 0.5, 1.0), top=1)
    assert found["x"].quantiles == (5.0, 50.0, 100.0)
    assert (found["x"].rows, found["x"].missing, found["x"].infinite, found["x"].distinct) == (103, 2, 1, 100)
    assert (found["x"].least, found["x"].most) == (1.0, 100.0)
    assert (found["kind"].top, found["kind"].distinct, found["kind"].missing) == ((("b", 60),), 2, 3)
    assert (found["zero"].most, found["bad"].unreadable) == (0.0, 100)


def test_oddities_are_counted(engine: Engine, tmp_path: Path) -> None:
    source = write(
        tmp_path / "t.parquet",
        {
            "ts": times(0, 2, 1, 3, 50),
            "id": ["a", "b", "a", None, "c"],
            "y": [1, None, 0, 1, None],
            "came": times(1, 1, 0, 4, 60),
            "empty": pa.nulls(5),
        },
    )
    now = START + timedelta(days=2)
    odd = engine.oddities(
        source, time="ts", now=now, request_id="id", label="y", label_time="came", columns=("y", "empty")
    )
    assert (odd.rows, odd.backward, odd.repeated_ids, odd.without_id, odd.early_labels) == (5, 1, 1, 1, 1)
    assert (odd.labelled, odd.future, odd.undated, odd.counts) == (3, 1, 0, {"y": 3, "empty": 0})
    sooner = engine.oddities(source, time="ts", now=START + timedelta(minutes=30), label="y", label_time="came")
    assert (odd.future_labels, sooner.future_labels) == (0, 2)  # a time without a label tells of no label


def test_a_time_beyond_the_years_that_can_be_told_is_none(engine: Engine, tmp_path: Path) -> None:
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    beyond = (9 * 10**18, to_micros(last) + 1, to_micros(first) - 1, -9 * 10**18)
    stamps = [*beyond, *map(to_micros, (last, START, first)), None]
    kind = pa.timestamp("us", tz="UTC")
    columns = {"ts": pa.array(stamps, kind), "naive": pa.array(stamps, pa.timestamp("us")), "y": [1] * len(stamps)}
    source = write(tmp_path / "t.parquet", columns)
    for time in ("ts", "naive"):
        assert engine.span(source, time) == Span(first, last, 8, 5)
        tally = engine.counts(source, CountQuery(time, days(1), ()))
        assert (tally.before, tally.windows[0].rows, tally.after, tally.undated) == (1, 1, 1, 5)
        odd = engine.oddities(source, time=time, now=START, label="y", label_time="ts")
        assert (odd.undated, odd.future, odd.future_labels) == (5, 1, 1)


def test_oddities_of_rows_that_were_looked_at_before_are_not_counted_again(engine: Engine, tmp_path: Path) -> None:
    when = pa.array(
        [START, START + timedelta(hours=1), None, START + timedelta(hours=2), START + timedelta(hours=1)],
        pa.timestamp("us", "UTC"),
    )
    source = write(tmp_path / "t.parquet", {"ts": when, "id": ["a", "a", "a", "a", "b"]})
    odd = engine.oddities(
        source, time="ts", now=START, request_id="id", columns=("id",), since=START + timedelta(hours=1)
    )
    assert (odd.rows, odd.undated, odd.repeated_ids, odd.backward, odd.counts) == (4, 1, 2, 1, {"id": 4})


def test_the_border_between_two_files_is_no_step_back(engine: Engine, tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"ts": times(10, 11)})
    source = write(tmp_path / "b.parquet", {"ts": times(0, 2, 1)})
    both = Source((str(tmp_path / "*.parquet"),))
    assert engine.oddities(source, time="ts", now=START).backward == 1
    assert engine.oddities(both, time="ts", now=START).backward == 1


def test_rows_come_in_time_order_and_a_draw_repeats(engine: Engine, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    hours = rng.permutation(1000) / 10
    source = write(tmp_path / "t.parquet", {"ts": times(*hours), "h": hours})
    everything = engine.rows(source, time="ts")
    assert everything["h"].to_pylist() == sorted(hours)
    part = engine.rows(source, columns=["h"], time="ts", since=START + timedelta(hours=50), limit=10, seed=4)
    assert part == engine.rows(source, columns=["h"], time="ts", since=START + timedelta(hours=50), limit=10, seed=4)
    assert part != engine.rows(source, columns=["h"], time="ts", since=START + timedelta(hours=50), limit=10, seed=5)
    assert len(set(part["h"].to_pylist())) == 10
    assert min(part["h"].to_pylist()) >= 50


@pytest.mark.parametrize(
    "stamp",
    [
        ["2026-03-01T05:30:00", "2026-03-01 06:30:00"],
        ["2026-03-01T05:30:00Z", "2026-03-01T08:30:00+02:00"],
        pa.array([datetime(2026, 3, 1, 5, 30), datetime(2026, 3, 1, 6, 30)], pa.timestamp("ns")),  # noqa: DTZ001 - naive on purpose
        pa.array([datetime(2026, 3, 1, 5, 30), datetime(2026, 3, 1, 6, 30)], pa.timestamp("s")),  # noqa: DTZ001 - naive on purpose
        pa.array([datetime(2026, 3, 1, 5, 30), datetime(2026, 3, 1, 6, 30)], pa.timestamp("ms", "America/New_York")),  # noqa: DTZ001 - naive on purpose
    ],
)
def test_naive_times_are_utc(engine: Engine, tmp_path: Path, stamp: object) -> None:
    source = write(tmp_path / "t.parquet", {"ts": stamp})
    span = engine.span(source, "ts")
    assert (span.first, span.last) == (START + timedelta(hours=5.5), START + timedelta(hours=6.5))
    assert engine.rows(source, time="ts")["ts"].to_pylist() == [span.first, span.last]


def test_a_missing_column_is_named(engine: Engine, tmp_path: Path) -> None:
    source = write(tmp_path / "t.parquet", {"ts": times(0), "x": [1]})
    with pytest.raises(TableError, match="'gone'"):
        engine.span(source, "gone")
    with pytest.raises(TableError, match="'gone'"):
        engine.rows(source, columns=["x", "gone"])
    with pytest.raises(TableError, match="'gone'"):
        engine.counts(source, CountQuery("ts", days(1), (Question("q", (Failed("gone"),)),)))
    with pytest.raises(TableError, match="'x' holds integer values where times were wanted"):
        engine.span(source, "x")


class Streamed:
    """What offers the Arrow C stream and nothing else, as data frames of other packages do."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def test_a_table_in_memory_is_counted_as_its_file_is(engine: Engine, tmp_path: Path) -> None:
    kinds = pa.array(["a", "b", None, "a"]).dictionary_encode()
    table = pa.table({"ts": times(0, 5, 30, 31), "x": [1.0, float("nan"), None, -0.0], "kind": kinds})
    file = write(tmp_path / "t.parquet", {name: table[name] for name in table.column_names})
    asked = (Question("x", (Bins(Number("x"), (0.0,)),)), Question("k", (Values(Text("kind"), ("a",)),)))
    query = CountQuery("ts", days(2), asked)
    views = pa.array(["a", "b"], pa.string_view())  # as polars hands out categories
    viewed = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 0], pa.uint32()), views)
    for given in (table, Streamed(table), Streamed(table.set_column(2, "kind", viewed))):
        source = Source(table=given)
        assert engine.counts(source, query) == engine.counts(file, query)
        assert dict(engine.columns(source)) == dict(engine.columns(file))
    assert engine.rows(Source(table=table), columns=["kind"], time="ts")["kind"].to_pylist() == ["a", "b", None, "a"]
    with pytest.raises(TableError, match="'gone'"):
        engine.span(Source(table=table), "gone")


def test_data_frames_and_relations_are_tables(engine: Engine) -> None:
    frame = pd.DataFrame({"ts": pd.to_datetime(["2026-03-01", "2026-03-02"]), "x": [1.0, None], "k": ["a", "b"]})
    query = CountQuery("ts", days(2), (Question("x", (Bins(Number("x"), (0.0,)),)),))
    with duckdb.connect() as connection:
        connection.register("frame", pa.Table.from_pandas(frame))
        for given in (frame, connection.sql("SELECT * FROM frame")):
            assert engine.counts(Source(table=given), query).answers["x"] == {(0, 1): 1, (1, MISSING): 1}


def test_what_is_no_table_is_refused(engine: Engine) -> None:
    with pytest.raises(TypeError, match="no Arrow stream"):
        Source(table=[1, 2])
    with pytest.raises(TableError, match="cannot tell apart"):
        engine.columns(Source(table=pa.table({"x": [1], "X": [2]})))
    with pytest.raises(TableError, match="no columns"):
        engine.columns(Source(table=pa.table({})))
    with pytest.raises(TableError, match="columns of one type"):
        engine.columns(Source(table=pd.DataFrame({"x": [1, "a", b"b"]})))


def test_an_unknown_engine_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="'abacus'"):
        find("abacus")
    with pytest.raises(ConfigError, match="takes no address"):
        find("duckdb sc://example.org")
