"""Vectors are watched along directions that the baseline fixes; what is no such vector is a finding."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.monitoring.kinds import LIVE, START, judged, learned, vectors, when

from assay.engines.base import CountQuery, Source
from assay.engines.duckdb import DuckDb
from assay.engines.made import UNIT, Along
from assay.monitoring.baseline import Baseline
from assay.monitoring.quantities import Corner
from assay.monitoring.questions import ask
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.signals import SignalSpec

SCHEMA = PredictionSchema(time="ts", prediction="pred", label="y")
ROWS = 150


def stream(days: int, start: datetime, seed: int, *, along: float = 0.0) -> pa.Table:
    rng = np.random.default_rng(seed)
    n = days * ROWS
    y = rng.choice(["ham", "spam"], n)
    emb = pa.array(vectors(rng, n, along=along).astype(np.float32).tolist(), pa.list_(pa.float32()))
    return pa.table({"ts": when(days, ROWS, start), "emb": emb, "pred": y, "y": y})


@pytest.fixture(scope="module")
def reference() -> pa.Table:
    return stream(28, START, 1)


@pytest.fixture(scope="module")
def baseline(reference: pa.Table) -> Baseline:
    return learned(reference, SCHEMA, "classification")


def test_directions_are_fixed_by_the_baseline(reference: pa.Table, baseline: Baseline) -> None:
    names = [spec.name for spec in baseline.specs if spec.column == "emb"]
    assert names[0] == "feature:emb:norm"
    assert len(names) == 1 + 8 + 8 + 1 + 2
    assert Baseline.parse(json.dumps(baseline.to_json())) == baseline
    again = learned(reference, SCHEMA, "classification")
    assert again.specs == baseline.specs
    first = next(spec.of for spec in baseline.specs if spec.name == "feature:emb:principal-1")
    assert isinstance(first, Along)
    assert abs(first.direction[0]) > 1000  # the coordinate that varies most
    other = learned(stream(28, START, 2), SCHEMA, "classification")
    assert other.specs != baseline.specs


def test_a_shift_in_a_direction_nobody_named_is_found(reference: pa.Table) -> None:
    found = judged(reference, stream(8, LIVE, 3, along=1.2), SCHEMA, "classification")
    assert {alarm.signal.rsplit(":", 1)[0] for alarm in found.alarms} == {"feature:emb"}


def twisted(table: pa.Table) -> pa.Table:
    """Each coordinate is distributed as before, but the signs of three of them now go together."""
    found = np.array(table["emb"].to_pylist())
    found[:, 2] = np.abs(found[:, 2]) * np.sign(found[:, 0] * found[:, 1])
    return table.set_column(1, "emb", pa.array(found.astype(np.float32).tolist(), pa.list_(pa.float32())))


def test_coordinates_that_go_together_otherwise_are_found_where_none_has_moved() -> None:
    scales = np.array([6.0, 5.0, 4.0] + [1.0] * 13)
    tables = []
    for days, start, seed in ((28, START, 7), (8, LIVE, 8)):
        table = stream(days, start, seed)
        wide = np.random.default_rng(seed).normal(size=(table.num_rows, 16)) * scales
        tables.append(table.set_column(1, "emb", pa.array(wide.astype(np.float32).tolist(), pa.list_(pa.float32()))))
    reference, live = tables
    assert judged(reference, live, SCHEMA, "classification").alarms == ()
    alarms = judged(reference, twisted(live), SCHEMA, "classification").alarms
    assert {alarm.signal for alarm in alarms} == {"feature:emb:corner"}
    assert alarms[0].window < (LIVE + timedelta(days=4)).isoformat()
    assert "corner of emb is in " in alarms[0].detail


def test_a_corner_is_a_side_of_each_cut() -> None:
    scale = 1024.0
    of = Corner((Along("emb", (UNIT, 0), scale), Along("emb", (0, UNIT), scale)), (0.5, -1.0))
    assert of.corners == ("--", "-+", "+-", "++")
    spec = SignalSpec("feature:emb:corner", "inputs", "values", "emb", values=of.corners, of=of)
    assert SignalSpec.parse(json.loads(json.dumps(spec.to_json()))) == spec
    values = [[0.5, -1.0], [0.5, 0.0], [0.6, -2.0], [0.6, 0.0], [0.6, 9.0], None, [math.nan, 1.0], [1.0]]
    table = pa.table({"ts": when(1, 8, START), "emb": pa.array(values, pa.list_(pa.float64()))})
    asked = ask([spec], SCHEMA)[spec.name]
    tally = DuckDb().counts(Source(table=table), CountQuery("ts", (START, LIVE), (asked.question,)))
    counted: Counter[int | None] = Counter()
    for codes, rows in tally.answers[spec.name].items():
        counted[asked.bin_of(codes[1:])] += rows
    assert counted == {0: 1, 1: 1, 2: 1, 3: 2, None: 3}


def test_the_same_vectors_raise_nothing(reference: pa.Table) -> None:
    assert judged(reference, stream(20, LIVE, 4), SCHEMA, "classification").alarms == ()


def test_vectors_that_are_none_are_findings_and_nulls(reference: pa.Table) -> None:
    live = stream(6, LIVE, 5)
    values: list[object] = live["emb"].to_pylist()
    odd: list[object] = [None, [1.0] * 15, [], [math.nan] * 16, [None] * 16, [math.inf] * 16]
    values[: len(odd)] = odd
    broken = live.set_column(1, "emb", pa.array(values, pa.list_(pa.float32())))
    found = judged(reference, broken, SCHEMA, "classification")
    said = {finding.rule: finding for finding in found.findings if finding.subject == "emb"}
    assert "vectors of the baseline's length" in said["column.unreadable"].detail
    assert said["column.unreadable"].numbers["rows"] == 2
    assert said["column.nan"].numbers["rows"] == 2
    assert said["column.infinite"].numbers["rows"] == 1
    # All rows were shortened: an alarm on its nulls, not silence.
    short = live.set_column(1, "emb", pa.array([[1.0] * 15] * live.num_rows))
    assert "feature:emb:null" in {alarm.signal for alarm in judged(reference, short, SCHEMA, "classification").alarms}


@pytest.mark.parametrize(
    "values",
    [
        [None] * 300,
        [[]] * 300,
        [[math.nan, 1.0]] * 300,
        [[0.0, 0.0]] * 300,
        [[1e308, -1e308]] * 300,
        [[5e-324, 1.0]] * 300,
        [[1.0]] * 150 + [[1.0, 2.0]] * 150,
    ],
    ids=["null", "empty", "nan", "zero", "huge", "tiny", "two lengths"],
)
def test_odd_baselines_are_learned_or_left_out(values: list[object]) -> None:
    table = stream(2, START, 6).set_column(1, "emb", pa.array(values, pa.list_(pa.float64())))
    found = learned(table, SCHEMA, "classification")
    assert any(spec.column == "emb" for spec in found.specs)
