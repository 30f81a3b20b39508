"""Rows that come when their window is no longer counted again are told: how many, and since when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine
from tests.unit.monitoring.streams import SCHEMA, START, requests

from assay.engines.base import CountQuery, Source, Tally
from assay.engines.duckdb import DuckDb
from assay.engines.stamps import Files
from assay.findings import Finding
from assay.monitoring.baseline import Baseline
from assay.monitoring.late import Late, late
from assay.monitoring.run import run
from assay.monitoring.signals import WindowCounts
from assay.monitoring.store import save_baseline
from assay.storage.clock import utc_text
from assay.storage.database import open_state

DAYS = 15
LIVE = START + timedelta(days=DAYS)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RECOUNTED = 3


class Counting(DuckDb):
    """DuckDB, and what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[CountQuery] = []

    def counts(self, source: Source, query: CountQuery) -> Tally:
        self.asked.append(query)
        return super().counts(source, query)


class Served:
    """Predictions of some days, written in some way, and a state that judges them."""

    def __init__(self, path: Path, kind: str, baseline: Baseline) -> None:
        self.path, self.kind, self.files = path / "predictions", kind, 0
        self.state: Engine = open_state(path / "state.db")
        self.engine = Counting()
        self.path.mkdir()
        save_baseline(self.state, "spam", baseline)

    def write(self, table: pa.Table) -> None:
        """Rows as they come: a file of each hour, of each day, or one of all."""
        stamps: Sequence[datetime] = table["ts"].to_pylist()
        if self.kind == "file":
            names = ["all"] * len(stamps)
        else:
            names = [f"date={at:%Y-%m-%d}" + (f"/hour={at:%H}" if self.kind == "hours" else "") for at in stamps]
        for name in dict.fromkeys(names):
            self.files += 1
            file = self.path / name / f"{UUID(int=self.files).hex}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table.filter(pa.array([one == name for one in names])), file)

    def run(self, now: datetime) -> tuple[Finding, ...]:
        self.engine.asked.clear()
        source = Source((str(self.path),))
        return run(self.state, self.engine, source, "spam", now=now, recounted=RECOUNTED).findings


def told(findings: Sequence[Finding]) -> list[tuple[str, int]]:
    rules = ("rows.late", "rows.before")
    return [(one.rule, int(one.numbers["rows"])) for one in findings if one.rule in rules]


@pytest.fixture(scope="module")
def baselines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Baseline]:
    file = tmp_path_factory.mktemp("reference") / "reference.parquet"
    table = requests(DAYS, rows=48)
    pq.write_table(table.append_column("came", table["ts"]), file)
    arriving = replace(SCHEMA, label_time="came")
    return {
        f"{window}{' by label' if schema is arriving else ''}": Baseline.learn(
            DuckDb(), Source((str(file),)), schema, window=window, now=LIVE
        )
        for window in ("1d", "6h", "36rows")
        for schema in (SCHEMA, arriving)
    }


@pytest.mark.parametrize("learned", ["1d", "6h", "36rows", "1d by label", "6h by label"])
@pytest.mark.parametrize("kind", ["hours", "days", "file"])
def test_rows_that_come_too_late_are_told_as_many_as_they_are(
    kind: str, learned: str, baselines: dict[str, Baseline], tmp_path: Path
) -> None:
    served = Served(tmp_path, kind, baselines[learned])
    table = requests(10, start=LIVE, rows=48, seed=1)
    table = table.append_column("came", table["ts"])
    rng = np.random.default_rng(2)
    slow = np.sort(rng.choice(np.arange(40, 48 * 4), 7, replace=False))  # of the second to fourth day
    served.write(table.take(np.setdiff1d(np.arange(table.num_rows), slow)))
    assert told(served.run(LIVE + 10 * DAY)) == []
    assert told(served.run(LIVE + 10 * DAY)) == []
    served.write(table.take(slow))
    for _ in range(2):  # as long as they are there
        findings = served.run(LIVE + 10 * DAY)
        assert told(findings) == [("rows.late", 7)]
    (found,) = [one for one in findings if one.rule == "rows.late"]
    assert found.detail.startswith("7 rows came too late to be counted, the oldest in the window of 2026-01-2")
    assert f"only the newest {RECOUNTED} windows are counted again" in found.detail
    # What comes in windows that are counted again is not late.
    served.write(table.slice(48 * 10 - 3))
    assert told(served.run(LIVE + 10 * DAY)) == [("rows.late", 7)]


@pytest.mark.parametrize("kind", ["hours", "days"])
def test_of_recorded_files_nothing_is_read_for_it(kind: str, baselines: dict[str, Baseline], tmp_path: Path) -> None:
    served = Served(tmp_path, kind, baselines["1d"])
    table = requests(10, start=LIVE, rows=48, seed=1)
    served.write(table)
    served.run(LIVE + 10 * DAY)
    served.write(table.slice(5, 2))
    assert told(served.run(LIVE + 10 * DAY)) == [("rows.late", 2)]
    assert all(query.cuts[0] >= LIVE + 7 * DAY for query in served.engine.asked)


def test_of_another_table_only_times_are_read_and_only_where_its_rows_are_not_as_many(
    baselines: dict[str, Baseline], tmp_path: Path
) -> None:
    served = Served(tmp_path, "file", baselines["1d"])
    table = requests(10, start=LIVE, rows=48, seed=1)
    served.write(table)
    served.run(LIVE + 10 * DAY)
    served.run(LIVE + 10 * DAY)
    assert len(served.engine.asked) == 1
    served.write(table.slice(5, 2))
    served.run(LIVE + 10 * DAY)
    assert [len(query.questions) > 0 for query in served.engine.asked] == [True, False]


def test_rows_that_were_deleted_hide_none_that_came_in_other_windows(
    baselines: dict[str, Baseline], tmp_path: Path
) -> None:
    for kind in ("days", "file"):
        (tmp_path / kind).mkdir()
        served = Served(tmp_path / kind, kind, baselines["1d"])
        table = requests(10, start=LIVE, rows=48, seed=1)
        served.write(table)
        served.run(LIVE + 10 * DAY)
        for file in served.path.rglob("*.parquet"):
            file.unlink()
        served.write(table.slice(96))
        served.write(table.slice(200, 5))
        assert told(served.run(LIVE + 10 * DAY)) == [("rows.late", 5)]


def test_rows_older_than_the_first_window_are_told_apart(baselines: dict[str, Baseline], tmp_path: Path) -> None:
    for kind in ("hours", "days", "file"):
        (tmp_path / kind).mkdir()
        served = Served(tmp_path / kind, kind, baselines["1d"])
        served.write(requests(10, start=LIVE, rows=48, seed=1))
        served.run(LIVE + 10 * DAY)
        served.write(requests(1, start=LIVE - 3 * DAY, rows=11))
        served.write(requests(1, start=LIVE + DAY, rows=48).slice(7, 1))
        assert told(served.run(LIVE + 10 * DAY)) == [("rows.late", 1), ("rows.before", 11)]


def test_a_file_of_which_some_rows_are_older_than_all_windows_says_nothing(tmp_path: Path) -> None:
    # The windows begin within a day, with a deployment: how many of that day's rows are older is not known.
    folder = tmp_path / "predictions" / f"date={START:%Y-%m-%d}"
    folder.mkdir(parents=True)
    pq.write_table(requests(1), folder / f"{UUID(int=1).hex}.parquet")
    windows = [
        WindowCounts(utc_text(START + begins * HOUR), utc_text(START + ends * HOUR), 50)
        for begins, ends in ((12, 18), (18, 24))
    ]
    files = Files.of(Source((str(tmp_path / "predictions"),)))
    found = late(Counting(), files, "ts", windows, START + DAY, before=0, whole=False)
    assert found == Late(0, "", 0)
