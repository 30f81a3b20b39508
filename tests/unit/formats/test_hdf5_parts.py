from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import containers

from assay.errors import FormatError
from assay.formats import hdf5 as module
from assay.formats import hdf5_chunks
from assay.formats import hdf5_types as types
from assay.formats.base import Part, ViewContent
from assay.formats.hdf5 import Hdf5
from assay.formats.hdf5_objects import Message
from assay.formats.keras import Keras

DRAW = np.random.default_rng(3)


def parts(raw: bytes) -> dict[str, Part]:
    return {part.name: part for part in Hdf5().parts(ViewContent(memoryview(raw)))}


def elements(raw: bytes, part: Part) -> bytes:
    return b"".join(Hdf5().elements(ViewContent(memoryview(raw)), part))


def written(fill: Callable[[Any], object], **how: object) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **how) as file:
        fill(file)
    return buffer.getvalue()


def canonical(array: npt.NDArray[np.generic]) -> bytes:
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


KINDS: dict[str, npt.NDArray[Any]] = {
    "matrix": DRAW.normal(size=(3, 4)).astype("f4"),
    "big_endian": DRAW.normal(size=5).astype(">f8"),
    "half": np.arange(3, dtype="f2"),
    "bytes": np.arange(3, dtype="u1"),
    "signed": np.arange(-3, 3, dtype=">i2"),
    "truth": np.array([True, False]),
    "complex": np.arange(3, dtype="c8"),
    "big_complex": np.arange(3, dtype=">c16"),
    "scalar": np.array(3.5),
    "text": np.array([b"ab", b"c"]),
    "empty": np.zeros((0, 3), "f4"),
}


@pytest.mark.parametrize("how", ["earliest", "v108", "v110", "v112"])
def test_every_dataset_has_its_path_and_its_elements(how: str) -> None:
    def fill(file: h5py.File) -> None:
        for name, array in list(KINDS.items())[:4]:
            file.create_dataset(f"layers/dense/{name}", data=array)

    found = parts(written(fill, libver=how))
    assert len(found) == 4
    for name, array in list(KINDS.items())[:4]:
        assert elements(written(fill, libver=how), found[f"layers/dense/{name}"]) == canonical(array)


def test_every_kind_of_element_is_read_by_default() -> None:
    raw = written(lambda file: [file.create_dataset(name, data=array) for name, array in KINDS.items()])
    found = parts(raw)
    for name, array in KINDS.items():
        assert found[name].shape == array.shape
        assert elements(raw, found[name]) == canonical(array)
    words = {name: found[name].dtype for name in KINDS}
    assert words == {
        "matrix": "F32",
        "big_endian": "F64",
        "half": "F16",
        "bytes": "U8",
        "signed": "I16",
        "truth": "BOOL",
        "complex": "C64",
        "big_complex": "C128",
        "scalar": "F64",
        "text": "S2",
        "empty": "F32",
    }


def test_what_is_no_array_of_numbers_is_bytes() -> None:
    def fill(file: h5py.File) -> None:
        file["words"] = "of any length"
        file["rows"] = np.array([(1, 2.0)], dtype="i4,f8")
        file.create_dataset("lzf", data=np.arange(1000), chunks=(100,), compression="lzf")
        file.create_dataset("null", data=h5py.Empty("f4"))
        file.create_dataset("never", shape=(5,), dtype="f4")

    assert {part.dtype for part in parts(written(fill)).values()} == {"bytes"}


CHUNKED: dict[str, dict[str, Any]] = {
    "plain": {"chunks": (7, 11)},
    "one": {"chunks": (50, 30)},
    "packed": {"chunks": (7, 11), "compression": "gzip"},
    "shuffled": {"chunks": (16, 16), "compression": "gzip", "shuffle": True, "fletcher32": True},
    "checksums": {"chunks": (50, 3), "fletcher32": True},
    "growing": {"chunks": (7, 30), "maxshape": (None, 40)},
}


@pytest.mark.parametrize("block", [1 << 26, 1 << 12, 100])
@pytest.mark.parametrize("how", CHUNKED)
@pytest.mark.parametrize("kind", ["<f4", ">f8"])
def test_chunks_are_put_in_order(how: str, kind: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_chunks, "BLOCK_BYTES", block)
    array = DRAW.normal(size=(50, 30)).astype(kind)
    raw = written(lambda file: file.create_dataset("w", data=array, **CHUNKED[how]))
    (part,) = parts(raw).values()
    assert not part.plain
    assert elements(raw, part) == canonical(array)


def test_chunks_that_were_never_written_hold_the_fill_value() -> None:
    def fill(file: h5py.File) -> None:
        made = file.create_dataset("w", shape=(20, 5), dtype="f4", chunks=(4, 5), fillvalue=2.5)
        made[4:8] = 1.0
        file.create_dataset("zero", shape=(8,), dtype="i2", chunks=(4,))

    raw = written(fill)
    wanted = np.full((20, 5), 2.5, "<f4")
    wanted[4:8] = 1.0
    assert elements(raw, parts(raw)["w"]) == wanted.tobytes()
    assert elements(raw, parts(raw)["zero"]) == bytes(16)


def test_a_single_packed_chunk_of_the_newer_form_is_read() -> None:
    array = DRAW.normal(size=(5, 3))
    raw = written(lambda file: file.create_dataset("w", data=array, chunks=(5, 3), compression="gzip"), libver="v110")
    assert elements(raw, parts(raw)["w"]) == canonical(array)


def test_many_links_make_a_deep_tree() -> None:
    raw = written(lambda file: [file.create_dataset(f"d{i}", data=np.full(2, i)) for i in range(500)])
    assert len(parts(raw)) == 500


def test_a_dataset_with_two_names_has_both() -> None:
    def fill(file: h5py.File) -> None:
        file["a"] = np.arange(3)
        file["b"] = file["a"]

    assert {name: part.start for name, part in parts(written(fill)).items()}.keys() == {"a", "b"}


def test_files_that_use_more_than_is_read_have_no_parts() -> None:
    many = written(lambda file: [file.create_dataset(f"d{i}", data=i) for i in range(50)], libver="v110")
    chunks = written(lambda file: file.create_dataset("w", data=np.ones(99), chunks=(9,)), libver="v110")
    block = written(lambda file: file.create_dataset("w", data=1), userblock_size=512)
    assert parts(many) == parts(chunks) == {}
    assert not Hdf5().accepts(ViewContent(memoryview(block)))


def soft(file: h5py.File) -> None:
    file["s"] = h5py.SoftLink("/w")


def outside(file: h5py.File) -> None:
    file["s"] = h5py.ExternalLink("other.h5", "/w")


def circle(file: h5py.File) -> None:
    file.create_group("g")["g"] = file["/"]


def elsewhere(file: h5py.File) -> None:
    file.create_dataset("w", shape=(3,), dtype="f4", external=[("/etc/passwd", 0, 12)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "w", (3,))
    file.create_virtual_dataset("v", layout)


@pytest.mark.parametrize("how", ["earliest", "v110"])
@pytest.mark.parametrize(
    ("fill", "words"),
    [
        (soft, "refused"),
        (outside, "refused"),
        (circle, "reached in two ways"),
        (elsewhere, "in another file"),
        (virtual, "made of other datasets"),
    ],
)
def test_links_that_lead_elsewhere_are_refused(fill: Callable[[Any], object], words: str, how: str) -> None:
    with pytest.raises(FormatError, match=words):
        parts(written(fill, libver=how))


ONE = containers.hdf5({"w": np.arange(6, dtype="f4"), "x": np.arange(6, dtype="f4")})


def test_datasets_that_overlap_are_refused() -> None:
    first, second = parts(ONE)["w"].start, parts(ONE)["x"].start
    raw = ONE.replace(second.to_bytes(8, "little"), first.to_bytes(8, "little"))
    assert raw != ONE
    with pytest.raises(FormatError, match="overlap"):
        parts(raw)


def test_a_dataset_outside_the_file_or_of_another_size_is_refused() -> None:
    start = parts(ONE)["x"].start.to_bytes(8, "little")
    with pytest.raises(FormatError, match="it ends at byte"):
        parts(ONE.replace(start, (len(ONE) - 8).to_bytes(8, "little")))
    with pytest.raises(FormatError, match="does not fill"):
        parts(ONE.replace(start + (24).to_bytes(8, "little"), start + (20).to_bytes(8, "little")))


def test_a_chunk_that_lies_about_its_place_is_refused() -> None:
    raw = written(lambda file: file.create_dataset("w", data=np.arange(20, dtype="f4"), chunks=(5,)))
    at = raw.index(b"TREE\x01") + 24
    key = 24  # size, mask, place, 0; then the address
    place, address = at + 8, at + key

    def edited(where: int, value: int) -> bytes:
        return raw[:where] + value.to_bytes(8, "little") + raw[where + 8 :]

    for changed, words in (
        (edited(place, 5), "listed twice"),
        (edited(place, 3), "does not begin where one can"),
        (edited(address, len(raw) - 3), "a chunk ends at byte"),
    ):
        with pytest.raises(FormatError, match=words):
            parts(changed)


def test_a_damaged_chunk_is_refused_when_it_is_read() -> None:
    raw = bytearray(written(lambda file: file.create_dataset("w", data=np.ones(99), chunks=(99,), compression=4)))
    (part,) = parts(bytes(raw)).values()
    raw[part.start] ^= 0xFF
    with pytest.raises(FormatError, match="damaged"):
        elements(bytes(raw), part)


def test_a_chunk_of_another_size_is_refused_when_it_is_read() -> None:
    raw = written(lambda file: file.create_dataset("w", data=np.ones(99), chunks=(99,), shuffle=True))
    at = raw.index(b"TREE\x01") + 24
    raw = raw[:at] + (99 * 8 - 8).to_bytes(4, "little") + raw[at + 4 :]
    with pytest.raises(FormatError, match="unpacks to"):
        elements(raw, parts(raw)["w"])


def test_shapes_that_only_cost_time_are_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = written(lambda file: file.create_dataset("w", shape=(10**6, 10**6), dtype="f8", chunks=(10, 10)))
    assert parts(raw)["w"].dtype == "bytes"
    monkeypatch.setattr(module, "MAX_CHUNKS", 2)
    with pytest.raises(FormatError, match="too many"):
        parts(written(lambda file: file.create_dataset("w", data=np.ones(99), chunks=(9,))))


@pytest.mark.parametrize(
    ("flaw", "raw", "words"),
    [
        ("empty", b"", "the superblock"),
        ("no_hdf5", bytes(96), "does not begin"),
        ("longer", ONE + b"x", "claims to end"),
        ("no_header", ONE[:64] + (8).to_bytes(8, "little") + ONE[72:], "no object header"),
        ("no_heap", ONE.replace(b"HEAP", b"HEAR"), "no sound heap"),
        ("no_tree", ONE.replace(b"TREE", b"TREF"), "not the one its tree needs"),
        ("no_symbols", ONE.replace(b"SNOD", b"SNOW"), "no sound symbol node"),
        ("same_name", ONE.replace(b"x\0", b"w\0"), "two links of one name"),
        ("slash", ONE.replace(b"x\0", b"/\0"), "has the name"),
        ("not_utf8", ONE.replace(b"x\0", b"\xff\0"), "not UTF-8"),
    ],
)
def test_what_no_hdf5_file_says_is_refused(flaw: str, raw: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        parts(raw)
    assert flaw


MIXED = [
    written(lambda file: [file.create_dataset(f"g/{name}", data=array) for name, array in KINDS.items()]),
    written(lambda file: file.create_dataset("w", data=np.ones((20, 30)), **CHUNKED["shuffled"])),
    written(lambda file: file.create_dataset("g/w", data=np.ones((20, 30))), libver="v110"),
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(MIXED), st.integers(0, 100_000), st.sampled_from([0, 1, 0x7F, 0xFF, 0x10]))
def test_no_changed_byte_of_hdf5_escapes_as_another_error(raw: bytes, at: int, value: int) -> None:
    changed = bytearray(raw)
    changed[at % len(raw)] = value
    try:
        for part in parts(bytes(changed)).values():
            assert 0 <= part.start <= part.end <= len(raw)
            elements(bytes(changed), part)
    except FormatError:
        return


def keras(weights: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("config.json", json.dumps({}))
        archive.writestr("model.weights.h5", weights)
    return buffer.getvalue()


@pytest.mark.parametrize("how", [{}, {"chunks": True, "compression": "gzip"}])
@pytest.mark.parametrize("kind", ["<f4", ">f4"])
def test_the_weights_of_keras_lie_in_the_archive(how: dict[str, Any], kind: str) -> None:
    array = DRAW.normal(size=(8, 9)).astype(kind)
    raw = keras(containers.hdf5({"layers/dense/vars/0": array}, **how))
    content = ViewContent(memoryview(raw))
    config, weight = Keras().parts(content)
    assert (config.name, weight.name, weight.shape) == ("config.json", "layers/dense/vars/0", (8, 9))
    assert b"".join(Keras().elements(content, weight)) == canonical(array)
    assert raw[config.start : config.end] == b"{}"


def test_packed_or_unreadable_weights_are_one_part_and_old_files_have_none() -> None:
    packed = Keras().parts(ViewContent(memoryview(keras(ONE, zipfile.ZIP_DEFLATED))))
    assert [(part.name, part.dtype) for part in packed] == [("config.json", "bytes"), ("model.weights.h5", "bytes")]
    many = written(lambda file: [file.create_dataset(f"d{i}", data=i) for i in range(50)], libver="v110")
    assert [part.name for part in Keras().parts(ViewContent(memoryview(keras(many))))][1] == "model.weights.h5"
    assert not Keras().accepts(ViewContent(memoryview(ONE)))


def message(kind: int, *data: int | bytes) -> Message:
    raw = b"".join(one if isinstance(one, bytes) else bytes([one]) for one in data)
    return Message(kind, 0, raw, shared=False)


def address(value: int) -> bytes:
    return value.to_bytes(8, "little")


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda: types.shape(message(1, 1, 99, 0, 0)), "no sound shape"),
        (lambda: types.shape(message(1, 1, 2, 0, bytes(5))), "cut off"),
        (lambda: types.kind(b"\x10"), "no sound element type"),
        (lambda: types.storage(message(8, 3, 9), 1), "unknown layout"),
        (lambda: types.storage(message(8, 3, 0, b"\xff\xff"), 1), "ends outside"),
        (lambda: types.storage(message(8, 3, 2, 5, address(0)), 1), "other dimensions"),
        (lambda: types.storage(message(8, 3, 2, 2, address(0), bytes(8)), 1), "chunks without elements"),
        (lambda: types.storage(message(8, 4, 2, 0, 5, 1), 1), "other dimensions"),
        (lambda: types.filters(b"\x07\x01"), "no sound filters"),
        (lambda: types.filters(b"\x02\x01\x01\x00"), "cut off"),
        (lambda: types.element_count((1 << 40, 1 << 40)), "absurd shape"),
    ],
)
def test_a_description_that_is_none_is_refused(read: Callable[[], object], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        read()


def test_newer_descriptions_are_read_as_far_as_they_are_known() -> None:
    single = message(8, 4, 2, 2, 2, 1, 5, 4, 1, address(40), bytes(4), address(1000))
    assert types.storage(single, 1) == types.Storage(types.CHUNKED, 1000, 40, (5,), types.SINGLE_CHUNK)
    without_filter = message(8, 4, 2, 2, 2, 1, 5, 4, 1, address(40), b"\1\0\0\0", address(1000))
    assert types.storage(without_filter, 1) is None
    implicit = message(8, 4, 2, 0, 2, 1, 5, 4, 2, address(1000))
    assert types.storage(implicit, 1) == types.Storage(types.CHUNKED, 1000, 0, (5,), types.IMPLICIT)
    assert types.storage(message(8, 4, 2, 0, 2, 1, 5, 4, 3, 0), 1) is None
    assert types.storage(message(8, 1, 1), 1) is None
    assert types.fill(b"\x03\x20" + (4).to_bytes(4, "little") + b"abcd", 4) == b"abcd"
    assert types.fill(b"\x03\x00", 4) == bytes(4)
    assert types.filters(b"\x02\x01\x01\x00\x00\x00\x01\x00\x06\0\0\0") == ((types.DEFLATE, (6,)),)


def test_chunks_one_behind_the_other_are_found() -> None:
    def early(file: h5py.File) -> None:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((4,))
        plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        space = h5py.h5s.create_simple((10,))
        made = h5py.h5d.create(file.id, b"w", h5py.h5t.IEEE_F32LE, space, plist)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(10, dtype="f4"))

    raw = written(early, libver="v110")
    assert elements(raw, parts(raw)["w"]) == np.arange(10, dtype="<f4").tobytes()
