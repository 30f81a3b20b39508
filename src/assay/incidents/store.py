"""Incidents in the database: rows in, values out; every function works inside the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from assay.errors import IncidentError, StorageError
from assay.findings import Severity
from assay.incidents.course import Incident, State, state_of
from assay.incidents.rules import IncidentSpec, Kind
from assay.storage.clock import from_text, utc_text
from assay.storage.tables import cursors, handled, incident_steps, incidents, outbox

CURSOR = "incidents"
OUTBOX = "incident-step:"  # keys of outbox rows that are ours


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One line of an incident's timeline.

    Attributes:
        id: Its number.
        time: When.
        kind: ``opened``, ``new-fact``, ``notified``, ``escalated``, ``acknowledged``, ``resolved``, ``exported``.
        actor: Who.
        detail: One sentence.
        entry: Log position that caused it or records it; None until it is in the log.
    """

    id: int
    time: datetime
    kind: str
    actor: str
    detail: str
    entry: int | None

    def as_json(self) -> dict[str, object]:
        """The step as ``incident show --json`` prints it."""
        return {
            "time": utc_text(self.time),
            "kind": self.kind,
            "actor": self.actor,
            "detail": self.detail,
            "entry": self.entry,
        }


@dataclass(frozen=True, slots=True)
class Pending:
    """An outbox row that is not in the log yet."""

    key: str
    kind: str
    subject: str
    time: datetime
    actor: str
    data: Mapping[str, object]


def cursor(connection: Connection) -> int:
    """Position of the last entry that was read; -1 before the first."""
    found = connection.execute(select(cursors.c.position).where(cursors.c.name == CURSOR)).scalar()
    return -1 if found is None else int(found)


def set_cursor(connection: Connection, position: int) -> None:
    """Remember the last entry that was read."""
    connection.execute(delete(cursors).where(cursors.c.name == CURSOR))
    connection.execute(insert(cursors).values(name=CURSOR, position=position))


def is_handled(connection: Connection, position: int) -> bool:
    """Whether an entry has opened or fed an incident already."""
    return connection.execute(select(handled.c.position).where(handled.c.position == position)).first() is not None


def mark_handled(connection: Connection, position: int, incident: int) -> None:
    """Tie an entry to its incident; a second time is an error of the database's."""
    connection.execute(insert(handled).values(position=position, incident=incident))


def forget_from(connection: Connection, position: int) -> None:
    """Read again from a position: the log was cut there, and what comes now are other entries."""
    connection.execute(delete(handled).where(handled.c.position >= position))
    set_cursor(connection, position - 1)


def positions_of(connection: Connection, incident: int) -> list[int]:
    """Positions of the entries an incident was opened and fed from, in order."""
    found = select(handled.c.position).where(handled.c.incident == incident).order_by(handled.c.position)
    return [int(position) for position in connection.execute(found).scalars()]


def unresolved(connection: Connection, fingerprint: str) -> Incident | None:
    """The incident of this fingerprint that is not resolved."""
    query = select(incidents).where(incidents.c.fingerprint == fingerprint, incidents.c.state != "resolved")
    row = connection.execute(query.order_by(incidents.c.id.desc())).mappings().first()
    return None if row is None else _incident(row)


def former(connection: Connection, fingerprint: str) -> int | None:
    """Number of the last resolved incident of this fingerprint."""
    query = select(func.max(incidents.c.id)).where(incidents.c.fingerprint == fingerprint)
    found = connection.execute(query).scalar()
    return None if found is None else int(found)


def create(connection: Connection, spec: IncidentSpec, *, escalate_at: datetime, now: datetime) -> int:
    """Open an incident and return its number."""
    made = connection.execute(
        insert(incidents).values(
            fingerprint=spec.fingerprint,
            model=spec.model,
            kind=spec.kind,
            severity=spec.severity.value,
            title=spec.title,
            state="open",
            opened=utc_text(now),
            updated=utc_text(now),
            owner=None,
            level=0,
            escalate_at=utc_text(escalate_at),
            facts=json.dumps(list(spec.facts)),
            former=former(connection, spec.fingerprint),
        )
    )
    return _key(made.inserted_primary_key)


def change(connection: Connection, incident: Incident, *, now: datetime, **values: object) -> bool:
    """Change an incident that is still as the caller saw it.

    Returns:
        False when somebody else was faster: nothing was changed.
    """
    same = (incidents.c.id == incident.id, incidents.c.state == incident.state, incidents.c.level == incident.level)
    done = connection.execute(update(incidents).where(*same).values(updated=utc_text(now), **values))
    return done.rowcount == 1


def get(connection: Connection, incident: int) -> Incident:
    """The incident of this number.

    Raises:
        IncidentError: There is none.
    """
    row = connection.execute(select(incidents).where(incidents.c.id == incident)).mappings().first()
    if row is None:
        raise IncidentError(f"there is no incident {incident}: list them to see their numbers")
    return _incident(row)


def listed(connection: Connection, *, model: str | None = None, state: State | None = None) -> list[Incident]:
    """Incidents, the newest first."""
    query = select(incidents).order_by(incidents.c.id.desc())
    if model is not None:
        query = query.where(incidents.c.model == model)
    if state is not None:
        query = query.where(incidents.c.state == state)
    return [_incident(row) for row in connection.execute(query).mappings()]


def to_escalate(connection: Connection, now: datetime) -> list[Incident]:
    """Open incidents whose time to be acknowledged is over."""
    late = (incidents.c.state == "open", incidents.c.escalate_at <= utc_text(now))
    query = select(incidents).where(*late).order_by(incidents.c.id)
    return [_incident(row) for row in connection.execute(query).mappings()]


def add_step(
    connection: Connection,
    incident: int,
    kind: str,
    *,
    actor: str,
    detail: str,
    now: datetime,
    entry: int | None = None,
) -> int:
    """Write a line of the timeline and return its number."""
    made = connection.execute(
        insert(incident_steps).values(
            incident=incident, time=utc_text(now), kind=kind, actor=actor, detail=detail, entry=entry
        )
    )
    return _key(made.inserted_primary_key)


def steps_of(connection: Connection, incident: int) -> list[StepRecord]:
    """The timeline, in order."""
    query = select(incident_steps).where(incident_steps.c.incident == incident).order_by(incident_steps.c.id)
    return [
        StepRecord(
            id=int(row["id"]),
            time=from_text(row["time"]),
            kind=row["kind"],
            actor=row["actor"],
            detail=row["detail"],
            entry=row["entry"],
        )
        for row in connection.execute(query).mappings()
    ]


def announce(
    connection: Connection, key: str, kind: str, *, subject: str, actor: str, data: Mapping[str, object], now: datetime
) -> None:
    """Leave an entry for the log in the same transaction as what it tells of."""
    body = json.dumps({"actor": actor, "data": dict(data)}, sort_keys=True)
    connection.execute(
        insert(outbox).values(key=OUTBOX + key, kind=kind, subject=subject, time=utc_text(now), data=body, drained=None)
    )


def pending(connection: Connection, limit: int) -> list[Pending]:
    """Outbox rows of ours that are not in the log yet, the oldest first."""
    waiting = (outbox.c.drained.is_(None), outbox.c.key.startswith(OUTBOX, autoescape=True))
    query = select(outbox).where(*waiting).order_by(outbox.c.time, outbox.c.key).limit(limit)
    found: list[Pending] = []
    for row in connection.execute(query).mappings():
        body = json.loads(row["data"])
        found.append(
            Pending(row["key"], row["kind"], row["subject"], from_text(row["time"]), body["actor"], body["data"])
        )
    return found


def drained(connection: Connection, key: str, position: int) -> None:
    """Remember at which log position an outbox row is; a step without an entry gets it."""
    connection.execute(update(outbox).where(outbox.c.key == key).values(drained=position))
    step = key.removeprefix(OUTBOX)
    if step.isdigit():
        mine = (incident_steps.c.id == int(step), incident_steps.c.entry.is_(None))
        connection.execute(update(incident_steps).where(*mine).values(entry=position))


def _key(key: Sequence[object] | None) -> int:
    if not key or not isinstance(key[0], int):
        raise StorageError("the database gave a new row no number")
    return key[0]


def _incident(row: RowMapping) -> Incident:
    try:
        facts = json.loads(row["facts"])
        severity = Severity(row["severity"])
    except ValueError as err:
        raise StorageError(f"incident {row['id']} cannot be read: the database was edited") from err
    return Incident(
        id=int(row["id"]),
        fingerprint=row["fingerprint"],
        model=row["model"],
        kind=cast("Kind", row["kind"]),
        severity=severity,
        title=row["title"],
        state=state_of(row["state"]),
        opened=from_text(row["opened"]),
        updated=from_text(row["updated"]),
        owner=row["owner"],
        level=int(row["level"]),
        escalate_at=None if row["escalate_at"] is None else from_text(row["escalate_at"]),
        facts=tuple(str(fact) for fact in facts) if isinstance(facts, list) else (),
        former=row["former"],
    )
