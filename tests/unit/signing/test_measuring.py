"""What is measured for a signature, and which digests count as held against each other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from assay.artifacts.listing import Listed, Listing
from assay.artifacts.manifest import FileDigest, Manifest
from assay.artifacts.measure import measure
from assay.artifacts.snapshot import Snapshot
from assay.errors import VerificationError
from assay.keys.pem import PemSigner, load_public
from assay.signing import bundle, measuring
from assay.signing.bundle import Bundle
from assay.signing.reading import parse
from assay.signing.sign import sign
from assay.signing.signers import SignedByKey
from assay.signing.verified import Case
from assay.signing.verify import verify

ONE, TWO = "11" * 32, "22" * 32
ODD = Listed(Listing("blake2b"), ("33" * 64,))
WHEN = datetime(2026, 3, 1, tzinfo=UTC)
SHARDED = Listing("sha256", 100)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(bytes(range(250)))
    (folder / "config.json").write_text("{}")
    return folder


def case(model: Path, now: datetime) -> Case:
    return Case(model, model / "model.sig", None, (), now, None, None)


def plain(manifest: Manifest, *, but: str = "") -> Manifest:
    """Without BLAKE3, as other tools sign, but for the files named so."""
    return replace(manifest, files=tuple(one if one.name == but else replace(one, blake3="") for one in manifest.files))


def signed_as(claim: Manifest, model: Path, signer: PemSigner) -> Bundle:
    """A signature beside the model, and this claim read from it."""
    sign(model, signer, now=WHEN)
    return replace(parse((model / "model.sig").read_bytes()), claim=claim)


def hashed(model: Path, claim: Manifest, signer: PemSigner, now: datetime, *, thorough: bool = False) -> Manifest:
    """What is measured for this claim."""
    return measuring.measured(case(model, now), signed_as(claim, model, signer), thorough=thorough, report=None)


def digests(found: Manifest) -> set[tuple[bool, bool]]:
    """For each file, whether SHA-256 and BLAKE3 of it were measured."""
    return {(bool(one.sha256), bool(one.blake3)) for one in found.files}


class TestNoMoreThanMustBe:
    """The fast ways are taken when they say enough, and only then."""

    def test_blake3_alone_where_every_file_has_it(self, model: Path, signer: PemSigner, now: datetime) -> None:
        claim = measure(model, signature=model / "model.sig")
        assert digests(hashed(model, claim, signer, now)) == {(False, True)}
        assert digests(hashed(model, claim, signer, now, thorough=True)) == {(True, True)}

    def test_both_where_one_file_lacks_it(self, model: Path, signer: PemSigner, now: datetime) -> None:
        claim = plain(measure(model, signature=model / "model.sig"), but="config.json")
        assert digests(hashed(model, claim, signer, now)) == {(True, True)}

    def test_sha256_alone_where_nothing_else_is_signed(self, model: Path, signer: PemSigner, now: datetime) -> None:
        claim = plain(measure(model, signature=model / "model.sig"))
        assert digests(hashed(model, claim, signer, now)) == {(True, False)}

    def test_every_byte_is_read_once(self, model: Path, signer: PemSigner, now: datetime) -> None:
        manifest = measure(model, signature=model / "model.sig")
        for claim in (manifest, plain(manifest), plain(manifest, but="config.json")):
            signed = signed_as(claim, model, signer)
            read: list[int] = []
            measuring.measured(case(model, now), signed, thorough=False, report=read.append)
            assert sum(read) == 252

    def test_tensors_where_they_are_signed(self, tmp_path: Path, signer: PemSigner, now: datetime) -> None:
        save_file({"w": np.ones(3, dtype="f4")}, tmp_path / "m.safetensors")
        claim = plain(measure(tmp_path))
        found = hashed(tmp_path, claim, signer, now)
        assert [one.name for one in found.tensors] == ["w"]
        assert digests(found) == {(True, True)}

    def test_both_where_other_digests_are_listed(self, model: Path, signer: PemSigner, now: datetime) -> None:
        sign(model, signer, listing=Listing("blake2b"), now=now)
        signed = parse((model / "model.sig").read_bytes())
        files = tuple(replace(one, blake3="", sha256="") for one in signed.claim.files)
        bare = replace(signed, claim=replace(signed.claim, files=files))
        found = measuring.measured(case(model, now), bare, thorough=False, report=None)
        assert digests(found) == {(True, True)}


@pytest.mark.parametrize(
    ("signed", "have", "odd", "said"),
    [
        ((ONE, TWO), (ONE, TWO), False, "both"),
        ((ONE, ""), (ONE, TWO), False, "sha256"),
        ((ONE, TWO), (ONE, ""), False, "sha256"),
        (("", TWO), (ONE, TWO), False, "blake3"),
        ((ONE, TWO), ("", TWO), False, "blake3"),
        (("", ""), (ONE, TWO), True, "blake2b"),
        (("", TWO), (ONE, TWO), True, "blake3"),
        ((ONE, ""), (ONE, TWO), True, "sha256"),
        ((ONE, TWO), (ONE, TWO), True, "both"),
    ],
)
def test_it_is_said_which_digests_were_held_against_each_other(
    signed: tuple[str, str], have: tuple[str, str], said: str, *, odd: bool
) -> None:
    def manifest(pair: tuple[str, str], *, listed: bool) -> Manifest:
        return Manifest("m", (FileDigest("a", 1, *pair, ODD if listed else None),))

    claim = manifest(signed, listed=odd)
    assert measuring.checked(claim, manifest(have, listed=False)) == said


def test_only_a_claim_that_lists_other_digests_is_completed() -> None:
    found = Manifest("m", (FileDigest("a", 1, ONE, TWO),))
    as_signed = Manifest("m", (FileDigest("a", 1, ONE, ""),))
    assert measuring.completed(as_signed, found) == as_signed
    for sha256, blake3 in (("", ""), ("44" * 32, ""), ("", "55" * 32)):
        listed = Manifest("m", (FileDigest("a", 1, sha256, blake3, ODD),))
        (file,) = measuring.completed(listed, found).files
        assert (file.sha256, file.blake3) == (sha256 or ONE, blake3 or TWO)


def test_listed_digests_that_belong_to_other_bytes_are_refused_though_blake3_agrees(
    model: Path, signer: PemSigner, now: datetime
) -> None:
    sign(model, signer, listing=SHARDED, now=now)
    claim = parse((model / "model.sig").read_bytes()).claim
    crooked = tuple(
        replace(one, listed=replace(one.listed, digests=(ONE, *one.listed.digests[1:]))) if one.listed else one
        for one in claim.files
    )
    (model / "model.sig").write_bytes(bundle.write(replace(claim, files=crooked), signer, listing=SHARDED))
    rule = SignedByKey(load_public(signer.public_pem()))
    verify(model, signers=rule, now=now).close()  # BLAKE3 of whole files is signed too, and enough at a second look
    for hold in (False, True):
        with pytest.raises(VerificationError) as caught:
            verify(model, signers=rule, now=now, hold=hold, digests="fast" if hold else "both")
        assert {finding.subject for finding in caught.value.findings} >= {"weights.bin"}


def test_what_is_held_is_listed_from_what_is_held(model: Path, signer: PemSigner, now: datetime) -> None:
    """Not from what lies on the disk by then."""
    sign(model, signer, listing=SHARDED, now=now)
    signed = parse((model / "model.sig").read_bytes())
    with Snapshot.of(model, signature=model / "model.sig") as snapshot:
        found = snapshot.manifest()
        (model / "weights.bin").write_bytes(b"other bytes")
        listed = measuring.relisted(case(model, now), signed, found, snapshot)
    assert {one.name: one.listed for one in listed.files} == {one.name: one.listed for one in signed.claim.files}


def test_tensors_are_located_in_what_is_held(tmp_path: Path, signer: PemSigner, now: datetime) -> None:
    place = tmp_path / "m.safetensors"
    save_file({"w": np.ones(3, dtype="f4"), "v": np.ones(5, dtype="f4")}, place)
    sign(tmp_path, signer, now=now)
    signed = parse((tmp_path / "model.sig").read_bytes())
    whole = place.read_bytes()
    place.write_bytes(whole[:9] + b"\x00" + whole[10:])  # the header cannot be read, the tensors lie there untouched
    with Snapshot.of(tmp_path, signature=tmp_path / "model.sig") as snapshot:
        found = snapshot.manifest()
        assert found.tensors == ()
        place.write_bytes(whole[:10] + bytes(len(whole) - 10))
        located = measuring.located(case(tmp_path, now), signed, found, snapshot)
    assert {one.name: one.blake3 for one in located.tensors} == {one.name: one.blake3 for one in signed.claim.tensors}
