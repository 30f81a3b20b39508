"""The promise: in expectation at most one false alarm per budget over all signals of a model together.

Every cell simulates unchanged deployments with all signals on. Each states how many budgets it runs through; with one
false alarm a budget allowed, a bound of twice the budgets plus two fails a detector that keeps the promise in less
than 1 % of seeds (Poisson), and the seeds are fixed.
"""

from __future__ import annotations

import pytest
from tests.unit.monitoring.drifting import DriftingStream

from assay.monitoring.monitor import evaluate


def _alarms(stream: DriftingStream, baseline: int, live: int, budget: float) -> int:
    reference, windows = stream.windows(baseline, live)
    return len(evaluate(reference, windows, windows_per_alarm=budget).alarms)


def test_an_unchanged_stream_of_1000_windows_raises_no_alarm_at_one_in_10000() -> None:
    assert _alarms(DriftingStream(seed=101, features=10), 20, 1000, 10_000.0) == 0


@pytest.mark.parametrize(("baseline", "budgets"), [(1, 2), (3, 2), (7, 2)])
def test_a_short_baseline_keeps_the_budget_on_an_unchanged_stream(baseline: int, budgets: int) -> None:
    stream = DriftingStream(seed=102, features=10)
    assert _alarms(stream, baseline, 365 * budgets, 365.0) <= 2 * budgets + 2


def test_small_monthly_windows_keep_the_budget() -> None:
    # Windows of 30 rows, a budget of 12 windows, 20 budgets: an idle sum over look-backs would pass it every year.
    assert _alarms(DriftingStream(seed=103, features=8, rows=30), 60, 240, 12.0) <= 4


CELLS: dict[str, dict[str, float]] = {
    "independent days": {"feature_day_sd": 0.1, "rate_day_sd": 0.2},
    "days that persist": {"feature_day_sd": 0.1, "rate_day_sd": 0.2, "rho": 0.7},
    "weekdays": {"feature_day_sd": 0.1, "rate_day_sd": 0.2, "rho": 0.5, "weekday_sd": 2.0},
}


def test_natural_variation_of_a_deployment_raises_no_more_than_the_budget() -> None:
    # Two years against a budget of one a year.
    stream = DriftingStream(seed=104, features=8, **CELLS["days that persist"])  # type: ignore[arg-type]  # floats all
    assert _alarms(stream, 60, 730, 365.0) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("baseline", [28, 60])
def test_natural_variation_over_eight_years(cell: str, baseline: int) -> None:
    # 4 deployments x 730 days: 8 budgets. Measured: 0 or 1 alarm a cell.
    streams = [DriftingStream(seed=seed, **CELLS[cell]) for seed in range(1000, 1004)]  # type: ignore[arg-type]  # floats all
    total = sum(_alarms(stream, baseline, 730, 365.0) for stream in streams)
    assert total <= 8


@pytest.mark.slow
def test_five_unchanged_streams_of_2000_windows_raise_at_most_one_alarm_at_one_in_10000() -> None:
    total = sum(_alarms(DriftingStream(seed=seed), 20, 2000, 10_000.0) for seed in range(1000, 1005))
    assert total <= 1
