"""Keys on a token, against SoftHSM. What every key promises is in tests/shelves/test_keys_shelf.py."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pkcs11
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key
from pkcs11 import Attribute, KeyType, ObjectClass
from tests import token_box
from tests.token_box import PIN, address, make_key

from assay.errors import KeyFileError
from assay.keys.base import SecretWanted
from assay.keys.pkcs11 import MODULE, _unwrapped, open_key


def pin(wanted: SecretWanted) -> str:
    assert wanted.kind == "PIN"
    return PIN


def nobody(wanted: SecretWanted) -> str:
    raise AssertionError(wanted)


@pytest.fixture
def label(tmp_path: Path) -> str:
    """A key on the token, named after this test."""
    token_box.box()
    make_key(tmp_path.name)
    return tmp_path.name


def test_a_pin_in_a_file_is_read_and_nobody_is_asked(label: str, tmp_path: Path) -> None:
    place = tmp_path / "pin"
    place.write_text(f"{PIN}\n")
    place.chmod(0o600)
    opened = open_key(address(label, query=f"pin-source=file:{place}"), nobody)
    assert opened.warnings == ()
    assert opened.signer.sign(b"weights")
    place.chmod(0o644)
    assert "chmod 600" in open_key(address(label, query=f"pin-source={place}"), nobody).warnings[0]


def test_a_pin_in_the_address_works_with_a_warning(label: str) -> None:
    opened = open_key(address(label, query=f"pin-value={PIN}"), nobody)
    assert "lists processes" in opened.warnings[0]
    assert PIN not in opened.warnings[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "first line"), (b"\n", "first line"), (b"x" * 300, "first line"), (b"\xff\xfe", "UTF-8")],
)
def test_a_pin_file_without_a_pin_is_our_error(label: str, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "pin").write_bytes(content)
    with pytest.raises(KeyFileError, match=words):
        open_key(address(label, query=f"pin-source={tmp_path / 'pin'}"), nobody)


def test_a_pin_file_that_is_a_pipe_does_not_hang_us(label: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pin")
    with pytest.raises(KeyFileError, match="first line"):
        open_key(address(label, query=f"pin-source={tmp_path / 'pin'}"), nobody)


def test_a_token_that_is_not_there_is_told_before_anybody_is_asked(label: str) -> None:
    with pytest.raises(KeyFileError, match="'other'"):
        open_key(address(label, token="nowhere"), nobody)


def test_an_address_that_fits_two_tokens_or_two_keys_is_refused(label: str) -> None:
    with pytest.raises(KeyFileError, match="fits 2 tokens"):
        open_key(f"pkcs11:object={label}?module-path={token_box.MODULE}", nobody)
    make_key(label, identity=b"\x02")
    with pytest.raises(KeyFileError, match="fits 2 public keys"):
        open_key(address(label), pin)
    one = address(label).replace("?", ";id=%02?")
    assert open_key(one, pin).signer.sign(b"weights")


def test_an_address_that_names_no_object_is_refused() -> None:
    with pytest.raises(KeyFileError, match="which key"):
        open_key(f"pkcs11:token=other?module-path={token_box.MODULE}", nobody)


def test_a_token_is_found_by_slot_and_serial_too(label: str) -> None:
    with token_box.session() as opened:
        slot, serial = opened.token.slot.slot_id, opened.token.serial.decode()
    place = f"pkcs11:slot-id={slot};serial={serial};object={label}?module-path={token_box.MODULE}"
    assert open_key(place, pin).signer.sign(b"weights")
    with pytest.raises(KeyFileError, match="fits 0 tokens"):
        open_key(place.replace(serial, "0" * 16), pin)


@pytest.mark.parametrize("module", ["/nowhere/p11.so", "/etc/hostname", "/usr/lib"])
def test_a_module_that_is_none_is_our_error(module: str) -> None:
    with pytest.raises(KeyFileError, match=r"no file|cannot be used"):
        open_key(f"pkcs11:token=a;object=b?module-path={module}", nobody)


def test_the_module_may_come_from_the_environment(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = address(label).split("?", maxsplit=1)[0]
    monkeypatch.delenv(MODULE, raising=False)
    with pytest.raises(KeyFileError, match="no module is named"):
        open_key(place, nobody)
    monkeypatch.setenv(MODULE, str(token_box.MODULE))
    assert open_key(place, pin).signer.sign(b"weights")


def test_two_keys_of_one_token_sign_in_turn(label: str) -> None:
    make_key(f"{label}-two", "p384")
    one, two = open_key(address(label), pin).signer, open_key(address(f"{label}-two"), pin).signer
    for signer in (one, two, one):
        assert signer.sign(b"weights")


def test_a_private_key_put_beside_the_public_one_of_another_is_found(label: str) -> None:
    name = f"{label}-mixed"
    other = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    with token_box.session() as opened:
        keys = {one[Attribute.CLASS]: one for one in opened.get_objects({Attribute.LABEL: label})}
        keys[ObjectClass.PRIVATE_KEY].copy({Attribute.LABEL: name})
        point = b"\x04" + other.x.to_bytes(32) + other.y.to_bytes(32)
        opened.create_object(
            {
                Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.KEY_TYPE: KeyType.EC, Attribute.LABEL: name,
                Attribute.TOKEN: True, Attribute.EC_PARAMS: keys[ObjectClass.PUBLIC_KEY][Attribute.EC_PARAMS],
                Attribute.EC_POINT: b"\x04\x41" + point,
            }
        )  # fmt: skip
    signer = open_key(address(name), pin).signer
    with pytest.raises(KeyFileError, match="do not belong together"):
        signer.sign(b"weights")


def test_a_key_without_its_public_half_is_refused(label: str) -> None:
    with token_box.session() as opened:
        (public,) = opened.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: label})
        public.destroy()
    with pytest.raises(KeyFileError, match="0 public keys"):
        open_key(address(label), pin)


def test_a_token_that_only_hashes_itself_gets_the_bytes(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = open_key(address(label), pin).signer
    asked: list[object] = []

    def sign(_: pkcs11.PrivateKey, data: bytes, mechanism: pkcs11.Mechanism) -> bytes:
        asked.append((mechanism, data))
        if mechanism is pkcs11.Mechanism.ECDSA:
            raise pkcs11.MechanismInvalid
        return bytes(64)

    monkeypatch.setattr("assay.keys.pkcs11._private", lambda *_: type("Key", (pkcs11.SignMixin,), {"sign": sign})())
    with pytest.raises(KeyFileError, match="do not belong together"):  # the stub's answer is no signature
        signer.sign(b"weights")
    assert asked[-1] == (pkcs11.Mechanism.ECDSA_SHA256, b"weights")


@pytest.mark.parametrize("size", [32, 65, 97, 133])
def test_a_point_is_read_with_and_without_its_wrapping(size: int) -> None:
    raw = b"\x04" + bytes([size - 2]) + bytes(size - 2)  # a raw point may look like a wrapped one
    wrapped = b"\x04" + (bytes([size]) if size < 128 else bytes([0x81, size])) + raw
    assert _unwrapped(raw, size) == raw
    assert _unwrapped(wrapped, size) == raw


def put_certificate(label: str, content: bytes) -> None:
    """Put a certificate on the token in place of the public key of this label."""
    with token_box.session() as opened:
        for one in opened.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: label}):
            one.destroy()
        opened.create_object(
            {
                Attribute.CLASS: ObjectClass.CERTIFICATE,
                Attribute.CERTIFICATE_TYPE: pkcs11.CertificateType.X_509,
                Attribute.LABEL: label,
                Attribute.TOKEN: True,
                Attribute.SUBJECT: b"0\x00",
                Attribute.VALUE: content,
            }
        )


def certified(public: bytes) -> bytes:
    """A certificate of a public key; who signed it does not matter here."""
    authority, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    key = load_pem_public_key(public)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key).serial_number(1)
    builder = builder.not_valid_before(datetime(2026, 1, 1, tzinfo=UTC)).not_valid_after(
        datetime(2027, 1, 1, tzinfo=UTC)
    )
    return builder.sign(authority, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_certificate_stands_in_for_the_public_key(label: str) -> None:
    public = open_key(address(label), pin).signer.public_pem()
    put_certificate(label, certified(public))
    signer = open_key(address(label), pin).signer
    assert signer.public_pem() == public
    assert signer.sign(b"weights")


def test_a_damaged_certificate_is_our_error(label: str) -> None:
    put_certificate(label, b"0\x03\x02\x01\x01")
    with pytest.raises(KeyFileError, match="certificate on the token is damaged"):
        open_key(address(label), pin)


def test_a_damaged_public_key_is_our_error(label: str) -> None:
    with token_box.session() as opened:
        (public,) = opened.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: label})
        params = public[Attribute.EC_PARAMS]
        public.destroy()
        opened.create_object(
            {
                Attribute.CLASS: ObjectClass.PUBLIC_KEY,
                Attribute.KEY_TYPE: KeyType.EC,
                Attribute.LABEL: label,
                Attribute.TOKEN: True,
                Attribute.EC_PARAMS: params,
                Attribute.EC_POINT: b"\x04\x41\x04" + b"\x01" * 64,  # on no curve
            }
        )
    with pytest.raises(KeyFileError, match="public key on the token is damaged"):
        open_key(address(label), pin)


def test_a_key_is_found_by_its_id_alone(label: str) -> None:
    make_key(f"{label}-id", identity=b"\xfe" + label[-8:].encode())
    identity = "".join(f"%{one:02x}" for one in b"\xfe" + label[-8:].encode())
    place = address("x").replace("object=x", f"id={identity}")
    assert open_key(place, pin).signer.sign(b"weights")


def test_two_private_keys_of_one_name_are_refused(label: str) -> None:
    with token_box.session() as opened:
        (private,) = opened.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label})
        private.copy({Attribute.LABEL: label})
    with pytest.raises(KeyFileError, match="fits 2 private keys"):
        open_key(address(label), pin)


def test_a_pin_file_that_is_missing_is_our_error(label: str) -> None:
    with pytest.raises(KeyFileError, match="cannot read the PIN"):
        open_key(address(label, query="pin-source=/nowhere/pin"), nobody)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (pkcs11.PinLocked, "is locked"),
        (pkcs11.DeviceRemoved, r"refuses \(DeviceRemoved\)"),
        (pkcs11.PinExpired, "PinExpired"),
    ],
)
def test_what_only_real_tokens_do_is_our_error(
    label: str, monkeypatch: pytest.MonkeyPatch, trouble: type[pkcs11.PKCS11Error], words: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise trouble

    signer = open_key(address(label), pin).signer
    monkeypatch.setattr("assay.keys.pkcs11._token", lambda _: type("Token", (), {"open": refuse})())
    with pytest.raises(KeyFileError, match=words):
        signer.sign(b"weights")


def test_an_answer_of_another_length_is_no_signature(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = open_key(address(label), pin).signer
    stub = type("Key", (pkcs11.SignMixin,), {"sign": lambda *_, **__: b"short"})
    monkeypatch.setattr("assay.keys.pkcs11._private", lambda *_: stub())
    with pytest.raises(KeyFileError, match="answered with 5 bytes"):
        signer.sign(b"weights")
