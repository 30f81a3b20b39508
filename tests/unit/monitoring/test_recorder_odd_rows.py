"""A row that no partition can hold is refused where it comes in, and costs no other row."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assay.monitoring.recorder
from assay.errors import StorageError
from assay.monitoring.partitions import LABEL_FILE, recorded_files
from assay.monitoring.recorder import Recorder

ROOT = "ab" * 32
EAST, WEST = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))
BEYOND = 253_402_300_800 * 10**6
"""Microseconds: the first of the year 10000."""


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError


def rows(folder: Path) -> int:
    return sum(int(pq.read_metadata(path).num_rows) for path in recorded_files(folder))


def logged(recorder: Recorder, at: datetime | int) -> None:
    if isinstance(at, int):
        recorder.log_batch(pa.table({"prediction": ["b"], "time": pa.array([at], pa.timestamp("us", "UTC"))}))
    else:
        recorder.log({"prediction": "b", "time": at})


@pytest.mark.parametrize(
    "at",
    [datetime(1, 1, 1, tzinfo=EAST), datetime(9999, 12, 31, 23, tzinfo=WEST), BEYOND, -BEYOND, 2**63 - 1, -(2**63)],
)
def test_a_time_that_no_folder_is_named_for_is_refused_and_costs_no_other_row(
    tmp_path: Path, at: datetime | int
) -> None:
    with Recorder(tmp_path, model=ROOT, flush_s=1000.0) as recorder:
        recorder.log({"prediction": "a"})
        with pytest.raises(ValueError, match="year"):
            logged(recorder, at)
        recorder.log({"prediction": "c"})
    assert rows(tmp_path) == 2


@pytest.mark.parametrize("at", [datetime(1, 1, 1, tzinfo=UTC), datetime(999, 5, 1, tzinfo=UTC), BEYOND - 1])
def test_every_year_of_four_digits_has_a_folder_that_readers_find(tmp_path: Path, at: datetime | int) -> None:
    with Recorder(tmp_path, model=ROOT) as recorder:
        logged(recorder, at)
    assert rows(tmp_path) == 1


def test_a_label_that_came_in_no_year_is_refused(tmp_path: Path) -> None:
    with Recorder(tmp_path, model=ROOT) as recorder, pytest.raises(ValueError, match="year"):
        recorder.label("1", "a", datetime(1, 1, 1, tzinfo=EAST))


@pytest.mark.parametrize("hostile", ["\ud800", 5, Unspeakable()])
def test_no_label_costs_another(tmp_path: Path, hostile: object) -> None:
    with Recorder(tmp_path, model=ROOT) as recorder:
        recorder.label("1", "a")
        recorder.label(hostile, hostile)  # type: ignore[arg-type]  # whatever a service says
        recorder.label("2", "a")
    (file,) = (tmp_path / "labels").glob(f"*{LABEL_FILE}")
    assert {"1", "2"} < set(pq.ParquetFile(file).read()["request_id"].to_pylist())


def test_whatever_goes_wrong_in_writing_rows_wait_and_the_end_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError

    recorder = Recorder(tmp_path, model=ROOT, flush_s=1000.0)
    with monkeypatch.context() as changed:
        changed.setattr(assay.monitoring.recorder, "write_hour", refuse)
        recorder.log({"prediction": "a"})
        recorder.flush()
        with pytest.raises(StorageError, match="1 recorded rows"):
            recorder.close()
    recorder.close()
    assert rows(tmp_path) == 1


def _log_and_end(recorder: Recorder) -> None:
    recorder.log({"prediction": "a"})


def test_a_process_of_multiprocessing_writes_what_waits_when_it_ends(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, model=ROOT, flush_s=1000.0)
    worker = multiprocessing.get_context("fork").Process(target=_log_and_end, args=(recorder,))
    worker.start()
    worker.join()
    assert rows(tmp_path) == 1
