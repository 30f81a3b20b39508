"""What a model is asked and answers is on disk, whole, and the service never stops for it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assay.monitoring.recorder
from assay.engines.base import Source
from assay.engines.duckdb import DuckDb
from assay.errors import StorageError, TableError
from assay.frameworks.base import Prediction
from assay.monitoring.partitions import LABEL_FILE, RECORDED, settle
from assay.monitoring.recorder import KEPT, Recorder

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
ROOT = "ab" * 32


class Clock:
    """Goes a minute forward at every reading."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        self.at += timedelta(minutes=1)
        return self.at


class Threshold:
    """A model: warm or cold."""

    def predict(self, table: pa.Table) -> Prediction:
        x = table["temperature"].to_numpy()
        if np.isnan(x).any():
            raise ArithmeticError("no temperature")
        return Prediction(np.where(x > 10, "warm", "cold"), confidence=np.full(len(x), 0.75))


def read(folder: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = DuckDb().rows(Source((str(folder / "**" / "*.parquet"),)), time="time").to_pylist()
    return rows


def test_rows_lie_in_the_partition_of_their_hour(tmp_path: Path) -> None:
    with Recorder(tmp_path, model=ROOT, clock=Clock()) as recorder:
        for hour in (0, 0, 1, 30):
            recorder.log({"x": hour, "prediction": "a", "time": NOW + timedelta(hours=hour)})
    files = sorted(path.relative_to(tmp_path).parent.as_posix() for path in tmp_path.rglob("*.parquet"))
    assert files == ["date=2026-03-01/hour=09", "date=2026-03-01/hour=10", "date=2026-03-02/hour=15"]
    rows = read(tmp_path)
    assert [row["x"] for row in rows] == [0, 0, 1, 30]
    assert {row["model"] for row in rows} == {ROOT}
    assert len({row["request_id"] for row in rows}) == 4


def test_a_watched_model_answers_the_same_and_all_is_recorded(tmp_path: Path) -> None:
    table, begun = pa.table({"temperature": [5.0, 15.0], "who": ["a", "b"]}), time.perf_counter()
    with Recorder(tmp_path, model=ROOT, clock=Clock()) as recorder:
        watched = recorder.watch(Threshold())
        assert watched.predict(table).labels.tolist() == ["cold", "warm"]
        with pytest.raises(ArithmeticError):
            watched.predict(pa.table({"temperature": [float("nan")], "who": ["c"]}))
        whole = time.perf_counter() - begun
    rows = read(tmp_path)
    assert [(row["who"], row["prediction"], row["confidence"], row["error"]) for row in rows] == [
        ("a", "cold", 0.75, None),
        ("b", "warm", 0.75, None),
        ("c", None, None, "ArithmeticError"),
    ]
    assert all(isinstance(row["latency_s"], float) and 0 < row["latency_s"] < whole for row in rows)
    assert RECORDED.features_of(list(rows[0])) == ("temperature", "who")


def test_inputs_called_like_recorded_columns_are_refused(tmp_path: Path) -> None:
    watched = Recorder(tmp_path, model=ROOT).watch(Threshold())
    with pytest.raises(TableError, match="confidence"):
        watched.predict(pa.table({"temperature": [1.0], "confidence": [1.0]}))


def test_a_full_buffer_and_a_waiting_one_are_written(tmp_path: Path) -> None:
    full, waiting = tmp_path / "full", tmp_path / "waiting"
    recorders = [
        Recorder(full, model=ROOT, clock=Clock(), flush_rows=3, flush_s=3600),
        Recorder(waiting, model=ROOT, clock=Clock(), flush_s=0.05),
    ]
    for recorder in recorders:
        for i in range(3):
            recorder.log({"x": i, "prediction": 1})
    deadline = time.monotonic() + 30
    while not (any(full.glob("**/*.parquet")) and any(waiting.glob("**/*.parquet"))) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [row["x"] for row in read(full)] == [0, 1, 2]
    for recorder in recorders:
        recorder.close()
    assert [row["x"] for row in read(waiting)] == [0, 1, 2]


def test_threads_share_a_recorder_and_no_row_is_lost(tmp_path: Path) -> None:
    with Recorder(tmp_path, model=ROOT, flush_rows=50, flush_s=0.01) as recorder:

        def work(n: int) -> None:
            for i in range(100):
                recorder.log({"x": 100 * n + i, "prediction": 1})

        threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(int(str(row["x"])) for row in read(tmp_path)) == list(range(600))


def test_a_value_of_another_type_costs_no_row(tmp_path: Path) -> None:
    with Recorder(tmp_path, model=ROOT, clock=Clock()) as recorder:
        for value in (1, 2.5, "three", None, [4]):
            recorder.log({"x": value, "prediction": 1, "confidence": "0.5"})
    rows = read(tmp_path)
    assert [row["x"] for row in rows] == ["1", "2.5", "three", None, "[4]"]
    assert [row["confidence"] for row in rows] == [0.5] * 5


def test_a_disk_that_refuses_does_not_stop_the_service_and_rows_follow(tmp_path: Path) -> None:
    folder = tmp_path / "predictions"
    folder.write_text("a file where the folder should be")
    recorder = Recorder(folder, model=ROOT, flush_rows=2, clock=Clock())
    for i in range(5):
        recorder.log({"x": i, "prediction": 1})
    folder.unlink()
    recorder.close()
    assert [row["x"] for row in read(folder)] == [0, 1, 2, 3, 4]


def test_memory_is_bounded_and_what_is_lost_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "predictions"
    folder.write_text("a file where the folder should be")
    recorder = Recorder(folder, model=ROOT, flush_rows=2)
    for i in range(2 * KEPT + 10):
        recorder.log({"x": i, "prediction": 1})
    recorder.flush()
    assert recorder.lost == 10
    with pytest.raises(StorageError, match=f"{2 * KEPT + 10:,} recorded rows"):
        recorder.close()


@pytest.mark.parametrize("hostile", [object(), "\ud800", {1: 2}, float("nan"), 2**70, b"\xff"])
def test_no_value_stops_the_recorder(tmp_path: Path, hostile: object) -> None:
    class Unspeakable:
        def __str__(self) -> str:
            raise RuntimeError

    with Recorder(tmp_path, model=ROOT) as recorder:
        for value in (1.5, hostile, Unspeakable()):
            recorder.log({"x": value, 3: value, "prediction": "a"})  # type: ignore[dict-item]  # no name of a column
            recorder.flush()
        assert recorder.lost == 0
    assert sum(pq.read_metadata(path).num_rows for path in tmp_path.glob("**/*.parquet")) == 3


def test_rows_that_come_after_the_end_are_written_at_once(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, model=ROOT)
    recorder.log({"x": 1, "prediction": 1})
    recorder.close()
    recorder.log({"x": 2, "prediction": 1})
    assert [row["x"] for row in read(tmp_path)] == [1, 2]


def test_a_batch_with_one_name_twice_is_refused(tmp_path: Path) -> None:
    twice = pa.table([pa.array([1]), pa.array([2])], names=["x", "x"])
    with pytest.raises(ValueError, match="twice"):
        Recorder(tmp_path, model=ROOT).log_batch(twice)


def test_a_large_batch_is_taken_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assay.monitoring.recorder, "_PART", 10)
    with Recorder(tmp_path, model=ROOT) as recorder:
        ids = recorder.log_batch(pa.table({"x": list(range(25)), "prediction": ["a"] * 25}))
    assert len(set(ids)) == 25
    assert sorted((row["x"], row["request_id"]) for row in read(tmp_path)) == list(enumerate(ids))


def test_ids_of_many_threads_are_all_different(tmp_path: Path) -> None:
    ids: list[str] = []
    with Recorder(tmp_path, model=ROOT) as recorder:
        row = {"prediction": 1}
        threads = [
            threading.Thread(target=lambda: ids.extend([recorder.log(row) for _ in range(3000)])) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(set(ids)) == 12_000
    assert sorted(str(row["request_id"]) for row in read(tmp_path)) == sorted(ids)


def test_an_hour_that_was_written_is_not_written_again_when_another_was_refused(tmp_path: Path) -> None:
    blocked = tmp_path / "date=2026-03-01" / "hour=10"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where the folder should be")
    recorder = Recorder(tmp_path, model=ROOT)
    for hour in (9, 10):
        recorder.log({"x": hour, "prediction": 1, "time": NOW.replace(hour=hour)})
    recorder.flush()
    (written,) = (tmp_path / "date=2026-03-01" / "hour=09").iterdir()
    written.unlink()  # as compaction would take it away
    blocked.unlink()
    recorder.close()
    assert [row["x"] for row in read(tmp_path)] == [10]


def test_a_forked_process_does_not_write_its_parents_rows(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, model=ROOT)
    recorder.log({"x": 1, "prediction": 1})
    child = os.fork()
    if child == 0:
        recorder.log({"x": 2, "prediction": 1})
        recorder.flush()
        os._exit(0)
    os.waitpid(child, 0)
    recorder.close()
    assert [row["x"] for row in read(tmp_path)] == [1, 2]


def test_a_time_without_zone_is_refused(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, model=ROOT)
    for wrong in (datetime(2026, 3, 1), "2026-03-01"):  # noqa: DTZ001 - naive on purpose
        with pytest.raises(ValueError, match="timezone"):
            recorder.log({"prediction": 1, "time": wrong})


def test_labels_find_their_requests(tmp_path: Path) -> None:
    with Recorder(tmp_path, model=ROOT, clock=Clock()) as recorder:
        ids = [recorder.log({"x": i, "prediction": "a", "time": NOW + timedelta(hours=i)}) for i in range(3)]
        recorder.label(ids[0], "a", NOW + timedelta(days=1))
        recorder.label(ids[2], "b", NOW + timedelta(days=2))
        recorder.label("nobody", "a", NOW)
    assert len(read(tmp_path)) == 3
    done = settle(tmp_path)
    assert (done.joined, done.waiting, done.findings) == (2, 1, ())
    rows = read(tmp_path)
    assert [(row["x"], row.get("label")) for row in rows] == [(0, "a"), (1, None), (2, "b")]
    assert [row.get("label_time") for row in rows] == [NOW + timedelta(days=1), None, NOW + timedelta(days=2)]
    assert (settle(tmp_path).joined, settle(tmp_path).waiting) == (0, 1)


def test_the_later_label_counts_and_contradictions_are_told(tmp_path: Path) -> None:
    with Recorder(tmp_path, model=ROOT) as recorder:
        request_id = recorder.log({"prediction": "a"})
        recorder.label(request_id, "b", NOW + timedelta(hours=2))
        recorder.label(request_id, "a", NOW + timedelta(hours=1))
    done = settle(tmp_path)
    assert [row["label"] for row in read(tmp_path)] == ["b"]
    assert [finding.rule for finding in done.findings] == ["label.contradicted"]


def test_a_label_that_comes_again_changes_nothing(tmp_path: Path) -> None:
    with Recorder(tmp_path, model=ROOT) as recorder:
        request_id = recorder.log({"prediction": 1, "time": NOW})
        for hours in (1, 2, 3):
            recorder.label(request_id, 1, NOW + timedelta(hours=hours))
            recorder.flush()
            assert settle(tmp_path).findings == ()
            assert [(row["label"], row["label_time"]) for row in read(tmp_path)] == [(1, NOW + timedelta(hours=1))]


@pytest.mark.parametrize("late_first", [True, False])
def test_a_label_against_one_that_was_joined_before_is_told_and_the_later_counts(
    tmp_path: Path, *, late_first: bool
) -> None:
    with Recorder(tmp_path, model=ROOT) as recorder:
        request_id = recorder.log({"prediction": "a", "time": NOW})
        told = [("a", NOW + timedelta(hours=1)), ("b", NOW + timedelta(hours=2))]
        rules = []
        for label, at in reversed(told) if late_first else told:
            recorder.label(request_id, label, at)
            recorder.flush()
            rules.append([finding.rule for finding in settle(tmp_path).findings])
    assert rules == [[], ["label.contradicted"]]
    assert [(row["label"], row["label_time"]) for row in read(tmp_path)] == [("b", NOW + timedelta(hours=2))]


@pytest.mark.parametrize(("request_id", "label"), [(None, "a"), ("", "a"), ("1", None)])
def test_a_label_of_no_request_or_without_a_truth_is_refused(tmp_path: Path, request_id: object, label: object) -> None:
    with Recorder(tmp_path, model=ROOT) as recorder, pytest.raises(ValueError, match="id of a request"):
        recorder.label(request_id, label)  # type: ignore[arg-type]  # what a service may have in hand


def test_a_label_that_names_no_request_keeps_no_other_waiting(tmp_path: Path) -> None:
    with Recorder(tmp_path, model=ROOT) as recorder:
        ids = [recorder.log({"prediction": "a", "time": NOW}) for _ in range(2)]
    nameless: list[object] = [ids[0], None, ids[1]]
    table = pa.table({"request_id": nameless, "label": ["a", "b", "c"], "label_time": [NOW, NOW, NOW]})
    (tmp_path / "labels").mkdir()
    pq.write_table(table, tmp_path / "labels" / f"other{LABEL_FILE}")
    done = settle(tmp_path)
    assert (done.joined, done.waiting) == (2, 0)
    assert [(finding.rule, finding.numbers) for finding in done.findings] == [("label.without-request", {"labels": 1})]
    assert sorted(str(row["label"]) for row in read(tmp_path)) == ["a", "c"]
    assert settle(tmp_path).findings == ()


def test_labels_of_requests_that_are_nowhere_are_told_after_a_day(tmp_path: Path) -> None:
    with Recorder(tmp_path, model=ROOT) as recorder:
        recorder.log({"prediction": "a", "time": NOW})
        recorder.label("nobody", "a", NOW)
    assert settle(tmp_path, now=NOW + timedelta(hours=23)).findings == ()
    done = settle(tmp_path, now=NOW + timedelta(hours=25))
    assert (done.waiting, [finding.rule for finding in done.findings]) == (1, ["label.unknown-request"])
    with Recorder(tmp_path, model=ROOT) as recorder:
        recorder.log({"prediction": "a", "time": NOW, "request_id": "nobody"})  # it was only late
    assert settle(tmp_path, now=NOW + timedelta(hours=25)).joined == 1


def test_a_settling_that_was_cut_short_is_finished_by_the_next(tmp_path: Path) -> None:
    with Recorder(tmp_path, model=ROOT) as recorder:
        recorder.label(recorder.log({"prediction": "a", "time": NOW}), "a", NOW)
        recorder.label(recorder.log({"prediction": "a", "time": NOW + timedelta(hours=1)}), "b", NOW)
    kept = {path: path.read_bytes() for path in (tmp_path / "labels").iterdir()}
    settle(tmp_path)
    for path, content in kept.items():  # as if the process had been killed before it took the labels away
        path.write_bytes(content)
    assert settle(tmp_path).joined == 2
    assert [row["label"] for row in read(tmp_path)] == ["a", "b"]
    assert list((tmp_path / "labels").iterdir()) == []


def test_a_damaged_partition_is_told_and_the_others_are_settled(tmp_path: Path) -> None:
    with Recorder(tmp_path, model=ROOT) as recorder:
        recorder.label(recorder.log({"prediction": "a", "time": NOW}), "a", NOW)
    damaged = tmp_path / "date=2026-03-01" / "hour=01" / f"{1:032x}.parquet"
    damaged.parent.mkdir()
    damaged.write_bytes(b"PAR1 half")
    done = settle(tmp_path)
    assert (done.joined, [finding.rule for finding in done.findings]) == (1, ["table.damaged"])


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    stop = threading.Event()
    seen: list[int] = []
    recorder = Recorder(tmp_path, model=ROOT, flush_rows=20, flush_s=0.01)
    recorder.log({"x": -1, "prediction": 1})
    recorder.flush()

    def look() -> None:
        while not stop.is_set():
            seen.append(sum(pq.read_metadata(path).num_rows for path in tmp_path.glob("**/*.parquet")))

    reader = threading.Thread(target=look)
    reader.start()
    for i in range(400):
        recorder.log({"x": i, "prediction": 1})
    recorder.close()
    stop.set()
    reader.join()
    assert seen == sorted(seen)
    assert len(read(tmp_path)) == 401


def test_a_batch_is_recorded_as_its_rows_are(tmp_path: Path) -> None:
    table = pa.table(
        {
            "x": [1, 2],
            "prediction": ["a", "b"],
            "request_id": ["mine", None],
            "time": pa.array([NOW, None], pa.timestamp("ms", tz="Europe/Berlin")),
            "model": pa.array([None, "cd" * 32], pa.string()),
        }
    )
    with Recorder(tmp_path, model=ROOT, clock=Clock()) as recorder:
        ids = recorder.log_batch(table)
        assert recorder.log_batch(table.slice(0, 0)) == []
    rows = read(tmp_path)
    assert [row["request_id"] for row in rows] == ids
    assert ids[0] == "mine" != ids[1]
    assert [row["time"] for row in rows] == [NOW, NOW + timedelta(minutes=1)]
    assert [row["model"] for row in rows] == [ROOT, "cd" * 32]


@pytest.mark.parametrize("times", [pa.array([NOW.replace(tzinfo=None)]), pa.array(["2026-03-01"])])
def test_a_batch_without_timezones_is_refused(tmp_path: Path, times: pa.Array) -> None:
    recorder = Recorder(tmp_path, model=ROOT)
    with pytest.raises(ValueError, match="timezone"):
        recorder.log_batch(pa.table({"prediction": ["a"], "time": times}))


def test_rows_of_different_columns_go_into_one_partition(tmp_path: Path) -> None:
    with Recorder(tmp_path, model=ROOT, clock=Clock()) as recorder:
        recorder.log({"x": 1, "prediction": "a"})
        recorder.log({"y": "two", "prediction": "b"})
        recorder.log({"x": "three", "y": 4, "prediction": "c"})
    (file,) = tmp_path.glob("**/*.parquet")
    assert pq.read_metadata(file).num_rows == 3
    rows = read(tmp_path)
    assert [(row["x"], row["y"]) for row in rows] == [("1", None), (None, "two"), ("three", "4")]


def test_a_process_that_ends_without_closing_writes_what_waits(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from assay.monitoring.recorder import Recorder;"
        "Recorder(Path(sys.argv[1]), model='ab', flush_s=3600).log({'x': 1, 'prediction': 1})"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert [row["x"] for row in read(tmp_path)] == [1]
