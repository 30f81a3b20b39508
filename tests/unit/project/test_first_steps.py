"""What somebody meets who puts a running service under guard: nothing is accused that was only not yet recorded."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet
import pytest
from sqlalchemy import delete
from tests.small_project import ANNA, RELEASE, ROWS_A_DAY, TODAY, Small, build
from tests.unit.cli.prompt import NOW, clock_from, typed

from assay.diagnosis.case import Case
from assay.diagnosis.diagnose import diagnose
from assay.diagnosis.verdict import Diagnosis
from assay.errors import AssayError, TableError, VerificationError
from assay.project import integrity
from assay.project.baselines import learn_baseline
from assay.project.checks import last
from assay.project.watching import diagnose_model
from assay.signing.sign import sign
from assay.signing.store import StoredVersions
from assay.storage.database import open_audit, writing
from assay.storage.tables import checks, versions

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


def test_verifying_what_was_never_signed_is_refused_and_pages_nobody(tmp_path: Path) -> None:
    small = build(tmp_path)
    small.project.log.append("model.signed", "ham", {"version": 1}, actor="mlops", now=TODAY)  # is another one
    for _ in range(2):  # the first look leaves nothing behind that would make the second one an alarm
        with pytest.raises(VerificationError, match=r"it was never signed: assay sign spam --key KEY"):
            integrity.verify_model(small.project, "spam", now=TODAY)
    assert small.project.log.entries(kinds=["verify.refused"]) == []
    assert last(small.project.state, "spam", {"bytes": DAY})["bytes"].outcome is None


def signed_elsewhere_and_seen_here(small: Small) -> None:
    sign(small.model, small.keys[RELEASE], now=TODAY)  # by path: the log of the project knows nothing of it
    integrity.verify_model(small.project, "spam", now=TODAY)


@pytest.mark.parametrize("signed", [signed_elsewhere_and_seen_here, Small.sign])
def test_a_signature_that_was_taken_away_is_told(tmp_path: Path, signed: Callable[[Small], None]) -> None:
    small = build(tmp_path)
    signed(small)
    (small.model / "model.sig").unlink()
    with pytest.raises(VerificationError) as caught:
        integrity.verify_model(small.project, "spam", now=TODAY)
    assert "never signed" not in caught.value.message
    assert len(small.project.log.entries(kinds=["verify.refused"])) == 1


def seen_by_the_log_alone(small: Small) -> None:
    small.sign()
    with writing(small.project.state) as connection:  # a database that was emptied, or begun anew
        for table in (versions, checks):
            connection.execute(delete(table))


def seen_by_the_database_alone(small: Small) -> None:
    sign(small.model, small.keys[RELEASE], now=TODAY)
    StoredVersions(small.project.state).remember("spam", 1, "ab" * 32, TODAY)


def refused_before(small: Small) -> None:
    sign(small.model, small.keys[ANNA], now=TODAY)  # trusted, but nobody whom the policy names
    with pytest.raises(VerificationError, match="anna"):
        integrity.verify_model(small.project, "spam", now=TODAY)


def told_by_a_log_that_cannot_be_read(small: Small) -> None:
    seen_by_the_log_alone(small)
    engine = open_audit(small.project.log_database)
    with engine.begin() as connection:
        connection.exec_driver_sql("update entries set body = cast('{' as blob) where kind = 'model.signed'")
    engine.dispose()


@pytest.mark.parametrize(
    "before", [seen_by_the_log_alone, seen_by_the_database_alone, refused_before, told_by_a_log_that_cannot_be_read]
)
def test_no_single_trace_of_a_signature_is_enough_to_take_away(tmp_path: Path, before: Callable[[Small], None]) -> None:
    """Of what is left of a signature each trace alone says that there was one, whatever befell the others."""
    small = build(tmp_path)
    before(small)
    (small.model / "model.sig").unlink()
    with pytest.raises(VerificationError) as caught:
        integrity.verify_model(small.project, "spam", now=TODAY)
    assert "never signed" not in caught.value.message
    assert "signature.missing" in {finding.rule for finding in caught.value.findings}
    assert last(small.project.state, "spam", {"bytes": DAY})["bytes"].outcome == "fail"


def test_a_signature_that_was_named_and_is_not_there_is_told(tmp_path: Path) -> None:
    small = build(tmp_path)
    with pytest.raises(VerificationError) as caught:
        integrity.verify_model(small.project, "spam", now=TODAY, signature=tmp_path / "kept" / "spam.sig")
    assert "never signed" not in caught.value.message
    assert len(small.project.log.entries(kinds=["verify.refused"])) == 1


def test_a_signature_that_is_there_and_cannot_be_read_is_told(tmp_path: Path) -> None:
    small = build(tmp_path)
    (small.model / "model.sig").mkdir()
    with pytest.raises(VerificationError) as caught:
        integrity.verify_model(small.project, "spam", now=TODAY)
    assert "never signed" not in caught.value.message
    assert len(small.project.log.entries(kinds=["verify.refused"])) == 1


def test_a_model_that_cannot_be_looked_at_is_no_longer_known_to_be_good(tmp_path: Path) -> None:
    small = build(tmp_path)
    small.sign()
    integrity.verify_model(small.project, "spam", now=TODAY)
    shutil.rmtree(small.model)
    with pytest.raises(AssayError) as caught:
        integrity.verify_model(small.project, "spam", now=TODAY + DAY)
    assert not isinstance(caught.value, VerificationError), "there is nothing that could be refused"
    found = last(small.project.state, "spam", {"bytes": DAY})["bytes"]
    assert (found.outcome, found.time) == ("unknown", TODAY + DAY)


def test_a_reference_that_calls_its_time_otherwise_is_named_with_its_columns(tmp_path: Path) -> None:
    small = build(tmp_path)
    place = tmp_path / "data" / "reference.parquet"
    table = pa.parquet.read_table(place)
    pa.parquet.write_table(table.rename_columns(["when" if one == "ts" else one for one in table.column_names]), place)
    with pytest.raises(TableError, match=r"the reference .*reference\.parquet has no column 'ts', which .* when"):
        learn_baseline(small.project, "spam", now=TODAY)


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
    small = build(tmp_path)
    shutil.move(small.model, tmp_path / "spam")
    path = tmp_path / "assay.toml"
    path.write_text(path.read_text().replace('path = "models/spam"', 'path = "spam"'))
    monkeypatch.chdir(tmp_path)
    with clock_from(NOW):
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
