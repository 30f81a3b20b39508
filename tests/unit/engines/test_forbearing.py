"""A file that cannot be read is left out and told, and the others are counted as if it were not there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from assay.engines.base import Bins, CountQuery, Number, Oddities, Question, Source, Tally
from assay.engines.duckdb import DuckDb
from assay.engines.forbearing import NAMED, Forbearing, trouble_of
from assay.errors import TableError
from assay.findings import Severity

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS, ROWS = 5, 300
NOW = START + DAYS * DAY
QUERY = CountQuery(
    "ts", tuple(START + day * DAY for day in range(DAYS + 1)), (Question("x", (Bins(Number("x"), (70.0,)),)),)
)


def table(day: int) -> pa.Table:
    times = [START + day * DAY + DAY / ROWS * row for row in range(ROWS)]
    words = [f"{row * 7919 % 1009:04}" for row in range(ROWS)]  # hardly packed: what is flipped is data
    return pa.table(
        {"ts": pa.array(times, pa.timestamp("us", "UTC")), "x": [float(row) for row in range(ROWS)], "c": words}
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for day in range(DAYS):
        pq.write_table(table(day), tmp_path / f"{day}.parquet", compression="zstd")
    return tmp_path


def flipped(path: Path) -> None:
    """The pages are noise, the end says what it said: nothing is seen before the rows are read."""
    content = bytearray(path.read_bytes())
    end = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    for place in range(4, end):
        content[place] ^= 0x5A
    path.write_bytes(bytes(content))


def as_csv(path: Path, content: bytes) -> None:
    path.unlink()
    path.with_suffix(".csv").write_bytes(content)


SPOILED: dict[str, Callable[[Path], object]] = {
    "noise": lambda p: p.write_bytes(b"PAR1 nonsense"),
    "half written": lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]),
    "empty": lambda p: p.write_bytes(b""),
    "flipped pages": flipped,
    "time of another type": lambda p: pq.write_table(table(2).set_column(0, "ts", pa.array([True] * ROWS)), p),
    "column of another type": lambda p: pq.write_table(table(2).set_column(1, "x", pa.array([{"a": 1}] * ROWS)), p),
    "csv of noise": lambda p: as_csv(p, b"\x00\xff\x01" * 99),
    "csv of half a line": lambda p: as_csv(p, b"ts,x,c\n2026-01-03,1\n"),
    "empty csv": lambda p: as_csv(p, b""),
    "csv packed as noise": lambda p: p.rename(p.with_suffix(".csv.gz")).write_bytes(b"\x1f\x8bnoise"),
}


def asked(engine: Forbearing, source: Source) -> tuple[Tally, Oddities, int]:
    odd = engine.oddities(source, time="ts", now=NOW, columns=("x",))
    rows = engine.rows(source, time="ts").num_rows
    return engine.counts(source, QUERY), odd, rows


@pytest.mark.parametrize("how", SPOILED)
def test_the_rest_is_counted_and_the_file_is_an_error(folder: Path, how: str) -> None:
    SPOILED[how](folder / "2.parquet")
    (bad,) = folder.glob("2.*")
    with pytest.raises(TableError):
        DuckDb().counts(Source((str(folder),)), QUERY)
    engine = Forbearing(DuckDb())
    tally, odd, rows = asked(engine, Source((str(folder),)))
    good = Source(tuple(str(folder / f"{day}.parquet") for day in range(DAYS) if day != 2))
    assert tally == DuckDb().counts(good, QUERY)
    assert [window.rows for window in tally.windows] == [ROWS, ROWS, 0, ROWS, ROWS]
    assert (odd.rows, rows) == (4 * ROWS, 4 * ROWS)
    (told,) = engine.findings()
    assert (told.rule, told.subject, told.severity) == ("table.damaged", str(bad), Severity.ERROR)
    assert str(bad) in told.detail
    assert "mend it or take it away" in told.detail
    assert engine.columns(Source((str(folder),))) == DuckDb().columns(good)


def test_which_windows_may_lack_rows_is_told_by_the_name_or_by_the_end_of_the_file(folder: Path) -> None:
    hour = folder / "date=2026-01-04" / "hour=07"
    hour.mkdir(parents=True)
    (hour / f"{'a' * 32}.parquet").write_bytes(b"noise")
    flipped(folder / "2.parquet")
    (folder / "3.parquet").write_bytes(b"noise")
    engine = Forbearing(DuckDb())
    asked(engine, Source((str(folder),)))
    spans = {Path(one.path).name: one.finding().detail for one in engine.left_out}
    assert "windows between 2026-01-03 00:00 and 2026-01-03 23:55 UTC may lack rows of it" in spans["2.parquet"]
    assert "any window may lack rows of it" in spans["3.parquet"]
    assert "windows between 2026-01-04 07:00 and 2026-01-04 08:00 UTC" in spans[f"{'a' * 32}.parquet"]


def test_a_mended_file_is_read_again(folder: Path) -> None:
    content = (folder / "2.parquet").read_bytes()
    (folder / "2.parquet").write_bytes(content[:99])
    source = Source((str(folder),))
    assert asked(Forbearing(DuckDb()), source)[0].windows[2].rows == 0
    (folder / "2.parquet").write_bytes(content)
    later = Forbearing(DuckDb())
    assert asked(later, source)[0] == DuckDb().counts(source, QUERY)
    assert later.findings() == ()


def test_without_a_damaged_file_nothing_else_is_asked(folder: Path) -> None:
    engine = Forbearing(DuckDb())
    source = Source((str(folder),))
    assert asked(engine, source)[0] == DuckDb().counts(source, QUERY)
    assert engine.findings() == ()
    assert engine.name == "duckdb"
    assert asked(engine, Source(table=table(1)))[0].windows[1].rows == ROWS
    assert engine.span(source, "ts").rows == DAYS * ROWS
    assert len(engine.steps(source, "ts", ROWS)) == DAYS + 1
    assert engine.profile(source, {"x": Number("x")})["x"].rows == DAYS * ROWS


def test_a_table_of_damaged_files_alone_is_an_error(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_bytes(b"noise")
    with pytest.raises(TableError, match=r"0\.parquet"):
        Forbearing(DuckDb()).counts(Source((str(folder),)), QUERY)
    with pytest.raises(TableError, match=r"3\.parquet"):
        Forbearing(DuckDb()).counts(Source((str(folder / "3.parquet"),)), QUERY)


def test_a_question_that_no_file_answers_is_an_error_and_no_fault_of_the_files(folder: Path) -> None:
    pq.write_table(table(2).append_column("more", pa.array([1] * ROWS)), folder / "2.parquet")
    engine = Forbearing(DuckDb())
    with pytest.raises(TableError, match="'nothing'"):
        engine.span(Source((str(folder),)), "nothing")
    assert engine.findings() == ()


def test_many_damaged_files_are_told_together(folder: Path) -> None:
    for number in range(NAMED + 3):
        (folder / f"bad{number:03}.parquet").write_bytes(b"noise")
    engine = Forbearing(DuckDb())
    assert asked(engine, Source((str(folder),)))[0].windows[4].rows == ROWS
    found = engine.findings()
    assert len(found) == NAMED + 1
    assert "3 more files cannot be read" in found[-1].detail


def test_a_damaged_file_among_those_of_other_columns_takes_none_of_them_along(folder: Path) -> None:
    for day in (3, 4):
        pq.write_table(table(day).append_column("more", pa.array([1] * ROWS)), folder / f"{day}.parquet")
    flipped(folder / "4.parquet")
    engine = Forbearing(DuckDb())
    assert [window.rows for window in asked(engine, Source((str(folder),)))[0].windows] == [ROWS] * 4 + [0]
    assert [Path(one.path).name for one in engine.left_out] == ["4.parquet"]


def test_a_file_that_is_taken_away_meanwhile_is_no_damage(folder: Path) -> None:
    class Slow(DuckDb):
        """Is late: what it was given is merged into another file before it is read."""

        late = True

        def counts(self, source: Source, query: CountQuery) -> Tally:
            if self.late:
                self.late = False
                (folder / "2.parquet").rename(folder / "9.parquet")
                raise TableError("gone", files=[str(folder / "2.parquet")])
            return super().counts(source, query)

    engine = Forbearing(Slow())
    assert [window.rows for window in engine.counts(Source((str(folder),)), QUERY).windows] == [ROWS] * DAYS
    assert engine.findings() == ()


def test_whoever_is_not_allowed_to_read_is_told_so_and_not_that_it_is_damaged(
    folder: Path, request: pytest.FixtureRequest
) -> None:
    """Asked by a process without root's rights: root may read everything."""
    open_to_all = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others
    request.addfinalizer(lambda: shutil.rmtree(open_to_all))
    folder = Path(shutil.copytree(folder, open_to_all / "rows"))
    for path in (open_to_all, folder):
        path.chmod(0o755)
    (folder / "1.parquet").chmod(0)
    (folder / "9.csv").write_text("ts,x,c\n2026-01-02,1,a\n")
    (folder / "9.csv").chmod(0)
    program = (
        "import os, sys\n"
        "from assay.engines.base import Source\n"
        "from assay.engines.duckdb import DuckDb\n"
        "from assay.engines.forbearing import Forbearing\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "engine = Forbearing(DuckDb())\n"
        "print(engine.span(Source((sys.argv[1],)), 'ts').rows)\n"
        "for one in engine.findings(): print(one.rule, one.severity, one.detail)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows, *told = done.stdout.splitlines()
    assert rows == str(4 * ROWS)
    assert [one.split()[:2] for one in told] == [["table.forbidden", "error"]] * 2
    assert all("permission denied" in one and "damaged" not in one for one in told)


def test_a_file_is_read_to_its_end(folder: Path) -> None:
    assert trouble_of(str(folder / "0.parquet")) is None
    flipped(folder / "0.parquet")
    said = trouble_of(str(folder / "0.parquet"))
    assert said is not None
    assert said.files == (str(folder / "0.parquet"),)


def test_a_damaged_arrow_file_is_named(folder: Path) -> None:
    (folder / "5.arrow").write_bytes(b"ARROW1 nonsense")
    with pytest.raises(TableError, match=r"5\.arrow"):
        Forbearing(DuckDb()).counts(Source((str(folder),)), QUERY)
