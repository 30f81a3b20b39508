"""Two models on disk: what is matched with what, which files count, what is drawn."""

from __future__ import annotations

import json
import re
import tracemalloc
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from tests import made_models as made

from assay.artifacts.diff.change import Status
from assay.artifacts.diff.diff import ModelDiff, Source, diff
from assay.artifacts.diff.page import page
from assay.artifacts.diff.picture import NARROW, document, fixed, sentence, shortened, strips, svg
from assay.artifacts.diff.reading import Confidence, Kind
from assay.artifacts.diff.rows import COLUMNS, NOTHING, most_changed, row
from assay.errors import ArtifactError, ConfigError

BASE = made.network()


def compared(old: Path, new: Path, *tensors: str) -> ModelDiff:
    return diff(Source(old), Source(new), tensors=tensors)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return made.write(tmp_path / "old" / "model.safetensors", BASE)


def test_the_same_tensors_in_another_container_are_the_same(tmp_path: Path, old: Path) -> None:
    np.savez(tmp_path / "new.npz", **BASE)  # type: ignore[arg-type]
    np.savez_compressed(tmp_path / "packed.npz", **BASE)  # type: ignore[arg-type]
    for other in ("new.npz", "packed.npz"):
        found = compared(old, tmp_path / other)
        assert found.reading.kind is Kind.CONTAINER
        assert not found.reading.differs
        assert found.changed == ()


def test_one_file_cut_into_shards_is_only_another_container(tmp_path: Path, old: Path) -> None:
    names = list(BASE)
    places: dict[str, str] = {}
    for number, part in enumerate((names[:4], names[4:])):
        file = f"model-{number + 1:05d}-of-00002.safetensors"
        made.write(tmp_path / "new" / file, {name: BASE[name] for name in part})
        places |= dict.fromkeys(part, file)
    (tmp_path / "new" / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert compared(old.parent, tmp_path / "new").reading.kind is Kind.CONTAINER


def test_a_metadata_edit_in_a_safetensors_header_is_only_the_container(tmp_path: Path, old: Path) -> None:
    from safetensors.numpy import save_file

    save_file(dict(BASE), tmp_path / "model.safetensors", metadata={"format": "pt"})
    found = compared(old, tmp_path / "model.safetensors")
    assert found.reading.kind is Kind.CONTAINER
    assert [one.what for one in found.files] == ["container"]


@pytest.mark.parametrize("how", ["changed", "added", "removed"])
def test_a_file_beside_the_tensors_is_a_difference(tmp_path: Path, old: Path, how: str) -> None:
    new = made.write(tmp_path / "new" / "model.safetensors", BASE).parent
    if how != "added":
        (old.parent / "config.json").write_text('{"heads": 4}')
    if how != "removed":
        (new / "config.json").write_text('{"heads": 8}')
    found = compared(old.parent, new)
    assert found.reading.kind is Kind.BESIDE
    assert found.reading.differs
    assert [(one.name, one.what) for one in found.files] == [("config.json", how)]


def test_what_lies_beside_the_arrays_of_a_skops_model_is_a_difference(tmp_path: Path) -> None:
    import skops.io
    from sklearn.linear_model import LogisticRegression

    rows, labels = np.random.default_rng(0).normal(size=(40, 2)), [0, 1] * 20
    for name, tolerance in (("old", 1e-4), ("new", 1e-3)):
        fitted = LogisticRegression().fit(rows, labels)
        fitted.tol = tolerance
        skops.io.dump(fitted, tmp_path / f"{name}.skops")
    found = compared(tmp_path / "old.skops", tmp_path / "new.skops")
    assert found.reading.kind is Kind.BESIDE
    assert found.files[0].what == "beside the tensors"


def test_a_member_of_an_archive_that_is_no_array_is_a_difference(tmp_path: Path) -> None:
    for name, word in (("old", "a"), ("new", "b")):
        np.savez(tmp_path / f"{name}.npz", w=np.ones(4, np.float32), words=np.array([word, {}], dtype=object))
    found = compared(tmp_path / "old.npz", tmp_path / "new.npz")
    assert found.reading.kind is Kind.BESIDE
    assert [(one.what, len(one.parts)) for one in found.files] == [("beside the tensors", 1)]


def test_a_checkpoint_saved_twice_is_the_same_and_one_with_other_code_is_not(tmp_path: Path) -> None:
    import torch

    kept = {name: torch.from_numpy(one) for name, one in BASE.items()}
    torch.save(kept, tmp_path / "old.pt")
    torch.save(kept, tmp_path / "again.pt")
    assert not compared(tmp_path / "old.pt", tmp_path / "again.pt").reading.differs
    torch.save(kept | {"epoch": 3}, tmp_path / "new.pt")
    found = compared(tmp_path / "old.pt", tmp_path / "new.pt")
    assert found.reading.kind is Kind.BESIDE
    assert found.files[0].parts == ("data.pkl",)
    torch.save({name: one + 1 for name, one in kept.items()}, tmp_path / "moved.pt")
    assert [one.what for one in compared(tmp_path / "old.pt", tmp_path / "moved.pt").files] == ["container"]


def test_a_damaged_file_is_not_another_architecture(tmp_path: Path, old: Path) -> None:
    new = tmp_path / "new.safetensors"
    content = old.read_bytes()
    new.write_bytes(b"\xff" * 8 + content[8:])
    found = compared(old, new)
    assert (found.reading.kind, found.reading.confidence) == (Kind.UNCLEAR, Confidence.UNSURE)
    assert found.reading.reason.startswith("new.safetensors cannot be read, it is damaged or another format; ")


def test_what_a_conversion_leaves_out_is_said(tmp_path: Path, old: Path) -> None:
    import torch

    torch.save({name: torch.from_numpy(one) for name, one in BASE.items()}, tmp_path / "new.pt")
    found = compared(old, tmp_path / "new.pt")
    assert found.reading.kind is Kind.CONTAINER
    assert found.notes == ("what PyTorch holds beside tensors (graph, settings, code) was not compared",)


def test_names_with_slashes_are_names_with_dots(tmp_path: Path, old: Path) -> None:
    moved = made.moved(BASE, 0.001)
    new = made.write(tmp_path / "new.safetensors", {name.replace(".", "/"): one for name, one in moved.items()})
    assert compared(old, new).reading.kind is Kind.FINE_TUNED


def test_a_renamed_tensor_is_found_by_its_content(tmp_path: Path, old: Path) -> None:
    weights = {("output.weight" if name == "head.weight" else name): one for name, one in BASE.items()}
    found = compared(old, made.write(tmp_path / "new.safetensors", weights))
    assert found.reading.kind is Kind.CONTAINER
    (one,) = found.changed
    assert (one.status, one.old and one.old.name, one.name) == (Status.RENAMED, "head.weight", "output.weight")
    assert row(one)[0] == "output.weight (was head.weight)"


def test_names_are_compared_without_what_a_wrapper_puts_in_front(tmp_path: Path, old: Path) -> None:
    weights = {f"module.{name}": one for name, one in made.moved(BASE, 0.001).items()}
    new = made.write(tmp_path / "new.safetensors", weights)
    for pair in ((old, new), (new, old)):
        found = compared(*pair)
        assert found.reading.kind is Kind.FINE_TUNED
        assert any("module." in note for note in found.notes)


def test_a_name_in_two_files_is_matched_within_its_file(tmp_path: Path) -> None:
    for side, values in {"old": (1, 2), "new": (1, 3)}.items():
        for file, value in zip("ab", values, strict=True):
            made.write(tmp_path / side / f"{file}.safetensors", {"w": np.full((4, 4), value, np.float32)})
    found = compared(tmp_path / "old", tmp_path / "new")
    (one,) = found.changed
    assert (one.place.file, one.measures and one.measures.max_change) == ("b.safetensors", 1.0)


def test_only_the_tensors_asked_for_are_compared(tmp_path: Path, old: Path) -> None:
    new = made.write(tmp_path / "new" / "model.safetensors", made.edited(BASE, "head.weight", lambda one: one + 1))
    assert not compared(old, new, "layers.*").reading.differs
    assert [one.name for one in compared(old, new, "head.*").changed] == ["head.weight"]
    with pytest.raises(ConfigError, match="nobody"):
        compared(old, new, "nobody")


def test_a_malformed_container_is_compared_as_bytes_and_said(tmp_path: Path, old: Path) -> None:
    new = tmp_path / "new" / "model.safetensors"
    new.parent.mkdir()
    new.write_bytes(old.read_bytes()[:-1])
    found = compared(old.parent, new.parent)
    assert found.reading.differs
    assert any("compared as bytes" in note for note in found.notes)


def test_what_cannot_be_a_model_is_refused(tmp_path: Path, old: Path) -> None:
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "model.safetensors").symlink_to(old)
    (tmp_path / "empty").mkdir()
    for bad in ("linked", "empty", "missing"):
        with pytest.raises(ArtifactError):
            compared(old, tmp_path / bad)


def test_files_without_any_tensor_are_compared_as_files(tmp_path: Path) -> None:
    for name, text in {"one": "1", "same": "1", "other": "2"}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    assert compared(tmp_path / "one.txt", tmp_path / "same.txt").reading.kind is Kind.IDENTICAL
    assert compared(tmp_path / "one.txt", tmp_path / "other.txt").reading.kind is Kind.BESIDE


def test_memory_is_bounded_by_blocks_not_by_the_tensor(tmp_path: Path) -> None:
    large = np.random.default_rng(0).normal(size=(4096, 4096)).astype(np.float32)  # 64 MB
    paths = [made.write(tmp_path / f"{n}.safetensors", {"w": large + np.float32(n)}) for n in (0, 1)]
    del large
    tracemalloc.start()
    try:
        found = compared(paths[0], paths[1])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.changed[0].measures is not None
    assert peak < 60 * 2**20


def test_the_most_changed_tensor_comes_first_and_every_cell_is_filled(tmp_path: Path, old: Path) -> None:
    weights = made.edited(made.moved(BASE, 0.001), "layers.1.bias", lambda one: one * 3)
    del weights["layers.0.bias"]
    weights |= {"new": np.zeros(3, np.float32), "head.weight": np.zeros((11, made.WIDTH), np.float32)}
    found = compared(old, made.write(tmp_path / "new.safetensors", weights))
    ordered = most_changed(found.changed)
    assert ordered[0].name == "layers.1.bias"
    assert [one.status for one in ordered[-3:]] == [Status.RESHAPED, Status.ADDED, Status.REMOVED]
    for one in ordered:
        assert len(row(one)) == len(COLUMNS)
        assert all(row(one))
    assert row(ordered[-1])[2] == NOTHING
    assert row(ordered[-3])[-1] == "10\u00d764 \u2192 11\u00d764"
    json.dumps(found.as_json(), allow_nan=False)


@pytest.fixture
def trained(tmp_path: Path, old: Path) -> ModelDiff:
    weights = {**made.moved(BASE, 0.001), "</title><script>x": np.ones(2, np.float32)}
    return compared(old, made.write(tmp_path / "new.safetensors", weights))


def test_the_picture_has_a_strip_a_kind_and_a_cell_a_layer(trained: ModelDiff) -> None:
    found = {strip.label: strip for strip in strips(trained.tensors)}
    assert sorted(found["layers.*.up.weight"].cells) == [0, 1, 2]
    assert list(found["head.weight"].cells) == [-1]
    root = ET.fromstring(svg(trained))  # noqa: S314 - our own text
    cells = [one for one in root.iter("{http://www.w3.org/2000/svg}rect") if len(one)]
    assert len(cells) == len(trained.tensors)
    assert root[0].text == sentence(trained)


def test_no_name_can_break_out_of_the_picture_or_the_page(trained: ModelDiff) -> None:
    for text in (
        svg(trained),
        svg(trained, NARROW),
        document(trained),
        fixed(trained),
        page(trained, old="<a>", new="&"),
    ):
        assert "<script" not in text
        assert "<a>" not in text
    for text in (document(trained), fixed(trained)):
        ET.fromstring(text)  # noqa: S314 - our own text


def test_the_page_fetches_nothing(trained: ModelDiff) -> None:
    text = page(trained, old="old", new="new").replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"https?://|src=|href=|<script|@import|url\(", text) == []
    assert "Content-Security-Policy" in text
    assert "prefers-color-scheme: dark" in text


def test_fixed_colours_need_no_style_sheet(trained: ModelDiff) -> None:
    assert "var(" not in fixed(trained)
    assert "var(--heat)" in document(trained)


def test_many_kinds_of_tensor_are_cut_and_the_changed_ones_kept(tmp_path: Path) -> None:
    names = [f"part_{'abcdefgh'[n // 10]}{'abcdefghij'[n % 10]}.weight" for n in range(70)]
    weights = {name: np.ones((2, 2), np.float32) for name in names}
    old = made.write(tmp_path / "old.safetensors", weights)
    new = made.write(tmp_path / "new.safetensors", {**weights, names[-1]: np.zeros((2, 2), np.float32)})
    text = svg(compared(old, new))
    assert names[-1] in text
    assert "and 22 more kinds of tensor" in text


def test_a_long_name_keeps_its_beginning_and_end() -> None:
    assert shortened("short", 10) == "short"
    text = shortened("model.layers.11.self_attn.q_proj.weight", 20)
    assert len(text) == 20
    assert text.startswith("model")
    assert text.endswith("q_proj.weight"[-9:])
