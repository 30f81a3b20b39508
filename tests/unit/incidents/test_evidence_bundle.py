from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assay.audit.log import AuditLog
from assay.errors import IncidentError, StorageError
from assay.incidents.bundle import Exported, export
from assay.incidents.desk import Desk
from assay.incidents.offline import main
from assay.keys.pem import generate
from assay.signing.statement import VALIDATION, Statement, Subject, seal
from assay.signing.trust import TrustStore

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
Files = dict[str, bytes]


@dataclass(frozen=True)
class Case:
    made: Exported
    trust: TrustStore
    folder: Path


@pytest.fixture
def case(desk: Desk, log: AuditLog, tmp_path: Path) -> Case:
    signer = generate(tmp_path / "key.pem", passphrase=None)
    statement = seal(Statement((Subject("spam", {"sha256": "aa" * 32}),), VALIDATION, {"result": "PASSED"}), signer)
    trust = TrustStore().trust("release@example.org", signer.public_pem())
    log.append("model.signed", "spam", {"root": "aa" * 32}, actor="release@example.org", now=NOW)
    log.append("model.signed", "ham", {"root": "bb" * 32}, actor="release@example.org", now=NOW)
    log.append("verify.refused", "spam", {"findings": [{"rule": "artifact.changed"}]}, actor="verify", now=NOW)
    desk.run(NOW)
    desk.acknowledge(1, "anna", NOW)
    made = export(desk, log, 1, tmp_path / "out.zip", statements=[statement], trust=trust, actor="anna", now=NOW)
    return Case(made, trust, tmp_path)


def read(path: Path) -> Files:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, files: Files) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return path


def verify(case: Case, path: Path, *more: str, key: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the program as an outsider would: alone, in another folder, without our packages on the path."""
    away = case.folder / "away"
    away.mkdir(exist_ok=True)
    program = away / "verify.py"
    program.write_bytes(read(case.made.path)["verify.py"])
    command = [sys.executable, "-I", str(program), str(path), "--key", key or case.made.key_string, *more]
    return subprocess.run(command, capture_output=True, text=True, cwd=away, check=False, timeout=60)


def test_a_good_bundle_verifies_alone(case: Case) -> None:
    done = verify(case, case.made.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "the bundle is good" in done.stdout
    assert "verify.refused spam by verify" in done.stdout
    assert "incident.acknowledged" in done.stdout
    assert "signed by release@example.org" in done.stdout
    assert case.trust.digest in done.stdout


def test_the_program_needs_nothing_of_ours_and_is_short(case: Case) -> None:
    program = read(case.made.path)["verify.py"].decode()
    assert "import assay" not in program
    assert "from assay" not in program
    assert len(program.splitlines()) <= 300


def test_the_export_is_an_entry_and_a_step(case: Case, desk: Desk, log: AuditLog) -> None:
    entry = log.entries()[case.made.position].entry
    assert (entry.kind, entry.actor, entry.data["manifest"]) == ("incident.exported", "anna", case.made.manifest)
    assert desk.show(1).steps[-1].kind == "exported"


def test_the_bundle_tells_of_its_model_and_no_other(case: Case) -> None:
    entries = [json.loads(body) for name, body in read(case.made.path).items() if name.startswith("entries/")]
    assert {entry["subject"] for entry in entries} == {"spam"}
    assert "model.signed" in {entry["kind"] for entry in entries}
    assert json.loads(read(case.made.path)["incident.json"])["state"] == "acknowledged"


def edit(name: str, old: bytes, new: bytes) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        assert old in files[name]
        files[name] = files[name].replace(old, new, 1)

    return change


def drop(name: str) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        del files[name]

    return change


def add(name: str, body: bytes) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        files[name] = body

    return change


def edit_and_reseal(files: Files) -> None:
    """Edit a file and make the manifest fit: then the log's entry names another manifest."""
    files["incident.json"] = files["incident.json"].replace(b"anna", b"evil")
    manifest = json.loads(files["manifest.json"])
    manifest["files"]["incident.json"] = hashlib.sha256(files["incident.json"]).hexdigest()
    files["manifest.json"] = json.dumps(manifest).encode()


def forge_the_seal(files: Files) -> None:
    """Edit, make the manifest fit, and the entry too: then the entry is not in the log."""
    before = hashlib.sha256(files["manifest.json"]).hexdigest().encode()
    edit_and_reseal(files)
    after = hashlib.sha256(files["manifest.json"]).hexdigest().encode()
    for name in files:
        files[name] = files[name].replace(before, after)


def drop_the_proof_of(position: int) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        proofs = [proof for proof in json.loads(files["proofs.json"]) if proof["position"] != position]
        files["proofs.json"] = json.dumps(proofs).encode()

    return change


def swap_two_entries(files: Files) -> None:
    first, second = "entries/00000000.json", "entries/00000002.json"
    files[first], files[second] = files[second], files[first]


def swap_the_statements_signature(files: Files) -> None:
    name = next(name for name in files if name.startswith("statements/"))
    envelope = json.loads(files[name])
    envelope["payloadType"] = "application/vnd.in-toto+jsoN"
    files[name] = json.dumps(envelope).encode()


def drop_all_entries(files: Files) -> None:
    for name in [name for name in files if name.startswith("entries/")]:
        del files[name]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (edit("entries/00000002.json", b"artifact.changed", b"artifact.chanqed"), "entries/00000002.json"),
        (swap_two_entries, "entries/00000000.json"),
        (drop_all_entries, "entries: there are none"),
        (edit("incident.json", b"anna", b"evil"), "incident.json: it was edited"),
        (drop("incident.json"), "incident.json: it is missing"),
        (drop("entries/00000002.json"), "entries/00000002.json: it is missing"),
        (add("extra.txt", b"x"), "extra.txt: it was added"),
        (add("entries/00000001.json", b"{}"), "entries/00000001.json"),
        (add("entries/nonsense.json", b"\xff"), "entries/nonsense.json"),
        (edit_and_reseal, "manifest.json: no entry of the log names its digest"),
        (forge_the_seal, "is not what the log holds there"),
        (edit("checkpoint.txt", b"example.org/log\n", b"example.com/log\n"), "checkpoint.txt"),
        (drop("checkpoint.txt"), "checkpoint.txt"),
        (add("checkpoint.txt", b"\xff\xfe"), "checkpoint.txt"),
        (drop("manifest.json"), "manifest.json"),
        (add("manifest.json", b"[]"), "manifest.json"),
        (add("manifest.json", b"[" * 100_000), "manifest.json"),
        (drop_the_proof_of(2), "entries/00000002.json"),
        (add("proofs.json", b'{"a": 1}'), "checkpoint.txt"),
        (swap_the_statements_signature, "the signature is not over these bytes"),
        (edit("trust.json", b"release@example.org", b"mallory@example.org"), "trust.json: it was edited"),
        (add("trust.json", b"{}"), "trust.json"),
        (add("statements/bad.json", b'{"signatures": []}'), "statements/bad.json"),
    ],
)
def test_a_tampered_bundle_is_refused_and_says_what(case: Case, change: Callable[[Files], None], named: str) -> None:
    files = read(case.made.path)
    change(files)
    path = write(case.folder / "tampered.zip", files)
    done = verify(case, path)
    assert (done.returncode, done.stderr) == (1, "")
    bad = [line for line in done.stdout.splitlines() if line.startswith("BAD")]
    assert any(named.replace("is not what", "are not what") in line or named in line for line in bad), done.stdout


def test_another_logs_key_does_not_verify_it(case: Case, tmp_path: Path) -> None:
    with AuditLog.open(
        tmp_path / "other.db", key=tmp_path / "other.key", origin="example.org/log", checkpoints=[], now=NOW
    ) as other:
        done = verify(case, case.made.path, key=other.key_string)
    assert done.returncode == 1
    assert "checkpoint.txt" in done.stdout


def test_a_statement_of_a_key_that_the_readers_own_trust_store_lacks_is_refused(case: Case, tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(case.trust.to_json())
    assert verify(case, case.made.path, "--trust", str(mine)).returncode == 0
    mine.write_text(TrustStore().to_json())
    done = verify(case, case.made.path, "--trust", str(mine))
    assert done.returncode == 1
    assert "does not know" in done.stdout


@pytest.mark.parametrize("key", ["", "nonsense", "a+b", "a+b+c", "example.org/log+00000000+AQ=="])
def test_a_key_that_is_none_is_refused_without_a_traceback(
    case: Case, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(case.made.path), "--key", key]) in (1, 2)
    assert "is good" not in capsys.readouterr().out


def test_the_same_name_twice_in_the_zip_is_refused(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(case.made.path, "a") as archive,
    ):
        archive.writestr("incident.json", b"{}")
    assert main([str(case.made.path), "--key", case.made.key_string]) == 1
    assert "twice" in capsys.readouterr().out


@pytest.mark.parametrize("body", [b"", b"PK", b"x" * 1000])
def test_what_is_no_zip_is_refused(case: Case, body: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    case.made.path.write_bytes(body)
    assert main([str(case.made.path), "--key", case.made.key_string]) == 1
    assert "BAD" in capsys.readouterr().out


def test_any_byte_flipped_is_refused_or_changes_nothing(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    # A bit of the zip's own book-keeping (a time, an attribute) may differ; a file's bytes may not.
    whole = case.made.path.read_bytes()
    files = read(case.made.path)
    for offset in range(0, len(whole), max(1, len(whole) // 150)):
        case.made.path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
        if main([str(case.made.path), "--key", case.made.key_string]) == 0:
            assert read(case.made.path) == files
    capsys.readouterr()


def test_an_export_that_cannot_be_made_leaves_nothing(case: Case, desk: Desk, log: AuditLog, tmp_path: Path) -> None:
    with pytest.raises(IncidentError, match="no incident 7"):
        export(desk, log, 7, tmp_path / "x.zip", statements=[], trust=case.trust, actor="anna", now=NOW)
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder is wanted")
    with pytest.raises(StorageError, match="cannot be written"):
        export(desk, log, 1, blocked / "x.zip", statements=[], trust=case.trust, actor="anna", now=NOW)
    assert not (tmp_path / "x.zip").exists()


def test_a_statement_by_a_stranger_is_evidence_and_does_not_spoil_the_rest(
    case: Case, desk: Desk, log: AuditLog, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = generate(case.folder / "mallory.pem", passphrase=None)
    subject = Subject("spam", {"sha256": "aa" * 32})
    found = seal(Statement((subject,), VALIDATION, {"result": "PASSED"}), stranger)
    place = case.folder / "strange.zip"
    made = export(desk, log, 1, place, statements=[found], trust=case.trust, actor="anna", now=NOW)
    assert f"unvouched/{found.digest}.json" in read(place)
    assert main([str(place), "--key", made.key_string]) == 0
    assert "1 statements in unvouched/ are as exported; no trusted key signed them" in capsys.readouterr().out
    files = read(place)
    files[f"unvouched/{found.digest}.json"] += b" "
    assert main([str(write(case.folder / "edited.zip", files)), "--key", made.key_string]) == 1
