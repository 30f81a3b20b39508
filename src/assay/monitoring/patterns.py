"""What the baseline itself does: the seasons it goes by, and whether it moves.

A trend inside a baseline is drift that was learned as normal. It is told and never carried on: the share expected of
tomorrow stays that of the baseline. Whoever sees it takes a newer or a shorter reference, or finds out why it moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np

from assay.findings import Finding, Severity
from assay.inference.natural import CLAIMABLE, Floats, learn
from assay.inference.seasons import Calendar
from assay.inference.trend import MISTAKEN, find_trend, limit_of
from assay.monitoring.calendar import Cycle, calendar_of
from assay.monitoring.clock import DAY, span_of
from assay.monitoring.detectors.rate import floor_of
from assay.monitoring.floors import Floors
from assay.monitoring.signals import Reference, SignalSpec, counts_of
from assay.monitoring.watching import Kind, carried, kinds_of

NAMED: Final = 5
"""Trends told one by one, the largest first."""

_MONTH: Final = timedelta(days=30)
NOTHING: Final = 1e-6
"""Places that differ by a smaller part than this are the same: one row in a million."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A season that a signal goes by, at the question that shows it best.

    Attributes:
        signal: Its name.
        season: ``hour``, ``weekday``, ``hour of the week`` or ``month``.
        strength: Share of the differences between its places that is kept, 0 to 1.
        question: What was asked of each row.
        least: Place with the smallest share, in words, and that share (``volume``: rows a window).
        most: The same of the largest.
    """

    signal: str
    season: str
    strength: float
    question: str
    least: tuple[str, float]
    most: tuple[str, float]

    def to_json(self) -> Mapping[str, object]:
        """The pattern as ``assay baseline --json`` prints it."""
        return {
            "signal": self.signal,
            "season": self.season,
            "strength": self.strength,
            "question": self.question,
            "least": {"at": self.least[0], "share": self.least[1]},
            "most": {"at": self.most[0], "share": self.most[1]},
        }


@dataclass(frozen=True, slots=True)
class _View:
    """The parts of a baseline that seasons and trends are read from."""

    specs: tuple[SignalSpec, ...]
    kinds: tuple[Kind, ...]
    cycles: tuple[Cycle, ...]
    calendar: Calendar | None
    span: timedelta


def _view(reference: Reference) -> _View:
    by_rows = reference.window.endswith("rows")
    span = span_of(reference.windows, by_rows=by_rows)
    specs = tuple(s for s in reference.specs if s.kind != "cells" and not (by_rows and s.kind == "volume"))
    kinds = kinds_of(specs, [counts_of(spec, reference.windows) for spec in specs])
    cycles = () if by_rows else carried(specs, reference.windows, span)
    return _View(specs, kinds, cycles, calendar_of(cycles, reference.windows, ())[0], span)


def patterns_of(reference: Reference) -> tuple[Pattern, ...]:
    """The seasons that signals clearly go by, by signal; a pure function of the baseline's windows.

    All seasons are used with the strength that the data give them; those told here are beyond doubt.
    """
    view = _view(reference)
    if view.calendar is None:
        return ()
    best: dict[tuple[int, str], tuple[float, Pattern]] = {}
    for kind in view.kinds:
        steps = kind.steps(view.calendar)
        share = (kind.events.sum(0) + 0.5) / (kind.rows.sum(0) + 1.0)
        for place, mine in kind.parts:
            asked = kind.detector.questions(view.specs[place])
            for cycle, step in zip(view.cycles, steps, strict=True):
                chance = step.chance()[mine]
                one = int(chance.argmin())
                if chance[one] * len(chance) * len(kind.which) >= MISTAKEN:
                    continue
                odds = share[mine][one] / (1 - share[mine][one]) * np.exp(step.effect[:, mine][:, one])
                shares = odds / (1 + odds)
                scale = float(kind.rows[:, mine][:, one].mean()) if view.specs[place].kind == "volume" else 1.0
                low, high = int(shares.argmin()), int(shares.argmax())
                if shares[high] - shares[low] <= NOTHING * shares[high]:
                    continue  # the same everywhere, to the last row: so sure, and no pattern
                found = Pattern(
                    view.specs[place].name,
                    cycle.name,
                    float(step.keep[mine][one]),
                    asked[one].label,
                    (cycle.word(low), float(shares[low]) * scale),
                    (cycle.word(high), float(shares[high]) * scale),
                )
                known = best.get((place, cycle.name))
                if known is None or found.strength > known[0]:
                    best[place, cycle.name] = (found.strength, found)
    return tuple(found for _, (_, found) in sorted(best.items()))


def about_trends(reference: Reference, floors: Floors | None = None) -> tuple[Finding, ...]:
    """A finding for each of the signals that move most inside the baseline, where they move more than matters.

    Args:
        reference: The baseline.
        floors: What does not matter.
    """
    if len(reference.windows) < CLAIMABLE:
        return ()
    view, floors = _view(reference), floors or Floors()
    largest: dict[int, _Moving] = {}
    for kind in view.kinds:
        if kind.detector.name in {"rank", "learnedset", "mean"}:
            continue  # they ask what half-lines and values ask
        trend = find_trend(kind.events, kind.rows, calendar=view.calendar, signals=len(kind.which), day=_day(view))
        natural = learn(kind.events, kind.rows)
        limit = limit_of(kind.events.shape[1])
        for place, mine in kind.parts:
            spec = view.specs[place]
            tolerated = _tolerated(spec, floor_of(natural, floors)[mine], natural.share[mine], floors)
            over = np.abs(trend.moved[mine]) / tolerated * (np.abs(trend.z[mine]) > limit)
            one = int(over.argmax())
            if over[one] > 1:
                asked = kind.detector.questions(spec)[one].label
                scale = float(kind.rows[:, mine][:, one].mean()) if spec.kind == "volume" else 1.0
                known = largest.get(place)
                if known is None or over[one] > known.over:
                    first, last = (float(end[mine][one]) * scale for end in (trend.first, trend.last))
                    largest[place] = _Moving(spec, float(over[one]), asked, first, last)
    found = sorted(largest.values(), key=lambda one: (-one.over, one.spec.name))
    told = tuple(_told(one, len(reference.windows), view.span) for one in found[:NAMED])
    return (*told, *_more(len(found) - NAMED))


@dataclass(frozen=True, slots=True)
class _Moving:
    """A signal that moves: by how many times what matters, at which question, from where to where."""

    spec: SignalSpec
    over: float
    asked: str
    first: float
    last: float


def _day(view: _View) -> int | None:
    return DAY // view.span if timedelta(0) < view.span else None


def _tolerated(spec: SignalSpec, rates: Floats, share: Floats, floors: Floors) -> Floats:
    if spec.kind == "rate":
        return rates
    if spec.kind == "volume":
        return np.asarray(floors.volume_relative * share, dtype=np.float64)
    return np.full(len(share), floors.distribution)


def _told(one: _Moving, windows: int, span: timedelta) -> Finding:
    month = (one.last - one.first) / max(windows * span / _MONTH, 1e-9)
    newest = int(windows / one.over)
    if one.spec.kind == "volume":
        moved = f"{one.first:,.0f} to {one.last:,.0f} rows a window, {month:+,.0f} a month"
    else:
        moved = f"{one.first:.2%} to {one.last:.2%}, {100 * month:+.2f} points a month"
    take = (
        f"its newest {newest} windows move by no more than matters: take them, or a newer reference"
        if newest >= CLAIMABLE
        else "take a newer reference"
    )
    detail = (
        f"the baseline itself moves ({one.asked}: {moved}). It is not carried on: its mean judges, and what "
        f"has left that alarms; {take}"
    )
    numbers = {"first": one.first, "last": one.last, "per_month": month, "newest_windows": newest}
    return Finding("baseline.trend", one.spec.name, Severity.WARNING, detail, numbers)


def _more(number: int) -> Sequence[Finding]:
    if number <= 0:
        return ()
    detail = f"{number} more signals move inside the baseline by more than matters"
    return (Finding("baseline.trend", "signals", Severity.WARNING, detail, {"signals": number}),)
