"""Second store, record and token, as typed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import token_box
from tests.unit.cli.prompt import at, typed

from assay.keys.pem import generate
from assay.signing.record import words_of
from assay.storage import sealed

BACKUP = "ASSAY_BACKUP_PASSPHRASE"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sealed, "_COST", 1 << 10)
    monkeypatch.setenv("ASSAY_SEAL_PASSPHRASE", "seal")
    monkeypatch.setenv("ASSAY_PIN", token_box.PIN)
    folder = tmp_path / "here"
    (folder / "loans").mkdir(parents=True)
    (folder / "loans" / "weights.bin").write_bytes(b"weights" * 100)
    generate(folder / "key.pem", passphrase=None)
    with at(folder):
        yield folder


@pytest.mark.parametrize("place", ["kept", "sealed:box"])
def test_a_model_signed_into_a_second_store_is_held_against_it_and_restored(here: Path, place: str) -> None:
    done = typed("sign", "loans", "--key", "key.pem", "--second-store", place, "--json")
    assert done.code == 0, done.err
    assert str(done.data["kept"]).split()[-1].startswith("loans/")
    held = typed("verify", "loans", "--public-key", "key.pub", "--second-store", place, "--json")
    assert held.code == 0, held.err
    assert held.data["second_store"] in {place, str(here / place)}
    (here / "loans" / "weights.bin").write_bytes(b"others")
    assert typed("sign", "loans", "--key", "key.pem").code == 0
    assert typed("verify", "loans", "--public-key", "key.pub").code == 0
    typed("verify", "loans", "--public-key", "key.pub", "--second-store", place).refused(1, "signature.not-as-kept")
    back = typed("restore", "loans", "--second-store", place, "--to", "back", "--json")
    assert back.data["restored"] == "back"
    assert typed("verify", "back", "--public-key", "key.pub").code == 0
    assert (here / "back" / "weights.bin").read_bytes() == b"weights" * 100
    typed("restore", "loans", "--second-store", place, "--to", "back").refused(2, "new folder")
    typed("restore", "nobody", "--second-store", place, "--to", "there").refused(3, "keeps nothing of nobody")


def test_a_place_that_cannot_be_had_is_told_before_the_old_signature_is_replaced(here: Path) -> None:
    assert typed("sign", "loans", "--key", "key.pem").code == 0
    before = (here / "loans" / "model.sig").read_bytes()
    typed("sign", "loans", "--key", "key.pem", "--second-store", "ftp://x/y").refused(2, "sealed:FILE")
    (here / "letter").write_text("Dear Anna")
    typed("sign", "loans", "--key", "key.pem", "--second-store", "sealed:letter").refused(3, "no file sealed by assay")
    typed("sign", "loans", "--key", "key.pem", "--print-record", "page.pdf").refused(2, ".html or .txt")
    assert (here / "loans" / "model.sig").read_bytes() == before


@pytest.mark.parametrize("page", ["page.html", "page.txt"])
def test_a_printed_record_is_read_back_from_the_file_and_from_its_words(here: Path, page: str) -> None:
    signed = typed("sign", "loans", "--key", "key.pem", "--print-record", page, "--json").data
    assert signed["record"] == page
    words = " ".join(words_of(str(signed["root"])))
    for record in (page, words, str(signed["root"]), str(signed["root"])[:40]):
        assert typed("verify", "loans", "--public-key", "key.pub", "--record", record).code == 0
        alone = typed("verify", "loans", "--record", record)
        assert alone.code == 0
        assert "matches the record: 1 files; nobody's signature was checked" in alone.out
    quick = typed("verify", "loans", "--public-key", "key.pub", "--json").data
    sure = typed("verify", "loans", "--public-key", "key.pub", "--record", page, "--json").data
    assert (quick["checked"], sure["checked"], sure["record"]) == ("blake3", "both", True)
    found = typed("verify", "loans", "--record", page, "--json").data
    assert found["signer"] is None
    assert [one["rule"] for one in found["findings"]] == ["signature.unchecked"]  # type: ignore[attr-defined]
    (here / "loans" / "model.sig").unlink()
    assert typed("verify", "loans", "--record", page).code == 0
    (here / "loans" / "weights.bin").write_bytes(b"others")
    typed("verify", "loans", "--record", page).refused(1, "record.mismatch")
    assert typed("sign", "loans", "--key", "key.pem").code == 0
    typed("verify", "loans", "--public-key", "key.pub", "--record", page).refused(1, "record.mismatch")


def test_words_are_asked_for_and_a_mistyped_one_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*words_of(str(typed("sign", "loans", "--key", "key.pem", "--json").data["root"]))]
    monkeypatch.setattr("sys.stdin", io.StringIO(" ".join(words)))
    assert typed("verify", "loans", "--record", "-").code == 0
    typed("verify", "loans", "--record", " ".join(["abandn", *words[1:]])).refused(2, "word 1 (abandn)", "'abandon'")
    other = "zoo" if words[4] != "zoo" else "zone"
    typed("verify", "loans", "--record", " ".join([*words[:4], other, *words[5:]])).refused(1, "record.")
    typed("verify", "loans", "--record", "no-such-page.html").refused(2, "wanted 24 words")
    assert here.is_dir()


def test_the_record_of_a_verified_model_is_printed_and_of_no_other(here: Path) -> None:
    typed("record", "loans", "--public-key", "key.pub").refused(1, "signature.missing")
    assert typed("sign", "loans", "--key", "key.pem").code == 0
    typed("record", "loans").refused(2, "whose signature counts")
    printed = typed("record", "loans", "--public-key", "key.pub")
    assert "RECORD OF A SIGNED MODEL: loans" in printed.out
    done = typed("record", "loans", "--public-key", "key.pub", "--out", "page.html", "--json").data
    assert done["words"] == list(words_of(str(done["root"])))
    assert typed("verify", "loans", "--record", "page.html").code == 0
    typed("record", "loans", "--public-key", "key.pub", "--json").refused(2, "--out FILE")
    (here / "loans" / "weights.bin").write_bytes(b"others")
    typed("record", "loans", "--public-key", "key.pub").refused(1, "artifact.changed")


def test_the_root_digest_on_a_token_is_read_back(here: Path) -> None:
    token_box.box()
    place = token_box.address(f"root-{here.parent.name}")
    signed = typed("sign", "loans", "--key", "key.pem", "--record-in", place, "--json").data
    assert signed["recorded_in"] == place.partition("?")[0]
    assert typed("verify", "loans", "--public-key", "key.pub", "--record", place).code == 0
    assert typed("verify", "loans", "--record", place).code == 0
    (here / "loans" / "weights.bin").write_bytes(b"others")
    assert typed("sign", "loans", "--key", "key.pem").code == 0
    typed("verify", "loans", "--public-key", "key.pub", "--record", place).refused(1, "record.mismatch")
    assert typed("record", "loans", "--public-key", "key.pub", "--in", place, "--json").code == 0
    assert typed("verify", "loans", "--public-key", "key.pub", "--record", place).code == 0
    typed("verify", "loans", "--record", token_box.address("none")).refused(2, "0 such records")


def test_a_model_is_signed_with_a_key_on_a_token(here: Path) -> None:
    token_box.box()
    label = f"signs-{here.parent.name}"
    token_box.make_key(label, "p384")
    signed = typed("sign", "loans", "--key", token_box.address(label), "--json")
    assert signed.code == 0, signed.err
    assert typed("keys", "public", token_box.address(label), "--out", "token.pub").code == 0
    assert typed("verify", "loans", "--public-key", "token.pub").code == 0
    shown = typed("keys", "public", token_box.address(label), "--json").data
    assert shown["public_pem"] == typed("keys", "public", token_box.address(label)).out
    assert shown["key_id"] == signed.data["key_id"]
    typed("keys", "public", token_box.address(label), "--out", "token.pub").refused(2, "never overwritten")
    warned = typed("sign", "loans", "--key", token_box.address(label, query=f"pin-value={token_box.PIN}"))
    assert "warning: a PIN in the address" in warned.err


def test_keys_are_made_listed_and_backed_up(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_PASSPHRASE", "correct horse")
    made = typed("keys", "new", "new.pem", "--type", "ml-dsa-65", "--json").data
    assert (made["algorithm"], made["encrypted"]) == ("ml-dsa-65", True)
    typed("keys", "new", "rsa.pem", "--type", "rsa").refused(2, "rsa")
    listed = typed("keys", "list", ".", "--json").data
    assert [(one["path"], one["encrypted"]) for one in listed["files"]] == [("key.pem", False), ("new.pem", True)]  # type: ignore[attr-defined]
    assert "NOT ENCRYPTED" in typed("keys", "list", ".").out
    typed("keys", "backup", "new.pem", "--out", "copy.pem").refused(2, BACKUP)
    monkeypatch.setenv(BACKUP, "another horse")
    assert typed("keys", "backup", "new.pem", "--out", "copy.pem", "--json").data["key_id"] == made["key_id"]
    assert typed("keys", "backup", "key.pem", "--out", "plain-copy.pem").code == 0
    assert b"ENCRYPTED" in (here / "plain-copy.pem").read_bytes()
    typed("keys", "backup", "new.pem", "--out", "copy.pem").refused(2, "never overwritten")
    monkeypatch.setenv("ASSAY_PASSPHRASE", "wrong")
    typed("keys", "backup", "new.pem", "--out", "third.pem").refused(2, "passphrase is wrong")
    assert not (here / "third.pem").exists()
