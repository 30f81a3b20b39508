"""A table is cut into complete windows, and every signal is counted in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from tests.unit.monitoring.streams import SCHEMA, START, requests, written

from assay.engines.base import Source
from assay.engines.duckdb import DuckDb
from assay.errors import ConfigError, TableError
from assay.monitoring.run import merge
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.signals import SignalSpec, WindowCounts
from assay.monitoring.windows import Counted, count, cut, floor_to, parse_window
from assay.storage.clock import utc_text

ENGINE = DuckDb()
VOLUME = SignalSpec("volume", "service", "volume", "")
DAY = timedelta(days=1)


def counted(
    source: Source,
    *specs: SignalSpec,
    schema: PredictionSchema = SCHEMA,
    window: str = "1d",
    now: datetime = START + 100 * DAY,
    live: bool = False,
    known: tuple[WindowCounts, ...] = (),
) -> Counted:
    families = ENGINE.columns(source)
    return count(
        ENGINE, source, schema, (VOLUME, *specs), window=window, now=now, families=families, live=live, known=known
    )


@pytest.mark.parametrize(
    ("word", "meaning"), [("1d", DAY), ("6h", DAY / 4), ("7d", 7 * DAY), ("1000rows", 1000), (" 5 rows ", 5)]
)
def test_windows_are_spans_or_rows(word: str, meaning: timedelta | int) -> None:
    assert parse_window(word) == meaning


@pytest.mark.parametrize("word", ["", "rows", "0rows", "1", "-1d", "1.5d", "10row", "0d"])
def test_other_words_are_no_window(word: str) -> None:
    with pytest.raises(ConfigError):
        parse_window(word)


def test_spans_are_aligned_to_utc_and_weeks_to_monday() -> None:
    at = datetime(2026, 3, 5, 17, 45, tzinfo=UTC)  # a Thursday
    assert floor_to(at, DAY) == datetime(2026, 3, 5, tzinfo=UTC)
    assert floor_to(at, timedelta(hours=6)) == datetime(2026, 3, 5, 12, tzinfo=UTC)
    assert floor_to(at, 14 * DAY).weekday() == floor_to(at, 7 * DAY).weekday() == 0
    assert floor_to(datetime(1969, 12, 31, 23, tzinfo=UTC), DAY) == datetime(1969, 12, 31, tzinfo=UTC)


def test_too_many_windows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too many"):
        counted(written(requests(2), tmp_path / "t.parquet"), window="1s")


def test_a_partial_border_of_a_finished_table_is_left_out_and_told(tmp_path: Path) -> None:
    found = counted(written(requests(6).slice(80, 1000), tmp_path / "t.parquet"))
    assert [window.rows for window in found.windows] == [200, 200, 200, 200]
    assert [(f.rule, f.numbers["rows"]) for f in found.findings] == [("window.partial", 120), ("window.partial", 80)]


def test_quiet_nights_make_no_border_partial(tmp_path: Path) -> None:
    table = requests(6)
    office = table.filter(pa.array([40 <= i % 200 < 120 for i in range(1200)]))
    assert [window.rows for window in counted(written(office, tmp_path / "t.parquet")).windows] == [80] * 6


def test_windows_of_rows_are_all_equal_and_the_rest_waits(tmp_path: Path) -> None:
    source = written(requests(3), tmp_path / "t.parquet")
    found = counted(source, window="250rows")
    assert [window.rows for window in found.windows] == [250, 250]
    assert [(f.rule, f.numbers["rows"]) for f in found.findings] == [("rows.waiting", 100)]
    # The same windows when rows come bit by bit.
    first = counted(written(requests(3).slice(0, 251), tmp_path / "part.parquet"), window="250rows", live=True)
    later = counted(source, window="250rows", live=True, known=first.windows)
    assert [one.start for one in later.windows] == [one.start for one in found.windows]
    assert later.windows == found.windows


def test_exactly_one_window_of_rows_is_complete(tmp_path: Path) -> None:
    found = counted(written(requests(3), tmp_path / "t.parquet"), window="600rows")
    assert [window.rows for window in found.windows] == [600]


def test_live_windows_go_up_to_now_and_no_further(tmp_path: Path) -> None:
    source = written(requests(3), tmp_path / "t.parquet")
    found = counted(source, live=True, now=START + 2 * DAY + timedelta(hours=1))
    assert [window.rows for window in found.windows] == [200, 200]
    assert {"rows.waiting", "time.future"} <= {finding.rule for finding in found.findings}
    assert "window.none" in {f.rule for f in counted(source, live=True, now=START + timedelta(hours=1)).findings}


def test_spans_after_a_deployment_begin_with_the_next_whole_one(tmp_path: Path) -> None:
    source = written(requests(4), tmp_path / "t.parquet")
    now = START + 4 * DAY
    noon = cut(ENGINE, source, SCHEMA, "1d", after=START + DAY / 2, through=now)
    assert noon == (START + DAY, START + 2 * DAY, START + 3 * DAY, now)
    assert cut(ENGINE, source, SCHEMA, "1d", after=START + DAY, through=now) == noon


def test_counts_are_those_of_the_rows(tmp_path: Path) -> None:
    x = [0.5, 1.5, None, float("inf"), float("nan"), float("-inf")]
    ts = [START + timedelta(hours=i) for i in range(6)]
    table = pa.table({"ts": pa.array(ts, pa.timestamp("us", tz="UTC")), "x": x, "pred": ["a"] * 6})
    edges = (0.0, 1.0, 2.0)
    specs = (
        SignalSpec("feature:x", "inputs", "ordered", "x", edges=edges),
        SignalSpec("feature:x:null", "inputs", "rate", "x", edges=edges),
        SignalSpec("feature:x:infinite", "inputs", "rate", "x", edges=edges),
        SignalSpec("feature:x:outside", "inputs", "rate", "x", edges=edges),
    )
    schema = PredictionSchema(time="ts", prediction="pred")
    found = counted(written(table, tmp_path / "t.parquet"), *specs, schema=schema)
    assert found.windows[0].counts == {
        "volume": (6,),
        "feature:x": (1, 1, 1, 1),
        "feature:x:null": (4, 2),
        "feature:x:infinite": (2, 2),
        "feature:x:outside": (2, 2),
    }
    told = {(finding.rule, finding.subject, finding.numbers["rows"]) for finding in found.findings}
    assert told == {("column.infinite", "x", 2), ("column.nan", "x", 1)}


def test_performance_is_counted_when_labels_come(tmp_path: Path) -> None:
    ts = [START + timedelta(hours=i) for i in range(4)]
    came = [START + timedelta(days=1, hours=i) for i in range(3)] + [None]
    table = pa.table(
        {
            "ts": pa.array(ts, pa.timestamp("us", tz="UTC")),
            "pred": ["a", "a", "b", "b"],
            "y": ["a", "b", "b", None],
            "came": pa.array(came, pa.timestamp("us", tz="UTC")),
            "region": ["n", "s", "s", "n"],
        }
    )
    schema = PredictionSchema(time="ts", prediction="pred", label="y", label_time="came", slices=("region",))
    specs = (
        SignalSpec("error", "errors", "rate", "y"),
        SignalSpec("accuracy:class=b", "classes", "rate", "y", values=("b",)),
        SignalSpec("accuracy:class=c", "classes", "rate", "y", values=("c",)),
        SignalSpec("accuracy:slice:region=s", "slices", "rate", "region", values=("s",), slice={"region": "s"}),
    )
    source = written(table, tmp_path / "t.parquet")
    found = counted(source, *specs, schema=schema, live=True, now=START + 2 * DAY)
    assert found.windows[0].counts == {"volume": (4,)}
    assert found.windows[1].counts == {
        "volume": (0,),
        "error": (2, 1),
        "accuracy:class=b": (1, 1),
        "accuracy:slice:region=s": (1, 1),
    }
    assert "label.waiting" in {finding.rule for finding in found.findings}


def test_a_column_that_is_gone_is_null_in_every_row(tmp_path: Path) -> None:
    source = written(requests(3).drop_columns(["temperature"]), tmp_path / "t.parquet")
    specs = (
        SignalSpec("feature:temperature", "inputs", "ordered", "temperature", edges=(0.0,)),
        SignalSpec("feature:temperature:null", "inputs", "rate", "temperature", edges=(0.0,)),
    )
    found = counted(source, *specs)
    assert found.windows[0].counts == {"volume": (200,), "feature:temperature:null": (0, 200)}
    assert [(f.rule, f.subject) for f in found.findings] == [("column.missing", "temperature")]


def test_a_table_without_times_cannot_be_cut(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="'ts'"):
        counted(written(requests(1).drop_columns(["ts"]), tmp_path / "t.parquet"))
    empty = counted(written(requests(1).slice(0, 0), tmp_path / "e.parquet"))
    assert (empty.windows, [finding.rule for finding in empty.findings]) == ((), ["window.none"])


def test_merging_keeps_what_has_more_in_it() -> None:
    def window(day: int, rows: int, *bins: int) -> WindowCounts:
        at = START + day * DAY
        return WindowCounts(utc_text(at), utc_text(at + DAY), rows, {"error": bins} if bins else {})

    old = (window(0, 5), window(1, 5), window(2, 5, 4, 0), window(4, 5, 3, 2))
    new = (window(4, 5, 2, 3), window(1, 7), window(2, 4, 3, 0), window(3, 1))
    assert merge(old, new) == (window(0, 5), window(1, 7), window(2, 5, 4, 0), window(3, 1), window(4, 5, 3, 2))
