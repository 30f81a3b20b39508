from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from assay.errors import FormatError
from assay.formats.base import Part, ViewContent
from assay.formats.safetensors import MAX_HEADER_BYTES, Safetensors


def parts(raw: bytes) -> tuple[Part, ...]:
    return Safetensors().parts(ViewContent(memoryview(raw)))


def container(header: Mapping[str, object] | bytes, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(start: int, end: int, shape: list[object] | None = None, dtype: str = "U8") -> dict[str, object]:
    return {"dtype": dtype, "shape": [end - start] if shape is None else shape, "data_offsets": [start, end]}


def test_each_tensor_has_its_own_bytes() -> None:
    arrays = {"b": np.arange(6, dtype="f4").reshape(2, 3), "a": np.arange(4, dtype="i8"), "e": np.zeros((0, 2))}
    raw = save(arrays, metadata={"format": "np"})
    found = {part.name: part for part in parts(raw)}
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert found[name].shape == array.shape
        assert raw[found[name].start : found[name].end] == array.tobytes()
    assert parts(raw)[-1].end == len(raw)


def test_half_bytes_are_counted_in_bits() -> None:
    assert parts(container({"w": tensor(0, 3, [2, 3], "F4")}, bytes(3)))[0].end == 3 + len(
        container({"w": tensor(0, 3, [2, 3], "F4")}, b"")
    )


@pytest.mark.parametrize(
    ("flaw", "raw", "words"),
    [
        ("empty", b"", "needs 8 bytes"),
        ("cut_header", container({}, b"")[:-1], "needs 2 bytes"),
        ("huge_header", (1 << 40).to_bytes(8, "little"), f"at most {MAX_HEADER_BYTES}"),
        ("no_object", container(b"[1]", b""), "begin with"),
        ("white_space_first", container(b" {}", b""), "begin with"),
        ("no_json", container(b"{'a'}", b""), "not the JSON object"),
        ("not_utf8", container(b'{"\xff":1}', b""), "not the JSON object"),
        ("deep", container(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b""), "not the JSON object"),
        ("nan", container(b'{"a":NaN}', b""), "holds NaN"),
        ("name_twice", container(b'{"a":1,"a":2}', b""), "says a name twice"),
        ("metadata_number", container({"__metadata__": {"a": 1}}, b""), "map text to text"),
        ("metadata_list", container({"__metadata__": []}, b""), "map text to text"),
        ("no_tensor", container({"a": 1}, b""), "must have exactly"),
        ("unknown_field", container({"a": {**tensor(0, 1), "x": 1}}, b"0"), "must have exactly"),
        ("dtype", container({"a": tensor(0, 1, dtype="F12")}, b"0"), "unknown dtype"),
        ("dtype_list", container({"a": {**tensor(0, 1), "dtype": []}}, b"0"), "unknown dtype"),
        ("shape_text", container({"a": {**tensor(0, 1), "shape": "1"}}, b"0"), "list as shape"),
        ("three_offsets", container({"a": {**tensor(0, 1), "data_offsets": [0, 1, 2]}}, b"0"), "list as shape"),
        ("negative", container({"a": tensor(0, 1, [-1])}, b"0"), "whole numbers"),
        ("truth_value", container({"a": tensor(0, 1, [True])}, b"0"), "whole numbers"),
        ("fraction", container({"a": tensor(0, 1, [1.0])}, b"0"), "whole numbers"),
        ("backwards", container({"a": {**tensor(0, 0, [0]), "data_offsets": [1, 0]}}, b"0"), "does not fill"),
        ("shape_edited", container({"a": tensor(0, 4, [5])}, bytes(4)), "does not fill"),
        ("dtype_edited", container({"a": tensor(0, 4, [4], "F16")}, bytes(4)), "does not fill"),
        ("half_byte", container({"a": tensor(0, 1, [3], "F4")}, bytes(1)), "does not fill"),
        ("overlap", container({"a": tensor(0, 4), "b": tensor(2, 6)}, bytes(6)), "overlaps"),
        ("gap", container({"a": tensor(0, 4), "b": tensor(5, 6)}, bytes(6)), "leaves a gap"),
        ("trailing", container({"a": tensor(0, 4)}, bytes(5)), "trailing bytes"),
        ("missing", container({"a": tensor(0, 4)}, bytes(3)), "missing bytes"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(flaw: str, raw: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        parts(raw)
    assert flaw


@given(st.binary(max_size=200))
def test_any_bytes_are_parts_or_a_format_error(raw: bytes) -> None:
    try:
        found = parts(raw)
    except FormatError:
        return
    assert sum(part.end - part.start for part in found) <= len(raw)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_changed_byte_of_a_header_escapes_as_another_error(at: int, flip: int) -> None:
    raw = bytearray(save({"a": np.zeros(3), "b": np.ones((2, 2), dtype="i4")}))
    raw[at % len(raw)] ^= flip
    try:
        found = parts(bytes(raw))
    except FormatError:
        return
    assert found[-1].end == len(raw)
