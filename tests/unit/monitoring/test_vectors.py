"""Vectors are watched along directions that the baseline fixes; what is no such vector is a finding."""

from __future__ import annotations

import json
import math
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.monitoring.kinds import LIVE, START, judged, learned, vectors, when

from assay.engines.made import Along
from assay.monitoring.baseline import Baseline
from assay.monitoring.schema import PredictionSchema

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
    assert len(names) == 1 + 8 + 8 + 2
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
