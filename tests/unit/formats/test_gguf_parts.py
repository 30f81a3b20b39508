from __future__ import annotations

import struct
from collections.abc import Sequence

import gguf
import pytest
from gguf.constants import GGML_QUANT_SIZES
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import FormatError
from assay.formats.base import Part, ViewContent
from assay.formats.gguf import MAX_KEYS, MAX_STRING_BYTES, MAX_TENSORS, TYPES, Gguf


def parts(raw: bytes) -> tuple[Part, ...]:
    return Gguf().parts(ViewContent(memoryview(raw)))


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def key(name: bytes, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def info(name: bytes, shape: Sequence[int], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def container(
    keys: Sequence[bytes], infos: Sequence[bytes], data: bytes = b"", *, version: int = 3, alignment: int = 32
) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(infos), len(keys)) + b"".join(keys) + b"".join(infos)
    return head + bytes(-len(head) % alignment) + data


TWO = [info(b"a", [4], 0, 0), info(b"b", [2, 3], 0, 32)]
DATA = bytes(range(32)) + bytes(range(24))


@pytest.mark.parametrize("version", [2, 3])
def test_the_fastest_dimension_comes_last(version: int) -> None:
    raw = container([], TWO, DATA, version=version)
    assert [(part.name, part.dtype, part.shape) for part in parts(raw)] == [("a", "F32", (4,)), ("b", "F32", (3, 2))]
    assert raw[parts(raw)[1].start : parts(raw)[1].end] == bytes(range(24))


def test_the_alignment_of_the_metadata_counts() -> None:
    keys = [key(b"general.alignment", 4, struct.pack("<I", 8))]
    raw = container(keys, [info(b"a", [1], 24, 0), info(b"b", [2], 24, 8)], b"\1" + bytes(7) + b"\2\3", alignment=8)
    assert [raw[part.start : part.end] for part in parts(raw)] == [b"\1", b"\2\3"]


def test_every_kind_of_metadata_is_read_over() -> None:
    strings = struct.pack("<IQ", 8, 2) + text(b"x") + text(b"yy")
    arrays = struct.pack("<IQ", 9, 1) + struct.pack("<IQ", 0, 3) + b"abc"
    keys = [key(b"s", 8, text(b"v")), key(b"ss", 9, strings), key(b"n", 9, arrays), key(b"d", 12, bytes(8))]
    assert len(parts(container(keys, TWO, DATA))) == 2


def test_block_sizes_are_those_of_ggml() -> None:
    # Q8_1 is never in a file; its block has two half floats since 2024, which the Python package did not follow.
    for kind, (block, width) in GGML_QUANT_SIZES.items():
        if kind != gguf.GGMLQuantizationType.Q8_1:
            assert TYPES[int(kind)] == (kind.name, block, width)


def test_a_newer_type_reaches_to_the_next_tensor() -> None:
    found = parts(container([], [info(b"a", [4], 99, 0), info(b"b", [2], 0, 32)], bytes(40)))
    assert [(part.dtype, part.end - part.start) for part in found] == [("GGML-99", 32), ("F32", 8)]


def test_the_last_tensor_may_be_padded_or_not_and_a_file_may_have_none() -> None:
    assert len(parts(container([], TWO, DATA))) == len(parts(container([], TWO, DATA + bytes(8)))) == 2
    assert parts(container([], [])) == ()


def test_versions_that_are_sound_but_not_read_have_no_parts() -> None:
    for version in (b"\1\0\0\0", b"\0\0\0\2", b"\0\0\0\3"):
        assert not Gguf().accepts(ViewContent(memoryview(b"GGUF" + version)))
    assert Gguf().accepts(ViewContent(memoryview(b"")))


@pytest.mark.parametrize(
    ("flaw", "raw", "words"),
    [
        ("empty", b"", "4 bytes are wanted"),
        ("no_gguf", b"GGML" + bytes(40), "does not begin"),
        ("version", container([], [], version=4), "version 4"),
        ("tensors", b"GGUF" + struct.pack("<IQQ", 3, MAX_TENSORS + 1, 0), "claims"),
        ("keys", b"GGUF" + struct.pack("<IQQ", 3, 0, MAX_KEYS + 1), "claims"),
        ("key_twice", container([key(b"k", 0, b"x")] * 2, []), "twice"),
        ("long_string", container([key(b"k", 8, struct.pack("<Q", MAX_STRING_BYTES + 1))], []), "a string claims"),
        ("odd_type", container([key(b"k", 77, b"")], []), "type 77"),
        ("deep", container([key(b"k", 9, struct.pack("<IQ", 9, 1) * 20)], []), "nested too deeply"),
        ("long_array", container([key(b"k", 9, struct.pack("<IQ", 8, 1 << 60))], []), "an array claims"),
        ("long_numbers", container([key(b"k", 9, struct.pack("<IQ", 12, 1 << 60))], []), "bytes are wanted"),
        ("alignment_type", container([key(b"general.alignment", 10, bytes(8))], []), "no 32-bit number"),
        ("alignment_zero", container([key(b"general.alignment", 4, bytes(4))], []), "alignment of 0"),
        ("name_twice", container([], [TWO[0], info(b"a", [2], 0, 32)], DATA), "names a tensor twice"),
        ("not_utf8", container([], [info(b"\xff", [4], 0, 0)], DATA), "not UTF-8"),
        ("dimensions", container([], [info(b"a", [1] * 5, 0, 0)], DATA), "5 dimensions"),
        ("blocks", container([], [info(b"a", [33], 2, 0)], DATA), "no whole blocks"),
        ("overlap", container([], [TWO[0], info(b"b", [2], 0, 0)], DATA), "overlaps"),
        ("gap", container([], [TWO[0], info(b"b", [2], 0, 64)], bytes(72)), "leaves a gap"),
        ("unaligned", container([], [TWO[0], info(b"b", [2], 0, 16)], DATA), "not aligned"),
        ("trailing", container([], TWO, DATA + b"x"), "bytes follow"),
        ("cut", container([], TWO, DATA[:-1]), "bytes are missing"),
        ("absurd", container([], [info(b"a", [1 << 62, 1 << 62], 0, 0)], DATA), "bytes are missing"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_in_gguf(flaw: str, raw: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        parts(raw)
    assert flaw


@given(st.binary(max_size=200))
def test_any_bytes_after_the_mark_are_parts_or_a_format_error_in_gguf(raw: bytes) -> None:
    try:
        found = parts(b"GGUF\3\0\0\0" + raw)
    except FormatError:
        return
    assert all(part.end <= len(raw) + 8 for part in found)
