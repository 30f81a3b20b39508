"""A digest on a token: who does not know the PIN can neither read nor replace it."""

from __future__ import annotations

from pathlib import Path

import pkcs11
import pytest
from pkcs11 import Attribute, ObjectClass
from tests import token_box
from tests.token_box import PIN, address

from assay.errors import KeyFileError
from assay.keys import pkcs11_data
from assay.keys.base import SecretWanted
from assay.keys.pkcs11_data import read, write


def pin(_: SecretWanted) -> str:
    return PIN


@pytest.fixture
def label(tmp_path: Path) -> str:
    token_box.box()
    return f"root of {tmp_path.name}"


def at(label: str) -> str:
    return address(label.replace(" ", "%20"))


def objects(session: pkcs11.Session, label: str) -> list[pkcs11.Object]:
    return list(session.get_objects({Attribute.CLASS: ObjectClass.DATA, Attribute.LABEL: label}))


def test_what_is_written_is_read_and_replaced_by_what_is_written_next(label: str) -> None:
    for value in (b"the first", b"the second", b""):
        assert write(at(label), pin, value) == ()
        assert read(at(label), pin) == (value, ())
    with token_box.session() as session:
        assert len(objects(session, label)) == 1


def test_it_is_not_there_for_who_does_not_know_the_pin(label: str) -> None:
    write(at(label), pin, b"digest")
    with token_box.session(write=False, pin=None) as session:
        assert objects(session, label) == []
    with pytest.raises(KeyFileError, match="PIN is wrong"):
        read(at(label), lambda _: "0000")


def test_an_object_put_there_without_a_pin_is_never_taken_for_it(label: str) -> None:
    fields = {Attribute.CLASS: ObjectClass.DATA, Attribute.TOKEN: True, Attribute.PRIVATE: False}
    more = {Attribute.LABEL: label, Attribute.APPLICATION: pkcs11_data.APPLICATION, Attribute.VALUE: b"forged"}
    with token_box.session(pin=None) as session:
        session.create_object({**fields, **more})
    with pytest.raises(KeyFileError, match="holds 0 such records"):
        read(at(label), pin)
    write(at(label), pin, b"digest")
    assert read(at(label), pin)[0] == b"digest"


def test_what_others_keep_under_the_label_is_left_alone(label: str) -> None:
    fields = {Attribute.CLASS: ObjectClass.DATA, Attribute.TOKEN: True, Attribute.PRIVATE: True}
    with token_box.session() as session:
        session.create_object(
            {**fields, Attribute.LABEL: label, Attribute.APPLICATION: "x", Attribute.VALUE: b"theirs"}
        )
    write(at(label), pin, b"digest")
    write(at(label), pin, b"digest 2")
    assert read(at(label), pin)[0] == b"digest 2"
    with token_box.session() as session:
        assert sorted(one[Attribute.VALUE] for one in objects(session, label)) == [b"digest 2", b"theirs"]


def test_two_records_under_one_label_are_refused(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(at(label), pin, b"one")
    with monkeypatch.context() as patch:
        patch.setattr(pkcs11_data, "_find", lambda *_: [])  # as if the former were not seen
        write(at(label), pin, b"two")
    with pytest.raises(KeyFileError, match="holds 2 such records"):
        read(at(label), pin)


def test_what_does_not_fit_or_has_no_label_is_refused(label: str) -> None:
    with pytest.raises(KeyFileError, match="4096"):
        write(at(label), pin, bytes(4097))
    with pytest.raises(KeyFileError, match="under which label"):
        read(f"pkcs11:token=other?module-path={token_box.MODULE}", pin)


def test_an_object_larger_than_any_record_is_refused(label: str) -> None:
    fields = {Attribute.CLASS: ObjectClass.DATA, Attribute.TOKEN: True, Attribute.PRIVATE: True}
    more = {Attribute.LABEL: label, Attribute.APPLICATION: pkcs11_data.APPLICATION, Attribute.VALUE: bytes(5000)}
    with token_box.session() as session:
        session.create_object({**fields, **more})
    with pytest.raises(KeyFileError, match="found 5000 bytes"):
        read(at(label), pin)
