"""The desk where incidents are opened, told, escalated, acknowledged and resolved.

The audit log is the outbox: the desk reads it after the last entry it has handled. An entry, the
incident it opens, its messages and the mark that it is handled commit in one transaction, so a
process killed anywhere leaves either all of them or none. What the desk itself does goes into the
log through the outbox table, under a key that the log takes once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from assay.audit.entry import Entry
from assay.audit.log import AuditLog
from assay.errors import AlertError, AssayError, IncidentError
from assay.findings import Finding, Severity
from assay.incidents import mail, store
from assay.incidents.audiences import Channels
from assay.incidents.channels.base import Message
from assay.incidents.course import Incident, State, check_step
from assay.incidents.filing import Filing
from assay.incidents.reader import BATCH, Batch, batches
from assay.incidents.rules import IncidentSpec, incident_of, reported
from assay.storage.clock import utc_text
from assay.storage.database import reading, writing


@dataclass(frozen=True, slots=True)
class Shown:
    """One incident with everything about it.

    Attributes:
        incident: As it is now.
        steps: Its timeline.
        positions: Log positions of the entries it was opened and fed from.
        waiting: Messages that no channel took yet, with the last error.
    """

    incident: Incident
    steps: tuple[store.StepRecord, ...]
    positions: tuple[int, ...]
    waiting: tuple[dict[str, object], ...]

    def as_json(self) -> dict[str, object]:
        """The incident as ``incident show --json`` prints it."""
        return {
            **self.incident.as_json(),
            "steps": [step.as_json() for step in self.steps],
            "entries": list(self.positions),
            "waiting": list(self.waiting),
        }


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of the desk did.

    Attributes:
        touched: Incidents opened or fed, in order.
        escalated: Incidents escalated.
        sent: Messages that a channel took.
        failed: Messages that none took; they wait for the next try.
    """

    touched: tuple[int, ...]
    escalated: tuple[int, ...]
    sent: int
    failed: int


class Desk:
    """Incidents of one project.

    Args:
        engine: The state database.
        log: The audit log it reads and writes to.
        channels: Who is told.
        escalate_after: Time that people have to acknowledge before it escalates; above zero.
        actor: Who the desk's own steps are written down for: the program or host.
    """

    def __init__(
        self, engine: Engine, log: AuditLog, channels: Channels, *, escalate_after: timedelta, actor: str
    ) -> None:
        if escalate_after <= timedelta(0):
            raise ValueError("escalate_after must be longer than zero")
        self._engine = engine
        self._log = log
        self._channels = channels
        self._filing = Filing(channels, escalate_after, actor)
        self._actor = actor

    def run(self, now: datetime) -> Round:
        """Read, escalate and deliver; a step that fails does not keep the later ones from being tried.

        Raises:
            AssayError: The first failure, after everything was tried: a full disk under the log must
                not silence the channels.
        """
        troubles: list[AssayError] = []
        touched: list[int] = []
        escalated: list[int] = []
        sent = failed = 0
        try:
            touched = self.read(now)
        except AssayError as err:
            troubles.append(err)
        try:
            escalated = self.escalate(now)
        except AssayError as err:
            troubles.append(err)
        try:
            sent, failed = self.deliver(now)
        except AssayError as err:
            troubles.append(err)
        if troubles:
            raise troubles[0]
        return Round(tuple(touched), tuple(escalated), sent, failed)

    def read(self, now: datetime, *, again: bool = False) -> list[int]:
        """Open or feed an incident for each new log entry that needs one, each entry exactly once.

        Args:
            now: The time.
            again: Read from the first entry: finds those that an edited cursor skipped.

        Returns:
            Numbers of the incidents touched, in order, each once.
        """
        touched = [*self._notice_cut(now)]
        after = -1
        if not again:
            with reading(self._engine) as connection:
                after = store.cursor(connection)
        for batch in batches(self._log, after):
            touched += self._take(batch, now)
        self._drain()
        return list(dict.fromkeys(touched))

    def report(self, spec: IncidentSpec, now: datetime) -> int:
        """Open or feed an incident that no entry tells of: a broken log, an edited table.

        Returns:
            Number of the incident.
        """
        with writing(self._engine, alone=True) as connection:
            incident = self._filing.file(connection, spec, cause=None, now=now)
        self._drain()
        return incident

    def deliver(self, now: datetime) -> tuple[int, int]:
        """Send every message that is due, at least once each.

        Returns:
            How many were taken, and how many were not and wait for the next try.
        """
        with reading(self._engine) as connection:
            numbers = mail.due(connection, now)
        outcomes = [self._send(number, now) for number in numbers]
        self._drain()
        return outcomes.count(True), outcomes.count(False)

    def escalate(self, now: datetime) -> list[int]:
        """Tell owners and security, louder, of what nobody has acknowledged in time.

        Returns:
            Numbers of the incidents escalated.
        """
        done: list[int] = []
        with writing(self._engine, alone=True) as connection:
            for incident in store.to_escalate(connection, now):
                self._filing.escalate(connection, incident, now)
                done.append(incident.id)
        self._drain()
        return done

    def acknowledge(self, incident: int, actor: str, now: datetime) -> None:
        """Somebody takes it; of two who try at once, one does.

        Raises:
            IncidentError: There is no such incident, or it is not open any more.
        """
        with writing(self._engine, alone=True) as connection:
            found = store.get(connection, incident)
            check_step(found, "acknowledged")
            store.change(connection, found, now=now, state="acknowledged", owner=actor, escalate_at=None)
            self._filing.step(connection, found, "acknowledged", f"{actor} has it", now=now, actor=actor)
        self._drain()

    def resolve(self, incident: int, actor: str, reason: str, now: datetime) -> None:
        """It is over; the same happening later opens a new incident that names this one.

        Raises:
            IncidentError: There is no such incident, it is resolved already, or there is no reason given.
        """
        if not reason.strip():
            raise IncidentError("say why it is over: the next one on call will read it")
        with writing(self._engine, alone=True) as connection:
            found = store.get(connection, incident)
            check_step(found, "resolved")
            store.change(connection, found, now=now, state="resolved", escalate_at=None)
            self._filing.step(connection, found, "resolved", reason.strip(), now=now, actor=actor)
        self._drain()

    def exported(self, incident: int, *, manifest: str, actor: str, now: datetime) -> int:
        """Note that evidence of the incident left the house; the log's entry names its manifest.

        Returns:
            Log position of that entry.

        Raises:
            IncidentError: There is no such incident.
            LogError: The log takes no entry, so nothing may leave.
        """
        with reading(self._engine) as connection:
            found = store.get(connection, incident)
        data = {"incident": found.id, "model": found.model, "fingerprint": found.fingerprint, "manifest": manifest}
        position = self._log.append("incident.exported", found.model, data, actor=actor, now=now)
        with writing(self._engine) as connection:
            detail = f"{actor} exported the evidence, manifest {manifest}"
            store.add_step(connection, incident, "exported", actor=actor, detail=detail, now=now, entry=position)
        return position

    def list(self, *, model: str | None = None, state: State | None = None) -> list[Incident]:
        """Incidents, the newest first."""
        with reading(self._engine) as connection:
            return store.listed(connection, model=model, state=state)

    def show(self, incident: int) -> Shown:
        """One incident with its timeline.

        Raises:
            IncidentError: There is no such incident.
        """
        with reading(self._engine) as connection:
            return Shown(
                incident=store.get(connection, incident),
                steps=tuple(store.steps_of(connection, incident)),
                positions=tuple(store.positions_of(connection, incident)),
                waiting=tuple(mail.waiting(connection, incident)),
            )

    def test(self, now: datetime) -> dict[str, str | None]:
        """Send a test message through every channel.

        Returns:
            For each channel, by the label a person knows it by, why it failed; None when it did not.
        """
        found: dict[str, str | None] = {}
        for digest in self._channels.digests():
            label = self._channels.label(digest)
            message = Message(
                id=f"test-{utc_text(now)}-{digest[:8]}",
                source=self._log.origin,
                incident=None,
                kind="test",
                model="",
                severity="info",
                title="assay: a test of this channel",
                text="Nothing is wrong. Real alerts will arrive here.",
                time=now,
            )
            try:
                self._channels.send(digest, message)
            except AlertError as err:
                found[label] = err.message
            else:
                found[label] = None
        return found

    def _take(self, batch: Batch, now: datetime) -> Sequence[int]:
        """Handle a batch and move the cursor behind it: one transaction, all or nothing."""
        touched = []
        with writing(self._engine, alone=True) as connection:
            for logged in batch.entries:
                spec = incident_of(logged.entry)
                if spec is None or store.is_handled(connection, logged.position):
                    continue
                number = self._filing.file(connection, spec, cause=logged.position, now=now)
                store.mark_handled(connection, logged.position, number)
                touched.append(number)
            if batch.findings:
                spec = reported("audit", self._log.origin, "log", batch.findings)
                touched.append(self._filing.file(connection, spec, cause=None, now=now))
            if batch.last > store.cursor(connection):
                store.set_cursor(connection, batch.last)
        return touched

    def _notice_cut(self, now: datetime) -> Sequence[int]:
        """A log that is shorter than what was read of it was cut or put back: say so, and read what comes anew."""
        size = self._log.size()
        with writing(self._engine, alone=True) as connection:
            read = store.cursor(connection) + 1
            if read <= size:
                return []
            detail = f"the log has {size} entries, but {read} were read from it: it was cut or put back"
            found = Finding("log.rolled-back", "log", Severity.CRITICAL, detail, {"size": size, "read": read})
            store.forget_from(connection, size)
            spec = reported("audit", self._log.origin, "log", [found])
            return [self._filing.file(connection, spec, cause=None, now=now)]

    def _send(self, number: int, now: datetime) -> bool | None:
        """Try one message; None when another process has it. No transaction is open while a channel is waited for."""
        with writing(self._engine) as connection:
            letter = mail.claim(connection, number, now)
            if letter is None:
                return None
            incident = store.get(connection, letter.incident)
        message = Message(
            id=f"{self._log.origin}/{letter.id}",
            source=self._log.origin,
            incident=incident.id,
            kind=incident.kind,
            model=incident.model,
            severity=incident.severity.value,
            title=letter.title,
            text=letter.text,
            time=now,
        )
        label = self._channels.label(letter.channel)
        try:
            self._channels.send(letter.channel, message)
        except AlertError as err:
            with writing(self._engine) as connection:
                again = utc_text(mail.failed(connection, letter, err.message, now))
                data = {"incident": incident.id, "model": incident.model, "channel": label, "tries": letter.tries}
                store.announce(
                    connection,
                    f"{letter.id}-try-{letter.tries}",
                    "alert.failed",
                    subject=label,
                    actor=self._actor,
                    data={**data, "detail": err.message, "again": again},
                    now=now,
                )
            return False
        with writing(self._engine) as connection:
            mail.sent(connection, letter, now)
            detail = f"{label} took a message for {letter.audience}: {letter.title}"
            store.add_step(connection, incident.id, "notified", actor=self._actor, detail=detail, now=now)
        return True

    def _drain(self) -> None:
        """Move what waits in the outbox into the log; killed in between, the log takes each key once."""
        while True:
            with reading(self._engine) as connection:
                rows = store.pending(connection, BATCH)
            if not rows:
                return
            entries = [Entry(row.kind, row.subject, row.time, row.actor, row.data) for row in rows]
            positions = self._log.append_many(entries, once=[row.key for row in rows])
            with writing(self._engine) as connection:
                for row, position in zip(rows, positions, strict=True):
                    store.drained(connection, row.key, position)
