"""What recording costs a service: rows a second, time added to a call, and what kill -9 takes.

    python benchmarks/recorder/run.py [--seconds 20] [--kills 100] [--write]

``--write`` replaces RESULTS.md beside this file. The files are written where TMPDIR says, with fsync.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assay.monitoring.recorder import Recorder

HERE = Path(__file__).resolve().parent
MODEL = "ab" * 32
CALLS_A_SECOND = 1000
BLOCK_S = 2.0
TURNS = 3
SAID = {"prediction": "spam", "confidence": 0.75, "latency_s": 0.002}
NARROW = {"age": 41.5, "income": 2.5, "visits": 3, "country": "DE", **SAID}
WIDE = {**{f"x{i}": i + 0.5 for i in range(18)}, **{f"c{i}": "mail" for i in range(3)}, **SAID}


@dataclass
class Pace:
    """How quickly rows were taken and written.

    Attributes:
        rows_s: Rows a second, from the first call until the last row is on the disk.
        cpu_us: Processor time of this process for a row, all threads together.
    """

    rows_s: float
    cpu_us: float


@contextmanager
def recorder(**options: object) -> Iterator[Recorder]:
    """A Recorder on a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder, Recorder(Path(folder), model=MODEL, **options) as made:
        yield made


def pace(log: Callable[[Recorder], int], seconds: float) -> Pace:
    """Log for so long without a pause; the writing counts."""
    with recorder() as to:
        rows, began, cpu = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - began < seconds:
            rows += log(to)
        to.close()
        return Pace(rows / (time.perf_counter() - began), 1e6 * (time.process_time() - cpu) / rows)


def singles(row: dict[str, object]) -> Callable[[Recorder], int]:
    """One call a row."""

    def log(to: Recorder) -> int:
        for _ in range(1000):
            to.log(row)
        return 1000

    return log


def batches(row: dict[str, object], size: int) -> Callable[[Recorder], int]:
    """One call for a table of so many rows."""
    chance = np.random.default_rng(1)
    table = pa.table({k: chance.normal(size=size) if isinstance(v, float) else [v] * size for k, v in row.items()})

    def log(to: Recorder) -> int:
        to.log_batch(table)
        return size

    return log


def work() -> float:
    """What the service itself does for a call: about 50 µs."""
    return sum(i * 0.5 for i in range(1000))


@dataclass
class Calls:
    """Times of calls, in µs: in ``log`` alone, and from when the call was due to when it was answered."""

    log: list[float]
    whole: list[float]


def serve(to: Recorder | None, calls: Calls, seconds: float) -> None:
    """A thousand calls a second, each at its time."""
    start = time.perf_counter()
    for number in range(int(seconds * CALLS_A_SECOND)):
        due = start + number / CALLS_A_SECOND
        while (left := due - time.perf_counter()) > 0:
            time.sleep(left)
        work()
        before = time.perf_counter()
        if to is not None:
            to.log(NARROW)
        after = time.perf_counter()
        calls.log.append(1e6 * (after - before))
        calls.whole.append(1e6 * (after - due))


@contextmanager
def flushing(to: Recorder) -> Iterator[None]:
    """A flush runs all the time, whatever has come: as soon as one ends the next begins."""
    ended = threading.Event()

    def work_on() -> None:
        while not ended.is_set():
            to.flush()

    thread = threading.Thread(target=work_on)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def added(seconds: float, *, always: bool, **options: object) -> dict[str, float]:
    """Time added to a call. Blocks with and without recording take turns, so that both see the same machine."""
    alone, recorded = Calls([], []), Calls([], [])
    with recorder(**options) as to:
        for _ in range(max(2, round(seconds / BLOCK_S))):
            serve(None, alone, BLOCK_S)
            with flushing(to) if always else nullcontext():
                serve(to, recorded, BLOCK_S)
    inside, none = np.array(recorded.log), np.array(alone.log)
    found = {"median": float(np.median(inside) - np.median(none))}
    found |= {"p99": float(np.quantile(inside, 0.99) - np.quantile(none, 0.99)), "most": float(inside.max())}
    whole = [np.quantile(c.whole, (0.5, 0.99)) for c in (recorded, alone)]
    return found | {"whole median": whole[0][0] - whole[1][0], "whole p99": whole[0][1] - whole[1][1]}


SERVICE = """
import sys, threading
from pathlib import Path
import pyarrow as pa
from assay.monitoring.recorder import Recorder

recorder = Recorder(Path(sys.argv[1]), model="ab" * 32, flush_rows=100, flush_s=0.05)
telling = threading.Lock()

def work(who):
    number = 0
    while True:
        for _ in range(30):
            recorder.log({"who": who, "x": number, "prediction": "a"})
            number += 1
        later = list(range(number, number + 20))
        recorder.log_batch(pa.table({"who": [who] * 20, "x": later, "prediction": ["a"] * 20}))
        number += 20
        recorder.flush()
        with telling:
            sys.stdout.write(f"{who} {number}\\n")
            sys.stdout.flush()

for thread in range(3):
    threading.Thread(target=work, args=(f"{sys.argv[2]}-{thread}",), daemon=True).start()
threading.Event().wait()
"""


@dataclass
class Crash:
    """What a kill -9 of two recording processes, three threads each, left behind."""

    flushed: int
    rows: int
    lost: int
    torn: int
    twice: int


def crash(chance: random.Random) -> Crash:
    """Start two processes on one folder, kill both at a random moment, and read everything."""
    with tempfile.TemporaryDirectory() as folder:
        both = [
            subprocess.Popen([sys.executable, "-c", SERVICE, folder, str(n)], stdout=subprocess.PIPE, text=True)
            for n in range(2)
        ]
        for one in both:
            one.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.4))
        for one in both:
            os.kill(one.pid, signal.SIGKILL)
        told: dict[str, int] = {}
        for one in both:
            for line in one.stdout.read().split("\n")[:-1]:
                who, number = line.split()
                told[who] = max(told.get(who, 0), int(number))
            one.wait()
        return _look(Path(folder), told)


def _look(folder: Path, told: dict[str, int]) -> Crash:
    there: dict[str, list[int]] = {}
    torn = rows = 0
    for path in folder.glob("**/*.parquet"):
        try:
            found = pq.ParquetFile(path).read(columns=["who", "x"])
        except (pa.ArrowException, OSError):
            torn += 1
            continue
        for who, x in zip(found["who"].to_pylist(), found["x"].to_pylist(), strict=True):
            there.setdefault(who, []).append(x)
            rows += 1
    lost = sum(len(set(range(number)) - set(there.get(who, ()))) for who, number in told.items())
    return Crash(sum(told.values()), rows, lost, torn, sum(len(xs) - len(set(xs)) for xs in there.values()))


def paces(seconds: float) -> Iterator[str]:
    """The table of rows a second."""
    yield "| what | rows/s | least | processor, µs a row | goal |"
    yield "| --- | --- | --- | --- | --- |"
    for words, row in {"10 columns": NARROW, "27 columns": WIDE}.items():
        ways = {f"single rows, {words}": (singles(row), 100_000)}
        ways |= {f"batches of {size:,}, {words}": (batches(row, size), 500_000) for size in (100, 1000, 10_000)}
        for what, (log, goal) in ways.items():
            found = [pace(log, seconds / 4) for _ in range(TURNS)]
            middle = statistics.median(one.rows_s for one in found)
            cpu = statistics.median(one.cpu_us for one in found)
            yield f"| {what} | {middle:,.0f} | {min(one.rows_s for one in found):,.0f} | {cpu:.2f} | {goal:,} |"


def latencies(seconds: float) -> Iterator[str]:
    """The table of what a call waits for."""
    yield "| flushes | in the call: median | p99 | most | due to answered: median | p99 |"
    yield "| --- | --- | --- | --- | --- | --- |"
    ways = {
        "as by default: every 1,000 rows": (False, {}),
        "every 100 rows": (False, {"flush_rows": 100}),
        "one after the other, always one running": (True, {}),
    }
    for words, (always, options) in ways.items():
        us = added(seconds, always=always, **options)
        yield f"| {words} | {' | '.join(f'{one:.1f}' for one in us.values())} |"


def report(seconds: float, kills: int) -> Iterator[str]:
    """The page, line by line."""
    yield "# What recording costs\n"
    yield f"`python benchmarks/recorder/run.py --seconds {seconds:g} --kills {kills}`,"
    yield f"Python {platform.python_version()}, pyarrow {pa.__version__}, {os.cpu_count()} cores."
    yield f"Load of the machine when it began: {os.getloadavg()[0]:.1f}.\n"
    yield "## Rows a second\n"
    yield f"The writing (zstd, fsync, rename) included; the median of {TURNS} turns and the least.\n"
    yield from paces(seconds)
    yield f"\n## µs added to a call, at {CALLS_A_SECOND:,} calls a second\n"
    yield "Against blocks of the same service without recording, in turns. *In the call*: in `log` itself, which is"
    yield "what an answer waits for. *Due to answered* has waiting for the processor and the interpreter in it, too."
    yield "Goal with a flush running: 5 µs in the median, 50 µs at p99.\n"
    yield from latencies(seconds)
    yield f"\nLoad of the machine now: {os.getloadavg()[0]:.1f}.\n\n## `kill -9`, {kills} times\n"
    chance = random.Random(1)  # noqa: S311 - when to kill is no secret
    found = [crash(chance) for _ in range(kills)]
    yield "Two processes with three threads each write single rows and batches to one folder, until both are killed."
    flushed, rows = sum(one.flushed for one in found), sum(one.rows for one in found)
    yield f"{flushed:,} rows were flushed and told, {rows:,} are there:"
    yield (
        f"**{sum(one.lost for one in found)} flushed rows lost, {sum(one.torn for one in found)} torn files, "
        f"{sum(one.twice for one in found)} rows twice.**"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the page, and keep it when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    lines = []
    for line in report(options.seconds, options.kills):
        print(line, flush=True)
        lines.append(line)
    if options.write:
        HERE.joinpath("RESULTS.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
