"""What each piece of evidence looks like, as data: bars then and now, or a course in time. Pure.

A picture goes into the evidence's ``notes`` as JSON, and from there into the log's copy of the diagnosis;
whoever shows it draws it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from assay.diagnosis.comparison import Comparison
from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.frames import Frame
from assay.diagnosis.learners import Floats
from assay.inference.intervals import wilson

LEVEL = 0.95
MOST_BARS = 8
MOST_POINTS = 30
FEWEST_IN_POINT = 15
BINS = 10
LONGEST = 60  # characters of a label
THEN, NOW = "then", "now"


@dataclass(frozen=True, slots=True)
class Bar:
    """One value with its name.

    Attributes:
        label: What it is of.
        value: In the picture's unit.
        when: ``then``, ``now``, or "" when it is of neither.
        low: Lower end of its 95 % interval, when it has one.
        high: Upper end.
    """

    label: str
    value: float
    when: str = ""
    low: float | None = None
    high: float | None = None

    def as_json(self) -> dict[str, object]:
        """The bar as JSON has it."""
        ends = {} if self.low is None or self.high is None else {"low": round(self.low, 4), "high": round(self.high, 4)}
        return {"label": self.label[:LONGEST], "value": round(self.value, 4), "when": self.when, **ends}


@dataclass(frozen=True, slots=True)
class Picture:
    """Bars, points in time, or digests as strips of colour.

    Attributes:
        title: What is drawn, for who cannot see it too.
        bars: From top to bottom.
        points: (seconds since 1970 UTC, value), in time order.
        mark_s: When it began, drawn as a line across; None when it cannot be told.
        strips: (what, digest in hexadecimal): equal digests look equal.
        level: A value that matters, drawn as a line; None when there is none.
        percent: Whether values are shares from 0 to 1.
    """

    title: str
    bars: tuple[Bar, ...] = ()
    points: tuple[tuple[float, float], ...] = ()
    mark_s: float | None = None
    strips: tuple[tuple[str, str], ...] = ()
    level: float | None = None
    percent: bool = True

    def as_json(self) -> dict[str, object]:
        """The picture as JSON has it."""
        return {
            "title": self.title,
            "bars": [bar.as_json() for bar in self.bars],
            "points": [[round(at, 3), round(value, 4)] for at, value in self.points],
            "mark_s": self.mark_s,
            "strips": [list(strip) for strip in self.strips],
            "level": self.level,
            "percent": self.percent,
        }


def pictured(comparison: Comparison, item: Evidence) -> Evidence:
    """The evidence with its picture among its notes; what is missing has none."""
    if item.missing is not None:
        return item
    draw = DRAWN.get(item.name)
    picture = draw(comparison, item) if draw is not None else None
    picture = picture or _gauge(item)
    return item if picture is None else replace(item, notes={**item.notes, "picture": picture.as_json()})


def _gauge(item: Evidence) -> Picture | None:
    """The one number, with its interval."""
    if item.value is None or not np.isfinite(item.value):
        return None
    return Picture(item.unit or item.name, (Bar(item.name, item.value, NOW, item.low, item.high),), percent=False)


def _share(label: str, hits: int, of: int, when: str) -> Bar:
    low, high = wilson(hits, of, LEVEL)
    return Bar(label, hits / of, when, low, high)


def _bytes(comparison: Comparison, _: Evidence) -> Picture | None:
    facts = comparison.case.bytes
    found = [("recorded as live", facts.recorded_root), ("lies there now", facts.live_root)]
    found += [("says a row it was served by", root) for root in facts.served_roots[:MOST_BARS]]
    strips = tuple((what, root) for what, root in found if root)
    return Picture("Digests of the model: equal colours are equal bytes", strips=strips) if strips else None


def _replay(_: Comparison, item: Evidence) -> Picture | None:
    number = {name: value for name, value in item.notes.items() if isinstance(value, int)}
    bars = [_share("since", number.get("differing", 0), number["rows"], NOW)] if number.get("rows") else []
    if number.get("before_rows"):
        bars.insert(0, _share("before", number.get("before_differing", 0), number["before_rows"], THEN))
    return Picture("Share of served outputs that the signed copy does not give", tuple(bars)) if bars else None


def _surrogate(_: Comparison, item: Evidence) -> Picture | None:
    then, now = item.notes.get("then"), item.notes.get("now")
    if not isinstance(then, float) or not isinstance(now, float):
        return None
    bars = (
        Bar("before", then, THEN),
        Bar("since", now, NOW),
        Bar("change", item.value or 0.0, "", item.low, item.high),
    )
    return Picture("Accuracy of a stand-in less that of the deployed model", bars, level=0.0)


def _stamp(_: Comparison, item: Evidence) -> Picture | None:
    if item.value is None:
        return None
    return Picture("Share of clean rows that flip when stamped", (Bar("stamped", item.value, NOW),), level=0.5)


def _inputs(comparison: Comparison, _: Evidence) -> Picture | None:
    columns = comparison.inputs
    order = np.argsort(-columns.excess, kind="stable")[: MOST_BARS // 2]
    bars: list[Bar] = []
    for j in order:
        usual = max(0.0, float(columns.drift[j] - columns.excess[j]))
        bars += [
            Bar(comparison.names[j], usual, THEN),
            Bar(comparison.names[j], float(columns.drift[j]), NOW),
        ]
    title = "How far the columns that moved most went, and at most in a trusted stretch as long"
    return Picture(f"{title} (Kolmogorov-Smirnov distance)", tuple(bars), percent=False)


def _pipeline(comparison: Comparison, item: Evidence) -> Picture | None:
    """The worst column's distribution then and now, in tenths of both together."""
    worst = next((one.subject for one in item.findings if one.subject in comparison.names), None)
    if worst is None:
        return None
    j = comparison.names.index(worst)
    then, now = (part.x[:, j][np.isfinite(part.x[:, j])] for part in (comparison.trusted, comparison.recent))
    if not len(then) or not len(now):
        return None
    # Half of the edges from each side: a column that left its range altogether still shows where it was.
    quantiles = np.linspace(0, 1, BINS // 2 + 1)[1:-1]
    edges = np.unique(np.concatenate([np.quantile(then, quantiles), np.quantile(now, quantiles)]))
    words = comparison.encoder.words.get(worst)
    bars: list[Bar] = []
    for label, was, is_now in _bins(then, now, edges, words):
        bars += [Bar(label, was, THEN), Bar(label, is_now, NOW)]
    return Picture(f"Values of {worst[:LONGEST]!r} then and now, as shares of rows", tuple(bars))


def _bins(then: Floats, now: Floats, edges: Floats, words: tuple[str, ...] | None) -> list[tuple[str, float, float]]:
    if words is not None:
        share = [np.bincount(part.astype(np.int64), minlength=len(words) + 1) / len(part) for part in (then, now)]
        order = np.argsort(-(share[0] + share[1]), kind="stable")[:MOST_BARS]
        named = [*words, "never seen before"]
        return [(named[code], float(share[0][code]), float(share[1][code])) for code in order if code < len(named)]
    place = [np.bincount(np.searchsorted(edges, part), minlength=len(edges) + 1) / len(part) for part in (then, now)]
    names = [f"≤ {edge:.4g}" for edge in edges] + [f"> {edges[-1]:.4g}"]
    return [(name, float(place[0][at]), float(place[1][at])) for at, name in enumerate(names)]


def _labels(comparison: Comparison, _: Evidence) -> Picture | None:
    return _classes(comparison, "Shares of the labels", lambda frame: frame.label[frame.known])


def _outputs(comparison: Comparison, _: Evidence) -> Picture | None:
    return _classes(comparison, "Shares of the answers", lambda frame: frame.served[frame.served >= 0])


def _classes(comparison: Comparison, title: str, codes: Callable[[Frame], np.ndarray]) -> Picture | None:
    then, now = codes(comparison.base), codes(comparison.recent)
    if not len(then) or not len(now):
        return None
    k = len(comparison.classes)
    was, is_now = np.bincount(then, minlength=k), np.bincount(now, minlength=k)
    order = np.argsort(-(was / len(then) + is_now / len(now)), kind="stable")[: MOST_BARS // 2]
    bars: list[Bar] = []
    for code in order:
        name = comparison.classes[code]
        bars += [_share(name, int(was[code]), len(then), THEN), _share(name, int(is_now[code]), len(now), NOW)]
    return Picture(title, tuple(bars))


def _concept(comparison: Comparison, _: Evidence) -> Picture | None:
    bars = tuple(
        _share(label, int(frame.known.sum() - frame.wrong.sum()), int(frame.known.sum()), when)
        for label, frame, when in (("before", comparison.base, THEN), ("since", comparison.recent, NOW))
        if frame.known.any()
    )
    return Picture("Accuracy", bars) if bars else None


def _uniformity(comparison: Comparison, item: Evidence) -> Picture | None:
    slices = item.notes.get("slices")
    bars: list[Bar] = []
    for part in slices[: MOST_BARS // 2] if isinstance(slices, list) else ():
        if isinstance(part, Mapping):
            where = str(part.get("where"))
            bars += [
                Bar(where, float(part["accuracy_before"]), THEN),
                Bar(where, float(part["accuracy"]), NOW),
            ]
    if not bars:
        for code, name in enumerate(comparison.classes[: MOST_BARS // 2]):
            for frame, when in ((comparison.base, THEN), (comparison.recent, NOW)):
                rows = frame.known & (frame.label == code)
                if rows.any():
                    right = int(rows.sum() - frame.wrong[rows].sum())
                    bars.append(_share(f"class = {name}", right, int(rows.sum()), when))
    return Picture("Accuracy where it fell most", tuple(bars)) if bars else None


def _retraining(comparison: Comparison, item: Evidence) -> Picture | None:
    known = comparison.recent.known
    if not known.any():
        return None
    n, label = int(known.sum()), comparison.recent.label[known]
    bars = [
        _share("deployed", n - int(comparison.recent.wrong[known].sum()), n, NOW),
        _share("refitted on recent rows", int((comparison.refit_recent == label).sum()), n, ""),
    ]
    if comparison.surrogate is not None and "new_relation" in item.numbers:
        right = int((comparison.surrogate.predict(comparison.recent.filled[known]) == label).sum())
        bars.append(_share("fitted on the reference", right, n, THEN))
    return Picture("Accuracy on recent rows", tuple(bars))


def _onset(comparison: Comparison, item: Evidence) -> Picture | None:
    """The error rate in time; the share of rows that look recent where there are no labels."""
    frames = [frame for frame in (comparison.before, comparison.recent) if len(frame)]
    time = np.concatenate([frame.time[frame.known] for frame in frames])
    wrong = np.concatenate([frame.wrong[frame.known] for frame in frames]).astype(np.float64)
    title = "Error rate"
    if len(time) < 2 * FEWEST_IN_POINT:
        old, new, was, is_now = comparison.domain
        time, wrong = np.concatenate([old.time, new.time]), np.concatenate([was, is_now])
        title = "How recent the inputs look"
    points = _course(time, wrong)
    return Picture(title, points=points, mark_s=item.onset_s) if len(points) > 1 else None


def _course(time: Floats, value: Floats) -> tuple[tuple[float, float], ...]:
    order = np.argsort(time, kind="stable")
    pieces = int(np.clip(len(order) // FEWEST_IN_POINT, 1, MOST_POINTS))
    return tuple(
        (float(time[rows].mean()), float(value[rows].mean())) for rows in np.array_split(order, pieces) if len(rows)
    )


DRAWN: Mapping[str, Callable[[Comparison, Evidence], Picture | None]] = {
    "bytes": _bytes,
    "replay": _replay,
    "surrogate": _surrogate,
    "stamp": _stamp,
    "inputs": _inputs,
    "pipeline": _pipeline,
    "labels": _labels,
    "concept": _concept,
    "uniformity": _uniformity,
    "retraining": _retraining,
    "onset": _onset,
    "outputs": _outputs,
}
