"""Silent degradation: a part falls while the whole looks steady."""

from __future__ import annotations

from collections.abc import Sequence

from assay.monitoring.alarms import Alarm
from assay.monitoring.signals import WindowCounts
from assay.monitoring.watching import Watched

STEADY = 0.02
"""The overall accuracy is steady when it has fallen by no more than two points."""

TIMES = 3.0
"""... and the part has fallen at least this many times as far."""


def silent(alarms: Sequence[Alarm], watched: Sequence[Watched], windows: Sequence[WindowCounts]) -> bool:
    """Whether some class or slice has fallen while the overall accuracy, since then, has not.

    Args:
        alarms: What was raised.
        watched: The signals.
        windows: The windows they were judged on.
    """
    overall = next((w for w in watched if w.spec.name == "error" and w.spec.kind == "rate"), None)
    if overall is None:
        return False
    known = float(overall.baseline[:, 1].sum() / max(overall.baseline.sum(), 1.0))
    for alarm in alarms:
        if alarm.family not in ("classes", "slices") or alarm.direction != "up":
            continue
        inside = [k for k, w in enumerate(windows) if alarm.since <= w.start <= alarm.window]
        recent = overall.counts[inside]
        if recent.sum() == 0:
            continue
        fallen = float(recent[:, 1].sum() / recent.sum()) - known
        if fallen <= STEADY and alarm.size >= TIMES * max(fallen, 0.0):
            return True
    return False
