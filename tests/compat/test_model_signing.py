"""The reference implementation of model signing and ours read each other's signatures."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tests.authority import usage
from tests.stamping import serving, stamper

from assay.artifacts.listing import Listing
from assay.errors import VerificationError
from assay.keys.pem import load_private, load_public, read_public
from assay.keys.x509 import der, read_certificates
from assay.signing.about import About
from assay.signing.authority import request_token
from assay.signing.certificate import SignedByCertificate
from assay.signing.cosigning import cosign
from assay.signing.sign import sign
from assay.signing.signers import AtLeast, SignedBy, SignedByKey
from assay.signing.trust import TrustStore
from assay.signing.verify import verify
from assay.storage.clock import utc_text

PEER = Path(__file__).parents[2] / ".venv-interop" / "bin" / "model_signing"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

pytestmark = pytest.mark.skipif(not PEER.exists(), reason="model_signing is not installed: run make test")


def peer(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PEER, *arguments], capture_output=True, text=True, check=False)


def passed(done: subprocess.CompletedProcess[str]) -> bool:
    assert done.returncode == 0, done.stdout + done.stderr
    return True


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    # model_signing orders by path parts, we by code point: these names tell the two apart.
    for name in ("a/b.bin", "a-b.bin", "a.txt", "B.bin", "deep/er/ä.txt", "empty.bin", ".hidden", ".git/config"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"" if name == "empty.bin" else name.encode() * 100)
    return folder


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path, ec.SECP256R1())


def make_key(folder: Path, curve: ec.EllipticCurve) -> Path:
    key = ec.generate_private_key(curve)
    path = folder / "signing.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.with_suffix(".pub").write_bytes(public)
    return path


def by(key: Path) -> SignedByKey:
    return SignedByKey(read_public(key.with_suffix(".pub")))


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_it_accepts_what_we_sign_and_refuses_it_once_changed(
    model: Path, tmp_path: Path, curve: ec.EllipticCurve
) -> None:
    key = make_key(tmp_path, curve)
    about = About("spam", 2, utc_text(NOW), expires=utc_text(NOW), statements={"lineage": "11" * 32})
    place = sign(model, load_private(key), about=about, ignore=[".hidden"], now=NOW).bundle_path
    arguments = ("verify", "key", model, "--signature", place, "--public_key", key.with_suffix(".pub"))
    assert passed(peer(*arguments))
    (model / "a.txt").write_text("changed")
    assert peer(*arguments).returncode != 0


def test_it_accepts_a_model_that_two_have_signed_by_the_first_of_them(model: Path, tmp_path: Path, key: Path) -> None:
    (tmp_path / "second").mkdir()
    second = make_key(tmp_path / "second", ec.SECP384R1())
    place = sign(model, load_private(key), now=NOW).bundle_path
    cosign(model, load_private(second), now=NOW)
    arguments = ("verify", "key", model, "--signature", place, "--public_key")
    assert passed(peer(*arguments, key.with_suffix(".pub")))
    rule = AtLeast(
        2, SignedByKey(read_public(key.with_suffix(".pub"))), SignedByKey(read_public(second.with_suffix(".pub")))
    )
    assert verify(model, signers=rule, now=NOW).root
    (model / "a.txt").write_text("changed")
    assert peer(*arguments, key.with_suffix(".pub")).returncode != 0


def test_a_model_that_it_signed_takes_a_second_signature(model: Path, tmp_path: Path, key: Path) -> None:
    (tmp_path / "second").mkdir()
    second = make_key(tmp_path / "second", ec.SECP256R1())
    place = model / "model.sig"
    assert passed(peer("sign", "key", model, "--signature", place, "--private_key", key))
    cosign(model, load_private(second), now=NOW)
    rule = AtLeast(
        2, SignedByKey(read_public(key.with_suffix(".pub"))), SignedByKey(read_public(second.with_suffix(".pub")))
    )
    assert verify(model, signers=rule, now=NOW).root
    assert passed(peer("verify", "key", model, "--signature", place, "--public_key", key.with_suffix(".pub")))


def asked(model: Path, place: Path, public: Path) -> subprocess.CompletedProcess[str]:
    """Verify through its library, which reads from the signature how it was hashed; its prompt takes SHA-256 only."""
    program = (
        "import pathlib, sys; from model_signing import verifying; model, place, key = map(pathlib.Path, sys.argv[1:]);"
        "verifying.Config().use_elliptic_key_verifier(public_key=key).verify(model, place)"
    )
    words: list[str | Path] = [PEER.with_name("python"), "-c", program, model, place, public]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_its_library_accepts_our_blake3_signature(model: Path, key: Path) -> None:
    place = sign(model, load_private(key), listing=Listing("blake3"), now=NOW).bundle_path
    assert passed(asked(model, place, key.with_suffix(".pub")))
    (model / "a.txt").write_text("changed")
    assert asked(model, place, key.with_suffix(".pub")).returncode != 0


@pytest.mark.parametrize(
    ("listing", "words"),
    [(Listing("sha256", 100), "sha256-sharded-100"), (Listing("blake2b"), "Unsupported hashing method")],
    ids=["shards", "blake2b"],
)
def test_what_the_specification_calls_otherwise_than_it_does_it_refuses(
    model: Path, key: Path, listing: Listing, words: str
) -> None:
    # docs/reference/signatures.md says so; when a release reads them, the page is to be changed.
    place = sign(model, load_private(key), listing=listing, now=NOW).bundle_path
    assert verify(model, signers=by(key), now=NOW).root
    done = asked(model, place, key.with_suffix(".pub"))
    assert done.returncode != 0
    assert words in done.stderr


def test_it_accepts_our_signature_of_a_single_file(tmp_path: Path, key: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"weights")
    place = sign(path, load_private(key), now=NOW).bundle_path
    assert passed(peer("verify", "key", path, "--signature", place, "--public_key", key.with_suffix(".pub")))


def test_it_accepts_our_signature_kept_outside_the_model(model: Path, tmp_path: Path, key: Path) -> None:
    place = sign(model, load_private(key), signature=tmp_path / "elsewhere.sig", now=NOW).bundle_path
    assert passed(peer("verify", "key", model, "--signature", place, "--public_key", key.with_suffix(".pub")))


def test_we_accept_what_it_signs_and_name_what_was_changed(model: Path, key: Path) -> None:
    place = model / "model.sig"
    assert passed(peer("sign", "key", model, "--signature", place, "--private_key", key))
    signer = load_private(key)
    verified = verify(model, signers=SignedByKey(read_public(key.with_suffix(".pub"))), now=NOW)
    assert verified.key_id == signer.key_id
    assert ".git/config" not in {file.name for file in verified.manifest.files}
    trust = TrustStore().trust("anna@example.org", signer.public_pem())
    assert verify(model, signers=SignedBy(trust, ["anna@example.org"]), now=NOW).signer == "anna@example.org"
    content = bytearray((model / "a" / "b.bin").read_bytes())
    content[5] ^= 1
    (model / "a" / "b.bin").write_bytes(content)
    (model / "empty.bin").unlink()
    (model / "new.py").touch()
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=SignedByKey(load_public(signer.public_pem())), now=NOW)
    assert {(finding.rule, finding.subject) for finding in caught.value.findings} == {
        ("artifact.changed", "a/b.bin"),
        ("artifact.missing", "empty.bin"),
        ("artifact.extra", "new.py"),
    }


def test_the_two_agree_on_the_files_and_their_digests(model: Path, tmp_path: Path, key: Path) -> None:
    assert passed(peer("sign", "key", model, "--signature", tmp_path / "theirs.sig", "--private_key", key))
    signers = SignedByKey(read_public(key.with_suffix(".pub")))
    theirs = verify(model, signature=tmp_path / "theirs.sig", signers=signers, now=NOW)
    ours = sign(model, load_private(key), signature=tmp_path / "ours.sig", now=NOW).manifest
    assert {(one.name, one.sha256) for one in theirs.manifest.files} == {(one.name, one.sha256) for one in ours.files}
    assert theirs.root == ours.root


def test_we_accept_its_signature_of_a_single_file(tmp_path: Path, key: Path) -> None:
    path, place = tmp_path / "weights.bin", tmp_path / "weights.bin.sig"
    path.write_bytes(b"weights")
    assert passed(peer("sign", "key", path, "--signature", place, "--private_key", key))
    signers = SignedByKey(read_public(key.with_suffix(".pub")))
    assert verify(path, signers=signers, now=NOW).root
    path.write_bytes(b"weighty")
    with pytest.raises(VerificationError, match=r"weights\.bin"):
        verify(path, signers=signers, now=NOW)


def test_what_it_left_out_we_leave_out(model: Path, key: Path) -> None:
    place = model / "model.sig"
    arguments = ("--ignore-paths", model / ".hidden", "--ignore-paths", model / "deep")
    assert passed(peer("sign", "key", model, "--signature", place, "--private_key", key, *arguments))
    (model / "deep" / "er" / "ä.txt").write_text("changed")
    verified = verify(model, signers=SignedByKey(read_public(key.with_suffix(".pub"))), now=NOW)
    assert {".hidden", "deep/er/ä.txt"}.isdisjoint(file.name for file in verified.manifest.files)


def test_each_refuses_the_others_signature_by_another_key(model: Path, tmp_path: Path, key: Path) -> None:
    (tmp_path / "other").mkdir()
    other = make_key(tmp_path / "other", ec.SECP256R1())
    place = tmp_path / "model.sig"
    assert passed(peer("sign", "key", model, "--signature", place, "--private_key", key))
    with pytest.raises(VerificationError) as caught:
        verify(model, signature=place, signers=SignedByKey(read_public(other.with_suffix(".pub"))), now=NOW)
    assert [finding.rule for finding in caught.value.findings] == ["signature.wrong-key"]
    sign(model, load_private(key), signature=place, now=NOW)
    refused = peer("verify", "key", model, "--signature", place, "--public_key", other.with_suffix(".pub"))
    assert refused.returncode != 0


def test_one_encrypted_key_serves_both(model: Path, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "locked.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"horse")))
    place = model / "model.sig"
    done = peer("sign", "key", model, "--signature", place, "--private_key", path, "--password", "horse")
    # Some releases hand the password to the library as text, which it refuses; then there is nothing to compare.
    signer = load_private(path, passphrase="horse")
    if done.returncode == 0:
        assert verify(model, signers=SignedByKey(load_public(signer.public_pem())), now=NOW).key_id == signer.key_id
    else:
        sign(model, signer, now=NOW)
    (tmp_path / "locked.pub").write_bytes(signer.public_pem())
    assert passed(peer("verify", "key", model, "--signature", place, "--public_key", tmp_path / "locked.pub"))


def test_its_older_key_form_is_read(model: Path, key: Path) -> None:
    # Releases before 1.1.0 wrote the key itself, a null key id and no hint (specification v1.0, 11).
    place = model / "model.sig"
    assert passed(peer("sign", "key", model, "--signature", place, "--private_key", key))
    body = json.loads(place.read_text())
    raw = "".join(line for line in key.with_suffix(".pub").read_text().splitlines() if not line.startswith("-"))
    body["verificationMaterial"]["publicKey"] = {"rawBytes": raw, "keyDetails": "PKIX_ECDSA_P256_SHA_256"}
    body["dsseEnvelope"]["signatures"][0]["keyid"] = None
    place.write_text(json.dumps(body))
    assert verify(model, signers=SignedByKey(read_public(key.with_suffix(".pub"))), now=NOW).root


@pytest.fixture
def certified(tmp_path: Path, key: Path) -> tuple[Path, Path]:
    """PEM files of a certificate for the key, and of the authority that gave it."""
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    root_key = ec.generate_private_key(ec.SECP256R1())
    today = datetime.now(UTC)
    made = []
    for name, subject_key, extension in (
        ("leaf", private, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])),
        ("root", root_key, x509.BasicConstraints(ca=True, path_length=None)),
    ):
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")]))
            .public_key(subject_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(today - timedelta(days=1))
            .not_valid_after(today + timedelta(days=1))
            .add_extension(extension, critical=name == "root")
            .add_extension(usage(digital=name == "leaf", certify=name == "root"), critical=True)
            .sign(root_key, hashes.SHA256())
        )
        (tmp_path / f"{name}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
        made.append(tmp_path / f"{name}.crt")
    return made[0], made[1]


def test_it_accepts_a_signature_with_a_timestamp(model: Path, key: Path, tmp_path: Path) -> None:
    place = model / "model.sig"
    public = tmp_path / "public.pem"
    public.write_bytes(load_private(key).public_pem())
    now = datetime.now(UTC)
    with serving(stamper(tmp_path / "tsa")) as tsa:
        sign(model, load_private(key), stamp=lambda data: [request_token(tsa.url, data, now=now)], now=now)
    assert b"rfc3161Timestamps" in place.read_bytes()
    assert passed(peer("verify", "key", model, "--signature", place, "--public_key", public))


def test_certificates_work_both_ways(model: Path, key: Path, certified: tuple[Path, Path]) -> None:
    leaf, root = certified
    place = model / "model.sig"
    arguments = ("--private_key", key, "--signing_certificate", leaf, "--certificate_chain", root)
    assert passed(peer("sign", "certificate", model, "--signature", place, *arguments))
    rule = SignedByCertificate(read_certificates(root), ["leaf"])
    now = datetime.now(UTC)
    assert verify(model, signers=rule, now=now).signer == "leaf"
    chain = tuple(der(one) for path in (leaf, root) for one in read_certificates(path))
    sign(model, load_private(key), certificates=chain, now=now)
    assert passed(peer("verify", "certificate", model, "--signature", place, "--certificate_chain", root))
    with pytest.raises(VerificationError) as caught:
        verify(model, signers=rule, now=now + timedelta(days=2))
    assert [finding.rule for finding in caught.value.findings] == ["certificate.expired"]
