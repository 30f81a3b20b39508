"""The monitor on simulated streams: false alarms, delays, and whether the right signal is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from counting import Learned, judged
from results import Record, Work
from streams import Change, Nature, Stream

from assay.monitoring.alarms import Alarm
from assay.monitoring.floors import SENSITIVE, Floors
from assay.monitoring.monitor import evaluate
from assay.monitoring.signals import WindowCounts

YEAR = 365.0  # daily windows of a year, which is the budget
HOURS = 8760.0
FLOORS = {"default": Floors(), "sensitive": SENSITIVE}
HOUR = timedelta(hours=1)
FEWER = 40
"""Runs without floors; those with floors are `Changed.runs`."""


@dataclass(frozen=True)
class Unchanged:
    """A stream on which every alarm is false.

    Attributes:
        stream: The stream; each run takes its own seed.
        budget: Windows of one false alarm.
        runs: How many.
        window: How windows are cut, as the monitor is told.
    """

    stream: Stream
    budget: float = YEAR
    runs: int = 8
    window: str = "1d"


@dataclass(frozen=True)
class Changed:
    """A stream with a change.

    Attributes:
        stream: The stream.
        signals: What should be named: the signal, or another that is made of the same column.
        affected: Beginnings of the names of all signals that the change moves.
        budget: Windows of one false alarm.
        runs: How many.
        floors: Which floors are tried.
        window: How windows are cut.
    """

    stream: Stream
    signals: tuple[str, ...]
    affected: tuple[str, ...]
    budget: float = 1000.0
    runs: int = 100
    floors: tuple[str, ...] = ("default", "sensitive")
    window: str = "1000rows"


def _deployment(nature: Nature) -> Unchanged:
    return Unchanged(Stream(seed=0, baseline=60, live=730, nature=nature))


def _hourly(nature: Nature) -> Unchanged:
    stream = Stream(seed=0, baseline=21 * 24, live=60 * 24, rows=120, span=HOUR, nature=nature)
    return Unchanged(stream, HOURS, runs=3, window="1h")


UNCHANGED = {
    "independent rows, 10,000 windows": Unchanged(
        Stream(seed=0, baseline=20, live=2000), 10_000.0, runs=5, window="1000rows"
    ),
    "independent rows": _deployment(Nature()),
    "day effects": _deployment(Nature(feature_sd=0.1, rate_sd=0.2)),
    "days that persist (.7)": _deployment(Nature(feature_sd=0.1, rate_sd=0.2, rho=0.7)),
    "weekdays, persisting (.5)": _deployment(Nature(feature_sd=0.1, rate_sd=0.2, rho=0.5, season_sd=2.0)),
    "heavy tails, t(3)": _deployment(Nature(feature_sd=0.05, rate_sd=0.1, tails="t3")),
    "one-day bursts, 2 %": _deployment(Nature(bursts=0.02)),
}
_PERSISTING = UNCHANGED["days that persist (.7)"]
SHORT = {
    f"days that persist (.7), baseline of {days} days": replace(
        _PERSISTING, stream=replace(_PERSISTING.stream, baseline=days), runs=4
    )
    for days in (7, 28)
}
TIMED = {
    "hours of the day": _hourly(Nature(feature_sd=0.05, rate_sd=0.1, season_sd=4.0, season=24)),
    "hours of the day, persisting (.7)": _hourly(
        Nature(feature_sd=0.05, rate_sd=0.1, rho=0.7, season_sd=4.0, season=24)
    ),
    "trend in the baseline, then its last level": _deployment(
        Nature(feature_sd=0.05, rate_sd=0.1, trend=4.0, after="stays")
    ),
    "trend in the baseline that goes on": _deployment(Nature(feature_sd=0.05, rate_sd=0.1, trend=4.0, after="goes on")),
}
_SMALL = Stream(seed=0, baseline=200, live=130, rows=100)
CHANGED = {
    "error .05 to .08": Changed(
        Stream(seed=0, change=Change(20, error_to=0.08)), ("error",), ("error", "calibration", "accuracy")
    ),
    "error .05 to .08, 100 rows": Changed(
        replace(_SMALL, change=Change(40, error_to=0.08)),
        ("error",),
        ("error", "calibration", "accuracy"),
        10_000.0,
        runs=FEWER,
        window="100rows",
    ),
    "one class of ten 80 to 50 %": Changed(
        replace(_SMALL, change=Change(40, silent=True), silent_base=True),
        ("accuracy:class=0",),
        ("accuracy:class=0",),
        10_000.0,
        window="100rows",
    ),
    "confidence by -.02": Changed(
        replace(_SMALL, change=Change(40, confidence=-0.02)),
        ("confidence", "calibration"),
        ("confidence", "calibration"),
        10_000.0,
        window="100rows",
    ),
    "confidence by -.02, 1,000 rows": Changed(
        Stream(seed=0, change=Change(20, confidence=-0.02)),
        ("confidence", "calibration"),
        ("confidence", "calibration"),
        runs=FEWER,
    ),
    "one column of 20 by .2 sd": Changed(
        Stream(seed=0, change=Change(20, feature_sd=0.2)), ("feature:f0",), ("feature:f0",)
    ),
    "one column of 20 by .1 sd": Changed(
        Stream(seed=0, live=100, change=Change(20, feature_sd=0.1)), ("feature:f0",), ("feature:f0",)
    ),
}
SLICE = "accuracy:slice:c0=0&c1=0"
PLANTED = {
    "slice of 3 %, error .05 to .25": Changed(
        Stream(seed=0, sliced=True, change=Change(20, planted_to=0.25)),
        (SLICE,),
        (SLICE, "error", "calibration", "accuracy:class"),
        floors=("default",),
    )
}
RARER = {f"{row}, a tenth of the budget": replace(what, budget=10 * what.budget) for row, what in PLANTED.items()}


def jobs(*, quick: bool) -> Iterator[Work]:
    """Everything to measure, by its name; in a hurry one run of each, over fewer windows."""
    for row, still in (UNCHANGED | SHORT | TIMED).items():
        if quick and (still.stream.live > 1000 or row in list(TIMED)[3:]):
            continue
        one = replace(still, stream=replace(still.stream, live=180), runs=1) if quick else still
        for seed in range(one.runs):
            yield Work(((row, "assay", "default", seed),), partial(false_alarms, one, seed), long=True)
    for row, changed in (CHANGED | PLANTED | RARER).items():
        for seed in range(1 if quick else changed.runs):
            short = replace(changed, floors=changed.floors if seed < FEWER else ("default",))
            names = tuple((row, "assay", floors, seed) for floors in short.floors)
            yield Work(names, partial(delays, short, seed))


def seeded(stream: Stream, seed: int) -> Stream:
    """A stream with the seed of one run."""
    return replace(stream, seed=1000 + seed)


def false_alarms(what: Unchanged, seed: int) -> tuple[Record]:
    """Alarms on an unchanged stream."""
    reference, windows = judged(seeded(what.stream, seed), window=what.window)
    alarms = evaluate(reference, windows, windows_per_alarm=what.budget).alarms
    found: Record = {
        "windows": len(windows),
        "alarms": len(alarms),
        "alarmed": len({a.window for a in alarms}),
        "signals": sorted(a.signal for a in alarms)[:20],
    }
    return (found,)


def delays(what: Changed, seed: int) -> tuple[Record, ...]:
    """When the change was found, and what was named, with each choice of floors.

    What comes after an alarm does not change it, so further windows are made only while something is not found.
    """
    found: dict[str, Record] = {}
    at, unit = what.stream.change.at, 1000 // what.stream.rows
    for more in (5 + unit // 2, 12 + 2 * unit, what.stream.live - at):
        rest = [floors for floors in what.floors if found.get(floors, {"windows": None})["windows"] is None]
        if rest and at + more <= what.stream.live:
            stream = replace(seeded(what.stream, seed), live=at + more)
            reference, windows = judged(stream, window=what.window)
            found |= {floors: _delay(what, reference, windows, FLOORS[floors]) for floors in rest}
    return tuple(found[floors] for floors in what.floors)


def _delay(what: Changed, reference: Learned, windows: Sequence[WindowCounts], floors: Floors) -> Record:
    """When the change was found.

    Returns:
        ``windows``: from the change to the first alarm of a signal it moves, both counted; None when never. ``first``:
        the signals named by the first alarm after the change. ``named``: like ``windows``, of the right signal.
        ``before``: alarms before the change. ``others``: signals named after it that it does not move.
    """
    alarms = evaluate(reference, windows, windows_per_alarm=what.budget, floors=floors).alarms
    order = {window.start: i for i, window in enumerate(windows)}
    after = [a for a in alarms if order[a.window] >= what.stream.change.at]
    moved = [a for a in after if _moves(a.signal, what)]

    def since(found: Sequence[Alarm]) -> int | None:
        return order[found[0].window] - what.stream.change.at + 1 if found else None

    return {
        "windows": since(moved),
        "named": since([a for a in after if a.signal in what.signals]),
        "first": [a.signal for a in after if a.window == after[0].window][:5] if after else [],
        "before": len(alarms) - len(after),
        "live": len(windows),
        "others": sorted({a.signal for a in after if not _moves(a.signal, what)})[:10],
    }


def _moves(signal: str, what: Changed) -> bool:
    """Whether the change moves a signal; of slices, those that hold one of the two planted levels."""
    if signal.startswith("accuracy:slice:") and what.stream.sliced:
        parts = signal.removeprefix("accuracy:slice:").split("&")
        return "c0=0" in parts or "c1=0" in parts
    return any(signal == name or signal.startswith(name + ":") for name in what.affected) or (
        "accuracy" in what.affected and signal.startswith("accuracy:")
    )
