"""Which files are taken for what they were, and which for something else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assay.engines import files
from assay.engines.base import Source
from assay.engines.files import _inside
from assay.engines.stamps import Files, files_at_hand, ids_of, stamped
from assay.errors import TableError

HOUR = timedelta(hours=1)
AT = datetime(2026, 3, 1, 5, tzinfo=UTC)


def _hour(folder: Path, hour: int, table: pa.Table) -> Path:
    file = folder / "date=2026-03-01" / f"hour={hour:02}" / f"{UUID(int=hour).hex}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)
    return file


def test_recorded_files_are_read_one_by_one(tmp_path: Path) -> None:
    files = [_hour(tmp_path, hour, pa.table({"id": ["a"]})) for hour in (5, 6, 7)]
    found = Files.of(Source((str(tmp_path),)))
    assert [(one.first, one.end) for one in found.stamps] == [(AT + i * HOUR, AT + (i + 1) * HOUR) for i in range(3)]
    assert found.newest() == Source((str(files[-1]),))
    assert found.some(AT + HOUR, AT + 2 * HOUR) == Source((str(files[1]),))
    assert found.some(AT + 5 * HOUR, None) == found.newest()  # an engine needs one to know the columns
    assert found.some(None, None) == Source(tuple(map(str, files)))


@pytest.mark.parametrize(
    "flaw", ["another name", "a csv", "a table", "other columns", "another type", "broken", "gone"]
)
def test_what_cannot_be_read_one_by_one_is_read_whole(tmp_path: Path, flaw: str) -> None:
    for hour in (5, 6):
        _hour(tmp_path, hour, pa.table({"id": ["a"], "x": [1]}))
    source = Source((str(tmp_path),))
    if flaw == "another name":
        pq.write_table(pa.table({"id": ["a"], "x": [1]}), tmp_path / "more.parquet")
    elif flaw == "a csv":
        (tmp_path / "more.csv").write_text("id,x\na,1\n")
    elif flaw == "a table":
        source = Source(table=pa.table({"id": ["a"], "x": [1]}))
    elif flaw == "other columns":
        _hour(tmp_path, 7, pa.table({"id": ["a"]}))
    elif flaw == "another type":
        _hour(tmp_path, 7, pa.table({"id": ["a"], "x": [1.0]}))
    elif flaw == "broken":
        _hour(tmp_path, 7, pa.table({"id": ["a"]})).write_bytes(b"PAR1")
    elif flaw == "gone":
        source = Source((str(tmp_path / "nowhere"),))
    found = Files.of(source)
    assert found.stamps == ()
    assert (found.newest(), found.some(AT, None)) == (source, source)


def test_recorded_folders_are_listed_once_and_other_tables_brought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []

    def inside(folder: str) -> list[str]:
        listed.append(folder)
        return _inside(folder)

    monkeypatch.setattr(files, "_inside", inside)
    recorded, other = tmp_path / "recorded", tmp_path / "other"
    _hour(recorded, 5, pa.table({"id": ["a"]}))
    with files_at_hand(Source((str(recorded),))) as found:
        assert [one.first for one in found.stamps] == [AT]
    assert listed == [str(recorded)]
    other.mkdir()
    with (
        pa.OSFile(str(other / "rows.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, pa.schema([("id", pa.string())])) as f,
    ):
        f.write(pa.record_batch({"id": ["b", "c"]}))
    with files_at_hand(Source((str(other),))) as found:
        assert found.stamps == ()
        assert [len(pq.read_table(path)) for path in found.source.paths] == [2]
    with pytest.raises(TableError), files_at_hand(Source(("postgresql://nobody@localhost:1/none#rows",))):
        pass


def test_a_file_in_the_place_of_another_has_another_stamp(tmp_path: Path) -> None:
    file = _hour(tmp_path, 5, pa.table({"id": ["a"]}))
    before = stamped(Source((str(tmp_path),)))
    other = tmp_path / "other"
    pq.write_table(pa.table({"id": ["b"]}), other)
    other.rename(file)
    assert before is not None
    assert stamped(Source((str(tmp_path),))) != before


def test_ids_are_those_that_an_engine_tells_apart(tmp_path: Path) -> None:
    texts = _hour(tmp_path, 5, pa.table({"id": ["a", "b", None, "a"], "n": [1, 2, 2, None]}))
    assert ids_of((str(texts),), "id") == frozenset[object](("a", "b"))
    assert ids_of((str(texts), str(texts)), "n") == frozenset[object]((1, 2))
    assert ids_of((), "id") == frozenset[object]()


@pytest.mark.parametrize("column", ["x", "id.part", "nothing"])
def test_ids_of_other_kinds_are_left_to_the_engine(tmp_path: Path, column: str) -> None:
    table = pa.table({"x": [1.0, 2.0], "id": [{"part": "a"}, {"part": "b"}]})
    assert ids_of((str(_hour(tmp_path, 5, table)),), column) is None
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1")
    assert ids_of((str(broken),), "id") is None
