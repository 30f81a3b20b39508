"""Compare one table with another once, keeping nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from assay.engines.base import Engine, Source
from assay.engines.bringing import at_hand
from assay.engines.forbearing import Forbearing
from assay.findings import Finding, Severity
from assay.monitoring.baseline import Baseline
from assay.monitoring.estimate import with_estimates
from assay.monitoring.floors import Floors
from assay.monitoring.labelling import about_outcomes, look
from assay.monitoring.learning import Task
from assay.monitoring.monitor import Evaluation, evaluate
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.signals import WindowCounts
from assay.monitoring.splitting import allow, find_split
from assay.monitoring.windows import count
from assay.storage.clock import from_text


def monitor_tables(
    engine: Engine,
    reference: Source,
    current: Source,
    schema: PredictionSchema,
    *,
    window: str,
    false_alarm_every: timedelta | None,
    now: datetime,
    task: Task = "classification",
    floors: Floors | None = None,
    random_split: bool = False,
) -> Evaluation:
    """Learn a baseline from one table and judge another by it.

    Args:
        engine: What reads the tables.
        reference: Rows of when the model was known to work.
        current: The rows in question, a finished table: no rows are awaited.
        schema: What the columns of both mean.
        window: ``1d`` or ``1000rows``.
        false_alarm_every: Time between false alarms over all signals together; None for a year.
        now: When this happens.
        task: Whether predictions are classes, numbers, scores that rank, or scores of one of two classes.
        floors: How much change does not matter.
        random_split: A reference that lies between the current rows in time is meant so.

    Raises:
        BaselineError: When nothing can be learned from the reference, or it looks like a random split and is not
            meant so.
        TableError: When a table cannot be read or has no time column.
        ConfigError: When the window is none, or not shorter than the budget.
    """
    lenient = Forbearing(engine)  # of what is judged; what is normal is learned from all of it, or not at all
    with at_hand(reference) as then, at_hand(current) as later:
        split = find_split(lenient, then, later, schema.time)
        told = allow(split, meant=random_split, other="the rows to judge")
        baseline = Baseline.learn(engine, then, schema, window=window, now=now, task=task)
        counted = count(
            lenient, later, schema, baseline.specs, window=window, now=now, families=baseline.families, live=False
        )
        evaluation = evaluate(baseline, counted.windows, false_alarm_every=false_alarm_every, floors=floors)
        if any(one.rule == "label.waiting" for one in counted.findings):
            told = (*told, *look(lenient, later, schema, baseline.specs, counted.windows))
        told = (*told, *about_outcomes(baseline.specs, baseline.windows, counted.windows))
        series = with_estimates(evaluation.series, counted.windows, baseline.calibration)
        learned = (*_of_reference(baseline.findings), *_exchanged(baseline.windows, counted.windows))
        odd = (*lenient.findings(), *told, *learned, *counted.findings)
        return replace(evaluation, series=series, findings=(*odd, *evaluation.findings))


def _exchanged(then: Sequence[WindowCounts], later: Sequence[WindowCounts]) -> Iterator[Finding]:
    """A reference that only begins when the rows to judge have ended: lawful, and mostly a slip."""
    if then and later and from_text(later[-1].end) <= from_text(then[0].start):
        detail = "the rows to judge all lie before the reference: were the two tables exchanged?"
        yield Finding("baseline.newer", "reference", Severity.WARNING, detail)


def _of_reference(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """What was odd about one table of two must say of which."""
    return tuple(
        one if one.rule.startswith("baseline.") else replace(one, detail=f"in the reference, {one.detail}")
        for one in findings
    )
