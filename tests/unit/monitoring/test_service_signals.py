"""Slower, failing, fewer and more requests are found within days, by their name, in words of seconds and rows."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from assay.engines.base import Source
from assay.engines.duckdb import DuckDb
from assay.monitoring.adhoc import monitor_tables
from assay.monitoring.monitor import Evaluation
from assay.monitoring.schema import PredictionSchema

TODAY = datetime(2026, 3, 2, tzinfo=UTC)
SERVED = PredictionSchema(time="ts", prediction="pred", latency_s="took", error="err")


def requests(days: int, start: datetime, seed: int, change: str = "", at: int = 10**6) -> pa.Table:
    """About 500 requests a day, fewer at weekends; the median takes 50 ms, and one in a hundred fails."""
    rng = np.random.default_rng(seed)
    times, took, failed = [], [], []
    for day in range(days):
        begin, changed = start + timedelta(days=day), change if day >= at else ""
        factor = {"halved": 0.5, "doubled": 2.0, "stopped": 0.0}.get(changed, 1.0)
        rows = rng.poisson(500 * factor * rng.normal(1, 0.05) * (0.7 if begin.weekday() > 4 else 1))
        times += [begin + timedelta(seconds=float(s)) for s in np.sort(rng.random(rows)) * 86_399]
        seconds = np.exp(rng.normal(np.log(0.05) + rng.normal(0, 0.03), 0.5, rows))
        slow = {"slower": seconds * 1.5, "tail": np.where(rng.random(rows) < 0.05, seconds * 10, seconds)}
        took += slow.get(changed, seconds).tolist()
        failed += (rng.random(rows) < (0.05 if changed == "failing" else 0.01)).tolist()
    return pa.table(
        {
            "ts": pa.array(times, pa.timestamp("us", "UTC")),
            "took": took,
            "err": pa.array(["TimeoutError" if one else None for one in failed], pa.string()),
            "pred": rng.choice(["a", "b"], len(times)).tolist(),
        }
    )


def judged(change: str) -> Evaluation:
    before = requests(60, TODAY - timedelta(days=60), seed=1)
    now = requests(14, TODAY, seed=2, change=change, at=4)
    tables = Source(table=before), Source(table=now)
    return monitor_tables(
        DuckDb(), *tables, SERVED, window="1d", false_alarm_every=None, now=TODAY + timedelta(days=14)
    )


@pytest.mark.parametrize(
    ("change", "signals", "words"),
    [
        ("", set(), ""),
        ("slower", {"latency_s:p50", "latency_s:p95", "latency_s:p99"}, r"latency_s:p95, slower than 0\.1\d+ s: 5\.\d"),
        ("tail", {"latency_s:p95", "latency_s:p99"}, r"latency_s:p99, slower than 0\.1\d+ s: [01]\.\d+% of rows"),
        ("failing", {"failures"}, r"failures: [01]\.\d+% of rows in the baseline, 5\.\d+% since 2026-03-06"),
        ("halved", {"volume"}, r"\d+ rows a window in the baseline, [12]\d\d since 2026-03-06 \(-[45]\d%"),
        ("doubled", {"volume"}, r"\d+ rows a window in the baseline, \d+ since 2026-03-06 \(\+\d+%"),
    ],
)
def test_each_change_of_a_service_is_found_by_its_name(change: str, signals: set[str], words: str) -> None:
    # Of fourteen days, ten changed. Without a change: no alarm, at a budget of one in a year.
    found = judged(change).alarms
    assert {alarm.signal for alarm in found} == signals
    assert all(alarm.window <= "2026-03-10" for alarm in found)
    assert not words or any(re.search(words, alarm.detail) for alarm in found), [alarm.detail for alarm in found]
