from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from assay.errors import SuiteError, TableError
from assay.frameworks.base import Prediction, Predictor
from assay.validation.checks.edge import EdgeCases
from assay.validation.checks.perturbation import Directional, Perturbation
from assay.validation.report import CheckResult, Outcome

ROOT = "aa" * 32
RNG = np.random.default_rng(11)
TABLE = pa.table(
    {
        "a": RNG.normal(size=400),
        "n": RNG.integers(1, 9, 400),
        "word": RNG.choice(["red", "blue"], 400),
        "y": [0, 1] * 200,
    }
)


class Answering:
    """A model written as one function from the columns a and n to a probability of class 1."""

    def __init__(self, rule: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        self.rule = rule

    def predict(self, table: pa.Table) -> Prediction:
        a, n = (np.asarray(table.column(name).cast(pa.float64()).to_numpy()) for name in ("a", "n"))
        p = np.asarray(self.rule(np.nan_to_num(a), np.nan_to_num(n)), dtype=np.float64)
        return Prediction((p > 0.5).astype(int), np.where(p > 0.5, p, 1 - p), np.column_stack([1 - p, p]), (0, 1))


def logistic(a: np.ndarray, n: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-3 * a - 0.1 * n))


class Estimator:
    """A real scikit-learn model on two columns."""

    def __init__(self, model: LogisticRegression | RandomForestClassifier) -> None:
        self.model = model.fit(self.matrix(TABLE), np.asarray(TABLE.column("a").to_numpy()) > 0)

    def matrix(self, table: pa.Table) -> np.ndarray:
        return np.column_stack([table.column(name).cast(pa.float64()).to_numpy() for name in ("a", "n")])

    def predict(self, table: pa.Table) -> Prediction:
        try:
            scores = self.model.predict_proba(self.matrix(table))
        except ValueError as err:
            raise TableError("the model cannot take these rows") from err
        at = scores.argmax(axis=1)
        return Prediction(np.asarray(self.model.classes_)[at], scores.max(axis=1), scores, tuple(self.model.classes_))


def edges(model: Predictor, nulls: Literal["answer", "refuse"] = "refuse") -> CheckResult:
    return EdgeCases(TABLE, label="y", nulls=nulls).run(model, model_root=ROOT)


def test_a_sound_model_answers_every_edge() -> None:
    result = edges(Answering(logistic), "answer")
    assert (result.outcome, result.findings) == (Outcome.PASS, ())
    # as is, single, 3 + all missing, zero, 2 x (2 + all), reversed, one by one, constant
    assert result.numbers == {"cases": 16, "refused": 0, "findings": 0}


def test_a_model_that_refuses_nulls_passes_only_where_it_may() -> None:
    model = Estimator(LogisticRegression())
    allowed = edges(model, "refuse")
    assert allowed.outcome is Outcome.PASS
    assert allowed.numbers["refused"] == 3
    asked = edges(model, "answer")
    assert asked.outcome is Outcome.FAIL
    assert {finding.subject for finding in asked.findings} == {"a missing", "n missing", "every feature missing"}


def test_a_forest_answers_every_edge() -> None:
    assert edges(Estimator(RandomForestClassifier(20, random_state=0)), "answer").outcome is Outcome.PASS


class ByBatch(Answering):
    """Centres its input by the batch's own mean: a classic mistake."""

    def __init__(self) -> None:
        super().__init__(lambda a, n: logistic(a - a.mean(), n))


class ByPlace(Answering):
    """Remembers its first row."""

    def __init__(self) -> None:
        super().__init__(lambda a, n: logistic(a - a[0], n))


UNSOUND: dict[str, tuple[Predictor, set[str]]] = {
    "mean of the batch": (ByBatch(), {"row by row"}),
    "first row remembered": (ByPlace(), {"rows reversed", "row by row"}),
    "confidence NaN at zero": (
        Answering(lambda a, n: np.where(n == 0, np.nan, logistic(a, n))),
        {"n missing", "every feature missing", "every number zero"},
    ),
    "confidence above one": (
        Answering(lambda a, n: np.where(a == a.max(), 1.5, 0.6) + 0 * n),
        {"rows as they are"},
    ),
    "random": (
        Answering(lambda a, n: np.random.default_rng().random(len(a)) + 0 * n),
        {"rows reversed", "row by row", "one row over and over"},
    ),
}


@pytest.mark.parametrize(("model", "named"), UNSOUND.values(), ids=UNSOUND)
def test_an_unsound_answer_is_named_by_its_case(model: Predictor, named: set[str]) -> None:
    result = edges(model, "answer")
    assert result.outcome is Outcome.FAIL
    assert named <= {finding.subject for finding in result.findings}


def test_a_crash_on_one_row_is_a_finding_and_not_the_end() -> None:
    class NeedsTwo(Answering):
        def predict(self, table: pa.Table) -> Prediction:
            if table.num_rows < 2:
                raise ZeroDivisionError
            return super().predict(table)

    found = edges(NeedsTwo(logistic))
    assert {finding.subject for finding in found.findings} == {"a single row", "row by row"}
    assert all("ZeroDivisionError" in finding.detail for finding in found.findings)


def test_missing_and_infinite_answers_are_unsound() -> None:
    class Regression:
        def __init__(self, answer: object) -> None:
            self.answer = answer

        def predict(self, table: pa.Table) -> Prediction:
            labels = np.zeros(table.num_rows, dtype=object)
            labels[0] = self.answer
            return Prediction(labels)

    for answer in (None, float("nan"), float("inf")):
        assert any("missing" in finding.detail for finding in edges(Regression(answer)).findings)


def perturbed(model: Predictor, noise_sd: float = 0.01, at_most: float = 0.05) -> CheckResult:
    return Perturbation(TABLE, noise_sd=noise_sd, at_most=at_most, label="y").run(model, model_root=ROOT)


def test_a_smooth_model_stays_under_noise_and_a_jagged_one_does_not() -> None:
    assert perturbed(Answering(logistic)).outcome is Outcome.PASS
    jagged = perturbed(Answering(lambda a, n: (np.floor(a * 1000) % 2) + 0 * n))
    assert jagged.outcome is Outcome.FAIL
    assert float(jagged.numbers["share"]) == pytest.approx(0.5, abs=0.1)


def test_few_rows_show_no_small_share() -> None:
    check = Perturbation(TABLE.slice(0, 20), at_most=0.05, label="y")
    result = check.run(Answering(logistic), model_root=ROOT)
    assert result.outcome is Outcome.INSUFFICIENT
    assert "rows would decide" in result.detail


def test_noise_reaches_the_named_columns_only_and_is_the_same_each_time() -> None:
    seen: list[pa.Table] = []

    class Watching(Answering):
        def predict(self, table: pa.Table) -> Prediction:
            seen.append(table)
            return super().predict(table)

    with_gap = TABLE.set_column(0, "a", pa.array([None, *TABLE.column("a").to_pylist()[1:]], pa.float64()))
    for _ in range(2):
        Perturbation(with_gap, columns=["a"], label="y").run(Watching(logistic), model_root=ROOT)
    plain, noisy, _, again = seen
    assert noisy.equals(again)
    assert plain.column("n").equals(noisy.column("n"))
    assert noisy.column("a").null_count == 1
    gap = np.asarray(plain.column("a").to_numpy()[1:]) - np.asarray(noisy.column("a").to_numpy()[1:])
    assert np.std(gap) == pytest.approx(0.01 * np.nanstd(plain.column("a").to_numpy()), rel=0.15)


def directed(direction: Literal["up", "down", "same"], column: str = "a", *, of: object = 1) -> CheckResult:
    check = Directional(TABLE, column, change=1.0, direction=direction, of=of, label="y")
    return check.run(Answering(logistic), model_root=ROOT)


def test_a_direction_is_kept_or_broken() -> None:
    assert directed("up").outcome is Outcome.PASS
    assert directed("down").outcome is Outcome.FAIL
    assert directed("same").outcome is Outcome.FAIL
    assert directed("down", of=0).outcome is Outcome.PASS
    assert directed("up", "n").outcome is Outcome.PASS


def test_a_class_the_model_does_not_score_cannot_be_judged() -> None:
    assert directed("up", of="spam").outcome is Outcome.INSUFFICIENT


def test_a_regression_is_judged_by_its_number() -> None:
    class Sum:
        def predict(self, table: pa.Table) -> Prediction:
            return Prediction(np.asarray(table.column("a").to_numpy()) * 2)

    check = Directional(TABLE, "a", change=-1.0, direction="down", label="y")
    assert check.run(Sum(), model_root=ROOT).outcome is Outcome.PASS
    other = Directional(TABLE, "n", change=1, direction="same", label="y")
    assert other.run(Sum(), model_root=ROOT).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Perturbation(TABLE, at_most=0, label="y"), "exactly 0"),
        (lambda: Perturbation(TABLE.select(["n", "y"]), label="y"), "no column holds"),
        (lambda: Perturbation(TABLE, noise_sd=0, label="y"), "noise_sd"),
        (lambda: Directional(TABLE, "a", change=0, direction="up"), "change"),
        (lambda: Directional(TABLE, "a", change=1, direction="left"), "direction"),  # type: ignore[arg-type] # tested
        (lambda: EdgeCases(TABLE, nulls="maybe"), "nulls"),  # type: ignore[arg-type] # what is tested
    ],
)
def test_settings_that_make_no_sense_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        make()


def test_a_column_that_cannot_be_moved_is_named() -> None:
    with pytest.raises(TableError, match="'word' holds string, wanted numbers"):
        Directional(TABLE, "word", change=1, direction="up")
    with pytest.raises(TableError, match="no column 'z'"):
        Directional(TABLE, "z", change=1, direction="up")
