"""Files that cannot be a table end in one sentence that names the file, and never in fewer rows."""

from __future__ import annotations

import gzip
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import assay.engines.relation
from assay.engines.base import Source
from assay.engines.duckdb import DuckDb
from assay.engines.files import find
from assay.engines.relation import connect
from assay.errors import TableError

ENGINE = DuckDb()
GOOD = b"ts,x\n2026-03-01,1\n"


def source(path: Path, content: bytes) -> Source:
    path.write_bytes(content)
    return Source((str(path),))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("more_values.csv", GOOD + b"2026-03-02,2,3\n", "line 3"),
        ("fewer_values.csv", GOOD + b"2026-03-02\n", "line 3"),
        ("open_quote.csv", GOOD + b'2026-03-02,"secret\n', "line 3"),
        ("latin1.csv", GOOD + b"2026-03-02,\xe9t\xe9\n", "line 3"),
        ("long.csv", GOOD + b"2026-03-02," + b"y" * 2_000_001 + b"\n", "longer than 2 MB"),
        ("latin1_header.csv", b"ts,\xe9t\xe9\n1,2\n", "UTF-8"),
        ("empty.csv", b"", "empty"),
        ("blank.csv", b"\n\n", "empty"),
        ("twins.csv", b"ts,x,X\n1,2,3\n", "'x' and 'X'"),
        ("same.csv", b"x,x\n1,2\n", "'x' and 'x'"),
        ("noise.parquet", b"PAR1" + bytes(100), "cannot read"),
        ("empty.parquet", b"", "cannot read"),
        ("noise.csv.gz", b"\x1f\x8b" + bytes(9), "noise.csv.gz"),
        ("cut.csv.gz", gzip.compress(GOOD * 900, mtime=0)[:40], "cut.csv.gz"),
        ("model.pkl", b"x", "neither CSV nor Parquet"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    with pytest.raises(TableError) as caught:
        ENGINE.span(source(tmp_path / name, content), "ts")
    assert name in str(caught.value)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_bad_file_among_good_ones_is_named(tmp_path: Path) -> None:
    for i in range(3):
        pq.write_table(pa.table({"x": [i]}), tmp_path / f"good{i}.parquet")
    (tmp_path / "good1b.parquet").write_bytes((tmp_path / "good1.parquet").read_bytes()[:-30])
    with pytest.raises(TableError, match=r"good1b\.parquet"):
        ENGINE.columns(Source((str(tmp_path),)))


def test_twins_over_two_files_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    source(tmp_path / "b.csv", b"X\n1\n")
    with pytest.raises(TableError, match="cannot tell apart"):
        ENGINE.columns(Source((str(tmp_path),)))


@pytest.mark.parametrize("path", ["gone.csv", "gone/*.parquet", "https://example.org/t.parquet", "s3://bucket/t.csv"])
def test_what_is_not_there_is_said(tmp_path: Path, path: str) -> None:
    with pytest.raises(TableError, match=r"gone|example|bucket"):
        ENGINE.columns(Source((path if "//" in path else str(tmp_path / path),)))


def test_a_folder_without_tables_is_no_empty_table(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(TableError, match="found no CSV or Parquet file"):
        ENGINE.columns(Source((str(tmp_path),)))


@pytest.mark.parametrize("name", ["a[1].csv", "a*b?.csv", "o'clock.csv", "a\\b.csv", "ü ß.csv"])
def test_file_names_are_no_patterns_and_no_sql(tmp_path: Path, name: str) -> None:
    (tmp_path / "a1.csv").write_bytes(GOOD * 9)
    (tmp_path / "axb2.csv").write_bytes(GOOD * 9)
    assert ENGINE.span(source(tmp_path / name, GOOD), "ts").rows == 1


def test_the_first_line_is_the_header_even_when_all_is_text(tmp_path: Path) -> None:
    table = ENGINE.rows(source(tmp_path / "t.csv", b"\xef\xbb\xbfname;;kind\r\nanna;1;x\r\nben;2;y\r\n"))
    assert table.to_pydict() == {"name": ["anna", "ben"], "column1": [1, 2], "kind": ["x", "y"]}


@pytest.mark.parametrize("at_once", [1, 5, 256])
def test_types_are_settled_over_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(assay.engines.relation, "AT_ONCE", at_once)
    head = b"whole,real,flag,kind,day,none\n"
    lines = b"1,1,true,1,2026-03-01,\n" * 3000 + b"2,1.5,False,x,2026-03-01T01:00:00Z,NA\n"
    families = ENGINE.columns(source(tmp_path / "t.csv", head + lines))
    assert dict(families) == {
        "whole": "integer",
        "real": "number",
        "flag": "boolean",
        "kind": "text",
        "day": "time",
        "none": "text",
    }


def test_folder_names_are_no_columns(tmp_path: Path) -> None:
    where = tmp_path / "date=2026-03-01" / "hour=05"
    where.mkdir(parents=True)
    pq.write_table(pa.table({"x": [1]}), where / "t.parquet")
    pq.write_table(pa.table({"x": [2]}), where / ".t.parquet.tmp")
    (where / ".half.parquet").write_bytes(b"half")
    assert list(ENGINE.columns(Source((str(tmp_path / "**" / "*.parquet"),)))) == ["x"]
    assert ENGINE.rows(Source((str(tmp_path),))).num_rows == 1


def test_only_recorded_hours_are_left_out_unread(tmp_path: Path) -> None:
    names = {}
    for hour in (4, 5, 6):
        where = tmp_path / "date=2026-03-01" / f"hour={hour:02}"
        where.mkdir(parents=True)
        names[hour] = str(where / f"{hour:032x}.parquet")
        Path(names[hour]).write_bytes(b"")
    other = tmp_path / "date=2026-03-01" / "hour=04" / "other.parquet"
    other.write_bytes(b"")
    start = datetime(2026, 3, 1, 5, tzinfo=UTC)
    found = find(Source((str(tmp_path),)), since=start, until=start + timedelta(hours=1))
    assert found == (str(other), names[5]) or found == (names[5], str(other))


def test_nothing_is_fetched_and_nothing_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with connect() as connection:
        names = ("autoinstall_known_extensions", "autoload_known_extensions")
        asked = ", ".join(f"current_setting('{name}')" for name in names)
        assert connection.sql(f"SELECT {asked}").fetchall() == [(False, False)]
        with pytest.raises(duckdb.Error):
            connection.sql("SELECT * FROM read_parquet('https://example.org/t.parquet')")
    ENGINE.rows(source(tmp_path / "t.csv", GOOD))
    assert os.listdir(tmp_path) == ["t.csv"]  # noqa: PTH208 - names are what is asked


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.binary(max_size=200), st.sampled_from(["csv", "parquet", "csv.gz"]))
def test_any_bytes_are_a_table_or_our_error(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"any.{suffix}"
    path.write_bytes(b"ts,x\n" + content if suffix == "csv" else content)
    try:
        table = ENGINE.rows(Source((str(path),)))
    except TableError:
        return
    assert table.num_columns > 0


def test_tables_are_found_in_folders_but_not_in_hidden_or_linked_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = ("a/b/x.parquet", "a/c.d/q.csv.gz", "date=2026-01-01/hour=01/y.parquet", "folder.parquet/k.csv", "z.tsv")
    for name in (*shown, ".h/1.csv", "a/.h/2.csv", ".3.parquet", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x\n1\n")
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    (tmp_path / "linked.csv").symlink_to(tmp_path / "z.tsv")
    (tmp_path / "nowhere.csv").symlink_to(tmp_path / "gone")
    names = sorted((*shown, "linked.csv"))
    assert find(Source((f"{tmp_path}//",))) == tuple(str(tmp_path / name) for name in names)
    monkeypatch.chdir(tmp_path)
    assert find(Source((".",))) == tuple(names)
    assert find(Source(("./a/",))) == ("a/b/x.parquet", "a/c.d/q.csv.gz")
