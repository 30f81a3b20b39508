from __future__ import annotations

import io
import zipfile

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import containers

from assay.errors import FormatError
from assay.formats import layout as module
from assay.formats import npz
from assay.formats.archive import members
from assay.formats.base import ViewContent, distinct
from assay.formats.layout import Layout, in_order
from assay.formats.npy import Npy
from assay.formats.npz import Npz


class Read:
    """Content that counts what is read of it."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.size = len(raw)
        self.largest = 0

    def read(self, start: int, length: int) -> bytes:
        self.largest = max(self.largest, length)
        return self._raw[start : start + length]


shapes = st.lists(st.integers(0, 5), max_size=4)


@settings(deadline=None)
@given(shape=shapes, data=st.data())
def test_any_strides_are_what_numpy_reads(shape: list[int], data: st.DataObject) -> None:
    strides = data.draw(st.lists(st.integers(0, 9), min_size=len(shape), max_size=len(shape)))
    item = data.draw(st.sampled_from([1, 2, 3, 4, 8, 12, 16]))
    block = data.draw(st.sampled_from([1, 8, 40, 1 << 20]))
    wanted = Layout(tuple(shape), tuple(strides), 3, item)
    raw = np.random.default_rng(1).bytes(3 + wanted.span)
    view = np.lib.stride_tricks.as_strided(
        np.frombuffer(raw[3:] or bytes(item), f"V{item}"), shape, [stride * item for stride in strides]
    )
    assert b"".join(in_order(Read(raw), wanted, block)) == view.tobytes()


@pytest.mark.parametrize("shape", [(300, 500), (2, 90_000), (90_000, 2), (40, 50, 60)])
def test_a_block_bounds_what_is_held(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE_BYTES", 4096)
    array = np.asfortranarray(np.random.default_rng(0).normal(size=shape).astype("f4"))
    wanted = Layout(shape, tuple(step // 4 for step in array.strides), 0, 4)
    source = Read(array.tobytes(order="A"))
    pieces = list(in_order(source, wanted, 20_000))
    assert b"".join(pieces) == array.tobytes()
    assert max(len(piece) for piece in pieces) <= 20_000
    assert source.largest <= 3 * 20_000 + 4096


def test_elements_far_apart_are_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE_BYTES", 64)
    array = np.arange(100_000, dtype="u1").reshape(10, 10_000)
    source = Read(array.tobytes())
    wanted = Layout((9,), (10_000,), 5, 1)
    assert b"".join(in_order(source, wanted, 16)) == array[:9, 5].tobytes()
    assert source.largest == 1


def test_elements_past_the_end_are_refused() -> None:
    with pytest.raises(FormatError, match="end at byte 12"):
        list(in_order(Read(bytes(11)), Layout((3,), (1,), 0, 4)))


def test_names_are_made_distinct() -> None:
    assert list(distinct(iter(["a", "a", "a#2", "a", "b"]))) == ["a", "a#2", "a#2#2", "a#3", "b"]


KINDS = ["<f4", ">f8", ">f2", ">c16", "<c8", "i1", "?", "<U3", ">U3", "S5", ">M8[ns]", "V6"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_npy_file_is_what_numpy_says(kind: str, order: str) -> None:
    array = np.frombuffer(bytes(range(144)), "V6").reshape(2, 3, 4) if kind == "V6" else None
    if array is None:
        array = np.arange(24).reshape(2, 3, 4).astype("i8").astype(kind)
    array = np.asarray(array, order="F" if order == "F" else "C")
    raw = containers.npy(array)
    content = ViewContent(memoryview(raw))
    (part,) = Npy().parts(content)
    little = array if kind == "V6" else array.astype(array.dtype.newbyteorder("<"))
    assert b"".join(Npy().elements(content, part)) == little.tobytes()
    assert part.plain == (order == "C" and ">" not in kind)


@pytest.mark.parametrize("array", [np.array([(1, 2.0)], "i4,f8"), np.array([{}], object)])
def test_records_and_objects_are_bytes(array: npt.NDArray[np.generic]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    (part,) = Npy().parts(ViewContent(memoryview(buffer.getvalue())))
    assert (part.dtype, part.start, part.end) == ("bytes", 0, len(buffer.getvalue()))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "no NumPy array header"),
        (b"\x80\x04]\x94.", "no NumPy array header"),
        (containers.npy()[:-1], "does not fill"),
        (containers.npy() + b"x", "does not fill"),
        (containers.npy(np.zeros(1)).replace(b"(1,), }" + b" " * 60, b"(" + b"1," * 32 + b"1,"), "no NumPy|dimensions"),
    ],
)
def test_what_is_no_npy_file_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        Npy().parts(ViewContent(memoryview(raw)))


def packed(raw: bytes, name: str = "w.npy", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(name, raw)
    return buffer.getvalue()


def test_two_members_that_are_one_array_are_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("w.npy", containers.npy())
        archive.writestr("w", b"")
    with pytest.raises(FormatError, match="one array"):
        Npz().parts(ViewContent(memoryview(buffer.getvalue())))


def test_a_packed_array_by_columns_too_large_to_unpack_again_is_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = packed(containers.npy(np.asfortranarray(np.ones((5, 6)))))
    assert Npz().parts(ViewContent(memoryview(raw)))[0].dtype == "F64"
    monkeypatch.setattr(npz, "MAX_PACKED_COLUMNS_BYTES", 100)
    assert Npz().parts(ViewContent(memoryview(raw)))[0].dtype == "bytes"


@pytest.mark.parametrize("size", [999, 1001])
def test_a_member_that_unpacks_to_more_or_less_than_it_claims_is_refused(size: int) -> None:
    there, claimed = containers.npy(np.zeros(size, "u1")), 128 + 1000
    # Directory, member and array all tell of 1,000 bytes; others are packed.
    text = there.replace(b"(999,), } ", b"(1000,), }").replace(b"(1001,)", b"(1000,)")
    raw = packed(text).replace(len(text).to_bytes(4, "little"), claimed.to_bytes(4, "little"))
    content = ViewContent(memoryview(raw))
    with pytest.raises(FormatError, match="needs" if size < 1000 else "unpacks to more"):
        [list(Npz().elements(content, part)) for part in Npz().parts(content)]


def test_an_archive_whose_two_end_records_disagree_is_refused() -> None:
    raw = containers.torch_zip()  # PyTorch always writes both
    at = raw.rindex(b"PK\x05\x06") + 10
    members(ViewContent(memoryview(raw)))
    mutant = raw[:at] + bytes([raw[at] - 1]) + raw[at + 1 :]
    with pytest.raises(FormatError, match="disagree"):
        members(ViewContent(memoryview(mutant)))
