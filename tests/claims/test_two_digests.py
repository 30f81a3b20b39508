"""Threats, artifacts and signatures: nobody signs two contents at once, one by SHA-256 and one by BLAKE3.

The attacker here has a key that counts. What was checked and approved is one content, what runs is to be another.
"""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.small_project import RELEASE, TODAY, Small, build
from tests.unit.cli.prompt import at, typed

from assay.artifacts.digest import digest
from assay.artifacts.manifest import Manifest
from assay.artifacts.measure import measure
from assay.errors import ReleaseRefusedError, VerificationError
from assay.keys.pem import PemSigner, load_public
from assay.project import integrity, releasing
from assay.signing import bundle
from assay.signing.reading import parse
from assay.signing.signers import SignedByKey
from assay.signing.verify import verify

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGNER = PemSigner(ec.generate_private_key(ec.SECP256R1()), encrypted=False, loose_mode=False)
SIGNERS = SignedByKey(load_public(SIGNER.public_pem()))
APPROVED, RUN = b"approved bytes", b"other bytes..."


def crooked(folder: Path) -> Manifest:
    """What is there, with the SHA-256 digest of other bytes for one file."""
    manifest = measure(folder, signature=folder / "model.sig")
    files = [
        replace(one, sha256=digest(APPROVED).sha256) if one.name == "weights.bin" else one for one in manifest.files
    ]
    return replace(manifest, files=tuple(files))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """RUN lies there; the signature has the SHA-256 digest of APPROVED and the BLAKE3 digest of RUN."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(RUN)
    (folder / "config.json").write_text("{}")
    (folder / "model.sig").write_bytes(bundle.write(crooked(folder), SIGNER))
    return folder


def disagreeing(error: VerificationError) -> bool:
    return "artifact.digests-disagree" in {finding.rule for finding in error.findings}


def test_checked_with_both_they_are_refused(model: Path) -> None:
    with pytest.raises(VerificationError, match="belong to different bytes") as caught:
        verify(model, signers=SIGNERS, now=NOW, digests="both")
    assert disagreeing(caught.value)


def test_on_the_first_look_they_are_refused_though_a_fast_one_was_asked_for(model: Path) -> None:
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=SIGNERS, now=NOW, digests="fast", known=())
    assert disagreeing(caught.value)


def test_a_held_copy_and_one_whose_tensors_are_left_for_later_are_refused_too(model: Path) -> None:
    for how in ({"hold": True}, {"defer": True, "known": ()}):
        with pytest.raises(VerificationError) as caught:
            verify(model, signers=SIGNERS, now=NOW, **how)
        assert disagreeing(caught.value)


def test_the_other_content_is_refused_in_any_case(model: Path) -> None:
    (model / "weights.bin").write_bytes(APPROVED)
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=SIGNERS, now=NOW)
    assert disagreeing(caught.value)


def test_blake3_alone_says_that_it_was_blake3_alone(model: Path, tmp_path: Path) -> None:
    assert verify(model, signers=SIGNERS, now=NOW).checked == "blake3"
    (tmp_path / "key.pub").write_bytes(SIGNER.public_pem())
    words = ("verify", model, "--public-key", tmp_path / "key.pub")
    with at(tmp_path):
        plain, told, thorough = typed(*words), typed(*words, "--json"), typed(*words, "--thorough")
    assert plain.code == told.code == 0
    assert "BLAKE3 of each file; SHA-256 and tensors too with --thorough" in plain.out
    assert told.data["checked"] == "blake3"
    thorough.refused(1, "belong to different bytes")


def test_an_honest_signature_passes_both_ways_and_says_which(model: Path) -> None:
    (model / "model.sig").write_bytes(bundle.write(measure(model, signature=model / "model.sig"), SIGNER))
    fast, both = verify(model, signers=SIGNERS, now=NOW), verify(model, signers=SIGNERS, now=NOW, digests="both")
    assert (fast.checked, both.checked) == ("blake3", "both")
    assert fast.root == both.root
    assert fast.payload == both.payload
    assert verify(model, signers=SIGNERS, now=NOW, known=(both.payload,)).checked == "blake3"
    assert verify(model, signers=SIGNERS, now=NOW, known=("00" * 32,)).checked == "both"


def test_tensors_signed_with_the_digests_of_others_are_refused_when_both_are_checked(tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"abcd")
    honest = measure(path)
    other = digest(b"wxyz").blake3
    for changed in ({"blake3": other}, {"content": other}):
        crooked = replace(honest, tensors=(replace(honest.tensors[0], **changed),))  # type: ignore[arg-type]  # text
        (tmp_path / "m.safetensors.sig").write_bytes(bundle.write(crooked, SIGNER, single=True))
        with pytest.raises(VerificationError, match=r"tensor w of m\.safetensors"):
            verify(path, signers=SIGNERS, now=NOW, digests="both")


@pytest.fixture
def swapped(tmp_path: Path) -> Small:
    """A live project whose signature was replaced: the same version and root digest, other bytes by BLAKE3."""
    small = build(tmp_path)
    small.go_live()
    integrity.verify_model(small.project, "spam", now=TODAY)
    place = small.model / "model.sig"
    good = parse(place.read_bytes())
    path = small.model / "labels.txt"
    path.write_text(path.read_text().upper())
    now_there = measure(small.model, signature=place)
    files = [replace(one, sha256=good.claim.by_name[one.name].sha256, size=one.size) for one in now_there.files]
    crooked = replace(now_there, files=tuple(files))
    assert crooked.root == good.claim.root
    place.write_bytes(bundle.write(crooked, small.keys[RELEASE], about=good.about))
    return small


def test_gate_and_deploy_check_both(swapped: Small) -> None:
    project = swapped.reopened()
    decision = releasing.decide(project, "spam", requester=None, now=TODAY)
    assert decision.outcome == "refuse"
    assert "belong to different bytes" in json.dumps([rule.detail for rule in decision.rules])
    with pytest.raises((ReleaseRefusedError, VerificationError), match="belong to different bytes"):
        releasing.deploy(project, "spam", now=TODAY)


def test_another_signature_of_the_same_version_and_root_is_looked_at_with_both(swapped: Small) -> None:
    with pytest.raises(VerificationError) as caught:
        integrity.verify_model(swapped.reopened(), "spam", now=TODAY)
    assert disagreeing(caught.value)


def test_a_project_looks_with_both_once_and_with_blake3_from_then_on(tmp_path: Path) -> None:
    small = build(tmp_path)
    small.sign()
    looks = [integrity.verify_model(small.project, "spam", now=TODAY).checked for _ in range(3)]
    assert looks == ["both", "blake3", "blake3"]
    assert integrity.verify_model(small.project, "spam", now=TODAY, digests="both").checked == "both"
