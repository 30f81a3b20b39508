from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, update

from assay.audit.log import AuditLog
from assay.errors import ApprovalError, PolicyError
from assay.keys.pem import generate
from assay.release.deployment import Deployment
from assay.release.gate import Decision
from assay.release.store import (
    UnsafeNoGate,
    check_deployments,
    deploy,
    deployments,
    live_at,
    open_request,
    request_release,
    requests,
    rollback,
    save_statement,
    statements,
    synchronise,
    used_approvals,
)
from assay.signing.statement import LINEAGE, Statement, Subject, seal
from assay.storage.database import open_state, writing
from assay.storage.tables import deployments as table

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
A, B, C = "aa" * 32, "bb" * 32, "cc" * 32


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_state(tmp_path / "state.db")
    yield made
    made.dispose()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    with AuditLog.open(
        tmp_path / "log.db", key=tmp_path / "log.key", origin="example.org/log", checkpoints=[], now=NOW
    ) as made:
        yield made


def decision(root: str, request_id: str = "", approvals: tuple[str, ...] = (), **other: object) -> Decision:
    words: dict[str, object] = {"outcome": "admit", "created": NOW, "environment": "production", **other}
    return Decision(
        model="spam",
        root=root,
        policy_digest="pp",
        request_id=request_id,
        rules=(),
        approvals=approvals,
        statements=(),
        **words,  # type: ignore[arg-type]  # the table of a test
    )


def go_live(
    engine: Engine, log: AuditLog, root: str, given: Decision | UnsafeNoGate, *, day: int = 0, version: int = 1
) -> Deployment:
    return deploy(
        engine,
        log,
        decision=given,
        model="spam",
        root=root,
        version=version,
        environment="production",
        actor="anna",
        known_good=f"vault/{version}",
        now=NOW + timedelta(days=day),
    )


def test_a_deployment_is_an_entry_and_a_row(engine: Engine, log: AuditLog) -> None:
    made = go_live(engine, log, A, decision(A))
    assert log.entries()[made.position].entry.kind == "model.deployed"
    assert deployments(engine, "spam") == [made]
    found = live_at(engine, "spam", NOW)
    assert found == made
    assert live_at(engine, "spam", NOW - timedelta(seconds=1)) is None
    assert live_at(engine, "ham", NOW) is None


@pytest.mark.parametrize(
    "given",
    [
        decision(A, outcome="refuse"),
        decision(A, outcome="unknown"),
        decision(B),
        decision(A, environment="staging"),
        decision(A, created=NOW - timedelta(hours=2)),
        decision(A, created=NOW + timedelta(hours=2)),
    ],
)
def test_only_a_fresh_admission_of_these_bytes_deploys(engine: Engine, log: AuditLog, given: Decision) -> None:
    with pytest.raises(PolicyError):
        go_live(engine, log, A, given)
    assert log.size() == 0


def test_a_request_is_used_up_by_one_deployment(engine: Engine, log: AuditLog) -> None:
    asked = request_release(log, model="spam", root=A, environment="production", requester="dora", now=NOW)
    assert requests(log, "spam") == [asked]
    assert open_request(log, model="spam", root=A, environment="production") == asked
    assert open_request(log, model="spam", root=A, environment="staging") is None
    assert open_request(log, model="spam", root=B, environment="production") is None
    go_live(engine, log, A, decision(A, asked.id, ("d1", "d2")))
    assert open_request(log, model="spam", root=A, environment="production") is None
    assert used_approvals(log, "spam") == {"d1", "d2"}
    with pytest.raises(ApprovalError, match="used up"):
        go_live(engine, log, A, decision(A, asked.id))
    with pytest.raises(ApprovalError, match="used up"):
        go_live(engine, log, A, decision(A, "another", ("d2", "d3")))


def test_of_two_who_deploy_one_request_at_the_same_moment_one_does(engine: Engine, log: AuditLog) -> None:
    def attempt(_: int) -> bool:
        try:
            go_live(engine, log, A, decision(A, "r1", ("d1",)))
        except ApprovalError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, range(4))) == 1
    assert len(deployments(engine, "spam")) == 1


def test_a_rollback_returns_to_the_last_good_version_and_says_what_it_left(engine: Engine, log: AuditLog) -> None:
    go_live(engine, log, A, UnsafeNoGate(), day=0, version=1)
    go_live(engine, log, B, UnsafeNoGate(), day=1, version=2)
    back = rollback(
        engine, log, model="spam", actor="ben", reason="it fails on short mails", now=NOW + timedelta(days=2)
    )
    assert (back.root, back.version, back.replaces_bad, back.known_good) == (A, 1, B, "vault/1")
    assert [item.root for item in deployments(engine, "spam")] == [A, B, A]
    assert [item.until is None for item in deployments(engine, "spam")] == [False, False, True]
    with pytest.raises(PolicyError, match="no earlier version"):
        rollback(engine, log, model="spam", actor="ben", reason="again", now=NOW + timedelta(days=3))


def test_a_rollback_goes_only_where_the_model_was(engine: Engine, log: AuditLog) -> None:
    go_live(engine, log, A, UnsafeNoGate())
    go_live(engine, log, B, UnsafeNoGate(), day=1)
    with pytest.raises(PolicyError, match="no earlier version"):
        rollback(engine, log, model="spam", actor="ben", reason="x", now=NOW, to=C)
    with pytest.raises(PolicyError, match="why"):
        rollback(engine, log, model="spam", actor="ben", reason=" ", now=NOW, to=A)
    assert rollback(engine, log, model="spam", actor="ben", reason="x", now=NOW, to=A).root == A


def test_a_deployment_killed_between_log_and_table_is_completed(engine: Engine, log: AuditLog) -> None:
    made = go_live(engine, log, A, UnsafeNoGate())
    with writing(engine) as connection:
        connection.execute(delete(table))
    assert check_deployments(engine, log, "spam")[0].rule == "deployment.not-as-logged"
    synchronise(engine, log, "spam")
    synchronise(engine, log, "spam")
    assert deployments(engine, "spam") == [made]
    assert check_deployments(engine, log, "spam") == ()


def test_an_edited_deployment_is_found(engine: Engine, log: AuditLog) -> None:
    go_live(engine, log, A, UnsafeNoGate())
    with writing(engine) as connection:
        connection.execute(update(table).values(root=B))
    (finding,) = check_deployments(engine, log, "spam")
    assert finding.severity == "critical"


def test_statements_are_kept_once_and_found_by_kind_and_root(engine: Engine, tmp_path: Path) -> None:
    signer = generate(tmp_path / "key.pem", passphrase=None)
    made = [seal(Statement((Subject("spam", {"sha256": root}),), LINEAGE, {}), signer) for root in (A, B)]
    for _ in range(2):
        save_statement(engine, made[0], model="spam", kind="lineage", root=A, created=NOW)
    save_statement(engine, made[1], model="spam", kind="lineage", root=B, created=NOW)
    assert len(statements(engine, "spam")) == 2
    assert statements(engine, "spam", kind="lineage", root=A) == [made[0]]
    assert statements(engine, "spam", kind="approval") == []
    assert statements(engine, "ham") == []
