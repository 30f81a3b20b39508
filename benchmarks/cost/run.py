"""What monitoring costs, beside a hand-written query and two peers, and how it grows.

``python benchmarks/cost/run.py [--quick] [--large ROWS]``, from the root of the repository. Every figure is that of a
whole process with its start, unless it says otherwise: seconds of wall time and of processors, and the largest resident
memory, as the system counts them. Prints the tables, and writes RESULTS.md and growth.svg beside this file. ``--large``
adds a table of so many rows as a Recorder keeps them, a file an hour, in a folder of its own (--scratch).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import duckdb
import numpy as np
from tables import COUNTED, Shape, counted, write, write_hours

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PYTHON = ROOT / ".venv" / "bin" / "python"
PEERS = {name: ROOT / ".venv-peers" / name / "bin" / "python" for name in ("evidently", "nannyml")}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
GB = 1e9
SLICES = 2
FURTHER = 8


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    reference: int
    current: int
    runs: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    windows: tuple[int, ...]
    slices: tuple[int, ...]
    usual: int
    peers: tuple[str, ...]


FULL = Sizes(
    reference=200_000,
    current=1_000_000,
    runs=3,
    rows=(125_000, 250_000, 500_000, 1_000_000, 2_000_000),
    columns=(8, 16, 32, 64),
    windows=(5, 20, 80, 320),
    slices=(0, 2, 3, 4, 5),
    usual=250_000,
    peers=("evidently", "nannyml"),
)
QUICK = replace(
    FULL,
    reference=20_000,
    current=100_000,
    runs=1,
    rows=(25_000, 100_000),
    columns=(8, 24),
    windows=(5, 20),
    slices=(0, 2),
    usual=25_000,
    peers=(),
)


@dataclass(frozen=True)
class Ran:
    """One process: seconds of wall time and of processors, largest resident memory in bytes, what it said last."""

    wall: float
    cpu: float
    peak: int
    said: dict[str, float]


@dataclass(frozen=True)
class Line:
    """One line of the first table."""

    what: str
    ran: Ran
    bare: Ran | None


def ran(python: Path, *command: object) -> Ran:
    """Run a script that must succeed and print JSON last."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen([str(x) for x in (python, *command)], stdout=out, stderr=out, env=ENVIRONMENT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = status
        out.seek(0)
        said = out.read()
    if status:
        raise SystemExit(f"{' '.join(map(str, command))} failed: {said[-2000:]}")
    return Ran(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, json.loads(said.splitlines()[-1]))


def middle(some: Sequence[Ran]) -> Ran:
    """Medians of several runs; the largest memory of any."""
    each = [statistics.median(getattr(one, word) for one in some) for word in ("wall", "cpu")]
    return Ran(each[0], each[1], max(one.peak for one in some), some[0].said)


def edges(shape: Shape, reference: Path, first: dict[str, str], path: Path) -> Path:
    """What the bare query needs to know: the quantiles of every number."""
    numbers, texts = counted(shape)
    known: dict[str, list[float]] = {}
    with duckdb.connect() as connection:
        for column in numbers:
            asked = f"quantile_disc({column}, {[i / 20 for i in range(1, 20)]}), min({column}), max({column})"
            inner, *outer = connection.sql(f"SELECT {asked} FROM '{reference}'").fetchall()[0]
            known[column] = sorted({float(x) for x in (*inner, *outer)})
    path.write_text(json.dumps({"edges": known, "values": {column: [] for column in texts}, "first": first}))
    return path


def cost(sizes: Sizes, folder: Path) -> list[Line]:
    """The usual table: ours, the bare query and the peers, in turn."""
    known = Shape(sizes.reference, 20, seed=1)
    live = Shape(sizes.current, 20, first="2026-02-02", seed=2)
    both = Shape(sizes.reference + sizes.current, 20, first="2026-02-02", seed=2)
    reference, current, table = (
        write(shape, folder / f"{name}.parquet")
        for name, shape in (("reference", known), ("current", live), ("table", both))
    )
    first = {"reference": known.first, "current": live.first, "table": both.first}
    bins = edges(known, reference, first, folder / "edges.json")
    inside, baseline = HERE / "inside.py", folder / "baseline.json"
    ran(PYTHON, inside, "learn", reference, COUNTED, SLICES, "1d", baseline)
    commands: dict[str, tuple[object, ...]] = {
        "bare": (HERE / "bare.py", bins, reference, current),
        "whole": (inside, "whole", reference, current, COUNTED, SLICES, "1d"),
        "bare table": (HERE / "bare.py", bins, table),
        "judge": (inside, "judge", baseline, table),
    }
    found: dict[str, list[Ran]] = {name: [] for name in commands}
    for number in range(sizes.runs + 1):
        for name, command in commands.items():
            one = ran(PYTHON, *command)
            if number or sizes.runs == 1:  # the first is not counted: files and bytecode come into memory
                found[name].append(one)
                print(f"  {name}: {one.wall:.2f} s, {one.cpu:.2f} s of processors, {one.peak / GB:.2f} GB", flush=True)
    rows = f"{(sizes.reference + sizes.current) / 1e6:g} million rows"
    lines = [
        Line(f"the bare query, {rows} in two tables", middle(found["bare"]), None),
        Line("assay, one table learned from and the other judged", middle(found["whole"]), middle(found["bare"])),
        Line(f"the bare query, {rows} in one table", middle(found["bare table"]), None),
        Line("assay, judged by a baseline it has", middle(found["judge"]), middle(found["bare table"])),
    ]
    for peer in sizes.peers:
        if not PEERS[peer].exists():
            print(f"{peer} is left out: make bench-peers makes its environment", flush=True)
            continue
        one = ran(PEERS[peer], HERE / f"peer_{peer}.py", reference, current)
        print(f"  {peer}: {one.wall:.1f} s, {one.cpu:.1f} s of processors, {one.peak / GB:.2f} GB", flush=True)
        lines.append(Line(f"{peer}, one table against the other", one, middle(found["bare"])))
    return lines


def a_further_window(sizes: Sizes, folder: Path) -> list[tuple[str, float, float | None]]:
    """Milliseconds of processors, and of wall time, that 1,000 further rows take."""
    said = ran(PYTHON, HERE / "inside.py", "further", folder, FURTHER if sizes.runs > 1 else 3).said
    known, table = folder.parent / "reference.parquet", folder.parent / "current.parquet"
    ran(PYTHON, HERE / "inside.py", "learn", known, COUNTED, SLICES, "1000rows", folder / "narrow.json")
    one = ran(PYTHON, HERE / "inside.py", "judge", folder / "narrow.json", table).said
    found: list[tuple[str, float, float | None]] = [
        (
            f"assay, each of {one['windows']:,} windows counted and judged together",
            1000 * one["cpu_s"] / one["windows"],
            None,
        ),
        ("assay, a monitor run in an open process", said["cpu_ms"], said["wall_ms"]),
        ("of that, reading and counting by the engine", said["engine_ms"], None),
        ("the bare query over the same window, in an open process", said["bare_ms"], None),
        ("assay, the second run of a process, which looks at each of 32 windows by itself", said["second_ms"], None),
    ]
    for peer in sizes.peers:
        if PEERS[peer].exists():
            tables = folder.parent / "reference.parquet", folder.parent / "current.parquet"
            one = ran(PEERS[peer], HERE / f"peer_{peer}.py", *tables, 1000).said
            found.append((f"{peer}, a report in an open process", one["cpu_ms"], None))
    return found


def growth(sizes: Sizes, folder: Path) -> dict[str, list[tuple[float, float]]]:
    """Seconds of processors to judge, without the start, by what grows: medians."""
    tables: dict[str, list[tuple[float, Shape, int]]] = {
        "rows": [(n, Shape(n, 20, seed=11), SLICES) for n in sizes.rows],
        "columns": [(n, Shape(sizes.usual, 20, n, seed=12), SLICES) for n in sizes.columns],
        "windows": [(n, Shape(sizes.usual, n, first="2022-01-03", seed=13), SLICES) for n in sizes.windows],
        "slices": [(n, Shape(sizes.usual, 20, seed=14), n) for n in sizes.slices],
    }
    found: dict[str, list[tuple[float, float]]] = {}
    for name, cases in tables.items():
        found[name] = []
        for size, shape, slices in cases:
            table = write(shape, folder / "growing.parquet")
            known = write(replace(shape, rows=20_000, days=20, seed=shape.seed + 50), folder / "known.parquet")
            ran(PYTHON, HERE / "inside.py", "learn", known, shape.columns, slices, "1d", folder / "growing.json")
            some = [ran(PYTHON, HERE / "inside.py", "judge", folder / "growing.json", table) for _ in range(sizes.runs)]
            cpu = statistics.median(one.said["cpu_s"] for one in some)
            grown = some[0].said["slices"] if name == "slices" else size
            found[name].append((grown, cpu))
            print(f"  {name} {grown:g}: {cpu:.3f} s, {max(one.peak for one in some) / GB:.2f} GB", flush=True)
    return found


def slope(points: Sequence[tuple[float, float]]) -> float:
    """By which power time grows over the upper half of the sizes: least squares of the logarithms."""
    some = [(x, y) for x, y in points if x > 0][-max(2, (len(points) + 1) // 2) :]
    x, y = np.log([a for a, _ in some]), np.log([b for _, b in some])
    return float(np.polyfit(x, y, 1)[0])


def large(rows: int, folder: Path, table: Path | None) -> dict[str, float]:
    """A table as a Recorder keeps it, larger than memory may be; one that was made before, or made here."""
    if table is None or not table.exists():
        table = write_hours(Shape(rows, 20, first="2026-02-02", seed=3), table or folder / "large")
    size = sum(file.stat().st_size for file in table.rglob("*.parquet"))
    known = write(Shape(200_000, 20, seed=1), folder / "known.parquet")
    ran(PYTHON, HERE / "inside.py", "learn", known, COUNTED, SLICES, "1d", folder / "large.json")
    one = ran(PYTHON, HERE / "inside.py", "judge", folder / "large.json", table)
    return asdict(replace(one, said={})) | {"rows": rows, "bytes": size, "counted": one.said["rows"]}


def picture(found: dict[str, list[tuple[float, float]]], path: Path) -> None:
    """The growth, log against log, one panel for each thing that grows."""
    import vl_convert

    panels = []
    for name, points in found.items():
        shown = [{"x": x, "seconds": y} for x, y in points if x > 0]
        axis = {"grid": True, "format": "~s", "tickCount": 5}
        panels.append(
            {
                "title": f"{name}: power {slope(points):.2f}",
                "width": 210,
                "height": 170,
                "data": {"values": shown},
                "mark": {"type": "line", "point": True, "color": "#2f6db3"},
                "encoding": {
                    "x": {"field": "x", "type": "quantitative", "scale": {"type": "log"}, "title": name, "axis": axis},
                    "y": {
                        "field": "seconds",
                        "type": "quantitative",
                        "scale": {"type": "log"},
                        "title": "seconds of processors",
                        "axis": {"grid": True, "format": "~g", "tickCount": 5},
                    },
                },
            }
        )
    drawn = {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", "background": "white", "columns": 2}
    path.write_text(vl_convert.vegalite_to_svg(drawn | {"concat": panels}), encoding="utf-8")


def report(
    sizes: Sizes,
    lines: Sequence[Line],
    further: Sequence[tuple[str, float, float | None]],
    found: dict[str, list[tuple[float, float]]],
    big: dict[str, float] | None,
) -> str:
    """RESULTS.md."""
    load = os.getloadavg()[1]
    out = [
        "# What monitoring costs",
        "",
        (
            f"Measured on {datetime.now(UTC):%Y-%m-%d} by `benchmarks/cost/run.py`"
            f"{' --quick' if sizes.runs == 1 else ''}: "
            f"medians of {sizes.runs} runs in turn, whole processes with their start, files in the page cache, "
            f"{os.cpu_count()} processors, load average {load:.1f} (above 1 others were at work too: wall times say "
            "little, and seconds of processors are somewhat too long for all alike). "
            f"DuckDB {duckdb.__version__}, Python {sys.version.split()[0]}."
        ),
        "",
        (
            f"The table has {COUNTED} counted columns (15 numbers and 5 categories as features, prediction, "
            "confidence, latency, label) beside time, request id and error, in 20 windows. The bare query counts 20 "
            "quantile bins of each counted column in each window by `CASE` and `GROUPING SETS`, edges known, and "
            "nothing else. Ours has everything on: inputs, outputs, confidence, calibration, latency, failures, "
            "accuracy per class, slices of two columns and their crossings, nulls, infinities, repeated ids, order, "
            "and the judgement."
        ),
        "",
        "| what | wall | processors | most memory | times the bare query |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for line in lines:
        one = line.ran
        times = f"{one.cpu / line.bare.cpu:.2f} (wall {one.wall / line.bare.wall:.2f})" if line.bare else ""
        out.append(f"| {line.what} | {one.wall:.2f} s | {one.cpu:.2f} s | {one.peak / GB:.2f} GB | {times} |")
    out += ["", "A further window of 1,000 rows:", "", "| what | processors | wall |", "| --- | ---: | ---: |"]
    out += [f"| {what} | {cpu:.0f} ms | {'' if wall is None else f'{wall:.0f} ms'} |" for what, cpu, wall in further]
    goals = [
        ("1.2 million rows at most 2 x the bare query, learning included", lines[1].ran.cpu / lines[0].ran.cpu, 2.0),
        ("the same, judged by a baseline it has", lines[3].ran.cpu / lines[2].ran.cpu, 2.0),
        ("most memory of either, GB, at most 0.6", max(lines[1].ran.peak, lines[3].ran.peak) / GB, 0.6),
        ("a further window of 1,000 rows among others, ms of processors, at most 20", further[0][1], 20.0),
        ("a further window of 1,000 rows in an open process, ms of processors, at most 20", further[1][1], 20.0),
    ]
    out += ["", "| goal | measured | met |", "| --- | ---: | --- |"]
    out += [f"| {what} | {value:.2f} | {'yes' if value <= limit else '**no**'} |" for what, value, limit in goals]
    if sizes.runs == 1:
        out += ["", "A quick run: small tables, on which starting is most of the time."]
    if big is not None:
        out += [
            "",
            "## Larger than memory",
            "",
            (
                f"{big['rows'] / 1e6:g} million rows, {COUNTED} counted columns, {big['bytes'] / GB:.1f} GB of "
                f"Parquet in 480 files: judged in {big['wall']:.0f} s ({big['rows'] / big['wall'] / 1e6:.2f} million "
                f"rows a second; {big['cpu']:.0f} s of processors), most memory {big['peak'] / GB:.2f} GB, "
                f"{big['counted']:,.0f} rows counted."
            ),
        ]
    out += ["", "## Growth", "", "![time against rows, columns, windows and slices](growth.svg)", ""]
    out += ["Seconds of processors to count and judge, without the start of the process; medians.", ""]
    for name, points in found.items():
        told = ", ".join(f"{x:,.0f}: {y:.2f} s" for x, y in points)
        out.append(f"* **{name}** {told}. Over the upper half, time grows with the power {slope(points):.2f}.")
    return "\n".join(out) + "\n"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small tables, for a look whether it runs")
    parser.add_argument("--large", type=int, default=0, metavar="ROWS", help="also a table of so many rows")
    parser.add_argument("--table", type=Path, help="where that table is, or is put and left")
    parser.add_argument("--scratch", type=Path, help="folder for tables; a temporary one by default")
    given = parser.parse_args()
    sizes = QUICK if given.quick else FULL
    with tempfile.TemporaryDirectory(prefix="assay-cost-", dir=given.scratch) as made:
        folder = Path(made)
        free = shutil.disk_usage(folder).free
        if given.large * 150 > free:
            raise SystemExit(f"{given.large:,} rows need {given.large * 150 / GB:.0f} GB, {free / GB:.0f} are free")
        lines = cost(sizes, folder)
        (folder / "further").mkdir()
        further = a_further_window(sizes, folder / "further")
        found = growth(sizes, folder)
        big = large(given.large, folder, given.table) if given.large else None
    text = report(sizes, lines, further, found, big)
    print(text)
    if not math.isfinite(slope(found["rows"])):
        raise SystemExit("nothing grew")
    if not given.quick:
        HERE.joinpath("RESULTS.md").write_text(text, encoding="utf-8")
        picture(found, HERE / "growth.svg")


if __name__ == "__main__":
    main()
