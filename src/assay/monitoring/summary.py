"""Each window in a few numbers with their intervals, for charts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log, sqrt

import numpy as np

from assay.inference.intervals import wilson
from assay.inference.natural import Floats
from assay.monitoring.detectors.mean import bin_values
from assay.monitoring.scores import NEGATIVES, POSITIVES, area
from assay.monitoring.signals import SignalSpec, WindowCounts
from assay.monitoring.watching import Watched

AUC = "auc"
"""The name of the area under the ROC curve among a window's figures."""

_LEVEL = 0.95
_Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure of one window and its 95 % interval, for one look; alarms use confidence sequences."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class WindowSummary:
    """One window in a few numbers.

    Attributes:
        start: First instant.
        end: First instant after it.
        rows: How many rows.
        values: ``accuracy``, ``accuracy:class=...``, ``accuracy:slice:...`` (shares of right answers); ``failures``,
            ``latency_s:p95``, ``feature:x:null`` and other rates (shares of rows); ``prediction=...`` (shares);
            ``confidence`` and ``calibration`` (means of the binned values); ``feature:x`` (total variation from the
            baseline, 0 to 1; never exactly 0, because a window is a sample); ``volume`` (rows);
            ``accuracy:estimated`` (from confidence, see `assay.monitoring.estimate`); ``residual``, ``ndcg``, ``mrr``
            (means), ``auc`` (of a score, from its bins). A figure without rows is missing.
    """

    start: str
    end: str
    rows: int
    values: Mapping[str, Interval]

    def to_json(self) -> dict[str, object]:
        """The window as JSON types."""
        values = {name: [v.value, v.low, v.high] for name, v in self.values.items()}
        return {"start": self.start, "end": self.end, "rows": self.rows, "values": values}


def summarise(
    watched: Sequence[Watched], counts: Sequence[Floats], windows: Sequence[WindowCounts]
) -> tuple[WindowSummary, ...]:
    """The figures of windows.

    Args:
        watched: The signals.
        counts: Their counts in these windows, each (T, bins).
        windows: The windows.
    """
    values: list[dict[str, Interval]] = [{} for _ in windows]
    rows, moved = _rows(counts), _moved(watched, counts)
    for place, (one, mine) in enumerate(zip(watched, counts, strict=True)):
        for k, bins in enumerate(mine):
            if rows[k][place] and place in moved:
                values[k][one.spec.name] = _from_baseline(moved[place][k], rows[k][place])
            elif rows[k][place]:
                values[k].update(_of_bins(one.spec, bins, rows[k][place]))
    for k, found in enumerate(_areas({one.spec.name: mine for one, mine in zip(watched, counts, strict=True)})):
        values[k] |= {} if found is None else {AUC: found}
    return tuple(WindowSummary(w.start, w.end, w.rows, v) for w, v in zip(windows, values, strict=True))


def _areas(by_name: Mapping[str, Floats]) -> list[Interval | None]:
    """The area under the ROC curve of every window: a figure made of two signals, each of which is judged."""
    if POSITIVES not in by_name or NEGATIVES not in by_name:
        return []
    each = zip(by_name[POSITIVES], by_name[NEGATIVES], strict=True)
    areas = [area(positives, negatives) for positives, negatives in each]
    return [None if found is None else Interval(*found) for found in areas]


def _rows(counts: Sequence[Floats]) -> list[list[float]]:
    """Rows of every window and signal; counts are whole numbers, which add up the same in any order."""
    if not counts:
        return []
    starts = np.cumsum([0, *(one.shape[1] for one in counts[:-1])])
    found: list[list[float]] = np.add.reduceat(np.concatenate(counts, axis=1), starts, axis=1).tolist()
    return found


def _moved(watched: Sequence[Watched], counts: Sequence[Floats]) -> dict[int, list[float]]:
    """How far each window's distribution is from the baseline's, by the signals' places; those of one shape at once."""
    alike: dict[int, list[int]] = defaultdict(list)
    for place, one in enumerate(watched):
        if _is_distance(one.spec):
            alike[one.spec.bins].append(place)
    found: dict[int, list[float]] = {}
    for places in alike.values():
        baseline = np.concatenate([watched[place].baseline for place in places])  # of one row each
        each = _total_variation(np.array([counts[place] for place in places]), baseline[:, None])
        found |= dict(zip(places, each.tolist(), strict=True))
    return found


def figures(spec: SignalSpec, counts: Floats, baseline: Floats) -> Iterator[tuple[str, Interval]]:
    """The figures of one signal, by name, from counts of its bins, at least one, and those of the baseline."""
    rows = float(counts.sum())
    if _is_distance(spec):
        yield spec.name, _from_baseline(float(_total_variation(counts[None], baseline[None])[0]), rows)
    else:
        yield from _of_bins(spec, counts, rows)


def _is_mean(spec: SignalSpec) -> bool:
    return spec.kind == "ordered" and (spec.family in ("outputs", "errors") or spec.span is not None)


def _is_distance(spec: SignalSpec) -> bool:
    """Whether a signal's figure is how far its distribution is from the baseline's."""
    if spec.kind == "values":
        return spec.family != "outputs"
    return spec.kind not in ("volume", "rate") and not _is_mean(spec)


def _of_bins(spec: SignalSpec, counts: Floats, rows: float) -> Iterator[tuple[str, Interval]]:
    """The figures of a signal that are told by its counts alone."""
    if spec.kind == "volume":
        yield spec.name, Interval(rows, rows, rows)
    elif spec.kind == "rate":
        right = spec.name == "error" or spec.name.startswith("accuracy")
        name = "accuracy" if spec.name == "error" else spec.name
        yield name, _rate(float(counts[0 if right else 1]), rows)
    elif _is_mean(spec):
        values = bin_values(spec)
        yield spec.name, _mean(counts, values if spec.span is None else np.clip(values, *spec.span))
    else:
        for value, n in zip((*spec.values, "(other)"), counts, strict=True):
            yield f"{spec.name}={value}", _rate(float(n), rows)


@lru_cache(maxsize=4096)  # most rates of a window are the same: of a thousand rows, none is null
def _rate(events: float, rows: float) -> Interval:
    return Interval(events / rows, *wilson(events, rows, _LEVEL))


def _mean(counts: Floats, values: Floats) -> Interval:
    share = counts / counts.sum()
    mean = float(share @ values)
    half = _Z * sqrt(float(share @ (values - mean) ** 2) / float(counts.sum()))
    return Interval(mean, mean - half, mean + half)


def _total_variation(counts: Floats, baseline: Floats) -> Floats:
    """Distance of distributions from the baseline's, (…), from counts (…, bins); NaN where there are none."""
    rows, known = counts.sum(-1, keepdims=True), np.maximum(baseline.sum(-1, keepdims=True), 1.0)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(counts / rows - baseline / known).sum(-1) / 2, dtype=np.float64)


def _from_baseline(value: float, rows: float) -> Interval:
    """A distance from the baseline with the interval of McDiarmid (1989): one row moves it by at most 1/n."""
    half = sqrt(log(2 / (1 - _LEVEL)) / (2 * rows))
    return Interval(value, max(0.0, value - half), min(1.0, value + half))
