from __future__ import annotations

import datetime as dt
import decimal
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv

from assay.errors import AssayError, StorageError, TableError
from assay.lineage import store
from assay.lineage.files import read_table
from assay.lineage.fingerprint import DatasetFingerprint, fingerprint
from assay.lineage.rows import cells, digests

NOON = dt.datetime(2020, 1, 1, 12, 0, 0, 123456)  # noqa: DTZ001 - naive on purpose: naive is UTC


def row_digests(array: pa.Array) -> list[bytes]:
    batch = pa.RecordBatch.from_arrays([array], ["v"])
    whole = digests(cells(batch, ["v"]))
    return [whole[at : at + 16] for at in range(0, len(whole), 16)]


EQUAL = {
    "an integer of any width": ([1, -5, None], [pa.int8(), pa.int64(), pa.float32(), pa.float64()]),
    "text however encoded": (["a", "", "é", None], [pa.string(), pa.large_string(), pa.string_view()]),
    "bytes": ([b"\0a", None], [pa.binary(), pa.large_binary()]),
    "an instant in any unit": (
        [NOON.replace(microsecond=0), None],
        [pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("us", "UTC")],
    ),
    "a date": ([dt.date(2020, 1, 1), None], [pa.date32(), pa.date64()]),
    "an amount of any scale": (
        [decimal.Decimal("12.3"), decimal.Decimal(100), decimal.Decimal(0), None],
        [pa.decimal128(10, 2), pa.decimal256(40, 5)],
    ),
    "nothing at all": ([None, None], [pa.null(), pa.int64(), pa.string(), pa.bool_(), pa.timestamp("s")]),
}


@pytest.mark.parametrize(("values", "kinds"), EQUAL.values(), ids=EQUAL)
def test_the_same_values_have_the_same_digest_in_every_encoding(values: list[object], kinds: list[pa.DataType]) -> None:
    found = {str(kind): row_digests(pa.array(values, kind)) for kind in kinds}
    assert len({tuple(each) for each in found.values()}) == 1, found
    plain = pa.array(values, kinds[0])
    assert row_digests(plain.dictionary_encode()) == row_digests(plain)


APART = {
    "whole numbers beyond a double": pa.array([2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)], pa.int64()),
    "unsigned": pa.array([2**64 - 1, 2**64 - 2, 2**63, 2**63 - 1], pa.uint64()),
    "neighbouring doubles": pa.array([0.1, math.nextafter(0.1, 1), math.inf, -math.inf, None]),
    "text": pa.array(["a", "a ", "A", "", "1", None]),
    "nanoseconds": pa.array([0, 1, 1000, None], pa.timestamp("ns")),
    "flags": pa.array([True, False, None]),
    "amounts": pa.array([decimal.Decimal("1.10"), decimal.Decimal("-1.10"), decimal.Decimal("110.00")]),
    "lists": pa.array([[1, 2], [2, 1], [], None]),
    "records": pa.array([{"a": 1}, {"a": 2}, {"a": None}]),
    "times of day": pa.array([dt.time(1), dt.time(2)]),
}


@pytest.mark.parametrize("array", APART.values(), ids=APART)
def test_different_values_have_different_digests(array: pa.Array) -> None:
    assert len(set(row_digests(array))) == len(array)


def test_a_date_is_its_midnight_in_utc() -> None:
    day = pa.array([dt.date(2020, 1, 1)])
    assert row_digests(day) == row_digests(day.cast(pa.timestamp("ns")))


def test_a_big_integer_equals_the_float_that_is_exactly_it() -> None:
    assert row_digests(pa.array([2**60], pa.int64())) == row_digests(pa.array([2.0**60]))
    assert row_digests(pa.array([2**63], pa.uint64())) == row_digests(pa.array([2.0**63]))
    assert row_digests(pa.array([2**53 + 1], pa.uint64())) == row_digests(pa.array([2**53 + 1], pa.int64()))


def test_minus_zero_is_zero_and_nan_is_missing() -> None:
    assert row_digests(pa.array([0.0, math.nan])) == row_digests(pa.array([-0.0, None]))


def test_text_that_looks_like_a_number_is_no_number() -> None:
    assert row_digests(pa.array(["1"])) != row_digests(pa.array([1]))
    assert row_digests(pa.array([b"1"])) != row_digests(pa.array(["1"]))


def test_values_do_not_slip_from_one_column_into_the_next() -> None:
    left = pa.RecordBatch.from_pydict({"a": ["x", "xy"], "b": ["yz", "z"]})
    whole = digests(cells(left, ["a", "b"]))
    assert whole[:16] != whole[16:]


def test_a_value_without_a_canonical_form_names_its_column() -> None:
    far = pa.RecordBatch.from_arrays([pa.array([2**62], pa.timestamp("s"))], ["when"])
    with pytest.raises(TableError, match="'when'"):
        cells(far, ["when"])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=True), st.integers(-(2**53), 2**53)), min_size=1))
def test_the_digest_of_a_row_does_not_depend_on_its_batch(values: list[float | None]) -> None:
    array = pa.array(values, pa.float64())
    assert row_digests(array) == [row_digests(array.slice(at, 1))[0] for at in range(len(array))]


def frame(rows: int = 500) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "when": pd.Timestamp("2024-01-01 00:00:01") + pd.to_timedelta(np.arange(rows), unit="h"),
            "x": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows)),
            "n": rng.integers(-5, 5, rows),
            "word": pd.Series(rng.choice(["red", "grün", "blue"], rows)).where(rng.random(rows) < 0.9),
            "good": rng.random(rows) < 0.5,
            "y": rng.integers(0, 3, rows),
        }
    )


COPIES: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    "csv by pandas": lambda data, to: data.to_csv(to / "d.csv", index=False),
    "csv by arrow": lambda data, to: csv.write_csv(pa.Table.from_pandas(data), to / "d.csv"),
    "compressed csv": lambda data, to: data.to_csv(to / "d.csv.gz", index=False),
    "retyped": lambda data, to: data.astype({"n": "float64", "y": "int8", "word": "category"}).to_parquet(
        to / "d.parquet"
    ),
    "other codec and row groups": lambda data, to: data.to_parquet(
        to / "d.parquet", compression="zstd", row_group_size=7
    ),
    "columns in another order": lambda data, to: data[data.columns[::-1]].to_parquet(to / "d.parquet"),
    "parts": lambda data, to: [
        part.to_parquet(to / f"p{at}.parquet") for at, part in enumerate((data[:1], data[1:300], data[300:]))
    ],
    "csv parts": lambda data, to: [
        part.to_csv(to / f"p{at}.csv", index=False) for at, part in enumerate((data[:1], data[1:300], data[300:]))
    ],
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_a_copy_has_the_same_rows_in_the_same_order(
    copy: Callable[[pd.DataFrame, Path], object], tmp_path: Path
) -> None:
    frame().to_parquet(tmp_path / "d.parquet")
    (tmp_path / "copy").mkdir()
    copy(frame(), tmp_path / "copy")
    old = fingerprint(tmp_path / "d.parquet", label="y")
    new = fingerprint(tmp_path / "copy", label="y")
    assert (new.ordered_root, new.multiset_root, new.features_root) == (
        old.ordered_root,
        old.multiset_root,
        old.features_root,
    )
    assert new.row_digests == old.row_digests
    assert new.columns == old.columns
    assert new.files != old.files


def test_a_shuffled_copy_keeps_the_multiset_and_loses_the_order(tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "a.parquet")
    frame().sample(frac=1, random_state=1).to_parquet(tmp_path / "b.parquet")
    old, new = (fingerprint(tmp_path / name, label="y") for name in ("a.parquet", "b.parquet"))
    assert old.multiset_root == new.multiset_root
    assert old.features_root == new.features_root
    assert old.ordered_root != new.ordered_root


def test_the_index_that_pandas_writes_beside_the_data_is_no_data(tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "a.parquet")
    frame()[::-1].to_parquet(tmp_path / "b.parquet")  # adds __index_level_0__
    b = fingerprint(tmp_path / "b.parquet", label="y")
    assert [name for name, _ in b.columns] == ["good", "n", "when", "word", "x", "y"]
    assert read_table(tmp_path / "b.parquet").column_names == ["when", "x", "n", "word", "good", "y"]


def test_a_second_copy_of_a_row_counts(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n1\n2\n")
    (tmp_path / "b.csv").write_text("x\n1\n2\n2\n")
    a, b = (fingerprint(tmp_path / name, label=None) for name in ("a.csv", "b.csv"))
    assert a.multiset_root != b.multiset_root


def test_renamed_columns_are_not_the_same_data(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,z\n1,2\n")
    (tmp_path / "c.csv").write_text("y,x\n1,2\n")  # two columns swapped their names
    roots = {fingerprint(tmp_path / name, label=None).multiset_root for name in ("a.csv", "b.csv", "c.csv")}
    assert len(roots) == 3


def test_an_edit_past_the_digits_of_a_float_is_found_in_csv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,x\n98765432109876543210,1e300\n1.5,2\n")
    (tmp_path / "b.csv").write_text("id,x\n98765432109876543211,1e300\n1.5,2\n")
    a, b = (fingerprint(tmp_path / name, label=None) for name in ("a.csv", "b.csv"))
    assert a.multiset_root != b.multiset_root
    assert a.columns == (("id", "text"), ("x", "number"))
    assert read_table(tmp_path / "a.csv").column("id").to_pylist()[1] == 1.5


def test_only_the_label_differs_in_the_features_root(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,0\n2,1\n")
    (tmp_path / "b.csv").write_text("x,y\n1,1\n2,1\n")
    a, b = (fingerprint(tmp_path / name, label="y") for name in ("a.csv", "b.csv"))
    assert a.features_root == b.features_root
    assert a.multiset_root != b.multiset_root


def test_a_column_is_text_when_any_part_of_it_is(tmp_path: Path) -> None:
    whole = tmp_path / "whole.csv"
    whole.write_text("x\n1\n2\nb\n")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "1.csv").write_text("x\n1\n2\n")
    (tmp_path / "parts" / "2.csv").write_text("x\nb\n")
    parts = fingerprint(tmp_path / "parts", label=None)
    assert parts.columns == (("x", "text"),)
    assert parts.ordered_root == fingerprint(whole, label=None).ordered_root


def written(name: str, text: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return write


def broken_page(folder: Path) -> Path:
    frame().to_parquet(folder / "d.parquet", compression="zstd")
    whole = bytearray((folder / "d.parquet").read_bytes())
    whole[4:40] = bytes(36)  # the header of the first page
    (folder / "d.parquet").write_bytes(whole)
    return folder / "d.parquet"


def two_kinds(folder: Path) -> Path:
    (folder / "a.csv").write_text("x,y\n1,2\n")
    (folder / "b.csv").write_text("x,z\n1,2\n")
    return folder


REFUSED: dict[str, tuple[Callable[[Path], Path | str], str]] = {
    "missing file": (lambda folder: folder / "none.csv", r"none\.csv: no such file"),
    "missing by pattern": (lambda folder: f"{folder}/*.parquet", r"no CSV or Parquet file"),
    "empty folder": (lambda folder: folder, r"no CSV or Parquet file"),
    "no bytes": (written("a.csv", ""), r"a\.csv: the file is empty"),
    "no rows": (written("a.csv", "x,y\n"), r"a\.csv: the table has no rows"),
    "ragged": (written("a.csv", "x,y\n1,2\n1,2,777\n"), r"a\.csv: cannot be read as CSV: .*Expected 2 columns, got 3"),
    "same column twice": (written("a.csv", "y,y\n1,2\n"), r"'y' is there twice"),
    "no parquet": (written("a.parquet", "PAR1 and no more"), r"a\.parquet: cannot be read as Parquet"),
    "damaged pages": (broken_page, r"d\.parquet: cannot be read as Parquet"),
    "another format": (written("a.xlsx", "x"), r"neither CSV nor Parquet"),
    "missing label column": (written("a.csv", "x,z\n1,2\n"), r"no column 'y'; it has x, z"),
    "missing labels": (written("a.csv", "x,y\n1,0\n2,NaN\n3,\n"), r"label 'y' is missing in 2 rows: 1, 2"),
    "files of different columns": (two_kinds, r"b\.csv: has other columns than a\.csv: y, z"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_a_table_that_cannot_be_used_is_named(make: Callable[[Path], Path | str], message: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=message) as caught:
        fingerprint(make(tmp_path), label="y")
    assert "777" not in str(caught.value)  # a record's values stay out of messages


def test_rows_without_a_label_can_be_allowed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,0\n2,\n")
    assert fingerprint(tmp_path / "a.csv", label="y", missing_labels=True).rows == 2


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x\n1\n")

    def meanwhile(rows: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> bytes:
        path.write_text("x\n2\n")
        return digests(rows)

    monkeypatch.setattr("assay.lineage.fingerprint.digests", meanwhile)
    with pytest.raises(TableError, match="changed while"):
        fingerprint(path, label=None)


def test_json_and_sidecar_bring_the_whole_fingerprint_back(tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "d.parquet")
    for label in ("y", None):
        mark = fingerprint(tmp_path / "d.parquet", label=label)
        path = store.write(tmp_path / "kept", "spam", mark)
        assert path == tmp_path / "kept" / "spam.rows.bin"
        again = DatasetFingerprint.parse(json.dumps(mark.to_json(), sort_keys=True))
        assert again.row_digests is None
        assert store.read(tmp_path / "kept", "spam", again) == mark
    assert [each.name for each in (tmp_path / "kept").iterdir()] == ["spam.rows.bin"]


def test_an_altered_sidecar_is_refused(tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "d.parquet")
    mark = fingerprint(tmp_path / "d.parquet", label="y")
    path = store.write(tmp_path, "spam", mark)
    whole = path.read_bytes()
    for bad in (whole[:-1], whole + b"\0", bytes([whole[0] ^ 1]) + whole[1:], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        path.write_bytes(bad)
        with pytest.raises(TableError, match="sidecar"):
            store.read(tmp_path, "spam", mark)
    path.unlink()
    with pytest.raises(StorageError, match=r"spam\.rows\.bin"):
        store.read(tmp_path, "spam", mark)


def test_without_sidecar_there_is_nothing_to_write(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    mark = fingerprint(tmp_path / "a.csv", label=None, sidecar=False)
    assert mark.row_digests is None
    with pytest.raises(TableError, match="sidecar"):
        store.write(tmp_path, "spam", mark)
    with pytest.raises(TableError, match="sidecar"):
        mark.with_sidecar(b"", None)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a\0b"])
def test_a_model_s_name_cannot_leave_the_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="file's name"):
        store.path_of(tmp_path, name)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_json_is_a_fingerprint_or_refused(data: st.DataObject) -> None:
    good = DatasetFingerprint({"a.csv": "00"}, {"a.csv": 2}, 2, (("x", "number"),), "aa", "bb", "", None).to_json()
    field = data.draw(st.sampled_from(sorted(good)))
    bad = good | {field: data.draw(json_values)}
    try:
        found = DatasetFingerprint.parse(bad)
    except AssayError:
        return
    assert found.to_json() == bad


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", b"\xff", "[" * 100_000, '{"kind": "x"}'])
def test_text_that_is_no_fingerprint_is_refused(text: str | bytes) -> None:
    with pytest.raises(TableError, match="no fingerprint"):
        DatasetFingerprint.parse(text)


def test_a_column_that_is_an_object_of_two_keys_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,0\n2,1\n")
    said = fingerprint(tmp_path / "t.csv", label="y").to_json()
    said["columns"] = [{"a": None, "integer": None}, {"y": None, "integer": None}]
    with pytest.raises(TableError, match="no fingerprint"):
        DatasetFingerprint.parse(said)
