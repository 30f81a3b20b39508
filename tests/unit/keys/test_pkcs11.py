"""Keys on a token, against SoftHSM. What every key promises is in tests/shelves/test_keys_shelf.py."""

from __future__ import annotations

import os
from pathlib import Path

import pkcs11
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
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
