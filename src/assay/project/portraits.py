"""All windows of a model judged as they stand, for pictures: what a monitor run would say now, counted before."""

from __future__ import annotations

from functools import lru_cache

from assay.monitoring import store as monitoring
from assay.monitoring.baseline import Baseline
from assay.monitoring.monitor import Evaluation, evaluate
from assay.monitoring.signals import WindowCounts
from assay.project.config import Monitoring
from assay.project.project import Project


def portrait(project: Project, name: str) -> Evaluation | None:
    """The judgement on all windows since the newest baseline; None before there are any."""
    baseline = monitoring.load_baseline(project.state, name)
    if baseline is None:
        return None
    windows = monitoring.load_windows(project.state, name, baseline.digest)
    if not windows:
        return None
    return _judged(_Same(baseline, windows, project.config.model(name).monitor))


class _Same:
    """Counts that are the same judge the same: what a judgement may be remembered by."""

    def __init__(self, baseline: Baseline, windows: tuple[WindowCounts, ...], by: Monitoring) -> None:
        self.baseline = baseline
        self.windows = windows
        self.by = by
        self._key = (baseline.digest, by, tuple((one.start, monitoring.weight(one)) for one in windows))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@lru_cache(maxsize=16)
def _judged(same: _Same) -> Evaluation:
    by = same.by
    return evaluate(same.baseline, same.windows, false_alarm_every=by.false_alarm_every, floors=by.floors)
