"""Counts of parts are the counts of the whole: windows and files may be counted apart, anywhere, in any order."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.engines.base import Bins, CountQuery, Number, Question, Source, Tally, Text, Values, WindowRows, Wrong
from assay.engines.duckdb import DuckDb

START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 6
CUTS = tuple(START + timedelta(days=day) for day in range(DAYS + 1))
ASKED = (
    Question("x", (Bins(Number("x"), (-1.0, 0.0, 1.0)),)),
    Question("wrong", (Values(Text("y"), ("a", "b")), Wrong("p", "y")), "label"),
)
ENGINE = DuckDb()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parts")


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(1, 80))
    hours = rng.uniform(-9, 24 * DAYS + 9, n)
    odd = [None, float("nan"), float("inf"), -0.0]
    letters = ["a", "b", "c", None]

    def times(after: np.ndarray) -> pa.Array:
        gone = rng.uniform(size=n) < draw(st.sampled_from([0.0, 0.2]))
        values = [None if g else START + timedelta(hours=float(h)) for h, g in zip(after, gone, strict=True)]
        return pa.array(values, pa.timestamp("us", "UTC"))

    x = [odd[i] if i < len(odd) else float(v) for i, v in zip(rng.integers(0, 9, n), rng.normal(size=n), strict=True)]
    came = times(hours + rng.uniform(-5, 60, n))
    texts = {name: [letters[i] for i in rng.integers(0, 4, n)] for name in "py"}
    return pa.table({"ts": times(hours), "came": came, "x": x} | texts)


def tally(table: pa.Table, folder: Path, cuts: tuple[datetime, ...] = CUTS) -> Tally:
    path = folder / f"{uuid.uuid4().hex}.parquet"
    pq.write_table(table, path)
    found = ENGINE.counts(Source((str(path),)), CountQuery("ts", cuts, ASKED, label="y", label_time="came"))
    path.unlink()
    return found


def added(parts: Sequence[Tally]) -> Tally:
    answers = {
        q.name: dict(sum((Counter(dict(part.answers[q.name])) for part in parts), start=Counter())) for q in ASKED
    }
    windows = []
    for rows in zip(*(part.windows for part in parts), strict=True):
        first = min((row.first for row in rows if row.first), default=None)
        last = max((row.last for row in rows if row.last), default=None)
        windows.append(WindowRows(sum(row.rows for row in rows), first, last))
    sums = [sum(getattr(part, name) for part in parts) for name in ("before", "after", "undated")]
    return Tally(tuple(windows), answers, *sums)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(tables(), st.lists(st.integers(0, 2), min_size=80, max_size=80))
def test_rows_counted_apart_add_up(folder: Path, table: pa.Table, where: list[int]) -> None:
    mask = np.asarray(where[: table.num_rows])
    parts = [tally(table.filter(pa.array(mask == part)), folder) for part in range(3)]
    whole = tally(table, folder)
    assert added(parts) == whole
    assert added(parts[::-1]) == whole
    assert added([added(parts[:2]), parts[2]]) == added([parts[0], added(parts[1:])])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(tables(), st.sets(st.integers(1, DAYS - 1)))
def test_windows_counted_apart_lie_side_by_side(folder: Path, table: pa.Table, borders: set[int]) -> None:
    whole = tally(table, folder)
    edges = [0, *sorted(borders), DAYS]
    windows: list[WindowRows] = []
    answers: dict[str, dict[tuple[int, ...], int]] = {question.name: {} for question in ASKED}
    for low, high in pairwise(edges):
        part = tally(table, folder, CUTS[low : high + 1])
        windows += part.windows
        for name, counted in part.answers.items():
            answers[name] |= {(window + low, *codes): n for (window, *codes), n in counted.items()}
        assert part.undated == whole.undated
    assert tuple(windows) == whole.windows
    assert answers == whole.answers
