"""What each page shows: figures read from the stores, charts drawn from them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from assay.audit.merkle import Proof
from assay.dashboard.charts import NARROW, WIDE, Chart, Mark, Point, shape_svg, svg
from assay.dashboard.strips import picture_svg
from assay.errors import LogError, VerificationError
from assay.monitoring import store as monitoring
from assay.monitoring.clients.words import SIGNAL as OF_CLIENT
from assay.monitoring.course import Course
from assay.monitoring.estimate import ESTIMATED
from assay.monitoring.portrait import Shape
from assay.monitoring.store import StoredAlarm
from assay.monitoring.summary import Interval
from assay.project.auditing import EntryProof
from assay.project.curves import Drawn as Window
from assay.project.curves import answered_since, curves, levels
from assay.project.health import HEADLINES, Diagnosed, ModelHealth
from assay.project.pending import AGES
from assay.project.portraits import portrait
from assay.project.project import Project
from assay.release.deployment import Deployment
from assay.release.store import deployments
from assay.storage.clock import from_text, utc_text

SHOWN_WINDOWS = 240
LISTED_WINDOWS = 30
DRIFTING = 8
CLASS = "accuracy:class="
DRAWN_POINTS = 60
MOST_PICTURES = 4
MOST_ALARMS = 20


Usual = tuple[Mapping[str, float], Mapping[str, Interval], str]
"""The baseline's figures, what never raises an alarm, and since when answers are judged by them."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart in both widths with the numbers behind it."""

    title: str
    wide: str
    narrow: str
    rows: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class DrawnShape:
    """A distribution then and now in both widths, with the shares behind it: label, then, now."""

    title: str
    wide: str
    narrow: str
    bins: tuple[tuple[str, float, float], ...]


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
    normal, since = levels(project, health.name), answered_since(project, health.name)
    judged = portrait(project, health.name)
    bands = judged.tolerances if judged else {}
    body = health.diagnosed.body if health.diagnosed else None
    return {
        "performance": [draw(chart) for chart in _performance(windows, alarms, live, (normal, bands, since))],
        "inputs": [draw(chart) for chart in _behaviour(windows, alarms, live, (normal, bands, since))],
        "courses": [draw(_course(one)) for one in (judged.courses if judged else ())[:MOST_PICTURES]],
        "shapes": [_shape(one) for one in (judged.shapes if judged else ())[:MOST_PICTURES]],
        "evidence_now": sorted(judged.evidence.items(), key=lambda pair: -pair[1])[:DRIFTING] if judged else [],
        "drifting": _drifting(windows),
        "ages": tuple(AGES),
        "alarms": alarms[::-1][:20],
        "budget": _budget(health),
        "diagnosis": body,
        "repeated": health.diagnosed is not None and _repeated(health.diagnosed, health.headline),
        "probabilities": _probabilities(body),
        "evidence": _evidence(body),
        "slices": cast("Sequence[Mapping[str, object]]", body.get("slices", [])) if body else [],
        "history": history(project, health.name, now),
        "timeline": _timeline(project, health, alarms, now),
    }


def _repeated(diagnosed: Diagnosed, headline: str) -> bool:
    """Whether the headline is no more than the diagnosis' first sentence in other words."""
    return bool(diagnosed.told) and HEADLINES.get(diagnosed.verdict, (None, ""))[1] == headline


def _course(one: Course) -> Chart:
    """How sure one could be of an alarm, window by window: the interval narrows from where it began."""
    points = tuple(
        Point(start, known.value, known.low, known.high)
        for start, known in zip(one.windows, one.known, strict=True)
        if not math.isnan(known.value)
    )
    title = f"{one.signal}: share of rows with {one.question}, all since {one.windows[0][:10]} together"
    return Chart(title, "share", points, (), one.level, band=one.band)


def _shape(one: Shape) -> DrawnShape:
    title = f"{one.signal}: baseline (bars) and since {one.since[:10]} (blue)"
    bins = tuple(zip(one.labels, one.then, one.now, strict=True))
    return DrawnShape(title, shape_svg(one, WIDE), shape_svg(one, NARROW), bins)


def _timeline(project: Project, health: ModelHealth, alarms: Sequence[StoredAlarm], now: datetime) -> list[Happened]:
    """What was done and what was seen, oldest first."""
    found = history(project, health.name, now)[::-1]
    for one in alarms[-MOST_ALARMS:]:
        window, signal = str(one.alarm.get("window")), str(one.alarm.get("signal"))
        said = f"{signal}: {one.alarm.get('detail')}"
        found.append(Happened(from_text(window), "Alarm", said, one.position))
    body = health.diagnosed.body if health.diagnosed else {}
    onset = body.get("onset")
    if isinstance(onset, str):
        found.append(Happened(from_text(onset), "It began", "by the evidence, about then", None))
    if health.diagnosed:
        found.append(Happened(health.diagnosed.time, "Diagnosed", health.diagnosed.verdict, health.diagnosed.position))
    return sorted(found, key=lambda one: one.time)


def spark(project: Project, name: str) -> Drawn | None:
    """The one curve of a model on the overview: accuracy where labels come, else confidence."""
    windows = curves(project, name)[-SHOWN_WINDOWS:]
    for signal, title in (("accuracy", "Accuracy"), ("confidence", "Mean confidence")):
        points = _points(windows, signal)
        if points:
            marks = _marks(points, _of_rows(monitoring.alarms(project.state, name)), deployments(project.state, name))
            level, since = levels(project, name).get(signal), answered_since(project, name)
            return draw(Chart(title, "share", points, marks, level, since=since))
    return None


def _of_rows(alarms: Sequence[StoredAlarm]) -> list[StoredAlarm]:
    return [one for one in alarms if _belongs(str(one.alarm.get("signal")), "accuracy")]


def _performance(
    windows: Sequence[Window],
    alarms: Sequence[StoredAlarm],
    live: Sequence[Deployment],
    usual: Usual,
) -> list[Chart]:
    names = sorted({name for window in windows for name in window.values if name.startswith(CLASS)})
    wanted = [
        ("accuracy", "Accuracy"),
        (ESTIMATED, "Accuracy estimated from confidence, without labels"),
        *((name, f"Accuracy of class {name.removeprefix(CLASS)}") for name in names[:4]),
    ]
    return _charts(wanted, windows, alarms, live, usual)


def _behaviour(
    windows: Sequence[Window],
    alarms: Sequence[StoredAlarm],
    live: Sequence[Deployment],
    usual: Usual,
) -> list[Chart]:
    wanted = [
        ("confidence", "Mean confidence"),
        ("failures", "Failed requests"),
        ("latency_s:p95", "Requests slower than the baseline's 95th percentile"),
    ]
    return _charts(wanted, windows, alarms, live, usual)


def _charts(
    wanted: Sequence[tuple[str, str]],
    windows: Sequence[Window],
    alarms: Sequence[StoredAlarm],
    live: Sequence[Deployment],
    usual: Usual,
) -> list[Chart]:
    charts = []
    normal, bands, answers = usual
    for signal, title in wanted:
        points = _points(windows, signal)
        if points:
            own = [alarm for alarm in alarms if _belongs(str(alarm.alarm.get("signal")), signal)]
            level = normal.get("accuracy" if signal == ESTIMATED else signal)
            marks = _marks(points, own, live)
            room = bands.get(signal)
            band = (room.low, room.high) if room else None
            since = "" if signal.startswith("feature:") else answers
            measured = signal != ESTIMATED
            charts.append(Chart(title, "share", points, marks, level, measured=measured, band=band, since=since))
    return charts


def _belongs(alarm: str, signal: str) -> bool:
    """Whether an alarm is drawn on a curve: on accuracy all are, but those about single clients."""
    return alarm == signal or (signal == "accuracy" and not alarm.startswith(OF_CLIENT))


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
    return [
        {**one, "favours": _words(one.get("favours")), "figure": _figure(one), "drawn": _drawn(one)} for one in found
    ]


def _figure(one: Mapping[str, object]) -> str:
    """The value with its interval and what it is of."""
    value, interval = one.get("value"), one.get("interval")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    told = f"{value:.3g}"
    if isinstance(interval, list) and all(isinstance(end, int | float) for end in interval):
        told += f" ({' to '.join(f'{end:.3g}' for end in interval)})"
    unit = one.get("unit")
    return f"{told}: {unit}" if isinstance(unit, str) and unit else told


def _drawn(one: Mapping[str, object]) -> str:
    notes = one.get("notes")
    return picture_svg(notes.get("picture")) if isinstance(notes, Mapping) else ""


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
        "baseline.reviewed": "Baseline replaced",
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
    if kind == "baseline.reviewed":
        return str(data.get("reason"))
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
