"""Whatever is logged, its row is written, every reader opens the file, and no other row is lost for it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assay.monitoring.partitions
from assay.engines.base import Source
from assay.engines.shelf import find
from assay.monitoring.partitions import LABEL_FILE, recorded_files
from assay.monitoring.recorder import Recorder
from assay.monitoring.rows import together
from assay.monitoring.storable import NESTED, flat, storable

ROOT = "ab" * 32


def within(levels: int, one: object = 1) -> object:
    for _ in range(levels):
        one = [one]
    return one


def written(folder: Path) -> list[dict[str, Any]]:
    """All rows, as Arrow reads them; the engine reads them too."""
    found = [row for path in recorded_files(folder) for row in pq.ParquetFile(path).read().to_pylist()]
    source = Source((str(folder / "date=*/**/*.parquet"),))
    odd = find().oddities(
        source, time="time", now=datetime.now(UTC), request_id=None, label=None, label_time=None, columns=["v"]
    )
    assert odd.rows == len(found)
    return found


ODD = {
    "empty": {},
    "empty-within": {"a": {}},
    "empty-in-a-list": [{}],
    "deep": within(NESTED + 1),
    "deeper": within(500),
    "deep-groups": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}}}},
    "deep-in-an-array": np.array([within(20), 1], dtype=object),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_what_no_file_holds_is_written_as_text_and_costs_no_row(tmp_path: Path, odd: object) -> None:
    with Recorder(tmp_path, model=ROOT) as recorder:
        recorder.log({"v": odd, "prediction": "a"})
        recorder.flush()  # alone in its file, and together with others
        for value in (odd, 1.5, None):
            recorder.log({"v": value, "prediction": "a"})
    rows = written(tmp_path)
    assert len(rows) == 4
    assert [row["v"] for row in rows].count(str(odd)) == 2


def test_a_value_that_holds_itself_does_not_end_the_process(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from assay.monitoring.recorder import Recorder
ring, group = [1], dict()
ring.append(ring)
group["again"] = group
with Recorder(Path({str(tmp_path)!r}), model="m") as recorder:
    for value in (ring, group, (1, [group]), 2):
        recorder.log(dict(v=value, prediction="a"))
    recorder.label("1", ring)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(row["v"] for row in written(tmp_path)) == [
        "(1, [{'again': {...}}])",
        "2",
        "[1, [...]]",
        "{'again': {...}}",
    ]


def test_values_of_few_levels_keep_their_types(tmp_path: Path) -> None:
    kept = [{"v": [0.5, 1.5]}, {"v": [0.25]}]
    with Recorder(tmp_path, model=ROOT) as recorder:
        for row in kept:
            recorder.log({**row, "w": {"a": [1]}, "prediction": "a"})
    assert [(row["v"], row["w"]) for row in written(tmp_path)] == [([0.5, 1.5], {"a": [1]}), ([0.25], {"a": [1]})]
    assert flat([within(NESTED)])
    assert not flat([within(NESTED + 1)])


TWO = pa.array([0, 0], pa.int32())
COLUMNS: dict[str, pa.Array] = {
    "empty-groups": pa.array([{}] * 2, pa.struct([])),
    "interval": pa.array([(1, 2, 3)] * 2, pa.month_day_nano_interval()),
    "run-ends": pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array([1])),
    "union": pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]),
    "no-such-time": pa.array([2**62, 1], pa.timestamp("s")),
    "no-such-zone": pa.array([1, 2], pa.timestamp("us", "Mars/Olympus")),
    "null-word": pa.DictionaryArray.from_arrays(TWO, pa.nulls(1, pa.string())),
    "words-of-groups": pa.DictionaryArray.from_arrays(TWO, pa.array([{"a": 1}])),
    "no-numbers-each": pa.array([[], []], pa.list_(pa.float64(), 0)),
    "no-bytes-each": pa.array([b"", b""], pa.binary(0)),
    "no-utf-8": pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"\xff\xfe")]
    ),
    "one-name-twice": pa.StructArray.from_arrays([pa.array([1, 2]), pa.array([1, 2])], names=["a", "a"]),
    "long-span": pa.array([2**62, 1], pa.duration("s")),
    "deep": pa.nulls(2, pa.array([within(60)]).type),
}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("name", ["v", "prediction", "request_id", "model"])
def test_a_batch_of_any_types_is_written_and_costs_no_other_row(tmp_path: Path, name: str, column: pa.Array) -> None:
    with Recorder(tmp_path, model=ROOT, flush_s=1000.0) as recorder:
        recorder.log_batch(pa.table({name: column, "x": [1, 2]}))
        recorder.flush()
        recorder.log_batch(pa.table({name: column, "x": [1, 2]}))
        recorder.log_batch(pa.table({"v": [1.5], "prediction": [2.5], "x": [3]}))
    assert sorted(row["x"] for row in written(tmp_path)) == [1, 1, 2, 2, 3]


def test_columns_that_can_be_written_stay_as_they_are() -> None:
    table = pa.table(
        {
            "i": pa.array([1, None], pa.int8()),
            "f": pa.array([1.5, None], pa.float32()),
            "t": pa.array(["a", None]),
            "at": pa.array([0, None], pa.timestamp("ns", "Europe/Berlin")),
            "d": pa.array(["a", None]).dictionary_encode(),
            "n": pa.array([None, None], pa.null()),
            "l": pa.array([[1.5], None]),
            "s": pa.array([{"a": 1}, None]),
            "b": pa.array([b"\xff", None]),
        }
    )
    assert storable(table) is table


def test_a_label_of_any_kind_costs_no_other(tmp_path: Path) -> None:
    with Recorder(tmp_path, model=ROOT) as recorder:
        recorder.label("1", "a")
        recorder.label("2", {})  # type: ignore[arg-type]  # whatever a service says
        recorder.label("3", within(200))  # type: ignore[arg-type]
    (file,) = (tmp_path / "labels").glob(f"*{LABEL_FILE}")
    assert pq.ParquetFile(file).read()["label"].to_pylist() == ["a", "{}", str(within(200))]


def test_rows_that_go_with_no_others_are_written_alone_and_what_is_lost_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def choosy(tables: list[pa.Table]) -> pa.Table:
        if len(tables) > 1 or tables[0]["x"][0].as_py() == 2:
            raise OverflowError
        return together(tables)

    monkeypatch.setattr(assay.monitoring.partitions, "together", choosy)
    recorder = Recorder(tmp_path, model=ROOT, flush_s=1000.0)
    for x in (1, 2, 3):
        recorder.log_batch(pa.table({"x": [x]}))
    recorder.flush()
    assert recorder.lost == 1
    assert sorted(row["x"] for path in recorded_files(tmp_path) for row in pq.read_table(path).to_pylist()) == [1, 3]
