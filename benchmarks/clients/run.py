"""How often an honest client is accused, and how soon one that copies or probes the model is found.

    python benchmarks/clients/run.py [--months 24] [--repeats 10] [--write]

Without options a quick form. ``--write`` replaces RESULTS.md beside this file. Seeds are fixed.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from traffic import ATTACKS, WIDTH, Client, Floats, World, attack, people  # noqa: E402

from assay.monitoring.clients.counting import look_at  # noqa: E402
from assay.monitoring.clients.judge import ClientAlarm, judge  # noqa: E402
from assay.monitoring.clients.roster import Roster  # noqa: E402
from assay.monitoring.clients.sight import NEWCOMERS, ClientWindow, Columns, Seen, Sight  # noqa: E402
from assay.monitoring.clients.space import Space  # noqa: E402

NAMES = [f"x{i}" for i in range(WIDTH)]
A = 365 * 24.0  # windows of an hour, one false alarm a year
BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
REGULARS = {client.name: Seen(0) for client in people(np.random.default_rng(0), 0)}  # in the reference: no newcomers
QUIET = 48  # hours before an attack begins
WATCHED = 120  # hours an attack is watched for
HARD = (
    ("stepper", "a machine whose every case hardly differs from the one before"),
    ("tuner", "somebody who changes one field at a time, ten times for each case"),
    ("foreign", "a new market: one column shifted by four standard deviations"),
)
SPREADS = (("1 %", 0.01, 1), ("10 %", 0.10, 1), ("10 %, dealt out to 10 clients", 0.10, -10))


@dataclass
class Attacker:
    """Queries put among the others.

    Attributes:
        kind: What kind of attack.
        share: Of the traffic.
        clients: Over how many clients it is spread, each with an attack of its own; negative: one attack, dealt out.
    """

    kind: str
    share: float
    clients: int
    asked: Counter[int] = field(default_factory=Counter)


def stream(
    world: World, rng: np.random.Generator, hours: int, attacker: Attacker | None = None, more: Sequence[Client] = ()
) -> Iterator[tuple[list[str], Floats]]:
    """Who asked what, hour by hour."""
    there: list[Client] = list(more)
    sources = []
    if attacker:
        sources = [attack(attacker.kind, world, rng) for _ in range(max(1, attacker.clients))]
    for hour in range(hours):
        there += people(rng, hour)
        names: list[str] = []
        parts: list[Floats] = []
        for client in there:
            rows = client.ask(world, rng, hour)
            names += [client.name] * len(rows)
            parts.append(rows)
        if attacker and hour >= QUIET:
            n = int(rng.poisson(len(names) * attacker.share / (1 - attacker.share)))
            many = abs(attacker.clients)
            mine = [next(sources[i % len(sources)]) for i in range(n)]
            attacker.asked[hour] = n
            names += [f"evil-{(sum(attacker.asked.values()) + i) % many}" for i in range(n)]
            parts += [row[None] for row in mine]
        rows = np.concatenate(parts) if parts else np.empty((0, WIDTH))
        at, place = rng.random(len(names)), 0
        for part in [*parts[: len(there)], np.concatenate(parts[len(there) :]) if parts[len(there) :] else []]:
            at[place : place + len(part)] = np.sort(at[place : place + len(part)])  # each client in its own order
            place += len(part)
        order = np.argsort(at)
        yield [names[i] for i in order], rows[order]


def counted(world: World, space: Space, low: float, hours: Iterator[tuple[list[str], Floats]]) -> list[ClientWindow]:
    """What is seen in each hour."""
    sight = Sight(space, Columns("client", "answer", "sure", low))
    tables = []
    for hour, (names, rows) in enumerate(hours):
        share = world.share(rows)
        table = pa.table(
            {
                **{name: rows[:, i] for i, name in enumerate(NAMES)},
                "client": pa.array(names, pa.string()),
                "answer": pa.array(np.where(share > 0.5, "yes", "no").tolist(), pa.string()),
                "sure": np.maximum(share, 1 - share),
            }
        )
        tables.append((BEGIN + hour * timedelta(hours=1), table))
    roster = Roster()  # who was there from the beginning is in the reference, as it is in a project
    roster.see(REGULARS, BEGIN - timedelta(days=10))
    roster.last = dict.fromkeys(roster.first, BEGIN)
    return look_at(sight, ((start, start + timedelta(hours=1), table) for start, table in tables), roster)


def prepared(seed: int) -> tuple[World, Space, float, np.random.Generator]:
    """A world and what is learned of it."""
    rng = np.random.default_rng(seed)
    world = World.made(rng)
    rows = world.rows(rng, 3072)
    space = Space.learn(
        pa.table({name: rows[:, i] for i, name in enumerate(NAMES)}), dict.fromkeys(NAMES, "number"), NAMES
    )
    share = world.share(rows)
    return world, space, float(np.quantile(np.maximum(share, 1 - share), 0.05)), rng


def honest(months: float, base: int) -> tuple[list[ClientAlarm], int, int]:
    """Alarms, hours and queries of honest clients."""
    alarms: list[ClientAlarm] = []
    hours = queries = 0
    for month in range(math.ceil(months)):
        world, space, low, rng = prepared(base + 1000 + month)
        windows = counted(world, space, low, stream(world, rng, round(min(1.0, months - month) * 720)))
        found = judge(windows, windows_per_alarm=A, usual=REGULARS).alarms
        alarms += found
        hours += len(windows)
        queries += sum(one.rows for window in windows for name, one in window.seen.items() if name != NEWCOMERS)
    return alarms, hours, queries


@dataclass
class Found:
    """When an attack was found, in its own queries and in hours; None when it was not."""

    queries: int | None
    hours: int | None
    by: str
    false: int


def attacked(kind: str, share: float, clients: int, seed: int) -> Found:
    """One attack, from its first query to the alarm."""
    world, space, low, rng = prepared(seed)
    attacker = Attacker(kind, share, clients)
    windows = counted(world, space, low, stream(world, rng, QUIET + WATCHED, attacker))
    alarms = judge(windows, windows_per_alarm=A, usual=REGULARS).alarms
    right = [
        one for one in alarms if one.client.startswith("evil") or (one.client == NEWCOMERS and one.window >= _at(QUIET))
    ]
    false = len(alarms) - len(right)
    if not right:
        return Found(None, None, "", false)
    first = right[0]
    hour = round((datetime.fromisoformat(first.window) - BEGIN) / timedelta(hours=1))
    asked = sum(n for at, n in attacker.asked.items() if at <= hour)
    who = "newcomers" if first.client == NEWCOMERS else "client"
    return Found(asked, hour - QUIET + 1, f"{who}:{first.question}", false)


def _at(hour: int) -> str:
    return (BEGIN + hour * timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def table(repeats: int, kinds: tuple[str, ...], spreads: Sequence[tuple[str, float, int]], base: int) -> Iterator[str]:
    """The table of attacks, line by line."""
    yield "| attack | traffic | found | queries until found, median (p90) | hours | by | honest clients accused |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for kind in kinds:
        for words, share, clients in spreads:
            runs = [attacked(kind, share, clients, base + 5000 + i) for i in range(repeats)]
            asked = [run.queries if run.queries is not None else np.inf for run in runs]
            hours = [run.hours if run.hours is not None else np.inf for run in runs]
            by = ", ".join(f"{name} {n}" for name, n in Counter(run.by for run in runs if run.by).most_common(2))
            found = sum(run.queries is not None for run in runs)
            yield (
                f"| {kind} | {words} | {found} of {repeats} | {_number(asked, 0.5)} ({_number(asked, 0.9)}) | "
                f"{_number(hours, 0.5)} | {by} | {sum(run.false for run in runs)} |"
            )


def _number(values: list[float], share: float) -> str:
    value = float(np.quantile(values, share, method="higher"))
    return f"{value:,.0f}" if np.isfinite(value) else "—"


def main() -> None:
    """Run, print, and write when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--months", type=float, default=0.3)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--attacks", nargs="*", default=["random", "jacobian", "boundary"])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    started = time.perf_counter()
    base = 20_000 if options.write else 0  # the seeds of the table are not those that tolerances were chosen with
    alarms, hours, queries = honest(options.months, base)
    years = hours / A
    who = Counter(f"{one.client.split('-')[0]}:{one.question}".replace(NEWCOMERS, "newcomers") for one in alarms)
    print(f"honest: {len(alarms)} alarms in {years:.2f} years, {queries:,} queries: {dict(who)}", flush=True)
    lines = []
    kinds = ATTACKS if options.write else tuple(options.attacks)
    for line in table(options.repeats, kinds, SPREADS if options.write else SPREADS[1:], base):
        print(line, flush=True)
        lines.append(line)
    print(f"{time.perf_counter() - started:.0f} s")
    if options.write:
        _write(lines, alarms, who, years, queries)


def _hard(months: int) -> list[str]:
    """Honest clients that do what the tolerances do not cover: accused or not."""
    lines = ["| honest client | accused in | of |", "| --- | --- | --- |"]
    for habit, words in HARD:
        runs = 0
        for seed in range(months):
            world, space, low, rng = prepared(29000 + seed)
            odd = Client("odd", habit, 6.0)
            windows = counted(world, space, low, stream(world, rng, 10 * 24, more=[odd]))
            runs += any(one.client == "odd" for one in judge(windows, windows_per_alarm=A, usual=REGULARS).alarms)
        lines.append(f"| {words} | {runs} | {months} runs of ten days |")
    return lines


def _write(lines: list[str], alarms: list[ClientAlarm], who: Counter[str], years: float, queries: int) -> None:
    hard = _hard(3)
    said = "; ".join(f"{name} {n}" for name, n in who.most_common()) or "none"
    text = f"""# Clients that copy or probe a model

Simulated: 8 columns, three kinds of cases, a model of two classes, windows of an hour, one false alarm a year over all
clients. 42 honest clients from the beginning and a new one every two days: plain ones of every pace, heavy ones, daily
batches, narrow ranges, forms edited and sent again, retries, a machine whose cases follow each other, one that sends
hard cases only; nights are quiet. Made by `benchmarks/clients/run.py`, Python {platform.python_version()}, numpy
{np.__version__}; seeds of the table are not those that tolerances were chosen with.

## Honest clients

{len(alarms)} alarms in {years:.2f} years ({queries:,} queries), {len(alarms) / years:.2f} a year against a budget of 1.
By client and question: {said}.

What no tolerance covers, put among the others for ten days:

{chr(10).join(hard)}

## Attacks

From the first query of the attack to the alarm, both counted; {WATCHED} hours are watched. What was not found counts as
infinite in median and p90: a dash.

{chr(10).join(lines)}

random: uniform in the range of the data. marginals: each column drawn on its own. jacobian: a hundred seeds, then steps
along a substitute's slope. boundary: halving the way between two classes, feeling around there. members: training rows,
each with five varied copies. natural: honest rows. diluted: one row of jacobian among three honest ones. Dealt out: one
attack, its rows dealt to ten clients in turn.
"""
    path = HERE / "RESULTS.md"
    _, mark, crowds = path.read_text(encoding="utf-8").partition("\n## Small crowds")  # what crowds.py printed stays
    path.write_text(f"{text}{mark}{crowds}", encoding="utf-8")


if __name__ == "__main__":
    main()
