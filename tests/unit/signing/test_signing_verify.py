from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from tests.descriptors import opened

from assay.errors import ArtifactError, BundleError, LogError, StorageError, VerificationError
from assay.keys.pem import PemSigner, load_public
from assay.signing.about import About
from assay.signing.sign import default_signature, sign
from assay.signing.signers import SignedBy, SignedByKey, UnsafeTrustAnyone
from assay.signing.statement import PAYLOAD_TYPE, pae
from assay.signing.trust import TrustStore
from assay.signing.verify import verify
from assay.storage.clock import utc_text

ANNA = "anna@example.org"


@dataclass
class Journal:
    """An audit log in memory; full when told so."""

    full: bool = False
    entries: list[tuple[str, str, Mapping[str, object], str, datetime]] = field(default_factory=list)

    def append(
        self, kind: str, subject: str, data: Mapping[str, object], *, actor: str, now: datetime, once: str | None = None
    ) -> int:
        assert once is None
        if self.full:
            raise LogError("the disk is full")
        self.entries.append((kind, subject, data, actor, now))
        return len(self.entries) - 1


@dataclass
class Memory:
    """What was seen, in memory."""

    known: dict[str, tuple[int, str]] = field(default_factory=dict)
    rolled_back: set[tuple[int, str]] = field(default_factory=set)

    def seen(self, name: str) -> tuple[int, str] | None:
        return self.known.get(name)

    def allows(self, name: str, seen: tuple[int, str], to: tuple[int, str], now: datetime) -> bool:
        assert now.tzinfo is not None
        assert self.known[name] == seen
        return to in self.rolled_back

    def remember(self, name: str, version: int, root: str, now: datetime) -> None:
        assert now.tzinfo is not None
        self.known[name] = (version, root)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(bytes(range(256)))
    (folder / "sub" / "vocab.txt").write_text("one\ntwo\n")
    (folder / "sub.txt").write_text("x")
    return folder


@pytest.fixture
def anna(trust: TrustStore) -> SignedBy:
    return SignedBy(trust, [ANNA])


def rules(error: VerificationError) -> list[str]:
    return [finding.rule for finding in error.findings]


def about(now: datetime, version: int = 1, **more: str) -> About:
    return About("spam", version, utc_text(now), **more)  # type: ignore[arg-type]  # statements are not given


def resign(model: Path, signer: PemSigner, old: bytes, new: bytes) -> None:
    """Change the statement of a signature and sign it again with the right key."""
    body = json.loads((model / "model.sig").read_bytes())
    payload = base64.b64decode(body["dsseEnvelope"]["payload"])
    assert old in payload
    payload = payload.replace(old, new)
    signature = signer.sign(pae(PAYLOAD_TYPE, payload))
    body["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    body["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    (model / "model.sig").write_text(json.dumps(body))


def test_a_signed_model_verifies_and_says_by_whom(
    model: Path, signer: PemSigner, anna: SignedBy, now: datetime
) -> None:
    signed = sign(model, signer, about=about(now), now=now)
    assert signed.bundle_path == model / "model.sig"
    verified = verify(model, signers=anna, name="spam", now=now)
    assert (verified.signer, verified.key_id) == (ANNA, signer.key_id)
    assert verified.root == signed.manifest.root == verified.manifest.root
    assert verified.about == signed.about
    assert verified.findings == ()


def test_the_same_model_gives_the_same_payload(model: Path, signer: PemSigner, now: datetime) -> None:
    payloads = set()
    for _ in range(2):
        sign(model, signer, about=about(now), now=now)
        payloads.add(json.loads((model / "model.sig").read_bytes())["dsseEnvelope"]["payload"])
    assert len(payloads) == 1


def test_a_single_file_is_signed_beside_itself(model: Path, signer: PemSigner, anna: SignedBy, now: datetime) -> None:
    path = model / "weights.bin"
    assert sign(path, signer, now=now).bundle_path == default_signature(path) == model / "weights.bin.sig"
    assert verify(path, signers=anna, now=now).manifest.files[0].name == "weights.bin"
    path.write_bytes(b"other")
    with pytest.raises(VerificationError, match=r"weights\.bin"):
        verify(path, signers=anna, now=now)


def test_a_single_files_signature_does_not_vouch_for_a_folder(
    model: Path, tmp_path: Path, signer: PemSigner, anna: SignedBy, now: datetime
) -> None:
    path = sign(model / "weights.bin", signer, signature=tmp_path / "s.sig", now=now).bundle_path
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "weights.bin").write_bytes((model / "weights.bin").read_bytes())
    with pytest.raises(VerificationError) as caught:
        verify(folder, signature=path, signers=anna, now=now)
    assert "signature.single-file" in rules(caught.value)


def test_every_reason_is_given_at_once(model: Path, stranger: PemSigner, anna: SignedBy, now: datetime) -> None:
    sign(model, stranger, about=about(now, expires=utc_text(now)), now=now)
    (model / "weights.bin").write_bytes(b"changed")
    (model / "sub" / "vocab.txt").unlink()
    (model / "extra.py").write_text("import os")
    memory = Memory({"spam": (7, "00" * 32)})
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=anna, name="other", now=now, versions=memory)
    assert set(rules(caught.value)) == {
        "trust.unknown-key",
        "artifact.changed",
        "artifact.missing",
        "artifact.extra",
        "signature.expired",
        "signature.rollback",
        "signature.other-model",
    }
    assert memory.known == {"spam": (7, "00" * 32)}
    for name in ("weights.bin", "vocab.txt", "extra.py"):
        assert any(name in finding.subject for finding in caught.value.findings)


def test_a_refusal_is_logged_and_told(model: Path, signer: PemSigner, anna: SignedBy, now: datetime) -> None:
    sign(model, signer, about=about(now), now=now)
    (model / "weights.bin").write_bytes(b"changed")
    journal, told = Journal(), list[VerificationError]()
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=anna, now=now, log=journal, on_refusal=told.append)
    assert told == [caught.value]
    ((kind, subject, data, _, time),) = journal.entries
    assert (kind, subject, time) == ("verify.refused", "spam", now)
    assert data["findings"] == [finding.as_json() for finding in caught.value.findings]


def test_a_full_log_does_not_hide_a_refusal(model: Path, signer: PemSigner, anna: SignedBy, now: datetime) -> None:
    sign(model, signer, now=now)
    (model / "weights.bin").write_bytes(b"changed")
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=anna, now=now, log=Journal(full=True))
    assert rules(caught.value) == ["artifact.changed", "audit.not-logged"]


def test_signing_is_logged_after_it_is_done(model: Path, signer: PemSigner, now: datetime) -> None:
    journal = Journal()
    signed = sign(model, signer, about=about(now, version=4), log=journal, actor=ANNA, now=now)
    ((kind, subject, data, actor, _),) = journal.entries
    assert (kind, subject, actor) == ("model.signed", "spam", ANNA)
    assert (data["root"], data["version"], data["key_id"]) == (signed.manifest.root, 4, signer.key_id)


@pytest.mark.parametrize("put", ["nothing", "folder", "pipe", "garbage"])
def test_a_signature_that_is_missing_or_none_is_a_refusal(model: Path, anna: SignedBy, now: datetime, put: str) -> None:
    place = model / "model.sig"
    if put == "folder":
        place.mkdir()
    elif put == "pipe":
        os.mkfifo(place)
    elif put == "garbage":
        place.write_bytes(b"\0" * 100)
    told = list[VerificationError]()
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=anna, now=now, on_refusal=told.append)
    assert rules(caught.value) == ["signature.malformed" if put == "garbage" else "signature.missing"]
    assert isinstance(caught.value, BundleError) is (put == "garbage")
    assert told == [caught.value]


def test_a_huge_signature_is_refused_unread(model: Path, anna: SignedBy, now: datetime) -> None:
    with (model / "model.sig").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(VerificationError, match="1099511627776 bytes"):
        verify(model, signers=anna, now=now)


def test_a_model_that_is_not_there_is_the_callers_mistake(tmp_path: Path, anna: SignedBy, now: datetime) -> None:
    with pytest.raises(ArtifactError, match="no such model"):
        verify(tmp_path / "nowhere", signers=anna, now=now)


@pytest.mark.parametrize("hold", [False, True])
def test_an_emptied_model_is_refused(
    model: Path, signer: PemSigner, anna: SignedBy, now: datetime, *, hold: bool
) -> None:
    tmp_path = model.parent
    place = sign(model, signer, signature=tmp_path / "m.sig", now=now).bundle_path
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(VerificationError) as caught:
        verify(empty, signature=place, signers=anna, now=now, hold=hold)
    assert rules(caught.value) == ["artifact.empty"]


def test_a_model_without_files_cannot_be_signed(tmp_path: Path, signer: PemSigner, now: datetime) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError):
        sign(tmp_path / "empty", signer, now=now)
    assert not (tmp_path / "empty" / "model.sig").exists()


def test_signing_never_overwrites_what_is_no_signature(model: Path, signer: PemSigner, now: datetime) -> None:
    before = (model / "weights.bin").read_bytes()
    with pytest.raises(ArtifactError, match="no signature"):
        sign(model, signer, signature=model / "weights.bin", now=now)
    assert (model / "weights.bin").read_bytes() == before


def test_a_signature_that_cannot_be_written_is_said(model: Path, signer: PemSigner, now: datetime) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        sign(model, signer, signature=model / "nowhere" / "model.sig", now=now)


def test_what_the_signer_left_out_is_left_out_again(
    model: Path, signer: PemSigner, anna: SignedBy, now: datetime
) -> None:
    (model / "notes.md").write_text("draft")
    sign(model, signer, ignore=["notes.md"], now=now)
    (model / "notes.md").write_text("changed")
    assert [file.name for file in verify(model, signers=anna, now=now).manifest.files] == [
        "sub.txt",
        "sub/vocab.txt",
        "weights.bin",
    ]


def test_leaving_out_a_signed_file_is_noticed(model: Path, signer: PemSigner, anna: SignedBy, now: datetime) -> None:
    sign(model, signer, now=now)
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=anna, ignore=["weights.bin"], now=now)
    assert rules(caught.value) == ["artifact.missing"]


def test_an_expired_signature_is_refused_from_that_moment(
    model: Path, signer: PemSigner, anna: SignedBy, now: datetime
) -> None:
    end = now + timedelta(days=1)
    sign(model, signer, about=about(now, expires=utc_text(end)), now=now)
    verify(model, signers=anna, now=end - timedelta(microseconds=1))
    with pytest.raises(VerificationError, match="expired on") as caught:
        verify(model, signers=anna, now=end)
    assert rules(caught.value) == ["signature.expired"]


def test_an_older_version_put_back_is_refused(model: Path, signer: PemSigner, anna: SignedBy, now: datetime) -> None:
    memory = Memory()
    sign(model, signer, about=about(now, version=1), now=now)
    old_bytes, old_signature = (model / "weights.bin").read_bytes(), (model / "model.sig").read_bytes()
    verify(model, signers=anna, now=now, versions=memory)
    (model / "weights.bin").write_bytes(b"better")
    signed = sign(model, signer, about=about(now, version=2), now=now)
    verify(model, signers=anna, now=now, versions=memory)
    assert memory.known == {"spam": (2, signed.manifest.root)}
    (model / "weights.bin").write_bytes(old_bytes)
    (model / "model.sig").write_bytes(old_signature)
    with pytest.raises(VerificationError, match="older than version 2") as caught:
        verify(model, signers=anna, now=now, versions=memory)
    assert rules(caught.value) == ["signature.rollback"]


def test_one_version_cannot_stand_for_two_models(model: Path, signer: PemSigner, anna: SignedBy, now: datetime) -> None:
    memory = Memory()
    sign(model, signer, about=about(now), now=now)
    for _ in range(2):
        verify(model, signers=anna, now=now, versions=memory)
    (model / "weights.bin").write_bytes(b"other")
    sign(model, signer, about=about(now), now=now)
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=anna, now=now, versions=memory)
    assert rules(caught.value) == ["signature.version-reused"]


def test_taking_the_version_away_does_not_go_round_the_rollback_check(
    model: Path, signer: PemSigner, anna: SignedBy, now: datetime
) -> None:
    sign(model, signer, now=now)
    unseen = verify(model, signers=anna, now=now, versions=Memory())
    assert [finding.rule for finding in unseen.findings] == ["signature.unversioned"]
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=anna, now=now, versions=Memory({"model": (1, "00" * 32)}))
    assert rules(caught.value) == ["signature.rollback"]


def test_a_signature_over_another_model_of_the_same_signer_is_refused(
    model: Path, signer: PemSigner, anna: SignedBy, now: datetime
) -> None:
    sign(model, signer, about=about(now), now=now)
    with pytest.raises(VerificationError, match="signature of spam, wanted that of fraud") as caught:
        verify(model, signers=anna, name="fraud", now=now)
    assert rules(caught.value) == ["signature.other-model"]


def test_digests_signed_for_different_bytes_are_refused(
    model: Path, signer: PemSigner, anna: SignedBy, now: datetime
) -> None:
    manifest = sign(model, signer, now=now).manifest
    one, two = manifest.files[0], manifest.files[2]
    resign(model, signer, one.blake3.encode(), two.blake3.encode())
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=anna, now=now)
    assert rules(caught.value) == ["artifact.digests-disagree"]


def test_a_changed_statement_is_refused(model: Path, signer: PemSigner, anna: SignedBy, now: datetime) -> None:
    sign(model, signer, about=about(now, version=1), now=now)
    body = json.loads((model / "model.sig").read_bytes())
    payload = base64.b64decode(body["dsseEnvelope"]["payload"]).replace(b'"version":1', b'"version":9')
    body["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    (model / "model.sig").write_text(json.dumps(body))
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=anna, now=now)
    assert rules(caught.value) == ["signature.bad"]


def test_held_bytes_are_those_verified_whatever_happens_on_disk(
    model: Path, signer: PemSigner, anna: SignedBy, now: datetime
) -> None:
    sign(model, signer, now=now)
    before, held = (model / "weights.bin").read_bytes(), opened(model)
    with verify(model, signers=anna, now=now, hold=True) as verified:
        (model / "weights.bin").write_bytes(b"swapped")
        assert bytes(verified._held().view("weights.bin")) == before
        assert opened(model) - held
    assert not opened(model) - held


def test_bytes_swapped_after_verification_are_never_loaded(
    model: Path, signer: PemSigner, anna: SignedBy, now: datetime
) -> None:
    sign(model, signer, now=now)
    journal = Journal()
    verified = verify(model, signers=anna, now=now, log=journal)
    (model / "weights.bin").write_bytes(b"swapped")
    with pytest.raises(VerificationError) as caught:
        verified.load("sklearn")
    assert rules(caught.value) == ["artifact.changed"]
    assert [kind for kind, *_ in journal.entries] == ["verify.refused"]


def test_a_refused_hold_leaves_no_memory_behind(model: Path, signer: PemSigner, anna: SignedBy, now: datetime) -> None:
    sign(model, signer, now=now)
    (model / "weights.bin").write_bytes(b"swapped")
    before = opened(model)
    with pytest.raises(VerificationError):
        verify(model, signers=anna, now=now, hold=True)
    assert not opened(model) - before


def test_a_loaded_model_is_opened_from_the_verified_bytes(
    model: Path, signer: PemSigner, anna: SignedBy, now: datetime, *, monkeypatch: pytest.MonkeyPatch
) -> None:
    (model.parent / "plug_for_signing.py").write_text(
        "def answer(files, table):\n    return [len(files.view('weights.bin'))] * table.num_rows\n"
    )
    monkeypatch.syspath_prepend(str(model.parent))
    sign(model, signer, now=now)
    with verify(model, signers=anna, now=now) as verified:
        predictor = verified.load("plug_for_signing:answer")
        (model / "weights.bin").write_bytes(b"swapped")
        assert list(predictor.predict(pa.table({"x": [1, 2]})).labels) == [256, 256]
        assert verified._held() is verified._held()


def test_trusting_anyone_is_a_warning_and_still_checks_the_files(
    model: Path, stranger: PemSigner, now: datetime
) -> None:
    sign(model, stranger, now=now)
    verified = verify(model, signers=UnsafeTrustAnyone(), now=now)
    assert [finding.rule for finding in verified.findings] == ["signature.unchecked"]
    (model / "weights.bin").write_bytes(b"changed")
    with pytest.raises(VerificationError):
        verify(model, signers=UnsafeTrustAnyone(), now=now)


def test_a_blake3_only_signature_says_so(model: Path, signer: PemSigner, anna: SignedBy, now: datetime) -> None:
    path = model / "weights.bin"
    digests = sign(path, signer, now=now).manifest.files[0]
    (model / "weights.bin.sig").rename(model / "model.sig")
    old_root = hashlib.sha256(bytes.fromhex(digests.sha256)).hexdigest().encode()
    new_root = hashlib.sha256(bytes.fromhex(digests.blake3)).hexdigest().encode()
    for old, new in (
        (digests.sha256.encode(), digests.blake3.encode()),
        (old_root, new_root),
        (b'"algorithm":"sha256"', b'"algorithm":"blake3"'),
        (b'"hash_type":"sha256"', b'"hash_type":"blake3"'),
    ):
        resign(model, signer, old, new)
    verified = verify(path, signature=model / "model.sig", signers=anna, now=now)
    assert [finding.rule for finding in verified.findings] == ["signature.blake3-only"]
    path.write_bytes(b"changed")
    with pytest.raises(VerificationError, match=r"weights\.bin"):
        verify(path, signature=model / "model.sig", signers=anna, now=now)


def test_a_verification_imports_neither_database_nor_numbers(model: Path, signer: PemSigner, now: datetime) -> None:
    sign(model, signer, now=now)
    (model.parent / "k.pub").write_bytes(signer.public_pem())
    script = (
        "import sys; from datetime import UTC, datetime; from pathlib import Path;"
        "from assay.keys.pem import read_public; from assay.signing.signers import SignedByKey;"
        "from assay.signing.verify import verify;"
        "verify(Path(sys.argv[1]), signers=SignedByKey(read_public(Path(sys.argv[2]))), now=datetime.now(UTC));"
        "print(sorted({'sqlalchemy', 'numpy', 'alembic', 'pyarrow', 'assay.audit.log'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, model, model.parent / "k.pub"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_key_alone_may_be_the_rule(model: Path, signer: PemSigner, now: datetime) -> None:
    sign(model, signer, now=now)
    verified = verify(model, signers=SignedByKey(load_public(signer.public_pem())), now=now)
    assert verified.key_id == signer.key_id
    assert replace(verified.manifest) == verified.manifest


def test_where_memory_cannot_be_sealed_loading_says_so(
    model: Path, signer: PemSigner, anna: SignedBy, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> int:
        raise PermissionError("seccomp")

    sign(model, signer, now=now)
    monkeypatch.setattr(os, "memfd_create", forbidden)
    with verify(model, signers=anna, now=now) as verified:
        assert not verified.findings
        assert len(verified._held().view("weights.bin")) == 256
        assert [finding.rule for finding in verified.findings] == ["load.unsealed"]


def test_closing_a_model_that_was_not_held_does_nothing(
    model: Path, signer: PemSigner, anna: SignedBy, now: datetime
) -> None:
    sign(model, signer, now=now)
    verified = verify(model, signers=anna, now=now)
    verified.close()
    verified.close()
    assert verified.root == verified.manifest.root


def test_a_model_renamed_away_while_it_is_verified_is_an_error_of_ours(
    model: Path, tmp_path: Path, signer: PemSigner, anna: SignedBy, now: datetime
) -> None:
    place = sign(model, signer, signature=tmp_path / "m.sig", now=now).bundle_path
    model.rename(tmp_path / "gone")
    with pytest.raises(ArtifactError):
        verify(model, signature=place, signers=anna, now=now)
