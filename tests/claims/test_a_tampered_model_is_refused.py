"""Threats, artifacts and signatures: whoever can write to the model store cannot get other bytes past `verify`."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from assay.errors import ArtifactError, VerificationError
from assay.keys.pem import PemSigner, load_public
from assay.signing.sign import sign
from assay.signing.signers import SignedBy, SignedByKey
from assay.signing.trust import TrustStore
from assay.signing.verify import verify

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGNER = PemSigner(ec.generate_private_key(ec.SECP256R1()), encrypted=False, loose_mode=False)
SIGNERS = SignedByKey(load_public(SIGNER.public_pem()))


def safetensors(**tensors: bytes) -> bytes:
    """A file of one-byte tensors."""
    header, at = {}, 0
    for name, data in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(tensors.values())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "tokens").mkdir(parents=True)
    generator = random.Random(7)  # noqa: S311 - it makes weights, not secrets
    weights = safetensors(first=generator.randbytes(400), second=generator.randbytes(600))
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_text('{"layers": 2}')
    (folder / "tokens" / "vocab.txt").write_text("a\nb\n")
    sign(folder, SIGNER, now=NOW)
    return folder


def refused(model: Path) -> VerificationError:
    errors = []
    for hold in (False, True):
        with pytest.raises(VerificationError) as caught:
            verify(model, signers=SIGNERS, now=NOW, hold=hold)
        errors.append(caught.value)
    assert {one.rule for one in errors[0].findings} == {one.rule for one in errors[1].findings}
    return errors[0]


@pytest.mark.parametrize("seed", range(60))
def test_one_flipped_bit_anywhere_is_refused_and_its_file_named(model: Path, seed: int) -> None:
    generator = random.Random(seed)  # noqa: S311 - it chooses a place, not a secret
    files = sorted(path for path in model.rglob("*") if path.is_file() and path.name != "model.sig")
    victim = generator.choice(files)
    content = bytearray(victim.read_bytes())
    place = generator.randrange(len(content))
    content[place] ^= 1 << generator.randrange(8)
    victim.write_bytes(content)
    name = victim.relative_to(model).as_posix()
    findings = refused(model).findings
    assert any(one.subject.startswith(name) for one in findings)


@pytest.mark.parametrize(
    ("offset_from_end", "tensor"), [(1, "second"), (600, "second"), (601, "first"), (1000, "first")]
)
def test_a_flipped_bit_in_a_tensor_names_the_tensor_and_its_bytes(
    model: Path, offset_from_end: int, tensor: str
) -> None:
    path = model / "model.safetensors"
    content = bytearray(path.read_bytes())
    place = len(content) - offset_from_end
    content[place] ^= 1
    path.write_bytes(content)
    (found,) = [one for one in refused(model).findings if one.rule == "artifact.tensor-changed"]
    assert found.subject == f"model.safetensors:{tensor}"
    assert int(found.numbers["start_byte"]) <= place < int(found.numbers["end_byte"])


def swap_tensors(model: Path) -> None:
    path = model / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"first"', b'"x"').replace(b'"second"', b'"first"').replace(b'"x"', b'"second"'))


def swap_files(model: Path) -> None:
    one, two = model / "config.json", model / "tokens" / "vocab.txt"
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def replace_by_link(model: Path) -> None:
    (model.parent / "elsewhere.json").write_bytes((model / "config.json").read_bytes())
    (model / "config.json").unlink()
    (model / "config.json").symlink_to(model.parent / "elsewhere.json")


def hide_in_linked_folder(model: Path) -> None:
    (model.parent / "hidden").mkdir()
    (model.parent / "hidden" / "evil.py").touch()
    (model / "more").symlink_to(model.parent / "hidden")


def retype(model: Path) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"U8"', b'"I8"', 1))


ATTACKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "added": (lambda model: (model / "evil.py").write_text("import os"), "evil.py"),
    "added empty": (lambda model: (model / "tokens" / "__init__.py").touch(), "tokens/__init__.py"),
    "added hidden": (lambda model: (model / ".evil").touch(), ".evil"),
    "removed": (lambda model: (model / "config.json").unlink(), "config.json"),
    "renamed": (lambda model: (model / "config.json").rename(model / "config2.json"), "config2.json"),
    "emptied": (lambda model: (model / "config.json").write_bytes(b""), "config.json"),
    "grown": (lambda model: (model / "model.safetensors").open("ab").write(b"\0"), "model.safetensors"),
    "swapped": (swap_files, "config.json"),
    "replaced by a link": (replace_by_link, "config.json"),
    "hidden in a linked folder": (hide_in_linked_folder, "more"),
    "a pipe": (lambda model: os.mkfifo(model / "pipe"), "pipe"),
    "a newline in a name": (lambda model: (model / "a\nb").touch(), r"'a\nb'"),
    "a colon in a name": (lambda model: (model / "w.bin:0:9").touch(), "w.bin:0:9"),
    "no UTF-8 in a name": (lambda model: os.mkfifo(os.fsencode(model) + b"/\xff"), r"'\udcff'"),
    "equal but for case": (lambda model: (model / "Config.json").write_text("{}"), "Config.json"),
    "tensors swapped between names": (swap_tensors, "model.safetensors:first"),
    "a tensor retyped": (retype, "model.safetensors:first"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_was_done_to_the_files_is_refused_and_named(model: Path, attack: str) -> None:
    do, named = ATTACKS[attack]
    do(model)
    subjects = {finding.subject for finding in refused(model).findings}
    assert any(named in subject for subject in subjects), subjects


def test_a_signature_over_another_model_is_refused(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(model, other)
    (other / "config.json").write_text('{"layers": 3}')
    sign(other, SIGNER, now=NOW)
    shutil.copy(other / "model.sig", model / "model.sig")
    assert "config.json" in {finding.subject for finding in refused(model).findings}


def test_a_model_signed_again_by_a_stranger_is_refused(model: Path) -> None:
    stranger = PemSigner(ec.generate_private_key(ec.SECP256R1()), encrypted=False, loose_mode=False)
    (model / "config.json").write_text('{"layers": 3}')
    sign(model, stranger, now=NOW)
    assert [finding.rule for finding in refused(model).findings] == ["signature.wrong-key"]
    trust = TrustStore().trust("anna@example.org", SIGNER.public_pem())
    with pytest.raises(VerificationError, match="does not know"):
        verify(model, signers=SignedBy(trust, ["anna@example.org"]), now=NOW)


def test_what_must_not_be_verified_cannot_be_signed_either(model: Path) -> None:
    (model / "model.sig").unlink()
    hide_in_linked_folder(model)
    with pytest.raises(ArtifactError, match="more"):
        sign(model, SIGNER, now=NOW)
    assert not (model / "model.sig").exists()
