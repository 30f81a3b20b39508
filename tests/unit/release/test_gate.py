from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from assay.findings import Finding, Severity
from assay.release.approval import Review, ReviewSubject, Tally
from assay.release.gate import Decision, Evidence, GateFacts, Outcome, decide, vsa
from assay.release.policy import ReleasePolicy

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
ROOT = "aa" * 32
SIGNER = "release@example.org"
PLAIN = ReleasePolicy(frozenset({SIGNER}))
STRICT = ReleasePolicy(frozenset({SIGNER}), frozenset({"anna", "ben", "cleo"}), 2, frozenset({"validation"}))
PASSED = Evidence("validation", "pass", SIGNER, NOW - timedelta(days=1), "d1")
BROKEN = Finding("artifact.changed", "model.skops", Severity.CRITICAL, "model.skops changed at byte 17")


def review(name: str, decision: Literal["approve", "reject"] = "approve") -> Review:
    return Review(name, f"key-{name}", decision, "looked at it", NOW, f"digest-{name}")


def tally(policy: ReleasePolicy, *approved: str, rejected: tuple[str, ...] = (), root: str = ROOT) -> Tally:
    subject = ReviewSubject("spam", root, "", policy.digest, "", "production", "r1")
    no = tuple(review(name, "reject") for name in rejected)
    return Tally(subject, tuple(review(name) for name in approved), no, ())


GOOD = GateFacts("spam", ROOT, "production", SIGNER)
STRICT_GOOD = replace(GOOD, evidence=(PASSED,), tally=tally(STRICT, "anna", "ben"))


def outcome_of(decision: Decision, rule: str) -> Outcome:
    return next(result.outcome for result in decision.rules if result.rule == rule)


def test_everything_that_must_hold_holds() -> None:
    decision = decide(STRICT_GOOD, STRICT, NOW)
    assert (decision.outcome, decision.exit_code) == ("admit", 0)
    assert decision.approvals == ("digest-anna", "digest-ben")
    assert decision.request_id == "r1"


@pytest.mark.parametrize(
    ("facts", "rule", "outcome", "exit_code"),
    [
        (replace(STRICT_GOOD, signer=None), "signature", "refuse", 1),
        (replace(STRICT_GOOD, signer="mallory@example.org"), "signature", "refuse", 1),
        (replace(STRICT_GOOD, refusals=(BROKEN,)), "signature", "refuse", 1),
        (replace(STRICT_GOOD, policy_findings=(BROKEN,)), "policy", "refuse", 1),
        (replace(STRICT_GOOD, evidence=()), "evidence.validation", "unknown", 3),
        (replace(STRICT_GOOD, evidence=(replace(PASSED, outcome="fail"),)), "evidence.validation", "refuse", 1),
        (
            replace(STRICT_GOOD, evidence=(replace(PASSED, outcome="insufficient"),)),
            "evidence.validation",
            "unknown",
            3,
        ),
        (replace(STRICT_GOOD, evidence=(replace(PASSED, created=None),)), "evidence.validation", "unknown", 3),
        (
            replace(STRICT_GOOD, evidence=(replace(PASSED, created=NOW - timedelta(days=31)),)),
            "evidence.validation",
            "unknown",
            3,
        ),
        (
            replace(STRICT_GOOD, evidence=(replace(PASSED, created=NOW + timedelta(days=1)),)),
            "evidence.validation",
            "unknown",
            3,
        ),
        (
            replace(STRICT_GOOD, evidence=(replace(PASSED, identity="mallory@example.org"),)),
            "evidence.validation",
            "unknown",
            3,
        ),
        (replace(STRICT_GOOD, evidence=(replace(PASSED, kind="scan"),)), "evidence.validation", "unknown", 3),
        (replace(STRICT_GOOD, bound={"lineage": "d9"}), "bound.lineage", "refuse", 1),
        (replace(STRICT_GOOD, bound={"lineage": "d1"}), "bound.lineage", "refuse", 1),
        (replace(STRICT_GOOD, tally=None), "approvals", "refuse", 1),
        (replace(STRICT_GOOD, tally=tally(STRICT, "anna")), "approvals", "refuse", 1),
        (replace(STRICT_GOOD, tally=tally(STRICT, "anna", "ben", rejected=("cleo",))), "approvals", "refuse", 1),
        (replace(STRICT_GOOD, tally=tally(STRICT, "anna", "ben", root="bb" * 32)), "approvals", "refuse", 1),
        (replace(STRICT_GOOD, tally=tally(PLAIN, "anna", "ben")), "approvals", "refuse", 1),
        (replace(STRICT_GOOD, environment="staging"), "approvals", "refuse", 1),
    ],
)
def test_one_rule_that_does_not_hold_keeps_it_from_going_live(
    facts: GateFacts, rule: str, outcome: Outcome, exit_code: int
) -> None:
    decision = decide(facts, STRICT, NOW)
    assert outcome_of(decision, rule) == outcome
    assert decision.exit_code == exit_code


def test_the_newest_statement_decides_not_an_older_pass() -> None:
    failed = replace(PASSED, outcome="fail", created=NOW - timedelta(hours=1), digest="d2")
    assert (
        outcome_of(decide(replace(STRICT_GOOD, evidence=(PASSED, failed)), STRICT, NOW), "evidence.validation")
        == "refuse"
    )


def test_of_two_statements_of_one_moment_the_worse_decides() -> None:
    failed = replace(PASSED, outcome="fail", digest="d2")
    assert (
        outcome_of(decide(replace(STRICT_GOOD, evidence=(PASSED, failed)), STRICT, NOW), "evidence.validation")
        == "refuse"
    )


def test_a_refusal_outweighs_what_could_not_be_told() -> None:
    facts = replace(STRICT_GOOD, evidence=(), signer=None)
    assert decide(facts, STRICT, NOW).outcome == "refuse"


def test_without_approvals_wanted_none_are_missed() -> None:
    assert decide(GOOD, PLAIN, NOW).outcome == "admit"


def test_every_rule_says_what_was_found_and_wanted() -> None:
    decision = decide(replace(STRICT_GOOD, signer="mallory@example.org"), STRICT, NOW)
    assert all(result.detail for result in decision.rules)
    assert "mallory@example.org" in decision.rules[1].detail
    assert SIGNER in decision.rules[1].detail


@pytest.mark.parametrize(
    ("facts", "result"), [(STRICT_GOOD, "PASSED"), (replace(STRICT_GOOD, evidence=()), "FAILED"), (GOOD, "FAILED")]
)
def test_the_verification_summary_passes_only_what_is_admitted(facts: GateFacts, result: str) -> None:
    statement = vsa(decide(facts, STRICT, NOW), version="0.1.0")
    assert statement.predicate["verificationResult"] == result
    assert statement.predicate_type == "https://slsa.dev/verification_summary/v1"
    assert [(item.name, dict(item.digest)) for item in statement.subjects] == [("spam", {"sha256": ROOT})]
    assert statement.payload()
