from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tests import containers

from assay.errors import FormatError
from assay.formats import onnx as module
from assay.formats.base import Part, ViewContent
from assay.formats.onnx import Onnx

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)


def parts(raw: bytes) -> tuple[Part, ...]:
    return Onnx().parts(ViewContent(memoryview(raw)))


def elements(raw: bytes, part: Part) -> bytes:
    return b"".join(Onnx().elements(ViewContent(memoryview(raw)), part))


def with_tensors(*tensors: TensorProto) -> bytes:
    return bytes(containers.onnx_model({"w": WEIGHT}, tensors).SerializeToString())


def raw_model(*tensors: TensorProto) -> bytes:
    """A graph of these initializers that no checker has seen."""
    return bytes(onnx.ModelProto(graph=onnx.GraphProto(initializer=tensors)).SerializeToString())


TYPED = [
    (TensorProto.FLOAT, "F32", "<f4", [1.5, -2.0]),
    (TensorProto.DOUBLE, "F64", "<f8", [1.5, -2.0]),
    (TensorProto.INT32, "I32", "<i4", [1, -2, 300_000]),
    (TensorProto.INT16, "I16", "<i2", [1, -2]),
    (TensorProto.INT8, "I8", "i1", [1, -2]),
    (TensorProto.UINT8, "U8", "u1", [1, 200]),
    (TensorProto.UINT16, "U16", "<u2", [1, 60_000]),
    (TensorProto.INT64, "I64", "<i8", [-1, 1 << 40]),
    (TensorProto.UINT32, "U32", "<u4", [1 << 31]),
    (TensorProto.UINT64, "U64", "<u8", [1 << 63]),
    (TensorProto.BOOL, "BOOL", "?", [True, False]),
    (TensorProto.FLOAT16, "F16", "<f2", [1.0, -2.5]),
    (TensorProto.COMPLEX64, "C64", "<c8", [1 + 2j]),
    (TensorProto.COMPLEX128, "C128", "<c16", [1 + 2j]),
]


@pytest.mark.parametrize(("kind", "word", "numpy", "values"), TYPED)
def test_numbers_that_stand_one_by_one_are_the_same_elements(
    kind: int, word: str, numpy: str, values: Sequence[Any]
) -> None:
    raw = with_tensors(helper.make_tensor("t", kind, [len(values)], values))
    (part,) = (one for one in parts(raw) if one.name == "t")
    assert (part.dtype, part.shape) == (word, (len(values),))
    assert elements(raw, part) == np.array(values, dtype=numpy).tobytes()


def test_small_types_are_counted_in_bits() -> None:
    packed = onnx.TensorProto(name="t", data_type=TensorProto.INT4, dims=[3], raw_data=b"\x21\x03")
    typed = onnx.TensorProto(name="u", data_type=TensorProto.UINT4, dims=[3], int32_data=[0x21, 0x03])
    raw = raw_model(packed, typed)
    assert [(part.dtype, elements(raw, part)) for part in parts(raw)] == [("I4", b"\x21\x03"), ("U4", b"\x21\x03")]


def test_unpacked_numbers_are_read_too() -> None:
    # Two floats, each with its own tag (field 4, 32 bits), as proto2 writers put them.
    floats = np.array([1.5, -2.0], dtype="<f4")
    inner = b"\x08\x02\x10\x01" + b"".join(b"\x25" + one.tobytes() for one in floats) + b"\x42\x01t"
    graph = b"\x2a" + bytes([len(inner)]) + inner
    raw = b"\x3a" + bytes([len(graph)]) + graph
    (part,) = parts(raw)
    assert not part.plain
    assert elements(raw, part) == floats.tobytes()


def test_tensors_of_attributes_subgraphs_and_functions_are_named() -> None:
    constant = helper.make_node("Constant", [], ["q"], value=numpy_helper.from_array(WEIGHT, "ignored"))
    out = helper.make_tensor_value_info("q", TensorProto.FLOAT, [3, 4])
    branch = helper.make_graph([constant], "branch", [], [out], [numpy_helper.from_array(WEIGHT, "inner")])
    choose = helper.make_node("If", ["flag"], ["out"], then_branch=branch, else_branch=branch)
    flag = numpy_helper.from_array(np.ones((), np.bool_), "flag")
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(2, np.float32), "s"), numpy_helper.from_array(np.array([0, 3]), ""), [5]
    )
    graph = helper.make_graph(
        [choose], "g", [], [helper.make_tensor_value_info("out", 1, [3, 4])], [flag], sparse_initializer=[sparse]
    )
    function = helper.make_function("d", "Twice", [], ["q"], [constant], [helper.make_opsetid("", 18)])
    raw = helper.make_model(graph, functions=[function]).SerializeToString()
    assert {part.name for part in parts(raw)} == {
        "flag",
        "out.then_branch.q",
        "out.then_branch.inner",
        "out.else_branch.q",
        "out.else_branch.inner",
        "s.values",
        "s.indices",
        "Twice.q",
    }


def test_text_is_bytes_and_an_empty_tensor_has_none() -> None:
    raw = with_tensors(
        onnx.TensorProto(name="t", data_type=TensorProto.STRING, dims=[1], string_data=[b"abc"]),
        numpy_helper.from_array(np.zeros((0, 2), np.float32), "e"),
    )
    found = {part.name: part for part in parts(raw)}
    assert found["t"].dtype == "bytes"
    assert (found["e"].shape, found["e"].end - found["e"].start) == ((0, 2), 0)


def external(**entries: str) -> TensorProto:
    tensor = onnx.TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def test_external_data_are_parts_of_the_other_file() -> None:
    raw = raw_model(external(location="./sub/w.data", offset="64", length="16"), external(location="w"))
    assert [(part.file, part.start, part.end) for part in parts(raw.replace(b"\x42\x01t", b"\x42\x01u", 1))] == [
        ("sub/w.data", 64, 80),
        ("w", 0, 16),
    ]


ESCAPES = ["", "/etc/passwd", "../w", "a/../../w", "a//b", "C:\\w", "a\\b", "c:w", "a/.", "w\0x"]


@pytest.mark.parametrize("location", ESCAPES)
def test_external_data_outside_the_folder_are_refused(location: str) -> None:
    with pytest.raises(FormatError, match="no path within the model's folder"):
        parts(raw_model(external(location=location)))


def tensor(**how: Any) -> TensorProto:  # noqa: ANN401  # any field of the message
    return onnx.TensorProto(**{"name": "t", "data_type": TensorProto.FLOAT, "dims": [2], "raw_data": bytes(8), **how})


def unknown() -> TensorProto:
    found = external(location="w")
    found.data_type = 99
    return found


def number(value: int) -> bytes:
    """A number of variable length."""
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def field(which: int, payload: bytes) -> bytes:
    """A field with a length, as it lies on the wire."""
    return number(which << 3 | 2) + number(len(payload)) + payload


GOOD = raw_model(tensor())


@pytest.mark.parametrize(
    ("flaw", "raw", "words"),
    [
        ("empty", b"", "no graph"),
        ("two_graphs", GOOD * 2, "two graphs"),
        ("group", b"\x0b", "wire type 3"),
        ("field_zero", GOOD + b"\0\0", "no number"),
        ("cut", GOOD[:-1], "ends outside"),
        ("long_number", b"\x08" + b"\xff" * 10, "too long"),
        ("graph_no_message", b"\x38\1", "no message"),
        ("same_name", raw_model(tensor(), tensor()), "two initializers"),
        ("wrong_size", raw_model(tensor(raw_data=bytes(7))), "does not fill"),
        ("wrong_count", raw_model(tensor(raw_data=None, float_data=[1.0])), "does not fill"),
        ("two_ways", raw_model(tensor(float_data=[1.0, 2.0])), "in two ways"),
        ("other_type", raw_model(tensor(raw_data=None, double_data=[1.0, 2.0])), "of another type"),
        ("raw_twice", raw_model(tensor()).replace(b"\x42\x01t", b"\x4a\x01t"), "field 9 twice"),
        ("segment", raw_model(tensor(segment=onnx.TensorProto.Segment(begin=0, end=1))), "segments"),
        ("negative", raw_model(tensor(dims=[-1])), "negative dimension"),
        ("many_dimensions", raw_model(tensor(dims=[1] * 65)), "too many"),
        (
            "external_too",
            raw_model(external(location="w"), tensor(data_location=1, name="x")),
            "no path within|two ways",
        ),
        (
            "external_and_raw",
            raw_model(onnx.TensorProto.FromString(external(location="w").SerializeToString() + b"\x4a\x01x")),
            "in two ways",
        ),
        ("unused_external", raw_model(tensor(external_data=external(location="w").external_data)), "does not use"),
        ("offset", raw_model(external(location="w", offset="-1")), "no number of bytes"),
        ("length", raw_model(external(location="w", length="15")), "does not fill 15"),
        ("unknown_no_length", raw_model(unknown()), "no length"),
        ("name_no_text", raw_model(tensor(name="t")).replace(b"\x42\x01t", b"\x42\x01\xff"), "not UTF-8"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_in_onnx(flaw: str, raw: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        parts(raw)
    assert flaw


def test_a_key_of_external_data_stands_once() -> None:
    twice = external(location="w")
    twice.external_data.add(key="location", value="x")
    with pytest.raises(FormatError, match="twice"):
        parts(raw_model(twice))


def test_graphs_within_graphs_end() -> None:
    graph = b""
    for _ in range(50):
        graph = field(1, field(2, b"o") + field(5, field(1, b"g") + field(6, graph)))
    with pytest.raises(FormatError, match="nested more than"):
        parts(field(7, graph))


def test_an_attribute_with_two_tensors_in_one_is_refused() -> None:
    held = field(5, bytes(tensor().SerializeToString()))
    attribute = field(1, b"a") + held
    assert parts(field(7, field(1, field(2, b"o") + field(5, attribute))))[0].name == "o.a"
    with pytest.raises(FormatError, match="given twice"):
        parts(field(7, field(1, field(2, b"o") + field(5, attribute + held))))


@pytest.mark.parametrize("fields", [b"", b"\x0a\x00\x0a\x00"])
def test_a_sparse_tensor_has_values_and_indices_once(fields: bytes) -> None:
    with pytest.raises(FormatError, match="values or indices"):
        parts(field(7, field(15, fields)))


@given(st.binary(max_size=100))
def test_any_graph_is_parts_or_a_format_error(raw: bytes) -> None:
    try:
        found = parts(field(7, raw))
    except FormatError:
        return
    assert all(part.end <= len(raw) + 2 for part in found if not part.file)


def test_tensors_of_training_are_named_apart() -> None:
    graph = field(5, bytes(tensor(name="w").SerializeToString()))
    raw = field(7, b"") + field(20, field(1, graph) + field(2, graph))
    assert [part.name for part in parts(raw)] == ["training.w", "training.w#2"]


def test_sparse_tensors_of_attributes_and_packed_shapes_are_read() -> None:
    values = field(1, b"\x02") + b"\x10\x01" + field(9, bytes(8))
    indices = field(1, b"\x02") + b"\x10\x07" + field(9, bytes(16))
    attribute = field(1, b"a") + field(22, field(1, values) + field(2, indices))
    raw = field(7, field(1, field(2, b"o") + field(5, attribute)))
    assert [(part.name, part.dtype, part.shape) for part in parts(raw)] == [
        ("o.a.values", "F32", (2,)),
        ("o.a.indices", "I64", (2,)),
    ]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (b"\x0d\0\0\0\0", "dimensions are malformed"),
        (field(1, bytes(700)), "dimensions are malformed"),
        (field(2, b"x"), "no sound type or location"),
        (b"\x48\x01", "its data are malformed"),
        (b"\x20\x01", "its data are malformed"),
        (b"\x10\x01" + field(4, bytes(3)), "end within a number"),
        (b"\x10\x06" + field(5, b"\x80"), "are cut off"),
        (b"\x70\x01\x10\x63" + field(13, field(1, b"location") + field(2, b"w")), "no length"),
        (field(8, bytes(70_000)), "is no name"),
    ],
)
def test_a_tensor_whose_fields_are_no_such_fields_is_refused(fields: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        parts(field(7, field(5, fields)))


def test_too_many_tensors_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TENSORS", 2)
    with pytest.raises(FormatError, match="more than 2"):
        parts(raw_model(*(tensor(name=name) for name in "abc")))
