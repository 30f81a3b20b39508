from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests import made_models as made
from tests.small_project import Small, build
from tests.unit.cli.prompt import NOW, at, typed

BASE = made.network()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "here"
    made.write(folder / "old.safetensors", BASE)
    made.write(folder / "same.safetensors", BASE)
    made.write(folder / "new.safetensors", made.adapted(BASE, 2))
    with at(folder):
        yield folder


def test_equal_models_end_with_0_and_others_with_1(here: Path) -> None:
    del here
    same = typed("diff", "old.safetensors", "same.safetensors")
    assert (same.code, same.out.split(" ")[0]) == (0, "identical")
    other = typed("diff", "old.safetensors", "new.safetensors")
    assert other.code == 1
    assert other.out.startswith("low-rank edit (likely): ")
    assert "layers.0.up.weight" in other.out
    assert "layers.0.down.weight" not in other.out


def test_another_container_alone_ends_with_0(here: Path) -> None:
    np.savez(here / "new.npz", **BASE)  # type: ignore[arg-type]
    found = typed("diff", "old.safetensors", "new.npz")
    assert (found.code, found.out.startswith("container changed only (certain)")) == (0, True)
    assert "new.npz: container" in found.out


def test_json_has_the_documented_keys(here: Path) -> None:
    del here
    found = typed("diff", "old.safetensors", "new.safetensors", "--json").data
    assert set(found) == {"differs", "old", "new", "reading", "tensors", "tensors_same", "files", "notes"}
    tensors = found["tensors"]
    assert isinstance(tensors, list)
    assert (len(tensors), found["tensors_same"]) == (3, 7)
    assert tensors[0]["measures"]["rank_exact"] == 2
    page = (Path(__file__).parents[3] / "docs" / "reference" / "json.md").read_text(encoding="utf-8")
    verb = next(line for line in page.splitlines() if line.startswith("| `assay diff` |"))
    section = verb + page.split("\n## diff\n")[1].split("\n## ")[0]
    keys = {*found, *tensors[0], *tensors[0]["measures"], *tensors[0]["measures"]["first"][0], *tensors[0]["old"]}
    assert {key for key in keys if not re.search(rf"`{key}(\[\])?`", section)} == set()


def test_long_tables_are_cut_and_say_so(here: Path) -> None:
    made.write(here / "moved.safetensors", made.moved(BASE, 0.001))
    found = typed("diff", "old.safetensors", "moved.safetensors", "--top", "3")
    assert "and 7 more; --top shows more" in found.out


def test_page_and_pictures_are_written(here: Path) -> None:
    for words in (["--html", "a.html"], ["--plot", "a.svg"], ["--plot", "a.PNG"]):
        assert typed("diff", "old.safetensors", "new.safetensors", *words).code == 1
    assert (here / "a.html").read_text().startswith("<!doctype html>")
    assert (here / "a.svg").read_text().startswith("<svg ")
    assert (here / "a.PNG").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["old.safetensors"], "compared with what"),
        (["old.safetensors", "nothing"], "nothing"),
        (["old.safetensors", "new.safetensors", "--plot", "a.jpg"], ".svg or .png"),
        (["old.safetensors", "new.safetensors", "--html", "gone/a.html"], "gone"),
        (["old.safetensors", "new.safetensors", "--tensor", "zz*"], "zz*"),
    ],
)
def test_wrong_use_is_said_and_ends_with_2(here: Path, words: list[str], said: str) -> None:
    del here
    typed("diff", *words).refused(2, said)


def test_without_numpy_it_says_which_extra_brings_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del here
    for name in [name for name in sys.modules if name == "numpy" or name.startswith("assay.artifacts.diff")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numpy", None)
    typed("diff", "old.safetensors", "new.safetensors").refused(2, "assay[monitor]")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    folder = tmp_path_factory.mktemp("small")
    made_project = build(folder)
    with at(folder):
        made_project.sign()
    return made_project


def test_a_name_is_compared_with_its_verified_known_good_copy(small: Small) -> None:
    with at(small.folder, now=NOW):
        assert typed("diff", "spam").code == 0
        labels = small.model / "labels.txt"
        kept = labels.read_text()
        labels.write_text("spam\nham\n")
        try:
            found = typed("diff", "spam", "--json")
            assert found.code == 1
            assert found.data["reading"]["kind"] == "other content changed"  # type: ignore[index]
            assert "version 1, known-good copy (the newest signed)" in json.dumps(found.data["old"])
            typed("verify", "spam").refused(1, "assay diff spam")
            assert typed("diff", "spam", small.model).code == 1
            assert typed("diff", small.model, "spam").code == 1
        finally:
            labels.write_text(kept)


def test_a_known_good_copy_that_was_changed_is_refused_not_compared(small: Small) -> None:
    with at(small.folder, now=NOW):
        vault = small.project.places.vault(small.project.config.model("spam"))
        (labels,) = vault.glob("*/files/labels.txt")
        kept = labels.read_text()
        labels.write_text("other\n")
        try:
            typed("diff", "spam").refused(1, "labels.txt")
        finally:
            labels.write_text(kept)


def test_a_name_without_a_copy_says_how_to_get_one(tmp_path: Path) -> None:
    (tmp_path / "fresh").mkdir()
    with at(build(tmp_path / "fresh").folder, now=NOW):
        typed("diff", "spam").refused(2, "assay sign spam")
