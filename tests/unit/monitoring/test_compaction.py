"""Compaction makes few files of many and changes no count, whoever reads and wherever it is killed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.engines.base import Source
from assay.engines.duckdb import DuckDb
from assay.engines.files import REPLACED, find, without_replaced
from assay.errors import StorageError, TableError
from assay.monitoring import compaction
from assay.monitoring.compaction import CLOSED_FOR, GRACE, compact
from assay.monitoring.partitions import recorded_files, settle
from assay.monitoring.recorder import Recorder

DAY = datetime(2026, 3, 1, tzinfo=UTC)
LATER = DAY + timedelta(days=30)
ROOT = "ab" * 32


def source(folder: Path) -> Source:
    return Source((str(folder / "date=*" / "**" / "*.parquet"),))


def counted(folder: Path) -> Counter[tuple[object, ...]]:
    """Every row as the engine reads it."""
    rows = DuckDb().rows(source(folder), time="time").to_pylist()
    return Counter(
        tuple(sorted((name, repr(value)) for name, value in row.items() if value is not None)) for row in rows
    )


def write(folder: Path, *times: datetime, **said: object) -> None:
    """One file for each hour of these times."""
    with Recorder(folder, model=ROOT) as recorder:
        for at in times:
            recorder.log({"prediction": "a", "time": at, **said})


def stages(folder: Path, now: datetime, turns: int = 4) -> None:
    """Compaction again and again, each time after the grace."""
    for turn in range(turns):
        compact(folder, now=now + turn * GRACE)


def test_a_day_that_is_over_becomes_one_file_and_an_hour_of_today_too(tmp_path: Path) -> None:
    for number in range(6):
        write(tmp_path, DAY + timedelta(hours=number % 3, minutes=number), x=number)
        write(tmp_path, DAY + timedelta(days=1, hours=number % 2, minutes=number), x=number)
    before = counted(tmp_path)
    now = DAY + timedelta(days=1, hours=1) + CLOSED_FOR  # the second day's first hour is over, its second is not
    done = compact(tmp_path, now=now)
    assert (done.merged, done.made, done.rows, done.removed) == (9, 2, 9, 0)
    assert counted(tmp_path) == before
    assert compact(tmp_path, now=now + GRACE).removed == 9
    left = sorted(path.relative_to(tmp_path).parent.as_posix() for path in tmp_path.glob("date=*/**/*.parquet"))
    assert left == ["date=2026-03-01", "date=2026-03-02/hour=00", *["date=2026-03-02/hour=01"] * 3]
    assert counted(tmp_path) == before
    (day,) = (tmp_path / "date=2026-03-01").glob("*.parquet")
    assert pq.read_table(day)["x"].to_pylist() == [0, 3, 1, 4, 2, 5]  # in the order of their times


def test_old_files_stay_for_who_has_listed_them_and_the_list_for_who_lists_slowly(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path, DAY, x=number)
    listed = find(source(tmp_path))
    compact(tmp_path, now=LATER)
    assert sum(pq.read_metadata(path).num_rows for path in listed) == 3
    assert len(find(source(tmp_path))) == 1
    assert compact(tmp_path, now=LATER + GRACE / 2).removed == 0
    assert compact(tmp_path, now=LATER + GRACE).removed == 3
    slow = [*listed, *find(source(tmp_path))]  # listed while they were taken away
    assert (tmp_path / "date=2026-03-01" / REPLACED).exists()
    assert len(without_replaced(slow)) == 1
    compact(tmp_path, now=LATER + 2 * GRACE)
    assert not (tmp_path / "date=2026-03-01" / REPLACED).exists()


def test_late_rows_are_counted_at_once_and_put_to_the_others_later(tmp_path: Path) -> None:
    write(tmp_path, DAY, x=1)
    write(tmp_path, DAY, x=2)
    compact(tmp_path, now=LATER)
    write(tmp_path, DAY + timedelta(hours=5), x=3)
    assert counted(tmp_path).total() == 3
    stages(tmp_path, LATER + GRACE)
    assert len(recorded_files(tmp_path)) == 1
    assert counted(tmp_path).total() == 3


def test_files_whose_columns_differ_in_type_stay_apart(tmp_path: Path) -> None:
    for value in (1, 2, 1.5, "one", None, 2.5):
        write(tmp_path, DAY, x=value)
    write(tmp_path, DAY, y=1)
    before = counted(tmp_path)
    stages(tmp_path, LATER)
    types = sorted(str(pq.read_schema(path).field("x").type) for path in recorded_files(tmp_path))
    assert types == ["double", "int64", "string"]
    assert counted(tmp_path) == before


def test_columns_whose_names_differ_by_case_only_are_not_put_into_one_file(tmp_path: Path) -> None:
    write(tmp_path, DAY, x=1)
    write(tmp_path, DAY, X=2)
    assert compact(tmp_path, now=LATER).merged == 0


def test_files_that_are_large_together_stay_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        write(tmp_path, DAY, x=number, text="word " * 100)
    size = sum(pq.read_metadata(path).row_group(0).total_byte_size for path in recorded_files(tmp_path))
    monkeypatch.setattr(compaction, "MOST_BYTES", size // 2)
    assert compact(tmp_path, now=LATER).made == 2


def test_a_damaged_file_is_told_and_left(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path, DAY, x=number)
    damaged = tmp_path / "date=2026-03-01" / "hour=00" / f"{1:032x}.parquet"
    damaged.write_bytes(b"PAR1 half")
    done = compact(tmp_path, now=LATER)
    assert (done.merged, [finding.rule for finding in done.findings]) == (3, ["table.damaged"])
    assert damaged.exists()


def test_only_what_a_recorder_named_is_touched(tmp_path: Path) -> None:
    write(tmp_path, DAY, x=1)
    write(tmp_path, DAY, x=2)
    mine = tmp_path / "date=2026-03-01" / "hour=00" / "mine.parquet"
    pq.write_table(pa.table({"x": [3]}), mine)
    (tmp_path / "date=soon").mkdir()
    stages(tmp_path, LATER)
    assert mine.exists()


@pytest.mark.parametrize("name", ["../../outside.parquet", "hour=00/../x.parquet", "/etc/passwd", "x.parquet"])
def test_an_edited_list_takes_no_other_file_away(tmp_path: Path, name: str) -> None:
    write(tmp_path, DAY, x=1)
    marker = tmp_path / "date=2026-03-01" / REPLACED
    told = {"since": "2026-03-01T00:00:00Z", "gone": False, "replaced": {f"{1:032x}.parquet": [name]}}
    marker.write_text(json.dumps(told), encoding="utf-8")
    for act in (lambda: compact(tmp_path, now=LATER), lambda: find(source(tmp_path))):
        with pytest.raises(TableError, match="somebody edited it"):
            act()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"replaced": 1}', b'{"replaced": {"a": 1}}', b"\xff", b"[" * 9999]
)
def test_a_list_that_cannot_be_read_is_an_error_and_never_a_wrong_count(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, DAY, x=1)
    (tmp_path / "date=2026-03-01" / REPLACED).write_bytes(content)
    with pytest.raises(TableError, match=REPLACED):
        find(source(tmp_path))


def test_there_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no folder"):
        compact(tmp_path / "none", now=LATER)


def test_labels_find_their_rows_between_any_two_stages(tmp_path: Path) -> None:
    with Recorder(tmp_path, model=ROOT) as recorder:
        ids = []
        for number in range(5):
            ids.append(recorder.log({"prediction": "a", "x": number, "time": DAY}))
            recorder.flush()
        for turn, request_id in enumerate(ids):
            recorder.label(request_id, f"label {turn}", DAY)
            recorder.flush()
            assert settle(tmp_path).joined == 1
            compact(tmp_path, now=LATER + turn * GRACE)
    rows = DuckDb().rows(source(tmp_path), time="time").to_pylist()
    assert sorted((row["x"], row["label"]) for row in rows) == [(number, f"label {number}") for number in range(5)]


class Killed(BaseException):
    """The process ends here."""


def test_killed_at_any_step_nothing_is_lost_or_twice_and_the_next_run_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, killed_at = 0, 0
    real = {name: getattr(Path, name) for name in ("replace", "unlink")}
    fsync = os.fsync

    def step(name: str) -> object:
        def act(self: Path, *args: object, **kwargs: object) -> object:
            nonlocal steps
            steps += 1
            if steps == killed_at:
                raise Killed
            return real[name](self, *args, **kwargs)

        return act

    def sync(fd: int) -> None:
        nonlocal steps
        steps += 1
        if steps == killed_at:
            raise Killed
        fsync(fd)

    written = tmp_path / "written"
    for number in range(3):
        write(written, DAY + timedelta(hours=number % 2), x=number)
        write(written, DAY, x=number + 0.5)
    before = counted(written)
    for killed_at in range(1, 60):
        folder = tmp_path / str(killed_at)
        shutil.copytree(written, folder)
        steps, died = 0, False
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", step("replace"))
            patched.setattr(Path, "unlink", step("unlink"))
            patched.setattr(os, "fsync", sync)
            try:
                stages(folder, LATER)
            except Killed:
                died = True
        assert counted(folder) == before, killed_at
        stages(folder, LATER + 9 * GRACE, turns=7)
        assert counted(folder) == before, killed_at
        assert len(list(folder.glob("date=*/**/*.parquet"))) == 2, killed_at
        assert not [path for path in folder.rglob(".*") if path.name != ".settle.lock"], killed_at
        if not died:
            break
    assert 15 < killed_at < 59  # every step was met


SERVICE = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from assay.monitoring.compaction import compact

now = datetime(2026, 4, 1, tzinfo=UTC)
print("ready", flush=True)
while True:
    compact(Path(sys.argv[1]), now=now, grace=timedelta(seconds=1))
    now += timedelta(seconds=1)
"""


@pytest.mark.parametrize("turn", range(3))
def test_a_killed_compaction_loses_no_row(tmp_path: Path, turn: int) -> None:
    for number in range(9):
        write(tmp_path, DAY + timedelta(hours=number, days=number % 3), x=number)
        write(tmp_path, DAY + timedelta(hours=number, days=number % 3), x=-number)
    before = counted(tmp_path)
    worker = subprocess.Popen([sys.executable, "-c", SERVICE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    worker.stdout.readline()
    time.sleep(random.Random(turn).uniform(0, 0.08))  # noqa: S311 - when to kill is no secret
    os.kill(worker.pid, signal.SIGKILL)
    worker.communicate()
    assert counted(tmp_path) == before
    stages(tmp_path, LATER + timedelta(days=9), turns=5)
    assert counted(tmp_path) == before


def test_who_reads_meanwhile_sees_every_row_once(tmp_path: Path) -> None:
    ended = threading.Event()
    seen: list[int] = []
    wrong: list[BaseException] = []
    for number in range(40):
        write(tmp_path, DAY + timedelta(hours=number % 6), x=number)

    def read() -> None:
        engine = DuckDb()
        while not ended.is_set():
            try:
                seen.append(engine.span(source(tmp_path), "time").rows)
            except BaseException as err:  # noqa: BLE001 - told below
                wrong.append(err)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(12):
        # As long as the grace: until whoever had listed files before this turn has read them.
        compact(tmp_path, now=LATER + turn * GRACE)
        write(tmp_path, DAY + timedelta(hours=turn % 6), x=turn)
        known = len(seen)
        while len(seen) < known + 2 and not wrong:
            time.sleep(0.005)
    ended.set()
    reader.join()
    assert wrong == []
    assert seen == sorted(seen)
    assert counted(tmp_path).total() == 52


HOURS = st.integers(0, 60)
VALUES = st.one_of(st.integers(-5, 5), st.floats(-1, 1), st.sampled_from(["a", "b"]), st.none())
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.lists(st.tuples(HOURS, VALUES), min_size=1, max_size=4)),
        st.tuples(st.just("label"), st.integers(0, 30)),
        st.tuples(st.just("compact"), st.integers(0, 90)),
        st.tuples(st.just("settle"), st.none()),
    ),
    max_size=14,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(acts=ACTS)
def test_any_order_of_writing_labelling_and_compacting_gives_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, object]]
) -> None:
    plain, compacted = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("compacted")
    now, ids = DAY + timedelta(hours=50), 0
    for what, told in acts:
        for folder in (plain, compacted):
            with Recorder(folder, model=ROOT, clock=lambda: DAY) as recorder:
                if what == "write":
                    assert isinstance(told, list)
                    for number, (hour, value) in enumerate(told):
                        at = DAY + timedelta(hours=hour)
                        recorder.log({"prediction": "a", "x": value, "time": at, "request_id": f"{ids + number}"})
                elif what == "label":
                    recorder.label(str(told), "b", DAY)
            if what == "settle" or (what == "label" and ids > 20):
                settle(folder)
        if what == "compact":
            assert isinstance(told, int)
            now += timedelta(minutes=told)
            compact(compacted, now=now)
        ids += len(told) if isinstance(told, list) else 0
        if ids:
            assert counted(compacted) == counted(plain)
