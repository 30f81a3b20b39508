"""Say of an alarm who, since when, and how big."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from assay.inference.distribution import from_half_lines, from_values
from assay.inference.evidence import LOOK_BACKS
from assay.inference.natural import Floats
from assay.inference.sequence import rate_sequence
from assay.monitoring.clock import readable
from assay.monitoring.detectors.base import Question
from assay.monitoring.signals import Family, SignalSpec, WindowCounts
from assay.monitoring.walk import Opening
from assay.monitoring.watching import Part, Watched

_LEVEL = 0.95
ABOUT_EQUAL = 1.0  # nats: starts whose evidence differs by less than a factor e cannot be told apart
_VOLUME_SLOTS = 1e4


@dataclass(frozen=True, slots=True)
class Alarm:
    """A signal has moved by more than matters and more than nature explains.

    Attributes:
        signal: Its name.
        slice: The rows it is restricted to, ``{column: value}``; None for all.
        window: Start of the window that raised the alarm.
        since: Start of the window since which the evidence is strongest.
        size: Change of the share since then, in share points (0.03 is three points); for ``volume`` relative.
        low: Lower end of its 95 % confidence sequence, the baseline taken as known.
        high: Upper end.
        log_e: Natural logarithm of the signal's evidence, summed over starts, before its weight.
        direction: ``up`` or ``down``: where the rate, the number or the share of the value went.
        baseline_size: The share in the baseline (on the same weekdays and hours); for ``volume`` rows per window.
        detail: One sentence for the person on call.
        family: Which share of the budget it draws on.
        question: What was asked of each row: ``temperature <= 12.3``.
        until: End of the window after which the signal was calm again; None while it is not.
        silent: A class or a slice has fallen while the accuracy of all rows together looks steady.
    """

    signal: str
    slice: Mapping[str, str] | None
    window: str
    since: str
    size: float
    low: float
    high: float
    log_e: float
    direction: str
    baseline_size: float
    detail: str
    family: Family
    question: str
    until: str | None = None
    silent: bool = False

    def to_json(self) -> dict[str, object]:
        """The alarm as ``assay monitor --json`` prints it."""
        return {
            "signal": self.signal,
            "slice": None if self.slice is None else dict(self.slice),
            "window": self.window,
            "since": self.since,
            "size": self.size,
            "interval": [self.low, self.high],
            "log_e": self.log_e,
            "direction": self.direction,
            "baseline_size": self.baseline_size,
            "detail": self.detail,
            "family": self.family,
            "question": self.question,
            "until": self.until,
            "silent": self.silent,
        }


def describe(opening: Opening, watched: Watched, windows: Sequence[WindowCounts]) -> Alarm:
    """Find the strongest detector, start and question of an opening, and measure the change since then."""
    part, first = strongest_start(opening, watched)
    question = watched.watcher(part).strongest(first, opening.window)
    measure = _volume if watched.spec.kind == "volume" else _share
    baseline, size, low, high = measure(watched, part, question, first, opening.window)
    spec = watched.spec
    return Alarm(
        signal=spec.name,
        slice=None if spec.slice is None else dict(spec.slice),
        window=windows[opening.window].start,
        since=windows[first].start,
        size=size,
        low=low,
        high=high,
        log_e=log(opening.level),
        direction=_direction(watched, question),
        baseline_size=baseline,
        detail=_sentence(watched, question, readable(windows[first].start), (baseline, size, low, high)),
        family=spec.family,
        question=question.label,
        until=None if opening.calm is None else windows[opening.calm].end,
    )


def strongest_start(opening: Opening, watched: Watched) -> tuple[Part, int]:
    """The detector and the start whose evidence is largest, over every start; of about equal ones the latest.

    Windows before the change that had no event cost a rare question almost no evidence, so the largest alone
    would begin too early.
    """
    oldest = max(opening.start, opening.window - LOOK_BACKS[-1] + 1)
    first = np.arange(opening.window, oldest - 1, -1)
    last = np.full(len(first), opening.window)
    each = [watched.watcher(part).log_evidence(first, last) for part in watched.parts]
    best = int(np.argmax([e.max() for e in each]))
    near = each[best] >= each[best].max() - ABOUT_EQUAL
    return watched.parts[best], int(first[int(np.argmax(near))])


def _share(
    watched: Watched, part: Part, question: Question, first: int, last: int
) -> tuple[float, float, float, float]:
    """Baseline share, change since, and its confidence sequence."""
    bins = list(question.bins)
    recent, at = watched.counts[first : last + 1], watched.at[first : last + 1]
    events, rows = float(recent[:, bins].sum()), float(recent.sum())
    expected = expected_share(watched.spec, part, question)
    known = float((recent.sum(1) * expected[at]).sum() / rows) if rows else float(expected.mean())
    design = design_of(watched.spec, part, question, rows / (last - first + 1))
    low, high = rate_sequence(events, rows, level=_LEVEL, design=design, starts=last - first + 1)
    share = events / rows if rows else known
    return known, share - known, low - known, high - known


def expected_share(spec: SignalSpec, part: Part, question: Question) -> Floats:
    """Share of yes that the baseline expects per stratum, (S,)."""
    asked = part.detector.questions(spec)
    if question in asked:
        return np.asarray(part.natural.strata[:, asked.index(question)], dtype=np.float64)
    known = from_half_lines(part.natural) if spec.kind == "ordered" else from_values(part.natural)
    return np.asarray(known.strata[:, list(question.bins)].sum(1), dtype=np.float64)


def design_of(spec: SignalSpec, part: Part, question: Question, rows: float) -> float:
    """Design effect of a question in windows of so many rows: its own, or the largest when it is made of several."""
    design = part.natural.design_at(np.full((1, len(part.natural.design)), rows))[0]
    asked = part.detector.questions(spec)
    return max(float(design[asked.index(question)] if question in asked else design.max()), 1.0)


def _volume(
    watched: Watched,
    part: Part,
    question: Question,  # noqa: ARG001 - measured like a share
    first: int,
    last: int,
) -> tuple[float, float, float, float]:
    """Rows per window in the baseline, relative change since, and its confidence sequence."""
    recent, at = watched.counts[first : last + 1, 0], watched.at[first : last + 1]
    usual = part.natural.strata[:, 0] * part.natural.window_rows[0]
    expected = float(usual[at].sum())
    slots = _VOLUME_SLOTS * max(expected, float(recent.sum()), 1.0)
    low, high = rate_sequence(
        float(recent.sum()), slots, level=_LEVEL, design=float(part.natural.design[0]), starts=last - first + 1
    )
    scale = slots / max(expected, 1e-9)
    return expected / len(recent), float(recent.sum()) / max(expected, 1e-9) - 1, low * scale - 1, high * scale - 1


def _direction(watched: Watched, question: Question) -> str:
    """Where the number went: more rows below an edge means that it fell."""
    below = watched.spec.kind == "ordered" and question.bins == tuple(range(len(question.bins)))
    return {"up": "down", "down": "up"}[question.side] if below else question.side


def _sentence(watched: Watched, question: Question, since: str, numbers: tuple[float, float, float, float]) -> str:
    baseline, size, low, high = numbers
    if watched.spec.kind == "volume":
        return (
            f"{baseline:,.0f} rows a window in the baseline, {baseline * (1 + size):,.0f} since {since} "
            f"({size:+.0%}; {low:+.0%} to {high:+.0%})"
        )
    return (
        f"{_asked(watched, question)}: {baseline:.2%} of rows in the baseline, {baseline + size:.2%} since {since} "
        f"({100 * size:+.2f} points; {100 * low:+.2f} to {100 * high:+.2f})"
    )


def _asked(watched: Watched, question: Question) -> str:
    """What "yes" means; of a latency also how many seconds that are, since whoever is called knows seconds."""
    spec = watched.spec
    if spec.name.startswith("latency_s:") and spec.edges:
        return f"{question.label}, slower than {spec.edges[0]:.3g} s"
    return question.label
