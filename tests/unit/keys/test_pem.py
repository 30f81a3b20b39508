from __future__ import annotations

import base64
import errno
import hashlib
import os
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import KeyFileError, VerificationError
from assay.keys import folder, shelf
from assay.keys.base import SecretWanted
from assay.keys.pem import KINDS, generate, load_private, load_public, open_key, read_public
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
    assert find("pem") is open_key
    with pytest.raises(KeyFileError, match="no plug"):
        find("carrier-pigeon")


def test_the_shelf_opens_a_plug_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("pigeon", "assay.keys.pem:open_key", "assay.keys")
    monkeypatch.setattr(shelf, "entry_points", lambda *, group, name: [point] if (group, name) == KNOWN else [])
    assert find("pigeon") is open_key
    assert shelf.kind_of("pigeon:coop") == "pigeon"


KNOWN = ("assay.keys", "pigeon")


def test_a_full_disk_leaves_no_half_key_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyFileError, match="No space left"):
        generate(tmp_path / "release.pem", passphrase=None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_every_kind_of_key_is_made_and_opens_again(tmp_path: Path, kind: str, passphrase: str | None) -> None:
    path = tmp_path / "release.pem"
    made = generate(path, passphrase=passphrase, kind=kind)
    again = load_private(path, passphrase=passphrase)
    assert again.encrypted is (passphrase is not None)
    assert again.key_id == made.key_id
    read_public(tmp_path / "release.pub").verify(again.sign(b"weights"), b"weights")


def test_a_kind_of_key_nobody_knows_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="ml-dsa-65"):
        generate(tmp_path / "release.pem", passphrase=None, kind="rsa")
    assert list(tmp_path.iterdir()) == []


def test_a_backup_is_encrypted_opens_as_the_same_key_and_overwrites_nothing(tmp_path: Path) -> None:
    signer = generate(tmp_path / "release.pem", passphrase=None)
    signer.backup(tmp_path / "backup.pem", passphrase="another horse")
    again = load_private(tmp_path / "backup.pem", passphrase="another horse")
    assert again.encrypted
    assert again.key_id == signer.key_id
    assert (tmp_path / "backup.pem").stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyFileError, match="never overwritten"):
        signer.backup(tmp_path / "backup.pem", passphrase="another horse")
    with pytest.raises(KeyFileError, match="passphrase"):
        load_private(tmp_path / "backup.pem", passphrase="correct horse")


def test_a_backup_without_a_passphrase_or_with_one_no_reader_takes_is_not_made(tmp_path: Path) -> None:
    signer = generate(tmp_path / "release.pem", passphrase=None)
    for passphrase in ("", "x" * 1024):
        with pytest.raises(KeyFileError, match="passphrase"):
            signer.backup(tmp_path / "backup.pem", passphrase=passphrase)
    assert not (tmp_path / "backup.pem").exists()


def test_a_backup_that_does_not_open_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = generate(tmp_path / "release.pem", passphrase=None)
    other = generate(tmp_path / "other.pem", passphrase=None)
    monkeypatch.setattr("assay.keys.pem._encoded", lambda *_: (tmp_path / "other.pem").read_bytes())
    assert other.key_id != signer.key_id
    with pytest.raises(KeyFileError, match="does not open as key"):
        signer.backup(tmp_path / "backup.pem", passphrase="another horse")


def test_an_encrypted_key_asks_once_and_a_plain_one_never(tmp_path: Path) -> None:
    asked: list[SecretWanted] = []

    def ask(wanted: SecretWanted) -> str:
        asked.append(wanted)
        return "correct horse"

    generate(tmp_path / "locked.pem", passphrase="correct horse")
    assert open_key(str(tmp_path / "locked.pem"), ask).warnings == ()
    assert [one.kind for one in asked] == ["passphrase"]
    generate(tmp_path / "plain.pem", passphrase=None)
    assert "not encrypted" in open_key(str(tmp_path / "plain.pem"), ask).warnings[0]
    assert len(asked) == 1


def test_a_key_that_others_may_read_is_told(tmp_path: Path) -> None:
    generate(tmp_path / "locked.pem", passphrase="correct horse")
    (tmp_path / "locked.pem").chmod(0o640)
    (warning,) = open_key(str(tmp_path / "locked.pem"), lambda _: "correct horse").warnings
    assert "chmod 600" in warning


def test_the_keys_of_a_folder_are_listed_without_their_passphrases(tmp_path: Path) -> None:
    locked = generate(tmp_path / "a.pem", passphrase="correct horse")
    plain = generate(tmp_path / "b.pem", passphrase=None, kind="ed25519")
    (tmp_path / "b.pem").chmod(0o644)
    (tmp_path / "a.pem").rename(tmp_path / "c.pem")
    (tmp_path / "notes.txt").write_text("no key")
    found = folder.files(tmp_path)
    assert [(one.path.name, one.key_id, one.state) for one in found] == [
        ("b.pem", plain.key_id, "NOT ENCRYPTED, can be read by others"),
        ("c.pem", "", "encrypted"),
    ]
    (tmp_path / "a.pub").rename(tmp_path / "c.pub")
    assert folder.files(tmp_path / "c.pem")[0].key_id == locked.key_id
    with pytest.raises(KeyFileError, match="no PEM"):
        folder.files(tmp_path / "notes.txt")


def test_a_cryptography_that_makes_no_ml_dsa_keys_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.mldsa", None)
    monkeypatch.delattr("cryptography.hazmat.primitives.asymmetric.mldsa", raising=False)
    with pytest.raises(KeyFileError, match="pip install -U cryptography"):
        generate(tmp_path / "key.pem", passphrase=None, kind="ml-dsa-65")
    assert list(tmp_path.iterdir()) == []
