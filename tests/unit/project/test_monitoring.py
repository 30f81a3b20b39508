"""Whether a monitor run begins to open the known-good copy before it knows what it needs it for."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.small_project import ANNA, CONFIG, ROWS_A_DAY, TODAY, Small, build

from assay.errors import BaselineError, ConfigError
from assay.monitoring.store import save_baseline
from assay.project.baselines import learned_baseline
from assay.project.checks import last
from assay.project.copies import Copies
from assay.project.monitoring import _may_be_due, monitor_model
from assay.project.rebaselining import renew_baseline

DAY = timedelta(days=1)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The copies that were started, whether or not they were needed."""
    seen: list[str | None] = []
    start = Copies.start

    def watched(self: Copies, root: str | None) -> None:
        seen.append(root)
        start(self, root)

    monkeypatch.setattr(Copies, "start", watched)
    return seen


def live(folder: Path, config: str = CONFIG) -> Small:
    small = build(folder, config=config)
    small.go_live()
    return small


def ran(small: Small, begun: list[str | None], now: datetime) -> tuple[int, int]:
    """Windows known after a run, and how many copies it began to open."""
    begun.clear()
    windows = monitor_model(small.reopened(now=now), "spam", now).evaluation.windows
    return windows, len(begun)


def due(small: Small, now: datetime) -> bool:
    """Whether a run begins to open a copy before it knows that it needs one."""
    return _may_be_due(small.project, small.project.config.model("spam"), now)


def test_a_copy_is_begun_when_a_window_may_be_complete(tmp_path: Path, begun: list[str | None]) -> None:
    small = live(tmp_path)
    small.serve(3, start=TODAY)
    windows, started = ran(small, begun, TODAY + 2 * DAY)
    assert windows == 2
    assert started
    assert ran(small, begun, TODAY + 2 * DAY) == (2, 0), "nothing new can be there"
    assert ran(small, begun, TODAY + 3 * DAY - timedelta(minutes=1)) == (2, 0), "the third day is not over"
    assert not due(small, TODAY + 3 * DAY - timedelta(microseconds=1))
    assert due(small, TODAY + 3 * DAY)
    windows, started = ran(small, begun, TODAY + 3 * DAY)
    assert windows == 3
    assert started


def test_a_new_baseline_has_all_windows_to_judge(tmp_path: Path, begun: list[str | None]) -> None:
    small = live(tmp_path)
    small.serve(2, start=TODAY)
    now = TODAY + 2 * DAY
    assert ran(small, begun, now)[0] == 2
    assert ran(small, begun, now) == (2, 0)
    reference = small.folder / "data" / "reference.parquet"
    pq.write_table(pq.read_table(reference).slice(ROWS_A_DAY), reference)
    renew_baseline(small.reopened(now=now), "spam", reason="the first day was odd", signer=small.keys[ANNA], now=now)
    windows, started = ran(small, begun, now)
    assert windows == 2
    assert started


def test_a_run_that_could_not_begin_is_remembered_and_one_that_is_no_run_is_not(tmp_path: Path) -> None:
    small = live(tmp_path)
    learned = learned_baseline(small.project, "spam", now=TODAY)
    save_baseline(small.project.state, "spam", learned)  # by hand: the log tells of none
    with pytest.raises(BaselineError, match="not the newest that the log tells of"):
        monitor_model(small.project, "spam", TODAY)
    assert last(small.project.state, "spam", {"monitoring": DAY})["monitoring"].outcome == "unknown"
    (folder := tmp_path / "unwatched").mkdir()
    start, end = CONFIG.index("[models.spam.predictions]"), CONFIG.index("[models.spam.policy]")
    unwatched = build(folder, config=CONFIG[:start] + CONFIG[end:])
    with pytest.raises(ConfigError, match="names no predictions"):
        monitor_model(unwatched.project, "spam", TODAY)
    assert last(unwatched.project.state, "spam", {"monitoring": DAY})["monitoring"].outcome is None


def test_windows_of_rows_may_be_complete_at_any_time(tmp_path: Path, begun: list[str | None]) -> None:
    small = live(tmp_path, f"{CONFIG}\n[models.spam.monitor]\nwindow = '20rows'\n")
    small.serve(1, start=TODAY)
    windows, started = ran(small, begun, TODAY + DAY)
    assert windows >= 1
    assert started
    assert due(small, TODAY + DAY)
    assert ran(small, begun, TODAY + DAY) == (windows, 1)


def test_the_copy_opens_before_the_rest_is_imported(tmp_path: Path) -> None:
    small = live(tmp_path)
    small.serve(1, start=TODAY)
    script = (
        "import sys; from datetime import datetime; from pathlib import Path\n"
        "from assay.project.copies import Copies; from assay.project.project import Project\n"
        "Copies.start = lambda self, root: print(root is not None, 'scipy' in sys.modules, 'duckdb' in sys.modules)\n"
        "now = datetime.fromisoformat(sys.argv[2])\n"
        "Project.open(Path(sys.argv[1]), now=now, actor='a').monitor('spam', now)"
    )
    place = str(small.project.places.folder.parent / "assay.toml")
    command = [sys.executable, "-c", script, place, (TODAY + DAY).isoformat()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[0] == "True False False", done.stderr
