from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.audit.checkpoint import Checkpoint, NoteKey, NoteVerifier, check_name, open_note
from assay.errors import KeyFileError, VerificationError

KEY = NoteKey("example.org/log", bytes(range(32)))
OTHER = NoteKey("example.org/log", bytes(32))
HEAD = Checkpoint("example.org/log", 7, bytes(32))


def test_a_signed_checkpoint_comes_back() -> None:
    assert Checkpoint.open(KEY.sign(HEAD.text()), KEY.verifier) == HEAD


def test_a_checkpoint_signed_by_another_key_of_the_same_name_is_refused() -> None:
    with pytest.raises(VerificationError, match="did not sign"):
        Checkpoint.open(OTHER.sign(HEAD.text()), KEY.verifier)


def test_a_checkpoint_of_another_log_is_refused_although_the_key_signed_it() -> None:
    note = KEY.sign(Checkpoint("example.org/other", 7, bytes(32)).text())
    with pytest.raises(VerificationError, match=r"example\.org/other"):
        Checkpoint.open(note, KEY.verifier)


@given(st.text())
def test_any_text_is_a_note_or_our_error(text: str) -> None:
    with pytest.raises(VerificationError):
        open_note(text, KEY.verifier)


@given(st.text())
def test_any_text_is_a_key_string_or_our_error(text: str) -> None:
    with pytest.raises(KeyFileError):
        NoteVerifier.parse(text)


def edited_key_strings() -> list[str]:
    name, key_id, key = KEY.verifier.key_string.split("+", 2)
    raw = base64.b64decode(key)
    return [
        f"{name}x+{key_id}+{key}",
        f"{name}+{OTHER.verifier.key_id.hex()}+{key}",
        f"{name}+{key_id}+{base64.b64encode(bytes([2]) + raw[1:]).decode()}",
        f"{name}+{key_id}+{base64.b64encode(raw[:-1]).decode()}",
        f"{name}+{key_id}",
        f"{name} x+{key_id}+{key}",
    ]


@pytest.mark.parametrize("text", edited_key_strings())
def test_an_edited_key_string_is_refused(text: str) -> None:
    with pytest.raises(KeyFileError):
        NoteVerifier.parse(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u00a0b", "a\u2003b", "\ud800", "a\x7fb"])
def test_a_name_that_would_break_a_note_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name a log"):
        check_name(name)


@pytest.mark.parametrize("text", ["no newline", "tab\there\n", "return\r\n"])
def test_a_text_that_is_no_note_text_is_not_signed(text: str) -> None:
    with pytest.raises(ValueError, match="newline"):
        KEY.sign(text)


def test_a_made_key_is_private_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "log.key"
    made = NoteKey.generate(path, "example.org/log")
    assert path.stat().st_mode & 0o777 == 0o600
    assert NoteKey.read(path).verifier == made.verifier
    assert NoteVerifier.parse((tmp_path / "keys" / "log.key.pub").read_text()) == made.verifier
    assert sorted(each.name for each in path.parent.iterdir()) == ["log.key", "log.key.pub"]


def test_a_key_is_never_written_over_a_file(tmp_path: Path) -> None:
    path = tmp_path / "log.key"
    NoteKey.generate(path, "example.org/log")
    before = path.read_bytes()
    with pytest.raises(KeyFileError):
        NoteKey.generate(path, "example.org/log")
    assert path.read_bytes() == before


def test_a_key_that_everybody_may_use_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.key"
    NoteKey.generate(path, "example.org/log")
    path.chmod(0o604)
    with pytest.raises(KeyFileError, match="chmod 600"):
        NoteKey.read(path)


@pytest.mark.parametrize("text", ["", "PRIVATE+KEY+", "PRIVATE+KEY+a+b+c", KEY.verifier.key_string, "\x00\xff"])
def test_a_file_that_is_no_log_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "log.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeyFileError):
        NoteKey.read(path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x80"])
def test_a_key_file_of_other_bytes_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="cannot be read"):
        NoteKey.read(path)


@pytest.mark.parametrize(("index", "said"), [(2, "edited"), (4, "private|not a log key|edited")])
def test_an_edited_private_key_is_refused(tmp_path: Path, index: int, said: str) -> None:
    path = tmp_path / "log.key"
    NoteKey.generate(path, "example.org/log")
    parts = path.read_text().split("+")
    parts[index] = "another" if index == 2 else base64.b64encode(b"\x02" + bytes(32)).decode()
    path.write_text("+".join(parts))
    with pytest.raises(KeyFileError, match=said):
        NoteKey.read(path)


def test_a_missing_key_is_refused_in_our_words(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot be read"):
        NoteKey.read(tmp_path / "none.key")
