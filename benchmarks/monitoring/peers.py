"""The peers on the same streams: writes them out, asks each peer in its own environment, and scores the answers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from ours import CHANGED, PLANTED, UNCHANGED, Changed, Unchanged, seeded
from results import Record, Store
from streams import FEATURES, Rows, Stream

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PEERS = ("river", "evidently", "nannyml", "alibi")
BATCH = ("evidently", "nannyml", "alibi")
NUMERIC = [*(f"f{i}" for i in range(FEATURES)), "confidence", "latency_s"]
CATEGORICAL = ["prediction", "error"]
SERIES = ("error", "confidence", *(f"f{i}" for i in range(FEATURES)))
ONE_CALL = 3600  # seconds a peer may take for one batch of streams
# Which detectors of river go over which row's streams, and over how many of its runs.
SLOW_ONES = ("HDDM_A", "HDDM_W")
PART = (2000, 3000)  # rows before and after the change that KSWIN is given: it takes milliseconds for each
WATCHES = {  # the series in which a change is to be seen
    "error .05 to .08": "error",
    "one class of ten 80 to 50 %": "error of class 0",
    "confidence by -.02, 1,000 rows": "confidence",
    "one column of 20 by .2 sd": "f0",
    "one column of 20 by .1 sd": "f0",
}
# Judged windows a run, and runs: evidently takes seconds for a window, Alibi Detect nearly one.
MOST_STILL = {"evidently": 10, "nannyml": 120, "alibi": 40}
MOST_CHANGED = {"evidently": 6, "nannyml": 60, "alibi": 12}
BEFORE = {"evidently": 2, "nannyml": 20, "alibi": 4}  # of them before the change
RUNS_CHANGED = {"evidently": 2, "nannyml": 10, "alibi": 3}


def python(peer: str) -> Path:
    """The interpreter of a peer's environment."""
    return ROOT / ".venv-peers" / peer / "bin" / "python"


def there(peer: str) -> bool:
    """Whether ``make bench-peers`` has set the peer up."""
    return python(peer).exists()


@dataclass(frozen=True)
class Task:
    """One stream for one peer.

    Attributes:
        row: Which row of the table it is for.
        seed: Which run.
        stream: The rows.
        river: Series by detector.
        most: Judged windows by peer.
    """

    row: str
    seed: int
    stream: Stream
    river: Mapping[str, Sequence[str]]
    most: Mapping[str, int]

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.seed:03d} {re.sub('[^a-z0-9]+', ' ', self.row)}"


def with_error(rows: Rows) -> Rows:
    """The rows with whether the answer was wrong."""
    return rows | {"error": (rows["label"] != rows["prediction"]).astype(np.int64)}


def write_series(task: Task, folder: Path) -> dict[str, npt.NDArray[np.int64]]:
    """Write the series that river's detectors go over.

    Returns:
        By series, the place of each value among the rows of the stream.
    """
    wanted = {series for each in task.river.values() for series in each}
    parts: dict[str, list[npt.NDArray[np.generic]]] = {name: [] for name in wanted}
    places: dict[str, list[npt.NDArray[np.int64]]] = {name: [] for name in wanted}
    done = 0
    for _, block in task.stream.blocks(0, task.stream.windows):
        rows = with_error(block)
        many = len(rows["error"])
        for name in wanted:
            mine = np.flatnonzero(rows["label"] == 0) if name == "error of class 0" else np.arange(many)
            column = rows["error" if name.startswith("error") else name]
            parts[name].append(column[mine])
            places[name].append(mine + done)
        done += many
    folder.mkdir(parents=True)
    for name, each in parts.items():
        np.save(folder / f"{name}.npy", np.concatenate(each))
    change = int(np.cumsum(task.stream.sizes)[min(task.stream.change_window, task.stream.windows) - 1])
    part = [change - PART[0], change + PART[1]]
    (folder / "job.json").write_text(json.dumps({"river": task.river, "part": part}), encoding="utf-8")
    return {name: np.concatenate(each) for name, each in places.items()}


def write_table(task: Task, folder: Path, peer: str) -> list[int]:
    """Write the table that the others read, and say which windows are judged."""
    stream = task.stream
    first = stream.baseline
    if stream.change.at < stream.live:  # some windows before the change, and those after
        first = stream.change_window - BEFORE[peer]
    judged = list(range(first, stream.windows))[: task.most[peer]]
    out: dict[str, list[npt.NDArray[np.generic]]] = {}
    for begin, end in ((0, stream.baseline), (judged[0], judged[-1] + 1)):
        for of, block in stream.blocks(begin, end):
            rows = with_error(block) | {"window": of}
            for name in (*NUMERIC, *CATEGORICAL, "label", "window"):
                out.setdefault(name, []).append(rows[name])
    folder.mkdir(parents=True)
    columns = {name: np.concatenate(each) for name, each in out.items()}
    pq.write_table(pa.table(columns), folder / "table.parquet")
    job = {"baseline": stream.baseline, "judged": judged, "numeric": NUMERIC, "categorical": CATEGORICAL}
    job |= {"online": [], "most": dict(task.most)}
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    return judged


def ask(peer: str, folder: Path) -> tuple[dict[str, dict[str, object]], str]:
    """Run a peer over a folder of streams.

    Returns:
        Its answer by stream, and why there is none.
    """
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | {"OMP_NUM_THREADS": "1"}
    command = [str(python(peer)), str(HERE / f"peer_{peer}.py"), str(folder)]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=clean, timeout=ONE_CALL)
    except subprocess.TimeoutExpired:
        return {}, f"no answer within {ONE_CALL} s"
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return {}, last[:200]
    return json.loads(lines[-1]), ""


def tasks(peer: str, *, quick: bool) -> Iterator[Task]:
    """What a peer is asked."""
    for row, changed in (CHANGED | PLANTED).items():
        if row in WATCHES and (not quick or row == "error .05 to .08"):
            yield from _changed(peer, row, changed, quick=quick)
    for row, still in UNCHANGED.items():
        yield from _unchanged(peer, row, still, quick=quick)


def _unchanged(peer: str, row: str, still: Unchanged, *, quick: bool) -> Iterator[Task]:
    long = still.stream.live > 1000
    if quick:
        return
    if peer != "river":
        if not long:
            yield Task(row, 0, seeded(still.stream, 0), {}, MOST_STILL)
        return
    for seed in range(1 if long else min(4, still.runs)):
        series: dict[str, Sequence[str]] = dict.fromkeys(("ADWIN", "DDM", "EDDM", "PageHinkley"), ("error",))
        if seed == 0 and not long:
            series["ADWIN"] = SERIES
            if row == "independent rows":
                series |= {"PageHinkley": SERIES} | dict.fromkeys(SLOW_ONES, ("error",))
        yield Task(row, seed, seeded(still.stream, seed), series, {})


def _changed(peer: str, row: str, changed: Changed, *, quick: bool) -> Iterator[Task]:
    watched = WATCHES[row]
    if peer != "river":
        if changed.stream.rows == 1000:
            for seed in range(RUNS_CHANGED[peer]):
                yield Task(row, seed, seeded(changed.stream, seed), {}, MOST_CHANGED)
        return
    rates = watched.startswith("error")
    for seed in range(2 if quick else changed.runs):
        names = ("ADWIN", "PageHinkley", *(("DDM", "EDDM") if rates else ()))
        series: dict[str, Sequence[str]] = dict.fromkeys(names, (watched,))
        if row.startswith("one class"):
            series["ADWIN"] = (watched, "error")
        if rates and seed < 40 and not quick:
            series |= dict.fromkeys(SLOW_ONES, (watched,))
        if seed < 3 and not quick and row == "error .05 to .08":
            series |= {"KSWIN": (watched,)}
        yield Task(row, seed, seeded(changed.stream, seed), series, {})


def measure(store: Store, peer: str, *, quick: bool) -> None:
    """Ask a peer all that is not known yet, a few streams at a time."""
    of = fingerprint(peer)
    rest = [t for t in tasks(peer, quick=quick) if not store.has((t.row, peer, "asked", t.seed), of)]
    size = {"river": 4, "evidently": 6, "nannyml": 3, "alibi": 6}[peer]
    rest.sort(key=lambda task: (task.seed, task.row in list(UNCHANGED)[3:]))
    for start in range(0, len(rest), size):
        _batch(store, peer, rest[start : start + size], of)


def _batch(store: Store, peer: str, batch: Sequence[Task], of: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        known = {}
        for task in batch:
            write = write_series if peer == "river" else lambda t, f: write_table(t, f, peer)
            known[task.name] = write(task, folder / task.name)
        answer, why = ask(peer, folder)
    for task in batch:
        found: dict[str, Record] = {}
        if task.name in answer and peer == "river":
            found = score_series(task, answer[task.name], known[task.name])
        elif task.name in answer:
            found = score_windows(task, answer[task.name], known[task.name])
        for name, record in found.items():
            store.add((task.row, peer, name, task.seed), record, of)
            print(task.row, peer, name, task.seed, json.dumps(record), flush=True)
        store.add((task.row, peer, "asked", task.seed), {"why": why}, of)
        if why:
            print(task.row, peer, task.seed, why, flush=True)


def score_series(
    task: Task, answer: Mapping[str, object], places: Mapping[str, npt.NDArray[np.int64]]
) -> dict[str, Record]:
    """Alarms before the change, and rows from it to the first after it."""
    stream, out = task.stream, {}
    ends = np.cumsum(stream.sizes)
    begin, change = int(ends[stream.baseline - 1]), int(1e12)
    if stream.change.at < stream.live:
        change = int(ends[stream.change_window - 1])
    for name, series in answer.items():
        first = max(begin, change - PART[0]) if name == "KSWIN" else begin
        assert isinstance(series, dict)  # noqa: S101 - what peer_river.py writes
        told = {one: [int(places[one][p]) for p in where] for one, where in series.items()}
        each = {f"{name}, {one}": where for one, where in told.items()}
        if len(told) > 2:
            each[f"{name}, all series"] = sorted(p for where in told.values() for p in where)
            each = {k: v for k, v in each.items() if k.endswith(("all series", ", error"))}
        for label, where in each.items():
            live = [p for p in where if first <= p < change]
            after = [p for p in where if p >= change]
            out[label] = {
                "alarms": len(live),
                "alarmed": len({int(np.searchsorted(ends, p, side="right")) for p in live}),
                "windows": (change - first) // stream.rows if change < 1e12 else stream.live,
                "delay": after[0] - change + 1 if after else None,
            }
    return out


def score_windows(task: Task, answer: Mapping[str, object], judged: Sequence[int]) -> dict[str, Record]:
    """Windows alarmed before the change, and rows from it to the end of the first window alarmed after it."""
    stream, out = task.stream, {}
    change = stream.change_window if stream.change.at < stream.live else 10**9
    for name, windows in answer.items():
        assert isinstance(windows, list)  # noqa: S101 - what the peers' scripts write
        told = {w for w, columns in zip(judged, windows, strict=True) if columns}
        before = [w for w in judged if w < change]
        after = sorted(w for w in told if w >= change)
        right = [w for w, c in zip(judged, windows, strict=True) if w >= change and "f0" in c]
        out[name] = {
            "alarms": sum(len(c) for w, c in zip(judged, windows, strict=True) if w < change),
            "alarmed": len([w for w in before if w in told]),
            "windows": len(before),
            "delay": (after[0] - change + 1) * stream.rows if after else None,
            "named": (right[0] - change + 1) * stream.rows if right else None,
        }
    return out


def fingerprint(peer: str) -> str:
    """What the answers depend on: the lock, the peer's script, and the streams."""
    import hashlib

    files = [ROOT / "locks" / f"peers-{peer}.lock", HERE / f"peer_{peer}.py", HERE / "streams.py"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def measure_all(store: Store, *, quick: bool, only: Iterable[str] = PEERS) -> None:
    """Ask every peer that is set up, two at a time; in a hurry only river, the others take minutes to start."""
    ready = [peer for peer in only if there(peer) and (peer == "river" or not quick)]
    with ThreadPoolExecutor(1 if quick else 2) as pool:
        for done in [pool.submit(measure, store, peer, quick=quick) for peer in ready]:
            done.result()
