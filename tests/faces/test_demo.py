"""The story that `make demo` tells, played to its end on the real data, with and without its attacks."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assay.demo.data import BIKES, RAIN, fetch
from assay.demo.rain_story import NATURAL
from assay.demo.stage import Told
from assay.demo.story import ATTACKS, tell
from assay.errors import ConfigError, DownloadError, StorageError

# The borders of the windows move with the day, and with them what a first verdict sees: these two days have different
# ones, and on both of them a chapter once ended in an early, unsure verdict.
NOW = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
ANOTHER = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


def play(folder: Path, *, now: datetime, without: frozenset[int]) -> tuple[dict[int, Told], str]:
    try:
        for file in (RAIN, BIKES):
            fetch(file)
    except DownloadError as err:
        pytest.skip(f"the demo's data cannot be had here: {err.message}")
    lines: list[str] = []
    told = tell(folder, now=now, without=without, say=lines.append)
    return {row.chapter: row for row in told}, "\n".join(lines)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_chapter_ends_in_the_truth(tmp_path: Path) -> None:
    told, text = play(tmp_path / "demo", now=NOW, without=frozenset())
    assert {chapter: row.right for chapter, row in told.items()} == dict.fromkeys(range(1, 9), True), text
    assert told[4].verdict == "model-tampering"
    assert "sea_level_pressure" in told[5].evidence
    assert told[7].verdict == "37 label flips named"
    kept = json.loads((tmp_path / "demo" / "result.json").read_text(encoding="utf-8"))
    assert [set(row) >= {"chapter", "truth", "verdict", "right", "delay_days", "evidence"} for row in kept] == [
        True
    ] * 8


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_without_its_attacks_nothing_is_found(tmp_path: Path) -> None:
    told, text = play(tmp_path / "demo", now=ANOTHER, without=ATTACKS)
    quiet = {3: "intact", 6: "intact", 7: "intact", 8: "sound"}
    assert {chapter: told[chapter].verdict for chapter in quiet} == quiet, text
    assert {told[4].verdict, told[5].verdict} <= set(NATURAL), text  # the weather goes on, and moves
    assert told[4].delay_days is None
    assert all(row.right for row in told.values()), text


def test_a_chapter_without_an_attack_cannot_be_left_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="chapter 2 has no attack"):
        tell(tmp_path / "demo", now=NOW, without=frozenset({2}), say=print)


def test_a_folder_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    mine = tmp_path / "demo"
    mine.mkdir()
    (mine / "thesis.txt").write_text("ten years of work")
    try:
        fetch(RAIN)
        fetch(BIKES)
    except DownloadError as err:
        pytest.skip(f"the demo's data cannot be had here: {err.message}")
    with pytest.raises(StorageError, match="not made by the demo"):
        tell(mine, now=NOW, without=frozenset(), say=print)
    assert (mine / "thesis.txt").read_text() == "ten years of work"


def test_cached_data_with_other_bytes_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "rainfall_data.csv"
    place.write_text("day,rain\n1,0\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # nothing can be fetched: what is there must not do instead
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    with pytest.raises(DownloadError, match="50 years of NOAA weather"):
        fetch(RAIN, cache=tmp_path)
    assert not place.exists()
