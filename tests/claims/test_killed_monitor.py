"""Two schedulers, and processes killed in the middle of a run: every window is judged and every alarm told once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.monitoring.streams import SCHEMA, START, requests, written

from assay.audit.log import AuditLog
from assay.engines.duckdb import DuckDb
from assay.monitoring import store
from assay.monitoring.baseline import Baseline
from assay.monitoring.run import run
from assay.storage.database import open_state

DAYS = 15
LIVE = START + timedelta(days=DAYS)
NOW = LIVE + timedelta(days=6)
ENGINE = DuckDb()

MONITOR = """
import sys
from datetime import datetime
from pathlib import Path
from assay.audit.log import AuditLog
from assay.engines.base import Source
from assay.engines.duckdb import DuckDb
from assay.monitoring import store
from assay.monitoring.run import run
from assay.storage.database import open_state

folder, now, die = Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2]), sys.argv[3]
state = open_state(folder / "state.db")
print("begun", flush=True)
if die != "never":  # the statement after which the process is killed, from outside its own control
    from sqlalchemy import event
    import os, signal
    seen = [0]
    @event.listens_for(state, "after_cursor_execute")
    def count(*_):
        seen[0] += 1
        if seen[0] == int(die):
            os.kill(os.getpid(), signal.SIGKILL)
run(state, DuckDb(), Source((str(folder / "live.parquet"),)), "spam", now=now)
with AuditLog.open(folder / "audit.db", key=folder / "log.key", origin="test",
                   checkpoints=[folder / "out"], now=now) as log:
    store.drain(state, log)
print("ended", flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    reference = written(requests(DAYS), tmp_path / "reference.parquet")
    baseline = Baseline.learn(ENGINE, reference, SCHEMA, window="1d", now=LIVE)
    store.save_baseline(open_state(tmp_path / "state.db"), "spam", baseline)
    written(requests(6, start=LIVE, seed=1, wrong=0.5), tmp_path / "live.parquet")
    with AuditLog.open(
        tmp_path / "audit.db", key=tmp_path / "log.key", origin="test", checkpoints=[tmp_path / "out"], now=NOW
    ):
        pass
    return tmp_path


def start(folder: Path, die: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", MONITOR, str(folder), NOW.isoformat(), die], stdout=subprocess.PIPE, text=True
    )


def check(folder: Path) -> None:
    """Everything is there, once, and as one undisturbed run would have left it."""
    state = open_state(folder / "state.db")
    baseline = store.load_baseline(state, "spam")
    assert baseline is not None
    windows = store.load_windows(state, "spam", baseline.digest)
    assert [window.rows for window in windows] == [200] * 6
    told = store.alarms(state, "spam")
    assert told
    assert max(Counter((str(one.alarm["signal"]), str(one.alarm["window"])) for one in told).values()) == 1
    source = store.load_summaries(state, "spam", baseline.digest)
    assert len(source) == 6
    with AuditLog.open(
        folder / "audit.db", key=folder / "log.key", origin="test", checkpoints=[folder / "out"], now=NOW
    ) as log:
        logged = Counter(
            (str(one.entry.data["signal"]), str(one.entry.data["window"]))
            for one in log.entries(kinds=["monitor.alarm"])
        )
    assert logged == Counter((str(one.alarm["signal"]), str(one.alarm["window"])) for one in told)


@pytest.mark.parametrize("statement", [3, 9, 15])
def test_a_run_killed_between_two_statements_is_finished_by_the_next(folder: Path, statement: int) -> None:
    killed = start(folder, str(statement))
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    again = start(folder, "never")
    assert "ended" in again.communicate()[0]
    check(folder)


@pytest.mark.slow
def test_two_schedulers_killed_at_random_leave_each_window_once(folder: Path) -> None:
    chance = random.Random(7)  # noqa: S311 - when to kill, no secret
    for _ in range(6):
        pair = [start(folder, "never") for _ in range(2)]
        for one in pair:
            assert one.stdout is not None
            one.stdout.readline()
        time.sleep(chance.uniform(0, 1.5))
        for one in pair:
            if one.poll() is None:
                os.kill(one.pid, signal.SIGKILL)
        for one in pair:
            one.communicate()
    assert "ended" in start(folder, "never").communicate()[0]
    check(folder)


def test_two_schedulers_at_once_do_everything_once(folder: Path) -> None:
    pair = [start(folder, "never") for _ in range(2)]
    assert ["ended" in one.communicate()[0] for one in pair] == [True, True]
    check(folder)


def test_a_second_run_in_the_same_process_changes_nothing(folder: Path) -> None:
    state = open_state(folder / "state.db")
    source = written(requests(6, start=LIVE, seed=1, wrong=0.5), folder / "live.parquet")
    first = run(state, ENGINE, source, "spam", now=NOW)
    second = run(state, ENGINE, source, "spam", now=NOW)
    assert (len(first.recorded.alarms) > 0, second.recorded.alarms, second.recorded.added) == (True, (), 0)
