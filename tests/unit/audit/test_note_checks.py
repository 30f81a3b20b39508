"""Notes and keys that only one check refuses: everything else about them is right, even the signature."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assay.audit.checkpoint import MAX_NOTE_BYTES, MAX_SIGNATURES, NoteKey, NoteVerifier, open_note
from assay.errors import KeyFileError, VerificationError

SEED = bytes(range(32))
KEY = NoteKey("example.org/log", SEED)
OTHER = "\u2014 witness.example/w1 " + "A" * 91 + "=\n"


def line(text: str) -> str:
    """The signature line of a text that :meth:`NoteKey.sign` would not sign."""
    signed = KEY.verifier.key_id + Ed25519PrivateKey.from_private_bytes(SEED).sign(text.encode())
    return f"\u2014 {KEY.verifier.name} {base64.b64encode(signed).decode()}\n"


def note(text: str, *, others: int = 0) -> str:
    return f"{text}\n{OTHER * others}{line(text)}"


def test_what_is_bent_below_is_sound_when_it_is_not_bent() -> None:
    assert open_note(note("a\n"), KEY.verifier) == "a\n"
    assert open_note(note("a\n", others=MAX_SIGNATURES - 1), KEY.verifier) == "a\n"
    text = "a" * (MAX_NOTE_BYTES - len(note("")) - 1) + "\n"
    assert len(note(text)) == MAX_NOTE_BYTES
    assert open_note(note(text), KEY.verifier) == text


@pytest.mark.parametrize(
    ("bent", "said"),
    [
        (note("a\x00b\n"), "control characters"),
        (note("a\tb\n"), "control characters"),
        (note("a" * MAX_NOTE_BYTES + "\n"), "too long"),
        (note("a\n", others=MAX_SIGNATURES), "signature lines"),
        (line("\n"), "empty line"),
        (note("a\n").removesuffix("\n"), "signature lines"),
        ("a\n\n", "signature lines"),
        (note("a\n").replace("\u2014 ", ""), "malformed signature line"),
        (note("a\n") + "\u2014 short AAAAAA==\n", "malformed signature line"),
    ],
)
def test_a_signed_note_of_another_form_is_refused(bent: str, said: str) -> None:
    with pytest.raises(VerificationError, match=said):
        open_note(bent, KEY.verifier)


def stored(folder: Path, text: str) -> Path:
    path = folder / "log.key"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_key_file_must_say_that_it_is_private_and_of_ed25519(tmp_path: Path) -> None:
    made = NoteKey.generate(tmp_path / "made.key", "example.org/log")
    text = (tmp_path / "made.key").read_text().strip()
    assert NoteKey.read(stored(tmp_path, text)).verifier == made.verifier
    *rest, encoded = text.split("+", 4)  # base64 may have a plus too
    other = base64.b64encode(b"\x02" + base64.b64decode(encoded)[1:]).decode()
    for bent in (text.removeprefix("PRIVATE+KEY+"), "+".join([*rest, other])):
        with pytest.raises(KeyFileError, match="not a private Ed25519 log key"):
            NoteKey.read(stored(tmp_path, bent))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_string_of_another_length_is_refused_though_its_id_fits(length: int) -> None:
    bent = NoteVerifier("example.org/log", bytes(length))
    with pytest.raises(KeyFileError, match="not an Ed25519 key"):
        NoteVerifier.parse(bent.key_string)
