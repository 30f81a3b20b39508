"""How often honest clients of small and large crowds are accused when the world moves, and how soon others are found.

    python benchmarks/clients/crowds.py [--repeats 1] [--days 30] [--only honest|attacks]

Seeds are fixed. RESULTS.md has what it prints.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from run import BEGIN, A, Found, counted, prepared  # sets the number of threads first
from traffic import WIDTH, Floats, World, attack

from assay.monitoring.clients.judge import ClientAlarm, judge
from assay.monitoring.clients.sight import NEWCOMERS

MOVES = ("still", "slow", "step")
CROWDS = ((1, 1.0), (1, 20.0), (3, 1.0), (3, 20.0), (10, 1.0), (10, 20.0), (100, 0.2))
"""Honest clients, and queries each sends in an hour of the day."""

ATTACKS = ("random", "jacobian", "boundary", "members")
RATE = 10.0  # the attacker's queries an hour
_MOVES_AT = 10 * 24  # hours
_ATTACK_AT = 16 * 24
_MOVED = 0.9  # standard deviations, in every column


@dataclass(frozen=True)
class Member:
    """An honest client with a mix of cases of its own.

    Attributes:
        name: Who.
        hourly: Mean queries an hour at day.
        mix: Share of each kind of case, (3,).
        way: How far it goes along with the world: 1 as all on average.
        awake: First hour of its day.
    """

    name: str
    hourly: float
    mix: Floats
    way: float
    awake: int

    def ask(self, world: World, rng: np.random.Generator, hour: int, moved: float) -> Floats:
        """Its queries of one hour."""
        there = 1.0 if (hour - self.awake) % 24 < 12 else 0.2
        n = int(rng.poisson(self.hourly * there))
        kind = rng.choice(3, n, p=self.mix)
        rows = np.einsum("ni,nij->nj", rng.normal(size=(n, WIDTH)), world.mixing[kind]) + world.centres[kind]
        return np.asarray(rows + moved * self.way * world.training.std(0))


def members(rng: np.random.Generator, n: int, hourly: float) -> list[Member]:
    """Clients that differ in pace, in their mix, in their day, and in how much of the world's move they see."""
    return [
        Member(
            f"user-{i}",
            hourly * float(rng.lognormal(0, 0.5)),
            rng.dirichlet(np.ones(3)),
            float(rng.uniform(0.6, 1.4)),
            int(rng.integers(0, 24)),
        )
        for i in range(n)
    ]


def moved(move: str, hour: int) -> float:
    """How far the world has moved at an hour."""
    if move == "still" or hour < _MOVES_AT:
        return 0.0
    return _MOVED if move == "step" else _MOVED * min(1.0, (hour - _MOVES_AT) / (14 * 24))


def stream(
    world: World, rng: np.random.Generator, hours: int, crowd: list[Member], *, move: str, kind: str | None = None
) -> Iterator[tuple[list[str], Floats]]:
    """Who asked what, hour by hour; with an attack from `_ATTACK_AT` on."""
    source = attack(kind, world, rng) if kind else None
    for hour in range(hours):
        asked = [(one.name, one.ask(world, rng, hour, moved(move, hour))) for one in crowd]
        if source is not None and hour >= _ATTACK_AT:
            n = int(rng.poisson(RATE))
            asked.append(("evil", np.array([next(source) for _ in range(n)]).reshape(n, WIDTH)))
        names = [name for name, rows in asked for _ in rows]
        at = np.concatenate([np.sort(rng.random(len(rows))) for _, rows in asked])
        order = np.argsort(at)
        yield [names[i] for i in order], np.concatenate([rows for _, rows in asked])[order]


def honest(clients: int, hourly: float, move: str, days: int, seed: int) -> tuple[tuple[ClientAlarm, ...], int, float]:
    """Alarms about honest clients, their queries, and what share of them was far in the last week."""
    world, space, low, rng = prepared(seed)
    crowd = members(rng, clients, hourly)
    windows = counted(world, space, low, stream(world, rng, days * 24, crowd, move=move))
    last = [one for window in windows[-168:] for name, one in window.seen.items() if name != NEWCOMERS]
    far = sum(one.events[3] for one in last) / max(1, sum(one.tries[3] for one in last))
    queries = sum(one.rows for window in windows for name, one in window.seen.items() if name != NEWCOMERS)
    return judge(windows, windows_per_alarm=A).alarms, queries, far


def attacked(kind: str, clients: int, hourly: float, move: str, seed: int) -> Found:
    """One attack by a newcomer, from its first query to the alarm; watched for ten days."""
    world, space, low, rng = prepared(seed)
    crowd = members(rng, clients, hourly)
    windows = counted(world, space, low, stream(world, rng, _ATTACK_AT + 240, crowd, move=move, kind=kind))
    begin = (BEGIN + _ATTACK_AT * timedelta(hours=1)).isoformat()[:19]
    alarms = judge(windows, windows_per_alarm=A).alarms
    right = [one for one in alarms if one.client == "evil" or (one.client == NEWCOMERS and one.window >= begin)]
    false = len(alarms) - len(right)
    if not right:
        return Found(None, None, "", false)
    first = min(right, key=lambda one: one.window)
    asked = sum(one.seen["evil"].rows for one in windows if "evil" in one.seen and one.start <= first.window)
    hours = sum(begin <= one.start[:19] and one.start <= first.window for one in windows)
    who = "newcomers" if first.client == NEWCOMERS else "client"
    return Found(asked, hours, f"{who}:{first.question}", false)


def honest_table(repeats: int, days: int, base: int) -> Iterator[str]:
    """Honest clients only, line by line."""
    yield "| clients | queries an hour each | world | far at the end | runs with an alarm | alarms | of what |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for clients, hourly in CROWDS:
        for move in MOVES:
            runs = [honest(clients, hourly, move, days, base + 7000 + i) for i in range(repeats)]
            what = Counter(
                ("newcomers:" if one.client == NEWCOMERS else "client:") + one.question
                for run in runs
                for one in run[0]
            )
            said = ", ".join(f"{name} {n}" for name, n in what.most_common(3)) or "—"
            yield (
                f"| {clients} | {hourly:g} | {move} | {np.mean([run[2] for run in runs]):.0%} | "
                f"{sum(bool(run[0]) for run in runs)} of {repeats} | {sum(len(run[0]) for run in runs)} | {said} |"
            )


def attack_table(repeats: int, base: int) -> Iterator[str]:
    """Attacks by one newcomer with `RATE` queries an hour, line by line."""
    yield "| attack | crowd | world | found | queries until found, median | hours | by | honest accused |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for kind in ATTACKS:
        for clients, hourly in ((1, 1.0), (3, 1.0), (10, 1.0), (10, 20.0)):
            for move in ("still", "step"):
                runs = [attacked(kind, clients, hourly, move, base + 8000 + i) for i in range(repeats)]
                asked = [run.queries if run.queries is not None else np.inf for run in runs]
                hours = [run.hours if run.hours is not None else np.inf for run in runs]
                by = Counter(run.by for run in runs if run.by)
                said = ", ".join(f"{name} {n}" for name, n in by.most_common(2)) or "—"
                yield (
                    f"| {kind} | {clients} at {hourly:g} an hour | {move} | "
                    f"{sum(run.queries is not None for run in runs)} of {repeats} | {_median(asked)} | "
                    f"{_median(hours)} | {said} | {sum(run.false for run in runs)} |"
                )


def _median(values: list[float]) -> str:
    value = float(np.quantile(values, 0.5, method="higher"))
    return f"{value:,.0f}" if np.isfinite(value) else "—"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--base", type=int, default=0)
    parser.add_argument("--only", choices=("honest", "attacks"))
    options = parser.parse_args()
    started = time.perf_counter()
    if options.only != "attacks":
        for line in honest_table(options.repeats, options.days, options.base):
            print(line, flush=True)
    if options.only != "honest":
        for line in attack_table(options.repeats, options.base):
            print(line, flush=True)
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
