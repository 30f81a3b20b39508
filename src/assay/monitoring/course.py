"""How sure one can be of a change, window by window: the confidence sequence of an alarm, and evidence as it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from assay.inference.evidence import IDLE, LOOK_BACKS
from assay.inference.natural import Floats
from assay.inference.sequence import rate_sequence
from assay.monitoring.alarms import design_of, strongest_start
from assay.monitoring.floors import Floors
from assay.monitoring.signals import WindowCounts
from assay.monitoring.summary import Interval
from assay.monitoring.walk import Opening
from assay.monitoring.watching import Watched

MOST_COURSES: Final = 6
_LEVEL: Final = 0.95
_POINTS: Final = 60


@dataclass(frozen=True, slots=True)
class Course:
    """What became known of an alarm, from the window it began in.

    Attributes:
        signal: The alarm's signal.
        question: What was asked of each row.
        windows: Start of each window, the last of those counted.
        known: The share since the first window and its 95 % confidence sequence, after each window.
        level: The share in the baseline.
        band: Shares that never raise an alarm.
    """

    signal: str
    question: str
    windows: tuple[str, ...]
    known: tuple[Interval, ...]
    level: float
    band: tuple[float, float]


def courses(
    openings: Sequence[Opening],
    watched: Sequence[Watched],
    windows: Sequence[WindowCounts],
    floors: Floors,
    drawn: Mapping[Opening, Course],
) -> Mapping[Opening, Course]:
    """One for each of the newest alarms about shares, newest first; volume has none.

    Args:
        openings: The alarms.
        watched: The signals they are about.
        windows: All windows.
        floors: What does not matter.
        drawn: Courses that were drawn before: of an alarm that is over, it is still the same.
    """
    newest = sorted(openings, key=lambda one: (-one.window, one.signal))
    shares = [one for one in newest if watched[one.signal].spec.kind != "volume"][:MOST_COURSES]
    over = {one for one in shares if one.calm is not None and one in drawn}
    return {one: drawn[one] if one in over else _course(one, watched[one.signal], windows, floors) for one in shares}


def _course(opening: Opening, watched: Watched, windows: Sequence[WindowCounts], floors: Floors) -> Course:
    part, first = strongest_start(opening, watched)
    question = watched.watcher(part).strongest(first, opening.window)
    bins = list(question.bins)
    last = len(windows) - 1 if opening.calm is None else opening.calm
    events = np.cumsum(watched.counts[first : last + 1][:, bins].sum(1))
    rows = np.cumsum(watched.counts[first : last + 1].sum(1))
    design = design_of(watched.spec, part, question, float(rows[-1]) / len(rows))
    starts = opening.window - first + 1
    step = -(-len(rows) // _POINTS)
    at = sorted({*range(0, len(rows), step), len(rows) - 1})
    known = []
    for i in at:
        low, high = rate_sequence(float(events[i]), float(rows[i]), level=_LEVEL, design=design, starts=starts)
        known.append(Interval(float(events[i]) / float(rows[i]) if rows[i] else float("nan"), low, high))
    level = float((watched.baseline[:, bins].sum() + 0.5) / (watched.baseline.sum() + 1))
    rate = max(floors.rate_relative * min(level, 1 - level), floors.rate_points)
    room = rate if watched.spec.kind == "rate" else floors.distribution
    return Course(
        watched.spec.name,
        question.label,
        tuple(windows[first + i].start for i in at),
        tuple(known),
        level,
        (level - room, level + room),
    )


def standing(
    evidence: Floats, windows: int, openings: Sequence[Opening], weight: Mapping[str, float], limit: float
) -> Mapping[str, float]:
    """Each signal's evidence after the last window, as a share of what an alarm needs; those without any are left out.

    Args:
        evidence: E per signal and look-back from the last window, (S, look-backs).
        windows: How many windows there are.
        openings: Alarms of all windows.
        weight: Share of the budget of each signal, by name, in their order.
        limit: Windows per false alarm.
    """
    restart = np.zeros(len(evidence), dtype=np.intp)
    for opening in openings:
        if opening.calm is not None:
            restart[opening.signal] = max(restart[opening.signal], opening.calm + 1)
    fits = np.array(LOOK_BACKS)[None, :] <= windows - restart[:, None]
    shares = np.array(list(weight.values()))
    now = np.where(fits & (evidence >= IDLE), evidence, 0.0).sum(1) * shares / limit
    return {name: float(value) for name, value in zip(weight, now, strict=True) if value > 0}
