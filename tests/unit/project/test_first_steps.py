"""What somebody meets who puts a running service under guard: nothing is accused that was only not yet recorded."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from tests.small_project import ROWS_A_DAY, TODAY, Small, build
from tests.unit.cli.prompt import typed

from assay.diagnosis.case import Case
from assay.diagnosis.diagnose import diagnose
from assay.diagnosis.verdict import Diagnosis
from assay.project import integrity
from assay.project.watching import diagnose_model, learn_baseline

DAY = timedelta(days=1)


def missing(small: Small, name: str) -> str:
    """What a diagnosis says is missing of one piece of evidence."""
    found = diagnose_model(small.project, "spam", now=TODAY + 6 * DAY)
    return next(item.missing or "" for item in found.evidence if item.name == name)


@pytest.fixture
def answered(tmp_path: Path) -> Small:
    """A project with a log of predictions and a reference with predictions, and no signature at all."""
    small = build(tmp_path / "project")
    small.sign()
    small.serve(5, start=TODAY - 6 * DAY, seed=9)
    learn_baseline(small.project, "spam", now=TODAY)
    return small


def test_a_model_that_was_never_signed_is_not_called_tampered_with(tmp_path: Path) -> None:
    small = build(tmp_path)
    assert integrity.byte_facts(small.project, "spam", served_roots=(), now=TODAY).refused is False
    assert small.project.log.entries(kinds=["verify.refused"]) == []


def test_a_signature_that_was_taken_away_is_still_a_refusal(tmp_path: Path) -> None:
    small = build(tmp_path)
    small.sign()
    (small.model / "model.sig").unlink()
    assert integrity.byte_facts(small.project, "spam", served_roots=(), now=TODAY).refused is True


def test_bytes_that_do_not_fit_the_signature_are_a_refusal_before_any_deployment(tmp_path: Path) -> None:
    small = build(tmp_path)
    small.sign()
    (small.model / "labels.txt").write_text("spam\nham\n")
    assert integrity.byte_facts(small.project, "spam", served_roots=(), now=TODAY).refused is True


def test_replay_that_is_missing_says_what_to_do_about_it(answered: Small) -> None:
    assert "`assay deploy spam` records it" in missing(answered, "replay")
    path = answered.folder / "assay.toml"
    path.write_text(path.read_text().replace('framework = "sklearn"\n', ""))
    bare = Small(answered.folder, answered.reopened(), answered.keys)
    assert "set framework in [models.spam]" in missing(bare, "replay")


def test_rows_from_before_the_first_deployment_are_not_judged_and_that_is_said(answered: Small) -> None:
    answered.go_live()
    found = answered.project.monitor("spam", TODAY + timedelta(hours=3))
    assert found.evaluation.windows == 0
    told = [one.detail for one in found.findings if one.rule == "window.before-deployment"]
    assert len(told) == 1
    assert "assay diagnose spam" in told[0]
    later = answered.project
    answered.serve(2, start=TODAY, seed=10)
    again = later.monitor("spam", TODAY + 2 * DAY)
    assert again.evaluation.windows == 2
    assert "window.before-deployment" not in {one.rule for one in again.findings}


def test_a_name_means_the_model_also_where_its_folder_has_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = build(tmp_path, today=datetime.now(UTC))  # the command reads the clock
    shutil.move(small.model, tmp_path / "spam")
    path = tmp_path / "assay.toml"
    path.write_text(path.read_text().replace('path = "models/spam"', 'path = "spam"'))
    monkeypatch.chdir(tmp_path)
    said = typed("sign", "spam", "--key", "keys/release.pem")
    assert said.code == 0
    assert "known good" in said.out
    assert "signed by path" not in said.out
    assert "signed by path" in typed("sign", "./spam", "--key", "keys/release.pem").out
    (tmp_path / "other").mkdir()
    shutil.copytree(tmp_path / "spam", tmp_path / "other" / "spam")
    monkeypatch.chdir(tmp_path / "other")
    assert "signed by path" in typed("sign", "spam", "--key", "../keys/release.pem").out


def test_without_windows_the_evidence_itself_says_where_to_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = build(tmp_path)
    small.sign(now=TODAY)
    learn_baseline(small.project, "spam", now=TODAY)
    small.serve(20, start=TODAY - 30 * DAY, seed=11)
    small.serve(8, start=TODAY - 10 * DAY, seed=12, shift=6.0)
    small.go_live()  # windows begin here: there is none to cut the rows of the log by
    began = TODAY - 10 * DAY
    asked: list[int] = []

    def unsure_of_the_whole(case: Case) -> Diagnosis:
        asked.append(case.recent.num_rows)
        found = diagnose(case)
        return replace(found, verdict="unknown", onset=began) if len(asked) == 1 else found

    monkeypatch.setattr("assay.project.watching.diagnose", unsure_of_the_whole)
    found = diagnose_model(small.project, "spam", now=TODAY + timedelta(hours=1))
    assert asked == [28 * ROWS_A_DAY, 8 * ROWS_A_DAY]
    assert found.verdict not in ("unknown", "intact", "model-tampering", "backdoor")
    *_, made = small.project.log.entries(kinds=["diagnosis.made"])
    basis = cast("dict[str, dict[str, float]]", made.entry.data["computed_from"])
    assert basis["recent"]["first_s"] == began.timestamp()
