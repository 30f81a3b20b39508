"""What every release of model_signing since 0.2.0 has signed still verifies, and nothing else does."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from assay.errors import BundleError, VerificationError
from assay.keys.pem import load_public, read_public
from assay.keys.x509 import read_certificates
from assay.signing import older
from assay.signing.certificate import SignedByCertificate
from assay.signing.reading import parse
from assay.signing.signers import SignedByKey, SignerRule
from assay.signing.verify import verify

HERE = Path(__file__).parent
ASSETS, REFERENCE = HERE / "assets", HERE / "reference"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RELEASES = ("0.2.0", "0.3.0", "0.3.1", "1.0.0", "1.0.1", "1.1.0", "1.1.1")
CASES = sorted(ASSETS.glob("*/*.sig"))
SHARDS = sorted(ASSETS.glob("*/shards.sig"))
REMARKED = {"0.2.0", "0.3.0", "0.3.1", "1.0.0", "1.0.1"}


def named(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def rule_for(case: Path) -> SignerRule:
    if case.stem == "certificate":
        return SignedByCertificate(read_certificates(ASSETS / "root.crt"), ["release@example.org"])
    curve = case.stem.removeprefix("key-") if case.stem.startswith("key-") else "p256"
    return SignedByKey(read_public(ASSETS / f"{curve}.pub"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return shutil.copytree(ASSETS / "model", tmp_path / "model")


def placed(case: Path, tmp_path: Path) -> Path:
    """The model that a case is of, where it may be changed; shards never listed the file without a byte."""
    if case.stem == "single":
        return shutil.copyfile(ASSETS / "single" / "weights.bin", tmp_path / "weights.bin")
    path = shutil.copytree(ASSETS / "model", tmp_path / "model")
    if case.stem == "shards":
        (path / "empty.bin").unlink()
    return path


def test_there_is_a_signature_of_every_release_in_every_way() -> None:
    assert {case.parent.name for case in CASES} == set(RELEASES)
    # 0.3 cannot write certificates: a misspelt word in it always fails.
    for release in RELEASES:
        wanted = {"key-p256", "key-p384", "key-p521", "single"}
        wanted |= set() if release.startswith("0.3") else {"certificate"}
        wanted |= set() if release == "0.2.0" else {"shards", "blake2b"}
        wanted |= {"blake3"} if release >= "1.1" else set()
        assert {case.stem for case in CASES if case.parent.name == release} == wanted


@pytest.mark.parametrize("case", CASES, ids=named)
@pytest.mark.parametrize("hold", [False, True], ids=["streamed", "held"])
def test_it_verifies_and_an_old_form_is_said(case: Path, tmp_path: Path, *, hold: bool) -> None:
    path = placed(case, tmp_path)
    with verify(path, signature=case, signers=rule_for(case), now=NOW, hold=hold) as verified:
        assert all(file.blake3 or file.sha256 for file in verified.manifest.files)
        remarks = [finding.detail for finding in verified.findings if finding.rule == "signature.old-release"]
    assert bool(remarks) == (case.parent.name in REMARKED)
    # The key stands in every old form; 0.2.0 is said to be old as a whole.
    assert any("names its key as" in one for one in remarks) == (
        case.parent.name in REMARKED - {"0.2.0"} and "publicKey" in case.read_text()
    )


@pytest.mark.parametrize("case", CASES, ids=named)
def test_every_other_byte_is_refused_and_its_file_named(case: Path, tmp_path: Path) -> None:
    path = placed(case, tmp_path)
    target = path if path.is_file() else path / "a" / "b.bin"
    content = bytearray(target.read_bytes())
    content[len(content) // 2] ^= 4
    target.write_bytes(content)
    with pytest.raises(VerificationError) as caught:
        verify(path, signature=case, signers=rule_for(case), now=NOW)
    name = target.relative_to(path).as_posix() if path.is_dir() else path.name
    assert ("artifact.changed", name) in {(one.rule, one.subject) for one in caught.value.findings}


@pytest.mark.parametrize("case", [case for case in CASES if case.stem != "single"], ids=named)
def test_an_added_file_is_refused(case: Path, tmp_path: Path) -> None:
    path = placed(case, tmp_path)
    (path / "__init__.py").touch()
    with pytest.raises(VerificationError) as caught:
        verify(path, signature=case, signers=rule_for(case), now=NOW)
    assert [(one.rule, one.subject) for one in caught.value.findings] == [("artifact.extra", "__init__.py")]


@pytest.mark.parametrize("case", SHARDS, ids=named)
def test_a_shard_is_named_with_its_byte_range(case: Path, tmp_path: Path) -> None:
    path = placed(case, tmp_path)
    content = bytearray((path / "a" / "b.bin").read_bytes())
    content[1500] ^= 1
    (path / "a" / "b.bin").write_bytes(content)
    with pytest.raises(VerificationError) as caught:
        verify(path, signature=case, signers=rule_for(case), now=NOW)
    found = [(one.rule, one.subject, dict(one.numbers)) for one in caught.value.findings]
    assert ("artifact.shard-changed", "a/b.bin:1000:2000", {"start_byte": 1000, "end_byte": 2000}) in found


@pytest.mark.parametrize("case", [case for case in CASES if case.stem.startswith("key-")], ids=named)
def test_another_key_is_refused(case: Path, model: Path) -> None:
    other = "p384" if case.stem == "key-p256" else "p256"
    with pytest.raises(VerificationError) as caught:
        verify(model, signature=case, signers=SignedByKey(read_public(ASSETS / f"{other}.pub")), now=NOW)
    assert [one.rule for one in caught.value.findings] == ["signature.wrong-key"]


def spoiled(case: Path, change: Callable[[dict[str, Any]], None]) -> bytes:
    """A signature whose statement was changed; the signature itself stays what it was."""
    body = json.loads(case.read_text())
    statement = json.loads(base64.b64decode(body["dsseEnvelope"]["payload"]))
    change(statement)
    # As it was written: otherwise even an unchanged statement would have other bytes.
    text = json.dumps(statement, indent=2)
    body["dsseEnvelope"]["payload"] = base64.b64encode(text.encode()).decode()
    return json.dumps(body).encode()


def as_020(statement: dict[str, Any]) -> None:
    """Say what a present statement says in the form of 0.2.0."""
    resources = statement["predicate"]["resources"]
    statement["predicateType"] = "https://model_signing/Digests/v0.1"
    statement["subject"] = [{"name": one["name"], "digest": {"sha256": one["digest"]}} for one in resources]
    statement["predicate"] = {"unused": "Unused, just passed due to API requirements"}


def test_the_way_020_signed_is_its_own(tmp_path: Path, model: Path) -> None:
    signature = tmp_path / "x.sig"
    # Nothing changed: the helper itself keeps the bytes that were signed.
    signature.write_bytes(spoiled(ASSETS / "0.2.0" / "key-p384.sig", lambda _: None))
    signers = SignedByKey(read_public(ASSETS / "p384.pub"))
    assert verify(model, signature=signature, signers=signers, now=NOW).root
    # A present signature in the old form, and an old signature in the present one.
    signature.write_bytes(spoiled(ASSETS / "1.1.1" / "key-p384.sig", as_020))
    with pytest.raises(VerificationError) as caught:
        verify(model, signature=signature, signers=signers, now=NOW)
    assert "signature.bad" in [one.rule for one in caught.value.findings]


def test_a_present_statement_signed_as_020_signed_is_refused(tmp_path: Path, model: Path) -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = ec.generate_private_key(ec.SECP384R1())
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    body = json.loads((ASSETS / "1.1.1" / "key-p384.sig").read_text())
    payload = base64.b64decode(body["dsseEnvelope"]["payload"])
    kind = body["dsseEnvelope"]["payloadType"]
    text = f"DSSEV1 {len(kind)} {kind} {len(payload)} {payload!r}"
    signature = key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    public = load_public(pem)
    body["verificationMaterial"]["publicKey"]["hint"] = public.key_id
    body["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(signature).decode(), "keyid": ""}]
    place = tmp_path / "x.sig"
    place.write_text(json.dumps(body))
    with pytest.raises(VerificationError) as caught:
        verify(model, signature=place, signers=SignedByKey(public), now=NOW)
    assert [one.rule for one in caught.value.findings] == ["signature.bad"]


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["predicate"].update(resources=[]),
        lambda body: body["subject"][0]["digest"].update(sha512="00" * 64),
        lambda body: body["subject"].append(body["subject"][0]),
        lambda body: body["subject"][0].update(name="../a"),
        lambda body: body["subject"][0]["digest"].update(sha256="00"),
        lambda body: body.update(subject=[]),
    ],
)
def test_a_hostile_statement_of_the_old_form_is_refused(change: Callable[[dict[str, Any]], None]) -> None:
    with pytest.raises(BundleError):
        parse(spoiled(ASSETS / "0.2.0" / "key-p256.sig", change))


def test_two_signatures_of_the_old_form_are_refused() -> None:
    body = json.loads((ASSETS / "0.2.0" / "key-p256.sig").read_text())
    body["dsseEnvelope"]["signatures"].append({**body["dsseEnvelope"]["signatures"][0], "keyid": "11" * 32})
    with pytest.raises(BundleError, match=r"0\.2\.0 made one"):
        parse(json.dumps(body).encode())


@pytest.mark.parametrize("release", ["0.2.0", "0.3.1"])
def test_certificates_of_the_reference_are_accepted_with_what_is_odd_about_them(release: str) -> None:
    folder = REFERENCE / f"v{release}-certificate"
    anchors = read_certificates(REFERENCE / "ca-cert.pem")
    verified = verify(folder, signers=SignedByCertificate.of_any_identity(anchors), now=NOW)
    rules = {finding.rule for finding in verified.findings}
    assert {"signature.any-identity", "signature.old-release"} <= rules


def test_what_before_110_was_left_out_without_saying_is_left_out_and_nothing_more(tmp_path: Path) -> None:
    case = ASSETS / "1.0.1" / "key-p256.sig"
    path = placed(case, tmp_path)
    (path / ".gitignore").write_text("anything")
    assert verify(path, signature=case, signers=rule_for(case), now=NOW).root
    (path / "a" / ".gitignore").write_text("anything")
    with pytest.raises(VerificationError) as caught:
        verify(path, signature=case, signers=rule_for(case), now=NOW)
    assert [one.subject for one in caught.value.findings] == ["a/.gitignore"]


def test_a_key_that_020_did_not_know_vouches_for_nothing_of_its(model: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ed25519

    from assay.keys.pem import PemSigner

    key = PemSigner(ed25519.Ed25519PrivateKey.generate(), encrypted=False, loose_mode=False)
    found = parse((ASSETS / "0.2.0" / "key-p256.sig").read_bytes())
    with pytest.raises(VerificationError, match="knew EC") as caught:
        older.check_signature(found.envelope, found.signatures[0][1], load_public(key.public_pem()))
    assert [one.rule for one in caught.value.findings] == ["signature.wrong-key"]
    assert model.exists()
