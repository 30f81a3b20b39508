"""What pictures of a monitor run are drawn from: tolerances beside the figures, and distributions then and now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from assay.inference.natural import Floats
from assay.monitoring.alarms import Alarm
from assay.monitoring.detectors.mean import bin_values
from assay.monitoring.floors import Floors
from assay.monitoring.signals import SignalSpec, WindowCounts
from assay.monitoring.summary import Interval, figures
from assay.monitoring.watching import Watched


@dataclass(frozen=True, slots=True)
class Shape:
    """How the values of an alarmed signal were distributed in the baseline, and since.

    Attributes:
        signal: Its name.
        since: Start of the first window that counts as since.
        labels: One for each bin: ``<= 12.3``, a value, ``(other)``.
        then: Shares in the baseline, summing to 1.
        now: Shares since.
    """

    signal: str
    since: str
    labels: tuple[str, ...]
    then: tuple[float, ...]
    now: tuple[float, ...]


def tolerances(watched: Sequence[Watched], floors: Floors) -> Mapping[str, Interval]:
    """For every figure its value in the baseline and how far it may go without an alarm ever.

    A figure inside this band raises nothing; outside it, time and natural variation decide. Figures are named as in
    `assay.monitoring.summary.WindowSummary`; volume has none, because it is judged by weekday.
    """
    found: dict[str, Interval] = {}
    for one in watched:
        counts = one.baseline.sum(0)
        if one.spec.kind == "volume" or not counts.sum():
            continue
        for name, figure in figures(one.spec, counts, counts):
            room = _room(one.spec, figure.value, floors)
            low, high = figure.value - room, figure.value + room
            if one.spec.kind in {"rate", "values"}:  # of shares: there are none below 0, nor above 1
                low, high = max(low, 0.0), min(high, 1.0)
            found[name] = Interval(figure.value, low, high)
    return found


def _room(spec: SignalSpec, value: float, floors: Floors) -> float:
    if spec.kind == "rate":
        return max(floors.rate_relative * min(value, 1 - value), floors.rate_points)
    if spec.tolerance is not None:
        return spec.tolerance
    if spec.kind == "ordered" and (spec.family in {"outputs", "errors"} or spec.span is not None):
        values = bin_values(spec)
        low, high = spec.span or (float(values.min()), float(values.max()))
        return floors.mean * (high - low)
    return floors.distribution


def shapes(alarms: Sequence[Alarm], watched: Sequence[Watched], windows: Sequence[WindowCounts]) -> tuple[Shape, ...]:
    """The distributions behind alarms, one for each signal that has one, in the order of the alarms."""
    by_name = {one.spec.name: one for one in watched if one.spec.kind in {"ordered", "values"}}
    found: dict[str, Shape] = {}
    for alarm in alarms:
        one = by_name.get(alarm.signal)
        if one is None or alarm.signal in found:
            continue
        inside = [place for place, window in enumerate(windows) if alarm.since <= window.start <= alarm.window]
        recent, known = one.counts[inside].sum(0), one.baseline.sum(0)
        if recent.sum() and known.sum():
            found[alarm.signal] = Shape(alarm.signal, alarm.since, labels(one.spec), _share(known), _share(recent))
    return tuple(found.values())


def labels(spec: SignalSpec) -> tuple[str, ...]:
    """What each bin of a signal holds, in words."""
    if spec.kind == "values":
        return (*spec.values, "(other)")
    return (*(f"≤ {edge:.4g}" for edge in spec.edges), f"> {spec.edges[-1]:.4g}")


def _share(counts: Floats) -> tuple[float, ...]:
    return tuple(np.asarray(counts / counts.sum(), np.float64).tolist())
