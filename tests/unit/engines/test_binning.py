"""Counting in batches gives what GROUPING SETS give, and a looked-up bin is the bin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.engines import asking, binning, duckdb, streaming
from assay.engines.base import (
    Bins,
    CountQuery,
    Distance,
    Failed,
    Gap,
    Number,
    Question,
    Source,
    Tally,
    Text,
    Values,
    Wrong,
)
from assay.engines.binning import Counter, Edges

FINITE = st.floats(allow_nan=False, allow_infinity=False)
START = datetime(2026, 3, 1, tzinfo=UTC)
CUTS = tuple(START + timedelta(hours=7 * i) for i in range(9))
ASKED = (
    Question("x", (Bins(Number("x"), (-1.0, 0.0, 0.5)),)),
    Question("said", (Bins(Number("said"), (1.0, 2.0)),)),
    Question("letter", (Values(Text("letter"), ("a", "b", "a'b")),)),
    Question("whole", (Values(Text("whole"), ("1", "2")),)),
    Question("pair", (Values(Text("letter"), ("a", "b")), Bins(Number("x"), (0.0,)), Failed("flag"))),
    Question("same", (Bins(Number("x"), (-1.0, 0.0, 0.5)),)),
    Question("failed", (Failed("letter"),)),
    Question("wrong", (Wrong("letter", "truth"),), "label"),
    Question("by class", (Values(Text("truth"), ("a", "b")), Wrong("letter", "truth")), "label"),
    Question("apart", (Bins(Distance("x", "whole"), (0.5, 1.5)),), "label"),
    Question("gap", (Bins(Gap("x", "letter", "truth"), (0.5,)),), "label"),
    Question("twice", (Wrong("letter", "truth"), Wrong("letter", "truth")), "label"),
)


@given(st.lists(FINITE, min_size=1, max_size=30), st.lists(FINITE, max_size=60))
def test_a_bin_is_found_exactly(some: list[float], numbers: list[float]) -> None:
    edges = sorted({edge + 0.0 for edge in some})
    beside = [math.nextafter(edge, way) for edge in edges for way in (-math.inf, math.inf)]
    x = np.array([*numbers, *edges, *beside, math.inf, -math.inf, -0.0])
    assert Edges(edges).find(x).tolist() == np.searchsorted(edges, x).tolist()


@pytest.mark.parametrize("shape", ["normal", "heavy", "close", "steps"])
def test_a_bin_is_found_exactly_among_quantiles(shape: str) -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(size=50_000)
    x = {"normal": x, "heavy": np.exp(3 * x), "close": 1e9 + x * 1e-6, "steps": np.round(x, 1)}[shape]
    edges = np.unique(np.quantile(x, np.linspace(0, 1, 21), method="inverted_cdf"))
    assert (Edges(edges.tolist()).find(x) == np.searchsorted(edges, x)).all()


def test_a_number_just_above_an_edge_where_a_cell_begins_is_in_the_next_bin() -> None:
    # The fifth edge is where a cell begins; rounding puts the next number into the cell before it, behind two more.
    low, high = -1.0, 0.3
    scale = binning.CELLS / (high - low)
    start = low + 3155 / scale
    edges = [low - 1, low, start - 0.6 / scale, start - 0.3 / scale, start, high, high + 1]
    x = np.nextafter(np.array([start]), np.inf)
    assert Edges(edges).find(x).tolist() == np.searchsorted(edges, x).tolist() == [5]


def table(rows: int) -> pa.Table:
    rng = np.random.default_rng(rows)

    def some(values: Sequence[object]) -> list[object]:
        return [values[i] for i in rng.integers(0, len(values), rows)]

    when = [None if i % 17 == 3 else START + timedelta(minutes=int(i)) for i in rng.integers(-300, 4000, rows)]
    numbers = [None, math.nan, math.inf, -math.inf, -0.0, 0.0, 0.5, -1.0, 3.25]
    return pa.table(
        {
            "ts": pa.array(when, pa.timestamp("us", "UTC")),
            "came": pa.array([None if i % 5 else START + timedelta(hours=int(i)) for i in range(rows)]),
            "x": pa.array([some(numbers)[0] if i % 2 else float(rng.normal()) for i in range(rows)], pa.float64()),
            "said": some(["1", "2.5", "none", "nan", "-inf", "1e3", None, ""]),
            "letter": some(["a", "b", "a'b", "", None, "false"]),
            "truth": some(["a", "b", None]),
            "whole": pa.array(some([1, 2, 3, None]), pa.int32()),
            "flag": pa.array(some([True, False, None]), pa.bool_()),
        }
    )


def by_grouping_sets(source: Source, query: CountQuery) -> Tally:
    with duckdb._open(source) as opened:
        return asking.counts(opened, query, sets=3)


@pytest.mark.parametrize("cuts", [CUTS, (*CUTS[:3], *CUTS[5:])])
@pytest.mark.parametrize("came", [None, "came"])
def test_batches_and_grouping_sets_agree(
    came: str | None, cuts: tuple[datetime, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "BATCH_ROWS", 64)
    source = Source(table=table(700))
    query = CountQuery("ts", cuts, ASKED, label="truth", label_time=came)
    found = duckdb.DuckDb().counts(source, query)
    assert found == by_grouping_sets(source, query)
    later = replace(query, answered=cuts[1] + timedelta(minutes=7))
    fewer = duckdb.DuckDb().counts(source, later)
    assert fewer == by_grouping_sets(source, later)
    rows = table(700)
    kept = rows.filter(pc.greater_equal(rows["ts"], pa.scalar(later.answered, rows["ts"].type)))
    only = duckdb.DuckDb().counts(Source(table=kept), query)
    by_time = {one.name for one in ASKED if one.clock == "time"}
    for name, answer in fewer.answers.items():
        assert answer == (found if name in by_time else only).answers[name], name
        assert name in by_time or answer != found.answers[name]
    assert found.answers["same"] == found.answers["x"]
    assert min(found.before, found.after, found.undated) > 0


@pytest.mark.parametrize("brief", [0, 64])
def test_rows_that_are_all_in_one_window_are_counted_alike(brief: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binning, "BRIEF", brief)
    rows = table(300)
    rows = rows.filter(pc.is_valid(rows["ts"]))
    source = Source(table=rows)
    every = START - timedelta(days=9), START + timedelta(days=9)
    questions = (*ASKED, Question("nothing", ()))
    found = duckdb.DuckDb().counts(source, CountQuery("ts", every, questions, label="truth"))
    with_others = (every[0] - timedelta(days=1), *every, every[1] + timedelta(days=1))
    wider = duckdb.DuckDb().counts(source, CountQuery("ts", with_others, questions, label="truth"))
    assert found.answers["nothing"] == {(0,): len(rows)}
    for name, answer in found.answers.items():
        assert wider.answers[name] == {(1, *key[1:]): number for key, number in answer.items()}
    assert replace(found, answers={}) == replace(
        by_grouping_sets(source, CountQuery("ts", every, ASKED, label="truth")), answers={}
    )


def test_counts_are_the_same_kept_one_by_one_or_only_where_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    source, query = Source(table=table(400)), CountQuery("ts", CUTS, ASKED, label="truth")
    dense = duckdb.DuckDb().counts(source, query)
    for most in (0, 100):  # each row by itself; each batch by itself
        monkeypatch.setattr(binning, "DENSE", most)
        assert duckdb.DuckDb().counts(source, query) == dense


def test_a_batch_outside_all_windows_counts_nothing() -> None:
    counter = Counter("time", (0,), (7,), 3)
    counter.add(np.array([0, 0]), [np.zeros(2, np.int32)], (0, -1), alone=False)
    assert counter.answer() == {}
