from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.monitoring.drifting import Change, DriftingStream, Normal

from assay.errors import BaselineError, ConfigError
from assay.monitoring.detectors.rate import Rate
from assay.monitoring.floors import SENSITIVE, Floors
from assay.monitoring.monitor import evaluate
from assay.monitoring.signals import SignalSpec, WindowCounts

SMALL = DriftingStream(seed=1, features=3, classes=4)


def _index(windows: tuple[WindowCounts, ...], start: str) -> int:
    return next(i for i, w in enumerate(windows) if w.start == start)


def test_the_same_counts_give_the_same_answer_in_any_order() -> None:
    reference, live = replace(SMALL, change=Change(at=5, error_to=0.15)).windows(20, 15)
    once = evaluate(reference, live)
    assert once.alarms
    assert evaluate(reference, live) == once
    assert evaluate(reference, tuple(reversed(live))) == once


def test_what_was_said_then_is_said_later_too() -> None:
    reference, live = replace(SMALL, change=Change(at=5, error_to=0.15, feature_sd=0.3)).windows(20, 40)
    whole = evaluate(reference, live).alarms
    assert len(whole) >= 2
    for end in (8, 10, 20):
        then = evaluate(reference, live[:end]).alarms
        assert [replace(a, until=None) for a in then] == [replace(a, until=None) for a in whole[: len(then)]]


def test_months_that_vary_do_not_hide_a_model_that_fails() -> None:
    # A year of months whose error wanders between 2 and 14 % (hourly rows, real ones); then 23 to 36 %.
    wrong = (4, 10, 36, 17, 49, 27, 32, 27, 37, 31, 30, 38)
    worse = (167, 262, 254, 162, 164)
    specs = (SignalSpec("error", "errors", "rate", "label", sides="up"),)
    frame = replace(SMALL, span=timedelta(days=30)).windows(0, 17)[1]
    counted = [replace(w, counts={"error": (340 - n, n)}) for w, n in zip(frame[:12], wrong, strict=True)]
    live = [replace(w, counts={"error": (720 - n, n)}) for w, n in zip(frame[12:], worse, strict=True)]
    (alarm,) = evaluate(Normal(specs, tuple(counted)), live).alarms
    assert _index(tuple(live), alarm.window) <= 3


def test_a_budget_is_a_time_over_the_length_of_a_window() -> None:
    reference, live = SMALL.windows(20, 2)
    assert evaluate(reference, live).budget.windows_per_alarm == 365
    assert evaluate(reference, live, false_alarm_every=timedelta(days=90)).budget.windows_per_alarm == 90
    assert evaluate(reference, live, windows_per_alarm=1000.0).budget.false_alarm_every == timedelta(days=1000)
    assert evaluate(reference, live).budget.signals == len(reference.specs)


def test_windows_of_rows_take_their_length_from_the_baseline() -> None:
    reference, live = replace(SMALL, span=timedelta(hours=6)).windows(20, 2)
    by_rows = replace(reference, window="1000rows")
    result = evaluate(by_rows, live)
    assert result.budget.windows_per_alarm == pytest.approx(4 * 365)
    assert result.budget.signals == len(reference.specs) - 1  # their number of rows is what it is


@pytest.mark.parametrize(
    "budget",
    [
        {"false_alarm_every": timedelta(0)},
        {"windows_per_alarm": -1.0},
        {"windows_per_alarm": float("nan")},
        {"windows_per_alarm": 10.0, "false_alarm_every": timedelta(days=10)},
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(budget: dict[str, float]) -> None:
    reference, live = SMALL.windows(20, 2)
    with pytest.raises(ConfigError):
        evaluate(reference, live, **budget)  # type: ignore[arg-type]  # the point of the test


def test_a_window_longer_than_the_budget_is_judged_by_ten_windows_and_says_so() -> None:
    reference, live = SMALL.windows(20, 2)
    result = evaluate(reference, live, false_alarm_every=timedelta(hours=12))
    assert result.budget.windows_per_alarm == 10
    assert result.budget.false_alarm_every == timedelta(hours=12)
    (told,) = [one.detail for one in result.findings if one.rule == "monitor.budget-raised"]
    assert "a window lasts 1 day and the budget is one false alarm in 12 hours" in told


def test_a_part_of_a_window_at_either_end_is_no_alarm() -> None:
    reference, live = SMALL.windows(60, 10)
    part = {name: tuple(n // 6 for n in counts) for name, counts in live[0].counts.items()}
    ends = [replace(w, rows=w.rows // 6, counts=part) for w in (live[0], live[-1])]
    assert evaluate(reference, (ends[0], *live[1:-1], ends[1])).alarms == ()


def test_an_empty_baseline_is_an_error() -> None:
    reference, live = SMALL.windows(20, 2)
    for empty in (Normal(reference.specs, ()), Normal((), reference.windows)):
        with pytest.raises(BaselineError):
            evaluate(empty, live)


def test_windows_without_duration_need_a_budget_in_windows() -> None:
    reference, live = replace(SMALL, span=timedelta(0)).windows(20, 2)
    with pytest.raises(BaselineError, match="no duration"):
        evaluate(reference, live)
    assert evaluate(reference, live, windows_per_alarm=100.0).windows == 2


def test_a_time_that_is_none_is_refused_by_name() -> None:
    reference, live = SMALL.windows(20, 2)
    odd = (replace(reference.windows[0], start="yesterday"), *reference.windows[1:])
    with pytest.raises(BaselineError, match="yesterday"):
        evaluate(replace(reference, windows=odd), live)


def test_no_windows_yet_is_an_answer() -> None:
    reference, _ = SMALL.windows(20, 0)
    result = evaluate(reference, ())
    assert (result.windows, result.alarms, result.series, result.silent) == (0, (), (), False)


def test_it_says_who_since_when_and_how_big() -> None:
    reference, live = replace(SMALL, change=Change(at=20, error_to=0.2)).windows(60, 40)
    (alarm,) = [a for a in evaluate(reference, live).alarms if a.signal == "error"]
    assert abs(_index(live, alarm.since) - 20) <= 1
    assert 20 <= _index(live, alarm.window) <= 23
    assert alarm.low < 0.15 < alarm.high
    assert alarm.size == pytest.approx(0.15, abs=0.03)
    assert alarm.baseline_size == pytest.approx(0.05, abs=0.005)
    assert (alarm.direction, alarm.family, alarm.slice, alarm.until) == ("up", "errors", None, None)
    assert alarm.log_e > 0
    assert alarm.detail.startswith("wrong answers: ")
    assert f"{100 * alarm.size:+.2f} points" in alarm.detail


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (SignalSpec("error", "errors", "rate", "y"), "wrong answers"),
        (SignalSpec("accuracy:class=a", "classes", "rate", "y", values=("a",)), "wrong answers where class=a"),
        (SignalSpec("accuracy:slice:s=a&t=b", "slices", "rate", "s"), "wrong answers where s=a&t=b"),
        (
            SignalSpec("accuracy:slice:s=a", "slices", "rate", "s", edges=(3.0,)),
            "larger errors than nearly all where s=a",
        ),
        (SignalSpec("failures", "service", "rate", ""), "failures"),
    ],
)
def test_what_rises_where_accuracy_falls_is_called_by_its_name(spec: SignalSpec, words: str) -> None:
    assert {question.label for question in Rate().questions(spec)} == {words}


def test_an_alarm_ends_when_the_stream_is_as_before() -> None:
    reference, live = replace(SMALL, change=Change(at=0, error_to=0.3)).windows(60, 8)
    _, calm = SMALL.windows(60, 30)
    later = [replace(w, start=_later(w.start, 8), end=_later(w.end, 8)) for w in calm]
    (alarm,) = [a for a in evaluate(reference, (*live, *later)).alarms if a.signal == "error"]
    assert alarm.until is not None
    assert alarm.until > later[0].end


def _later(text: str, days: int) -> str:
    return (datetime.fromisoformat(text) + timedelta(days=days)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_a_number_that_falls_is_said_to_fall() -> None:
    reference, live = replace(SMALL, change=Change(at=3, feature_sd=-0.6)).windows(60, 10)
    (alarm,) = evaluate(reference, live).alarms
    assert (alarm.signal, alarm.direction) == ("feature:f0", "down")


def test_a_class_that_falls_while_the_whole_is_steady_is_silent() -> None:
    reference, live = DriftingStream(seed=2, features=2, change=Change(at=5, class_error_to=0.5)).windows(30, 15)
    result = evaluate(reference, live)
    assert [a.signal for a in result.alarms] == ["accuracy:class=0"]
    assert result.silent


def test_a_class_that_falls_with_the_whole_is_not_silent() -> None:
    change = Change(at=5, class_error_to=0.5, error_to=0.3)
    reference, live = DriftingStream(seed=2, features=2, change=change).windows(30, 15)
    result = evaluate(reference, live)
    assert {"error", "accuracy:class=0"} <= {a.signal for a in result.alarms}
    assert not result.silent


@pytest.mark.parametrize(
    ("windows", "rule"),
    [(1, "monitor.baseline-short"), (13, "monitor.baseline-short"), (14, "monitor.baseline-brief"), (56, None)],
)
def test_a_short_baseline_says_what_it_cannot_know(windows: int, rule: str | None) -> None:
    reference, live = SMALL.windows(windows, 3)
    rules = [f.rule for f in evaluate(reference, live).findings if f.subject == "baseline"]
    assert rules == ([rule] if rule else [])


def test_labels_that_have_not_come_are_said_and_raise_nothing() -> None:
    reference, live = SMALL.windows(60, 30)
    late = tuple(replace(w, counts={k: v for k, v in w.counts.items() if k != "error"}) for w in live)
    result = evaluate(reference, late, windows_per_alarm=12.0)
    assert result.alarms == ()
    assert [f.subject for f in result.findings if f.rule == "monitor.no-rows"] == ["error"]
    assert all("accuracy" not in s.values for s in result.series)


def test_a_signal_that_the_baseline_never_saw_is_said_not_to_be_judged() -> None:
    reference, live = SMALL.windows(60, 3)
    without = tuple(replace(w, counts={k: v for k, v in w.counts.items() if k != "error"}) for w in reference.windows)
    result = evaluate(replace(reference, windows=without), live)
    assert [f.subject for f in result.findings if f.rule == "monitor.not-judged"] == ["error"]


def test_traffic_that_stops_is_an_alarm_in_the_first_windows() -> None:
    reference, live = SMALL.windows(60, 10)
    gone = tuple(WindowCounts(w.start, w.end, 0, {}) for w in live)
    (alarm,) = evaluate(reference, gone).alarms
    assert (alarm.signal, alarm.direction) == ("volume", "down")
    assert _index(gone, alarm.window) <= 2
    assert alarm.size == -1
    assert alarm.baseline_size == pytest.approx(1000, rel=0.02)


def test_a_hard_limit_and_failures_may_alarm_from_one_window() -> None:
    reference, live = SMALL.windows(60, 3)
    burst = (*live[:2], replace(live[2], counts={**live[2].counts, "failures": (500, 500)}))
    (alarm,) = evaluate(reference, burst).alarms
    assert (alarm.signal, alarm.window) == ("failures", live[2].start)


def test_one_window_of_anything_else_may_not() -> None:
    reference, live = SMALL.windows(60, 3)
    burst = (*live[:2], replace(live[2], counts={**live[2].counts, "error": (500, 500)}))
    assert evaluate(reference, burst).alarms == ()
    (alarm,) = evaluate(reference, burst, floors=Floors(one_window=True)).alarms
    assert (alarm.signal, alarm.window) == ("error", live[2].start)
    hard = tuple(replace(s, hard=s.name == "error") for s in reference.specs)
    (alarm,) = evaluate(replace(reference, specs=hard), burst).alarms
    assert alarm.signal == "error"


def test_without_floors_a_small_change_is_found_sooner_and_no_change_is_none() -> None:
    stream = replace(SMALL, seed=3, change=Change(at=10, confidence=-0.02))
    reference, live = stream.windows(20, 30)
    patient, sensitive = (
        evaluate(reference, live, windows_per_alarm=1000.0, floors=floors).alarms[0] for floors in (None, SENSITIVE)
    )
    assert live[10].start <= sensitive.window < patient.window
    assert {patient.signal, sensitive.signal} == {"confidence"}


def test_what_the_baseline_never_had_is_noticed() -> None:
    # No nulls in 60 windows; then 3 % in each.
    specs = (SignalSpec("feature:x:null", "inputs", "rate", "x"),)
    _, live = SMALL.windows(0, 70)
    windows = [replace(w, counts={"feature:x:null": (1000, 0) if i < 65 else (970, 30)}) for i, w in enumerate(live)]
    (alarm,) = evaluate(Normal(specs, tuple(windows[:60])), windows[60:]).alarms
    assert alarm.since == windows[65].start


def test_small_monthly_windows_find_a_large_change_within_a_year() -> None:
    stream = DriftingStream(seed=5, features=4, classes=2, rows=30, span=timedelta(days=30))
    reference, live = replace(stream, change=Change(at=24, error_to=0.4)).windows(60, 48)
    result = evaluate(reference, live)
    assert result.budget.windows_per_alarm == pytest.approx(365 / 30)
    (alarm,) = [a for a in result.alarms if a.signal == "error"]
    assert 24 <= _index(live, alarm.window) <= 30
    assert abs(_index(live, alarm.since) - 24) <= 2


def test_it_is_one_json_object() -> None:
    reference, live = replace(SMALL, change=Change(at=1, error_to=0.3)).windows(20, 8)
    result = evaluate(reference, live)
    read = json.loads(json.dumps(result.to_json()))
    assert read["windows"] == 8
    assert set(read["alarms"][0]) >= {"signal", "slice", "window", "since", "size", "interval", "log_e"}
    assert set(read["budget"]) == {"false_alarm_every", "windows_per_alarm", "signals", "floors"}
    assert json.loads(json.dumps([s.to_json() for s in result.series]))[0]["rows"] == live[0].rows
