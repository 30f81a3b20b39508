"""Put every signal under its detectors: learn from the baseline's windows, judge the live ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from assay.inference.evidence import LOOK_BACKS, cap_of, over_look_backs
from assay.inference.natural import COMFORTABLE, Floats, Ints, Natural, learn
from assay.monitoring.clock import weekday
from assay.monitoring.detectors.base import Detector, Floors, View, Watcher
from assay.monitoring.detectors.shelf import built_in
from assay.monitoring.signals import Reference, SignalSpec, WindowCounts, counts_of

_DAYS = 7


@dataclass(frozen=True, slots=True)
class Part:
    """One signal under one detector."""

    detector: Detector
    natural: Natural
    watcher: Watcher


@dataclass(frozen=True, slots=True)
class Watched:
    """One signal under all its detectors.

    Attributes:
        spec: The signal.
        baseline: Its counts in the baseline, per stratum, (S, bins).
        counts: Its counts in the live windows, (T, bins).
        at: Stratum of each live window, (T,).
        parts: Its detectors, at equal weight; empty when there is nothing to ask.
    """

    spec: SignalSpec
    baseline: Floats
    counts: Floats
    at: Ints
    parts: tuple[Part, ...]

    def evidence(self) -> Floats:
        """E for every look-back and window, (look-backs, T): the mean over the detectors."""
        each = [over_look_backs(part.watcher.log_evidence, len(self.counts)) for part in self.parts]
        return np.asarray(np.mean(each, axis=0), dtype=np.float64)


def strata_of(reference: Reference, days: bool, windows: Sequence[WindowCounts]) -> tuple[Ints | None, Ints]:
    """Weekdays of the baseline's windows (None when they cannot be told apart) and of the live ones."""
    flat = np.zeros(len(windows), dtype=np.intp)
    if not days or len(reference.windows) < COMFORTABLE:
        return None, flat
    baseline = np.array([weekday(w.start) for w in reference.windows], dtype=np.intp)
    if len(set(baseline.tolist())) < _DAYS:
        return None, flat
    return baseline, np.array([weekday(w.start) for w in windows], dtype=np.intp)


def watch(
    reference: Reference,
    windows: Sequence[WindowCounts],
    *,
    specs: Sequence[SignalSpec],
    weight: Sequence[float],
    windows_per_alarm: float,
    days: bool,
    floors: Floors,
) -> tuple[Watched, ...]:
    """Learn and judge all signals, in the order of ``specs``.

    Args:
        reference: The baseline.
        windows: The live windows, in time order.
        specs: The signals that are judged.
        weight: Share of the budget of each.
        windows_per_alarm: ``A``.
        days: Whether a window is one day.
        floors: What does not matter.
    """
    stratum, at = strata_of(reference, days, windows)
    baseline = [counts_of(spec, reference.windows) for spec in specs]
    live = [counts_of(spec, windows) for spec in specs]
    parts: list[list[Part]] = [[] for _ in specs]
    for i, detector, natural in _learn_all(specs, baseline, stratum):
        cap = None if _one_window_may_do(specs[i]) else cap_of(windows_per_alarm, weight[i])
        if natural.rows.max() == 0 or (natural.short and specs[i].kind == "volume"):
            continue
        view = View(specs[i], live[i], natural, floors, at, cap)
        parts[i].append(Part(detector, natural, detector.watch(view)))
    summed = [_by_stratum(counts, stratum) for counts in baseline]
    return tuple(Watched(s, summed[i], live[i], at, tuple(parts[i])) for i, s in enumerate(specs))


def _one_window_may_do(spec: SignalSpec) -> bool:
    """Failures and declared limits. Not the volume: the first or the last window of a table is often a part of one."""
    return spec.hard or spec.name == "failures"


def _learn_all(
    specs: Sequence[SignalSpec], baseline: Sequence[Floats], stratum: Ints | None
) -> Iterator[tuple[int, Detector, Natural]]:
    """What the baseline knows of each signal under each of its detectors, in the order of the shelf.

    A question with hardly any events in the baseline (nulls, values beyond the range, the outer half-lines) cannot
    tell how much it varies. It takes the largest design effect that the same column's values have shown: where a day
    has one temperature, a day is cold or null as a whole. Where detectors disagree on it the smaller counts: each is an
    upper end, and the larger comes from fewer signals learned together. Without such values it keeps that of its kind.
    """
    learned: list[tuple[int, Detector, Natural]] = []
    largest: dict[tuple[str, str], float] = {}
    for detector in built_in():
        which = [i for i, spec in enumerate(specs) if detector.covers(spec)]
        naturals = _learn(detector, [specs[i] for i in which], [baseline[i] for i in which], stratum)
        for i, natural in zip(which, naturals, strict=True):
            learned.append((i, detector, natural))
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


def _learn(
    detector: Detector, specs: Sequence[SignalSpec], counts: Sequence[Floats], stratum: Ints | None
) -> list[Natural]:
    """Learn all questions of one detector together, then give each signal its own."""
    if not specs:
        return []
    answers = [detector.tally(spec, c) for spec, c in zip(specs, counts, strict=True)]
    events = np.concatenate([s for s, _ in answers], axis=1)
    rows = np.concatenate([n for _, n in answers], axis=1)
    learned = learn(events, rows, stratum=stratum, signals=len(specs))
    ends = np.cumsum([s.shape[1] for s, _ in answers])
    return [learned.pick(slice(int(end) - s.shape[1], int(end))) for end, (s, _) in zip(ends, answers, strict=True)]


def _by_stratum(counts: Floats, stratum: Ints | None) -> Floats:
    if stratum is None:
        return np.asarray(counts.sum(0, keepdims=True), dtype=np.float64)
    return np.asarray([counts[stratum == k].sum(0) for k in range(_DAYS)], dtype=np.float64)


def all_evidence(watched: Sequence[Watched], windows: int) -> Floats:
    """E per signal, look-back and window, (S, look-backs, T); 0 where nothing can be asked."""
    out = np.zeros((len(watched), len(LOOK_BACKS), windows))
    for i, one in enumerate(watched):
        if one.parts:
            out[i] = one.evidence()
    return out
