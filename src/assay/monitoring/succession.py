"""What stays when a deployment starts a new baseline: the inputs, which the world brings and no model answers.

The windows of before go on under the new baseline with the counts of their inputs, so that a drift which began
before the deployment is one drift, raised once. Outputs, confidence, latency, failures and errors begin anew.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace

from sqlalchemy import Engine, insert, select

from assay.monitoring.baseline import Baseline
from assay.monitoring.signals import SignalSpec, WindowCounts
from assay.monitoring.store import keep_baseline
from assay.monitoring.stored import json_of, windows_since
from assay.storage.database import writing
from assay.storage.tables import windows as table


def _inputs(specs: Sequence[SignalSpec]) -> tuple[SignalSpec, ...]:
    """The signals that tell of what is asked, whoever answers; how many rows came is counted with the windows."""
    return tuple(spec for spec in specs if spec.family == "inputs")


def _alone(window: WindowCounts, names: Collection[str]) -> WindowCounts:
    counts = {name: bins for name, bins in window.counts.items() if name in names}
    return window if len(counts) == len(window.counts) else replace(window, counts=counts)


def same_inputs(one: Baseline, other: Baseline) -> bool:
    """Whether two baselines say the same of the inputs: the same signals, and the same counts in the same windows."""
    specs = _inputs(one.specs)
    names = {spec.name for spec in specs}
    if (one.window, one.schema.time, specs) != (other.window, other.schema.time, _inputs(other.specs)):
        return False
    return [_alone(window, names) for window in one.windows] == [_alone(window, names) for window in other.windows]


def answered_since(baseline: Baseline, windows: Sequence[WindowCounts]) -> tuple[WindowCounts, ...]:
    """The windows as they are judged: those that begin before the deployment with their inputs alone.

    Args:
        baseline: What they are judged by.
        windows: All windows, in any order.
    """
    if not baseline.since:
        return tuple(windows)
    names = {spec.name for spec in _inputs(baseline.specs)}
    return tuple(window if window.start >= baseline.since else _alone(window, names) for window in windows)


def succeed(engine: Engine, model: str, old: Baseline, new: Baseline) -> int:
    """Keep a baseline, and with it the windows before the deployment, where both say the same of the inputs.

    All of it is one transaction, and doing it again changes nothing.

    Args:
        engine: The state database.
        model: The model's name.
        old: What was in force.
        new: What is from now on; its ``since`` says which windows were another model's.

    Returns:
        How many windows go on.

    Raises:
        StorageError: The database cannot be written; nothing was.
    """
    go_on = bool(new.since) and same_inputs(old, new)
    with writing(engine, alone=True) as connection:
        keep_baseline(connection, model, new)
        if not go_on:
            return 0
        there = {window.start for window in windows_since(connection, model, new.digest)}
        before = (table.c.model == model, table.c.baseline == old.digest, table.c.start < new.since)
        stored = connection.execute(select(table).where(*before).order_by(table.c.start)).mappings().all()
        names = {spec.name for spec in _inputs(new.specs)}
        moved = [row for row in stored if row["start"] not in there]
        for row in moved:
            counts = {name: bins for name, bins in json_of(row["counts"]).items() if name in names}
            values = {**row, "baseline": new.digest, "counts": json.dumps(counts)}
            connection.execute(insert(table).values(values))
    return len(moved)
