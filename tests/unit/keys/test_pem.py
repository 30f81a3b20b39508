from __future__ import annotations

import base64
import errno
import hashlib
import os
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import KeyFileError, VerificationError
from assay.keys import shelf
from assay.keys.pem import generate, load_private, load_public, read_public
from assay.keys.shelf import find

PEM = serialization.Encoding.PEM
PLAIN = serialization.NoEncryption()
PKCS8 = serialization.PrivateFormat.PKCS8
SEC1 = serialization.PrivateFormat.TraditionalOpenSSL
LOCKED = serialization.BestAvailableEncryption(b"correct horse")


def public_text(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("curve", "algorithm"),
    [
        (ec.SECP256R1(), "ecdsa-p256-sha256"),
        (ec.SECP384R1(), "ecdsa-p384-sha384"),
        (ec.SECP521R1(), "ecdsa-p521-sha512"),
    ],
)
@pytest.mark.parametrize("form", [PKCS8, SEC1])
@pytest.mark.parametrize("secrecy", [PLAIN, LOCKED])
def test_every_form_of_an_ec_key_signs_what_its_public_half_verifies(
    tmp_path: Path,
    curve: ec.EllipticCurve,
    algorithm: str,
    form: serialization.PrivateFormat,
    secrecy: serialization.KeySerializationEncryption,
) -> None:
    key = ec.generate_private_key(curve)
    path = tmp_path / "signing.pem"
    path.write_bytes(key.private_bytes(PEM, form, secrecy))
    signer = load_private(path, passphrase="correct horse")
    verifier = load_public(signer.public_pem())
    verifier.verify(signer.sign(b"weights"), b"weights")
    assert signer.algorithm == verifier.algorithm == algorithm
    assert signer.encrypted is (secrecy is LOCKED)
    assert signer.key_id == verifier.key_id == hashlib.sha256(public_text(key)).hexdigest()


def test_an_ed25519_key_signs_what_its_public_half_verifies(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    path.write_bytes(ed25519.Ed25519PrivateKey.generate().private_bytes(PEM, PKCS8, PLAIN))
    signer = load_private(path)
    assert signer.algorithm == "ed25519"
    load_public(signer.public_pem()).verify(signer.sign(b"weights"), b"weights")


def test_a_new_key_is_for_its_owner_only_and_its_public_half_lies_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "release.pem"
    signer = generate(path, passphrase=None)
    assert path.stat().st_mode & 0o777 == 0o600
    again = load_private(path)
    assert not again.loose_mode
    assert not again.encrypted
    assert again.key_id == signer.key_id == read_public(tmp_path / "release.pub").key_id


def test_a_new_key_with_a_passphrase_opens_only_with_it(tmp_path: Path) -> None:
    path = tmp_path / "release.pem"
    assert generate(path, passphrase="correct horse").encrypted
    assert load_private(path, passphrase="correct horse").encrypted
    with pytest.raises(KeyFileError, match="passphrase is wrong"):
        load_private(path, passphrase="battery staple")
    with pytest.raises(KeyFileError, match="give its passphrase"):
        load_private(path)


@pytest.mark.parametrize("there", ["release.pem", "release.pub"])
def test_no_key_is_ever_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(KeyFileError, match="never overwritten"):
        generate(tmp_path / "release.pem", passphrase=None)
    assert [entry.name for entry in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_a_dangling_link_does_not_lead_the_private_key_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "release.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError):
        generate(tmp_path / "release.pem", passphrase=None)
    assert not (tmp_path / "elsewhere").exists()


def test_a_key_whose_name_is_its_public_halfs_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="another ending"):
        generate(tmp_path / "release.pub", passphrase=None)


def test_an_empty_passphrase_is_not_taken_for_none(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="empty passphrase"):
        generate(tmp_path / "release.pem", passphrase="")


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot write"):
        generate(tmp_path / "nowhere" / "release.pem", passphrase=None)


def test_a_key_others_can_read_says_so(tmp_path: Path) -> None:
    path = tmp_path / "release.pem"
    generate(path, passphrase=None)
    path.chmod(0o640)
    assert load_private(path).loose_mode


def test_a_signer_never_prints_its_key(tmp_path: Path) -> None:
    signer = generate(tmp_path / "release.pem", passphrase=None)
    assert repr(signer) == f"PemSigner(ecdsa-p256-sha256, {signer.key_id})"


def test_one_changed_bit_of_signature_or_data_is_refused(tmp_path: Path) -> None:
    signer = generate(tmp_path / "release.pem", passphrase=None)
    verifier = load_public(signer.public_pem())
    signature = signer.sign(b"weights")
    spoiled = bytes([*signature[:-1], signature[-1] ^ 1])
    for bad, data in ((spoiled, b"weights"), (signature, b"weightz"), (b"", b"weights"), (signature[:-1], b"weights")):
        with pytest.raises(VerificationError) as caught:
            verifier.verify(bad, data)
        assert [finding.rule for finding in caught.value.findings] == ["signature.bad"]


def test_another_keys_signature_is_refused(tmp_path: Path) -> None:
    one = generate(tmp_path / "one.pem", passphrase=None)
    two = generate(tmp_path / "two.pem", passphrase=None)
    with pytest.raises(VerificationError):
        load_public(one.public_pem()).verify(two.sign(b"weights"), b"weights")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "an empty file"),
        (b"hello", "no PEM text"),
        (public_text(ec.generate_private_key(ec.SECP256R1())), "PUBLIC KEY"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "damaged or odd"),
        (rsa.generate_private_key(65537, 2048).private_bytes(PEM, PKCS8, PLAIN), "RSA"),
        (x25519.X25519PrivateKey.generate().private_bytes(PEM, PKCS8, PLAIN), "X25519"),
        (ec.generate_private_key(ec.SECP256K1()).private_bytes(PEM, PKCS8, PLAIN), "secp256k1"),
        (b"x" * 70_000, "more than"),
    ],
    ids=["empty", "text", "public", "damaged", "rsa", "x25519", "secp256k1", "huge"],
)
def test_what_is_no_private_key_of_ours_is_named(tmp_path: Path, text: bytes, says: str) -> None:
    path = tmp_path / "odd.pem"
    path.write_bytes(text)
    with pytest.raises(KeyFileError, match=says) as caught:
        load_private(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "an empty file"),
        (ec.generate_private_key(ec.SECP256R1()).private_bytes(PEM, PKCS8, PLAIN), "'PRIVATE KEY'"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "'CERTIFICATE'"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "damaged or odd"),
        (public_text(rsa.generate_private_key(65537, 2048)), "RSA"),
        (public_text(ec.generate_private_key(ec.SECP256K1())), "secp256k1"),
    ],
    ids=["empty", "private", "certificate", "damaged", "rsa", "secp256k1"],
)
def test_what_is_no_public_key_of_ours_is_named(tmp_path: Path, text: bytes, says: str) -> None:
    path = tmp_path / "odd.pub"
    path.write_bytes(text)
    with pytest.raises(KeyFileError, match=says) as caught:
        read_public(path)
    assert str(path) in str(caught.value)


def test_a_public_key_of_megabytes_is_refused_unread() -> None:
    with pytest.raises(KeyFileError, match="at most"):
        load_public(b"-----BEGIN PUBLIC KEY-----" + b"A" * 1_000_000)


def test_a_key_that_is_missing_a_folder_or_a_pipe_is_said_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing", ".", "pipe", "nul\0byte"):
        with pytest.raises(KeyFileError):
            load_private(tmp_path / name)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_key_or_our_error(text: bytes) -> None:
    wrapped = b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(text) + b"-----END PUBLIC KEY-----\n"
    for candidate in (text, wrapped):
        with pytest.raises(KeyFileError):
            load_public(candidate)


def test_the_shelf_finds_pem_and_names_what_it_does_not_have() -> None:
    assert find("pem") is load_private
    with pytest.raises(KeyFileError, match="no plug"):
        find("carrier-pigeon")


def test_the_shelf_opens_a_plug_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("pigeon", "assay.keys.pem:load_private", "assay.keys")
    monkeypatch.setattr(shelf, "entry_points", lambda *, group, name: [point] if (group, name) == KNOWN else [])
    assert find("pigeon") is load_private


KNOWN = ("assay.keys", "pigeon")


def test_a_full_disk_leaves_no_half_key_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyFileError, match="No space left"):
        generate(tmp_path / "release.pem", passphrase=None)
    assert list(tmp_path.iterdir()) == []
