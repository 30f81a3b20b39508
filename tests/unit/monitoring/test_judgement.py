"""A judgement that goes on from an earlier one says, bit for bit, what one from the first window says."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from tests.unit.monitoring.clocked import ClockedStream
from tests.unit.monitoring.drifting import Change, DriftingStream, Normal
from tests.unit.monitoring.sliced import SlicedStream

from assay.inference.evidence import IDLE, LOOK_BACKS, START, over_look_backs
from assay.monitoring import ledger
from assay.monitoring.floors import Floors
from assay.monitoring.judgement import Judged
from assay.monitoring.keeping import Keeper
from assay.monitoring.monitor import Evaluation, judge
from assay.monitoring.signals import WindowCounts, counts_of
from assay.monitoring.watching import frame_of, parts_of

MOST = 1 << 30
History = tuple[Normal, tuple[WindowCounts, ...]]


def _drifting(seed: int) -> History:
    """Something changes, goes back and changes again: incidents open, close and open."""
    quiet = DriftingStream(seed=seed, features=2, bins=8, classes=3, slices=2, rows=300, rate_day_sd=0.05)
    change = Change(at=0, feature_sd=0.5, error_to=0.15, class_error_to=0.5, confidence=-0.05, scattered=0.2)
    reference, live = quiet.windows(60, 160)
    worse = replace(quiet, seed=seed + 1000, change=change).windows(0, 160)[1]
    bad = {*range(20, 30), *range(90, 110)}
    mixed = (replace(live[i], counts=(worse if i in bad else live)[i].counts) for i in range(160))
    return reference, tuple(mixed)


def _clocked(seed: int) -> History:
    return ClockedStream(seed=seed, features=2, hours=0.4, worse=1.5, at=40).windows(24 * 14, 120)


def _by_weekday(seed: int) -> History:
    """A stratum that the baseline does not have comes with the 25th window: midnight of a Monday."""
    stream = ClockedStream(seed=seed, features=1, hours=0.4, weekdays=0.4, day_sd=0.1)
    reference, live = stream.windows(24 * 62, 40)
    left = tuple(one for i, one in enumerate(reference.windows) if i % (24 * 7))
    return replace(reference, windows=left), live


def _few(seed: int) -> History:
    """So short a baseline that natural variation is not known."""
    reference, live = DriftingStream(seed=seed, features=1, bins=4, classes=2, rows=200).windows(3, 40)
    return reference, live


def _sliced(seed: int) -> History:
    return SlicedStream(seed=seed, columns=3, rows=600, planted={0: 1, 1: 2}, worse=0.4, at=15).windows(40, 50)


HISTORIES = {"drifting": _drifting, "clocked": _clocked, "weekdays": _by_weekday, "few": _few, "sliced": _sliced}


def _late(window: WindowCounts, rng: np.random.Generator) -> WindowCounts:
    """The same window after rows and labels have come late to some of its signals."""
    more = {
        name: tuple(n + int(k) for n, k in zip(bins, rng.poisson(3, len(bins)), strict=True))
        for name, bins in window.counts.items()
        if rng.random() < 0.3
    }
    return replace(window, rows=window.rows + int(rng.integers(0, 30)), counts={**window.counts, **more})


def _steps(live: tuple[WindowCounts, ...], rng: np.random.Generator) -> list[tuple[WindowCounts, ...]]:
    """The windows that one monitor run after another sees: late rows, gaps that fill, many at once, none at all."""
    seen: list[WindowCounts] = []
    steps: list[tuple[WindowCounts, ...]] = [()]
    left = list(live)
    while left:
        number = int(rng.choice([0, 1, 1, 1, 2, 7, 30]))
        new, left = left[:number], left[number:]
        if new and rng.random() < 0.2:
            left.insert(int(rng.integers(0, min(len(left), 5) + 1)), new.pop(0))  # one comes after later ones
        seen += new
        for _ in range(int(rng.choice([0, 0, 0, 1, 3]))):
            if seen:
                back = int(rng.choice([1, 2, 10, 31, 63, 64, 65, 100]))
                place = max(0, len(seen) - back)
                seen[place] = _late(seen[place], rng)
        steps.append(tuple(seen))
    return steps


def _said(found: Evaluation) -> str:
    return repr(found)  # which tells every bit of a number


@pytest.mark.parametrize("budget", [12.0, 365.0])
@pytest.mark.parametrize("name", HISTORIES)
def test_going_on_says_what_beginning_anew_says(name: str, budget: float) -> None:
    reference, live = HISTORIES[name](3)
    rng = np.random.default_rng(int(budget))
    kept: Judged | None = None
    alarms = 0
    for windows in _steps(live, rng):
        found, kept = judge(reference, windows, windows_per_alarm=budget, before=kept, most_bytes=MOST)
        assert kept is not None
        assert _said(found) == _said(judge(reference, windows, windows_per_alarm=budget)[0])
        alarms += len(found.alarms)
    assert alarms or name in {"few", "weekdays"}


def test_windows_that_come_in_many_parts_say_what_all_at_once_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as no sums are forgotten too early: here they are forgotten as soon as they may be."""
    monkeypatch.setattr(ledger, "KEPT", 512)
    reference, live = DriftingStream(seed=9, features=1, bins=4, classes=2, rows=100).windows(60, 700)
    whole, _ = judge(reference, live, windows_per_alarm=365.0)
    kept: Judged | None = None
    for end in (3, 300, 511, 512, 513, 514, 640, 699, 700):
        found, kept = judge(reference, live[:end], windows_per_alarm=365.0, before=kept, most_bytes=MOST)
    assert _said(found) == _said(whole)


def test_a_stratum_that_no_window_is_in_any_more_is_forgotten() -> None:
    reference, live = _by_weekday(3)
    kept: Judged | None = None
    for end, strata in ((20, 167), (30, 168), (20, 167), (30, 168)):
        found, kept = judge(reference, live[:end], windows_per_alarm=12.0, before=kept, most_bytes=MOST)
        assert _said(found) == _said(judge(reference, live[:end], windows_per_alarm=12.0)[0])
        assert kept is not None
        assert kept.frame.calendar is not None
        assert len(kept.frame.calendar.strata) == strata  # what a distribution is like is told over all of them


def test_what_was_said_of_an_alarm_is_said_anew_when_other_signals_of_its_windows_change() -> None:
    change = Change(at=5, class_error_to=0.6)
    reference, live = DriftingStream(seed=3, features=1, bins=4, classes=3, change=change).windows(60, 20)
    found, kept = judge(reference, live, windows_per_alarm=365.0, most_bytes=MOST)
    assert [(one.signal, one.silent) for one in found.alarms] == [("accuracy:class=0", True)]
    # Late labels: all rows together have become worse too, and hide nothing. The class itself is as it was.
    worse = tuple(replace(one, counts={**one.counts, "error": (900, 100)}) for one in live[5:])
    later, _ = judge(reference, (*live[:5], *worse), windows_per_alarm=365.0, before=kept, most_bytes=MOST)
    assert {one.signal: one.silent for one in later.alarms}["accuracy:class=0"] is False
    assert _said(later) == _said(judge(reference, (*live[:5], *worse), windows_per_alarm=365.0)[0])


def test_another_baseline_budget_or_model_takes_nothing_over() -> None:
    (first, live), (second, other) = _drifting(5), _drifting(6)
    wanted = {
        (0, 12.0): _said(judge(first, live, windows_per_alarm=12.0)[0]),
        (0, 365.0): _said(judge(first, live, windows_per_alarm=365.0)[0]),
        (1, 12.0): _said(judge(second, live, windows_per_alarm=12.0)[0]),
        (2, 12.0): _said(judge(first, other, windows_per_alarm=12.0)[0]),
    }
    which = [(first, live), (second, live), (first, other)]
    kept: Judged | None = None
    for place, budget in [*wanted, *reversed(wanted)]:
        reference, windows = which[place]
        found, kept = judge(reference, windows, windows_per_alarm=budget, before=kept, most_bytes=MOST)
        assert _said(found) == wanted[place, budget]
    assert len(set(wanted.values())) == len(wanted)


def test_nothing_is_kept_that_takes_more_memory_than_it_may() -> None:
    reference, live = _few(1)
    _, kept = judge(reference, live, windows_per_alarm=365.0, most_bytes=MOST)
    assert kept is not None
    assert judge(reference, live, windows_per_alarm=365.0, most_bytes=kept.nbytes)[1] is not None
    assert judge(reference, live, windows_per_alarm=365.0, most_bytes=kept.nbytes - 1)[1] is None
    found, left = judge(reference, live, windows_per_alarm=365.0, before=kept, most_bytes=kept.nbytes - 1)
    assert left is None
    assert _said(found) == _said(judge(reference, live, windows_per_alarm=365.0)[0])


def test_a_keeper_forgets_what_was_not_asked_for_the_longest() -> None:
    reference, live = _few(1)
    _, kept = judge(reference, live, windows_per_alarm=365.0, most_bytes=MOST)
    assert kept is not None
    keeper = Keeper[Judged](2 * kept.nbytes)
    for name in ("a", "b", "c"):
        keeper.put(kept, name, "digest")
    assert keeper.nbytes <= keeper.most_bytes
    assert keeper.take("a", "digest") is None
    assert keeper.take("b", "digest") is kept
    assert keeper.take("b", "digest") is None  # whoever takes it has it alone
    keeper.put(None, "c", "digest")
    assert keeper.nbytes == 0


def test_of_one_signal_every_start_that_may_count_counts_alike_and_all_of_them_as_eighteen() -> None:
    quiet = DriftingStream(seed=3, features=1, bins=4, classes=2, slices=0, rows=500)
    reference, live = replace(quiet, change=Change(at=12, error_to=0.08)).windows(40, 40)
    (spec,) = [one for one in reference.specs if one.name == "error"]
    only = replace(reference, specs=(spec,))
    alarm = judge(only, live, windows_per_alarm=100.0, most_bytes=MOST)[0].alarms[0]
    window = [one.start for one in live].index(alarm.window)
    frame = frame_of(only, live, specs=only.specs, windows_per_alarm=100.0, span=timedelta(days=1), floors=Floors())
    (((part,),),) = [parts_of(only, specs=only.specs, weight=[1 / 8], frame=frame)]
    watcher = part.watcher(counts_of(spec, live), frame.at)
    each = START * over_look_backs(watcher.log_evidence, len(live))[:, window]
    assert alarm.log_e == pytest.approx(np.log(each[each >= IDLE].sum()))
    assert np.count_nonzero(each >= IDLE) > 2
    assert START * len(LOOK_BACKS) == pytest.approx(18)
