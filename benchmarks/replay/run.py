"""What asking why costs: a diagnosis of 100,000 logged rows, and replay at each monitor run.

    python benchmarks/replay/run.py [--rows 100000] [--runs 3] [--write]

Every figure is that of a whole process with its start and with the process of the known-good copy: seconds of wall time
and of processors, and the largest memory of both together (proportional set size, read 20 times a second in one further
run, because reading it takes the processes' time). ``--write`` replaces RESULTS.md beside this file. Seeds are fixed;
the rows are made up, the project is a real one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assay.keys.pem import generate
from assay.project import integrity, releasing
from assay.project.people import trust_key
from assay.project.project import Project

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

HERE = Path(__file__).resolve().parent
NAMES = [f"f{j:02d}" for j in range(30)]
DAYS = 30
LIVE = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CONFIG = """\
[project]
name = "big"

[log]
checkpoints = ["outside"]

[models.big]
path = "model"
framework = "sklearn"
reference = "reference.parquet"

[models.big.predictions]
path = "predictions/*.parquet"
time = "time"
prediction = "prediction"
confidence = "confidence"
label = "label"
"""
FRAMEWORK = 'framework = "sklearn"\n'


@dataclass(frozen=True)
class Ran:
    """One process and those it started: seconds of wall time and of processors; largest memory in bytes, 0: unseen."""

    wall: float
    cpu: float
    peak: int
    said: dict[str, object]


def drawn(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n, 30) and the truth about them."""
    x = rng.normal(size=(n, len(NAMES)))
    x[:, 5:10] = np.abs(x[:, 5:10]) ** 1.5
    z = x[:, 0] + 0.7 * x[:, 1] * x[:, 2] + 0.5 * np.sin(x[:, 3]) - 0.3 * x[:, 5]
    return x, z + 0.5 * rng.normal(size=n) > 0


def table(
    rng: np.random.Generator, model: RandomForestClassifier, n: int, day: datetime, days: int, *, new: bool
) -> pa.Table:
    """Rows as a service logs them; ``new``: the world contradicts the model where the second column is high."""
    x, truth = drawn(rng, n)
    shares = model.predict_proba(x)
    truth = np.where(new & (x[:, 1] > 0.5), ~truth, truth)
    times = pa.array([day + days * DAY * i / n for i in range(n)], pa.timestamp("us", tz="UTC"))
    columns = {"time": times, **{name: x[:, j] for j, name in enumerate(NAMES)}}
    answers = {"prediction": model.classes_[shares.argmax(axis=1)], "confidence": shares.max(axis=1)}
    return pa.table({**columns, **answers, "label": np.where(truth, "yes", "no")})


def build(folder: Path, rows: int) -> None:
    """A project with a month of rows, a file a day; the world changes in the last six days."""
    import skops.io  # only here: a monitor run does not need them, the process of the known-good copy does
    from sklearn.ensemble import RandomForestClassifier

    from assay.project.baselines import learn_baseline

    rng = np.random.default_rng(0)
    x, truth = drawn(rng, 10_000)
    model = RandomForestClassifier(100, min_samples_leaf=5, random_state=0, n_jobs=1)
    model.fit(x, np.where(truth, "yes", "no"))
    for place in ("model", "keys", "predictions", "changed"):
        (folder / place).mkdir(parents=True)
    skops.io.dump(model, folder / "model" / "model.skops")
    pq.write_table(table(rng, model, rows, LIVE - DAYS * DAY, DAYS, new=False), folder / "reference.parquet")
    for day in range(DAYS + 1):
        start, n = LIVE + day * DAY, rows // DAYS
        pq.write_table(table(rng, model, n, start, 1, new=False), folder / "predictions" / f"{day:02d}.parquet")
        changed = table(rng, model, n, start, 1, new=day >= DAYS - 6)
        pq.write_table(changed, folder / "changed" / f"{day:02d}.parquet")
    (folder / "assay.toml").write_text(CONFIG, encoding="utf-8")
    project = Project.open(folder / "assay.toml", now=LIVE - DAY, actor="bench")
    signer = generate(folder / "keys" / "r.pem", passphrase=None)
    trust_key(project, "bench@example.org", folder / "keys" / "r.pub", until=None, now=LIVE - DAY)
    integrity.sign_model(project, "big", signer, now=LIVE - DAY)
    releasing.deploy(project, "big", now=LIVE)
    learn_baseline(project, "big", now=LIVE)


def step(what: str, folder: Path, now: datetime) -> None:
    """What a process of its own does; the last line is JSON."""
    project = Project.open(folder / "assay.toml", now=now, actor="bench")
    if what == "diagnose":
        from assay.project.watching import diagnose_model

        print(json.dumps({"verdict": diagnose_model(project, "big", now=now).verdict}))
        return
    watched = project.monitor("big", now)
    replayed = [one.rule for one in watched.findings if one.rule.startswith("replay.")]
    print(
        json.dumps(
            {"windows": watched.evaluation.windows, "diagnosed": watched.diagnosis is not None, "said": replayed}
        )
    )


def memory(process: int) -> int:
    """Proportional set size of a process and those it started, in bytes."""
    total = 0
    with suppress(OSError, ValueError, StopIteration):
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
        total = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
        total += sum(memory(int(child)) for child in children)
    return total


def ran(what: str, folder: Path, now: datetime, *, watched: bool = False) -> Ran:
    """Run a step that must succeed; ``watched``: see how much memory it takes, at the price of its time."""
    command = [sys.executable, str(HERE / "run.py"), "--step", what, str(folder), now.isoformat()]
    began, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
        while True:
            done, status, usage = os.wait4(process.pid, os.WNOHANG if watched else 0)
            if done:
                break
            peak = max(peak, memory(process.pid))
            time.sleep(0.05)
        wall = time.perf_counter() - began
        process.returncode = status
        out.seek(0)
        said = out.read()
    if status:
        raise SystemExit(f"{what} failed: {said[-2000:]}")
    return Ran(wall, usage.ru_utime + usage.ru_stime, peak, json.loads(said.splitlines()[-1]))


def state(folder: Path, name: str, *, copy: bool, changed: bool = False) -> Path:
    """A copy of the project with all days but the last one; ``copy``: whether there is something to replay through."""
    place = folder / name
    shutil.copytree(folder / "project", place, symlinks=True)
    if changed:
        shutil.rmtree(place / "predictions")
        (place / "changed").rename(place / "predictions")
    (place / "predictions" / f"{DAYS:02d}.parquet").rename(place / "last.parquet")
    if not copy:
        (place / "assay.toml").write_text(CONFIG.replace(FRAMEWORK, ""), encoding="utf-8")
    return place


def middle(some: list[Ran]) -> Ran:
    """Medians of those whose memory was not watched; the largest memory of the others."""
    timed = [one for one in some if not one.peak]
    wall, cpu = (statistics.median(getattr(one, word) for one in timed) for word in ("wall", "cpu"))
    return Ran(wall, cpu, max(one.peak for one in some), some[0].said)


def measure(rows: int, runs: int) -> list[str]:
    """Every line of the table."""
    end = LIVE + DAYS * DAY
    found: dict[str, list[Ran]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ["XDG_STATE_HOME"] = str(folder / "home")
        build(folder / "project", rows)
        for run in range(runs + 1):
            watched = run == runs
            for copy in (False, True):
                place = state(folder, f"{run}-{copy}", copy=copy)
                for new, now in ((f"{DAYS} new windows", end), ("1 new window", end + DAY)):
                    if now > end:
                        (place / "last.parquet").rename(place / "predictions" / f"{DAYS:02d}.parquet")
                    what = f"monitor, {new}, {'with' if copy else 'without'} replay"
                    found.setdefault(what, []).append(ran("monitor", place, now, watched=watched))
                shutil.rmtree(place)
            place = state(folder, f"{run}-changed", copy=True, changed=True)
            ran("monitor", place, end)
            found.setdefault("diagnose", []).append(ran("diagnose", place, end, watched=watched))
            shutil.rmtree(place)
    lines = ["| | wall s | processor s | memory MB | said |", "| --- | --- | --- | --- | --- |"]
    for what, some in found.items():
        one = middle(some)
        said = ", ".join(f"{name} {value}" for name, value in one.said.items() if value not in (False, []))
        lines.append(f"| {what} | {one.wall:.1f} | {one.cpu:.1f} | {one.peak / 1e6:.0f} | {said} |")
    for new in (f"{DAYS} new windows", "1 new window"):
        alone, beside = (middle(found[f"monitor, {new}, {word} replay"]) for word in ("without", "with"))
        added = f"{beside.wall - alone.wall:.1f} s of wall time, {beside.cpu - alone.cpu:.1f} s of processors"
        lines += ["", f"With {new} replay adds {added}."]
    return lines


def main() -> None:
    """Measure, print, and write when asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step:
        what, folder, now = asked.step
        step(what, Path(folder), datetime.fromisoformat(now))
        return
    load = os.getloadavg()[0]
    lines = measure(asked.rows, asked.runs)
    head = (
        f"# What asking why costs\n\n{asked.rows:,} logged rows x {len(NAMES)} features in {DAYS} days, a forest of "
        f"100 trees, a reference as long; medians of {asked.runs} runs on {os.cpu_count()} processors whose load was "
        f"{load:.1f} when it began, Python {platform.python_version()}. Made by `benchmarks/replay/run.py --write`. "
        "Each line is a whole process with its start and the process of the known-good copy, which opens while the "
        "windows are counted: on a busy machine wall time says how busy. Most of what replay adds is the import "
        "of the model's libraries. Wanted: a diagnosis within 60 s and 2 GB; replay adds at most 10 % or 2 s.\n\n"
    )
    text = head + "\n".join(lines) + "\n"
    print(text)
    if asked.write:
        (HERE / "RESULTS.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
