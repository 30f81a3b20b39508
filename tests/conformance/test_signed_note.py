"""Notes that others signed. Sources: the example in the documentation of Go's golang.org/x/mod/sumdb/note package."""

from __future__ import annotations

import pytest

from assay.audit.checkpoint import Checkpoint, NoteVerifier, open_note
from assay.errors import VerificationError

KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNATURE = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
NOTE = f"{TEXT}\n{SIGNATURE}"
WITNESS = "\u2014 witness.example/w1 " + "A" * 91 + "=\n"


def test_a_note_of_the_go_implementation_verifies() -> None:
    assert open_note(NOTE, NoteVerifier.parse(KEY)) == TEXT


def test_a_key_string_is_written_as_it_was_read() -> None:
    assert NoteVerifier.parse(KEY).key_string == KEY


def test_signatures_of_unknown_keys_are_ignored() -> None:
    assert open_note(f"{TEXT}\n{WITNESS}{SIGNATURE}{WITNESS}", NoteVerifier.parse(KEY)) == TEXT


@pytest.mark.parametrize(
    "note",
    [
        NOTE.replace("answer", "Answer"),
        NOTE.replace("PeterNeumann", "PeterNeumanm"),
        NOTE.replace("x08go", "x08gp"),
        f"{TEXT}\n{WITNESS}",
        f"{TEXT}\n{SIGNATURE}{SIGNATURE.replace('nAM=', 'nAQ=')}",
        NOTE.replace("nAM=", "nAN="),  # the same bytes, with stray bits
        NOTE.replace("nAM=", "nAM"),
        f"{TEXT}\n\u2014 short AAAA\n{SIGNATURE}",
        f"{TEXT}\n\u2014 a+b {WITNESS.split()[2]}\n{SIGNATURE}",
        NOTE.replace("\u2014", "-"),
        NOTE.replace("\n\n", "\n"),
        NOTE.rstrip("\n"),
        NOTE + "\n",
        NOTE.replace("problem,\n", "problem,\r\n"),
        NOTE.replace("problem,", "problem,\t"),
        TEXT,
        f"{TEXT}\n",
        "",
        f"{TEXT}\n" + WITNESS * 101 + SIGNATURE,
        "x" * 1_000_000 + NOTE,
        TEXT.replace("If", "\ud800") + f"\n{SIGNATURE}",
    ],
)
def test_every_bent_note_is_refused(note: str) -> None:
    assert note != NOTE
    with pytest.raises(VerificationError):
        open_note(note, NoteVerifier.parse(KEY))


def test_the_example_of_tlog_checkpoint_is_read_and_written_alike() -> None:
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    found = Checkpoint.parse(text)
    assert (found.origin, found.size, found.root.hex()[:8]) == ("example.com/behind-the-sofa", 20852163, "0ac5186a")
    assert found.text() == text


def test_extension_lines_are_kept() -> None:
    text = "o\n0\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\nmore\n"
    assert Checkpoint.parse(text).extensions == ("more",)
    assert Checkpoint.parse(text).text() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "o\n1\n",
        "o\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
        "\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "o\n01\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "o\n-1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "o\n\u0661\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "o\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\nlater\n",
        "o\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxqw==\n",
        "o\n1\nCsUYapGGPo4dkMgIAUqom_Xajj7h2fB2MPA3j2jxq2I=\n",
    ],
)
def test_every_bent_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(VerificationError):
        Checkpoint.parse(text)
