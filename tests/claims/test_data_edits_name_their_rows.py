"""Promise: an edited table is found and its rows are named; a copy of the same data is recognised."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from assay.findings import Severity
from assay.lineage.compare import compare, difference
from assay.lineage.fingerprint import fingerprint

FLIPS = 37


def table(rows: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    columns: dict[str, object] = {f"x{at}": rng.normal(size=rows) for at in range(4)}
    return pa.table(columns | {"word": rng.integers(0, 50, rows).astype(str), "y": rng.integers(0, 2, rows)})


def flipped(data: pa.Table, at: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.Table:
    labels = data.column("y").to_numpy().copy()
    labels[at] = 1 - labels[at]
    return data.set_column(data.column_names.index("y"), "y", pa.array(labels))


@pytest.mark.parametrize("rows", [50_000, pytest.param(2_000_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("shuffled", [False, True])
def test_labels_flipped_on_37_rows_are_named_exactly_and_told_from_edits(
    rows: int, shuffled: bool, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    at = np.sort(rng.choice(rows, FLIPS, replace=False))
    parquet.write_table(table(rows), tmp_path / "then.parquet")
    now = flipped(table(rows), at)
    order = rng.permutation(rows) if shuffled else np.arange(rows)
    parquet.write_table(now.take(pa.array(order)), tmp_path / "now.parquet")
    old = fingerprint(tmp_path / "then.parquet", label="y")
    new = fingerprint(tmp_path / "now.parquet", label="y")
    what = difference(old, new)
    assert sorted(was for was, _ in what.label_changed) == at.tolist()
    assert sorted(order[[row for _, row in what.label_changed]].tolist()) == at.tolist()
    assert (what.row_changed, what.added, what.removed) == ((), (), ())
    first = compare(old, new)[0]
    assert (first.rule, first.severity, first.numbers["rows_count"]) == (
        "data.label-changed",
        Severity.CRITICAL,
        FLIPS,
    )


def test_an_edit_in_place_with_size_and_time_put_back_is_found(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("x,y\n" + "".join(f"{row},{row % 2}\n" for row in range(1000, 3000)))
    before, old = path.stat(), fingerprint(path, label="y")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"2790,0", b"2790,1"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    (finding,) = compare(old, fingerprint(path, label="y"))
    assert (finding.rule, finding.numbers["rows"]) == ("data.label-changed", "1790")


def test_the_last_row_of_the_last_file_is_not_past_any_sample(tmp_path: Path) -> None:
    def written(data: pa.Table) -> Path:
        for part in range(4):
            parquet.write_table(data.slice(part * 25_000, 25_000), tmp_path / f"part-{part}.parquet")
        return tmp_path

    old = fingerprint(written(table(100_000)), label="y")
    new = fingerprint(written(flipped(table(100_000), np.array([99_999]))), label="y")
    (finding,) = compare(old, new)
    assert finding.numbers["rows"] == "99999"
    assert "part-3.parquet 24999" in finding.detail


def test_a_shuffled_repartitioned_re_encoded_copy_is_the_same_data(tmp_path: Path) -> None:
    original = table(5000).to_pandas()
    original["word"] = "w" + original["word"]  # digits alone would come back from CSV as numbers
    original.to_parquet(tmp_path / "one.parquet")
    frame = original.sample(frac=1, random_state=3).astype({"y": "float32"})
    (tmp_path / "copy").mkdir()
    for at, part in enumerate((frame[:10], frame[10:4000], frame[4000:])):
        part[part.columns[::-1]].to_csv(tmp_path / "copy" / f"{at}.csv", index=False)
    old, new = fingerprint(tmp_path / "one.parquet", label="y"), fingerprint(tmp_path / "copy", label="y")
    found = compare(old, new)
    assert {finding.rule for finding in found} == {"data.rewritten", "data.reordered"}
    assert all(finding.severity is Severity.INFO for finding in found)
    # One row more in one part, and it is not the same data any more.
    pd.concat([frame[:10], frame[:1]]).to_csv(tmp_path / "copy" / "0.csv", index=False)
    changed = [
        f.rule for f in compare(old, fingerprint(tmp_path / "copy", label="y")) if f.severity is not Severity.INFO
    ]
    assert changed == ["data.row-added"]
