"""Fingerprints in a project: local models too, chosen from the reference, counted by the log."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from tests.small_project import ANNA, RELEASE, TODAY, Small, build, rows, write_model
from tests.unit.cli.prompt import at, typed

from assay.errors import FingerprintError, TableError, VerificationError
from assay.monitoring.fingerprint.record import Plan
from assay.project.fingerprinting import hold_fingerprint, record_fingerprint, watch_fingerprint

PLAN = Plan(probes=5, candidates=20, tries=1, repeats=10)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    made = build(tmp_path_factory.mktemp("small"))
    made.sign()
    return made


def test_a_local_model_is_recorded_from_its_reference_and_is_the_same(small: Small) -> None:
    assert watch_fingerprint(small.project, "spam", TODAY) == ()  # nothing is recorded, nothing is asked
    recorded = record_fingerprint(small.project, "spam", small.keys[RELEASE], now=TODAY, plan=PLAN)
    assert (recorded.reference.kind, recorded.remote) == ("exact", False)
    assert set(recorded.reference.probes[0].request) == {"a", "b"}  # features only: no time, no label
    shares = [min(one.numbers.values()) for one in recorded.reference.probes]
    assert shares[0] > 0.3  # the least certain first
    for number in (1, 2):
        held = hold_fingerprint(small.project, "spam", now=TODAY)
        assert (held.judged.outcome, held.number) == ("same", number)
    assert watch_fingerprint(small.project, "spam", TODAY) == ()
    kinds = [one.entry.kind for one in small.project.log.entries(subject="spam")]
    assert kinds.count("fingerprint.same") == 3


def test_who_does_not_sign_the_model_does_not_record_it(small: Small) -> None:
    with pytest.raises(VerificationError, match="does not sign spam"):
        record_fingerprint(small.project, "spam", small.keys[ANNA], now=TODAY, plan=PLAN)


def test_no_log_entry_holds_a_request_or_an_answer(small: Small) -> None:
    record_fingerprint(small.project, "spam", small.keys[RELEASE], now=TODAY, plan=PLAN)
    hold_fingerprint(small.project, "spam", now=TODAY)
    for one in small.project.log.entries(subject="spam"):
        if one.entry.kind.startswith("fingerprint."):
            assert not {"request", "probes_asked", "answers", "reference"} & set(one.entry.data)


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1]", "[" * 5000])
def test_probes_that_are_none_are_refused(text: str, small: Small, tmp_path: Path) -> None:
    (tmp_path / "probes.json").write_text(text)
    with pytest.raises(TableError):
        record_fingerprint(
            small.project, "spam", small.keys[RELEASE], now=TODAY, plan=PLAN, probes=tmp_path / "probes.json"
        )


def test_a_rate_that_promises_nothing_is_refused(small: Small) -> None:
    with pytest.raises(FingerprintError, match="error rate"):
        record_fingerprint(small.project, "spam", small.keys[RELEASE], now=TODAY, plan=PLAN, rate=0.9)


def test_a_new_version_wants_a_new_recording(tmp_path: Path) -> None:
    small = build(tmp_path)
    small.sign()
    record_fingerprint(small.project, "spam", small.keys[RELEASE], now=TODAY, plan=PLAN)
    write_model(small.model, rows(10, start=TODAY - timedelta(days=100), seed=3), seed=5)
    (finding,) = watch_fingerprint(small.project, "spam", TODAY)
    assert (finding.severity.value, finding.rule) == ("critical", "fingerprint.unknown")  # it is not as signed
    small.sign()
    with pytest.raises(FingerprintError, match="record it again"):
        hold_fingerprint(small.project, "spam", now=TODAY)


def test_the_command_says_that_it_is_not_needed_and_what_it_wants(tmp_path: Path) -> None:
    small = build(tmp_path)
    small.sign(now=TODAY)
    with at(small.folder, now=TODAY):
        typed("fingerprint", "spam").refused(3, "has no fingerprint", "--record")
        typed("fingerprint", "spam", "--record").refused(2, "--key")
        typed("fingerprint", "spam", "--key", "k").refused(2, "--key belongs to --record")
        typed("fingerprint", "spam", "--queries", "0").refused(2, "'--queries': 0 is not in the range")
        typed("fingerprint", "other").refused(2, "no model 'other'")
        (small.folder / "probes.json").write_text(json.dumps([{"a": 0.1, "b": 0.2}, {"a": 1.0, "b": -1.0}]))
        said = typed("fingerprint", "spam", "--record", "--key", "keys/release.pem", "--probes", "probes.json")
        assert said.code == 0, said
        assert "not needed" in said.out
        said = typed("fingerprint", "spam")
        assert said.code == 0, said
        assert "the same model" in said.out
        assert "not needed" in said.out
