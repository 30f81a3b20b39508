"""The whole way of a model to production, and what must not get it there."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import Literal

import pytest
from tests.small_project import ANNA, BEN, RELEASE, TODAY, Small, rows, write_model

from assay.errors import ApprovalError, ConfigError, PolicyError, ReleaseRefusedError, SuiteError, VerificationError
from assay.keys.pem import generate
from assay.lineage.fingerprint import fingerprint
from assay.lineage.provenance import environment, lineage_statement
from assay.project import integrity, releasing, validating
from assay.project.copies import Copies
from assay.project.project import Project
from assay.release.gate import Decision
from assay.release.store import deployments, live_at, save_statement
from assay.signing.statement import VSA, Statement, seal

OPS = "mlops@acme.example"
SOON = TODAY + timedelta(minutes=5)


def review(
    project: Project,
    small: Small,
    identity: str,
    *,
    decision: Literal["approve", "reject"] = "approve",
    expires_after: timedelta = timedelta(days=30),
) -> None:
    releasing.review(
        project,
        "spam",
        small.keys[identity],
        decision=decision,
        reason="report read",
        expires_after=expires_after,
        now=SOON,
    )


def decide(project: Project, *, requester: str | None = None) -> Decision:
    return releasing.decide(project, "spam", requester=requester, now=SOON)


def outcomes(decision: Decision) -> dict[str, str]:
    return {rule.rule: rule.outcome for rule in decision.rules}


def validated(small: Small) -> None:
    small.sign()
    validating.validate_model(small.project, "spam", suite=None, signer=small.keys[RELEASE], now=TODAY)


def edit(small: Small, old: str, new: str) -> Project:
    text = (small.folder / "assay.toml").read_text()
    assert old in text
    (small.folder / "assay.toml").write_text(text.replace(old, new))
    return small.reopened()


def test_the_whole_way_from_refused_to_live(small: Small) -> None:
    small.sign()
    first = decide(small.project)
    assert first.outcome == "refuse"
    assert outcomes(first)["evidence.validation"] == "unknown"
    validated(small)
    assert outcomes(decide(small.project))["approvals"] == "refuse"
    with pytest.raises(ReleaseRefusedError, match="may not go live"):
        releasing.deploy(small.project, "spam", now=SOON)
    assert live_at(small.project.state, "spam", SOON) is None
    review(small.project, small, ANNA)
    assert decide(small.project).outcome == "admit"
    live = releasing.deploy(small.project, "spam", now=SOON)
    assert live.root == integrity.verify_model(small.project, "spam", now=SOON).root
    assert live.known_good is not None
    kinds = [one.entry.kind for one in small.project.log.entries(subject="spam")]
    assert kinds[-1] == "model.deployed"
    assert kinds.count("approval.given") == 1


def test_the_requesters_own_approval_does_not_count(small: Small) -> None:
    validated(small)
    decide(small.project, requester=ANNA)
    review(small.project, small, ANNA)
    found = decide(small.project, requester=ANNA)
    assert outcomes(found)["approvals"] == "refuse"
    with pytest.raises(ApprovalError, match=f"requested by {ANNA} already"):
        decide(small.project, requester=OPS)  # asking again under another name does not make her vote count
    review(small.project, small, BEN)
    assert decide(small.project, requester=ANNA).outcome == "admit"


def test_the_model_signers_approval_does_not_count(small: Small) -> None:
    validated(small)
    decide(small.project)
    review(small.project, small, RELEASE)
    found = decide(small.project)
    assert found.outcome == "refuse"
    (rule,) = [rule for rule in found.rules if rule.rule == "approvals"]
    assert "the signer of the model" in rule.detail


def test_two_approvals_of_one_person_are_one(small: Small) -> None:
    project = edit(small, "approvals = 1", "approvals = 2")
    validated(small)
    decide(project)
    review(project, small, ANNA)
    review(project, small, ANNA)
    assert decide(project).outcome == "refuse"
    review(project, small, BEN)
    assert decide(project).outcome == "admit"


def test_a_rejection_outweighs_approvals(small: Small) -> None:
    validated(small)
    decide(small.project)
    review(small.project, small, ANNA)
    review(small.project, small, BEN, decision="reject")
    assert outcomes(decide(small.project))["approvals"] == "refuse"
    assert small.project.log.entries(kinds=["approval.rejected"])[0].entry.data["reason"] == "report read"


def test_a_policy_edited_after_the_approval_voids_it(small: Small) -> None:
    validated(small)
    decide(small.project)
    review(small.project, small, ANNA)
    assert decide(small.project).outcome == "admit"
    project = edit(small, 'require = ["validation", "lineage"]', "require = []")
    found = decide(project)
    assert found.outcome == "refuse"
    assert outcomes(found)["approvals"] == "refuse"


def test_an_approval_of_other_bytes_does_not_count(small: Small) -> None:
    validated(small)
    decide(small.project)
    review(small.project, small, ANNA)
    write_model(small.model, rows(10, start=TODAY, seed=9), seed=1)
    validated(small)
    found = decide(small.project)
    assert outcomes(found) == {**outcomes(found), "evidence.validation": "admit", "approvals": "refuse"}


def test_an_approval_is_used_up_by_one_deployment(small: Small) -> None:
    small.go_live()
    found = decide(small.project)
    assert outcomes(found)["approvals"] == "refuse"


def test_a_newer_failed_validation_outvotes_the_old_pass(small: Small) -> None:
    validated(small)
    strict = f"{small.folder / 'checks' / 'spam.py'}:strict"
    done = validating.validate_model(small.project, "spam", suite=strict, signer=small.keys[RELEASE], now=SOON)
    assert done.report.outcome.value == "fail"
    assert outcomes(decide(small.project))["evidence.validation"] == "refuse"


def test_old_evidence_is_no_evidence(small: Small) -> None:
    validated(small)
    late = TODAY + timedelta(days=31)
    found = releasing.decide(small.project, "spam", requester=OPS, now=late)
    assert outcomes(found)["evidence.validation"] == "unknown"


def test_an_unsigned_report_is_no_evidence(small: Small) -> None:
    small.sign()
    done = validating.validate_model(small.project, "spam", suite=None, signer=None, now=TODAY)
    assert done.statement is None
    assert outcomes(decide(small.project))["evidence.validation"] == "unknown"


def test_lineage_of_another_model_filed_under_this_one_does_not_count(small: Small) -> None:
    small.sign()
    root = integrity.verify_model(small.project, "spam", now=TODAY).root
    found = fingerprint(str(small.folder / "data" / "training.csv"), label="y")
    statement = lineage_statement(found, "ab" * 32, environment(), created=TODAY)
    signed = seal(statement, small.keys[RELEASE])
    save_statement(small.project.state, signed, model="spam", kind="lineage", root=root, created=TODAY)
    asked = releasing.candidate(small.project, "spam", now=TODAY)
    assert [one.rule for one in asked.unreadable] == ["evidence.other-subject"]
    assert len([one for one in asked.evidence if one.kind == "lineage"]) == 1


def test_lineage_by_who_may_not_sign_says_nothing_of_the_data(small: Small) -> None:
    small.sign()
    before = releasing.candidate(small.project, "spam", now=TODAY)
    table = small.folder / "data" / "training.csv"
    table.write_text(table.read_text().replace('"ham"', '"spam"', 3))
    statement = lineage_statement(fingerprint(str(table), label="y"), before.root, environment(), created=SOON)
    by_anna = seal(statement, small.keys[ANNA])  # trusted, but no signer of this policy
    save_statement(small.project.state, by_anna, model="spam", kind="lineage", root=before.root, created=SOON)
    assert releasing.candidate(small.project, "spam", now=SOON).data_root == before.data_root


def test_who_may_not_approve_is_told_who_may(small: Small) -> None:
    validated(small)
    decide(small.project)
    stranger = generate(small.folder / "keys" / "stranger.pem", passphrase=None)
    with pytest.raises(VerificationError):
        releasing.review(
            small.project, "spam", stranger, decision="approve", reason="", expires_after=timedelta(1), now=SOON
        )
    project = edit(small, '"ben@acme.example", ', "")
    with pytest.raises(ApprovalError, match=r"ben@acme\.example is not an approver of spam: the policy names anna"):
        review(project, small, BEN)


def test_there_must_be_something_asked_for_to_approve(small: Small) -> None:
    validated(small)
    with pytest.raises(ApprovalError, match="nobody has asked for spam to go live"):
        review(small.project, small, ANNA)


def test_refused_bytes_cannot_be_approved_or_deployed(small: Small) -> None:
    validated(small)
    decide(small.project)
    (small.model / "labels.txt").write_text("spam\nham\n")
    with pytest.raises(ApprovalError, match="refused by verification"):
        review(small.project, small, ANNA)
    with pytest.raises(VerificationError):
        releasing.deploy(small.project, "spam", now=SOON)
    assert outcomes(decide(small.project))["signature"] == "refuse"


def test_an_approval_that_would_outlive_the_calendar_is_refused(small: Small) -> None:
    validated(small)
    decide(small.project)
    with pytest.raises(ConfigError, match="year 9999"):
        review(small.project, small, ANNA, expires_after=timedelta(days=3_650_000))


def test_without_a_policy_there_is_no_gate(small: Small) -> None:
    text = (small.folder / "assay.toml").read_text()
    begin, end = text.index("[models.spam.policy]"), text.index("[alerts]")
    project = edit(small, text[begin:end], "")
    integrity.sign_model(project, "spam", small.keys[RELEASE], now=TODAY)
    with pytest.raises(PolicyError, match=r"\[models\.spam\] has no policy"):
        decide(project)
    assert releasing.deploy(project, "spam", now=SOON).version == 1


def test_the_summary_is_a_signed_vsa_of_the_bytes(small: Small) -> None:
    validated(small)
    decision = decide(small.project)
    statement = Statement.parse(releasing.summary(decision, small.keys[RELEASE]).payload)
    assert statement.predicate_type == VSA
    assert statement.subjects[0].digest == {"sha256": decision.root}
    assert statement.predicate["verificationResult"] == "FAILED"


def second_version(small: Small) -> str:
    write_model(small.model, rows(10, start=TODAY, seed=9), seed=1)
    small.go_live(now=TODAY + timedelta(days=1))
    live = live_at(small.project.state, "spam", TODAY + timedelta(days=2))
    assert live is not None
    assert live.version == 2
    return live.root


def test_rollback_puts_the_recorded_bytes_back_and_they_verify(small: Small) -> None:
    small.go_live()
    first = live_at(small.project.state, "spam", TODAY)
    assert first is not None
    bytes_then = (small.model / "model.skops").read_bytes()
    second_version(small)
    late = TODAY + timedelta(days=2)
    back = releasing.rollback(small.project, "spam", reason="it forgets", now=late)
    assert (back.root, back.version) == (first.root, 1)
    assert (small.model / "model.skops").read_bytes() == bytes_then
    assert integrity.verify_model(small.project, "spam", now=late).root == first.root  # the recorded way is allowed
    assert integrity.byte_facts(small.project, "spam", served_roots=(), now=late).recorded_root == first.root
    assert small.project.log.entries(kinds=["model.rolled-back"])[0].entry.data["reason"] == "it forgets"
    assert len(list((small.project.places.folder / "set-aside").iterdir())) == 1  # nothing was deleted


def test_rollback_of_tampered_bytes_restores_the_live_version(small: Small) -> None:
    small.go_live()
    second = second_version(small)
    (small.model / "labels.txt").write_text("spam\nham\n")
    late = TODAY + timedelta(days=2)
    back = releasing.rollback(small.project, "spam", reason="tampered", now=late)
    assert (back.root, back.version) == (second, 2)
    assert integrity.verify_model(small.project, "spam", now=late).root == second
    assert len(deployments(small.project.state, "spam")) == 2
    (entry,) = small.project.log.entries(kinds=["model.restored"])
    assert entry.entry.data["root"] == second


def test_rollback_to_a_tampered_copy_exchanges_nothing(small: Small) -> None:
    small.go_live()
    first = live_at(small.project.state, "spam", TODAY)
    assert first is not None
    second = second_version(small)
    copy = integrity.copy_folder(small.project, "spam", 1, first.root)
    (copy / "files" / "labels.txt").write_text("spam\nham\n")
    with pytest.raises(VerificationError):
        releasing.rollback(small.project, "spam", reason="why", now=TODAY + timedelta(days=2))
    assert integrity.measured_root(small.project, "spam") == second
    shutil.rmtree(copy)
    with pytest.raises(PolicyError, match=r"has no known-good copy in .*: put one back"):
        releasing.rollback(small.project, "spam", reason="why", now=TODAY + timedelta(days=2))


def test_there_must_be_a_version_to_return_to(small: Small) -> None:
    small.go_live()
    with pytest.raises(PolicyError, match="no earlier version"):
        releasing.rollback(small.project, "spam", reason="why", now=SOON)


def test_a_suite_that_is_not_there_and_a_framework_that_nobody_named(small: Small) -> None:
    small.sign()
    with pytest.raises(SuiteError, match="no such file"):
        validating.validate_model(small.project, "spam", suite="checks/none.py:suite", signer=None, now=TODAY)
    project = edit(small, 'framework = "sklearn"\n', "")
    with pytest.raises(ConfigError, match="names no framework"):
        validating.validate_model(project, "spam", suite=None, signer=None, now=TODAY)
    project = edit(small, 'suite = "checks/spam.py:suite"\n', "")
    with pytest.raises(SuiteError, match="spam has no suite"):
        validating.validate_model(project, "spam", suite=None, signer=None, now=TODAY)


def test_the_report_is_kept_in_three_forms_and_the_entry_names_its_digest(small: Small) -> None:
    small.sign()
    done = validating.validate_model(small.project, "spam", suite=None, signer=small.keys[RELEASE], now=TODAY)
    assert {path.name for path in done.folder.iterdir()} == {"report.json", "junit.xml", "report.md"}
    (entry,) = small.project.log.entries(kinds=["validation.passed"])
    assert entry.entry.data["report"] == done.report.digest
    assert entry.entry.data["statement"] == done.statement


def test_an_unverified_model_is_never_opened_by_a_suite(small: Small) -> None:
    small.sign()
    (small.model / "model.skops").write_bytes(b"not a model at all")
    with pytest.raises(VerificationError):  # not LoadError: it is refused before anything reads it
        validating.validate_model(small.project, "spam", suite=None, signer=None, now=TODAY)
    assert small.project.log.entries(kinds=["validation.passed", "validation.failed"]) == []


def test_copies_are_found_where_the_project_keeps_them_now(small: Small) -> None:
    """A project that was moved, or whose copies were: what was recorded is a place of then."""
    small.go_live()
    second_version(small)
    shutil.move(small.project.places.folder / "vault" / "spam", small.folder / "kept")
    late = TODAY + timedelta(days=2)
    history = deployments(small.project.state, "spam")
    with pytest.raises(PolicyError, match=r"no known-good copy in .*vault/spam/0001-"):
        releasing.rollback(small.project, "spam", reason="why", now=late)
    project = edit(small, "[models.spam]\n", '[models.spam]\nknown_good = "kept"\n')
    with Copies(project, project.config.model("spam"), history, late) as copies:
        copies.verify_all()
        assert copies.trouble == ()
    assert releasing.rollback(project, "spam", reason="why", now=late).version == 1


def test_there_is_no_version_of_what_is_no_model(small: Small) -> None:
    with pytest.raises(ConfigError, match="spma"):
        releasing.rollback(small.project, "spma", reason="why", now=SOON)
