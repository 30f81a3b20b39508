"""What is live since when: a history read from the log's entries, and what it says about a moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from assay.findings import Finding, Severity
from assay.storage.clock import utc_text


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """Somebody asked for these bytes to go live; reviews answer it, one deployment uses it up.

    Attributes:
        id: Random, 32 hex digits.
        model: Name of the model.
        root: Root digest of the bytes, hex.
        environment: Where they shall go live.
        requester: Identity that asks, who may not approve.
        created: When it was asked.
        position: Log position of the request.
    """

    id: str
    model: str
    root: str
    environment: str
    requester: str
    created: datetime
    position: int


@dataclass(frozen=True, slots=True)
class Deployment:
    """One model's bytes, live from one moment to another.

    Attributes:
        model: Name of the model.
        root: Root digest of the bytes, hex.
        version: Signed version number; 0 when the signature has none.
        since: First moment it was live.
        until: First moment it was not any more; None while it is live.
        actor: Who deployed it.
        environment: Where it is live.
        known_good: Folder of the signed copy, for replay and rollback; None when there is none.
        position: Log position of the entry that says so.
        request_id: The release request it used up; empty without one.
        approvals: Digests of the reviews it used up.
        replaces_bad: Root that a rollback declared bad by leaving it; empty for a deployment.
    """

    model: str
    root: str
    version: int
    since: datetime
    until: datetime | None
    actor: str
    environment: str
    known_good: str | None
    position: int
    request_id: str = ""
    approvals: tuple[str, ...] = ()
    replaces_bad: str = ""


def chain(deployments: Iterable[Deployment]) -> tuple[Deployment, ...]:
    """Give each deployment its end: the moment the next one began, in the order of the log."""
    ordered = sorted(deployments, key=lambda deployment: deployment.position)
    ends = [later.since for later in ordered[1:]]
    closed = [replace(earlier, until=max(earlier.since, end)) for earlier, end in zip(ordered, ends, strict=False)]
    return (*closed, *(replace(last, until=None) for last in ordered[-1:]))


def live(deployments: Iterable[Deployment], at: datetime) -> Deployment | None:
    """Which deployment was live at a moment; None before the first one."""
    for deployment in reversed(chain(deployments)):
        if deployment.since <= at and (deployment.until is None or at < deployment.until):
            return deployment
    return None


def last_good(deployments: Sequence[Deployment]) -> Deployment | None:
    """Where a rollback would go: the newest earlier bytes that no rollback has left since they were deployed."""
    ordered = chain(deployments)
    if not ordered:
        return None
    bad = {ordered[-1].root}
    for deployment in reversed(ordered):
        if deployment.root not in bad:
            return deployment
        if deployment.replaces_bad:
            bad.add(deployment.replaces_bad)
    return None


def differences(logged: Iterable[Deployment], stored: Iterable[Deployment]) -> tuple[Finding, ...]:
    """Compare the deployment table with the log, which nobody can rewrite unseen.

    Args:
        logged: As the log's entries say.
        stored: As the table says.
    """
    entries = {item.position: item for item in chain(logged)}
    rows = {item.position: item for item in stored}
    found: list[Finding] = []
    for position in sorted(entries.keys() | rows.keys()):
        entry, row = entries.get(position), rows.get(position)
        if entry is None and row is not None:
            found.append(_finding(row, f"the table has a deployment of {row.root} that the log does not"))
        elif entry is not None and row is None:
            found.append(_finding(entry, f"the table lacks the deployment of {entry.root} logged at {position}"))
        elif entry is not None and row is not None and _facts(entry) != _facts(row):
            found.append(_finding(entry, f"the deployment logged at {position} was edited in the table"))
    return tuple(found)


def _facts(deployment: Deployment) -> tuple[object, ...]:
    until = None if deployment.until is None else utc_text(deployment.until)
    return (
        deployment.model,
        deployment.root,
        deployment.version,
        utc_text(deployment.since),
        until,
        deployment.actor,
        deployment.known_good,
    )


def _finding(deployment: Deployment, detail: str) -> Finding:
    return Finding("deployment.not-as-logged", deployment.model, Severity.CRITICAL, detail)
