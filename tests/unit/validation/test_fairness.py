from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest

from assay.errors import SuiteError, TableError
from assay.findings import Severity
from assay.frameworks.base import Prediction
from assay.inference.intervals import newcombe
from assay.validation.checks.fairness import Fairness, Gap, rows_needed
from assay.validation.report import CheckResult, Outcome

ROOT = "aa" * 32


class Said:
    """Answers what the column ``said`` holds: a model whose every decision the test chooses."""

    def predict(self, table: pa.Table) -> Prediction:
        return Prediction(np.asarray(table.column("said").to_numpy()))


def people(groups: dict[str, tuple[int, int]], wanted: int = 1) -> pa.Table:
    """For each group: how many rows, how many of them are called 1."""
    rows = [(name, int(at < called)) for name, (n, called) in groups.items() for at in range(n)]
    return pa.table({"g": [name for name, _ in rows], "said": [said for _, said in rows], "y": [wanted] * len(rows)})


def judged(table: pa.Table, metric: Literal["selection", "tpr", "accuracy"] = "selection", **more: Any) -> CheckResult:  # noqa: ANN401 - keyword arguments of many kinds
    label = None if metric == "selection" else "y"
    check = Fairness(
        table, label, more.pop("group", "g"), metric=metric, delta=more.pop("delta", 0.1), positive=1, **more
    )
    return check.run(Said(), model_root=ROOT)


def test_three_verdicts() -> None:
    assert judged(people({"a": (2000, 600), "b": (2000, 620)})).outcome is Outcome.PASS
    assert judged(people({"a": (2000, 600), "b": (2000, 1000)})).outcome is Outcome.FAIL
    few = judged(people({"a": (100, 30), "b": (100, 30)}))
    assert few.outcome is Outcome.INSUFFICIENT
    assert few.findings[0].severity is Severity.WARNING
    assert few.findings[0].numbers["rows_needed"] == rows_needed(0.3, 0.1, 0.025)


def test_a_gap_at_the_limit_is_not_promised_to_be_decided_by_more_rows() -> None:
    result = judged(people({"a": (2000, 600), "b": (2000, 800)}))
    assert result.outcome is Outcome.INSUFFICIENT
    assert "too near the limit" in result.findings[0].detail


def test_a_gap_inside_delta_that_is_no_accident_passes_or_fails_as_asked() -> None:
    table = people({"a": (20_000, 6000), "b": (20_000, 5200)})  # .30 against .26
    assert judged(table).outcome is Outcome.PASS
    harmed = judged(table, fail="excludes-zero")
    assert harmed.outcome is Outcome.FAIL
    assert [f.subject for f in harmed.findings if f.severity is Severity.ERROR] == ["b"]  # a is favoured, not harmed


def test_intervals_are_newcombe_s_shared_out_over_the_groups() -> None:
    table = people({"a": (500, 150), "b": (400, 160), "c": (300, 90)})
    finding = next(f for f in judged(table, delta=0.01).findings if f.subject == "b")
    low, high = newcombe(160, 400, 240, 800, 1 - 0.05 / 3)
    assert (finding.numbers["low"], finding.numbers["high"]) == pytest.approx((low, high))
    twice = judged(table, delta=0.01, looks=2)
    assert float(twice.numbers["level_each"]) == pytest.approx(1 - 0.025 / 3)


def test_a_named_reference_is_not_judged_itself() -> None:
    result = judged(people({"a": (500, 150), "b": (400, 160), "c": (300, 90)}), reference="a", delta=0.01)
    assert result.numbers["groups"] == 2
    finding = next(f for f in result.findings if f.subject == "b")
    low, high = newcombe(160, 400, 150, 500, 1 - 0.05 / 2)
    assert (finding.numbers["low"], finding.numbers["high"]) == pytest.approx((low, high))


def test_a_group_too_small_is_listed_and_never_dropped() -> None:
    result = judged(people({"a": (2000, 600), "b": (2000, 600), "c": (29, 0)}))
    assert result.outcome is Outcome.PASS
    assert [(f.rule, f.subject, f.numbers["rows"]) for f in result.findings] == [
        ("validation.fairness-group-small", "c", 29)
    ]
    assert "1 too small to judge" in result.detail


def test_one_group_or_a_small_reference_decides_nothing() -> None:
    assert judged(people({"a": (2000, 600)})).outcome is Outcome.INSUFFICIENT
    assert judged(people({"a": (2000, 600), "b": (5, 0)})).outcome is not Outcome.PASS
    small = people({"a": (2000, 600), "b": (2000, 600), "c": (5, 0)})
    assert judged(small, reference="c").outcome is Outcome.INSUFFICIENT


def test_rates_of_those_who_deserve_it_and_of_right_answers() -> None:
    table = pa.table(
        {
            "g": ["a"] * 400 + ["b"] * 400,
            "said": [1] * 300 + [0] * 100 + [1] * 100 + [0] * 300,
            "y": [1] * 200 + [0] * 200 + [1] * 200 + [0] * 200,
        }
    )
    tpr = judged(table, "tpr")
    assert tpr.outcome is Outcome.FAIL
    assert {f.subject: (f.numbers["rate"], f.numbers["rows"]) for f in tpr.findings} == {
        "a": (1.0, 200),
        "b": (0.5, 200),
    }
    assert judged(table, "accuracy").numbers["largest_gap"] == 0.0


def test_a_class_that_nobody_is_called_shows_nothing() -> None:
    table = people({"a": (5000, 2000), "b": (5000, 1000)})
    check = Fairness(table, None, "g", metric="selection", delta=0.1, positive="1")
    result = check.run(Said(), model_root=ROOT)
    assert result.outcome is Outcome.INSUFFICIENT
    assert "No row is called '1'" in result.detail


def test_missing_group_values_are_a_group_and_columns_can_be_crossed() -> None:
    table = people({"a": (100, 30), "b": (100, 30)})
    table = table.set_column(0, "g", pa.array(["a"] * 100 + [None] * 100))
    table = table.append_column("h", pa.array(["x", "z"] * 100))
    result = judged(table, group=["g", "h"], delta=0.01)
    assert {f.subject for f in result.findings} == {"g=a, h=x", "g=a, h=z", "g=(missing), h=x", "g=(missing), h=z"}


@pytest.mark.parametrize(
    ("low", "high", "fail", "outcome"),
    [
        (-0.09, 0.09, "outside", Outcome.PASS),
        (-0.1, 0.09, "outside", Outcome.INSUFFICIENT),
        (0.1, 0.2, "outside", Outcome.FAIL),
        (-0.2, -0.1, "outside", Outcome.FAIL),
        (-0.2, -0.01, "outside", Outcome.INSUFFICIENT),
        (-0.2, -0.01, "excludes-zero", Outcome.FAIL),
        (0.01, 0.09, "excludes-zero", Outcome.PASS),
        (-1.0, 1.0, "outside", Outcome.INSUFFICIENT),
    ],
)
def test_the_verdict_of_one_gap(low: float, high: float, fail: str, outcome: Outcome) -> None:
    assert Gap("g", 0.3, 0.3, low, high, 100).outcome(0.1, fail) is outcome


# Settings of the promise: (rows, groups), the first group 70 %, the rest equal; smallest group 45, 100, 27 (all
# judged with minimum=20), 500 and 2,000 rows.
SETTINGS = [(300, 3), (1000, 4), (1000, 12), (5000, 4), (20_000, 4)]


def simulated(
    rows: int, groups: int, gap: float, *, seed: int, runs: int, delta: float = 0.1
) -> list[tuple[Outcome, Outcome]]:
    """Verdicts of a model that selects 30 %, and ``gap`` less in the last group: (outside, excludes-zero)."""
    rng = np.random.default_rng(seed)
    sizes = np.array(
        [rows - (groups - 1) * int(0.3 * rows / (groups - 1)), *[int(0.3 * rows / (groups - 1))] * (groups - 1)]
    )
    rates = np.full(groups, 0.3)
    rates[-1] -= gap
    found = []
    for _ in range(runs):
        called = rng.binomial(sizes, rates)
        verdicts = []
        gaps = [
            newcombe(int(called[g]), int(sizes[g]), int(called[0]), int(sizes[0]), 1 - 0.05 / (groups - 1))
            for g in range(1, groups)
        ]
        for fail in ("outside", "excludes-zero"):
            each = {Gap("g", 0, 0, low, high, 0).outcome(delta, fail) for low, high in gaps}
            order = (Outcome.FAIL, Outcome.INSUFFICIENT, Outcome.PASS)
            verdicts.append(next(outcome for outcome in order if outcome in each))
        found.append((verdicts[0], verdicts[1]))
    return found


@pytest.mark.parametrize(("rows", "groups"), SETTINGS)
def test_a_fair_model_fails_at_most_as_often_as_promised(rows: int, groups: int) -> None:
    # 1,500 runs a setting: standard error at most 0.6 points; the promise is 5 %, one side of it with excludes-zero.
    found = simulated(rows, groups, 0.0, seed=rows + groups, runs=1500)
    assert np.mean([outside is Outcome.FAIL for outside, _ in found]) <= 0.005
    assert np.mean([harmed is Outcome.FAIL for _, harmed in found]) <= 0.05 + 3 * 0.006


@pytest.mark.parametrize(("rows", "groups"), SETTINGS)
def test_a_model_whose_gap_is_delta_passes_at_most_as_often_as_promised(rows: int, groups: int) -> None:
    found = simulated(rows, groups, 0.1, seed=rows + groups, runs=1000)
    assert np.mean([outside is Outcome.PASS for outside, _ in found]) <= 0.05 + 3 * 0.007


def test_with_rows_enough_a_fair_model_passes_and_an_unfair_one_fails() -> None:
    # Standard error 2 points.
    fair, unfair = (simulated(20_000, 4, gap, seed=5, runs=300) for gap in (0.0, 0.2))
    assert np.mean([outside is Outcome.PASS for outside, _ in fair]) >= 0.9
    assert np.mean([outside is Outcome.FAIL for outside, _ in unfair]) >= 0.99


def test_the_whole_check_keeps_the_promise_on_drawn_tables() -> None:
    # 200 tables of 1,000 rows against all others; promised at most 5 %, standard error 1.5 points.
    rng = np.random.default_rng(9)
    failed = 0
    for _ in range(200):
        table = pa.table({"g": rng.choice(["a", "b", "c"], 1000), "said": (rng.random(1000) < 0.3).astype(int)})
        failed += judged(table, fail="excludes-zero").outcome is Outcome.FAIL
    assert failed / 200 <= 0.05 + 3 * 0.015


def test_the_rows_said_to_be_needed_show_a_fair_model_fair() -> None:
    n = rows_needed(0.3, 0.1, 0.05)
    rng = np.random.default_rng(2)
    passed = 0
    for a, b in rng.binomial(n, 0.3, (500, 2)):
        low, high = newcombe(int(a), n, int(b), n, 0.95)
        passed += Gap("g", 0, 0, low, high, n).outcome(0.1, "outside") is Outcome.PASS
    # Power 0.9 on each side, so at least 0.8 on both; standard error 1.8 points.
    assert passed / 500 >= 0.77


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: Fairness(t, None, [], metric="selection", delta=0.1, positive=1), "at least one column"),
        (lambda t: Fairness(t, None, ["g", "g"], metric="selection", delta=0.1, positive=1), "named twice"),
        (lambda t: Fairness(t, None, "g", metric="selection", delta=0.1), "positive="),
        (lambda t: Fairness(t, None, "g", metric="accuracy", delta=0.1), "needs label="),
        (lambda t: Fairness(t, "y", "g", metric="odds", delta=0.1), "metric must be"),  # type: ignore[arg-type] # what is tested
        (lambda t: Fairness(t, "y", "g", metric="accuracy", delta=0), "delta"),
        (lambda t: Fairness(t, "y", "g", metric="accuracy", delta=0.1, reference="z"), "reference group 'z'"),
        (lambda t: Fairness(t, "y", "g", metric="accuracy", delta=0.1, minimum=1), "minimum"),
        (lambda t: Fairness(t, "y", "g", metric="accuracy", delta=0.1, looks=0), "looks"),
        (lambda t: Fairness(t, "y", "g", metric="accuracy", delta=0.1, fail="never"), "fail must be"),  # type: ignore[arg-type] # what is tested
    ],
)
def test_settings_that_make_no_sense_are_refused(make: Callable[[pa.Table], object], message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        make(people({"a": (5, 1), "b": (5, 1)}))


def test_a_missing_group_column_is_named() -> None:
    with pytest.raises(TableError, match="no column 'sex'"):
        Fairness(people({"a": (5, 1)}), None, "sex", metric="selection", delta=0.1, positive=1)
