"""What a monitor run keeps: all or nothing, and once."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy import Engine, update
from sqlalchemy.exc import IntegrityError
from tests.unit.monitoring.streams import SCHEMA, START, requests, written

from assay.audit.log import AuditLog
from assay.engines.base import Source
from assay.engines.duckdb import DuckDb
from assay.errors import BaselineError, StorageError
from assay.monitoring import store
from assay.monitoring.baseline import Baseline
from assay.monitoring.run import run
from assay.storage.clock import utc_text
from assay.storage.database import open_state, writing
from assay.storage.tables import baselines, outbox
from assay.storage.tables import windows as table_of_windows

ENGINE = DuckDb()
DAYS = 20
LIVE = START + timedelta(days=DAYS)


@pytest.fixture
def state(tmp_path: Path) -> Engine:
    return open_state(tmp_path / "state.db")


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Baseline:
    source = written(requests(DAYS), tmp_path_factory.mktemp("reference") / "reference.parquet")
    return Baseline.learn(ENGINE, source, SCHEMA, window="1d", now=LIVE)


def test_a_run_keeps_windows_and_alarms_and_a_second_run_changes_nothing(
    state: Engine, baseline: Baseline, tmp_path: Path
) -> None:
    source = written(requests(4, start=LIVE, seed=1, wrong=0.6), tmp_path / "live.parquet")
    store.save_baseline(state, "spam", baseline)
    first = run(state, ENGINE, source, "spam", now=LIVE + timedelta(days=4))
    assert (first.recorded.added, first.recorded.changed) == (4, 0)
    assert "error" in {alarm.signal for alarm in first.recorded.alarms}
    second = run(state, ENGINE, source, "spam", now=LIVE + timedelta(days=4, hours=1))
    assert (second.recorded.added, second.recorded.changed, second.recorded.alarms) == (0, 0, ())
    assert second.evaluation.alarms == first.evaluation.alarms
    kept = store.load_windows(state, "spam", baseline.digest)
    assert [window.rows for window in kept] == [200] * 4
    assert len(store.alarms(state, "spam")) == len(first.recorded.alarms)
    drawn = store.load_summaries(state, "spam", baseline.digest)
    accuracy = [one["values"]["accuracy"][0] for one in json.loads(json.dumps(drawn))]
    assert all(0.3 < value < 0.5 for value in accuracy)


def test_an_incomplete_window_waits(state: Engine, baseline: Baseline, tmp_path: Path) -> None:
    source = written(requests(4, start=LIVE, seed=1), tmp_path / "live.parquet")
    store.save_baseline(state, "spam", baseline)
    found = run(state, ENGINE, source, "spam", now=LIVE + timedelta(days=3, hours=23))
    assert found.evaluation.windows == 3
    assert "rows.waiting" in {finding.rule for finding in found.findings}
    assert run(state, ENGINE, source, "spam", now=LIVE + timedelta(days=4)).recorded.added == 1


def test_the_first_windows_do_not_begin_with_a_row_of_another_time(
    state: Engine, baseline: Baseline, tmp_path: Path
) -> None:
    born = datetime(1970, 1, 1, tzinfo=UTC)
    table = requests(4, start=LIVE, seed=1)
    stamps = [born, LIVE - timedelta(days=400), *table["ts"].to_pylist()[2:]]
    odd = table.set_column(0, "ts", pa.array(stamps, table.schema.field("ts").type))
    store.save_baseline(state, "spam", baseline)
    found = run(state, ENGINE, written(odd, tmp_path / "live.parquet"), "spam", now=LIVE + timedelta(days=3))
    kept = store.load_windows(state, "spam", baseline.digest)
    assert ([window.rows for window in kept], kept[0].start) == ([198, 200, 200], utc_text(LIVE))
    (told,) = [one for one in found.findings if one.rule == "time.stray"]
    assert told.numbers["rows"] == 2
    assert found.recorded.alarms == ()
    later = run(state, ENGINE, Source((str(tmp_path / "live.parquet"),)), "spam", now=LIVE + timedelta(days=4))
    assert [window.rows for window in store.load_windows(state, "spam", baseline.digest)] == [198, 200, 200, 200]
    assert "time.stray" not in {one.rule for one in later.findings}


def test_a_row_of_the_future_ends_no_window_of_rows(state: Engine, tmp_path: Path) -> None:
    source = written(requests(DAYS), tmp_path / "reference.parquet")
    by_rows = Baseline.learn(ENGINE, source, SCHEMA, window="150rows", now=LIVE)
    store.save_baseline(state, "spam", by_rows)
    table = requests(3, start=LIVE, seed=1)
    far = [datetime(2099, 1, 1, tzinfo=UTC)] * 50
    for rows, windows in ((400, 2), (600, 3), (650, 4)):  # of 350, 550 and 600 that are not of the future
        stamps = [*table["ts"].to_pylist()[: rows - 50], *far]
        odd = pa.concat_tables([table, table]).slice(0, rows)
        odd = odd.set_column(0, "ts", pa.array(stamps, table.schema.field("ts").type))
        now = LIVE + timedelta(days=3)
        run(state, ENGINE, written(odd, tmp_path / "live.parquet"), "spam", now=now)
        kept = store.load_windows(state, "spam", by_rows.digest)
        assert ([window.rows for window in kept], kept[-1].end <= utc_text(now)) == ([150] * windows, True)


def test_late_rows_are_counted_and_told(state: Engine, baseline: Baseline, tmp_path: Path) -> None:
    table = requests(3, start=LIVE, seed=1)
    store.save_baseline(state, "spam", baseline)
    late = table.slice(10, 40)
    early = table.take([*range(10), *range(50, 600)])
    run(state, ENGINE, written(early, tmp_path / "a.parquet"), "spam", now=LIVE + timedelta(days=3))
    written(late, tmp_path / "b.parquet")
    both = written(table, tmp_path / "a.parquet")
    found = run(state, ENGINE, both, "spam", now=LIVE + timedelta(days=3))
    assert (found.recorded.added, found.recorded.changed) == (0, 1)
    told = [finding for finding in found.findings if finding.rule == "window.late-rows"]
    assert [(finding.subject[:10], finding.numbers["rows"]) for finding in told] == [("2026-01-25", 40)]
    assert [window.rows for window in store.load_windows(state, "spam", baseline.digest)] == [200] * 3


def test_only_the_newest_windows_are_counted_again(state: Engine, baseline: Baseline, tmp_path: Path) -> None:
    table = requests(5, start=LIVE, seed=1)
    store.save_baseline(state, "spam", baseline)
    now = LIVE + timedelta(days=5)
    early = table.take([*range(10, 600), *range(610, 1000)])  # ten rows of the first day and of the fourth come late
    run(state, ENGINE, written(early, tmp_path / "a.parquet"), "spam", now=now)
    both = written(table, tmp_path / "a.parquet")
    for newest, rows in ((2, [190, 200, 200, 200, 200]), (5, [200] * 5)):
        found = run(state, ENGINE, both, "spam", now=now, recounted=newest)
        assert found.recorded.changed == 1
        assert [window.rows for window in store.load_windows(state, "spam", baseline.digest)] == rows


def test_rows_that_are_deleted_stay_counted_and_are_told(state: Engine, baseline: Baseline, tmp_path: Path) -> None:
    table = requests(3, start=LIVE, seed=1)
    store.save_baseline(state, "spam", baseline)
    now = LIVE + timedelta(days=3)
    first = run(state, ENGINE, written(table, tmp_path / "a.parquet"), "spam", now=now)
    found = run(state, ENGINE, written(table.slice(150), tmp_path / "a.parquet"), "spam", now=now)
    assert "window.rows-gone" in {finding.rule for finding in found.findings}
    assert store.load_windows(state, "spam", baseline.digest)[0].rows == 200
    assert found.evaluation.series == first.evaluation.series


def test_a_clock_that_went_back_is_told(state: Engine, baseline: Baseline, tmp_path: Path) -> None:
    source = written(requests(4, start=LIVE, seed=1), tmp_path / "live.parquet")
    store.save_baseline(state, "spam", baseline)
    for _ in range(2):  # a clock that stands at the end of the last window did not go back
        same = run(state, ENGINE, source, "spam", now=LIVE + timedelta(days=4))
        assert "clock.backwards" not in {finding.rule for finding in same.findings}
    found = run(state, ENGINE, source, "spam", now=LIVE + timedelta(days=2))
    assert {"clock.backwards", "time.future"} <= {finding.rule for finding in found.findings}
    assert (found.recorded.added, found.evaluation.windows) == (0, 4)


def test_silence_is_windows_without_rows(state: Engine, baseline: Baseline, tmp_path: Path) -> None:
    source = written(requests(2, start=LIVE, seed=1), tmp_path / "live.parquet")
    store.save_baseline(state, "spam", baseline)
    found = run(state, ENGINE, source, "spam", now=LIVE + timedelta(days=4))
    assert [window.rows for window in store.load_windows(state, "spam", baseline.digest)] == [200, 200, 0, 0]
    assert [f.subject[:10] for f in found.findings if f.rule == "window.empty"] == ["2026-01-27", "2026-01-28"]
    assert "volume" in {alarm.signal for alarm in found.recorded.alarms}


def test_empty_windows_in_a_row_are_told_in_one_sentence(state: Engine, baseline: Baseline, tmp_path: Path) -> None:
    rows = pa.concat_tables([requests(2, start=LIVE, seed=1), requests(1, start=LIVE + timedelta(days=3), seed=2)])
    store.save_baseline(state, "spam", baseline)
    found = run(state, ENGINE, written(rows, tmp_path / "live.parquet"), "spam", now=LIVE + timedelta(days=44))
    empty = [(f.detail, f.numbers) for f in found.findings if f.rule == "window.empty"]
    assert [numbers.get("windows", 1) for _, numbers in empty] == [1, 40]
    assert empty[1][0] == "40 windows in a row have no rows, from that of 2026-01-29 to that of 2026-03-09"


def test_nothing_is_kept_when_writing_an_alarm_fails(
    state: Engine, baseline: Baseline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = written(requests(4, start=LIVE, seed=1, wrong=0.6), tmp_path / "live.parquet")
    store.save_baseline(state, "spam", baseline)

    def refuse(*_: object, **__: object) -> None:
        raise IntegrityError("insert", {}, Exception("disk full"))

    with monkeypatch.context() as patched:
        patched.setattr(store, "outbox_key", refuse)
        with pytest.raises(StorageError):
            run(state, ENGINE, source, "spam", now=LIVE + timedelta(days=4))
    assert store.load_windows(state, "spam", baseline.digest) == ()
    assert store.alarms(state, "spam") == ()


def test_alarms_reach_the_audit_log_once(state: Engine, baseline: Baseline, tmp_path: Path) -> None:
    source = written(requests(4, start=LIVE, seed=1, wrong=0.6), tmp_path / "live.parquet")
    store.save_baseline(state, "spam", baseline)
    now = LIVE + timedelta(days=4)
    raised = run(state, ENGINE, source, "spam", now=now, actor="anna").recorded.alarms
    with AuditLog.open(
        tmp_path / "audit.db", key=tmp_path / "log.key", origin="test", checkpoints=[tmp_path / "out"], now=now
    ) as log:
        assert store.drain(state, log) == len(raised)
        with writing(state) as connection:  # as if the process had been killed before it remembered
            connection.execute(update(outbox).values(drained=None))
        assert store.drain(state, log) == len(raised)
        assert store.drain(state, log) == 0
        logged = log.entries(kinds=["monitor.alarm"])
    assert [(one.entry.subject, one.entry.actor) for one in logged] == [("spam", "anna")] * len(raised)
    assert {one.entry.data["signal"] for one in logged} == {alarm.signal for alarm in raised}
    assert sorted(one.position or 0 for one in store.alarms(state, "spam")) == [one.position for one in logged]


def test_an_alarm_that_late_rows_move_by_a_window_is_the_same(
    state: Engine, baseline: Baseline, tmp_path: Path
) -> None:
    source = written(requests(4, start=LIVE, seed=1, wrong=0.6), tmp_path / "live.parquet")
    store.save_baseline(state, "spam", baseline)
    found = run(state, ENGINE, source, "spam", now=LIVE + timedelta(days=4))
    windows = store.load_windows(state, "spam", baseline.digest)
    moved = tuple(replace(alarm, window=windows[-1].start) for alarm in found.evaluation.alarms)
    again = replace(found.evaluation, alarms=moved)
    kept = store.record(state, model="spam", baseline=baseline, evaluation=again, windows=windows, now=LIVE)
    assert kept.alarms == ()


def test_a_baseline_comes_back_as_it_was(state: Engine, baseline: Baseline) -> None:
    assert store.load_baseline(state, "spam") is None
    assert store.save_baseline(state, "spam", baseline) == store.save_baseline(state, "spam", baseline)
    assert store.load_baseline(state, "spam") == baseline
    assert store.load_baseline(state, "other") is None


def test_an_edited_baseline_is_refused(state: Engine, baseline: Baseline) -> None:
    store.save_baseline(state, "spam", baseline)
    body = baseline.to_json() | {"window": "2d"}
    with writing(state) as connection:
        connection.execute(update(baselines).values(body=json.dumps(body)))
    with pytest.raises(BaselineError, match="edited"):
        store.load_baseline(state, "spam")


def test_what_is_known_of_a_model_is_its_newest_baseline_with_its_windows(
    state: Engine, baseline: Baseline, tmp_path: Path
) -> None:
    assert store.load_known(state, "spam") is None
    older = replace(baseline, created=utc_text(LIVE - timedelta(days=1)))
    for one in (older, baseline):
        store.save_baseline(state, "spam", one)
    assert store.load_known(state, "spam") == (baseline, ())
    source = written(requests(2, start=LIVE, seed=1), tmp_path / "live.parquet")
    run(state, ENGINE, source, "spam", now=LIVE + timedelta(days=2))
    windows = store.load_windows(state, "spam", baseline.digest)
    assert len(windows) == 2
    assert store.load_known(state, "spam") == (baseline, windows)


def test_a_window_that_another_process_has_changed_is_read_anew(
    state: Engine, baseline: Baseline, tmp_path: Path
) -> None:
    store.save_baseline(state, "spam", baseline)
    source = written(requests(2, start=LIVE, seed=1), tmp_path / "live.parquet")
    run(state, ENGINE, source, "spam", now=LIVE + timedelta(days=2))
    before = store.load_windows(state, "spam", baseline.digest)
    counts = {name: list(bins) for name, bins in before[0].counts.items()} | {"failures": [199, 1]}
    with writing(state) as connection:
        mine = table_of_windows.c.start == before[0].start
        connection.execute(update(table_of_windows).where(mine).values(counts=json.dumps(counts)))
    after = store.load_windows(state, "spam", baseline.digest)
    assert after[0].counts["failures"] == (199, 1)
    assert (after[0].rows, after[1]) == (before[0].rows, before[1])


def test_a_model_without_baseline_is_not_judged(state: Engine, tmp_path: Path) -> None:
    source = written(requests(1), tmp_path / "live.parquet")
    with pytest.raises(BaselineError, match="assay baseline spam"):
        run(state, ENGINE, source, "spam", now=LIVE)
