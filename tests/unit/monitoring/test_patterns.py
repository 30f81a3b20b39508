"""What the baseline itself does: seasons are told and used, a trend is told and not excused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from statistics import median

import pytest
from tests.unit.monitoring import clocked
from tests.unit.monitoring.clocked import ClockedStream
from tests.unit.monitoring.drifting import DriftingStream

from assay.monitoring import watching
from assay.monitoring.calendar import Cycle
from assay.monitoring.monitor import evaluate
from assay.monitoring.patterns import about_trends, patterns_of

DAY = timedelta(days=1)
YEAR = 8760.0
MOVING = ClockedStream(seed=1, span=DAY, rows=1000, features=1, day_sd=0.05, trend=0.25)


def test_hours_are_told_with_their_extremes() -> None:
    reference, _ = ClockedStream(seed=1, hours=0.3).windows(24 * 14, 0)
    found = {one.signal: one for one in patterns_of(reference)}
    assert {one.season for one in found.values()} == {"hour"}
    assert set(found) == {spec.name for spec in reference.specs}
    volume = found["volume"]
    assert volume.strength > 0.9
    assert volume.least[1] < 130
    assert volume.most[1] > 300
    assert volume.to_json()["most"] == {"at": volume.most[0], "share": volume.most[1]}
    hours = int(volume.most[0][:2]), int(volume.least[0][:2])
    assert 9 <= abs(hours[0] - hours[1]) <= 15  # a wave a day: twelve hours apart


def test_no_pattern_is_told_where_there_is_none() -> None:
    # 10 baselines, 1 % each and kind: one or two false ones are allowed.
    streams = [ClockedStream(seed=seed, day_sd=0.05).windows(24 * 14, 0)[0] for seed in range(10)]
    assert sum(bool(patterns_of(one)) for one in streams) <= 2
    assert patterns_of(replace(streams[0], window="1000rows")) == ()


def test_what_is_the_same_in_every_window_is_no_pattern() -> None:
    stream, _ = ClockedStream(seed=1, span=DAY, rows=1000).windows(70, 0)
    windows = tuple(replace(one, rows=24, counts={**one.counts, "volume": (24,)}) for one in stream.windows)
    assert "volume" not in {one.signal for one in patterns_of(replace(stream, windows=windows))}


def test_a_baseline_that_moves_says_so_and_what_to_take() -> None:
    (found,) = about_trends(MOVING.windows(90, 0)[0])
    assert (found.rule, found.subject) == ("baseline.trend", "error")
    assert "+2." in found.detail
    assert "points a month" in found.detail
    assert found.numbers["first"] == pytest.approx(0.078, abs=0.01)
    assert found.numbers["last"] == pytest.approx(0.152, abs=0.02)
    assert "newer reference" in found.detail


def test_traffic_that_grows_is_told_in_rows() -> None:
    reference, _ = DriftingStream(seed=3, features=1, classes=2).windows(60, 0)
    grown = [replace(one, rows=one.rows + 8 * place) for place, one in enumerate(reference.windows)]
    (found,) = [one for one in about_trends(replace(reference, windows=tuple(grown))) if one.subject == "volume"]
    assert "rows a window" in found.detail
    assert found.numbers["per_month"] == pytest.approx(240, abs=20)


def test_days_that_persist_are_no_trend() -> None:
    # 10 baselines of 60 days, autocorrelation .7: 1 % each and kind is allowed.
    streams = [DriftingStream(seed=s, features=4, feature_day_sd=0.1, rate_day_sd=0.2, rho=0.7) for s in range(10)]
    assert sum(bool(about_trends(one.windows(60, 0)[0])) for one in streams) <= 1


def test_a_trend_of_the_baseline_does_not_excuse_as_much_drift_again() -> None:
    # Errors went from 8 to 15 % and stay there: the mean was 11 %.
    reference, live = MOVING.windows(90, 30)
    (alarm,) = [one for one in evaluate(reference, live).alarms if one.signal == "error"]
    assert [window.start for window in live].index(alarm.window) <= 5


def _without(*_: object) -> tuple[Cycle, ...]:
    return ()


@pytest.mark.slow
def test_hours_of_the_day_cost_no_false_alarms_and_a_shift_is_found_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    # 4 deployments of 60 days of hourly windows, one alarm a year allowed: .66 budgets; 3 or more in 3 % of seeds.
    # A shift of the error by .7 in log-odds, from 8 to 15 %: the median of 8 runs, in hours.
    stream = ClockedStream(seed=0, hours=0.3)
    worse = replace(stream, worse=0.7, at=24 * 5 + 9)

    def judged() -> tuple[int, float]:
        alarms, delays = 0, []
        for seed in range(4):
            reference, live = replace(stream, seed=seed).windows(24 * 28, 24 * 60)
            alarms += len(evaluate(reference, live, windows_per_alarm=YEAR).alarms)
        for seed in range(8):
            reference, live = replace(worse, seed=seed).windows(24 * 28, 24 * 12)
            starts = [window.start for window in live]
            found = [a for a in evaluate(reference, live, windows_per_alarm=YEAR).alarms if a.signal == "error"]
            delays.append(starts.index(found[0].window) - worse.at + 1 if found else 24 * 12)
        return alarms, median(delays)

    alarms, delay = judged()
    monkeypatch.setattr(watching, "cycles_of", _without)
    blind, later = judged()
    assert alarms <= 2
    assert blind <= 2
    assert delay <= 8
    assert later >= 2 * delay


def test_the_simulator_moves_only_while_it_is_told_to() -> None:
    _, live = MOVING.windows(90, 60)
    _, onward = replace(MOVING, onward=True).windows(90, 60)
    errors = [sum(one.counts["error"][1] for one in windows[-20:]) for windows in (live, onward)]
    assert errors[1] > 1.2 * errors[0]
    assert clocked.EDGES[0] < 0
