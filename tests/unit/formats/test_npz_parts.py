from __future__ import annotations

import io
import itertools
import struct
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import FormatError
from assay.formats.archive import MAX_DIRECTORY_BYTES
from assay.formats.base import Part, ViewContent
from assay.formats.npz import Npz

ARRAYS = {
    "a": np.arange(6, dtype="f4").reshape(2, 3),
    "text": np.array(["x", "yyy"]),
    "scalar": np.array(3.0),
    "when": np.array(["2020-01-01"], dtype="M8[ns]"),
    "empty": np.zeros((0, 3)),
}


def parts(raw: bytes) -> tuple[Part, ...]:
    return Npz().parts(ViewContent(memoryview(raw)))


def saved(save: Callable[..., None] = np.savez) -> bytes:
    buffer = io.BytesIO()
    save(buffer, **ARRAYS)
    return buffer.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, raw in members.items():
            archive.writestr(zipfile.ZipInfo(name), raw, method)
    return buffer.getvalue()


def edited(raw: bytes, mark: bytes, offset: int, new: bytes) -> bytes:
    at = raw.rindex(mark) + offset
    return raw[:at] + new + raw[at + len(new) :]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_each_array_has_its_own_bytes(save: Callable[..., None]) -> None:
    raw = saved(save)
    found = parts(raw)
    assert [(part.name, part.dtype, part.shape) for part in found] == [
        ("a", "F32", (2, 3)),
        ("text", "U3", (2,)),
        ("scalar", "F64", ()),
        ("when", "M8[ns]", (1,)),
        ("empty", "F64", (0, 3)),
    ]
    assert all(one.end < other.start for one, other in itertools.pairwise(found))
    content = ViewContent(memoryview(raw))
    for part, array in zip(found, ARRAYS.values(), strict=True):
        assert b"".join(Npz().elements(content, part)) == array.tobytes()
        if part.plain:
            assert raw[part.start : part.end] == array.tobytes()


def test_members_that_are_no_plain_arrays_are_bytes() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([(1, 2.0)], dtype="i4,f8"))
    members = {
        "schema.json": b"{}",
        "damaged.npy": b"no array",
        "odd.npy": b"\x93NUMPY\x01\0\x05\0{'a'}",
        "wide.npy": b"\x93NUMPY\x02\0\x05\0\0\0{'a'}",
        "rows.npy": buffer.getvalue(),
    }
    kinds = {part.name: (part.dtype, part.shape) for part in parts(zipped(members))}
    assert kinds == {name.removesuffix(".npy"): ("bytes", (len(raw),)) for name, raw in members.items()}
    assert parts(zipped({"x.npy": b"y" * 99}, zipfile.ZIP_BZIP2))[0].dtype == "bytes"


def test_an_empty_archive_has_no_parts() -> None:
    assert parts(zipped({})) == ()


def test_a_streamed_archive_has_its_descriptors_counted_in() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.raw = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: object, /) -> int:
            self.raw += bytes(memoryview(data))  # type: ignore[arg-type]  # zipfile hands over bytes
            return len(memoryview(data))  # type: ignore[arg-type]  # the same

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        archive.writestr("ä.npy", b"xyz")
        archive.writestr("b", b"")
    found = parts(bytes(pipe.raw))
    assert [part.name for part in found] == ["ä", "b"]
    assert found[0].end < found[1].start


def test_many_members_need_the_wide_record() -> None:
    raw = zipped({str(index): b"" for index in range(65_536)})
    assert len(parts(raw)) == 65_536
    at = raw.rindex(b"PK\x06\x07")
    with pytest.raises(FormatError, match="locator"):
        parts(raw[:at] + b"PK\x06\x08" + raw[at + 4 :])
    at = raw.rindex(b"PK\x06\x06")
    with pytest.raises(FormatError, match="ZIP64 end record"):
        parts(raw[:at] + b"PK\x06\x05" + raw[at + 4 :])


def test_sizes_beyond_32_bits_come_from_the_extra_field() -> None:
    # A directory that claims the wide form and has no extra field to read it from.
    raw = edited(zipped({"a": b"xyz"}), b"PK\x01\x02", 24, b"\xff\xff\xff\xff")
    with pytest.raises(FormatError, match="ZIP64 sizes are missing"):
        parts(raw)


STORED = zipped({"a.npy": b"xyz", "b": b"12"})
LOCAL, ENTRY, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


@pytest.mark.parametrize(
    ("flaw", "raw", "words"),
    [
        ("empty", b"", "end record needs"),
        ("no_zip", b"x" * 50, "does not end with"),
        ("trailing", STORED + b"x", "does not end with"),
        ("comment", edited(STORED, END, 20, b"\1\0") + b"x", "does not end with"),
        ("cut", STORED[:-1], "does not end with"),
        ("before", b"x" + STORED, "between the directory"),
        ("many_disks", edited(STORED, END, 4, b"\1\0"), "several files"),
        ("huge_directory", edited(STORED, END, 12, b"\0\0\0\x7f"), f"at most {MAX_DIRECTORY_BYTES}"),
        ("too_few_listed", edited(STORED, END, 8, b"\3\0\3\0"), "lists 2 members, the end record 3"),
        ("mark", edited(STORED, ENTRY, 0, b"XX"), "directory is malformed"),
        ("long_name", edited(STORED, ENTRY, 28, b"\xff\0"), "directory is malformed"),
        ("encrypted", edited(STORED, ENTRY, 8, b"\1\0"), "encrypted"),
        ("local_mark", edited(STORED, LOCAL, 0, b"XX"), "disagree"),
        ("other_name", edited(STORED, LOCAL, 30, b"c"), "disagree"),
        ("other_method", edited(STORED, LOCAL, 8, b"\x08\0"), "disagree"),
        ("other_checksum", edited(STORED, LOCAL, 14, b"\0\0\0\0"), "disagree"),
        ("other_size", edited(STORED, LOCAL, 22, b"\1\0\0\0"), "disagree"),
        ("two_sizes", edited(edited(STORED, LOCAL, 22, b"\1\0\0\0"), ENTRY, 24, b"\1\0\0\0"), "two sizes"),
        ("swapped_members", edited(STORED, ENTRY, 42, bytes(4)), "overlaps"),
        ("nul", zipped({"a\1b": b""}).replace(b"a\1b", b"a\0b"), "holds a NUL"),
        ("not_ascii", zipped({"abc": b""}).replace(b"abc", b"a\xffc"), "not in the encoding"),
        ("array_too_long", zipped({"a.npy": saved()[saved().index(b"\x93") :][:152] + b"xx"}), "does not fill"),
        (
            "absurd",
            zipped(
                {
                    "a.npy": b"\x93NUMPY\1\0\x91\x13{'descr': '<f4', 'fortran_order': False, 'shape': ("
                    + b"9" * 4950
                    + b",), }"
                }
            ),
            "absurd|does not fill",
        ),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_in_archives(flaw: str, raw: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        parts(raw)
    assert flaw


def test_a_name_twice_is_refused() -> None:
    raw = zipped({"a": b"1", "b": b"2"}).replace(b"b", b"a")
    with pytest.raises(FormatError, match="names a member twice"):
        parts(raw)


def test_bytes_hidden_before_or_between_members_are_refused() -> None:
    def hidden(at: int, starts: list[int]) -> bytes:
        raw = STORED[:at] + b"hidden" + STORED[at:]
        end = raw.rindex(END)
        (directory,) = struct.unpack_from("<I", STORED, STORED.rindex(END) + 16)
        raw = raw[: end + 16] + struct.pack("<I", directory + 6) + raw[end + 20 :]
        for start in starts:
            entry = raw.index(ENTRY) if start == 0 else raw.rindex(ENTRY)
            (old,) = struct.unpack_from("<I", raw, entry + 42)
            raw = raw[: entry + 42] + struct.pack("<I", old + 6) + raw[entry + 46 :]
        return raw

    with pytest.raises(FormatError, match="before the first member"):
        parts(hidden(0, [0, 1]))
    with pytest.raises(FormatError, match="belong to nothing"):
        parts(hidden(STORED.rindex(LOCAL), [1]))
    with pytest.raises(FormatError, match="belong to nothing"):
        parts(hidden(STORED.index(ENTRY), []))


def test_damaged_compressed_bytes_are_refused() -> None:
    raw = zipped({"a.npy": b"x" * 500}, zipfile.ZIP_DEFLATED)
    at = 30 + len("a.npy")
    with pytest.raises(FormatError, match=r"packed bytes of member 'a.npy' are damaged"):
        parts(raw[:at] + b"\xff" + raw[at + 1 :])


@given(st.integers(0, 100_000), st.integers(1, 255), st.sampled_from([np.savez, np.savez_compressed]))
def test_no_changed_byte_of_an_archive_escapes_as_another_error(at: int, flip: int, save: Callable[..., None]) -> None:
    raw = bytearray(saved(save))
    raw[at % len(raw)] ^= flip
    try:
        found = parts(bytes(raw))
    except FormatError:
        return
    assert len(found) == len(ARRAYS)


@given(st.binary(max_size=300))
def test_any_bytes_before_an_end_record_are_parts_or_a_format_error(raw: bytes) -> None:
    end = struct.pack("<4s4H2IH", END, 0, 0, 1, 1, min(len(raw), 46), max(len(raw) - 46, 0), 0)
    try:
        found = parts(raw + end)
    except FormatError:
        return
    assert len(found) == 1
