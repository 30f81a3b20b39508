"""Rows whose time cannot be right make no windows; rows after a pause of the service do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from tests.unit.monitoring.streams import START, written

from assay.engines.base import WindowRows
from assay.engines.duckdb import DuckDb
from assay.engines.shelf import find
from assay.engines.stamps import Files
from assay.findings import Severity
from assay.monitoring.late import Late, late
from assay.monitoring.signals import WindowCounts
from assay.monitoring.stray import Times, bulk, look
from assay.storage.clock import utc_text

ENGINE = DuckDb()
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
NOW = START + 40 * DAY
BORN = datetime(1970, 1, 1, tzinfo=UTC)


def served(days: float, *, start: datetime = START, a_day: int = 100) -> list[datetime]:
    return [start + DAY / a_day * i for i in range(round(days * a_day))]


def seen(
    stamps: Sequence[datetime | None],
    path: Path,
    *,
    width: timedelta | int = DAY,
    now: datetime = NOW,
    live: bool = False,
) -> Times:
    table = pa.table({"ts": pa.array(list(stamps), pa.timestamp("us", tz="UTC"))})
    return look(ENGINE, written(table, path / "t.parquet"), "ts", width, now=now, live=live)


# What stands beside thirty days of a hundred rows each: how many rows are before them, and after.
ODD: dict[str, tuple[list[datetime], int, int]] = {
    "nothing": ([], 0, 0),
    "1970": ([BORN], 1, 0),
    "the year 1": ([datetime(1, 1, 1, tzinfo=UTC)], 1, 0),
    "a year off": ([START + 3 * DAY - 365 * DAY], 1, 0),
    "two months off": ([START - 59 * DAY], 1, 0),
    "several, each from elsewhere": ([BORN, BORN + 9999 * DAY, START - 400 * DAY], 3, 0),
    "a default that many rows have": ([BORN] * 200, 200, 0),
    "as many as a tenth of a window": ([START - 90 * DAY + i * HOUR for i in range(9)], 9, 0),
    "within what a service pauses": ([START - 15 * DAY], 0, 0),
    "an hour of the service, and weeks later the rest": ([START - 90 * DAY + i * DAY / 100 for i in range(20)], 0, 0),
}


@pytest.mark.parametrize("width", [DAY, HOUR, 500])
@pytest.mark.parametrize("name", ODD)
def test_few_rows_far_before_all_others_are_stray(name: str, width: timedelta | int, tmp_path: Path) -> None:
    stamps, before, after = ODD[name]
    times = seen([*served(30), *stamps], tmp_path, width=width)
    assert (times.before.rows, times.after.rows, times.future.rows) == (before, after, 0)
    assert times.first == (START if before == len(stamps) else min(stamps))
    assert times.judged == 3000 + len(stamps) - before


def test_rows_far_behind_all_others_are_stray_when_no_service_pauses_so_long(tmp_path: Path) -> None:
    late = START + 300 * DAY
    times = seen([*served(30), late], tmp_path, now=START + 400 * DAY)
    assert (times.after, times.last) == (WindowRows(1, late, late), served(30)[-1])
    back = seen([*served(30), START + 90 * DAY], tmp_path, now=START + 400 * DAY)
    assert (back.after.rows, back.last) == (0, START + 90 * DAY)


@pytest.mark.parametrize("days", [3, 19, 25, 60, 200])
def test_a_service_that_is_down_for_long_and_comes_back_has_a_pause(days: int, tmp_path: Path) -> None:
    back = START + (15 + days) * DAY
    times = seen([*served(15), *served(2, start=back)], tmp_path, now=back + 9 * DAY)
    assert (times.first, times.judged) == (START, 1700)


@pytest.mark.parametrize("every", [DAY, 3 * DAY, 7 * DAY])
def test_few_rows_each_far_from_the_next_are_no_strays(every: timedelta, tmp_path: Path) -> None:
    stamps = [START + i * every for i in range(60)]
    now = START + 900 * DAY
    assert seen(stamps, tmp_path, now=now).judged == 60
    # The same with pauses of weeks, and with one from elsewhere.
    assert seen([one for i, one in enumerate(stamps) if i % 10], tmp_path, now=now).judged == 54
    assert seen([BORN, *stamps], tmp_path, now=now).before.rows == 1


def test_rows_later_than_the_clock_are_left_out(tmp_path: Path) -> None:
    times = seen([*served(30), NOW + DAY, datetime(2099, 1, 1, tzinfo=UTC), None], tmp_path)
    assert times.future == WindowRows(2, NOW + DAY, datetime(2099, 1, 1, tzinfo=UTC))
    assert (times.last, times.judged, times.behind, times.ends) == (served(30)[-1], 3000, 2, True)
    found = times.findings("ts", NOW, live=False)
    assert [(one.rule, one.severity, one.numbers) for one in found] == [
        ("time.future", Severity.WARNING, {"rows": 2, "of": 3002})
    ]
    assert "2 rows are from 2026-02-15 00:00 to 2099-01-01 00:00" in found[0].detail
    assert "they were not judged" in found[0].detail
    assert times.findings("ts", NOW, live=True) == ()


def test_a_table_that_is_mostly_of_the_future_says_that_the_clock_is_wrong(tmp_path: Path) -> None:
    times = seen(served(30), tmp_path, now=START + 14 * DAY)
    assert (times.judged, times.last, times.ends, times.behind) == (3000, served(30)[-1], False, 0)
    (found,) = times.findings("ts", NOW, live=False)
    assert "all are judged; is the clock wrong?" in found.detail


def test_while_rows_come_those_behind_a_pause_are_the_newest(tmp_path: Path) -> None:
    stamps = [BORN, *served(30), START + 300 * DAY, START + 500 * DAY]
    times = seen(stamps, tmp_path, now=START + 400 * DAY, live=True)
    assert (times.before.rows, times.after.rows, times.last) == (1, 0, START + 300 * DAY)
    nothing = seen(served(2), tmp_path, now=START - DAY, live=True)
    assert (nothing.first, nothing.last, nothing.judged) == (None, None, 0)


@pytest.mark.parametrize(
    ("stray", "others", "severity"), [(5, 3, Severity.WARNING), (6, 10, Severity.WARNING), (40, 30, Severity.ERROR)]
)
def test_what_is_stray_is_told_with_its_times(stray: int, others: int, severity: Severity, tmp_path: Path) -> None:
    times = seen([BORN + i * HOUR for i in range(stray)] + served(others), tmp_path)
    (found,) = times.findings("ts", NOW, live=True)
    assert (found.rule, found.subject, found.severity) == ("time.stray", "ts", severity)
    assert found.numbers == {"rows": stray, "of": stray + 100 * others}
    assert found.detail.startswith(f"{stray} rows are from 1970-01-01 00:00 to ")
    assert "(2026-01-05 00:00)" in found.detail


@pytest.mark.slow
@pytest.mark.xdist_group("spark")
@pytest.mark.parametrize("width", [DAY, 500])
def test_spark_tells_the_same(width: timedelta | int, tmp_path: Path) -> None:
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    stamps = [first, BORN, START - 400 * DAY, *served(30), NOW + DAY, last, None]
    table = pa.table({"ts": pa.array(stamps, pa.timestamp("us", tz="UTC"))})
    source = written(table, tmp_path / "t.parquet")
    spark = find("spark local[2]")
    times = look(spark, source, "ts", width, now=NOW)
    assert times == look(ENGINE, source, "ts", width, now=NOW)
    assert (times.before.rows, times.future.rows, times.judged) == (3, 2, 3000)
    windows = [WindowCounts(utc_text(START + i * DAY), utc_text(START + (i + 1) * DAY), 98) for i in range(20)]
    seen = START + 20 * DAY
    for engine in (spark, ENGINE):
        found = late(engine, Files(source), "ts", windows, seen, before=2003, whole=True)
        assert found == Late(40, utc_text(START), 3)


def test_the_ends_of_all_times_are_no_trouble(tmp_path: Path) -> None:
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    times = seen([first, *served(30), last], tmp_path)
    assert (times.before.rows, times.future.rows, times.judged) == (1, 1, 3000)
    assert seen([first, last], tmp_path).judged == 1
    assert seen([None], tmp_path) == Times(None, None)
    assert seen([*served(30), last], tmp_path, now=START - DAY).odd_clock


def test_what_belongs_together_does_not_hang_on_which_end_is_looked_at_first() -> None:
    def piece(day: float, rows: int) -> WindowRows:
        return WindowRows(rows, START + day * DAY, START + (day + 0.9) * DAY)

    calm = [piece(day, 100) for day in range(30)]
    assert bulk(calm, DAY, cell=DAY) == (0, 29)
    # A pause of the service is as long as those to both ends: then all three are pauses.
    assert bulk([piece(-300, 5), *calm, piece(200, 100), *(piece(400 + i, 100) for i in range(9))], DAY, cell=DAY) == (
        0,
        40,
    )
    assert bulk([piece(-300, 5), *calm, piece(400, 5)], DAY, cell=DAY) == (1, 30)
    # Pauses within a piece are not seen: what is as near as twenty of them may be one of them.
    assert bulk([piece(-300, 5), *calm], DAY, cell=20 * DAY) == (0, 30)
