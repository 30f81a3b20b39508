"""How a happening is written down: incident, step, messages and log entry, in the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from assay.incidents import mail, store
from assay.incidents.audiences import Channels
from assay.incidents.course import Incident, escalation_wait, fold, louder
from assay.incidents.rules import BOTH, Audience, IncidentSpec
from assay.storage.clock import utc_text


@dataclass(frozen=True, slots=True)
class Filing:
    """Writes happenings down.

    Attributes:
        channels: Who is told.
        escalate_after: Time that people have to acknowledge.
        actor: Who steps of the program itself are written down for.
    """

    channels: Channels
    escalate_after: timedelta
    actor: str

    def file(self, connection: Connection, spec: IncidentSpec, *, cause: int | None, now: datetime) -> int:
        """Open an incident, or feed the unresolved one of the same fingerprint; returns its number."""
        known = store.unresolved(connection, spec.fingerprint)
        if known is None:
            return self._open(connection, spec, cause=cause, now=now)
        self._feed(connection, known, spec, cause=cause, now=now)
        return known.id

    def escalate(self, connection: Connection, incident: Incident, now: datetime) -> None:
        """Take the next step: owners and security are told, louder, and sooner or later again."""
        level = incident.level + 1
        again = (now + escalation_wait(self.escalate_after, level)).astimezone(UTC)
        store.change(connection, incident, now=now, level=level, escalate_at=utc_text(again))
        detail = f"nobody has acknowledged it: step {level}, the next at {again:%Y-%m-%d %H:%M} UTC"
        self.step(connection, incident, "escalated", detail, now=now, data={"level": level})
        title = louder(incident.title, level)
        text = f"{detail}\nknown so far: {', '.join(incident.facts) or incident.kind}"
        self._tell(connection, incident.id, BOTH, title=title, text=text, now=now, soon=True)

    def step(
        self,
        connection: Connection,
        incident: Incident,
        kind: str,
        detail: str,
        *,
        now: datetime,
        actor: str | None = None,
        entry: int | None = None,
        data: Mapping[str, object] | None = None,
    ) -> None:
        """Write a line of the timeline and leave its entry for the log."""
        who = actor or self.actor
        number = store.add_step(connection, incident.id, kind, actor=who, detail=detail, now=now, entry=entry)
        body: dict[str, object] = {
            "incident": incident.id,
            "kind": incident.kind,
            "model": incident.model,
            "fingerprint": incident.fingerprint,
            "severity": incident.severity.value,
            "title": incident.title,
            "detail": detail,
            "cause": entry,
            **(data or {}),
        }
        store.announce(
            connection, str(number), f"incident.{kind}", subject=incident.model, actor=who, data=body, now=now
        )

    def _open(self, connection: Connection, spec: IncidentSpec, *, cause: int | None, now: datetime) -> int:
        number = store.create(connection, spec, escalate_at=now + self.escalate_after, now=now)
        incident = store.get(connection, number)
        again = f"; incident {incident.former} was the same" if incident.former else ""
        data = {"former": incident.former, "facts": list(spec.facts)}
        self.step(connection, incident, "opened", f"{spec.title}{again}", now=now, entry=cause, data=data)
        self._tell(connection, number, spec.audiences, title=spec.title, text=spec.text + again, now=now, soon=True)
        return number

    def _feed(
        self, connection: Connection, known: Incident, spec: IncidentSpec, *, cause: int | None, now: datetime
    ) -> None:
        change = fold(known, spec)
        values: dict[str, object] = {"facts": json.dumps(list(change.facts)), "severity": change.severity.value}
        if change.reopen:
            values.update(state="open", escalate_at=utc_text(now + self.escalate_after))
        store.change(connection, known, now=now, **values)
        if not change.tell:
            return
        detail = f"new: {', '.join(change.new) or f'it is {change.severity.value} now'}"
        if change.reopen:
            detail += "; open again, since this was not known when it was acknowledged"
        incident = store.get(connection, known.id)
        data = {"facts": list(change.new), "reopened": change.reopen}
        self.step(connection, incident, "updated", detail, now=now, entry=cause, data=data)
        title = louder(spec.title, known.level)
        self._tell(connection, known.id, spec.audiences, title=title, text=spec.text, now=now, soon=change.soon)

    def _tell(
        self,
        connection: Connection,
        incident: int,
        audiences: Collection[Audience],
        *,
        title: str,
        text: str,
        now: datetime,
        soon: bool,
    ) -> None:
        told: set[str] = set()
        for audience in audiences:
            for channel in self.channels.of(audience):
                if channel in told:  # one address in both audiences, or standing in for an empty one
                    continue
                told.add(channel)
                last = None if soon else mail.last_sent(connection, incident, channel)
                # What is not urgent gathers for one escalation time, so that a flood is two messages.
                due = now if last is None else max(now, last + self.escalate_after)
                mail.queue(
                    connection, incident=incident, audience=audience, channel=channel, title=title, text=text, due=due
                )
