"""Judge the windows of a model against its baseline: a pure function from counts to alarms.

The promise, with the default floors: in expectation at most one false alarm per ``false_alarm_every`` over all
signals together, however often it is asked. Evaluating the same counts twice gives the same answer, and counts
that come late are added and judged again. Give it every window since the baseline: it is linear in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from assay.errors import BaselineError, ConfigError
from assay.findings import Finding, Severity
from assay.inference.natural import CLAIMABLE, COMFORTABLE, LEARNABLE
from assay.monitoring.alarms import Alarm
from assay.monitoring.clock import DAY, span_of, spoken
from assay.monitoring.course import Course
from assay.monitoring.discovery import SPEC, searched
from assay.monitoring.estimate import Calibration
from assay.monitoring.floors import Floors
from assay.monitoring.judgement import Judged, Standard, judge_windows
from assay.monitoring.portrait import Shape, shapes
from assay.monitoring.signals import Reference, WindowCounts
from assay.monitoring.summary import Interval, WindowSummary
from assay.monitoring.watching import Watched
from assay.monitoring.weights import weights

DEFAULT_FALSE_ALARM_EVERY = 365 * DAY

FEWEST_WINDOWS = 10.0
"""An alarm is never made cheaper than one false in so many windows, however long a window lasts."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How often a false alarm may come.

    Attributes:
        false_alarm_every: Time between false alarms over all signals together, in expectation.
        windows_per_alarm: The same in windows, at least 10: the evidence an alarm needs.
        signals: How many signals share it.
        floors: How much change does not matter.
    """

    false_alarm_every: timedelta
    windows_per_alarm: float
    signals: int
    floors: Floors = field(default_factory=Floors)

    def to_json(self) -> dict[str, object]:
        """The budget as ``assay monitor --json`` prints it; the time in seconds."""
        return {
            "false_alarm_every": self.false_alarm_every.total_seconds(),
            "windows_per_alarm": self.windows_per_alarm,
            "signals": self.signals,
            "floors": self.floors.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the windows say.

    Attributes:
        windows: How many were judged.
        alarms: What was raised, in time order; one per cause and signal until it has calmed down.
        budget: What they were judged by.
        series: Every window in a few numbers.
        silent: The overall accuracy is steady while that of a class or a slice has fallen.
        findings: What could not be judged, and what the baseline is too short to know.
        tolerances: By figure of the series, its value in the baseline and the band that never raises an alarm.
        shapes: Distributions then and now, of the signals with an alarm.
        courses: How the newest alarms became known, window by window.
        evidence: By signal, what stands against it now, as a share of what an alarm needs; without any it is left out.
    """

    windows: int
    alarms: tuple[Alarm, ...]
    budget: Budget
    series: tuple[WindowSummary, ...]
    silent: bool
    findings: tuple[Finding, ...]
    tolerances: Mapping[str, Interval] = field(default_factory=dict)
    shapes: tuple[Shape, ...] = ()
    courses: tuple[Course, ...] = ()
    evidence: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> Mapping[str, object]:
        """The evaluation as ``assay monitor --json`` prints it, without the series."""
        return {
            "windows": self.windows,
            "alarms": [alarm.to_json() for alarm in self.alarms],
            "budget": self.budget.to_json(),
            "silent": self.silent,
            "findings": [finding.as_json() for finding in self.findings],
        }


def evaluate(
    reference: Reference,
    windows: Sequence[WindowCounts],
    *,
    false_alarm_every: timedelta | None = None,
    windows_per_alarm: float | None = None,
    floors: Floors | None = None,
) -> Evaluation:
    """Judge all complete windows since the baseline.

    Args:
        reference: What normal is.
        windows: The live windows since the baseline, all of them, cut as the baseline's are; any order.
        false_alarm_every: Time between false alarms over all signals together; a year by default.
        windows_per_alarm: The same in windows, instead.
        floors: How much change does not matter.

    Raises:
        BaselineError: The baseline has no windows or no signals, or counts other bins than the windows.
        ConfigError: The budget is not positive, or given twice.
    """
    return judge(
        reference, windows, false_alarm_every=false_alarm_every, windows_per_alarm=windows_per_alarm, floors=floors
    )[0]


def judge(
    reference: Reference,
    windows: Sequence[WindowCounts],
    *,
    false_alarm_every: timedelta | None = None,
    windows_per_alarm: float | None = None,
    floors: Floors | None = None,
    calibration: Calibration | None = None,
    before: Judged | None = None,
    most_bytes: int = 0,
) -> tuple[Evaluation, Judged | None]:
    """The same as `evaluate`, going on from an earlier judgement as far as its windows are these.

    What it says does not depend on ``before``, bit for bit: only how long it takes does.

    Args:
        reference: What normal is.
        windows: The live windows since the baseline, all of them, cut as the baseline's are; any order.
        false_alarm_every: Time between false alarms over all signals together; a year by default.
        windows_per_alarm: The same in windows, instead.
        floors: How much change does not matter.
        calibration: What a confidence meant: adds the estimated accuracy to every window; None for no estimates.
        before: What an earlier judgement has left, of whatever windows; None for none.
        most_bytes: Keep what is left for the next one where it takes no more memory than this.

    Raises:
        BaselineError: The baseline has no windows or no signals, or counts other bins than the windows.
        ConfigError: The budget is not positive, or given twice.
    """
    if not reference.windows or not reference.specs:
        raise BaselineError("the baseline has no windows or no signals: learn it from a reference with rows")
    by_rows = reference.window.endswith("rows")
    span = span_of(reference.windows, by_rows=by_rows)
    judged = tuple(s for s in reference.specs if s.kind != "cells" and not (by_rows and s.kind == "volume"))
    specs = (*judged, SPEC) if searched(reference.specs) else judged
    floors = floors or Floors()
    budget = _budget(span, false_alarm_every, windows_per_alarm, len(specs), floors)
    length = None if by_rows else span
    by = Standard(reference, judged, weights(specs), budget.windows_per_alarm, length, floors, calibration)
    ordered = tuple(sorted(windows, key=lambda w: (w.start, w.end)))
    done = judge_windows(by, ordered, before, most_bytes=most_bytes)
    found = Evaluation(
        windows=len(ordered),
        alarms=done.alarms,
        budget=budget,
        series=done.series,
        silent=any(alarm.silent for alarm in done.alarms),
        findings=(*_about_baseline(reference), *_about_budget(budget, span), *_about_signals(done.watched, done.there)),
        tolerances=done.tolerances,
        shapes=shapes(done.alarms, done.watched, ordered),
        courses=tuple(done.drawn.values()),
        evidence=done.standing,
    )
    return found, done if done.sums is not None else None


def _budget(span: timedelta, every: timedelta | None, limit: float | None, signals: int, floors: Floors) -> Budget:
    if every is not None and limit is not None:
        raise ConfigError("give false_alarm_every or windows_per_alarm, not both")
    if limit is None:
        every = DEFAULT_FALSE_ALARM_EVERY if every is None else every
        if span <= timedelta(0):
            raise BaselineError("the baseline's windows have no duration: give the budget in windows")
        limit = every / span
    if not limit > 0:
        raise ConfigError(f"the budget is {limit:.2f} windows per false alarm, it must be more than 0: widen it")
    return Budget(every if every is not None else span * limit, max(limit, FEWEST_WINDOWS), signals, floors)


def _about_baseline(reference: Reference) -> tuple[Finding, ...]:
    count = len(reference.windows)
    if count >= COMFORTABLE:
        return ()
    numbers = {"baseline_windows": count, "wanted_windows": COMFORTABLE}
    if count >= CLAIMABLE:
        detail = f"the baseline has {count} windows: natural variation is learned roughly, {COMFORTABLE} are better"
        return (Finding("monitor.baseline-brief", "baseline", Severity.INFO, detail, numbers),)
    known = "is not known" if count < LEARNABLE else "is a guess"
    detail = (
        f"the baseline has {count} windows: natural variation {known}; an alarm says that a share has left the "
        f"baseline's by more than the floor and three standard errors. {CLAIMABLE} windows are needed, {COMFORTABLE} "
        "are better"
    )
    return (Finding("monitor.baseline-short", "baseline", Severity.WARNING, detail, numbers),)


def _about_budget(budget: Budget, span: timedelta) -> tuple[Finding, ...]:
    if budget.false_alarm_every >= span * FEWEST_WINDOWS:
        return ()
    detail = (
        f"a window lasts {spoken(span)} and the budget is one false alarm in {spoken(budget.false_alarm_every)}: one "
        f"in {FEWEST_WINDOWS:g} windows is used"
    )
    return (Finding("monitor.budget-raised", "budget", Severity.INFO, detail),)


def _about_signals(watched: Sequence[Watched], there: npt.NDArray[np.bool_] | None) -> tuple[Finding, ...]:
    out = []
    for place, one in enumerate(watched):
        if one.spec.kind == "volume" and not one.parts:
            detail = f"the number of rows is not judged: how much it varies takes {CLAIMABLE} windows to learn"
            out.append(Finding("monitor.not-judged", one.spec.name, Severity.INFO, detail))
        elif not one.parts:
            detail = "not judged: the baseline has no rows of it"
            out.append(Finding("monitor.not-judged", one.spec.name, Severity.WARNING, detail))
        elif there is not None and not there[place]:
            detail = "no rows in any of these windows: nothing is known about it"
            out.append(Finding("monitor.no-rows", one.spec.name, Severity.INFO, detail))
    return tuple(out)
