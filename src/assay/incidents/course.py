"""The course of an incident: open, acknowledged, resolved; what is told again, and how soon it escalates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from assay.errors import IncidentError, StorageError
from assay.findings import Severity
from assay.incidents.rules import URGENT, IncidentSpec, Kind
from assay.storage.clock import utc_text

State = Literal["open", "acknowledged", "resolved"]
Step = Literal["acknowledged", "resolved"]

ALLOWED: Mapping[Step, tuple[State, ...]] = {
    "acknowledged": ("open",),
    "resolved": ("open", "acknowledged"),
}
SLOWEST = timedelta(days=1)  # a silent contact is reminded at least daily
MOST_FACTS = 64  # more new facts than this are kept but no longer told one by one
FIRST_RETRY = timedelta(seconds=30)
SLOWEST_RETRY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Incident:
    """Something people must look at.

    Attributes:
        id: Its number.
        fingerprint: What makes two happenings the same incident.
        model: Which model; for ``audit`` the log's origin, for ``alerting`` the channel.
        kind: ``integrity``, ``performance``, ``data``, ``drift``, ``audit``, ``alerting``.
        severity: The worst seen so far.
        title: One line.
        state: ``open``, ``acknowledged`` or ``resolved``.
        opened: When it was opened.
        updated: When something last happened to it.
        owner: Who acknowledged it; None while nobody has.
        level: Escalation steps taken.
        escalate_at: When it escalates next; None when somebody has it.
        facts: What is known, as words of a small vocabulary.
        former: The resolved incident this one repeats; None when it is the first.
    """

    id: int
    fingerprint: str
    model: str
    kind: Kind
    severity: Severity
    title: str
    state: State
    opened: datetime
    updated: datetime
    owner: str | None
    level: int
    escalate_at: datetime | None
    facts: tuple[str, ...]
    former: int | None

    def as_json(self) -> dict[str, object]:
        """The incident as ``incident list --json`` prints it."""
        return {
            "id": self.id,
            "fingerprint": self.fingerprint,
            "model": self.model,
            "kind": self.kind,
            "severity": self.severity.value,
            "title": self.title,
            "state": self.state,
            "opened": utc_text(self.opened),
            "updated": utc_text(self.updated),
            "owner": self.owner,
            "level": self.level,
            "escalate_at": None if self.escalate_at is None else utc_text(self.escalate_at),
            "facts": list(self.facts),
            "former": self.former,
        }


@dataclass(frozen=True, slots=True)
class Fold:
    """What a further happening changes about an incident that is known already.

    Attributes:
        facts: All facts known now.
        new: Those that were not known before.
        severity: The worst seen.
        tell: Whether people are told of it.
        soon: Told at once, not gathered with what may follow.
        reopen: An acknowledged incident opens again: what was acknowledged was less than this.
    """

    facts: tuple[str, ...]
    new: tuple[str, ...]
    severity: Severity
    tell: bool
    soon: bool
    reopen: bool


def fold(incident: Incident, spec: IncidentSpec) -> Fold:
    """Decide what a further happening with the same fingerprint means.

    What is known already is counted, not told again: that is what holds a flood to one incident. A
    new fact is told; about integrity, or when it is worse than before, at once and to people who
    thought they had the whole of it.
    """
    new = tuple(fact for fact in spec.facts if fact not in incident.facts)[: max(0, MOST_FACTS - len(incident.facts))]
    worse = spec.severity.rank > incident.severity.rank
    soon = worse or (spec.kind in URGENT and bool(new))
    return Fold(
        facts=(*incident.facts, *new),
        new=new,
        severity=spec.severity if worse else incident.severity,
        tell=bool(new) or worse,
        soon=soon,
        reopen=soon and incident.state == "acknowledged",
    )


def check_step(incident: Incident, step: Step) -> None:
    """Return when the step is allowed in the incident's present state.

    Raises:
        IncidentError: It is not; the message says who was faster.
    """
    if incident.state not in ALLOWED[step]:
        by = f" by {incident.owner}" if incident.owner else ""
        raise IncidentError(f"incident {incident.id} is already {incident.state}{by}: it cannot be {step} now")


def escalation_wait(escalate_after: timedelta, level: int) -> timedelta:
    """Time from one escalation to the next: doubles with each, but is never longer than a day.

    Args:
        escalate_after: Time that people have to acknowledge first.
        level: Escalation steps already taken, from 0.
    """
    longest = max(SLOWEST, escalate_after)
    return longest if level >= 20 else min(longest, escalate_after * 2**level)  # noqa: PLR2004  # 2**20 is past any cap


def retry_wait(tries: int) -> timedelta:
    """Time from a failed try to the next: 30 s, doubling, never longer than an hour.

    Args:
        tries: Tries made, from 1.
    """
    return SLOWEST_RETRY if tries >= 8 else min(SLOWEST_RETRY, FIRST_RETRY * 2 ** (tries - 1))  # noqa: PLR2004  # past the cap


def louder(title: str, level: int) -> str:
    """The title of an escalated message."""
    return title if level == 0 else f"ESCALATED {level}{'!' * min(level, 3)} NOBODY HAS ACKNOWLEDGED: {title}"


def state_of(text: object) -> State:
    """Read a stored state.

    Raises:
        StorageError: It is none.
    """
    if text not in ("open", "acknowledged", "resolved"):
        raise StorageError(f"an incident has the state {text!r}: the database was edited")
    return text
