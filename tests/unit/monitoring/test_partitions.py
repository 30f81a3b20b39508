"""A file is whole when it has its name, also after the machine stops; what the disk refuses waits in bounded memory."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assay.monitoring.recorder
from assay.errors import StorageError
from assay.monitoring.partitions import (
    LABELS,
    Label,
    _course,
    alone,
    drop_labels,
    recorded_files,
    settle,
    write_labels,
    write_whole,
)
from assay.monitoring.recorder import KEPT, Recorder
from assay.monitoring.rows import as_table

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROWS = pa.table({"x": [1, 2, 3]})
UNWRITABLE = pa.table({"x": pa.array([(1, 2, 3)], pa.month_day_nano_interval())})  # Parquet has no such type


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_bytes_are_on_the_disk_before_the_name_and_the_name_before_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "hour=12" / "a.parquet", list[tuple[str, int, bool]]()
    real = os.fsync

    def watched(fd: int) -> None:
        place = Path(f"/proc/self/fd/{fd}").readlink()
        size = os.fstat(fd).st_size if place.is_file() else 0
        synced.append((place.relative_to(tmp_path).as_posix(), size, path.exists()))
        real(fd)

    monkeypatch.setattr(os, "fsync", watched)
    write_whole(ROWS, path)
    hidden, folder = ("hour=12/.a.parquet.tmp", path.stat().st_size, False), ("hour=12", 0, True)
    assert synced == [hidden, folder], "the whole file, then the name"


def test_what_cannot_be_written_leaves_the_file_of_before_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_whole(ROWS, path)
    with pytest.raises(pa.ArrowException):
        write_whole(UNWRITABLE, path)
    assert pq.read_table(path).equals(ROWS)
    assert names(tmp_path) == ["a.parquet"]


def test_a_link_that_is_laid_at_the_last_moment_is_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    precious, folder = tmp_path / "precious", tmp_path / "hour=12"
    precious.write_text("of somebody else")
    real = Path.unlink

    def laying(self: Path, *, missing_ok: bool = False) -> None:
        real(self, missing_ok=missing_ok)
        monkeypatch.setattr(Path, "unlink", real)
        self.symlink_to(precious)

    monkeypatch.setattr(Path, "unlink", laying)
    with pytest.raises(FileExistsError):
        write_whole(ROWS, folder / "a.parquet")
    assert precious.read_text() == "of somebody else"
    assert names(folder) == []


def test_a_reader_never_meets_a_file_that_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda _: met.extend(tmp_path.glob("**/[!.]*.parquet")))
    write_whole(ROWS, tmp_path / "date=2026-03-01" / "a.parquet")
    assert [path.name for path in met] == ["a.parquet"], "not when its bytes are synced, only when its name is"


def test_only_what_a_recorder_names_so_is_a_recorded_file(tmp_path: Path) -> None:
    day = "date=2026-03-01"
    mine = [f"{day}/hour=12/{'a' * 32}.parquet", f"{day}/hour=13/{'b' * 32}.parquet"]
    others = [f"{day}/report.parquet", f"{day}/hour=12/mine/{'c' * 32}.parquet", f"old/{day}/hour=12/x.parquet"]
    for name in [*mine, *others]:
        write_whole(ROWS, tmp_path / name)
    (tmp_path / day / "hour=14" / f"{'d' * 32}.parquet").mkdir(parents=True)
    assert [path.relative_to(tmp_path).as_posix() for path in recorded_files(tmp_path)] == mine


def labels_kept(folder: Path) -> set[str]:
    """The requests whose labels lie in the folder, by whichever file."""
    files = (folder / LABELS).glob("*.labels")
    return {str(one) for file in files for one in pq.ParquetFile(file).read()["request_id"].to_pylist()}


@pytest.mark.parametrize("act", ["settle", "drop"])
def test_no_label_is_gone_before_those_that_stay_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """Killed at any moment, what waits is in one file or the other."""
    old, new = Label("old", 1, NOON.replace(day=1)), Label("new", 2, NOON.replace(day=20))
    if act == "settle":
        with Recorder(tmp_path, model="ab" * 32) as recorder:
            recorder.log({"x": 1, "prediction": 1, "request_id": "old"})
    write_labels(tmp_path, [old, new], "a")
    real, seen = Path.unlink, list[bool]()

    def watched(self: Path, *, missing_ok: bool = False) -> None:
        real(self, missing_ok=missing_ok)
        if self.name.endswith(".labels"):
            seen.append("new" in labels_kept(tmp_path))

    monkeypatch.setattr(Path, "unlink", watched)
    if act == "settle":
        assert (settle(tmp_path).joined, settle(tmp_path).waiting) == (1, 1)
    else:
        assert drop_labels(tmp_path, NOON.replace(day=2)) == 1
    assert seen == [True]
    assert labels_kept(tmp_path) == {"new"}


def locked(folder: Path) -> bool:
    """Whether somebody holds the folder for themselves."""
    with (folder / ".settle.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_who_settles_holds_the_folder_until_all_is_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Recorder(tmp_path, model="ab" * 32) as recorder:
        recorder.log({"x": 1, "prediction": 1, "request_id": "a"})
    write_labels(tmp_path, [Label("a", 1, NOON)], "a")
    held: list[tuple[str, bool]] = []
    for name in ("replace", "unlink"):
        real = getattr(Path, name)

        def watched(
            self: Path, *args: object, name: str = name, real: Callable[..., object] = real, **how: bool
        ) -> object:
            held.append((name, locked(tmp_path)))
            return real(self, *args, **how)

        monkeypatch.setattr(Path, name, watched)
    assert settle(tmp_path).joined == 1
    assert {("replace", True), ("unlink", True)} == set(held)
    assert not locked(tmp_path)
    with suppress(ZeroDivisionError), alone(tmp_path):
        assert locked(tmp_path)
        raise ZeroDivisionError
    assert not locked(tmp_path)


@pytest.mark.parametrize(
    ("said", "course"),
    [
        (["b", "a"], ["a", "b"]),  # at once: the same in whatever order files are read
        ([1, "1"], ["1"]),  # as a service and as a table says it
        ([True, 1], ["1"]),
        ([1, 1.0], ["1"]),
        (["a", "a", "b"], ["a", "b"]),
    ],
)
def test_labels_of_one_moment_are_one_or_contradict_each_other_in_any_order(
    said: list[str | float], course: list[str]
) -> None:
    told = [Label("a", one, NOON) for one in said]
    for order in (told, told[::-1]):
        assert [str(one.label) for one in _course(order)] == course


def test_settling_touches_no_partition_that_it_has_no_label_for(tmp_path: Path) -> None:
    day = tmp_path / "date=2026-03-01" / "hour=12"
    times = pa.array([NOON], pa.timestamp("us", tz="UTC"))
    other = pa.table({"time": times, "request_id": ["b"], "prediction": [1]})
    for name, table in (("a" * 32, other), ("b" * 32, other.drop_columns(["request_id"]))):
        write_whole(table, day / f"{name}.parquet")
    before = {path: path.stat().st_ino for path in day.iterdir()}
    for name in ("one", "two"):
        write_labels(tmp_path, [Label(name, 1, NOON)] * 2, name)
    found = settle(tmp_path)
    assert (found.joined, found.waiting, found.findings) == (0, 2, ())
    assert {path: path.stat().st_ino for path in day.iterdir()} == before
    assert labels_kept(tmp_path) == {"one", "two"}
    assert len(names(tmp_path / LABELS)) == 1, "together, so that files do not pile up"


def test_a_disk_that_refuses_to_settle_is_our_error_and_keeps_the_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    for name in ("one", "two"):
        write_labels(tmp_path, [Label(name, 1, NOON)], name)
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match="cannot be settled"):
        settle(tmp_path)
    monkeypatch.undo()
    assert labels_kept(tmp_path) == {"one", "two"}
    with pytest.raises(StorageError, match="there is no folder"):
        settle(tmp_path / "nowhere")


@pytest.mark.parametrize("wrong", [{"flush_rows": 0}, {"flush_s": 0.0}, {"flush_s": -1.0}, {"flush_s": float("nan")}])
def test_a_recorder_that_would_never_write_is_refused(tmp_path: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="flush_rows must be at least 1 and flush_s more than 0"):
        Recorder(tmp_path, model="ab" * 32, **wrong)  # type: ignore[arg-type]  # numbers by name


def test_a_label_as_old_as_the_limit_stays(tmp_path: Path) -> None:
    write_labels(tmp_path, [Label("a", 1, NOON)], "a")
    assert drop_labels(tmp_path, NOON) == 0
    assert labels_kept(tmp_path) == {"a"}


def test_labels_wait_in_bounded_memory_too(tmp_path: Path) -> None:
    folder = tmp_path / "predictions"
    folder.write_text("a file where the folder should be")
    recorder = Recorder(folder, model="ab" * 32, flush_rows=1, flush_s=3600)
    recorder._thread = threading.Thread()  # one that never comes: nobody takes them away
    for i in range(KEPT + 7):
        recorder.label(str(i), label=True, at=NOON)
    assert (len(recorder._labels), recorder.lost) == (KEPT, 7)
    recorder.flush()
    assert (len(recorder._labels), recorder.lost) == (KEPT, 7)
    folder.unlink()
    recorder.flush()
    assert labels_kept(folder) == {str(i) for i in range(KEPT)}, "the oldest"
    recorder._thread = None
    with pytest.raises(StorageError, match=r"^7 recorded rows could not be written"):
        recorder.close()  # nothing waits any more, and something is lost


def test_of_rows_that_the_disk_refuses_the_oldest_wait_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "predictions"
    folder.write_text("a file where the folder should be")
    recorder = Recorder(folder, model="ab" * 32, flush_rows=2, flush_s=3600)
    recorder._thread = threading.Thread()  # one that never comes
    for start in (0, 90, 180):
        rows = range(start, start + 90)
        recorder.log_batch(pa.table({"x": rows, "prediction": [1] * 90, "time": [NOON] * 90}))
        recorder.flush()
    assert recorder.lost == 270 - 2 * KEPT
    folder.unlink()
    recorder.flush()
    files = [pq.ParquetFile(path).read()["x"].to_pylist() for path in folder.glob("**/*.parquet")]
    assert sorted(x for file in files for x in file) == list(range(2 * KEPT))
    assert len(files) == 3


def test_who_logs_faster_than_the_disk_writes_waits_for_it(tmp_path: Path) -> None:
    """With nobody else to write, as when the writing thread hangs on a slow disk, rows do not pile up."""
    recorder = Recorder(tmp_path, model="ab" * 32, flush_rows=2, flush_s=3600)
    recorder._thread = threading.Thread()  # one that never comes
    for i in range(3 * KEPT):
        recorder.log({"x": i, "prediction": 1, "time": NOON})
        assert len(recorder._queue) <= 2 * KEPT
    for start in range(0, 3 * KEPT, KEPT):
        recorder.log_batch(pa.table({"x": range(start, start + KEPT), "prediction": [1] * KEPT, "time": [NOON] * KEPT}))
        assert recorder._table_rows + len(recorder._queue) <= 2 * KEPT
    written = sum(pq.ParquetFile(path).metadata.num_rows for path in tmp_path.glob("**/*.parquet"))
    assert written >= 4 * KEPT
    assert recorder.lost == 0


def test_the_writing_thread_outlives_what_goes_wrong_and_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path, model="ab" * 32, flush_s=0.001)
    tried: list[bool] = []

    def failing() -> None:
        tried.append(True)
        recorder._closed = len(tried) == 3
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(recorder, "flush", failing)
        recorder._tend()
    assert len(tried) == 3
    recorder._closed = False
    recorder._start()
    first = recorder._thread
    recorder._start()  # as when two callers log a first row at once
    assert recorder._thread is first
    recorder.close()


def test_one_file_is_written_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path, model="ab" * 32)
    recorder.log({"x": 1, "prediction": 1})
    recorder.label("1", label=True)
    seen: list[bool] = []
    for name in ("write_hour", "write_labels"):
        monkeypatch.setattr(assay.monitoring.recorder, name, lambda *_: seen.append(recorder._writing.locked()))
    recorder.flush()
    assert seen == [True, True]
    monkeypatch.undo()
    recorder.close()


def test_rows_that_are_no_table_are_counted_as_lost_and_cost_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def choosy(names: tuple[str, ...], rows: list[tuple[object, ...]], **how: Callable[[], None]) -> pa.Table:
        if "odd" in names:
            raise OverflowError
        return as_table(names, rows, **how)

    monkeypatch.setattr(assay.monitoring.recorder, "as_table", choosy)
    recorder = Recorder(tmp_path, model="ab" * 32)
    for row in ({"x": 1}, {"odd": 2}, {"x": 3}, {"odd": 4}):
        recorder.log({**row, "prediction": 1})
    recorder.flush()
    assert recorder.lost == 2
    assert [x for path in recorded_files(tmp_path) for x in pq.ParquetFile(path).read()["x"].to_pylist()] == [1, 3]


def test_rows_tried_twice_are_there_once_by_their_name(tmp_path: Path) -> None:
    """The disk took the file and then refused its folder: the second try puts the same rows under the same name."""
    recorder = Recorder(tmp_path, model="ab" * 32)
    recorder.log({"x": 1, "prediction": 1, "time": NOON})
    refuse = [True]
    real = os.fsync

    def refusing(fd: int) -> None:
        if refuse and Path(f"/proc/self/fd/{fd}").readlink().is_dir():
            refuse.clear()
            raise OSError(5, "Input/output error")
        real(fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", refusing)
        recorder.flush()
    (first,) = tmp_path.glob("**/*.parquet")
    recorder.close()
    assert [*tmp_path.glob("**/*.parquet")] == [first]
    assert pq.ParquetFile(first).metadata.num_rows == 1
