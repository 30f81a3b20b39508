"""Keeps baselines, windows and alarms. What a monitor run finds is one transaction, or did not happen.

An alarm's row and its outbox row are written together; `drain` brings the outbox to the audit log, under
keys that the log takes once. A process may be killed anywhere, and run twice: every window and every alarm
is there exactly once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

from sqlalchemy import Connection, Engine, RowMapping, bindparam, insert, select, update

from assay.audit.log import AuditLog
from assay.errors import StorageError
from assay.findings import Finding, Severity
from assay.monitoring.alarms import Alarm
from assay.monitoring.baseline import Baseline
from assay.monitoring.monitor import Evaluation
from assay.monitoring.signals import WindowCounts
from assay.monitoring.stored import json_of, newest_baseline, windows_since
from assay.storage.clock import from_text, utc_text
from assay.storage.database import reading, writing
from assay.storage.tables import alarms as alarms_table
from assay.storage.tables import baselines, outbox
from assay.storage.tables import windows as windows_table

OUTBOX: Final = "monitor:"
"""Outbox rows with this beginning of their key are ours."""
NOTHING: Final[Mapping[str, object]] = {"values": {}}
"""The summary of a window that was not judged."""

# What every run asks is written once: SQLAlchemy takes longer to put a question together than SQLite to answer it.
_OWNER: Final = select(baselines.c.model).where(baselines.c.digest == bindparam("of_digest"))
_ADDED: Final = insert(windows_table)
_RAISED: Final = select(alarms_table.c.signal, alarms_table.c.slice, alarms_table.c.window).where(
    alarms_table.c.model == bindparam("of_model"), alarms_table.c.baseline == bindparam("of_baseline")
)


@dataclass(frozen=True, slots=True)
class StoredAlarm:
    """An alarm as it was raised.

    Attributes:
        id: Its number.
        model: The model's name.
        baseline: Digest of the baseline it was judged by.
        raised: When it was found, UTC text.
        alarm: What was told of it, as JSON types: ``signal``, ``slice``, ``window``, ``since``, ``size``,
            ``interval``, ``log_e``, ``detail``, ….
        position: Its place in the audit log; None until it is there.
    """

    id: int
    model: str
    baseline: str
    raised: str
    alarm: Mapping[str, object]
    position: int | None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a run changed.

    Attributes:
        added: Windows that were not there before.
        changed: Windows whose counts have grown since: late rows and labels.
        alarms: Alarms that were not there before.
        findings: What came late, and what is gone.
    """

    added: int
    changed: int
    alarms: tuple[Alarm, ...]
    findings: tuple[Finding, ...]


def save_baseline(engine: Engine, model: str, baseline: Baseline) -> str:
    """Keep a baseline; it is the model's from now on. Saving it again changes nothing.

    Returns:
        Its digest.

    Raises:
        StorageError: The database cannot be written.
    """
    with writing(engine, alone=True) as connection:
        return keep_baseline(connection, model, baseline)


def keep_baseline(connection: Connection, model: str, baseline: Baseline) -> str:
    """The same as `save_baseline` in a transaction that is open."""
    digest = baseline.digest
    there = connection.execute(_OWNER, {"of_digest": digest}).scalar()
    if there is None:
        body = json.dumps(baseline.to_json(), allow_nan=False)
        connection.execute(insert(baselines).values(digest=digest, model=model, created=baseline.created, body=body))
    elif there != model:
        raise StorageError(f"this baseline is that of {there}: learn one for {model}")
    return digest


def load_baseline(engine: Engine, model: str) -> Baseline | None:
    """The model's newest baseline; None when it has none.

    Raises:
        BaselineError: What is stored is no baseline, or another than was stored.
        StorageError: The database cannot be read.
    """
    with reading(engine) as connection:
        stored = newest_baseline(connection, model)
    return None if stored is None else stored.intact(model)


def load_known(engine: Engine, model: str) -> tuple[Baseline, tuple[WindowCounts, ...]] | None:
    """The model's newest baseline and the windows counted for it, of one moment; None when it has no baseline.

    Raises:
        BaselineError: What is stored is no baseline, or another than was stored, or is no window.
        StorageError: The database cannot be read.
    """
    with reading(engine) as connection:
        stored = newest_baseline(connection, model)
        if stored is None:
            return None
        windows = windows_since(connection, model, stored.digest)
    return stored.intact(model), windows


def load_windows(engine: Engine, model: str, baseline: str) -> tuple[WindowCounts, ...]:
    """All windows counted for a baseline, in time order.

    Args:
        engine: The state database.
        model: The model's name.
        baseline: The baseline's digest.

    Raises:
        BaselineError: What is stored is no window.
        StorageError: The database cannot be read.
    """
    with reading(engine) as connection:
        return windows_since(connection, model, baseline)


def load_summaries(engine: Engine, model: str, baseline: str) -> tuple[Mapping[str, object], ...]:
    """What charts draw of every window, in time order: ``start``, ``end``, ``rows``, ``values``.

    Raises:
        StorageError: The database cannot be read, or was edited.
    """
    mine = (windows_table.c.model == model, windows_table.c.baseline == baseline)
    query = select(windows_table.c.summary).where(*mine).order_by(windows_table.c.start)
    with reading(engine) as connection:
        return tuple(json_of(text) for text in connection.execute(query).scalars())


def alarms(engine: Engine, model: str) -> tuple[StoredAlarm, ...]:
    """All alarms of a model, the oldest first.

    Raises:
        StorageError: The database cannot be read, or was edited.
    """
    query = select(alarms_table).where(alarms_table.c.model == model).order_by(alarms_table.c.id)
    with reading(engine) as connection:
        rows = connection.execute(query).mappings().all()
        ours = outbox.c.key.startswith(f"{OUTBOX}{model}:", autoescape=True)
        places = {
            row.key: row.drained for row in connection.execute(select(outbox.c.key, outbox.c.drained).where(ours))
        }
    logged = [outbox_key(model, row["baseline"], row["signal"], row["slice"], row["window"]) for row in rows]
    return tuple(_alarm(row, places.get(key)) for row, key in zip(rows, logged, strict=True))


def record(
    engine: Engine,
    *,
    model: str,
    baseline: Baseline,
    evaluation: Evaluation,
    windows: Sequence[WindowCounts],
    now: datetime,
    actor: str = "assay",
) -> Recorded:
    """Keep what a monitor run found: all of it or nothing. Doing it again changes nothing.

    Args:
        engine: The state database.
        model: The model's name.
        baseline: What the windows were judged by; it is saved when it is not there.
        evaluation: The judgement on all windows since the baseline.
        windows: Those windows; those that cannot have changed since they were loaded may be left out.
        now: When this happens.
        actor: Who runs the monitor.

    Raises:
        StorageError: The database cannot be written; nothing was.
    """
    summaries = {one.start: one for one in evaluation.series}
    with writing(engine, alone=True) as connection:
        digest = keep_baseline(connection, model, baseline)
        mine = (windows_table.c.model == model, windows_table.c.baseline == digest)
        since = min((window.start for window in windows), default=None)
        stored = () if since is None else windows_since(connection, model, digest, since)
        there = {window.start: window for window in stored}
        added, changed, findings = 0, 0, []
        for window in windows:
            old = there.get(window.start)
            if old is not None and (window is old or weight(window) <= weight(old)):
                continue  # as it was, and so is what it says
            values = {
                "summary": json.dumps(summaries[window.start].to_json() if window.start in summaries else NOTHING),
                "counts": json.dumps(dict(window.counts)),
            }
            if old is None:
                key = {"model": model, "baseline": digest, "start": window.start, "end": window.end}
                connection.execute(_ADDED, key | {"rows": window.rows} | values)
                added += 1
                continue
            at = windows_table.c.start == window.start
            connection.execute(update(windows_table).where(*mine, at).values(rows=max(window.rows, old.rows), **values))
            changed += 1
            findings += [late(old, window)] if window.rows > old.rows else []
        raised = [alarm for alarm in evaluation.alarms if alarm.window >= baseline.since]  # those before are known
        new = _raise(connection, model, digest, raised, now=now, actor=actor)
    return Recorded(added, changed, new, tuple(findings))


def weight(window: WindowCounts) -> int:
    """Rows and counts together: what only grows while rows and labels come in."""
    return window.rows + sum(sum(bins) for bins in window.counts.values())


def late(old: WindowCounts, new: WindowCounts) -> Finding:
    """The finding for rows that came after their window was counted."""
    rows = new.rows - old.rows
    detail = f"{rows:,} rows came after the window of {new.start} was counted: it was counted again"
    return Finding("window.late-rows", new.start, Severity.INFO, detail, {"rows": rows})


def _raise(
    connection: Connection, model: str, digest: str, raised: Sequence[Alarm], *, now: datetime, actor: str
) -> tuple[Alarm, ...]:
    """Write the alarms that are not there yet, each with its outbox row."""
    known = connection.execute(_RAISED, {"of_model": model, "of_baseline": digest})
    there = [(str(signal), where, str(window)) for signal, where, window in known]
    new = []
    for alarm in raised:
        where = None if alarm.slice is None else json.dumps(dict(alarm.slice), sort_keys=True)
        if any(signal == alarm.signal and part == where and _within(window, alarm) for signal, part, window in there):
            continue
        told = cast("dict[str, object]", _finite(alarm.to_json()))
        values = {
            "model": model,
            "baseline": digest,
            "signal": alarm.signal,
            "slice": where,
            "window": alarm.window,
            "since": alarm.since,
            "size": alarm.size,
            "low": alarm.low,
            "high": alarm.high,
            "log_e": alarm.log_e,
            "detail": json.dumps(told, allow_nan=False),
            "raised": utc_text(now),
        }
        connection.execute(insert(alarms_table).values(**values))
        body = json.dumps({"actor": actor, "data": told | {"baseline": digest}}, allow_nan=False, sort_keys=True)
        key = outbox_key(model, digest, alarm.signal, where, alarm.window)
        connection.execute(
            insert(outbox).values(key=key, kind="monitor.alarm", subject=model, time=utc_text(now), data=body)
        )
        there.append((alarm.signal, where, alarm.window))
        new.append(alarm)
    return tuple(new)


def _within(window: str, alarm: Alarm) -> bool:
    """Whether an alarm raised at a window is this one: late rows can move the window that raises it."""
    return min(alarm.since, alarm.window) <= window and (alarm.until is None or window <= alarm.until)


def drain(engine: Engine, log: AuditLog) -> int:
    """Bring alarms that are not in the audit log into it. Killed anywhere and run again, each is there once.

    Returns:
        How many were brought.

    Raises:
        LogError: The log could not be written; what is left is brought the next time.
        StorageError: The database cannot be read or written.
    """
    ours = (outbox.c.drained.is_(None), outbox.c.key.startswith(OUTBOX, autoescape=True))
    with reading(engine) as connection:
        waiting = connection.execute(select(outbox).where(*ours).order_by(outbox.c.time, outbox.c.key)).mappings().all()
    for row in waiting:
        body = json_of(row["data"])
        position = log.append(
            row["kind"],
            row["subject"],
            cast("Mapping[str, object]", body.get("data", {})),
            actor=str(body.get("actor", "assay")),
            now=from_text(row["time"]),
            once=row["key"],
        )
        with writing(engine) as connection:
            connection.execute(update(outbox).where(outbox.c.key == row["key"]).values(drained=position))
    return len(waiting)


def outbox_key(model: str, digest: str, signal: str, where: str | None, window: str) -> str:
    """The key of an alarm's outbox row, under which the log takes it once."""
    return f"{OUTBOX}{model}:{digest}:{signal}:{where or ''}:{window}"


def _alarm(row: RowMapping, position: int | None) -> StoredAlarm:
    return StoredAlarm(row["id"], row["model"], row["baseline"], row["raised"], json_of(row["detail"]), position)


def _finite(value: object) -> object:
    """JSON without infinities: they become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value
