"""One monitor run of one model: count what is complete, judge everything since the baseline, keep it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine as Database

from assay.engines.base import Engine, Source
from assay.errors import BaselineError
from assay.findings import Finding, Severity
from assay.monitoring.monitor import Evaluation, evaluate
from assay.monitoring.signals import WindowCounts
from assay.monitoring.store import Recorded, load_baseline, load_windows, record, weight
from assay.monitoring.windows import count
from assay.storage.clock import from_text, utc_text

RECOUNTED = 32
"""So many of the newest windows are counted again at every run, because rows and labels come late."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a monitor run found and kept.

    Attributes:
        evaluation: The judgement on every window since the baseline.
        recorded: What was new.
        findings: Everything that was odd: of the table, of late rows, of what could not be judged.
    """

    evaluation: Evaluation
    recorded: Recorded
    findings: tuple[Finding, ...]


def merge(known: Sequence[WindowCounts], counted: Sequence[WindowCounts]) -> tuple[WindowCounts, ...]:
    """All windows, each with the counts that have more in them: rows that were deleted since stay counted."""
    merged: dict[str, WindowCounts] = {window.start: window for window in known}
    for window in counted:
        old = merged.get(window.start)
        if old is None or weight(window) > weight(old):
            merged[window.start] = window
    return tuple(merged[start] for start in sorted(merged))


def run(
    database: Database,
    engine: Engine,
    source: Source,
    model: str,
    *,
    now: datetime,
    false_alarm_every: timedelta | None = None,
    since: datetime | None = None,
    recounted: int = RECOUNTED,
    actor: str = "assay",
) -> Run:
    """Judge all complete windows of a model's predictions and keep what was found. Doing it again changes nothing.

    Args:
        database: The state database.
        engine: What reads the predictions.
        source: The predictions.
        model: The model's name; it must have a baseline.
        now: The reading of the clock.
        false_alarm_every: Time between false alarms over all signals together; None for a year.
        since: Where the windows of this baseline begin, a deployment for example; None begins with the first row.
        recounted: How many of the newest windows are counted again.
        actor: Who runs it.

    Raises:
        BaselineError: The model has no baseline.
        TableError: The predictions cannot be read.
        StorageError: The database cannot be read or written.
        ConfigError: The budget is not longer than a window.
    """
    baseline = load_baseline(database, model)
    if baseline is None:
        raise BaselineError(f"{model} has no baseline: run assay baseline {model}")
    known = load_windows(database, model, baseline.digest)
    counted = count(
        engine,
        source,
        baseline.schema,
        baseline.specs,
        window=baseline.window,
        now=now,
        families=baseline.families,
        live=True,
        known=known[-recounted:],
        since=since,
    )
    windows = merge(known, counted.windows)
    evaluation = evaluate(baseline, windows, false_alarm_every=false_alarm_every)
    recorded = record(
        database, model=model, baseline=baseline, evaluation=evaluation, windows=windows, now=now, actor=actor
    )
    odd = (*_about_clock(known, now), *_gone({window.start: window for window in known}, counted.windows))
    return Run(evaluation, recorded, (*counted.findings, *odd, *recorded.findings, *evaluation.findings))


def _about_clock(known: Sequence[WindowCounts], now: datetime) -> tuple[Finding, ...]:
    if not known or from_text(known[-1].end) <= now:
        return ()
    detail = f"it is {utc_text(now)}, but windows up to {known[-1].end} were counted before: a clock went back"
    return (Finding("clock.backwards", "clock", Severity.ERROR, detail),)


def _gone(known: Mapping[str, WindowCounts], counted: Sequence[WindowCounts]) -> tuple[Finding, ...]:
    fewer = [window for window in counted if window.start in known and window.rows < known[window.start].rows]
    return tuple(
        Finding(
            "window.rows-gone",
            window.start,
            Severity.WARNING,
            f"the window of {window.start} has {window.rows:,} rows now and had {known[window.start].rows:,}: "
            "the counts of then are kept",
            {"rows": window.rows, "rows_then": known[window.start].rows},
        )
        for window in fewer
    )
