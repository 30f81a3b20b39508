"""Accuracy estimated from confidence: right while confidences keep their meaning, and no judge of anything."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.monitoring.streams import SCHEMA, START, written

from assay.engines.base import Source
from assay.engines.duckdb import DuckDb
from assay.errors import BaselineError
from assay.monitoring.adhoc import monitor_tables
from assay.monitoring.baseline import Baseline
from assay.monitoring.estimate import ESTIMATED, Calibration, estimate, learn_calibration, with_estimates
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.signals import SignalSpec, WindowCounts
from assay.monitoring.summary import Interval, WindowSummary

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


def test_the_interval_is_what_is_unknown_of_the_baseline_the_window_and_where_rows_moved() -> None:
    """More of forty rows are in the middle bin than before: its share may be off by half the larger step beside it."""
    found = estimate(Calibration((5, 80, 95), (10, 100, 100)), (0, 30, 10))
    assert found is not None
    middle, upper, lower = 80.5 / 101, 95.5 / 101, 5.5 / 11
    chance = 0.75 * middle * (1 - middle) + 0.25 * upper * (1 - upper)
    known = 0.75**2 * middle * (1 - middle) / 102 + 0.25**2 * upper * (1 - upper) / 102
    moved = (0.75 - 100 / 210) * (middle - lower) / 2  # more rows in the middle than before, fewer elsewhere
    half = 1.959964 * (known + chance / 40) ** 0.5 + moved
    assert found.value == pytest.approx(0.75 * middle + 0.25 * upper)
    assert (found.low, found.high) == pytest.approx((found.value - half, min(1.0, found.value + half)), abs=1e-6)


@pytest.mark.parametrize(("right", "low", "high"), [(0, 0.0, None), (4, None, 1.0)])
def test_an_interval_of_few_rows_stays_between_nothing_and_all(
    right: int, low: float | None, high: float | None
) -> None:
    found = estimate(Calibration((right,), (4,)), (2,))
    assert found is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert low is None or found.low == low
    assert high is None or found.high == high


@pytest.fixture(scope="module")
def specs() -> tuple[SignalSpec, ...]:
    return Baseline.learn(ENGINE, Source(table=answers(30)), SCHEMA, window="1d", now=NOW).specs


def _learned(
    specs: tuple[SignalSpec, ...], table: pa.Table, schema: PredictionSchema = SCHEMA, **changed: SignalSpec | None
) -> Calibration | None:
    """With some of the signals changed, or left out."""
    kept = [changed.get(spec.name, spec) for spec in specs]
    return learn_calibration(ENGINE, Source(table=table), schema, [spec for spec in kept if spec is not None])


def test_without_classes_labels_or_confidences_nothing_is_known(specs: tuple[SignalSpec, ...]) -> None:
    table = answers(2)
    (error,) = [spec for spec in specs if spec.name == "error"]
    number = replace(error, kind="ordered", column="y", edges=(1.0,))  # how far a predicted number is off
    assert _learned(specs, table) is not None
    assert _learned(specs, table, confidence=None) is None
    assert _learned(specs, table, error=None) is None
    assert _learned(specs, table, error=number) is None
    assert _learned(specs, table, replace(SCHEMA, label=None)) is None
    assert _learned(specs, table.slice(0, 0)) is None
    assert _learned(specs, answers(2, labels=False)) is None


def test_rows_without_a_label_or_a_confidence_do_not_count(specs: tuple[SignalSpec, ...]) -> None:
    table = answers(1)
    unlabelled = table.set_column(3, "y", pa.array([None] * 100 + table["y"].to_pylist()[100:], pa.string()))
    both = unlabelled.set_column(2, "p", pa.array(table["p"].to_pylist()[:450] + [None] * 50, pa.float64()))
    found, whole = _learned(specs, both), _learned(specs, table.slice(100, 350))
    assert found is not None
    assert sum(found.rows) == 350
    assert found == whole


def test_a_window_counted_in_other_bins_has_no_estimate() -> None:
    windows = [WindowCounts(f"2026-01-0{day}", "", 4, counts) for day, counts in enumerate(COUNTED, 1)]
    series = [WindowSummary(one.start, one.end, 4, {}) for one in windows]
    found = with_estimates(series, windows, Calibration((8, 9), (10, 10)))
    assert [ESTIMATED in one.values for one in found] == [True, False, False, False]
    assert with_estimates(series, windows, None) == tuple(series)


COUNTED: tuple[dict[str, tuple[int, ...]], ...] = (
    {"confidence": (2, 2)},
    {"confidence": (1, 1, 2)},
    {"confidence": (0, 0)},
    {"error": (2, 2)},
)
