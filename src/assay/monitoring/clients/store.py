"""Keeps what was seen of clients, and their alarms beside those of the other signals: all of a run, or nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Engine, delete, insert, select

from assay.errors import StorageError
from assay.monitoring.clients.judge import ClientAlarm
from assay.monitoring.clients.sight import ClientWindow, Seen, as_json, parse
from assay.monitoring.clients.words import as_json as alarm_json
from assay.monitoring.store import outbox_key
from assay.storage.clock import utc_text
from assay.storage.database import reading, writing
from assay.storage.tables import alarms, outbox, windows

KEPT: Final = 1024
"""So many of the newest windows are kept and judged."""


ALARM: Final = "client.alarm"
_REFERENCE: Final = "reference"


def load(engine: Engine, model: str, space: str) -> tuple[ClientWindow, ...]:
    """The windows kept of a model, in time order.

    Args:
        engine: The state database.
        model: Which model.
        space: What they were counted by.

    Raises:
        StorageError: The database cannot be read, or was edited.
    """
    mine = (windows.c.model == model, windows.c.baseline == space, windows.c.start != _REFERENCE)
    with reading(engine) as connection:
        rows = connection.execute(select(windows).where(*mine).order_by(windows.c.start)).mappings().all()
    return tuple(ClientWindow(str(row["start"]), str(row["end"]), _seen(str(row["counts"]))) for row in rows)


def load_usual(engine: Engine, model: str, space: str) -> Mapping[str, Seen] | None:
    """What clients did in the reference; None when nobody looked yet."""
    mine = (windows.c.model == model, windows.c.baseline == space, windows.c.start == _REFERENCE)
    with reading(engine) as connection:
        counts = connection.execute(select(windows.c.counts).where(*mine)).scalar()
    return None if counts is None else _seen(str(counts))


def save_usual(engine: Engine, model: str, space: str, usual: Mapping[str, Seen]) -> None:
    """Keep what clients did in the reference."""
    with writing(engine, alone=True) as connection:
        _put(connection, model, space, ClientWindow(_REFERENCE, _REFERENCE, usual))


def record(
    engine: Engine,
    *,
    model: str,
    space: str,
    changed: Sequence[ClientWindow],
    oldest: str,
    raised: Sequence[ClientAlarm],
    column: str,
    now: datetime,
    actor: str,
) -> tuple[ClientAlarm, ...]:
    """Keep what a run saw; doing it again changes nothing.

    Args:
        engine: The state database.
        model: Which model.
        space: What the windows were counted by.
        changed: Windows that are new or have more rows than before.
        oldest: Start of the first window to keep; those before it go.
        raised: All alarms that these and earlier windows raise.
        column: The column that says who asked.
        now: When this happens.
        actor: Who looks.

    Returns:
        The alarms that were not known before.

    Raises:
        StorageError: The database cannot be written; nothing was.
    """
    with writing(engine, alone=True) as connection:
        for window in changed:
            _put(connection, model, space, window)
        mine = (windows.c.model == model, windows.c.baseline == space, windows.c.start != _REFERENCE)
        connection.execute(delete(windows).where(*mine, windows.c.start < oldest))
        return tuple(
            alarm for alarm in raised if _raise(connection, model, space, alarm, column=column, now=now, actor=actor)
        )


def _raise(
    connection: Connection, model: str, space: str, alarm: ClientAlarm, *, column: str, now: datetime, actor: str
) -> bool:
    """Write an alarm and its outbox row, unless it is there: late rows can move the window that raises it."""
    told = alarm_json(alarm)
    signal, where = str(told["signal"]), json.dumps({column: told["client"]}, sort_keys=True)
    same = (alarms.c.model == model, alarms.c.baseline == space, alarms.c.signal == signal, alarms.c.slice == where)
    there = [str(one) for one in connection.execute(select(alarms.c.window).where(*same)).scalars()]
    first = min(alarm.since, alarm.window)
    if any(first <= one and (alarm.until is None or one <= alarm.until) for one in there):
        return False
    values = {
        "model": model,
        "baseline": space,
        "signal": signal,
        "slice": where,
        "window": alarm.window,
        "since": alarm.since,
        "size": told["size"],
        "low": alarm.low,
        "high": alarm.high,
        "log_e": alarm.log_e,
        "detail": json.dumps(told, allow_nan=False),
        "raised": utc_text(now),
    }
    connection.execute(insert(alarms).values(**values))
    body = json.dumps({"actor": actor, "data": told | {"baseline": space}}, allow_nan=False, sort_keys=True)
    key = outbox_key(model, space, signal, where, alarm.window)
    connection.execute(insert(outbox).values(key=key, kind=ALARM, subject=model, time=utc_text(now), data=body))
    return True


def _put(connection: Connection, model: str, space: str, window: ClientWindow) -> None:
    key = {"model": model, "baseline": space, "start": window.start}
    connection.execute(delete(windows).where(*(windows.c[name] == value for name, value in key.items())))
    rows = sum(one.rows for name, one in window.seen.items() if name.isprintable())
    counts = json.dumps(as_json(window.seen), sort_keys=True)
    connection.execute(insert(windows).values(**key, end=window.end, rows=rows, counts=counts, summary="{}"))


def _seen(text: str) -> dict[str, Seen]:
    try:
        data = json.loads(text)
        return {str(name): parse(str(name), numbers) for name, numbers in data.items()}
    except (ValueError, TypeError, AttributeError) as err:
        raise StorageError("what was seen of clients cannot be read: the database was edited") from err
