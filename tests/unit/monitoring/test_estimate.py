"""Accuracy estimated from confidence: right while confidences keep their meaning, and no judge of anything."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.monitoring.streams import SCHEMA, START, written

from assay.engines.duckdb import DuckDb
from assay.errors import BaselineError
from assay.monitoring.adhoc import monitor_tables
from assay.monitoring.baseline import Baseline
from assay.monitoring.estimate import ESTIMATED, Calibration, estimate
from assay.monitoring.summary import Interval

ENGINE = DuckDb()
NOW = START + timedelta(days=400)


def answers(days: int, *, first: int = 0, hard: float = 0.0, seed: int = 0, labels: bool = True) -> pa.Table:
    """Answers of a model whose confidence is the chance of being right, squared; ``hard`` rows make it unsure."""
    rng = np.random.default_rng(seed)
    n = days * 500
    p = np.clip(rng.beta(8 - 5 * hard, 2, n), 0.01, 0.999)
    y = rng.choice(["ham", "spam"], n)
    right = rng.random(n) < p**2
    wrong = np.where(y == "ham", "spam", "ham")
    start = START + timedelta(days=first)
    times = [start + timedelta(days=1) / 500 * at for at in range(n)]
    truth = pa.array(y.tolist() if labels else [None] * n, pa.string())
    return pa.table(
        {
            "ts": pa.array(times, pa.timestamp("us", tz="UTC")),
            "pred": np.where(right, y, wrong),
            "p": p,
            "y": truth,
            "right": right,
        }
    )


def test_rows_that_became_harder_are_seen_without_a_single_label(tmp_path: Path) -> None:
    reference = written(answers(30).drop_columns(["right"]), tmp_path / "r.parquet")
    live = answers(10, first=30, hard=1.0, seed=1, labels=False)
    said = monitor_tables(
        ENGINE,
        reference,
        written(live.drop_columns(["right"]), tmp_path / "c.parquet"),
        SCHEMA,
        window="1d",
        false_alarm_every=timedelta(days=365),
        now=NOW,
    )
    truth = np.array(live["right"]).reshape(10, 500).mean(axis=1)
    found = [window.values[ESTIMATED] for window in said.series]
    assert np.mean(truth) < 0.5 < np.mean(np.array(answers(30)["right"]))  # it did become hard
    assert np.abs([one.value for one in found] - truth).max() < 0.08
    # 95 % each: fewer than 8 of 10 inside has a chance of 1.2 %
    assert sum(one.low <= share <= one.high for one, share in zip(found, truth, strict=True)) >= 8
    assert all("accuracy" not in window.values for window in said.series)
    assert not any(alarm.signal == ESTIMATED for alarm in said.alarms)


def test_the_interval_knows_how_little_the_baseline_and_the_window_are() -> None:
    much, little = Calibration((800, 950), (1000, 1000)), Calibration((8, 9), (10, 10))

    def width(of: Interval | None) -> float:
        assert of is not None
        return of.high - of.low

    assert width(estimate(little, (50, 50))) > width(estimate(much, (50, 50))) > width(estimate(much, (5000, 5000)))
    same = estimate(much, (1000, 1000))
    assert same is not None
    assert same.value == pytest.approx(0.875, abs=0.002)


def test_a_window_without_confidence_has_no_estimate() -> None:
    assert estimate(Calibration((8, 9), (10, 10)), (0, 0)) is None


def test_a_bin_the_baseline_never_saw_is_a_coin_toss() -> None:
    found = estimate(Calibration((0, 900), (0, 1000)), (100, 0))
    assert found is not None
    assert found.value == pytest.approx(0.5)
    assert found.high - found.low > 0.9


def test_it_is_kept_with_the_baseline(tmp_path: Path) -> None:
    learned = Baseline.learn(ENGINE, written(answers(30), tmp_path / "r.parquet"), SCHEMA, window="1d", now=NOW)
    assert learned.calibration is not None
    table = answers(30)
    assert sum(learned.calibration.rows) == table.num_rows
    assert sum(learned.calibration.right) == int(np.array(table["right"]).sum())
    assert Baseline.parse(learned.to_json()) == learned


@pytest.mark.parametrize("right", [(3,), (3, 11), (-1, 2)], ids=["bins", "more right than rows", "negative"])
def test_a_malformed_one_is_refused(right: tuple[int, ...]) -> None:
    with pytest.raises(BaselineError, match="malformed"):
        Calibration.parse({"right": list(right), "rows": [10, 10]})
