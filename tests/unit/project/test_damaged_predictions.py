"""A damaged file among the predictions: an error that names it, the rest is judged, and nothing looks well."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.small_project import CONFIG, ROWS_A_DAY, TODAY, Small, build
from tests.unit.cli.prompt import at, typed

from assay.monitoring.partitions import write_whole
from assay.project import checks
from assay.project.health import project_health

DAY = timedelta(days=1)
LATER = TODAY + 5 * DAY
RECORDED = CONFIG.replace("predictions/*.parquet", "predictions/date=*/**/*.parquet")


@pytest.fixture
def small(tmp_path: Path) -> Small:
    """Two files: five days, and two of them once more."""
    made = build(tmp_path)
    made.go_live()
    made.serve(5, start=TODAY)
    made.serve(2, start=TODAY + 3 * DAY, seed=9)
    return made


def monitoring(small: Small) -> tuple[str | None, str]:
    limits = {"monitoring": 2 * DAY}
    found = checks.last(small.project.state, "spam", limits)["monitoring"]
    return found.outcome, found.detail


def test_the_rest_is_judged_and_what_is_mended_counts_later(small: Small) -> None:
    (bad,) = small.folder.glob("predictions/*-9.parquet")
    content = bad.read_bytes()
    bad.write_bytes(content[:500])
    with at(small.folder, now=LATER):
        said = typed("monitor", "spam")
        assert said.code == 3
        assert "spam: 5 windows" in said.out
        assert f"error    table.damaged: cannot read {bad}: it is damaged, or only half written" in said.out
        assert "any window may lack rows of it" in said.out
        assert typed("monitor", "spam").code == 3  # it is told as long as it is there
        (health,) = project_health(small.project, now=LATER).models
        assert (monitoring(small)[0], health.light.value) == ("unknown", "uncertain")
        assert str(bad) in monitoring(small)[1]
        bad.write_bytes(content)
        mended = typed("monitor", "spam")
        assert mended.code == 0
        assert "table.damaged" not in mended.out
        assert mended.out.count("window.late-rows") == 2
        assert f"{ROWS_A_DAY} rows came after the window of {(TODAY + 3 * DAY):%Y-%m-%d}" in mended.out
    assert monitoring(small)[0] == "pass"


def test_every_file_damaged_is_no_run_at_all(small: Small) -> None:
    for path in small.folder.glob("predictions/*.parquet"):
        path.write_bytes(b"noise")
    with at(small.folder, now=LATER):
        typed("monitor", "spam").refused(2, ".parquet: it is damaged")
    assert monitoring(small)[0] == "unknown"


def test_in_an_open_process_a_recorded_file_that_is_damaged_is_told_at_every_run(tmp_path: Path) -> None:
    small = build(tmp_path, config=RECORDED)
    small.go_live()
    small.serve(5, start=TODAY)
    folder = small.folder / "predictions"
    (whole,) = folder.glob("*.parquet")
    table = pq.read_table(whole)
    hours = pc.floor_temporal(table["ts"], unit="hour")
    for place, hour in enumerate(pc.unique(hours).to_pylist()):
        path = folder / f"date={hour:%Y-%m-%d}" / f"hour={hour:%H}" / f"{place:032x}.parquet"
        write_whole(table.filter(pc.equal(hours, hour)), path)
    whole.unlink()
    bad = folder / f"date={TODAY + DAY:%Y-%m-%d}" / "hour=07"
    (bad,) = bad.iterdir()
    content = bytearray(bad.read_bytes())
    end = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    content[4:end] = bytes(one ^ 0x5A for one in content[4:end])  # its end is as it was: only its rows are gone
    rows = pq.read_metadata(bad).num_rows
    bad.write_bytes(bytes(content))
    for _ in range(2):
        seen = small.project.monitor("spam", LATER)
        (told,) = [one for one in seen.findings if one.rule == "table.damaged"]
        assert told.subject == str(bad)
        assert "windows between 2026-03-03 07:00 and 2026-03-03 08:00 UTC may lack rows of it" in told.detail
        assert [one.rows for one in seen.evaluation.series][1] == ROWS_A_DAY - rows
        assert monitoring(small)[0] == "unknown"
