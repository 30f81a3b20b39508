"""What a monitor run keeps for the next one spares time and changes nothing: neither answers nor findings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine
from tests.unit.monitoring.streams import SCHEMA, START, requests

from assay.engines.base import CountQuery, Oddities, Source, Tally
from assay.engines.duckdb import DuckDb
from assay.monitoring import run as running
from assay.monitoring import store
from assay.monitoring.baseline import Baseline
from assay.monitoring.judgement import Judged
from assay.monitoring.keeping import Keeper
from assay.monitoring.run import run
from assay.monitoring.settled import Counts
from assay.storage.clock import utc_text
from assay.storage.database import open_state

DAYS = 4
ROWS = 24 * 30
LIVE = START + timedelta(days=DAYS)
HOUR = timedelta(hours=1)
IDENTIFIED = replace(SCHEMA, request_id="id")


class Counting(DuckDb):
    """DuckDB, how many windows each question was about, and how many files each look at rows."""

    def __init__(self) -> None:
        self.windows: list[int] = []
        self.files: list[int] = []

    def counts(self, source: Source, query: CountQuery) -> Tally:
        self.windows.append(len(query.cuts) - 1)
        return super().counts(source, query)

    def oddities(self, source: Source, **how: Any) -> Oddities:  # noqa: ANN401 - handed on
        self.files.append(len(source.paths))
        return super().oddities(source, **how)


class Folder:
    """A folder of recorded hours, and what happens to it."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.rng, self.files = path, np.random.default_rng(seed), 0
        self.wrong = 0.05
        path.mkdir()

    @property
    def source(self) -> Source:
        return Source((str(self.path),))

    def there(self) -> list[Path]:
        return sorted(self.path.rglob("*.parquet"))

    def write(self, hour: int, rows: pa.Table) -> Path:
        at = LIVE + hour * HOUR
        folder = self.path / f"date={at:%Y-%m-%d}" / f"hour={at:%H}"
        folder.mkdir(parents=True, exist_ok=True)
        self.files += 1
        file = folder / f"{UUID(int=self.files).hex}.parquet"
        pq.write_table(rows, file)
        return file

    def hour(self, hour: int, rows: int = 30) -> pa.Table:
        table = requests(
            1, start=LIVE + hour * HOUR, rows=rows * 24, seed=int(self.rng.integers(1 << 30)), wrong=self.wrong
        )
        return table.slice(0, rows)

    def rewrite(self, file: Path, change: Callable[[pa.Table], pa.Table]) -> None:
        """Under another name, as labels are joined."""
        table = change(pq.read_table(file, partitioning=None))
        self.files += 1
        pq.write_table(table, file.with_name(f"{UUID(int=self.files).hex}.parquet"))
        file.unlink()


def _identified(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    """With request ids, some of which come twice, here or in other hours, and some of which are missing."""
    ids = [None if rng.random() < 0.02 else f"request {n}" for n in rng.integers(0, 5000, len(table))]
    return table.append_column("id", pa.array(ids, pa.string()))


def _unlabelled(table: pa.Table) -> pa.Table:
    return table.set_column(table.schema.get_field_index("y"), "y", pa.nulls(len(table), pa.string()))


def _labelled(table: pa.Table) -> pa.Table:
    return table.set_column(table.schema.get_field_index("y"), "y", pc.fill_null(table["y"], "sun"))


def _odd(table: pa.Table) -> pa.Table:
    values = table["temperature"].to_numpy().copy()
    values[:3] = np.nan, np.inf, -np.inf
    return table.set_column(table.schema.get_field_index("temperature"), "temperature", pa.array(values))


def _retyped(table: pa.Table) -> pa.Table:
    return table.set_column(table.schema.get_field_index("hours"), "hours", table["hours"].cast(pa.float64()))


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Baseline:
    file = tmp_path_factory.mktemp("reference") / "reference.parquet"
    pq.write_table(_identified(requests(DAYS, rows=ROWS), np.random.default_rng(0)), file)
    return Baseline.learn(DuckDb(), Source((str(file),)), IDENTIFIED, window="1h", now=LIVE)


class Open:
    """A process that stays open, and one that begins anew each time, before the same files."""

    def __init__(self, tmp_path: Path, patched: pytest.MonkeyPatch, baselines: dict[str, Baseline]) -> None:
        self.patched, self.engine = patched, Counting()
        self.judged, self.counted = Keeper[Judged](), Keeper[Counts]()
        self.ours, self.other = open_state(tmp_path / "ours.db"), open_state(tmp_path / "other.db")
        for name, learned in baselines.items():
            self.learn(name, learned)

    def learn(self, name: str, learned: Baseline) -> None:
        for state in (self.ours, self.other):
            store.save_baseline(state, name, learned)

    def _run(self, state: Engine, folder: Folder, model: str, now: datetime, *, anew: bool) -> str:
        judged, counted = (Keeper[Judged](), Keeper[Counts]()) if anew else (self.judged, self.counted)
        self.patched.setattr(running, "JUDGED", judged)
        self.patched.setattr(running, "COUNTED", counted)
        return repr(run(state, self.engine, folder.source, model, now=now))  # which tells every bit of a number

    def agree(self, folder: Folder, model: str, now: datetime, *, elsewhere: bool = False) -> None:
        """One monitor run; ``elsewhere``: another process does it first, on the same state."""
        if elsewhere:
            self._run(self.ours, folder, model, now, anew=True)
            self._run(self.other, folder, model, now, anew=True)
        assert self._run(self.ours, folder, model, now, anew=False) == self._run(
            self.other, folder, model, now, anew=True
        )


@pytest.fixture
def process(tmp_path: Path, baseline: Baseline, monkeypatch: pytest.MonkeyPatch) -> Open:
    other = replace(baseline, created=utc_text(LIVE - HOUR))
    return Open(tmp_path, monkeypatch, {"spam": baseline, "eggs": other})


def test_only_new_windows_are_counted_when_nothing_else_has_changed(process: Open, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "live", 1)
    for hour in range(6):
        folder.write(hour, folder.hour(hour))
        process.agree(folder, "spam", LIVE + (hour + 1) * HOUR)
    ours, anew = process.engine.windows[::2], process.engine.windows[1::2]
    assert ours == [1] * 6
    assert anew == [1, 2, 3, 4, 5, 6]
    folder.write(3, folder.hour(3, 5))  # late rows: their window and all after it
    process.agree(folder, "spam", LIVE + 6 * HOUR)
    assert process.engine.windows[-2:] == [3, 6]
    process.agree(folder, "spam", LIVE + 6 * HOUR)  # nothing has changed: nothing is counted
    assert process.engine.windows[-1:] == [6]
    assert len(process.engine.windows) == 15


def _comes(folder: Folder, hour: int) -> None:
    """What an hour brings, if anything."""
    what = str(folder.rng.choice(["plain", "plain", "gap", "odd", "unlabelled", "few"]))
    if what != "gap":
        rows = folder.hour(hour, 4 if what == "few" else 30)
        folder.write(hour, {"odd": _odd, "unlabelled": _unlabelled}.get(what, lambda same: same)(rows))


def _comes_late(folder: Folder, hour: int) -> None:
    """What happens to the hours before, and to the next."""
    there = folder.there()
    what = str(folder.rng.choice(["nothing", "nothing", "late", "labels", "gone", "in place", "next", "retyped"]))
    if what == "late":
        back = max(0, hour - int(folder.rng.integers(1, 8)))
        folder.write(back, folder.hour(back, 7))
    elif what == "labels":
        for file in there[-4:-1]:
            folder.rewrite(file, _labelled)
    elif what == "gone" and len(there) > 3:
        there[-2].unlink()
    elif what == "in place" and there:
        pq.write_table(_odd(pq.read_table(there[-1], partitioning=None)), there[-1])
    elif what == "next":
        folder.write(hour + 1, folder.hour(hour + 1, 3))
    elif what == "retyped" and there and folder.rng.random() < 0.3:
        folder.rewrite(there[-1], _retyped)


@pytest.mark.parametrize("seed", range(2))
def test_an_open_process_says_what_one_that_begins_anew_says(process: Open, tmp_path: Path, seed: int) -> None:
    folders = {"spam": Folder(tmp_path / "spam", seed), "eggs": Folder(tmp_path / "eggs", seed + 100)}
    for hour in range(22):
        for model in ("spam", "eggs") if hour % 3 == 0 else ("spam",):
            folder = folders[model]
            folder.wrong = 0.6 if 10 <= hour < 14 else 0.05
            _comes(folder, hour)
            _comes_late(folder, hour)
            if folder.there():
                process.agree(folder, model, LIVE + (hour + 1) * HOUR, elsewhere=folder.rng.random() < 0.2)
    assert store.alarms(process.ours, "spam")


def test_rows_are_looked_at_once_when_nothing_else_has_changed(process: Open, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "live", 1)
    for hour in range(6):
        folder.write(hour, folder.hour(hour))
        process.agree(folder, "spam", LIVE + (hour + 1) * HOUR)
    # The first run looks at all rows, the second at each hour, those after it at the newest; beginning anew, at all.
    assert process.engine.files == [1, 1, 1, 1, 2, 1, 3, 1, 4, 1, 5, 1, 6]
    folder.write(6, folder.hour(6))
    process.agree(folder, "spam", LIVE + 6 * HOUR)  # an hour that is not over is looked at each time
    process.agree(folder, "spam", LIVE + 6 * HOUR)
    assert process.engine.files[-4:] == [1, 7, 1, 7]
    process.agree(folder, "spam", LIVE + 2 * HOUR)  # rows of the future, by a clock that went back
    process.agree(folder, "spam", LIVE + 7 * HOUR)


def test_another_baseline_begins_anew(process: Open, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "live", 1)
    for hour in range(3):
        folder.write(hour, folder.hour(hour))
    process.agree(folder, "spam", LIVE + 3 * HOUR)
    file = tmp_path / "again.parquet"
    pq.write_table(_identified(requests(DAYS, rows=ROWS, seed=9), np.random.default_rng(9)), file)
    learned = Baseline.learn(DuckDb(), Source((str(file),)), IDENTIFIED, window="1h", now=LIVE + 3 * HOUR)
    process.learn("spam", learned)
    process.agree(folder, "spam", LIVE + 4 * HOUR)
    assert process.engine.windows[-2:] == [4, 4]


def test_a_file_that_holds_what_its_name_does_not_promise_is_counted_as_ever(process: Open, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "live", 1)
    for hour in range(4):
        folder.write(hour, folder.hour(hour))
        process.agree(folder, "spam", LIVE + (hour + 1) * HOUR)
    folder.write(4, pa.concat_tables([folder.hour(1, 6), folder.hour(4)]))  # rows of another hour
    process.agree(folder, "spam", LIVE + 5 * HOUR)
    folder.write(5, folder.hour(5))
    process.agree(folder, "spam", LIVE + 6 * HOUR)


def test_a_file_of_the_same_size_and_time_that_was_put_there_is_another(process: Open, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "live", 1)
    file = folder.write(0, folder.hour(0))
    process.agree(folder, "spam", LIVE + HOUR)
    then = file.stat()
    copy = tmp_path / "copy"
    shutil.copy(file, copy)
    os.utime(copy, ns=(then.st_atime_ns, then.st_mtime_ns))
    copy.rename(file)
    process.agree(folder, "spam", LIVE + HOUR)
    assert process.engine.windows == [1, 1, 1, 1]
