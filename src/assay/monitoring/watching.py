"""Put every signal under its detectors: learn from the baseline's windows, judge the live ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

import numpy as np

from assay.inference.evidence import cap_of
from assay.inference.natural import Floats, Ints, Natural, learn
from assay.inference.seasons import Calendar, Step, clear, learn_steps
from assay.inference.trend import without_trend
from assay.monitoring.calendar import Cycle, calendar_of, cycles_of, told
from assay.monitoring.clock import DAY
from assay.monitoring.detectors.base import Detector, View, Watcher
from assay.monitoring.detectors.shelf import built_in
from assay.monitoring.floors import Floors
from assay.monitoring.signals import Reference, SignalSpec, WindowCounts, counts_of


@dataclass(frozen=True, slots=True)
class Part:
    """One signal under one detector.

    Attributes:
        detector: Which.
        spec: The signal.
        natural: What the baseline knows about the detector's questions.
        floors: What does not matter.
        cap: Most evidence one window may bring, in nats; None when one window may do.
    """

    detector: Detector
    spec: SignalSpec
    natural: Natural
    floors: Floors
    cap: float | None

    def watcher(self, counts: Floats, at: Ints) -> Watcher:
        """What judges windows with these counts, (T, bins), and strata, (T,)."""
        return self.detector.watch(View(self.spec, counts, self.natural, self.floors, at, self.cap))


@dataclass(frozen=True, slots=True)
class Watched:
    """One signal under all its detectors.

    Attributes:
        spec: The signal.
        baseline: Its counts in the baseline, (1, bins).
        at: Stratum of each live window, (T,).
        parts: Its detectors, at equal weight; empty when there is nothing to ask.
        counted: Its counts in the live windows, (T, bins), when they are asked for: most signals' never are.
    """

    spec: SignalSpec
    baseline: Floats
    at: Ints
    parts: tuple[Part, ...]
    counted: Callable[[], Floats]

    @property
    def counts(self) -> Floats:
        """Its counts in the live windows, (T, bins)."""
        return self.counted()

    def watcher(self, part: Part) -> Watcher:
        """What judges all windows by one detector. Made anew each time: it is large, and few are asked for."""
        return part.watcher(self.counts, self.at)


@dataclass(frozen=True, slots=True)
class Kind:
    """All signals that one detector covers, and the answers to all its questions in the baseline.

    Attributes:
        detector: Which.
        which: Their places among the signals.
        events: Events per window and question, one signal after the other, (K, W).
        rows: Rows per window and question, (K, W).
        ends: Behind the last question of each signal.
    """

    detector: Detector
    which: tuple[int, ...]
    events: Floats
    rows: Floats
    ends: tuple[int, ...]

    @property
    def parts(self) -> Iterator[tuple[int, slice]]:
        """Each signal with its questions."""
        yield from zip(self.which, (slice(*ends) for ends in pairwise((0, *self.ends))), strict=True)

    def steps(self, calendar: Calendar) -> tuple[Step, ...]:
        """What each season does to these questions."""
        share = (self.events.sum(0) + 0.5) / (self.rows.sum(0) + 1.0)
        return learn_steps(self.events, self.rows, share, calendar.seasons)


def kinds_of(specs: Sequence[SignalSpec], counts: Sequence[Floats]) -> tuple[Kind, ...]:
    """The signals by detector, in the order of the shelf."""
    found = []
    for detector in built_in():
        which = tuple(i for i, spec in enumerate(specs) if detector.covers(spec))
        if which:
            answers = [detector.tally(specs[i], counts[i]) for i in which]
            events, rows = (np.concatenate(each, axis=1) for each in zip(*answers, strict=True))
            ends = tuple(np.cumsum([one.shape[1] for one, _ in answers]).tolist())
            found.append(Kind(detector, which, events, rows, ends))
    return tuple(found)


def carried(specs: Sequence[SignalSpec], windows: Sequence[WindowCounts], span: timedelta) -> tuple[Cycle, ...]:
    """The cycles that are used: the baseline is long enough, and where it must be, the pattern is clear."""
    there = [cycle for cycle in cycles_of(span) if told(cycle, windows, span)]
    used = {cycle.name for cycle in there if cycle.always}
    calendar, _ = calendar_of(there, windows, ())
    if calendar is None or all(cycle.always for cycle in there):
        return tuple(there)
    for kind in kinds_of(specs, [counts_of(spec, windows) for spec in specs]):
        said = clear(kind.steps(calendar), len(kind.which))
        used |= {cycle.name for cycle, yes in zip(there, said, strict=True) if yes}
    return tuple(cycle for cycle in there if cycle.name in used)


@dataclass(frozen=True, slots=True)
class Frame:
    """What all signals of an evaluation share.

    Attributes:
        cycles: The cycles of the clock that the baseline carries.
        calendar: Its seasons; None without any.
        at: Stratum of each live window, (T,).
        day: Windows a day, where they are shorter.
        floors: What does not matter.
        windows_per_alarm: ``A``.
    """

    cycles: tuple[Cycle, ...]
    calendar: Calendar | None
    at: Ints
    day: int | None
    floors: Floors
    windows_per_alarm: float


def frame_of(
    reference: Reference,
    windows: Sequence[WindowCounts],
    *,
    specs: Sequence[SignalSpec],
    windows_per_alarm: float,
    span: timedelta | None,
    floors: Floors,
) -> Frame:
    """The seasons that the baseline carries, and where in them the live windows lie.

    Args:
        reference: The baseline.
        windows: The live windows, in time order.
        specs: The signals that are judged.
        windows_per_alarm: ``A``.
        span: How long a window is; None for windows of rows.
        floors: What does not matter.
    """
    cycles = carried(specs, reference.windows, span) if span is not None else ()
    calendar, at = calendar_of(cycles, reference.windows, windows)
    day = None if span is None or span <= timedelta(0) else DAY // span
    return Frame(cycles, calendar, at, day, floors, windows_per_alarm)


def parts_of(
    reference: Reference, *, specs: Sequence[SignalSpec], weight: Sequence[float], frame: Frame
) -> tuple[tuple[Part, ...], ...]:
    """The detectors of all signals, in the order of ``specs``, with what they learn from the baseline.

    Args:
        reference: The baseline.
        specs: The signals that are judged.
        weight: Share of the budget of each.
        frame: What they share.
    """
    baseline = [counts_of(spec, reference.windows) for spec in specs]
    parts: list[list[Part]] = [[] for _ in specs]
    for i, detector, natural in _learn_all(specs, baseline, calendar=frame.calendar, day=frame.day):
        at_once = frame.floors.one_window or _one_window_may_do(specs[i])
        cap = None if at_once else cap_of(frame.windows_per_alarm, weight[i])
        if natural.rows.max() == 0 or (natural.short and specs[i].kind == "volume"):
            continue
        parts[i].append(Part(detector, specs[i], natural, frame.floors, cap))
    return tuple(map(tuple, parts))


def _one_window_may_do(spec: SignalSpec) -> bool:
    """Failures and declared limits. Not the volume: the first or the last window of a table is often a part of one."""
    return spec.hard or spec.name == "failures"


def _learn_all(
    specs: Sequence[SignalSpec],
    baseline: Sequence[Floats],
    *,
    calendar: Calendar | None,
    day: int | None,
) -> Iterator[tuple[int, Detector, Natural]]:
    """What the baseline knows of each signal under each of its detectors, in the order of the shelf.

    A question with hardly any events in the baseline (nulls, values beyond the range, the outer half-lines) cannot
    tell how much it varies. It takes the largest design effect that the same column's values have shown: where a day
    has one temperature, a day is cold or null as a whole. Where detectors disagree on it the smaller counts: each is an
    upper end, and the larger comes from fewer signals learned together. Without such values it keeps that of its kind.
    """
    learned: list[tuple[int, Detector, Natural]] = []
    largest: dict[tuple[str, str], float] = {}
    for kind in kinds_of(specs, baseline):
        whole = learn(kind.events, kind.rows, calendar=calendar, signals=len(kind.which), day=day)
        whole = without_trend(whole, kind.events, kind.rows, calendar=calendar, signals=len(kind.which), day=day)
        for i, mine in kind.parts:
            natural = whole.pick(mine)
            learned.append((i, kind.detector, natural))
            if specs[i].kind in ("ordered", "values") and natural.varies and natural.known.any():
                column = _column(specs[i])
                most = float(natural.design[natural.known].max())
                largest[column] = min(largest.get(column, most), most)
    for i, detector, natural in learned:
        design = None if _one_window_may_do(specs[i]) else largest.get(_column(specs[i]))
        if design is None or natural.known.all():
            yield i, detector, natural
        else:
            yield i, detector, natural.borrow(design, *detector.tally(specs[i], baseline[i]))


def _column(spec: SignalSpec) -> tuple[str, str]:
    return spec.family, spec.column or spec.name
