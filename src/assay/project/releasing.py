"""Going live: requested, reviewed, held against the policy, deployed, and rolled back."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Literal

from assay.errors import ApprovalError, ConfigError, PolicyError, ReleaseRefusedError, VerificationError
from assay.findings import Finding, Severity
from assay.keys.base import Signer
from assay.project import integrity, versions
from assay.project.copies import kept_in
from assay.project.project import Project
from assay.release import approval, gate, store
from assay.release.approval import ReviewSubject, Tally
from assay.release.deployment import Deployment, ReleaseRequest, last_good
from assay.release.evidence import PREDICATES, examine
from assay.release.gate import Decision, Evidence, GateFacts
from assay.release.policy import ReleasePolicy
from assay.signing.moment import Moment
from assay.signing.statement import Envelope, Statement, seal
from assay.signing.store import StoredVersions
from assay.signing.verified import VerifiedModel

ENVIRONMENT = "production"


def policy_of(project: Project, name: str) -> ReleasePolicy:
    """The release policy of a model.

    Raises:
        PolicyError: assay.toml has none, or it can never be met.
    """
    table = project.config.model(name).policy
    if table is None:
        raise PolicyError(
            f'[models.{name}] has no policy: add [models.{name}.policy] with signed_by = ["release@example.org"]'
        )
    return ReleasePolicy(
        signed_by=frozenset(table.signed_by),
        approvers=frozenset(table.approvers),
        approvals=table.approvals,
        require=frozenset(table.require),
        max_age=table.max_age,
        signatures=table.signatures,
    )


@dataclass(frozen=True, slots=True)
class Candidate:
    """The bytes that would go live and everything signed about them.

    Attributes:
        verified: The model where it lies; None when verification refused it.
        root: Root digest of the bytes there, hex; of the signed ones when they are refused.
        refusals: Why verification refused it.
        evidence: Checked statements about these bytes.
        unreadable: Why other statements do not count.
        data_root: Root digest of the training data, hex; empty without lineage.
        report: Digest of the newest validation statement; empty without one.
    """

    verified: VerifiedModel | None
    root: str
    refusals: tuple[Finding, ...]
    evidence: tuple[Evidence, ...]
    unreadable: tuple[Finding, ...]
    data_root: str
    report: str


def candidate(project: Project, name: str, *, now: datetime) -> Candidate:
    """Verify the bytes where they lie and open every statement about them."""
    refusals: tuple[Finding, ...] = ()
    verified: VerifiedModel | None = None
    try:
        verified = integrity.verify_model(project, name, now=now, digests="both")
        root = verified.root
    except VerificationError as err:
        refusals = err.findings or (Finding("signature.refused", name, Severity.CRITICAL, err.message),)
        root = integrity.measured_root(project, name) or "unknown"
    evidence: list[Evidence] = []
    unreadable: list[Finding] = []
    data_root = ""
    policy = project.config.model(name).policy
    counted = policy.signed_by if policy else ()  # what others sign says nothing of what is reviewed
    for kind in PREDICATES:
        for envelope in store.statements(project.state, name, kind=kind, root=root):
            try:
                evidence.append(examine(envelope, kind=kind, root=root, trust=project.trust, now=now))
            except VerificationError as err:
                unreadable += err.findings
                continue
            if kind == "lineage" and evidence[-1].identity in counted:
                data_root = _data_root(Statement.parse(envelope.payload))
    reports = [one for one in evidence if one.kind == "validation" and one.identity in counted]
    newest = max(reports, key=lambda one: (one.created is not None, one.created), default=None)
    return Candidate(
        verified, root, refusals, tuple(evidence), tuple(unreadable), data_root, newest.digest if newest else ""
    )


def _data_root(statement: Statement) -> str:
    data = statement.predicate.get("dataset")
    root = data.get("multiset_root") if isinstance(data, dict) else None
    return root if isinstance(root, str) else ""


def request(project: Project, name: str, *, requester: str | None, now: datetime) -> ReleaseRequest:
    """The open release request for the bytes that lie there now; made when there is none."""
    found = candidate(project, name, now=now)
    return _request(project, name, found, requester=requester, now=now)


def _request(project: Project, name: str, found: Candidate, *, requester: str | None, now: datetime) -> ReleaseRequest:
    known = store.open_request(project.log, model=name, root=found.root, environment=ENVIRONMENT)
    if known is None:
        asks = requester or project.actor
        return store.request_release(
            project.log, model=name, root=found.root, environment=ENVIRONMENT, requester=asks, now=now
        )
    if requester and requester != known.requester:
        raise ApprovalError(f"the release was requested by {known.requester} already, it is not {requester}'s request")
    return known


def _subject(name: str, found: Candidate, policy: ReleasePolicy, asked: ReleaseRequest) -> ReviewSubject:
    return ReviewSubject(
        model=name,
        model_root=found.root,
        data_root=found.data_root,
        policy_digest=policy.digest,
        report_digest=found.report,
        environment=ENVIRONMENT,
        request_id=asked.id,
    )


def review(
    project: Project,
    name: str,
    signer: Signer,
    *,
    decision: Literal["approve", "reject"],
    reason: str,
    expires_after: timedelta,
    now: datetime,
) -> tuple[str, ReviewSubject]:
    """Sign a human decision about exactly the bytes, data, policy and report that are there now.

    Returns:
        The reviewer's identity, and what was reviewed.

    Raises:
        ApprovalError: No release was requested, or the key is nobody's who may approve.
        ConfigError: It would last beyond the calendar.
        VerificationError: The key is not trusted.
    """
    policy = policy_of(project, name)
    identity = project.trust.identify(signer.key_id, Moment(now)).identity
    if identity.casefold() not in {one.casefold() for one in policy.approvers}:
        names = ", ".join(sorted(policy.approvers)) or "nobody"
        raise ApprovalError(f"{identity} is not an approver of {name}: the policy names {names}")
    found = candidate(project, name, now=now)
    if found.verified is None:
        raise ApprovalError(f"{name} is refused by verification, there is nothing to approve: assay verify {name}")
    asked = store.open_request(project.log, model=name, root=found.root, environment=ENVIRONMENT)
    if asked is None:
        raise ApprovalError(f"nobody has asked for {name} to go live: assay gate {name} asks")
    subject = _subject(name, found, policy, asked)
    try:
        expires = now + expires_after
    except OverflowError as err:
        raise ConfigError("an approval that lasts beyond the year 9999 cannot be written: choose fewer days") from err
    envelope = approval.approve(subject, signer, decision=decision, reason=reason, created=now, expires=expires)
    store.save_statement(project.state, envelope, model=name, kind="approval", root=found.root, created=now)
    kind = "approval.given" if decision == "approve" else "approval.rejected"
    data = {**subject.as_json(), "identity": identity, "reason": reason, "statement": envelope.digest}
    project.log.append(kind, name, data, actor=identity, now=now)
    return identity, subject


def decide(project: Project, name: str, *, requester: str | None, now: datetime) -> Decision:
    """Hold the bytes that lie there now against the policy; the decision is logged with every rule's reason."""
    policy = policy_of(project, name)
    _tell_of_change(project, name, policy, now)
    found = candidate(project, name, now=now)
    asked = _request(project, name, found, requester=requester, now=now)
    decision = gate.decide(_facts(project, name, found, policy, asked, now=now), policy, now)
    kind = {"admit": "gate.admitted", "refuse": "gate.refused", "unknown": "gate.unknown"}[decision.outcome]
    project.log.append(kind, name, decision.as_json(), actor=project.actor, now=now)
    return decision


def _tell_of_change(project: Project, name: str, policy: ReleasePolicy, now: datetime) -> None:
    """Log that the policy is another than at the last decision: an edit of assay.toml must not pass unseen."""
    decided = project.log.entries(kinds=["gate.admitted", "gate.refused", "gate.unknown"], subject=name)
    former = decided[-1].entry.data.get("policy_digest") if decided else None
    if former in (None, policy.digest):
        return
    data = {
        "policy_digest": policy.digest,
        "former": former,
        "policy": policy.as_json(),
        "detail": f"the release policy of {name} was changed since entry {decided[-1].position}",
    }
    project.log.append(
        "policy.changed", name, data, actor=project.actor, now=now, once=f"{decided[-1].position}:policy"
    )


def _facts(
    project: Project, name: str, found: Candidate, policy: ReleasePolicy, asked: ReleaseRequest, *, now: datetime
) -> GateFacts:
    verified = found.verified
    tally: Tally = approval.count(
        store.statements(project.state, name, kind="approval", root=found.root),
        _subject(name, found, policy, asked),
        policy,
        project.trust,
        requester=asked.requester,
        model_signer=verified.signer if verified else "",
        now=now,
        used=store.used_approvals(project.log, name),
    )
    return GateFacts(
        model=name,
        root=found.root,
        environment=ENVIRONMENT,
        signer=verified.signer if verified else None,
        refusals=found.refusals,
        evidence=found.evidence,
        unreadable=found.unreadable,
        bound=verified.about.statements if verified and verified.about else {},
        tally=tally,
        policy_findings=store.check_deployments(project.state, project.log, name),
    )


def summary(decision: Decision, signer: Signer) -> Envelope:
    """The decision as a signed verification summary that other tools can enforce without calling us."""
    return seal(gate.vsa(decision, version=installed_version("assay")), signer)


def deploy(project: Project, name: str, *, now: datetime) -> Deployment:
    """Ask the gate once more and, when it admits, record that these bytes are live from now on.

    Raises:
        ReleaseRefusedError: The gate does not admit them.
        VerificationError: The bytes are not as signed.
    """
    verified = integrity.verify_model(project, name, now=now, digests="both")
    model_policy = project.config.model(name).policy
    decision: Decision | store.UnsafeNoGate = store.UnsafeNoGate()
    if model_policy is not None:
        decision = decide(project, name, requester=None, now=now)
        if decision.outcome != "admit":
            reasons = "; ".join(rule.detail for rule in decision.rules if rule.outcome != "admit")
            raise ReleaseRefusedError(f"{name} may not go live ({decision.outcome}): {reasons}")
    number = verified.about.version if verified.about else 0
    copy = integrity.copy_folder(project, name, number, verified.root)
    return store.deploy(
        project.state,
        project.log,
        decision=decision,
        model=name,
        root=verified.root,
        version=number,
        environment=ENVIRONMENT,
        actor=project.actor,
        known_good=str(copy) if copy.is_dir() else None,
        now=now,
    )


def rollback(project: Project, name: str, *, reason: str, now: datetime, signer: Signer | None = None) -> Deployment:
    """Put the last good version's verified copy back in place, and record that it is live again.

    When the bytes in place are not those of the live version, that version's own copy is what is put back.

    The bytes are exchanged only after the copy was verified; what lay there is kept beside, not deleted.

    Args:
        project: Whose model.
        name: Which.
        reason: Why.
        now: The present.
        signer: Signs for the step when it lowers the version, so that other hosts take it too: the statement is
            put beside the model. Without one it counts in this project only.

    Raises:
        ConfigError: There is no such model.
        PolicyError: There is no earlier version, or it has no known-good copy.
        VerificationError: The copy is not as signed, or the key is nobody's who may roll back.
    """
    project.config.model(name)
    history = store.synchronise(project.state, project.log, name)
    current = next((one for one in reversed(history) if one.until is None), None)
    if current is not None and integrity.measured_root(project, name) != current.root:
        # What lies there is not what is recorded as live: that version was never bad, only its bytes are.
        signed = _signed_step(project, name, current, signer, reason=reason, now=now)
        aside = restore(project, name, current, now=now)
        statement = _kept_step(project, name, current, signed, now=now)
        StoredVersions(project.state).allow(name, current.version, current.root, now)
        data = {
            "root": current.root,
            "version": current.version,
            "reason": reason,
            "set_aside": str(aside),
            "statement": statement,
        }
        project.log.append("model.restored", name, data, actor=project.actor, now=now)
        return current
    target = last_good(history)
    if target is None:
        raise PolicyError(f"{name} has no earlier version to return to: deploy one that passes the gate")
    signed = _signed_step(project, name, target, signer, reason=reason, now=now)
    restore(project, name, target, now=now)
    statement = _kept_step(project, name, target, signed, now=now)
    StoredVersions(project.state).allow(name, target.version, target.root, now)
    return store.rollback(
        project.state,
        project.log,
        model=name,
        actor=project.actor,
        reason=reason,
        now=now,
        to=target.root,
        statement=statement,
    )


def _signed_step(
    project: Project, name: str, target: Deployment, signer: Signer | None, *, reason: str, now: datetime
) -> tuple[Envelope, str] | None:
    if signer is None:
        return None
    return versions.sign_step(project, name, (target.version, target.root), signer, reason=reason, now=now)


def _kept_step(
    project: Project, name: str, target: Deployment, signed: tuple[Envelope, str] | None, *, now: datetime
) -> str:
    if signed is None:
        return ""
    versions.keep_step(project, name, signed[0], target.root, now=now)
    return signed[1]


def restore(project: Project, name: str, target: Deployment, *, now: datetime) -> Path:
    """Put the verified known-good copy of a deployment where the model is deployed.

    Returns:
        Where what lay there before was set aside.
    """
    copy = kept_in(project, name, target)
    if copy is None or not copy.is_dir():
        place = copy or integrity.copy_folder(project, name, target.version, target.root)
        raise PolicyError(
            f"version {target.version} of {name} has no known-good copy in {place}: put one back from a backup"
        )
    integrity.open_copy(project, name, copy, root=target.root, now=now).close()
    model = project.config.model(name)
    folder = integrity.is_folder(model, copy)
    aside = project.places.folder / "set-aside" / f"{name}-{now:%Y%m%dT%H%M%S%f}"
    aside.parent.mkdir(parents=True, exist_ok=True)
    if folder:
        fresh = model.path.with_name(f".{model.path.name}.restoring")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(copy / "files", fresh)
        shutil.copyfile(copy / "model.sig", fresh / "model.sig")
        if model.path.exists():
            shutil.move(model.path, aside)
        fresh.rename(model.path)
        return aside
    only = next((copy / "files").iterdir())
    if model.path.exists():
        shutil.move(model.path, aside)
    shutil.copyfile(only, model.path)
    shutil.copyfile(copy / "model.sig", model.path.with_name(model.path.name + ".sig"))
    return aside
