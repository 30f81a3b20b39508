"""Who may write into a Recorder's folder may lay links, pipes and odd files there: nothing elsewhere comes to harm."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assay.errors import StorageError
from assay.monitoring.compaction import GRACE, compact
from assay.monitoring.partitions import LABEL_FILE, alone, drop_labels, recorded_files, settle
from assay.monitoring.recorder import Recorder
from assay.monitoring.retention import delete, doom

DAY = datetime(2026, 3, 1, tzinfo=UTC)
NOW = DAY + timedelta(days=9)
STAMP = pa.timestamp("us", "UTC")
NAME = "a" * 32 + ".parquet"


def record(folder: Path, *, first: int = 0, **more: object) -> None:
    """Two files of one row each, for the requests ``r0`` and ``r1``."""
    for place in range(first, first + 2):
        with Recorder(folder, model="ab" * 32) as recorder:
            row = {"prediction": "a", "time": DAY + timedelta(hours=5), "request_id": f"r{place}", **more}
            recorder.log(row)


def label(folder: Path, *ids: str) -> None:
    with Recorder(folder, model="ab" * 32) as recorder:
        for one in ids:
            recorder.label(one, "b", NOW)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    record(tmp_path / "recorded")
    return tmp_path / "recorded"


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    (tmp_path / "precious").write_text("untouched")
    return tmp_path / "precious"


def rows(folder: Path) -> int:
    return sum(int(pq.read_metadata(path).num_rows) for path in recorded_files(folder))


def test_a_link_in_the_place_of_the_lock_empties_no_file(folder: Path, precious: Path) -> None:
    (folder / ".settle.lock").symlink_to(precious)
    for work in (settle, lambda one: compact(one, now=NOW)):
        with pytest.raises(StorageError, match="locked"):
            work(folder)
    assert precious.read_text() == "untouched"


def test_a_link_under_the_name_that_a_file_is_written_by_is_not_followed(folder: Path, precious: Path) -> None:
    file = recorded_files(folder)[0]
    file.with_name(f".{file.name}.tmp").symlink_to(precious)
    label(folder, "r0", "r1")
    assert settle(folder).joined == 2
    assert precious.read_text() == "untouched"
    assert not file.is_symlink()


def test_the_list_of_a_compaction_is_written_through_no_link(folder: Path, precious: Path) -> None:
    (folder / "date=2026-03-01" / ".replaced.json.compacting").symlink_to(precious)
    assert compact(folder, now=NOW).made == 1
    assert precious.read_text() == "untouched"


def test_behind_a_day_that_is_a_link_nothing_is_deleted_or_put_together(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    record(other)
    (folder / "date=2026-02-01").symlink_to(other / "date=2026-03-01")
    with alone(folder), pytest.raises(StorageError, match="is a link"):
        doom(folder, DAY)
    assert compact(folder, now=NOW).merged == 2  # those of the day that is its own
    assert len(recorded_files(other)) == 2


def test_labels_behind_a_link_stay_where_they_are(folder: Path, tmp_path: Path) -> None:
    label(tmp_path / "other", "r0")
    (folder / "labels").symlink_to(tmp_path / "other" / "labels")
    for work in (settle, lambda one: drop_labels(one, NOW + timedelta(days=1))):
        with pytest.raises(StorageError, match="is a link"):
            work(folder)
    assert len(list((tmp_path / "other" / "labels").iterdir())) == 1


def test_a_pipe_is_no_file_to_wait_for(folder: Path) -> None:
    os.mkfifo(folder / "date=2026-03-01" / "hour=05" / NAME)
    label(folder, "r0")
    assert settle(folder).joined == 1
    assert compact(folder, now=NOW).merged == 2
    with alone(folder):
        assert doom(folder, NOW).rows == 2


@pytest.mark.parametrize(
    "columns",
    [
        {"a": [1]},
        {"request_id": ["r0", "r0"], "label": [1, 2], "label_time": pa.array([None, NOW], STAMP)},
        {"request_id": ["r0"], "label": [1], "label_time": pa.array([2**62], STAMP)},
        {"request_id": ["r0"], "label": [1], "label_time": ["2026-03-01"]},
        {"request_id": pa.array([None], pa.string()), "label": [1], "label_time": pa.array([NOW], STAMP)},
        None,
    ],
)
@pytest.mark.parametrize("work", [settle, lambda folder: delete(folder, doom(folder, DAY))])
def test_a_file_that_holds_no_labels_is_named(
    folder: Path, columns: dict[str, object] | None, work: Callable[[Path], object]
) -> None:
    (folder / "labels").mkdir()
    odd = folder / "labels" / f"odd{LABEL_FILE}"
    if columns is None:
        odd.write_bytes(b"no table")
    else:
        pq.write_table(pa.table(columns), odd)
    with pytest.raises(StorageError, match=r"odd\.labels"):
        work(folder)
    assert odd.exists()


@pytest.mark.parametrize(
    "columns",
    [
        {"request_id": ["zz"]},
        {"request_id": ["zz"], "time": [5]},
        {"request_id": ["zz"], "time": pa.array([2**62], STAMP)},
    ],
)
def test_a_partition_that_no_recorder_wrote_is_told_and_the_others_are_settled(
    folder: Path, columns: dict[str, object]
) -> None:
    pq.write_table(pa.table(columns), folder / "date=2026-03-01" / "hour=05" / NAME)
    label(folder, "r0", "zz")
    done = settle(folder)
    assert (done.joined, done.waiting, [one.rule for one in done.findings]) == (1, 1, ["table.damaged"])


@pytest.mark.parametrize(
    ("said", "first"), [("2026-03-11", "b"), ("2026-03-11T00:00:00+00:00", "b"), ("soon", "c"), (7, "c")]
)
def test_a_time_of_a_label_that_was_logged_in_words_is_read_or_counts_as_none(
    tmp_path: Path, said: object, first: str
) -> None:
    record(tmp_path, label="b", label_time=said)
    with Recorder(tmp_path, model="ab" * 32) as recorder:
        recorder.label("r0", "c", NOW)
    assert settle(tmp_path).joined == 1
    told = {row["request_id"]: row["label"] for path in recorded_files(tmp_path) for row in _read(path)}
    assert told == {"r0": first, "r1": "b"}


def _read(path: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = pq.ParquetFile(path).read().to_pylist()
    return found


def test_a_compaction_by_a_clock_that_was_years_ahead_is_ended_by_the_right_one(folder: Path) -> None:
    compact(folder, now=NOW + timedelta(days=3650))
    record(folder, first=2)
    for turn in range(4):
        compact(folder, now=NOW + turn * GRACE)
    assert rows(folder) == 4
    assert len(list(folder.glob("**/*.parquet"))) == 1


def test_a_row_that_comes_while_its_day_is_deleted_keeps_its_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with alone(folder):
        doomed = doom(folder, NOW)
        gone = Path.unlink
        late = {"prediction": "a", "time": DAY + timedelta(hours=5)}

        def unlink(path: Path, *, missing_ok: bool = False) -> None:
            gone(path, missing_ok=missing_ok)
            if path == doomed.files[-1]:
                with Recorder(folder, model="ab" * 32) as recorder:
                    recorder.log(late)

        monkeypatch.setattr(Path, "unlink", unlink)
        assert delete(folder, doomed) == 0
    assert rows(folder) == 1
