from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assay.errors import StorageError, SuiteError, TableError
from assay.findings import Severity
from assay.frameworks.base import Prediction
from assay.validation.checks.asking import at_least, at_most
from assay.validation.checks.regression import Golden, MeanError, Metric
from assay.validation.report import Outcome

ROOT, OTHER = "aa" * 32, "bb" * 32
X = np.linspace(-3, 3, 200)


class Line:
    """Answers by a straight line: a class, or a number."""

    def __init__(self, at: float = 0.0, *, noise: float = 0.0, number: bool = False, sure: bool = True) -> None:
        self.at, self.noise, self.number, self.sure = at, noise, number, sure

    def predict(self, table: pa.Table) -> Prediction:
        x = table.column("x").to_numpy() - self.at
        p = 1 / (1 + np.exp(-x)) + self.noise
        if self.number:
            return Prediction(x + self.noise)
        labels = np.where(x > 0, "yes", "no")
        return Prediction(labels, np.where(x > 0, p, 1 - p) if self.sure else None)


class Constant:
    def __init__(self, labels: list[Any], confidence: float | None = None) -> None:
        self.labels, self.confidence = labels, confidence

    def predict(self, table: pa.Table) -> Prediction:
        n = table.num_rows
        sure = None if self.confidence is None else np.full(n, self.confidence)
        return Prediction(np.resize(np.array(self.labels), n), sure)


@pytest.fixture
def golden(tmp_path: Path) -> Golden:
    return Golden.record(Line(), pa.table({"x": X}), tmp_path / "sub" / "golden.parquet", ROOT)


def test_the_recorded_model_answers_as_recorded(golden: Golden) -> None:
    result = golden.run(Line(), model_root=ROOT)
    assert (result.outcome, result.findings) == (Outcome.PASS, ())
    assert result.numbers["rows"] == 200


def test_one_other_answer_is_named_by_its_row(golden: Golden) -> None:
    result = golden.run(Line(at=float(X[100]), sure=True), model_root=OTHER)
    assert result.outcome is Outcome.FAIL
    assert "1 of 200 recorded answers are others now: row 100." in result.detail
    assert result.findings[0].severity is Severity.ERROR


def test_the_same_bytes_with_other_answers_are_worse(golden: Golden) -> None:
    result = golden.run(Line(at=1), model_root=ROOT)
    assert result.findings[0].severity is Severity.CRITICAL
    assert "not deterministic" in result.detail


def test_confidences_are_compared_within_the_tolerance(golden: Golden, tmp_path: Path) -> None:
    assert golden.run(Line(noise=1e-9), model_root=OTHER).outcome is Outcome.PASS
    off = golden.run(Line(noise=1e-3), model_root=OTHER)
    assert off.outcome is Outcome.FAIL
    assert off.numbers["largest_confidence_difference"] == pytest.approx(1e-3)
    assert golden.run(Line(sure=False), model_root=OTHER).outcome is Outcome.FAIL
    assert golden.run(Line(noise=float("nan")), model_root=OTHER).outcome is Outcome.FAIL
    loose = Golden(tmp_path / "sub" / "golden.parquet", tolerance=0.01)
    assert loose.run(Line(noise=1e-3), model_root=OTHER).outcome is Outcome.PASS


def test_predicted_numbers_are_compared_within_the_tolerance(tmp_path: Path) -> None:
    golden = Golden.record(Line(number=True), pa.table({"x": X}), tmp_path / "g.parquet", ROOT)
    assert golden.run(Line(number=True, noise=1e-9), model_root=OTHER).outcome is Outcome.PASS
    assert golden.run(Line(number=True, noise=1e-3), model_root=OTHER).numbers["rows_differing"] == 200
    assert golden.run(Line(number=True, noise=float("nan")), model_root=OTHER).numbers["rows_differing"] == 200


def test_golden_answers_may_stand_in_a_csv_file(tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text("x,assay_prediction\n-1,no\n1,yes\n")
    golden = Golden(tmp_path / "g.csv")
    assert golden.run(Line(), model_root=ROOT).outcome is Outcome.PASS
    assert golden.run(Line(at=5), model_root=ROOT).numbers["rows_differing"] == 1


def test_golden_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no column 'assay_prediction'"):
        Golden(pa.table({"x": X}))
    with pytest.raises(SuiteError, match="tolerance"):
        Golden(pa.table({"x": X, "assay_prediction": X}), tolerance=-1)
    with pytest.raises(SuiteError, match="already have"):
        Golden.record(Line(), pa.table({"x": X, "assay_prediction": X}), tmp_path / "g.parquet", ROOT)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        Golden.record(Line(), pa.table({"x": X}), tmp_path / "file" / "g.parquet", ROOT)


def labelled(n: int, right: int) -> pa.Table:
    return pa.table({"x": np.ones(n), "y": ["yes"] * right + ["no"] * (n - right)})


@pytest.mark.parametrize(
    ("n", "right", "outcome"),
    [
        (1000, 950, Outcome.PASS),
        (1000, 850, Outcome.FAIL),
        (1000, 905, Outcome.INSUFFICIENT),
        (20, 20, Outcome.INSUFFICIENT),  # all right, yet twenty rows do not show nine in ten
        (30, 30, Outcome.PASS),
        (1000, 900, Outcome.INSUFFICIENT),
    ],
)
def test_a_metric_is_decided_by_its_interval(n: int, right: int, outcome: Outcome) -> None:
    result = Metric(labelled(n, right), "y", at_least=0.9).run(Constant(["yes"]), model_root=ROOT)
    assert result.outcome is outcome
    assert result.numbers["value"] == right / n
    assert bool(result.findings) is (outcome is not Outcome.PASS)


def test_recall_and_precision_count_their_own_rows() -> None:
    table = pa.table({"x": [1.0, 1, 1, -1, -1], "y": ["yes", "yes", "no", "yes", "no"]})
    recall = Metric(table, "y", at_least=0.5, metric="recall", positive="yes").run(Line(), model_root=ROOT)
    assert (recall.numbers["value"], recall.numbers["rows"]) == (2 / 3, 3)
    precision = Metric(table, "y", at_least=0.5, metric="precision", positive="no").run(Line(), model_root=ROOT)
    assert (precision.numbers["value"], precision.numbers["rows"]) == (1 / 2, 2)
    nothing = Metric(table, "y", at_least=0.5, metric="recall", positive="maybe").run(Line(), model_root=ROOT)
    assert nothing.outcome is Outcome.INSUFFICIENT


def test_labels_that_can_never_agree_are_an_error_and_not_a_bad_model() -> None:
    with pytest.raises(TableError, match="can never agree"):
        Metric(pa.table({"x": [1.0], "y": ["1"]}), "y", at_least=0.5).run(Constant([1]), model_root=ROOT)


def test_numbers_agree_across_types() -> None:
    result = Metric(pa.table({"x": X, "y": np.ones(200)}), "y", at_least=0.9).run(Constant([1]), model_root=ROOT)
    assert result.numbers["value"] == 1.0


def test_only_the_chosen_features_are_shown_to_the_model() -> None:
    class Nosy:
        def predict(self, table: pa.Table) -> Prediction:
            assert table.column_names == ["x"]
            return Prediction(np.ones(table.num_rows))

    table = pa.table({"x": X, "y": np.ones(200), "id": X})
    assert Metric(table, "y", at_least=0.9, features=["x"]).run(Nosy(), model_root=ROOT).outcome is Outcome.PASS
    with pytest.raises(TableError, match="no column 'z'"):
        Metric(table, "y", at_least=0.9, features=["z"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Metric(labelled(5, 5), "y", at_least=1.5),
        lambda: Metric(labelled(5, 5), "y", at_least=0.5, level=1.0),
        lambda: Metric(labelled(5, 5), "y", at_least=0.5, metric="f1"),  # type: ignore[arg-type] # what is tested
        lambda: Metric(labelled(5, 5), "y", at_least=0.5, metric="recall"),
        lambda: MeanError(labelled(5, 5), "y", at_most=float("nan")),
    ],
)
def test_limits_that_make_no_sense_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(SuiteError):
        make()


@pytest.mark.parametrize(
    ("noise", "n", "outcome"),
    [
        (0.1, 200, Outcome.PASS),
        (2.0, 200, Outcome.FAIL),
        (0.1, 20, Outcome.INSUFFICIENT),
        (float("nan"), 200, Outcome.FAIL),
    ],
)
def test_a_mean_error_is_decided_by_its_interval(noise: float, n: int, outcome: Outcome) -> None:
    check = MeanError(pa.table({"x": X[:n], "y": X[:n]}), "y", at_most=1.0)
    assert check.run(Line(number=True, noise=noise), model_root=ROOT).outcome is outcome


def test_a_mean_error_needs_numbers() -> None:
    with pytest.raises(TableError, match="must be numbers"):
        MeanError(labelled(5, 5), "y", at_most=1.0)
    with pytest.raises(TableError, match="must be numbers"):
        MeanError(pa.table({"x": X, "y": X}), "y", at_most=1.0).run(Line(), model_root=ROOT)


@pytest.mark.parametrize("rate", [0.85, 0.9])
def test_a_rate_at_or_below_the_limit_seldom_passes(rate: float) -> None:
    # 4,000 samples of 400 rows; promised 5 %, standard error 0.35 points; Wilson may exceed its level a little.
    rng = np.random.default_rng(7)
    passed = [at_least(int(k), 400, 0.9, 0.95)[0] is Outcome.PASS for k in rng.binomial(400, rate, 4000)]
    assert np.mean(passed) <= 0.065


def test_the_rows_said_to_be_needed_decide() -> None:
    outcome, _, _, needed = at_least(470, 500, 0.95, 0.95)
    assert outcome is Outcome.INSUFFICIENT
    assert needed > 500
    assert at_least(round(needed * 1.1 * 0.94), round(needed * 1.1), 0.95, 0.95)[0] is Outcome.FAIL
    assert at_most(30, 500, 0.05, 0.95)[3] == needed
