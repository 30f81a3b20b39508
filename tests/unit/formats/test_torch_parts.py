from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests import containers
from torch._utils import _rebuild_parameter, _rebuild_tensor_v2

from assay.errors import FormatError
from assay.formats import pickles, tensors
from assay.formats import torch as module
from assay.formats.base import Part, ViewContent
from assay.formats.pickles import TOO_LARGE, Global, Listed, Made, Mapped, Persistent, described
from assay.formats.torch import TorchZip

EXECUTED: list[str] = []


def parts(raw: bytes) -> dict[str, Part]:
    return {part.name: part for part in TorchZip().parts(ViewContent(memoryview(raw)))}


def elements(raw: bytes, part: Part) -> bytes:
    return b"".join(TorchZip().elements(ViewContent(memoryview(raw)), part))


def in_order(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy())


WHOLE = torch.arange(24, dtype=torch.float32).reshape(4, 6)


def test_views_of_one_storage_have_their_own_elements() -> None:
    views = {
        "whole": WHOLE,
        "tied": WHOLE,
        "row": WHOLE[1],
        "rows": WHOLE[1:3],
        "column": WHOLE[:, 2],
        "turned": WHOLE.t(),
        "stepped": WHOLE[::2, ::3],
        "spread": WHOLE[0, 0].expand(3, 5),
        "parameter": torch.nn.Parameter(WHOLE),
        "empty": WHOLE[:0],
    }
    raw = containers.torch_saved(views)
    found = parts(raw)
    for name, tensor in views.items():
        assert (found[name].dtype, found[name].shape) == ("F32", tuple(tensor.shape))
        assert elements(raw, found[name]) == in_order(tensor)
    plain = {name for name in views if found[name].plain}
    assert plain == {"whole", "tied", "row", "rows", "parameter", "empty"}
    assert (found["row"].start - found["whole"].start, found["row"].end - found["row"].start) == (24, 24)


def test_tensors_are_named_by_the_keys_and_attributes_that_lead_to_them() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    saved = {
        "model": network.state_dict(),
        "whole": network,
        "steps": [torch.ones(1), (torch.ones(2), {"deep": torch.ones(3)})],
        "epoch": 3,
        4: torch.ones(4),
    }
    found = parts(containers.torch_saved(saved))
    wanted = {f"model.{key}" for key in network.state_dict()} | {f"whole.{key}" for key in network.state_dict()}
    assert wanted | {"steps.0", "steps.1.0", "steps.1.1.deep", "4"} <= set(found)
    assert found["data.pkl"].dtype == "bytes"


def test_a_name_twice_gets_a_number() -> None:
    raw = containers.torch_saved({"a": {"b": torch.ones(1)}, "a.b": torch.ones(2), "version": torch.ones(1)})
    assert {"a.b", "a.b#2", "version", "version#2"} <= set(parts(raw))


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.bfloat16, torch.uint16, torch.complex64])
def test_types_that_numpy_has_not_are_read(kind: torch.dtype) -> None:
    tensor = torch.arange(6).to(kind)
    raw = containers.torch_saved({"w": tensor})
    assert elements(raw, parts(raw)["w"]) == in_order(tensor)


def test_values_that_are_not_those_of_the_bytes_are_no_tensor() -> None:
    saved = {"conjugate": torch.ones(2, dtype=torch.complex64).conj(), "sparse": torch.eye(2).to_sparse()}
    found = parts(containers.torch_saved(saved))
    assert found["conjugate"].dtype == "bytes"
    assert found["sparse.arguments.1.1"].shape == (2,)


def test_big_endian_storages_are_turned_round() -> None:
    raw = archive({"w": plain_tensor((6,), (1,))}, np.arange(6, dtype=">f4").tobytes(), byteorder=b"big")
    assert elements(raw, parts(raw)["w"]) == np.arange(6, dtype="<f4").tobytes()


def test_packed_storages_are_unpacked() -> None:
    values = np.arange(6, dtype="<f4").tobytes()
    content = {"w": plain_tensor((2, 3), (3, 1)), "t": plain_tensor((3, 2), (1, 3))}
    raw = archive(content, values, method=zipfile.ZIP_DEFLATED)
    found = parts(raw)
    assert elements(raw, found["w"]) == values
    assert found["t"].dtype == "bytes"


def test_old_checkpoints_are_no_archives_and_torchscript_is_read() -> None:
    buffer = io.BytesIO()
    torch.save({"w": WHOLE}, buffer, _use_new_zipfile_serialization=False)
    assert not TorchZip().accepts(ViewContent(memoryview(buffer.getvalue())))
    script = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 3)), script)
    assert {"weight", "bias", "data.pkl", "constants.pkl"} <= set(parts(script.getvalue()))


def test_an_archive_without_a_pickle_has_its_members() -> None:
    assert set(parts(zipped({"a/x": b"1", "a/y/z": b"2"}))) == {"x", "y/z"}


def test_a_pickle_too_long_to_follow_leaves_the_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MAX_OPCODES", 10)
    assert "w" not in parts(containers.torch_saved({"w": WHOLE}))
    assert described(pickle.dumps([1, [2], [3]])) is TOO_LARGE
    monkeypatch.setattr(pickles, "MAX_PICKLE_BYTES", 3)
    assert described(pickle.dumps([1])) is TOO_LARGE


# A pickle that names torch's functions, as torch writes it, and storage "0" beside it.
class Call:
    """Pickled as a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.made = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.made


class Stored:
    """Pickled as a persistent id."""

    def __init__(self, *identity: object) -> None:
        self.identity = identity


class Pickler(pickle.Pickler):
    def persistent_id(self, obj: object) -> object:
        return obj.identity if isinstance(obj, Stored) else None


def executed(word: str) -> str:
    EXECUTED.append(word)
    return word


def storage(count: object = 6, kind: object = torch.FloatStorage, key: object = "0") -> Stored:
    return Stored("storage", kind, key, "cpu", count)


def plain_tensor(shape: object, strides: object, offset: object = 0, held: object = None) -> Call:
    return Call(_rebuild_tensor_v2, held or storage(), offset, shape, strides, False, OrderedDict())  # noqa: FBT003  as torch does


def pickled(value: object, protocol: int = 2) -> bytes:
    buffer = io.BytesIO()
    Pickler(buffer, protocol).dump(value)
    return buffer.getvalue()


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as made:
        for name, raw in members.items():
            made.writestr(name, raw)
    return buffer.getvalue()


def archive(
    value: object, data: bytes = bytes(24), *, byteorder: bytes = b"little", method: int = zipfile.ZIP_STORED
) -> bytes:
    raw = value if isinstance(value, bytes) else pickled(value)
    return zipped({"m/data.pkl": raw, "m/byteorder": byteorder, "m/data/0": data}, method)


def test_nothing_is_ever_called() -> None:
    raw = archive({"evil": Call(executed, "run"), "w": plain_tensor((6,), (1,))})
    assert parts(raw)["w"].shape == (6,)
    assert EXECUTED == []


@pytest.mark.parametrize(
    ("flaw", "value", "words"),
    [
        ("outside", plain_tensor((7,), (1,)), "outside storage"),
        ("outside_by_offset", plain_tensor((6,), (1,), 1), "outside storage"),
        ("outside_by_stride", plain_tensor((2, 3), (4, 1)), "outside storage"),
        ("storage_too_long", plain_tensor((6,), (1,), 0, storage(7)), "outside storage"),
        ("no_storage", plain_tensor((6,), (1,), 0, storage(6, torch.FloatStorage, "1")), "which is not there"),
        ("negative", plain_tensor((-1,), (1,)), "no sound shape"),
        ("negative_stride", plain_tensor((6,), (-1,)), "no sound shape"),
        ("no_number", plain_tensor(("6",), (1,)), "no sound shape"),
        ("truth_for_number", plain_tensor((True,), (1,)), "no sound shape"),
        ("ranks", plain_tensor((6,), (1, 1)), "1 dimensions and 2 strides"),
        ("dimensions", plain_tensor((1,) * 65, (1,) * 65), "no sound shape"),
        ("no_persistent_id", Call(_rebuild_tensor_v2, 1, 0, (1,), (1,)), "lies in no storage"),
        ("odd_storage", plain_tensor((1,), (1,), 0, Stored("storage", int, "0", "cpu", 6)), "unknown type"),
        ("few_arguments", Call(_rebuild_tensor_v2, storage()), "too few arguments"),
    ],
)
def test_a_tensor_that_lies_about_its_place_is_refused(flaw: str, value: object, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        parts(archive({"w": value}))
    assert flaw


def test_members_in_two_folders_are_refused() -> None:
    with pytest.raises(FormatError, match="several folders"):
        parts(zipped({"a/data.pkl": b"", "b/data.pkl": b""}))


def test_views_that_repeat_an_element_a_billion_times_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FormatError, match="its views have"):
        parts(archive({"w": plain_tensor((1 << 40,), (0,))}))
    monkeypatch.setattr(module, "MAX_VIEW_BYTES", 0)
    assert parts(archive({"w": plain_tensor((100,), (0,))}))["w"].shape == (100,)


def test_names_that_only_cost_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "MAX_NAMES_BYTES", 1000)
    held = plain_tensor((6,), (1,))
    with pytest.raises(FormatError, match="names of more than"):
        parts(archive({"k" * 300: [held, held, held, held]}))


def test_circles_and_deep_nests_end() -> None:
    circle: list[Any] = [plain_tensor((6,), (1,))]
    circle.append(circle)
    nest: object = plain_tensor((6,), (1,))
    for _ in range(300):
        nest = [nest]
    found = parts(archive({"circle": circle, "nest": nest, "wrapped": wrapped(20)}))
    assert "circle.0" in found
    assert not any(name.startswith(("nest", "circle.1")) for name in found)


def wrapped(times: int) -> object:
    value: object = plain_tensor((6,), (1,))
    for _ in range(times):
        value = Call(_rebuild_parameter, value, False, OrderedDict())  # noqa: FBT003  as torch does
    return value


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_is_described(protocol: int) -> None:
    value = {"a": [1, 2.5, None, True, "x", b"y", (1, 2, 3, 4), {5}, frozenset({6})], "b": {}, "c": 1 << 70}
    found = described(pickle.dumps(value, protocol))
    assert isinstance(found, Mapped)
    pairs = dict(found.pairs)
    assert isinstance(pairs["a"], Listed)
    assert pairs["a"].items[:5] == [1, 2.5, None, True, "x"]
    assert pairs["c"] == 1 << 70


def test_objects_stay_symbols() -> None:
    made = described(b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R}X\x01\0\0\0kK\x01sb.")
    assert isinstance(made, Made)
    assert made.function == Global("os.system")
    assert made.arguments == ("ls",)
    assert isinstance(made.state, Mapped)
    assert isinstance(described(b"(ios\nsystem\n."), Made)
    assert isinstance(described(b"(cos\nsystem\nK\x01o."), Made)
    assert isinstance(described(b"P1\n."), Persistent)
    assert described(b"\x80\x04\x8c\x02os\x8c\x06system\x93.") == Global("os.system")
    assert isinstance(described(b"\x80\x04\x8c\x02os\x8c\x06system\x93)}\x92."), Made)
    assert described(b"\x82\x05.") == Global("extension.5")
    assert isinstance(described(b"]}b."), Made)
    assert isinstance(described(b"(d."), Mapped)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b".",
        b"N",
        b"N..",
        b"NN.",
        b"\xff.",
        b"e.",
        b"a.",
        b"(.",
        b"Na.",
        b"NNa.",
        b"]u.",
        b"](NNu.",
        b"}(Nu.",
        b"h\x01.",
        b"q\x01.",
        b"0.",
        b"(o.",
        b"NN\x93.",
        b"R.",
        b"(Nd.",
        b"Inot\n.",
        b"L" + b"9" * 5000 + b"\n.",
        b"X\xff\xff\xff\x7fa.",
        b"X\x01\0\0\0\xff.",
    ],
)
def test_what_no_pickle_does_is_refused(raw: bytes) -> None:
    with pytest.raises(FormatError):
        described(raw)


@given(st.binary(max_size=200))
def test_any_bytes_are_described_or_refused(raw: bytes) -> None:
    for end in (raw, raw + b"."):
        try:
            described(end)
        except FormatError:
            continue


@given(st.integers(0, 100_000), st.integers(1, 255))
def test_no_changed_byte_of_a_pickle_escapes_as_another_error(at: int, flip: int) -> None:
    raw = bytearray(pickled({"a": plain_tensor((2, 3), (3, 1)), "b": [wrapped(1), (1, {"c": 2})]}))
    raw[at % len(raw)] ^= flip
    try:
        list(tensors.named_tensors(described(bytes(raw))))
    except FormatError:
        return
