"""One monitor run of one model: count what is complete, judge everything since the baseline, keep it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine as Database

from assay.engines.base import Engine, Source
from assay.engines.stamps import Files, files_at_hand
from assay.errors import BaselineError, TableError
from assay.findings import Finding, Severity
from assay.monitoring.baseline import Baseline
from assay.monitoring.floors import Floors
from assay.monitoring.keeping import COUNTED, JUDGED
from assay.monitoring.monitor import Evaluation, judge
from assay.monitoring.signals import WindowCounts
from assay.monitoring.store import Recorded, load_known, record, weight
from assay.monitoring.succession import answered_since
from assay.monitoring.windows import Counted, count
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
        if old is None or (window != old and weight(window) > weight(old)):
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
    floors: Floors | None = None,
    since: datetime | None = None,
    recounted: int = RECOUNTED,
    actor: str = "assay",
) -> Run:
    """Judge all complete windows of a model's predictions and keep what was found. Doing it again changes nothing.

    Args:
        database: The state database.
        engine: What reads the predictions.
        source: The predictions.
        model: The model's name.
        now: The reading of the clock.
        false_alarm_every: Time between false alarms over all signals together; None for a year.
        floors: How much change does not matter.
        since: Where its windows begin, a deployment for example; None begins with the first row.
        recounted: How many of the newest windows are counted again.
        actor: Who runs it.

    Raises:
        BaselineError: The model has no baseline.
        TableError: The predictions cannot be read.
        StorageError: The database cannot be used.
        ConfigError: The budget is too short.
    """
    baseline, known = _known(database, model)
    key = (model, baseline.digest)
    counted = _counted(
        source,
        lambda here: count(
            engine,
            here,
            baseline.schema,
            baseline.specs,
            window=baseline.window,
            now=now,
            families=baseline.families,
            live=True,
            known=known[-recounted:],
            earlier=known[:-recounted],
            since=since,
            settled=COUNTED.take(*key),
            answered=from_text(baseline.since) if baseline.since else None,
        ),
    )
    COUNTED.put(counted.settled, *key)
    found = answered_since(baseline, counted.windows)
    windows = merge(known, found)
    said, judged = judge(
        baseline,
        windows,
        false_alarm_every=false_alarm_every,
        floors=floors,
        calibration=baseline.calibration,
        before=JUDGED.take(*key),
        most_bytes=JUDGED.most_bytes,
    )
    JUDGED.put(judged, *key)
    stored = {id(window) for window in known}
    new = [window for window in windows if id(window) not in stored]  # `merge` leaves all others as they were
    kept = record(database, model=model, baseline=baseline, evaluation=said, windows=new, now=now, actor=actor)
    odd = (*counted.findings, *_about_clock(known, now), *_gone(known, counted.windows))
    return Run(said, kept, (*odd, *kept.findings, *said.findings))


def _counted(source: Source, counting: Callable[[Files], Counted]) -> Counted:
    """Count; and once more, since a day that nobody needs may have been deleted after its files were listed."""
    try:
        with files_at_hand(source) as here:
            return counting(here)
    except TableError:
        with files_at_hand(source) as here:
            return counting(here)


def _known(database: Database, model: str) -> tuple[Baseline, tuple[WindowCounts, ...]]:
    known = load_known(database, model)
    if known is None:
        raise BaselineError(f"{model} has no baseline: run assay baseline {model}")
    return known


def _about_clock(known: Sequence[WindowCounts], now: datetime) -> tuple[Finding, ...]:
    if not known or from_text(known[-1].end) <= now:
        return ()
    detail = f"it is {utc_text(now)}, but windows up to {known[-1].end} were counted before: a clock went back"
    return (Finding("clock.backwards", "clock", Severity.ERROR, detail),)


def _gone(known: Sequence[WindowCounts], counted: Sequence[WindowCounts]) -> tuple[Finding, ...]:
    then = {window.start: window.rows for window in known}
    fewer = [window for window in counted if window.rows < then.get(window.start, 0)]
    return tuple(
        Finding(
            "window.rows-gone",
            window.start,
            Severity.WARNING,
            f"the window of {window.start} has {window.rows:,} rows now and had {then[window.start]:,}: "
            "the counts of then are kept",
            {"rows": window.rows, "rows_then": then[window.start]},
        )
        for window in fewer
    )
