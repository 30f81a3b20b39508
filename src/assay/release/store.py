"""Requests and deployments in the log, with the deployment table as its readable copy; signed statements by digest.

The log is what counts: a request and a deployment are its entries, which nobody can rewrite unseen.
The table is made from them, so a process killed in between loses nothing: the next call completes it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, RowMapping, insert, select, update

from assay.audit.entry import Logged
from assay.audit.log import AuditLog
from assay.errors import ApprovalError, PolicyError, StorageError
from assay.findings import Finding
from assay.release.deployment import Deployment, ReleaseRequest, chain, differences, last_good
from assay.release.deployment import live as live_of
from assay.release.gate import Decision
from assay.signing.statement import Envelope
from assay.storage.clock import from_text, utc_text
from assay.storage.database import reading, writing
from assay.storage.tables import deployments as table
from assay.storage.tables import statements as statement_table

REQUESTED = "release.requested"
DEPLOYED = "model.deployed"
ROLLED_BACK = "model.rolled-back"
DECISION_HOLDS = timedelta(hours=1)  # approvals and evidence may have expired since


class UnsafeNoGate:
    """Handed in place of a gate decision for a model that has no policy: anything may go live."""


def save_statement(engine: Engine, envelope: Envelope, *, model: str, kind: str, root: str, created: datetime) -> str:
    """Keep a signed statement; the same one twice is kept once.

    Args:
        engine: The state database.
        envelope: The statement.
        model: Which model it is about.
        kind: ``validation``, ``scan``, ``lineage``, ``approval`` or ``gate``.
        root: Root digest of the model's bytes it is about.
        created: When it was made.

    Returns:
        Its envelope's digest.
    """
    row = {
        "digest": envelope.digest,
        "model": model,
        "kind": kind,
        "root": root,
        "created": utc_text(created),
        "envelope": envelope.to_json(),
    }
    with writing(engine, alone=True) as connection:
        there = select(statement_table.c.digest).where(statement_table.c.digest == envelope.digest)
        if connection.execute(there).first() is None:
            connection.execute(insert(statement_table).values(row))
    return envelope.digest


def statements(engine: Engine, model: str, *, kind: str | None = None, root: str | None = None) -> list[Envelope]:
    """Statements kept of a model, the oldest first. Nothing about them is verified here: open them with trust.

    Raises:
        BundleError: A stored envelope is malformed.
    """
    query = select(statement_table.c.envelope).where(statement_table.c.model == model)
    if kind is not None:
        query = query.where(statement_table.c.kind == kind)
    if root is not None:
        query = query.where(statement_table.c.root == root)
    query = query.order_by(statement_table.c.created, statement_table.c.digest)
    with reading(engine) as connection:
        texts = [str(text) for text in connection.execute(query).scalars()]
    return [Envelope.parse(text) for text in texts]


def request_release(
    log: AuditLog, *, model: str, root: str, environment: str, requester: str, now: datetime
) -> ReleaseRequest:
    """Ask for these bytes to go live; reviewers answer this request and no other."""
    number = secrets.token_hex(16)
    data = {"request": number, "model": model, "root": root, "environment": environment, "requester": requester}
    position = log.append(REQUESTED, model, data, actor=requester, now=now)
    return ReleaseRequest(number, model, root, environment, requester, now, position)


def requests(log: AuditLog, model: str) -> list[ReleaseRequest]:
    """Every request of a model, the oldest first."""
    return [_request(logged) for logged in log.entries(kinds=[REQUESTED], subject=model)]


def open_request(log: AuditLog, *, model: str, root: str, environment: str) -> ReleaseRequest | None:
    """The newest request for these bytes that no deployment has used up; None when one must be made."""
    used = {deployment.request_id for deployment in _logged(log, model)}
    for request in reversed(requests(log, model)):
        if (request.root, request.environment) == (root, environment) and request.id not in used:
            return request
    return None


def used_approvals(log: AuditLog, model: str) -> frozenset[str]:
    """Payload digests of the reviews that deployments of the model have used up."""
    return frozenset(digest for deployment in _logged(log, model) for digest in deployment.approvals)


def deploy(
    engine: Engine,
    log: AuditLog,
    *,
    decision: Decision | UnsafeNoGate,
    model: str,
    root: str,
    version: int,
    environment: str,
    actor: str,
    known_good: str | None,
    now: datetime,
) -> Deployment:
    """Record that these bytes are live from now on; uses up the request and its reviews.

    Args:
        engine: The state database.
        log: The audit log.
        decision: What the gate said about exactly these bytes, at most an hour ago.
        model: Name of the model.
        root: Root digest of the bytes that go live.
        version: Their signed version number; 0 when they have none.
        environment: Where.
        actor: Who deploys.
        known_good: Folder of the signed copy.
        now: When they go live.

    Raises:
        PolicyError: The gate did not admit them, or said so about something else or too long ago.
        ApprovalError: The request was used up by another deployment.
    """
    data: dict[str, object] = {
        "model": model,
        "root": root,
        "version": version,
        "environment": environment,
        "known_good": known_good,
        "gate": None,
        "request": "",
        "approvals": [],
        "attempt": secrets.token_hex(16),  # tells our entry from that of somebody who deploys the same request
    }
    once = None
    if isinstance(decision, Decision):
        _check_decision(decision, model, root, environment, now)
        data |= {"gate": decision.as_json(), "request": decision.request_id, "approvals": list(decision.approvals)}
        once = f"deployed:{decision.request_id}" if decision.request_id else None
        again = used_approvals(log, model) & set(decision.approvals)
        if again:
            raise ApprovalError(f"{len(again)} of the approvals were used up by an earlier deployment: ask again")
    position = log.append(DEPLOYED, model, data, actor=actor, now=now, once=once)
    (logged,) = log.entries(position - 1, limit=1)
    if logged.entry.data.get("attempt") != data["attempt"]:  # the log takes a request once
        raise ApprovalError(f"the release request was used up by the deployment logged at {position}: ask again")
    return _at(synchronise(engine, log, model), position)


def rollback(
    engine: Engine,
    log: AuditLog,
    *,
    model: str,
    actor: str,
    reason: str,
    now: datetime,
    to: str | None = None,
    statement: str = "",
) -> Deployment:
    """Record that an earlier version is live again; what is left counts as bad until it is deployed anew.

    Args:
        engine: The state database.
        log: The audit log.
        model: Name of the model.
        actor: Who rolls back.
        reason: Why.
        now: When.
        to: Root digest to return to, one that was live before; by default the last good one.
        statement: Hex SHA-256 of what was signed for the step; empty when nobody signed.

    Raises:
        PolicyError: There is no version to return to, or no reason is given.
    """
    history = synchronise(engine, log, model)
    current = history[-1] if history else None
    target = last_good(history) if to is None else next((d for d in reversed(history) if d.root == to), None)
    if current is None or target is None or target.root == current.root:
        raise PolicyError(f"{model} has no earlier version to return to: deploy one that passes the gate")
    if not reason.strip():
        raise PolicyError("say why it is rolled back: the reason goes into the log")
    data = {
        "model": model,
        "root": target.root,
        "version": target.version,
        "environment": target.environment,
        "known_good": target.known_good,
        "left": current.root,
        "left_version": current.version,
        "reason": reason.strip(),
        "statement": statement,
    }
    position = log.append(ROLLED_BACK, model, data, actor=actor, now=now)
    return _at(synchronise(engine, log, model), position)


def synchronise(engine: Engine, log: AuditLog, model: str) -> tuple[Deployment, ...]:
    """Complete the table from the log, and return the history that the log tells."""
    history = chain(_logged(log, model))
    with writing(engine, alone=True) as connection:
        stored = {item.position: item for item in _rows(connection, model)}
        for deployment in history:
            row = stored.get(deployment.position)
            if row is None:
                connection.execute(insert(table).values(_row(deployment)))
            elif row.until is None and deployment.until is not None:
                ended = update(table).where(table.c.model == model, table.c.position == deployment.position)
                connection.execute(ended.values(until=utc_text(deployment.until)))
    return history


def deployments(engine: Engine, model: str) -> list[Deployment]:
    """What was live, the oldest first, from the table."""
    with reading(engine) as connection:
        return list(_rows(connection, model))


def live_at(engine: Engine, model: str, time: datetime) -> Deployment | None:
    """What was live at a moment, from the table; None before the first deployment."""
    return live_of(deployments(engine, model), time)


def check_deployments(engine: Engine, log: AuditLog, model: str) -> tuple[Finding, ...]:
    """Find rows of the table that are not what the log tells: somebody edited the database."""
    return differences(_logged(log, model), deployments(engine, model))


def _check_decision(decision: Decision, model: str, root: str, environment: str, now: datetime) -> None:
    if decision.outcome != "admit":
        raise PolicyError(f"the gate's answer is {decision.outcome}: see why with assay gate {model}")
    if (decision.model, decision.root, decision.environment) != (model, root, environment):
        raise PolicyError("the gate decided about other bytes or another place: run it again")
    if not now - DECISION_HOLDS <= decision.created <= now:
        raise PolicyError(f"the gate decided at {utc_text(decision.created)}, more than an hour away: run it again")


def _at(history: Sequence[Deployment], position: int) -> Deployment:
    return next(deployment for deployment in history if deployment.position == position)


def _logged(log: AuditLog, model: str) -> list[Deployment]:
    return [_deployment(logged) for logged in log.entries(kinds=[DEPLOYED, ROLLED_BACK], subject=model)]


def _deployment(logged: Logged) -> Deployment:
    data = logged.entry.data
    version, approvals, known_good = data.get("version"), data.get("approvals"), data.get("known_good")
    return Deployment(
        model=logged.entry.subject,
        root=str(data.get("root", "")),
        version=version if isinstance(version, int) else 0,
        since=logged.entry.time,
        until=None,
        actor=logged.entry.actor,
        environment=str(data.get("environment", "")),
        known_good=known_good if isinstance(known_good, str) else None,
        position=logged.position,
        request_id=str(data.get("request", "")),
        approvals=tuple(str(digest) for digest in approvals) if isinstance(approvals, list) else (),
        replaces_bad=str(data.get("left", "")),
    )


def _request(logged: Logged) -> ReleaseRequest:
    data = logged.entry.data
    return ReleaseRequest(
        id=str(data.get("request", "")),
        model=logged.entry.subject,
        root=str(data.get("root", "")),
        environment=str(data.get("environment", "")),
        requester=str(data.get("requester", "")),
        created=logged.entry.time,
        position=logged.position,
    )


def _rows(connection: Connection, model: str) -> Iterable[Deployment]:
    query = select(table).where(table.c.model == model).order_by(table.c.position)
    return [_from_row(row) for row in connection.execute(query).mappings()]


def _from_row(row: RowMapping) -> Deployment:
    try:
        approvals = json.loads(row["approvals"])
    except ValueError as err:
        raise StorageError(f"deployment {row['id']} cannot be read: the database was edited") from err
    return Deployment(
        model=row["model"],
        root=row["root"],
        version=int(row["version"]),
        since=from_text(row["since"]),
        until=None if row["until"] is None else from_text(row["until"]),
        actor=row["actor"],
        environment=row["environment"],
        known_good=row["known_good"],
        position=int(row["position"]),
        request_id=row["request"],
        approvals=tuple(str(digest) for digest in approvals) if isinstance(approvals, list) else (),
        replaces_bad=row["left_root"],
    )


def _row(deployment: Deployment) -> dict[str, object]:
    return {
        "model": deployment.model,
        "root": deployment.root,
        "version": deployment.version,
        "since": utc_text(deployment.since),
        "until": None if deployment.until is None else utc_text(deployment.until),
        "actor": deployment.actor,
        "known_good": deployment.known_good,
        "position": deployment.position,
        "environment": deployment.environment,
        "request": deployment.request_id,
        "approvals": json.dumps(list(deployment.approvals)),
        "left_root": deployment.replaces_bad,
    }
