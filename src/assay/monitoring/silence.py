"""Silent degradation: a part falls while the whole looks steady."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from assay.monitoring.alarms import Alarm
from assay.monitoring.signals import WindowCounts
from assay.monitoring.watching import Watched

STEADY = 0.02
"""The overall accuracy is steady when it has fallen by no more than two points."""

TIMES = 3.0
"""... and the part has fallen at least this many times as far."""


def silent_ones(
    alarms: Sequence[Alarm], watched: Sequence[Watched], windows: Sequence[WindowCounts]
) -> tuple[Alarm, ...]:
    """The alarms, those marked whose class or slice has fallen while the overall accuracy, since then, has not.

    Args:
        alarms: What was raised.
        watched: The signals, the overall error among them.
        windows: The windows they were judged on.
    """
    overall = next((w for w in watched if w.spec.name == "error" and w.spec.kind == "rate"), None)
    if overall is None:
        return tuple(alarms)
    known = float(overall.baseline[:, 1].sum() / max(overall.baseline.sum(), 1.0))
    return tuple(_marked(alarm, overall, known, windows) for alarm in alarms)


def _marked(alarm: Alarm, overall: Watched, known: float, windows: Sequence[WindowCounts]) -> Alarm:
    if alarm.family not in ("classes", "slices") or alarm.direction != "up":
        return alarm
    inside = [k for k, w in enumerate(windows) if alarm.since <= w.start <= alarm.window]
    recent = overall.counts[inside]
    if recent.sum() == 0:
        return alarm
    fallen = float(recent[:, 1].sum() / recent.sum()) - known
    if fallen > STEADY or alarm.size < TIMES * max(fallen, 0.0):
        return alarm
    said = f"{alarm.detail}; the accuracy of all rows together hides it ({-100 * fallen:+.2f} points)"
    return replace(alarm, silent=True, detail=said)
