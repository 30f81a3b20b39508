"""Training data held against their signed fingerprint, and the log seen from outside."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pytest
from sqlalchemy import delete, text
from tests.small_project import ANNA, RELEASE, TODAY, Small

from assay.errors import ConfigError, IncidentError, StorageError, TableError, VerificationError
from assay.lineage.fingerprint import fingerprint
from assay.lineage.provenance import environment, lineage_statement
from assay.project import integrity
from assay.project.auditing import export_incident, export_log, proof_of, verify_log
from assay.project.data import signed_fingerprint, verify_data
from assay.project.people import revoke_key
from assay.release.store import save_statement
from assay.signing.statement import seal
from assay.storage.database import open_audit, writing
from assay.storage.tables import statements


def training(small: Small) -> Path:
    return small.folder / "data" / "training.csv"


def test_untouched_data_are_as_signed(small: Small) -> None:
    small.sign()
    report = verify_data(small.project, "spam", now=TODAY)
    assert (report.changed, report.rows, report.findings) == (False, 400, ())


def test_flipped_labels_are_named_row_by_row_logged_and_told(small: Small) -> None:
    small.sign()
    table = pyarrow.csv.read_csv(training(small))
    labels = table.column("y").to_pylist()
    for row in (3, 17):
        labels[row] = "ham" if labels[row] == "spam" else "spam"
    pyarrow.csv.write_csv(table.set_column(3, "y", pa.array(labels)), training(small))
    report = verify_data(small.project, "spam", now=TODAY)
    assert report.changed
    assert {finding.rule for finding in report.findings} >= {"data.label-changed"}
    (flips,) = [finding for finding in report.findings if finding.rule == "data.label-changed"]
    assert "3" in flips.detail
    assert "17" in flips.detail
    (entry,) = small.project.log.entries(kinds=["data.changed"])
    assert entry.entry.subject == "spam"
    small.project.tell(TODAY)
    assert [one.kind for one in small.project.desk.list()] == ["integrity"]


def test_another_order_is_told_but_is_no_change(small: Small) -> None:
    small.sign()
    lines = training(small).read_text().splitlines()
    training(small).write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    report = verify_data(small.project, "spam", now=TODAY)
    assert not report.changed
    assert "data.reordered" in {finding.rule for finding in report.findings}
    assert small.project.log.entries(kinds=["data.changed"]) == []


def test_a_label_column_taken_away_is_a_change_not_a_crash(small: Small) -> None:
    small.sign()
    table = pyarrow.csv.read_csv(training(small))
    pyarrow.csv.write_csv(table.drop_columns(["y"]), training(small))
    assert verify_data(small.project, "spam", now=TODAY).changed


def test_missing_data_are_an_error_that_names_the_file(small: Small) -> None:
    small.sign()
    training(small).unlink()
    with pytest.raises(TableError, match=r"training\.csv"):
        verify_data(small.project, "spam", now=TODAY)


def test_data_never_signed_or_whose_statement_is_gone_or_badly_signed_are_refused(small: Small) -> None:
    with pytest.raises(VerificationError, match="were never fingerprinted"):
        verify_data(small.project, "spam", now=TODAY)
    small.sign()
    revoke_key(small.project, small.keys[RELEASE].key_id, at=None, now=TODAY)
    with pytest.raises(VerificationError, match="revoked"):
        verify_data(small.project, "spam", now=TODAY)
    with writing(small.project.state) as connection:
        connection.execute(delete(statements))
    with pytest.raises(VerificationError, match="is gone"):
        verify_data(small.project, "spam", now=TODAY)


def test_an_older_statement_put_in_its_place_does_not_count(small: Small) -> None:
    small.sign()
    old = signed_fingerprint(small.project, "spam", now=TODAY)
    table = pyarrow.csv.read_csv(training(small))
    pyarrow.csv.write_csv(table.slice(0, 300), training(small))
    small.sign()
    assert signed_fingerprint(small.project, "spam", now=TODAY).rows == 300
    with writing(small.project.state) as connection:  # the newer one is deleted: the old must not take its place
        newest = connection.execute(text("select max(rowid) from statements")).scalar_one()
        connection.execute(text("delete from statements where rowid = :row"), {"row": newest})
    with pytest.raises(VerificationError, match="is gone"):
        signed_fingerprint(small.project, "spam", now=TODAY)
    assert old.rows == 400


def test_a_fingerprint_by_a_key_the_policy_does_not_name_does_not_count(small: Small) -> None:
    small.sign()
    signature = (small.model / "model.sig").read_bytes()
    training(small).write_text(training(small).read_text().replace('"ham"', '"spam"', 1))
    with pytest.raises(VerificationError, match="does not sign spam"):
        integrity.sign_model(small.project, "spam", small.keys[ANNA], now=TODAY)
    assert (small.model / "model.sig").read_bytes() == signature  # the good one still stands
    root = integrity.verify_model(small.project, "spam", now=TODAY).root
    found = fingerprint(str(training(small)), label="y")
    by_anna = seal(lineage_statement(found, root, environment(), created=TODAY), small.keys[ANNA])
    save_statement(small.project.state, by_anna, model="spam", kind="lineage", root=root, created=TODAY)
    named = {"root": root, "statement": by_anna.digest}
    small.project.log.append("data.fingerprinted", "spam", named, actor="anna", now=TODAY)
    with pytest.raises(VerificationError, match="does not sign spam"):
        verify_data(small.project, "spam", now=TODAY)


def test_without_the_row_digests_a_change_is_still_found(small: Small) -> None:
    small.sign()
    for file in small.project.places.rows.iterdir():
        file.unlink()
    assert not verify_data(small.project, "spam", now=TODAY).changed
    training(small).write_text(training(small).read_text().replace('"ham"', '"spam"', 1))
    assert verify_data(small.project, "spam", now=TODAY).changed


def test_the_log_is_sound_and_unwitnessed_without_its_checkpoints(small: Small) -> None:
    small.sign()
    assert verify_log(small.project).state == "sound"
    for file in sorted((small.folder / "outside").rglob("*")):
        if file.is_file():
            file.unlink()
    assert verify_log(small.project).state == "unwitnessed"


def test_an_edited_entry_breaks_the_log_and_opens_an_incident(small: Small) -> None:
    small.sign()
    size = small.project.log.size()
    engine = open_audit(small.folder / ".assay" / "audit.db")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "update entries set body = cast(replace(cast(body as text), 'mlops', 'owner') as blob) where position = 4"
        )
    engine.dispose()
    report = verify_log(small.project, now=TODAY)
    assert report.state == "broken"
    assert any("4" in finding.detail for finding in report.findings)
    assert size == report.size
    assert [one.kind for one in small.project.desk.list()] == ["audit"]


def test_every_entry_has_its_proof_and_no_other_has(small: Small) -> None:
    small.sign()
    proof = proof_of(small.project, 2)
    assert proof.entry["kind"] == "key.trusted"
    assert proof.checkpoint is not None
    assert (proof.size, proof.root) == (small.project.log.size(), small.project.log.root())
    for position in (-1, proof.size, 10**30):
        with pytest.raises(ConfigError, match="there is no"):
            proof_of(small.project, position)


def test_the_exported_log_has_every_entry_and_the_checkpoint(small: Small) -> None:
    small.sign()
    file = small.folder / "log.jsonl"
    count = export_log(small.project, file)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["position"] for line in lines[:-1]] == list(range(count))
    assert lines[-1] == {"checkpoint": small.project.log.checkpoint(), "key": small.project.log.key_string}
    with pytest.raises(StorageError, match="cannot be written"):
        export_log(small.project, small.folder / "no" / "such" / "folder.jsonl")


def test_the_evidence_of_an_incident_verifies_offline(small: Small) -> None:
    small.go_live()
    (small.model / "labels.txt").write_text("spam\nham\n")
    with pytest.raises(VerificationError):
        integrity.verify_model(small.project, "spam", now=TODAY)
    (number,) = small.project.tell(TODAY)
    bundle = small.folder / "evidence.zip"
    export_incident(small.project, number, bundle, now=TODAY)
    folder = small.folder / "unpacked"
    zipfile.ZipFile(bundle).extractall(folder)
    command = [sys.executable, "-I", "verify.py", str(bundle), "--key", small.project.log.key_string]
    checked = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    with pytest.raises(StorageError):  # nothing is overwritten
        export_incident(small.project, number, bundle, now=TODAY)
    with pytest.raises(IncidentError):
        export_incident(small.project, 99, small.folder / "other.zip", now=TODAY)
