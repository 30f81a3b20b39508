"""A signature exchanged or deleted beside the model is found by the one kept in the second store of assay.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.small_project import CONFIG, RELEASE, TODAY, Small, build

from assay.errors import KeyFileError, StorageError, VerificationError
from assay.project import integrity
from assay.storage import sealed

PATH = 'path = "models/spam"\n'


def small(folder: Path, place: str) -> Small:
    return build(folder, config=CONFIG.replace(PATH, f'{PATH}second_store = "{place}"\n', 1))


@pytest.fixture
def project(tmp_path: Path) -> Small:
    made = small(tmp_path / "project", "../elsewhere")
    made.sign()
    return made


def verify(made: Small) -> None:
    integrity.verify_model(made.reopened(), "spam", now=TODAY).close()


def test_signing_keeps_signature_and_model_apart_and_logs_where(project: Small) -> None:
    verify(project)
    (kept,) = project.project.log.entries(kinds=["model.kept"], subject="spam")
    entry = str(kept.entry.data["entry"])
    place = project.folder.parent / "elsewhere" / entry
    assert (place / "model.sig").read_bytes() == (project.model / "model.sig").read_bytes()
    assert (place / "files" / "model.skops").read_bytes() == (project.model / "model.skops").read_bytes()


def test_a_signature_as_valid_as_the_first_but_not_the_kept_one_is_refused_logged_and_told(project: Small) -> None:
    former = (project.model / "model.sig").read_bytes()
    second = project.folder.parent / "elsewhere"
    shutil.move(second, project.folder.parent / "away")
    project.sign()  # an insider with the key signs again, and cannot write the second store
    shutil.rmtree(second)
    shutil.move(project.folder.parent / "away", second)
    assert (project.model / "model.sig").read_bytes() != former
    with pytest.raises(VerificationError) as refused:
        verify(project)
    assert [one.rule for one in refused.value.findings] == ["signature.not-as-kept"]
    (entry,) = project.project.log.entries(kinds=["verify.refused"], subject="spam")
    assert "signature.not-as-kept" in str(entry.entry.data["findings"])
    project.reopened().tell(TODAY)
    assert any("spam" in line for line in project.alerts("security"))


def test_a_deleted_signature_is_refused_with_where_it_is_kept(project: Small) -> None:
    (project.model / "model.sig").unlink()
    with pytest.raises(VerificationError) as refused:
        verify(project)
    assert "assay restore spam --second-store" in refused.value.findings[-1].detail


def test_a_tampered_model_is_refused_also_where_the_second_store_is_gone(project: Small) -> None:
    (project.model / "labels.txt").write_text("spam\nham\n")
    verify_refuses(project, "artifact.changed")
    shutil.rmtree(project.folder.parent / "elsewhere")
    verify_refuses(project, "artifact.changed")


def verify_refuses(made: Small, rule: str) -> None:
    with pytest.raises(VerificationError) as refused:
        verify(made)
    assert rule in {one.rule for one in refused.value.findings}


def test_an_emptied_second_store_is_refused(project: Small) -> None:
    shutil.rmtree(project.folder.parent / "elsewhere")
    verify_refuses(project, "kept.missing")


def test_a_second_store_that_cannot_be_read_is_could_not_tell(project: Small) -> None:
    second = project.folder.parent / "elsewhere"
    shutil.rmtree(second)
    second.write_text("no folder any more")
    with pytest.raises((StorageError, VerificationError)):
        verify(project)


def test_nothing_is_signed_when_the_second_store_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "_COST", 1 << 10)
    monkeypatch.delenv("ASSAY_SEAL_PASSPHRASE", raising=False)
    made = small(tmp_path / "project", "sealed:../box")
    with pytest.raises(KeyFileError, match="ASSAY_SEAL_PASSPHRASE"):
        made.sign()
    assert not (made.model / "model.sig").exists()
    monkeypatch.setenv("ASSAY_SEAL_PASSPHRASE", "seal")
    made.sign()
    verify(made)
    before = (made.model / "model.sig").read_bytes()
    monkeypatch.setenv("ASSAY_SEAL_PASSPHRASE", "wrong")
    with pytest.raises(KeyFileError, match="passphrase is wrong"):
        integrity.sign_model(made.project, "spam", made.keys[RELEASE], now=TODAY)
    assert (made.model / "model.sig").read_bytes() == before
