"""What every container format promises."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from itertools import pairwise

import h5py
import numpy as np
import pytest
from gguf import GGUFReader
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save
from tests import containers

from assay.errors import FormatError
from assay.formats.base import OPAQUE, WIDTHS, Format, Part, ViewContent
from assay.formats.shelf import TABLE, find

RAW = {ending: make() for ending, make in containers.SOUND.items()}
# Here the first bytes decide, because other files have such names too; what does not begin so has no parts.
SHARED_NAMES = {".pt", ".pth", ".bin", ".ckpt", ".h5", ".hdf5", ".txt", ".json", ".ubj"}
# Tensors of these may share bytes: views of one storage, interleaved chunks.
OVERLAPPING = {".pt", ".pth", ".bin", ".ckpt", ".hdf5"}


def container(ending: str) -> Format:
    found = find(f"model{ending}", ViewContent(memoryview(RAW[ending])))
    assert found is not None
    return found


def parts(ending: str, raw: bytes) -> tuple[Part, ...]:
    return container(ending).parts(ViewContent(memoryview(raw)))


def elements(found: Format, raw: bytes, part: Part) -> bytes:
    return b"".join(found.elements(ViewContent(memoryview(raw)), part))


def consumed(found: Format, raw: bytes) -> None:
    """Every part is inside, and its elements come or are refused."""
    seen = found.parts(ViewContent(memoryview(raw)))
    assert len({part.name for part in seen}) == len(seen)
    for part in seen:
        assert 0 <= part.start <= part.end
        if not part.file:
            assert part.end <= len(raw)
            elements(found, raw, part)


def test_every_format_on_the_shelf_is_tested_here() -> None:
    assert set(containers.SOUND) == set(TABLE)


def test_a_file_of_no_known_format_has_no_parts() -> None:
    nothing = ViewContent(memoryview(b""))
    assert find("model.dat", nothing) is None
    assert find("safetensors", nothing) is None


@pytest.mark.parametrize("ending", sorted(TABLE))
def test_where_other_files_have_such_names_the_first_bytes_decide(ending: str) -> None:
    for raw in (b"", b'{"a": 1}', b"plain text\n"):
        assert (find(f"other{ending}", ViewContent(memoryview(raw))) is None) == (ending in SHARED_NAMES)


@pytest.mark.parametrize("ending", sorted(TABLE))
def test_a_format_recognises_its_own_name_in_any_case(ending: str) -> None:
    for name in (f"a/b{ending}", f"A{ending.upper()}"):
        found = find(name, ViewContent(memoryview(RAW[ending])))
        assert found is not None
        assert found.recognises(name)
        assert not found.recognises("model.dat")
        assert found.name


@pytest.mark.parametrize("ending", sorted(TABLE))
def test_parts_are_in_order_inside_the_file_and_do_not_overlap(ending: str) -> None:
    found = parts(ending, RAW[ending])
    assert found
    assert len({part.name for part in found}) == len(found)
    assert found[0].start >= 0
    assert max(part.end for part in found) <= len(RAW[ending])
    assert all(one.start <= other.start for one, other in pairwise(found))
    assert ending in OVERLAPPING or all(one.end <= other.start for one, other in pairwise(found))


@pytest.mark.parametrize("ending", sorted(TABLE))
def test_what_is_plain_lies_in_the_file_as_it_is(ending: str) -> None:
    raw = RAW[ending]
    for part in parts(ending, raw):
        found = elements(container(ending), raw, part)
        if part.plain:
            assert found == raw[part.start : part.end]
        if part.dtype in WIDTHS:
            assert len(found) == WIDTHS[part.dtype] * int(np.prod(part.shape))


@pytest.mark.parametrize("ending", sorted(TABLE))
def test_trailing_and_missing_bytes_are_refused(ending: str) -> None:
    for raw in (RAW[ending] + b"\0", RAW[ending][:-1], RAW[ending][: len(RAW[ending]) // 2], b""):
        with pytest.raises(FormatError):
            parts(ending, raw)


@pytest.mark.parametrize("ending", sorted(TABLE))
@settings(max_examples=50, deadline=None)
@given(raw=st.binary(max_size=300), keep=st.integers(0, 64))
def test_any_bytes_lead_to_parts_or_a_format_error(ending: str, raw: bytes, keep: int) -> None:
    for mutant in (raw, RAW[ending][:keep] + raw):
        try:
            consumed(container(ending), mutant)
        except FormatError:
            continue


@pytest.mark.parametrize("ending", sorted(TABLE))
def test_changed_bytes_lead_to_parts_or_a_format_error(ending: str) -> None:
    chance = random.Random(ending)  # noqa: S311  chooses places, guards nothing
    for _ in range(200):
        raw = bytearray(RAW[ending])
        for _ in range(chance.choice([1, 1, 2, 4])):
            raw[chance.randrange(len(raw))] = chance.choice([0, 1, 0x7F, 0xFF, chance.randrange(256)])
        if chance.random() < 0.2:
            at = chance.randrange(len(raw))
            del raw[at : at + chance.randrange(1, 9)]
        try:
            consumed(container(ending), bytes(raw))
        except FormatError:
            continue


# The same weights, however they are written: name of the file and how it is made.
SAME: dict[str, Callable[[], bytes]] = {
    "safetensors": containers.SOUND[".safetensors"],
    "npz": containers.npz,
    "compressed.npz": lambda: containers.npz(packed=True),
    "columns.npz": lambda: containers.npz(columns=True),
    "packed_columns.npz": lambda: containers.npz(columns=True, packed=True),
    "big_endian.npz": lambda: containers.npz(big=True),
    "big_endian_columns.npz": lambda: containers.npz(big=True, columns=True, packed=True),
    "pt": containers.torch_zip,
    "gguf": containers.gguf_file,
    "onnx": containers.onnx_raw,
    "h5": containers.hdf5,
    "chunked.h5": lambda: containers.hdf5(chunks=True, compression="gzip", shuffle=True, fletcher32=True),
    "big_endian.h5": lambda: containers.hdf5(
        {name: one.astype(one.dtype.newbyteorder(">")) for name, one in containers.ARRAYS.items()}
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_weights_have_the_same_elements_in_every_container(name: str) -> None:
    raw = SAME[name]()
    content = ViewContent(memoryview(raw))
    found = find(f"model.{name}", content)
    assert found is not None
    tensors = {
        (part.name, part.dtype, part.shape, elements(found, raw, part))
        for part in found.parts(content)
        if part.dtype != OPAQUE
    }
    wanted = {(key, "F32", one.shape, one.tobytes()) for key, one in containers.ARRAYS.items()}
    assert tensors == wanted


KINDS = ["<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "i1", "<u8", "<u4", "<u2", "u1", "?", "<c8", "<c16"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_canonical_element_type_is_the_same_word_everywhere(kind: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(kind)
    words = set()
    made: dict[str, bytes] = {
        ".npy": containers.npy(array),
        ".npz": containers.npz({"w": array}),
        ".pt": containers.torch_zip({"w": array}),
        ".h5": containers.hdf5({"w": array}),
    }
    if kind != "<c16":
        made[".safetensors"] = save({"w": array})
    for ending, raw in made.items():
        found = container(ending)
        (part,) = (one for one in found.parts(ViewContent(memoryview(raw))) if one.dtype != OPAQUE)
        assert (part.shape, elements(found, raw, part)) == ((2, 3), array.tobytes())
        words.add(part.dtype)
    assert len(words) == 1
    assert words <= set(WIDTHS)


def test_ranges_are_those_the_owning_library_reads() -> None:
    gguf = containers.gguf_file(quantised=True)
    there = {part.name: part for part in parts(".gguf", gguf)}
    assert there["packed"].dtype == "Q4_0"
    assert there["packed"].shape == (2, 64)
    with h5py.File(io.BytesIO(RAW[".h5"]), "r") as file:
        for part in parts(".h5", RAW[".h5"]):
            assert file[part.name].id.get_offset() == part.start
    model = json.loads(RAW[".json"])
    trees = [part for part in parts(".json", RAW[".json"]) if ".trees." in part.name]
    assert [json.loads(RAW[".json"][part.start : part.end]) for part in trees] == model["learner"]["gradient_booster"][
        "model"
    ]["trees"]


def test_gguf_offsets_are_those_of_its_own_reader(tmp_path: str) -> None:
    raw = containers.gguf_file(quantised=True)
    path = f"{tmp_path}/model.gguf"
    with open(path, "wb") as file:  # noqa: PTH123  # the reader takes a path
        file.write(raw)
    theirs = {tensor.name: (tensor.data_offset, tensor.n_bytes) for tensor in GGUFReader(path).tensors}
    assert {part.name: (part.start, part.end - part.start) for part in parts(".gguf", raw)} == theirs
