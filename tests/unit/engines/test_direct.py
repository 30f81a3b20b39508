"""Files that are counted without a statement are counted as a statement counts them, bit for bit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assay.engines import direct, plain, streaming
from assay.engines.base import (
    Bins,
    CountQuery,
    Distance,
    Failed,
    Gap,
    Number,
    Oddities,
    Profile,
    Quantity,
    Question,
    Source,
    Tally,
    Text,
    Values,
    Wrong,
)
from assay.engines.grouping import distinct
from assay.engines.made import Difference, TextFigure
from assay.engines.shelf import find
from assay.errors import TableError

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
MICROS = int(START.timestamp()) * 1_000_000
WORDS = ("", "a", "A", " false ", "0", "True", "cat", "'; --", 'say "cat"', "a\0b", "käse", "日本", "1", "2", "-3")
NUMBERS = (0.0, -0.0, 1.0, 2.5, -1e300, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf"))


@contextmanager
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything is asked in a statement."""
    with monkeypatch.context() as patched:
        patched.setattr(plain, "MOST_FILES", 0)
        yield


def holes(rng: np.random.Generator, values: Sequence[object], kind: pa.DataType) -> pa.Array:
    share = rng.choice([0.0, 0.2, 1.0], p=[0.4, 0.55, 0.05])
    return pa.array([None if rng.random() < share else one for one in values], kind)


def table(rng: np.random.Generator, rows: int) -> pa.Table:
    """Rows of everything that is plain."""
    steps = rng.integers(-(10**9), 4 * 3600 * 10**6, rows) if rng.random() < 0.5 else np.arange(rows) * 10**7
    wide = rng.choice(np.array(["int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"]))
    whole = [int(one) for one in rng.integers(0, 5, rows)]
    if wide == "int64" and rows:
        whole[0] = 2**63 - 1  # no double is this number
    return pa.table(
        {
            "ts": holes(rng, [MICROS + int(one) for one in steps], pa.timestamp("us", rng.choice(["UTC", ""]) or None)),
            "came": holes(rng, [MICROS + int(one) for one in rng.permutation(steps)], pa.timestamp("us", "UTC")),
            "id": holes(rng, [f"r{one}" for one in rng.integers(0, 2 * rows + 1, rows)], pa.string()),
            "x": holes(rng, list(rng.choice(NUMBERS, rows)), rng.choice([pa.float64(), pa.float32()])),
            "z": holes(rng, list(rng.normal(size=rows)), pa.float64()),
            "n": holes(rng, whole, getattr(pa, str(wide))()),
            "b": holes(rng, list(rng.random(rows) < 0.5), pa.bool_()),
            "c": holes(rng, list(rng.choice(WORDS, rows)), rng.choice([pa.string(), pa.large_string()])),
            "d": holes(rng, list(rng.choice(WORDS[:4], rows)), pa.string()).dictionary_encode(),
            "e": holes(rng, list(rng.choice(["", "timeout", "False", " 0", "0"], rows)), pa.string()),
            "label": holes(rng, list(rng.choice(["0", "1", "2", "cat"], rows)), pa.string()),
            "whole": holes(rng, [float(one) for one in rng.integers(-1, 3, rows)], pa.float64()),
        }
    )


LENGTH = TextFigure("c", "length")
EDGES = ((0.0,), (-1.0, 0.5, 2.0), (-3.0, -1.0, -0.5, 0.0, 0.3, 1.0, 2.0, 4.0))
CODES = (
    *(Bins(of, edges) for edges in EDGES for of in (Number("x"), Number("z"), Number("n"), Number("b"))),
    Bins(Distance("x", "z"), EDGES[2]),
    Bins(Difference("n", "x"), EDGES[1]),
    Bins(Gap("x", "c", "label"), (0.2, 0.7)),
    Bins(Gap("z", "whole", "n"), (0.2, 0.7)),
    Values(Text("c"), WORDS[2:]),
    Values(Text("d"), ("a", "cat", "a")),
    Values(Text("n"), ("1", "3", "9223372036854775807")),
    Values(Text("b"), ("true",)),
    Values(Text("whole"), ("0", "-1", "1.0")),
    Values(Text("label"), ()),
    Failed("e"),
    Failed("n"),
    Failed("x"),
    Failed("b"),
    Wrong("c", "label"),
    Wrong("whole", "n"),
    Wrong("label", "whole"),
    Wrong("b", "e"),
)


def query(rng: np.random.Generator) -> CountQuery:
    chosen = [CODES[i] for i in rng.permutation(len(CODES))[:9]]
    questions = tuple(
        Question(f"q{i}", tuple(chosen[i : i + 1 + int(rng.integers(0, 2))]), "label" if rng.random() < 0.5 else "time")
        for i in range(len(chosen))
    )
    cuts = tuple(START + i * HOUR for i in range(int(rng.integers(2, 6))))
    came, answered = "came" if rng.random() < 0.5 else None, cuts[1] if rng.random() < 0.3 else None
    return CountQuery("ts", cuts, questions, label="label", label_time=came, answered=answered)


def write(rng: np.random.Generator, folder: Path, rows: int, files: int) -> Source:
    """Files of the same columns and types, each written another way."""
    first = table(rng, rows)
    for i in range(files):
        mine = first if not i else first.take(pa.array(rng.permutation(rows)[: max(1, rows // 2)]))
        pq.write_table(
            mine,
            folder / f"{i}.parquet",
            row_group_size=int(rng.choice([7, 1000])),
            use_dictionary=bool(rng.random() < 0.7),
            version=str(rng.choice(["1.0", "2.6"])),
            coerce_timestamps="us",
        )
    return Source(tuple(str(folder / f"{i}.parquet") for i in range(files)))


def strange(source: Source, rng: np.random.Generator) -> Callable[[], Oddities]:
    """A question about rows, the same each time it is asked."""
    columns = list(rng.permutation(["x", "n", "b", "c", "d", "came"])[:4])
    since = START + HOUR if rng.random() < 0.5 else None
    came = "came" if rng.random() < 0.5 else None
    label = str(rng.choice(["label", "whole", "x"]))
    request_id = str(rng.choice(["id", "n", "whole"]))

    def ask() -> Oddities:
        return find("duckdb").oddities(
            source,
            time="ts",
            now=START + 2 * HOUR,
            request_id=request_id,
            label=label,
            label_time=came,
            columns=columns,
            since=since,
        )

    return ask


@pytest.mark.parametrize("seed", range(40))
def test_what_arrays_say_a_statement_says_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = int(rng.choice([1, 3, 60, 700]))
    source = write(rng, tmp_path, rows, int(rng.integers(1, 4)))
    asked, look = query(rng), strange(source, rng)
    told = direct.counts(source.paths, asked, list(distinct(asked.questions)))
    assert told is not None, "these columns are plain"
    here: tuple[Tally, Oddities] = find("duckdb").counts(source, asked), look()
    with statements(monkeypatch):
        assert direct.counts(source.paths, asked, list(distinct(asked.questions))) is None
        assert (find("duckdb").counts(source, asked), look()) == here


@pytest.mark.parametrize("seed", range(5))
def test_few_columns_at_once_say_what_all_together_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = np.random.default_rng(100 + seed)
    source = write(rng, tmp_path, 300, 2)
    asked = query(rng)
    wanted: dict[str, Quantity | Text] = {
        "x": Number("x"),
        "n": Number("n"),
        "far": Distance("x", "z"),
        "c": Text("c"),
        "long": LENGTH,
    }

    def ask() -> tuple[Tally, Mapping[str, Profile]]:
        return find("duckdb").counts(source, asked), find("duckdb").profile(source, wanted, quantiles=(0.0, 0.1, 1.0))

    with statements(monkeypatch):
        here = ask()
        monkeypatch.setattr(streaming, "AT_ONCE", 1)
        assert repr(ask()) == repr(here)  # which tells every bit of a number
    assert list(here[1]) == list(wanted)


def test_rows_that_do_not_fit_are_told_by_a_statement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(np.random.default_rng(7), tmp_path, 700, 1)
    wanted: dict[str, Quantity | Text] = {"z": Number("z"), "long": LENGTH}
    here = find("duckdb").profile(source, wanted, quantiles=(0.1, 0.9))
    monkeypatch.setattr(streaming, "MOST_SORTED", 699)
    assert find("duckdb").profile(source, wanted, quantiles=(0.1, 0.9)) == here


UNPLAIN: dict[str, pa.Array] = {
    "decimals": pa.array([1, 2, None], pa.decimal128(9, 2)),
    "half": pa.array(np.array([0.5, 1, 2], np.float16)),
    "numbers in words": pa.array(["1.5", "nan", "high"]),
    "decimals as texts": pa.array([0.1, 1e17, 2.0]),
    "days": pa.array([1, 2, 3], pa.date32()),
    "milliseconds": pa.array([1, 2, 3], pa.timestamp("ms")),
    "bytes": pa.array([b"1", b"\xff", None]),
    "lists": pa.array([[1.0], None, [2.0]]),
    "nothing": pa.nulls(3),
    "spaces of Unicode": pa.array(["\u2003false\u2003", "\xa0", "x"]),
}


@pytest.mark.parametrize("name", UNPLAIN)
def test_what_is_not_plain_is_left_to_a_statement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    stamp = pa.array([MICROS, MICROS + 1, MICROS + 2], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"ts": stamp, "x": UNPLAIN[name]}), tmp_path / "t.parquet")
    source = Source((str(tmp_path / "t.parquet"),))
    code = (
        Failed("x")
        if name == "spaces of Unicode"
        else Values(Text("x"), ("2",))
        if name == "decimals as texts"
        else None
    )
    asked = CountQuery("ts", (START, START + HOUR), (Question("q", (code or Bins(Number("x"), (1.0, 1.5)),)),))
    assert direct.counts(source.paths, asked, list(distinct(asked.questions))) is None
    told = find("duckdb").counts(source, asked)
    with statements(monkeypatch):
        assert find("duckdb").counts(source, asked) == told


def test_what_is_made_of_texts_is_left_to_a_statement(tmp_path: Path) -> None:
    pq.write_table(pa.table({"ts": pa.array([MICROS], pa.timestamp("us")), "x": ["word"]}), tmp_path / "t.parquet")
    asked = CountQuery("ts", (START, START + HOUR), (Question("q", (Bins(TextFigure("x", "length"), (3.0,)),)),))
    assert direct.counts((str(tmp_path / "t.parquet"),), asked, list(distinct(asked.questions))) is None


@pytest.mark.parametrize("stamp", [2**63 - 1, -(2**63) + 1, 9_200_000_000_000_000_001])
def test_a_time_that_is_none_is_left_to_a_statement(tmp_path: Path, stamp: int) -> None:
    # The last but one whole numbers are a database's infinite times.
    pq.write_table(pa.table({"ts": pa.array([stamp], pa.timestamp("us"))}), tmp_path / "t.parquet")
    asked = CountQuery("ts", (START, START + HOUR), ())
    assert direct.counts((str(tmp_path / "t.parquet"),), asked, []) is None


def test_files_that_differ_are_left_to_a_statement(tmp_path: Path) -> None:
    stamp = pa.array([MICROS, MICROS], pa.timestamp("us"))
    for name, x in (("a", pa.array([1, 2])), ("b", pa.array([1.5, 2.5]))):
        pq.write_table(pa.table({"ts": stamp, "x": x}), tmp_path / f"{name}.parquet")
    files = tuple(str(tmp_path / f"{name}.parquet") for name in "ab")
    asked = CountQuery("ts", (START, START + HOUR), (Question("q", (Values(Text("x"), ("1",)),)),))
    assert direct.counts(files[:1], asked, list(distinct(asked.questions))) is not None
    assert direct.counts(files, asked, list(distinct(asked.questions))) is None


def test_files_that_no_column_tells_apart_are_left_to_a_statement(tmp_path: Path) -> None:
    stamp = pa.array([MICROS + 1, MICROS], pa.timestamp("us"))
    for name in "ab":
        pq.write_table(pa.table({"ts": stamp, "FileName": [name] * 2}), tmp_path / f"{name}.parquet")
    files = tuple(str(tmp_path / f"{name}.parquet") for name in "ab")
    assert plain.read(files[:1], ["ts"]) is not None
    assert plain.read(files, ["ts"]) is None


@pytest.mark.parametrize("flaw", ["rows", "bytes", "files"])
def test_what_is_large_is_left_to_a_statement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flaw: str) -> None:
    file = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"ts": pa.array([MICROS] * 50, pa.timestamp("us"))}), file)
    assert plain.read([file], ["ts"]) is not None
    monkeypatch.setattr(plain, f"MOST_{flaw.upper()}", 0 if flaw == "files" else 49)
    assert plain.read([file], ["ts"]) is None


@pytest.mark.parametrize("flaw", ["no utf-8", "cut", "empty", "twins", "no column", "csv"])
def test_a_broken_file_is_refused_by_a_statement(tmp_path: Path, flaw: str) -> None:
    file = tmp_path / ("t.csv" if flaw == "csv" else "t.parquet")
    names = {"ts": pa.array([MICROS], pa.timestamp("us")), "no column" if flaw == "no column" else "x": ["a"]}
    made = pa.table(names | ({"X": ["b"]} if flaw == "twins" else {}))
    if flaw == "no utf-8":
        bad = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 1], np.int32).tobytes()), pa.py_buffer(b"\xff"))
        made = made.set_column(1, "x", bad)
    pq.write_table(made, file)
    if flaw in {"cut", "empty"}:
        file.write_bytes(file.read_bytes()[:40] if flaw == "cut" else b"")
    asked = CountQuery("ts", (START, START + HOUR), (Question("q", (Values(Text("x"), ("a",)),)),))
    assert direct.counts((str(file),), asked, list(distinct(asked.questions))) is None
    if flaw == "twins":  # of two names that differ in their case, a database renames one
        assert find("duckdb").counts(Source((str(file),)), asked).answers["q"] == {(0, 0): 1}
        return
    with pytest.raises(TableError):
        find("duckdb").counts(Source((str(file),)), asked)


def test_a_recorded_file_is_read_once_for_both_questions_and_anew_when_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "date=2026-03-01" / "hour=00" / f"{1:032x}.parquet"
    file.parent.mkdir(parents=True)
    opened: list[str] = []
    inner = pq.ParquetFile

    def opening(name: str, **how: object) -> pq.ParquetFile:
        opened.append(name)
        return inner(name, **how)

    monkeypatch.setattr(pq, "ParquetFile", opening)
    asked = CountQuery("ts", (START, START + HOUR), (Question("q", (Values(Text("c"), ("a",)),)),))
    for word, code in (("a", 0), ("b", 1)):
        new = file.with_name("new.parquet")
        pq.write_table(pa.table({"ts": pa.array([MICROS] * 2, pa.timestamp("us")), "c": [word] * 2}), new)
        new.replace(file)
        opened.clear()
        source = Source((str(file),))
        odd = find("duckdb").oddities(source, time="ts", now=START + HOUR, request_id="c", columns=["c"])
        assert (odd.rows, odd.repeated_ids) == (2, 1)
        assert find("duckdb").counts(source, asked).answers["q"] == {(0, code): 2}
        assert len(opened) == 1


def test_a_file_of_another_name_is_read_each_time(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    stamp = None
    for word in ("a", "b"):  # written in place within a tick of the clock, as large as before
        pq.write_table(pa.table({"c": [word]}), file)
        stamp = stamp or (file.stat().st_atime_ns, file.stat().st_mtime_ns)
        os.utime(file, ns=stamp)
        (read,) = plain.read([str(file)], ["c"]) or []
        assert read.columns["c"].words == (word,)
