"""Slices of two columns: where a fall hides that neither column shows by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.monitoring.streams import SCHEMA, START, requests, written

from assay.engines.duckdb import DuckDb
from assay.monitoring import crossing
from assay.monitoring.adhoc import monitor_tables
from assay.monitoring.baseline import Baseline

ENGINE = DuckDb()
CROSSED = replace(SCHEMA, slices=("region", "device"))
NOW = START + timedelta(days=400)


def with_device(table: pa.Table, *, seed: int = 9) -> pa.Table:
    rng = np.random.default_rng(seed)
    return table.append_column("device", pa.array(rng.choice(["phone", "desk", "kiosk"], table.num_rows).tolist()))


def spoiled(table: pa.Table, share: float) -> pa.Table:
    """Wrong answers to the north's phones only."""
    hit = (np.array(table["region"]) == "north") & (np.array(table["device"]) == "phone")
    hit &= np.random.default_rng(4).random(table.num_rows) < share
    answer = np.where(hit, np.where(np.array(table["y"]) == "sun", "rain", "sun"), np.array(table["pred"]))
    return table.set_column(table.column_names.index("pred"), "pred", pa.array(answer.tolist()))


def test_every_pair_of_values_with_enough_rows_is_watched_and_counted(tmp_path: Path) -> None:
    table = with_device(requests(20))
    learned = Baseline.learn(ENGINE, written(table, tmp_path / "r.parquet"), CROSSED, window="1d", now=NOW)
    pairs = {spec.name: spec.slice for spec in learned.specs if spec.slice and len(spec.slice) == 2}
    assert len(pairs) == 6
    name = "accuracy:slice:region=north&device=phone"
    assert pairs[name] == {"region": "north", "device": "phone"}
    inside = (np.array(table["region"]) == "north") & (np.array(table["device"]) == "phone")
    wrong = np.array(table["pred"]) != np.array(table["y"])
    counted = np.sum([window.counts[name] for window in learned.windows], axis=0)
    assert counted.tolist() == [(inside & ~wrong).sum(), (inside & wrong).sum()]


def test_a_crossing_that_falls_is_named_before_the_columns_it_crosses(tmp_path: Path) -> None:
    reference = written(with_device(requests(60)), tmp_path / "r.parquet")
    live = spoiled(with_device(requests(20, start=START + timedelta(days=60), seed=1), seed=8), 0.5)
    said = monitor_tables(
        ENGINE,
        reference,
        written(live, tmp_path / "c.parquet"),
        CROSSED,
        window="1d",
        false_alarm_every=timedelta(days=365),
        now=NOW,
    )
    slices = [alarm for alarm in said.alarms if alarm.family == "slices"]
    assert slices[0].slice == {"region": "north", "device": "phone"}


def test_what_goes_beyond_the_most_is_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossing, "MOST_SLICES", 8)
    table = with_device(requests(20))
    learned = Baseline.learn(ENGINE, written(table, tmp_path / "r.parquet"), CROSSED, window="1d", now=NOW)
    assert sum(spec.family == "slices" for spec in learned.specs) == 8
    (left,) = [finding for finding in learned.findings if finding.rule == "slices.left-out"]
    assert left.numbers == {"left_out": 3}


def test_a_crossing_of_few_rows_is_not_watched(tmp_path: Path) -> None:
    table = with_device(requests(20))
    rare = np.array(table["device"])
    rare[:25] = "watch"  # more than the least for the column, fewer than that with either region
    table = table.set_column(table.column_names.index("device"), "device", pa.array(rare.tolist()))
    learned = Baseline.learn(ENGINE, written(table, tmp_path / "r.parquet"), CROSSED, window="1d", now=NOW)
    names = {spec.name for spec in learned.specs}
    assert "accuracy:slice:device=watch" in names
    assert not any("&device=watch" in name for name in names)
