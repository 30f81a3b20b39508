"""Checks of signing, verifying and letting go that nothing else stands behind, each met alone."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric import ec
from safetensors.numpy import save_file
from tests.descriptors import opened

from assay.artifacts.listing import Listing
from assay.artifacts.measure import measure
from assay.artifacts.snapshot import Snapshot
from assay.errors import VerificationError
from assay.keys.pem import PemSigner, load_public
from assay.signing import bundle, store
from assay.signing.bundle import Bundle
from assay.signing.moment import Moment
from assay.signing.sign import sign
from assay.signing.signers import Signatory, SignedByKey
from assay.signing.statement import PAYLOAD_TYPE, pae
from assay.signing.verified import VerifiedModel
from assay.signing.verify import verify
from assay.signing.vouched import read_vouched

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = PemSigner(ec.generate_private_key(ec.SECP256R1()), encrypted=False, loose_mode=False)
RULE = SignedByKey(load_public(KEY.public_pem()))


def test_what_is_read_has_a_limit_and_what_has_just_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_BYTES", 10)
    (tmp_path / "a").write_bytes(b"x" * 10)
    (tmp_path / "b").write_bytes(b"x" * 11)
    assert store.read_bounded(tmp_path / "a") == b"x" * 10
    with pytest.raises(OSError, match="it has 11 bytes, more than 10"):
        store.read_bounded(tmp_path / "b")


def test_nothing_is_left_open_by_writing_or_by_letting_go(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(100))
    sign(tmp_path, KEY, now=NOW)
    before = opened(tmp_path)
    for _ in range(3):
        store.write_whole(tmp_path.with_suffix(".txt"), b"text")
    assert not opened(tmp_path) - before
    held = verify(tmp_path, signers=RULE, now=NOW, hold=True)
    snapshot = held.files()
    assert opened(tmp_path) - before
    held.close()
    assert not opened(tmp_path) - before
    del snapshot


def test_who_signs_is_named_in_the_log_by_name_or_by_key(tmp_path: Path) -> None:
    actors: list[str] = []

    class Journal:
        def append(
            self, kind: str, subject: str, data: object, *, actor: str, now: datetime, once: str | None = None
        ) -> int:
            del kind, subject, data, now, once
            actors.append(actor)
            return 0

    (tmp_path / "weights.bin").write_bytes(bytes(100))
    for actor in ("", "anna"):
        sign(tmp_path, KEY, log=Journal(), actor=actor, now=NOW)
    assert actors == [f"key {KEY.key_id[:16]}", "anna"]


@pytest.mark.parametrize(("count", "told"), [(5, ""), (6, "1 more")])
def test_five_reasons_are_told_and_more_are_counted(tmp_path: Path, count: int, told: str) -> None:
    files = [tmp_path / f"{number}.bin" for number in range(count)]
    for file in files:
        file.write_bytes(b"a")
    sign(tmp_path, KEY, now=NOW)
    for file in files:
        file.write_bytes(b"b")
    with pytest.raises(VerificationError) as caught:
        verify(tmp_path, signers=RULE, now=NOW)
    assert (len(caught.value.findings), caught.value.message.partition("; and ")[2]) == (count, told)


def test_what_a_single_file_may_name_is_known_under_any_name(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"a")
    place = sign(tmp_path / "a.bin", KEY, callables={"a.bin": ["acme Model"]}, now=NOW).bundle_path
    renamed = (tmp_path / "a.bin").rename(tmp_path / "b.bin")
    with verify(renamed, signature=place, signers=RULE, now=NOW) as verified:
        assert verified._vouched() == {"b.bin": frozenset({"acme.Model"})}


def test_tensors_without_signed_digests_are_opened_from_a_verified_copy(tmp_path: Path) -> None:
    save_file({"w": np.arange(3, dtype="f4")}, tmp_path / "m.safetensors")
    (tmp_path / "model.sig").write_bytes(bundle.write(replace(measure(tmp_path), tensors=()), KEY))
    with verify(tmp_path, signers=RULE, now=NOW) as verified:
        assert verified.load("safetensors").arrays()["w"].tolist() == [0.0, 1.0, 2.0]
        save_file({"w": np.ones(3, dtype="f4")}, tmp_path / "m.safetensors")
        assert verified.load("safetensors").arrays()["w"].tolist() == [0.0, 1.0, 2.0]


class TestHowMuchIsChecked:
    """A first look, or one that was asked for, holds both digests; a second one the faster."""

    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        save_file({"w": np.arange(3, dtype="f4")}, tmp_path / "m.safetensors")
        sign(tmp_path, KEY, now=NOW)
        return tmp_path

    def test_a_signature_that_was_never_checked_here_is_checked_with_both(self, model: Path) -> None:
        first = verify(model, signers=RULE, now=NOW, known=())
        assert first.checked == "both"
        assert verify(model, signers=RULE, now=NOW, known={first.payload}).checked == "blake3"
        assert verify(model, signers=RULE, now=NOW, known={first.payload}, digests="both").checked == "both"
        assert verify(model, signers=RULE, now=NOW).checked == "blake3"

    def test_nothing_is_left_for_later_on_a_first_look(self, model: Path) -> None:
        def said(found: VerifiedModel) -> tuple[str, bool]:
            return found.checked, "verify.deferred" in {one.rule for one in found.findings}

        assert said(verify(model, signers=RULE, now=NOW, defer=True)) == ("blake3", True)
        assert said(verify(model, signers=RULE, now=NOW, defer=True, known=())) == ("both", False)
        assert said(verify(model, signers=RULE, now=NOW, defer=True, digests="both")) == ("both", False)
        assert said(verify(model, signers=RULE, now=NOW)) == ("blake3", False)

    def test_a_tensor_that_was_left_for_later_is_not_said_to_be_checked(self, model: Path) -> None:
        save_file({"w": np.ones(3, dtype="f4")}, model / "m.safetensors")
        verify(model, signers=RULE, now=NOW, defer=True).close()  # found when it is read
        with pytest.raises(VerificationError, match="tensor w of"):
            verify(model, signers=RULE, now=NOW, defer=True, known=())
        with pytest.raises(VerificationError, match="tensor w of"):
            verify(model, signers=RULE, now=NOW, defer=True, digests="both")

    def test_what_is_measured_is_what_is_held(self, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Other bytes lie there while the copy is taken, and the signed ones again when it is judged."""
        take, good = Snapshot.of.__func__, (model / "m.safetensors").read_bytes()  # type: ignore[attr-defined]

        def taken(kind: type[Snapshot], /, *args: Path, **more: Path) -> Snapshot:
            save_file({"w": np.ones(3, dtype="f4")}, model / "m.safetensors")
            found: Snapshot = take(kind, *args, **more)
            (model / "m.safetensors").write_bytes(good)
            return found

        monkeypatch.setattr(Snapshot, "of", classmethod(taken))
        with pytest.raises(VerificationError, match="tensor w of"):
            verify(model, signers=RULE, now=NOW, hold=True)

    def test_what_is_held_is_what_was_measured(self, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The disk is not read a second time: what lies there by then is nobody's business."""
        take = Snapshot.manifest

        def taken(self: Snapshot) -> object:
            found = take(self)
            save_file({"w": np.ones(3, dtype="f4")}, model / "m.safetensors")
            return found

        monkeypatch.setattr(Snapshot, "manifest", taken)
        with verify(model, signers=RULE, now=NOW, hold=True) as held:
            assert held.load("safetensors").arrays()["w"].tolist() == [0.0, 1.0, 2.0]


def test_what_only_blake3_was_signed_of_is_said_and_nothing_else_is(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(100))

    def said(listing: Listing, *, sha256: bool) -> tuple[bool, str]:
        signed = sign(tmp_path, KEY, listing=listing, now=NOW)
        if not sha256:
            stripped(tmp_path / "model.sig")
        found = verify(tmp_path, signers=RULE, now=NOW)
        assert {one.rule for one in found.findings} <= {"signature.blake3-only"}
        return bool(found.findings), "signed" if found.root == signed.manifest.root else found.root

    of_blake3 = hashlib.sha256(blake3(bytes(100)).digest()).hexdigest()
    assert said(Listing(), sha256=True) == (False, "signed")
    assert said(Listing("blake3"), sha256=True) == (False, "signed")
    assert said(Listing("blake3"), sha256=False) == (True, of_blake3)
    assert said(Listing("blake2b"), sha256=True) == (False, "signed")
    assert said(Listing("blake2b"), sha256=False) == (False, "signed")


def stripped(signature: Path) -> None:
    """The same as other tools write it: nothing beside what is listed."""
    body = json.loads(signature.read_text())
    statement = json.loads(base64.b64decode(body["dsseEnvelope"]["payload"]))
    for one in statement["predicate"]["resources"]:
        del one["annotations"]
    payload = json.dumps(statement).encode()
    body["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    sealed = base64.b64encode(KEY.sign(pae(PAYLOAD_TYPE, payload))).decode()
    body["dsseEnvelope"]["signatures"] = [{"sig": sealed, "keyid": ""}]
    signature.write_text(json.dumps(body))


def test_nothing_is_said_to_be_left_for_later_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(100))
    sign(tmp_path, KEY, now=NOW)
    assert verify(tmp_path, signers=RULE, now=NOW, defer=True).findings == ()


def test_what_was_vouched_for_is_not_read_from_a_signature_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="cannot be read") as caught:
        read_vouched(tmp_path / "model.sig", RULE, NOW)
    assert [one.rule for one in caught.value.findings] == ["signature.missing"]


def test_a_rule_that_refuses_without_a_finding_refuses(tmp_path: Path) -> None:
    class Silent:
        def check(self, bundle: Bundle, when: Moment) -> Signatory:
            del bundle, when
            raise VerificationError("not today", [])

    (tmp_path / "weights.bin").write_bytes(bytes(100))
    sign(tmp_path, KEY, now=NOW)
    with pytest.raises(VerificationError, match="not today") as caught:
        verify(tmp_path, signers=Silent(), now=NOW)
    assert [one.rule for one in caught.value.findings] == ["signature.refused"]
