"""Which seasons there are: by the length of windows and of the baseline."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.monitoring.clocked import ClockedStream
from tests.unit.monitoring.drifting import MONDAY

from assay.monitoring.calendar import calendar_of, cycles_of, told
from assay.monitoring.clock import DAY
from assay.monitoring.floors import Floors
from assay.monitoring.monitor import evaluate
from assay.monitoring.signals import WindowCounts
from assay.monitoring.watching import carried, frame_of, parts_of

HOUR = timedelta(hours=1)


def _windows(number: int, span: timedelta) -> list[WindowCounts]:
    starts = [MONDAY + i * span for i in range(number)]
    return [WindowCounts(f"{at:%Y-%m-%dT%H:%M:%SZ}", f"{at + span:%Y-%m-%dT%H:%M:%SZ}", 1) for at in starts]


@pytest.mark.parametrize(
    ("span", "number", "there"),
    [
        (DAY, 55, []),
        (DAY, 56, ["weekday"]),
        (DAY, 725, ["weekday"]),
        (DAY, 800, ["weekday", "month"]),
        (HOUR, 24 * 7, []),
        (HOUR, 24 * 8, ["hour"]),
        (HOUR, 24 * 56, ["hour", "weekday", "hour of the week"]),
        (timedelta(hours=6), 4 * 8, ["hour"]),
        (timedelta(minutes=10), 6 * 24 * 8, ["hour"]),
        (timedelta(hours=5), 400, ["weekday"]),
        (timedelta(days=7), 60, []),
        (timedelta(days=7), 120, ["month"]),
        (timedelta(days=90), 40, []),
    ],
)
def test_a_season_is_learned_when_it_has_come_back_often_enough(span: timedelta, number: int, there: list[str]) -> None:
    windows = _windows(number, span)
    assert [one.name for one in cycles_of(span) if told(one, windows, span)] == there


def test_a_live_window_has_the_stratum_of_its_hour_whatever_the_baseline_began_with() -> None:
    windows = _windows(24 * 20, HOUR)
    cycles = [one for one in cycles_of(HOUR) if one.always]
    calendar, at = calendar_of(cycles, windows[: 24 * 15], windows[24 * 15 + 5 :])
    assert calendar is not None
    assert (calendar.at[:24] == list(range(24))).all()
    assert at[0] == 5
    assert calendar_of((), windows, windows[:3])[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("pattern", "used"),
    [
        ({}, ["hour"]),
        ({"hours": 0.3}, ["hour"]),
        ({"weekdays": 0.3}, ["hour", "weekday"]),
        ({"both": 0.3}, ["hour", "weekday", "hour of the week"]),
    ],
)
def test_finer_seasons_are_used_only_where_the_data_carry_them(pattern: dict[str, float], used: list[str]) -> None:
    stream = ClockedStream(seed=3, day_sd=0.05, **pattern)  # type: ignore[arg-type]  # floats all
    reference, _ = stream.windows(24 * 56, 0)
    assert [one.name for one in carried(reference.specs, reference.windows, HOUR)] == used


def test_months_are_used_when_they_come_back() -> None:
    seasonal = ClockedStream(seed=4, span=DAY, months=0.4, day_sd=0.05, features=1)
    reference, live = seasonal.windows(800, 100)
    assert evaluate(reference, live).alarms == ()
    frame = frame_of(reference, live, specs=reference.specs, windows_per_alarm=365.0, span=DAY, floors=Floors())
    parts = parts_of(reference, specs=reference.specs, weight=[0.1] * 4, frame=frame)
    assert {len(part.natural.strata) for mine in parts for part in mine} == {84}


def test_a_change_at_one_hour_is_measured_against_that_hour() -> None:
    stream = ClockedStream(seed=5, hours=0.5, worse=1.5, at=24 * 3)
    reference, live = stream.windows(24 * 14, 24 * 5)
    alarm = next(one for one in evaluate(reference, live, windows_per_alarm=8760.0).alarms if one.signal == "error")
    assert alarm.since >= live[24 * 3 - 1].start
    assert alarm.low > 0.05
