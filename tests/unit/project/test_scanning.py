"""A policy that requires a scan: what meets it, and what does not."""

from __future__ import annotations

import pickle
from datetime import timedelta
from pathlib import Path

import pytest
from tests import scan_malicious
from tests.small_project import ANNA, CONFIG, RELEASE, TODAY, Small, build

from assay.errors import VerificationError
from assay.project import releasing, validating
from assay.project.health import model_health
from assay.project.scanning import Scanned, scan_model
from assay.release.gate import Decision
from assay.release.store import save_statement, statements
from assay.signing.statement import SCAN, VALIDATION, Statement, seal

SOON = TODAY + timedelta(minutes=5)


@pytest.fixture
def small(tmp_path: Path) -> Small:
    """A project whose gate wants a scan and nothing else."""
    config = CONFIG.replace('require = ["validation", "lineage"]', 'require = ["scan"]')
    return build(tmp_path, config=config.replace("approvals = 1", "approvals = 0"))


def scanned(small: Small, *, by: str | None = RELEASE) -> Scanned:
    signer = None if by is None else small.keys[by]
    return scan_model(small.project, "spam", signer=signer, now=TODAY)


def decide(small: Small, *, after: timedelta = timedelta(minutes=5)) -> Decision:
    return releasing.decide(small.project, "spam", requester="mlops@acme.example", now=TODAY + after)


def rule(decision: Decision) -> tuple[str, str]:
    (found,) = [one for one in decision.rules if one.rule == "evidence.scan"]
    return found.outcome, found.detail


def test_a_fresh_signed_scan_meets_the_policy(small: Small) -> None:
    small.sign()
    done = scanned(small)
    assert done.scan.outcome == "pass"
    decision = decide(small)
    assert rule(decision)[0] == "admit"
    assert decision.outcome == "admit"


def test_without_a_scan_the_gate_cannot_tell(small: Small) -> None:
    small.sign()
    assert rule(decide(small))[0] == "unknown"


def test_an_unsigned_scan_counts_nothing(small: Small) -> None:
    small.sign()
    assert scanned(small, by=None).statement is None
    assert rule(decide(small))[0] == "unknown"


def test_a_scan_by_somebody_else_counts_nothing(small: Small) -> None:
    small.sign()
    scanned(small, by=ANNA)
    assert rule(decide(small))[0] == "unknown"


def test_an_old_scan_counts_nothing(small: Small) -> None:
    small.sign()
    scanned(small)
    outcome, detail = rule(decide(small, after=timedelta(days=31)))
    assert outcome == "unknown"
    assert "run it again" in detail


def test_a_scan_of_other_bytes_counts_nothing(small: Small) -> None:
    small.sign()
    scanned(small)
    (small.model / "labels.txt").write_text("ham\nspam\neggs\n")
    small.sign(now=SOON)
    assert rule(decide(small, after=timedelta(minutes=10)))[0] == "unknown"


def test_a_scan_that_found_something_refuses(small: Small) -> None:
    (small.model / "extra.pkl").write_bytes(pickle.dumps(scan_malicious.command()))
    small.sign()
    done = scanned(small)
    assert done.scan.outcome == "fail"
    assert rule(decide(small))[0] == "refuse"
    small.project.tell(SOON)
    assert any("unsafe code" in line for line in small.alerts("security"))
    assert model_health(small.project, "spam", (), now=SOON).checks["scan"].outcome == "fail"


def test_an_unknown_name_that_the_signer_recorded_passes(small: Small) -> None:
    (small.model / "extra.pkl").write_bytes(b"\x80\x02cmypackage\nModel\n)\x81.")
    small.sign()
    done = scanned(small)
    assert done.scan.outcome == "pass"
    assert [one.severity.value for one in done.scan.findings if one.rule == "scan.unknown-global"] == ["info"]


def test_a_passed_validation_is_not_taken_for_a_scan(small: Small) -> None:
    small.sign()
    done = validating.validate_model(small.project, "spam", suite=None, signer=small.keys[RELEASE], now=TODAY)
    (envelope,) = statements(small.project.state, "spam", kind="validation", root=done.report.model_root)
    statement = Statement.parse(envelope.payload)
    assert statement.predicate_type == VALIDATION
    again = seal(Statement(statement.subjects, VALIDATION, {**statement.predicate, "again": 1}), small.keys[RELEASE])
    save_statement(small.project.state, again, model="spam", kind="scan", root=done.report.model_root, created=TODAY)
    assert rule(decide(small))[0] == "unknown"


def test_bytes_that_do_not_verify_are_not_scanned(small: Small) -> None:
    small.sign()
    (small.model / "labels.txt").write_text("other\n")
    with pytest.raises(VerificationError):
        scanned(small)


def test_the_statement_says_by_which_rules(small: Small) -> None:
    small.sign()
    done = scanned(small)
    (envelope,) = statements(small.project.state, "spam", kind="scan", root=done.root)
    statement = Statement.parse(envelope.payload)
    assert statement.predicate_type == SCAN
    assert statement.predicate["result"] == "PASSED"
    assert statement.subjects[0].digest == {"sha256": done.root}
    assert "assay-scan-rules" in str(statement.predicate["configuration"])
    assert envelope.digest == done.statement


def test_status_shows_how_fresh_the_scan_is(small: Small) -> None:
    small.sign()
    never = model_health(small.project, "spam", (), now=SOON).checks["scan"]
    assert never.time is None
    scanned(small)
    assert model_health(small.project, "spam", (), now=SOON).checks["scan"].light(SOON).value == "good"
    late = TODAY + timedelta(days=31)
    assert model_health(small.project, "spam", (), now=late).checks["scan"].light(late).value == "stale"
