"""What `run.py` measures of ours, each step in a process of its own: ``python inside.py STEP ARGUMENTS``.

The last line printed is JSON. Steps: ``whole`` learns from one table and judges another, ``learn`` keeps a baseline,
``judge`` judges a table by it, ``further`` runs the monitor in an open process while windows are added.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tables import COUNTED, Shape, schema, write, write_hours

from assay.engines.base import Source
from assay.engines.shelf import find
from assay.monitoring.adhoc import monitor_tables
from assay.monitoring.baseline import Baseline
from assay.monitoring.monitor import evaluate
from assay.monitoring.windows import count

NOW = datetime(2027, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
BEFORE = 48
"""Windows that an open process has seen when the further ones come."""


def whole(reference: str, current: str, columns: str, slices: str, window: str) -> dict[str, object]:
    """Learn from one table and judge another."""
    meant = schema(Shape(1, 1, int(columns)), int(slices))
    said = monitor_tables(
        find("duckdb"),
        Source((reference,)),
        Source((current,)),
        meant,
        window=window,
        false_alarm_every=None,
        now=NOW,
    )
    return {"windows": said.windows, "signals": said.budget.signals, "findings": len(said.findings)}


def learn(reference: str, columns: str, slices: str, window: str, out: str) -> dict[str, object]:
    """Keep a baseline."""
    meant = schema(Shape(1, 1, int(columns)), int(slices))
    learned = Baseline.learn(find("duckdb"), Source((reference,)), meant, window=window, now=NOW)
    Path(out).write_text(json.dumps(learned.to_json()), encoding="utf-8")
    return {"signals": len(learned.specs)}


def judge(baseline: str, current: str) -> dict[str, object]:
    """Judge a table by a baseline that was kept; ``cpu_s``: seconds of processors without start and reading it."""
    known = Baseline.parse(Path(baseline).read_text(encoding="utf-8"))
    began = time.process_time()
    counted = count(
        find("duckdb"),
        Source((current,)),
        known.schema,
        known.specs,
        window=known.window,
        now=NOW,
        families=known.families,
        live=False,
    )
    said = evaluate(known, counted.windows)
    return {
        "cpu_s": time.process_time() - began,
        "windows": said.windows,
        "signals": said.budget.signals,
        "slices": sum(spec.family == "slices" for spec in known.specs),
        "rows": sum(window.rows for window in counted.windows),
    }


def further(folder: str, windows: str) -> dict[str, object]:
    """Milliseconds that a monitor run takes in an open process when one more window of 1,000 rows is there.

    ``engine_ms``: of the processors' time, what the engine took. ``second_ms``: the second run of the process, which
    looks at each of the newest windows by itself, once. ``bare_ms``: the bare query over the same window, edges known,
    on a connection that is open, with one thread: more cost more.
    """
    import bare
    import duckdb
    from run import edges

    from assay.monitoring.run import run
    from assay.monitoring.store import save_baseline
    from assay.storage.database import open_state

    here, number = Path(folder), int(windows)
    known = Shape(72_000, 3, COUNTED, seed=4)
    reference = write(known, here / "reference.parquet")
    days = (BEFORE + number) // 24 + 1
    live = Shape(24_000 * days, days, COUNTED, first="2026-04-01", seed=5)
    files = sorted(write_hours(live, here / "all").rglob("*.parquet"))
    state = open_state(here / "state.db")
    engine, source = find("duckdb"), Source((str(here / "live"),))
    learned = Baseline.learn(engine, Source((str(reference),)), schema(known), window="1h", now=NOW)
    save_baseline(state, "model", learned)
    start = datetime.fromisoformat(live.first).replace(tzinfo=UTC)
    walls, times, engines, bares = [], [], [], []
    spent = _timed(type(engine))
    bins = json.loads(edges(known, reference, {}, here / "edges.json").read_text())
    connection = duckdb.connect(config={"threads": 1})
    for place, file in enumerate(files[: BEFORE + number], start=1):
        to = here / "live" / file.relative_to(here / "all")
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, to)
        if place < BEFORE:
            continue
        before = spent[0]
        began, used = time.perf_counter(), time.process_time()
        done = run(state, engine, source, "model", now=start + place * HOUR)
        wall, cpu = time.perf_counter() - began, time.process_time() - used
        if place > BEFORE:
            if done.recorded.added != 1:
                raise SystemExit(f"{done.recorded.added} windows were added, not one")
            walls.append(1000 * wall)
            times.append(1000 * cpu)
            engines.append(1000 * (spent[0] - before))
            used = time.process_time()
            connection.execute(bare.query(bins, str(to), live.first, bare.DAY_US // 24)).fetchall()
            bares.append(1000 * (time.process_time() - used))
    return {
        "signals": len(learned.specs),
        "wall_ms": statistics.median(walls),
        "cpu_ms": statistics.median(times),
        "engine_ms": statistics.median(engines),
        "second_ms": times[0],
        "bare_ms": statistics.median(bares),
    }


def _timed(engine: type) -> list[float]:
    """Add up the seconds of processors that are spent in an engine's methods from now on."""
    spent = [0.0]

    def timed(method: Callable[..., object]) -> Callable[..., object]:
        def measured(*args: object, **named: object) -> object:
            began = time.process_time()
            try:
                return method(*args, **named)
            finally:
                spent[0] += time.process_time() - began

        return measured

    for name in ("columns", "span", "oddities", "counts"):
        setattr(engine, name, timed(getattr(engine, name)))
    return spent


STEPS = {"whole": whole, "learn": learn, "judge": judge, "further": further}

if __name__ == "__main__":
    print(json.dumps(STEPS[sys.argv[1]](*sys.argv[2:])))
