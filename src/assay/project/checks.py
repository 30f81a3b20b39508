"""When each kind of check last ran for a model and how it ended: what freshness is told from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from assay.errors import AssayError, StorageError
from assay.storage.clock import from_text, utc_text
from assay.storage.database import reading, writing
from assay.storage.tables import checks

if TYPE_CHECKING:
    from sqlalchemy import Engine

KINDS = ("bytes", "data", "validation", "scan", "monitoring", "clients", "fingerprint", "diagnosis")
WHOLE_PROJECT = ""  # the `model` of checks that are about the project: the log


class Light(StrEnum):
    """What a person may conclude from a check at a glance. Silence is never green."""

    GOOD = "good"
    BAD = "bad"
    UNCERTAIN = "uncertain"
    STALE = "stale"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Check:
    """The last run of one kind of check.

    Attributes:
        kind: ``bytes``, ``data``, ``validation``, ``scan``, ``monitoring``, ``clients``, ``fingerprint``,
            ``diagnosis`` or ``log``.
        outcome: ``pass``, ``fail`` or ``unknown``; None when it never ran.
        time: When it ran; None when it never did.
        limit: How old it may be before it counts for nothing.
        detail: One sentence.
        body: Numbers of this kind of check, JSON types.
        position: Log position it is written at.
    """

    kind: str
    outcome: str | None
    time: datetime | None
    limit: timedelta
    detail: str = "never run"
    body: Mapping[str, object] = field(default_factory=dict)
    position: int | None = None

    def light(self, now: datetime) -> Light:
        """What it says now: an old good answer is stale, an old bad one stays bad."""
        if self.time is None:
            return Light.NEVER
        if self.outcome == "fail":
            return Light.BAD
        if now - self.time > self.limit:
            return Light.STALE
        return Light.GOOD if self.outcome == "pass" else Light.UNCERTAIN


def limits(*, tier: str, window: timedelta) -> dict[str, timedelta]:
    """How old each kind of check may be.

    Args:
        tier: ``critical`` models are validated daily, ``standard`` ones weekly.
        window: Span of a monitoring window; monitoring is stale after two of them, at least two days.
    """
    day = timedelta(days=1)
    return {
        "bytes": 2 * day,
        "data": 8 * day,
        "validation": 2 * day if tier == "critical" else 8 * day,
        "scan": 30 * day,
        "monitoring": max(2 * window, 2 * day),
        "clients": 2 * day,
        "fingerprint": 2 * day,
        "diagnosis": max(2 * window, 2 * day),
        "log": 2 * day,
    }


def record(  # one row per (model, kind): the history is in the log
    engine: Engine,
    model: str,
    kind: str,
    *,
    outcome: str,
    detail: str,
    now: datetime,
    body: Mapping[str, object] | None = None,
    position: int | None = None,
) -> None:
    """Remember how a check ended; replaces the former run of the same kind."""
    row = {
        "model": model,
        "kind": kind,
        "time": utc_text(now),
        "outcome": outcome,
        "detail": detail,
        "body": json.dumps(body or {}, sort_keys=True, default=str),
        "position": position,
    }
    with writing(engine) as connection:
        connection.execute(delete(checks).where(checks.c.model == model, checks.c.kind == kind))
        connection.execute(insert(checks).values(row))


@contextmanager
def attempted(engine: Engine, model: str, kind: str, now: datetime) -> Iterator[None]:
    """Remember a check that could not run: its former pass no longer stands, its former failure does."""
    try:
        yield
    except OSError as err:  # a full disk under a report or a filled-in reference
        trouble = StorageError(f"{err.strerror or err}: {err.filename or 'no file named'}")
        could_not_run(engine, model, kind, trouble, now)
        raise trouble from err
    except AssayError as err:
        could_not_run(engine, model, kind, err, now)
        raise


def could_not_run(engine: Engine, model: str, kind: str, error: AssayError, now: datetime) -> None:
    """Remember why a check could not run, unless it failed when it last could: bad stays bad until it is good."""
    if last(engine, model, {kind: timedelta(0)})[kind].outcome != "fail":
        record(engine, model, kind, outcome="unknown", detail=error.message, now=now)


def last(engine: Engine, model: str, limit_by_kind: Mapping[str, timedelta]) -> dict[str, Check]:
    """The last run of every kind in ``limit_by_kind``; those that never ran are there too."""
    with reading(engine) as connection:
        rows = connection.execute(select(checks).where(checks.c.model == model)).mappings().all()
    found = {str(row["kind"]): dict(row) for row in rows}
    return {kind: _check(kind, found.get(kind), limit) for kind, limit in limit_by_kind.items()}


def _check(kind: str, row: dict[str, object] | None, limit: timedelta) -> Check:
    if row is None:
        return Check(kind=kind, outcome=None, time=None, limit=limit)
    position = row["position"]
    return Check(
        kind=kind,
        outcome=str(row["outcome"]),
        time=from_text(str(row["time"])),
        limit=limit,
        detail=str(row["detail"]),
        body=json.loads(str(row["body"])),
        position=position if isinstance(position, int) else None,
    )
