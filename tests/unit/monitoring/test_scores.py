"""Regressions, ranked lists and scores of a class are judged by sums of counts."""

from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.monitoring.kinds import LIVE, START, judged, learned, put, when

from assay.errors import BaselineError, ConfigError
from assay.monitoring.baseline import Baseline
from assay.monitoring.learning import Task
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.scores import area

ROWS = 200
REGRESSION = PredictionSchema(time="ts", prediction="pred", label="y", slices=("region",))
BINARY = PredictionSchema(time="ts", prediction="score", label="y")
RANKING = PredictionSchema(time="ts", prediction="score", label="relevance", query="q")


def regression(days: int, start: datetime, seed: int, *, bias: float = 0.0, only: str = "") -> pa.Table:
    rng = np.random.default_rng(seed)
    n = days * ROWS
    x, region = rng.normal(size=n), rng.choice(["north", "south"], n)
    moved = np.where((region == only) | (not only), bias, 0.0)
    y = 10 * x + rng.normal(0, 2, n) + moved
    return pa.table({"ts": when(days, ROWS, start), "x": x, "region": region, "pred": 10 * x, "y": y})


def binary(days: int, start: datetime, seed: int, *, skill: float = 2.0, lift: float = 0.0) -> pa.Table:
    rng = np.random.default_rng(seed)
    n = days * ROWS
    y = (rng.random(n) < 0.3).astype(int)
    score = 1 / (1 + np.exp(-(skill * y - 1.2 + lift + rng.normal(size=n))))
    return pa.table({"ts": when(days, ROWS, start), "score": score, "y": y})


def ranking(days: int, start: datetime, seed: int, *, skill: float = 1.5) -> pa.Table:
    rng = np.random.default_rng(seed)
    n = days * ROWS
    relevance = rng.choice([0, 1, 3], n, p=[0.7, 0.2, 0.1])
    q = np.arange(n) // 10
    return pa.table(
        {"ts": when(days, ROWS, start), "q": q, "score": skill * relevance + rng.normal(size=n), "relevance": relevance}
    )


def test_a_bias_is_found_and_named_in_the_unit_of_the_label() -> None:
    reference, live = regression(28, START, 1), regression(10, LIVE, 2, bias=1.0)
    found = judged(reference, live, REGRESSION, "regression")
    assert "residual" in {alarm.signal for alarm in found.alarms}
    assert found.series[-1].values["residual"].value == pytest.approx(0.9, abs=0.35)
    assert judged(reference, regression(14, LIVE, 3), REGRESSION, "regression").alarms == ()


def test_a_bias_within_the_tolerance_is_none_and_beyond_it_one() -> None:
    schema = PredictionSchema(time="ts", prediction="pred", label="y", tolerance=1.0)
    reference = regression(28, START, 1)
    calm = judged(reference, regression(20, LIVE, 2, bias=0.8), schema, "regression")
    assert not [alarm for alarm in calm.alarms if alarm.family == "errors"]
    loud = judged(reference, regression(20, LIVE, 2, bias=2.5), schema, "regression")
    assert "residual" in {alarm.signal for alarm in loud.alarms}
    assert loud.tolerances["residual"].high - loud.tolerances["residual"].value == 1.0


def test_a_bias_of_one_slice_is_named() -> None:
    found = judged(regression(28, START, 1), regression(12, LIVE, 2, bias=2.0, only="south"), REGRESSION, "regression")
    slices = {alarm.signal: alarm.slice for alarm in found.alarms if alarm.family == "slices"}
    assert slices.get("residual:slice:region=south") == {"region": "south"}
    assert "residual:slice:region=north" not in slices


def test_a_score_that_ranks_worse_is_found_by_sums() -> None:
    reference = binary(28, START, 1)
    assert judged(reference, binary(14, LIVE, 2), BINARY, "binary").alarms == ()
    found = judged(reference, binary(10, LIVE, 3, skill=1.0), BINARY, "binary")
    assert "ranking:positives" in {alarm.signal for alarm in found.alarms}
    assert (
        found.series[-1].values["auc"].value
        < judged(reference, binary(3, LIVE, 4), BINARY, "binary").series[-1].values["auc"].value
    )


def test_a_score_that_means_something_else_is_miscalibrated() -> None:
    found = judged(binary(28, START, 1), binary(12, LIVE, 5, lift=1.0), BINARY, "binary")
    assert any(alarm.signal.startswith("calibration:") for alarm in found.alarms)


def test_the_area_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    positives, negatives = rng.integers(0, 20, 7).astype(float), rng.integers(0, 20, 7).astype(float)
    wins = sum(
        p * n * (1.0 if i > j else 0.5 if i == j else 0.0)
        for i, p in enumerate(positives)
        for j, n in enumerate(negatives)
    )
    found = area(positives, negatives)
    assert found is not None
    assert found[0] == pytest.approx(wins / (positives.sum() * negatives.sum()))
    assert found[1] < found[0] < found[2]
    assert area(positives, np.zeros(7)) is None


@pytest.mark.parametrize(
    ("labels", "positive", "said"),
    [
        (["a", "b"], None, "which label"),
        (["a", "b"], "c", "never says"),
        (["a", "b", "c"], "a", "3 labels"),
        (["1", "true"], None, "which label"),
    ],
)
def test_what_is_positive_must_be_known(labels: list[str], positive: str | None, said: str) -> None:
    table = binary(2, START, 1)
    table = put(table, "y", [labels[i % len(labels)] for i in range(table.num_rows)])
    schema = PredictionSchema(time="ts", prediction="score", label="y", positive=positive)
    with pytest.raises(BaselineError, match=said):
        learned(table, schema, "binary")


def test_queries_that_are_ranked_worse_are_found() -> None:
    reference = ranking(28, START, 1)
    assert judged(reference, ranking(14, LIVE, 2), RANKING, "ranking").alarms == ()
    found = judged(reference, ranking(12, LIVE, 3, skill=0.4), RANKING, "ranking")
    assert {"ndcg", "mrr"} & {alarm.signal for alarm in found.alarms}
    assert 0 < found.series[0].values["ndcg"].value < 1


def test_without_a_query_column_the_scores_are_watched_and_that_is_said() -> None:
    schema = PredictionSchema(time="ts", prediction="score", label="relevance")
    found = learned(ranking(3, START, 1), schema, "ranking")
    assert "ranking.no-query" in {finding.rule for finding in found.findings}
    assert "prediction" in {spec.name for spec in found.specs}


@pytest.mark.parametrize("task", ["regression", "binary", "ranking"])
def test_baselines_of_every_task_come_back_from_json(task: Task) -> None:
    cases: dict[str, tuple[pa.Table, PredictionSchema]] = {
        "regression": (regression(3, START, 1), REGRESSION),
        "binary": (binary(3, START, 1), BINARY),
        "ranking": (ranking(3, START, 1), RANKING),
    }
    found = learned(*cases[task], task)
    assert Baseline.parse(json.dumps(found.to_json())) == found


def test_a_tolerance_is_a_number() -> None:
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="tolerance"):
            PredictionSchema(time="ts", prediction="p", label="y", tolerance=wrong)
    with pytest.raises(ConfigError, match="tolerance"):
        PredictionSchema.parse({"time": "ts", "prediction": "p", "tolerance": "much"})
