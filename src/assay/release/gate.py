"""May this model go live: one answer for each rule of the policy, and one for all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from assay.findings import Finding
from assay.release.approval import Tally
from assay.release.policy import ReleasePolicy
from assay.signing.statement import VSA, Statement, Subject
from assay.storage.clock import utc_text

Outcome = Literal["admit", "refuse", "unknown"]
EXIT_CODES: Mapping[Outcome, int] = {"admit": 0, "refuse": 1, "unknown": 3}
VERIFIER = "https://assay.dev/gate/v1"
CLOCK_SKEW = timedelta(minutes=5)  # two well-kept machines differ by less


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one signed statement about the model says, once its signature was checked.

    Attributes:
        kind: ``validation``, ``scan`` or ``lineage``.
        outcome: ``pass``, ``fail``, or ``insufficient`` when it could not tell.
        identity: Who signed it.
        created: When it was made, as signed; None when it does not say.
        digest: Digest of its envelope, hex.
        detail: One sentence on what it found.
    """

    kind: str
    outcome: Literal["pass", "fail", "insufficient"]
    identity: str
    created: datetime | None
    digest: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class GateFacts:
    """Everything the gate knows; whoever gathers it checked the signatures.

    Attributes:
        model: Name of the model in assay.toml.
        root: Root digest of the bytes that would go live, hex.
        environment: Where they would go live.
        signer: Identity whose signature over these bytes holds; None when verification refused them.
        refusals: Why verification refused them.
        evidence: Checked statements about this root.
        unreadable: Why other statements about this root do not count.
        bound: Digests of the statements that the signed bundle names, by kind.
        tally: Counted reviews; None when no release was requested.
        policy_findings: Why the policy or the trust store itself is not to be trusted.
    """

    model: str
    root: str
    environment: str
    signer: str | None
    refusals: tuple[Finding, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    unreadable: tuple[Finding, ...] = ()
    bound: Mapping[str, str] = field(default_factory=dict)
    tally: Tally | None = None
    policy_findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleResult:
    """How one rule of the policy came out.

    Attributes:
        rule: Stable dotted name: ``signature``, ``evidence.validation``, ``approvals``.
        outcome: What this rule alone would decide.
        detail: One sentence: what was found and what was wanted.
    """

    rule: str
    outcome: Outcome
    detail: str

    def as_json(self) -> dict[str, object]:
        """The result as ``gate --json`` prints it."""
        return {"rule": self.rule, "outcome": self.outcome, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Decision:
    """The gate's answer about these bytes, in this environment, under this policy.

    Attributes:
        model: Name of the model.
        root: Root digest of the bytes it is about.
        environment: Where they would go live.
        policy_digest: Which policy was held against them.
        request_id: The release request; empty when the policy wants no approvals.
        outcome: ``admit`` only when every rule does.
        rules: Every rule's own outcome.
        approvals: Payload digests of the reviews that were counted; a deployment uses them up.
        statements: Digests of the statements that were looked at.
        created: When it was decided.
    """

    model: str
    root: str
    environment: str
    policy_digest: str
    request_id: str
    outcome: Outcome
    rules: tuple[RuleResult, ...]
    approvals: tuple[str, ...]
    statements: tuple[str, ...]
    created: datetime

    @property
    def exit_code(self) -> int:
        """0 admit, 1 refuse, 3 could not tell."""
        return EXIT_CODES[self.outcome]

    def as_json(self) -> dict[str, object]:
        """The decision as ``gate --json`` prints it and the log keeps it."""
        return {
            "model": self.model,
            "root": self.root,
            "environment": self.environment,
            "policy_digest": self.policy_digest,
            "request_id": self.request_id,
            "outcome": self.outcome,
            "rules": [rule.as_json() for rule in self.rules],
            "approvals": list(self.approvals),
            "statements": list(self.statements),
            "created": utc_text(self.created),
        }


def decide(facts: GateFacts, policy: ReleasePolicy, now: datetime) -> Decision:
    """Hold the facts against every rule of the policy.

    A rule that is broken refuses; evidence that is missing, stale or inconclusive makes the answer
    unknown; both keep the model from going live.

    Args:
        facts: What is known, gathered and verified by the caller.
        policy: What must hold.
        now: The time to judge freshness at.
    """
    rules = [_policy(facts), _signature(facts, policy)]
    rules += [_evidence(kind, facts, policy, now) for kind in sorted(policy.require)]
    rules += [_bound(kind, digest, facts) for kind, digest in sorted(facts.bound.items())]
    rules.append(_approvals(facts, policy))
    outcomes = {rule.outcome for rule in rules}
    outcome: Outcome = "refuse" if "refuse" in outcomes else "unknown" if "unknown" in outcomes else "admit"
    tally = facts.tally
    return Decision(
        model=facts.model,
        root=facts.root,
        environment=facts.environment,
        policy_digest=policy.digest,
        request_id=tally.subject.request_id if tally else "",
        outcome=outcome,
        rules=tuple(rules),
        approvals=tuple(sorted(review.digest for review in tally.approved)) if tally else (),
        statements=tuple(sorted(item.digest for item in facts.evidence)),
        created=now,
    )


def vsa(decision: Decision, *, inputs: Collection[tuple[str, str]] = (), version: str) -> Statement:
    """Make the verification summary that other tools can enforce without calling us.

    Args:
        decision: What was decided.
        inputs: Address and hex SHA-256 of each attestation looked at; the decision's own by default.
        version: Version of assay.

    References:
        SLSA Verification Summary Attestation v1: anything but PASSED is FAILED there, so "unknown"
        fails too; our own fields carry the vendor's name in front, as SLSA asks of extensions.
    """
    looked_at = inputs or [(f"sha256:{digest}", digest) for digest in (*decision.statements, *decision.approvals)]
    predicate: dict[str, object] = {
        "verifier": {"id": VERIFIER, "version": {"assay": version}},
        "timeVerified": utc_text(decision.created),
        "resourceUri": f"assay:{decision.environment}/{decision.model}",
        "policy": {"uri": f"assay:policy/{decision.model}", "digest": {"sha256": decision.policy_digest}},
        "inputAttestations": [{"uri": uri, "digest": {"sha256": digest}} for uri, digest in looked_at],
        "verificationResult": "PASSED" if decision.outcome == "admit" else "FAILED",
        "verifiedLevels": ["ASSAY_POLICY_MET"] if decision.outcome == "admit" else [],
        "assay_outcome": decision.outcome,
        "assay_rules": [rule.as_json() for rule in decision.rules],
        "assay_requestId": decision.request_id,
    }
    return Statement((Subject(decision.model, {"sha256": decision.root}),), VSA, predicate)


def _policy(facts: GateFacts) -> RuleResult:
    if facts.policy_findings:
        return RuleResult("policy", "refuse", _sentences(facts.policy_findings))
    return RuleResult("policy", "admit", "the deployment record is as the log tells it")


def _signature(facts: GateFacts, policy: ReleasePolicy) -> RuleResult:
    wanted = ", ".join(sorted(policy.signed_by))
    if facts.signer is None or facts.refusals:
        why = _sentences(facts.refusals) or "no signature over these bytes holds"
        return RuleResult("signature", "refuse", why)
    if facts.signer not in policy.signed_by:
        return RuleResult("signature", "refuse", f"signed by {facts.signer}, the policy wants one of {wanted}")
    return RuleResult("signature", "admit", f"signed by {facts.signer}")


def _evidence(kind: str, facts: GateFacts, policy: ReleasePolicy, now: datetime) -> RuleResult:
    """The newest statement of a kind decides: an old pass does not outvote a new failure."""
    rule = f"evidence.{kind}"
    known = [item for item in facts.evidence if item.kind == kind and item.identity in policy.signed_by]
    dated = [(item.created, item) for item in known if item.created is not None and item.created <= now + CLOCK_SKEW]
    if not dated:
        others = [finding for finding in facts.unreadable if finding.subject == kind]
        why = f": {_sentences(others)}" if others else ""
        return RuleResult(rule, "unknown", f"no {kind} statement about these bytes counts{why}")
    created = max(moment for moment, _ in dated)
    newest = [item for moment, item in dated if moment == created]
    worst = min(newest, key=lambda item: ("fail", "insufficient", "pass").index(item.outcome))
    said = f"{kind} of {utc_text(created)} by {worst.identity}"
    detail = f": {worst.detail}" if worst.detail else ""
    if worst.outcome == "fail":
        return RuleResult(rule, "refuse", f"{said} failed{detail}")
    if now - created > policy.max_age:
        return RuleResult(rule, "unknown", f"{said} is older than {policy.max_age}: run it again")
    if worst.outcome == "insufficient":
        return RuleResult(rule, "unknown", f"{said} could not tell{detail}")
    return RuleResult(rule, "admit", f"{said} passed{detail}")


def _bound(kind: str, digest: str, facts: GateFacts) -> RuleResult:
    """A statement that the signature names must be there: deleting an unwelcome one must not help."""
    rule = f"bound.{kind}"
    if any(item.digest == digest and item.kind == kind for item in facts.evidence):
        return RuleResult(rule, "admit", f"the {kind} statement named in the signature is there")
    return RuleResult(rule, "refuse", f"{kind} statement {digest} is named in the signature, but gone or bad")


def _approvals(facts: GateFacts, policy: ReleasePolicy) -> RuleResult:
    tally = facts.tally
    if tally is None:
        if policy.approvals:
            return RuleResult("approvals", "refuse", f"0 of {policy.approvals} approvals: no release was requested")
        return RuleResult("approvals", "admit", "the policy wants no approvals")
    subject = tally.subject
    here = (facts.model, facts.root, facts.environment, policy.digest)
    if (subject.model, subject.model_root, subject.environment, subject.policy_digest) != here:
        return RuleResult("approvals", "refuse", "the reviews were counted for another model, environment or policy")
    if tally.rejected:
        said = "; ".join(f"{review.identity}: {review.reason}" for review in tally.rejected)
        return RuleResult("approvals", "refuse", f"rejected by {said}")
    names = ", ".join(sorted(review.identity for review in tally.approved)) or "nobody"
    why = f"; not counted: {_sentences(tally.refused)}" if tally.refused else ""
    found = f"{len(tally.approved)} of {policy.approvals} approvals, by {names}"
    if len(tally.approved) < policy.approvals:
        return RuleResult("approvals", "refuse", f"{found}{why}")
    return RuleResult("approvals", "admit", found)


def _sentences(findings: Collection[Finding]) -> str:
    return "; ".join(finding.detail for finding in findings)
