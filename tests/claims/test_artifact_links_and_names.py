"""Promise: a link, a device or a name that could hide a file is refused when signing, and found when verifying."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from assay.artifacts.compare import compare
from assay.artifacts.measure import measure
from assay.artifacts.snapshot import Snapshot
from assay.errors import ArtifactError


def linked_file(model: Path) -> None:
    (model / "w.bin").rename(model.parent / "w.bin")
    (model / "w.bin").symlink_to(model.parent / "w.bin")


def linked_folder(model: Path) -> None:
    (model.parent / "hidden").mkdir()
    (model.parent / "hidden" / "code.py").write_bytes(b"evil")
    (model / "package").symlink_to(model.parent / "hidden")


def loop(model: Path) -> None:
    (model / "loop").symlink_to(model)


def not_utf8(model: Path) -> None:
    Path(os.fsdecode(os.fsencode(model) + b"/caf\xe9")).write_bytes(b"")


def named(name: str) -> Callable[[Path], None]:
    def attack(model: Path) -> None:
        (model / name).write_bytes(b"")

    return attack


ATTACKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "file_replaced_by_a_link_to_the_same_bytes": (linked_file, "artifact.link"),
    "file_hidden_in_a_linked_folder": (linked_folder, "artifact.link"),
    "link_to_itself": (loop, "artifact.link"),
    "pipe": (lambda model: os.mkfifo(model / "pipe"), "artifact.special"),
    "not_utf8": (not_utf8, "artifact.name"),
    "newline": (named("a\nb"), "artifact.name"),
    "colon": (named("w.bin:0:5"), "artifact.name"),
    "backslash": (named("..\\w.bin"), "artifact.name"),
    "escape_codes": (named("\x1b[1A"), "artifact.name"),
    "right_to_left": (named("w\u202enib.bin"), "artifact.name"),
    "only_letter_case": (named("W.BIN"), "artifact.name-clash"),
    "only_unicode_form": (named("cafe\u0301"), "artifact.name-clash"),
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "m"
    root.mkdir()
    (root / "w.bin").write_bytes(b"signed")
    (root / "caf\u00e9").write_bytes(b"")
    return root


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_is_refused_when_signing(attack: str, model: Path) -> None:
    ATTACKS[attack][0](model)
    with pytest.raises(ArtifactError) as caught:
        measure(model)
    assert {finding.rule for finding in caught.value.findings} == {ATTACKS[attack][1]}


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_is_found_when_verifying_on_disk_and_in_a_sealed_copy(attack: str, model: Path) -> None:
    signed = measure(model)
    change, rule = ATTACKS[attack]
    change(model)
    assert rule in {finding.rule for finding in compare(signed, measure(model, collect=True))}
    with Snapshot.of(model) as copy:
        assert rule in {finding.rule for finding in compare(signed, copy.manifest())}


def test_a_pipe_put_in_place_of_a_file_does_not_block(model: Path) -> None:
    signed = measure(model)
    (model / "w.bin").unlink()
    os.mkfifo(model / "w.bin")
    assert [finding.rule for finding in compare(signed, measure(model, collect=True))] == ["artifact.special"]
