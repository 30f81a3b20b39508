"""What each page shows: figures read from the stores, charts drawn from them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from assay.audit.merkle import Proof
from assay.dashboard.charts import NARROW, WIDE, Chart, Mark, Point, svg
from assay.errors import LogError, VerificationError
from assay.monitoring import store as monitoring
from assay.monitoring.estimate import ESTIMATED
from assay.monitoring.store import StoredAlarm
from assay.project.auditing import EntryProof
from assay.project.curves import Drawn as Window
from assay.project.curves import curves, levels
from assay.project.health import ModelHealth
from assay.project.project import Project
from assay.release.deployment import Deployment
from assay.release.store import deployments
from assay.storage.clock import utc_text

SHOWN_WINDOWS = 240
LISTED_WINDOWS = 30
DRIFTING = 8
CLASS = "accuracy:class="
DRAWN_POINTS = 60


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart in both widths with the numbers behind it."""

    title: str
    wide: str
    narrow: str
    rows: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Happened:
    """One line of a model's history: an approval, a gate decision, a deployment."""

    time: datetime
    what: str
    detail: str
    position: int | None


def draw(chart: Chart) -> Drawn:
    """Render a chart for a desk and for a phone."""
    return Drawn(chart.title, svg(chart, WIDE), svg(chart, NARROW), chart.points[-LISTED_WINDOWS:][::-1])


def model_page(project: Project, health: ModelHealth, now: datetime) -> dict[str, object]:
    """Everything of one model's page that is not in its health."""
    windows = curves(project, health.name)[-SHOWN_WINDOWS:]
    alarms = monitoring.alarms(project.state, health.name)
    live = deployments(project.state, health.name)
    normal = levels(project, health.name)
    body = health.diagnosed.body if health.diagnosed else None
    return {
        "performance": [draw(chart) for chart in _performance(windows, alarms, live, normal)],
        "inputs": [draw(chart) for chart in _behaviour(windows, alarms, live, normal)],
        "drifting": _drifting(windows),
        "alarms": alarms[::-1][:20],
        "budget": _budget(health),
        "diagnosis": body,
        "probabilities": _probabilities(body),
        "evidence": _evidence(body),
        "history": history(project, health.name, now),
    }


def spark(project: Project, name: str) -> Drawn | None:
    """The one curve of a model on the overview: accuracy where labels come, else confidence."""
    windows = curves(project, name)[-SHOWN_WINDOWS:]
    for signal, title in (("accuracy", "Accuracy"), ("confidence", "Mean confidence")):
        points = _points(windows, signal)
        if points:
            marks = _marks(points, monitoring.alarms(project.state, name), deployments(project.state, name))
            return draw(Chart(title, "share", points, marks, levels(project, name).get(signal)))
    return None


def _performance(
    windows: Sequence[Window],
    alarms: Sequence[StoredAlarm],
    live: Sequence[Deployment],
    normal: Mapping[str, float],
) -> list[Chart]:
    names = sorted({name for window in windows for name in window.values if name.startswith(CLASS)})
    wanted = [
        ("accuracy", "Accuracy"),
        (ESTIMATED, "Accuracy estimated from confidence, without labels"),
        *((name, f"Accuracy of class {name.removeprefix(CLASS)}") for name in names[:4]),
    ]
    return _charts(wanted, windows, alarms, live, normal)


def _behaviour(
    windows: Sequence[Window],
    alarms: Sequence[StoredAlarm],
    live: Sequence[Deployment],
    normal: Mapping[str, float],
) -> list[Chart]:
    wanted = [
        ("confidence", "Mean confidence"),
        ("failures", "Failed requests"),
        ("latency_s:p95", "Requests slower than the baseline's 95th percentile"),
    ]
    return _charts(wanted, windows, alarms, live, normal)


def _charts(
    wanted: Sequence[tuple[str, str]],
    windows: Sequence[Window],
    alarms: Sequence[StoredAlarm],
    live: Sequence[Deployment],
    normal: Mapping[str, float],
) -> list[Chart]:
    charts = []
    for signal, title in wanted:
        points = _points(windows, signal)
        if points:
            own = [alarm for alarm in alarms if signal == "accuracy" or alarm.alarm.get("signal") == signal]
            level = normal.get("accuracy" if signal == ESTIMATED else signal)
            marks = _marks(points, own, live)
            charts.append(Chart(title, "share", points, marks, level, measured=signal != ESTIMATED))
    return charts


def _points(windows: Sequence[Window], signal: str) -> tuple[Point, ...]:
    """The curve of a signal, at most `DRAWN_POINTS` points: neighbours are pooled, weighted by their rows."""
    found = [window for window in windows if signal in window.values and window.rows]
    size = -(-len(found) // DRAWN_POINTS) or 1
    return tuple(_pooled(found[at : at + size], signal) for at in range(0, len(found), size))


def _pooled(windows: Sequence[Window], signal: str) -> Point:
    """One point for some neighbouring windows; the interval is that of a weighted mean of independent figures."""
    rows = [window.rows for window in windows]
    total = sum(rows)
    figures = [window.values[signal] for window in windows]
    value = sum(n * figure[0] for n, figure in zip(rows, figures, strict=True)) / total
    below = math.sqrt(sum((n * (mid - low)) ** 2 for n, (mid, low, _) in zip(rows, figures, strict=True))) / total
    above = math.sqrt(sum((n * (high - mid)) ** 2 for n, (mid, _, high) in zip(rows, figures, strict=True))) / total
    return Point(windows[0].start, value, value - below, value + above)


def _marks(points: Sequence[Point], alarms: Sequence[StoredAlarm], live: Sequence[Deployment]) -> tuple[Mark, ...]:
    first = points[0].time
    happened = [Mark(str(alarm.alarm.get("window")), "alarm", str(alarm.alarm.get("signal"))) for alarm in alarms]
    happened += [Mark(utc_text(one.since), "deployment", f"version {one.version}") for one in live]
    return tuple(mark for mark in happened if mark.time >= first)


def _drifting(windows: Sequence[Window]) -> list[dict[str, object]]:
    if not windows:
        return []
    last = windows[-1].values
    rows = [
        {"name": name.removeprefix("feature:"), "value": value, "low": low, "high": high}
        for name, (value, low, high) in last.items()
        if name.startswith("feature:") and name.count(":") == 1
    ]
    return sorted(rows, key=lambda row: -cast("float", row["value"]))[:DRIFTING]


def _budget(health: ModelHealth) -> str:
    every = health.config.monitor.false_alarm_every.days
    return f"The budget is one false alarm in {every} days over all signals together."


def _probabilities(body: Mapping[str, object] | None) -> list[tuple[str, float]]:
    found = cast("Mapping[str, float]", body.get("probabilities", {})) if body else {}
    return sorted(((cause, chance) for cause, chance in found.items() if chance >= 0.001), key=lambda pair: -pair[1])  # noqa: PLR2004 - below a tenth of a percent says nothing


def _evidence(body: Mapping[str, object] | None) -> list[dict[str, object]]:
    found = cast("Sequence[Mapping[str, object]]", body.get("evidence", [])) if body else []
    return [{**one, "favours": _words(one.get("favours"))} for one in found]


def _words(favours: object) -> str:
    if isinstance(favours, str):
        return favours
    return ", ".join(map(str, favours)) if isinstance(favours, Sequence | Mapping) else ""


def history(project: Project, name: str, now: datetime) -> list[Happened]:
    """Signatures, reviews, gate decisions, deployments and baselines of a model, newest first."""
    words = {
        "model.signed": "Signed",
        "approval.given": "Approved",
        "approval.rejected": "Rejected",
        "gate.admitted": "Gate admitted",
        "gate.refused": "Gate refused",
        "gate.unknown": "Gate could not tell",
        "model.deployed": "Deployed",
        "model.rolled-back": "Rolled back",
        "baseline.learned": "Baseline learned",
    }
    try:
        found = project.log.entries(kinds=list(words), subject=name)[-14:][::-1]
    except LogError as err:  # the page must be readable above all when the log was edited
        return [Happened(now, "The log is damaged", err.message, None)]
    return [
        Happened(one.entry.time, words[one.entry.kind], _said(one.entry.kind, one.entry.data), one.position)
        for one in found
    ]


def _said(kind: str, data: Mapping[str, object]) -> str:
    if kind.startswith("approval."):
        return f"{data.get('identity')}: {data.get('reason') or 'no reason given'}"
    if kind.startswith("gate."):
        rules = cast("Sequence[Mapping[str, object]]", data.get("rules", []))
        open_rules = [str(rule.get("detail")) for rule in rules if rule.get("outcome") != "admit"]
        return "; ".join(open_rules) or "every rule of the policy is met"
    if kind == "baseline.learned":
        return f"{data.get('windows')} windows, {data.get('signals')} signals"
    root = str(data.get("root", ""))[:12]
    return f"version {data.get('version', '?')}, {root}…" if "version" in data else f"{root}…"


def doubt(project: Project, proof: EntryProof) -> str:
    """Why an entry is not the one that was logged, when its proof does not fit its bytes; else nothing."""
    entry = project.log.entries(after=proof.position - 1, limit=1)[0].entry
    path = tuple(bytes.fromhex(step) for step in proof.path)
    try:
        Proof(proof.position, proof.size, path).verify(entry.canonical(), bytes.fromhex(proof.root))
    except VerificationError as err:
        return err.message
    return ""


def pretty(value: object) -> str:
    """JSON for a person's eyes."""
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
