"""Charts as Vega-Lite specifications, rendered to SVG once and kept by the digest of their data.

The SVG that vl-convert makes has no scripts, styles or links, so it may stand inside a page under
a strict Content-Security-Policy; colours are CSS variables, so that dark mode needs no second one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from html import escape
from itertools import pairwise

from assay.monitoring.portrait import Shape

NARROW, WIDE = 330, 680  # widths in px: a phone, and one of two columns on a desk
HEIGHT = 170
SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
LONGEST_STEP = 4  # times the usual distance of two points: a longer one is a gap
# What no XML document may hold (XML 1.0, 2.2): on it the renderer does not fail, it ends the whole process.
_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

CONFIG: Mapping[str, object] = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "domainColor": "currentColor",
        "tickColor": "currentColor",
        "gridColor": "currentColor",
        "gridOpacity": 0.13,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
    },
}


@dataclass(frozen=True, slots=True)
class Point:
    """One window of a curve: its start (ISO 8601 UTC) and a value with its interval."""

    time: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a time: ``alarm`` or ``deployment``."""

    time: str
    kind: str
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A curve with its interval, the baseline it is judged against, and what happened meanwhile.

    Attributes:
        title: What is drawn, in words.
        unit: Title of the vertical axis: ``share``, ``s``.
        points: In time order.
        marks: Alarms and deployments.
        level: The baseline's value, or None.
        percent: Whether values are shares from 0 to 1, shown as percentages.
        measured: Whether the values were measured; an estimate has another colour and a broken line.
        band: Lowest and highest value that never raises an alarm, or None.
        since: From when on both hold, ISO 8601: what came before was judged by another baseline. Empty for all.
    """

    title: str
    unit: str
    points: tuple[Point, ...]
    marks: tuple[Mark, ...] = ()
    level: float | None = None
    percent: bool = True
    measured: bool = True
    band: tuple[float, float] | None = None
    since: str = ""

    def sentence(self) -> str:
        """What the picture shows, for who cannot see it."""
        if not self.points:
            return f"{self.title}: no complete window yet."
        first, newest = self.points[0], self.points[-1]
        lowest = min(self.points, key=lambda point: point.value)
        alarms = sum(mark.kind == "alarm" for mark in self.marks)
        return (
            f"{self.title}: {self._say(first.value)} on {first.time[:10]}, {self._say(newest.value)} on "
            f"{newest.time[:10]}, lowest {self._say(lowest.value)} on {lowest.time[:10]}; "
            f"{alarms or 'no'} alarm{'' if alarms == 1 else 's'}."
        )

    def _say(self, value: float) -> str:
        return f"{100 * value:.1f} %" if self.percent else f"{value:.3g}"


def specification(chart: Chart, width: int) -> dict[str, object]:
    """The Vega-Lite specification of a chart ``width`` pixels wide."""
    layers: list[dict[str, object]] = []
    times: dict[str, object] = {"field": "time", "type": "temporal", "title": None, "scale": {"type": "utc"}}
    times["axis"] = {
        "tickCount": max(3, width // 110),
        "labelOverlap": True,
        "grid": False,
        "format": _dates(chart.points),
    }
    held, across = _held(chart, times)
    if chart.band is not None:
        layers.append(_tolerance(*chart.band, held, across))
    values = {
        "field": "value",
        "type": "quantitative",
        "title": chart.unit,
        "scale": {"zero": False, "nice": True},
        "axis": {"tickCount": 4, **({"format": "%"} if chart.percent else {})},
    }
    data = {"values": _rows(chart.points)}
    x = {"x": times}
    part = {"detail": {"field": "part", "type": "nominal"}}
    band = {"y": {**values, "field": "low"}, "y2": {"field": "high"}}
    colour = "var(--accent)" if chart.measured else "var(--warn)"
    layers.append({"mark": {"type": "area", "color": colour, "opacity": 0.18}, "encoding": {**x, **band, **part}})
    line = {"type": "line", "color": colour, "strokeWidth": 1.6, **({} if chart.measured else {"strokeDash": [5, 3]})}
    layers.append({"mark": line, "encoding": {**x, "y": values, **part}})
    if chart.level is not None:
        rule = {"type": "rule", "color": "currentColor", "opacity": 0.55, "strokeDash": [4, 4]}
        drawn = {"data": {"values": [{"value": chart.level, **held}]}, "mark": rule}
        layers.append({**drawn, "encoding": {"y": values, **across}})
    layers += _happenings(chart.marks, times)
    return {
        "$schema": SCHEMA,
        "width": width - 60,
        "height": HEIGHT,
        "padding": 4,
        "data": data,
        "layer": layers,
        "config": CONFIG,
    }


def _held(chart: Chart, times: Mapping[str, object]) -> tuple[dict[str, object], dict[str, object]]:
    """Between which times the baseline holds, as data and encoding; nothing where that is from edge to edge."""
    if not chart.points or chart.since <= chart.points[0].time:
        return {}, {}
    end = max(chart.since, chart.points[-1].time)
    return {"from": chart.since, "to": end}, {"x": {**times, "field": "from"}, "x2": {"field": "to"}}


def _tolerance(low: float, high: float, held: Mapping[str, object], across: Mapping[str, object]) -> dict[str, object]:
    """What never raises an alarm, as a grey band."""
    over = {"y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}, **across}
    mark = {"type": "rect", "color": "currentColor", "opacity": 0.1}
    return {"data": {"values": [{"low": low, "high": high, **held}]}, "mark": mark, "encoding": over}


def _rows(points: Sequence[Point]) -> list[dict[str, object]]:
    """The points as data, each with the stretch it belongs to: no line is drawn over a time without rows."""
    moments = [datetime.fromisoformat(point.time) for point in points]
    steps = sorted(later - earlier for earlier, later in pairwise(moments))
    usual = steps[len(steps) // 2] if steps else timedelta(0)
    stretch, rows = 0, []
    for at, point in enumerate(points):
        if at and moments[at] - moments[at - 1] > LONGEST_STEP * usual:
            stretch += 1
        rows.append({"time": point.time, "value": point.value, "low": point.low, "high": point.high, "part": stretch})
    return rows


def _dates(points: Sequence[Point]) -> str:
    """How the axis writes dates: by day over a season at most, by month, over years by year."""
    if len(points) < 2:  # noqa: PLR2004 - one moment is no span
        return "%d %b"
    span = datetime.fromisoformat(points[-1].time) - datetime.fromisoformat(points[0].time)
    if span > timedelta(days=3 * 365):
        return "%Y"
    return "%b %Y" if span > timedelta(days=100) else "%d %b"


def _happenings(marks: Sequence[Mark], times: Mapping[str, object]) -> list[dict[str, object]]:
    looks = {"alarm": ("var(--bad)", [1, 0]), "deployment": ("var(--good)", [6, 3])}
    layers: list[dict[str, object]] = []
    for kind, (color, dash) in looks.items():
        rows = [{"time": mark.time} for mark in marks if mark.kind == kind]
        if rows:
            rule = {"type": "rule", "color": color, "strokeWidth": 1.5, "strokeDash": dash}
            layers.append({"data": {"values": rows}, "mark": rule, "encoding": {"x": times}})
    return layers


def shape_specification(one: Shape, width: int) -> dict[str, object]:
    """Bars for the baseline, a line for what came since, ``width`` pixels wide."""
    rows = [
        {"bin": label, "place": place, "share": share, "when": when}
        for when, shares in (("baseline", one.then), ("since", one.now))
        for place, (label, share) in enumerate(zip(one.labels, shares, strict=True))
    ]
    axis = {"labelAngle": -40, "labelOverlap": True}
    # The order is written out: layers that each sort by a field are put in alphabetical order together.
    x = {"field": "bin", "type": "nominal", "sort": list(one.labels), "title": None, "axis": axis}
    y = {"field": "share", "type": "quantitative", "title": "share", "axis": {"format": "%", "tickCount": 4}}
    bars = {"type": "bar", "color": "currentColor", "opacity": 0.22}
    since: dict[str, object] = {"type": "point", "color": "var(--accent)", "filled": True, "size": 60}
    if one.labels[0].startswith("≤"):  # values that follow each other; between names a line would say nothing
        since = {"type": "line", "color": "var(--accent)", "point": {"color": "var(--accent)"}, "strokeWidth": 1.6}
    title = f"{one.signal}: baseline (bars) and since {one.since[:10]} (blue)"
    return {
        "title": {"text": title, "anchor": "start", "fontSize": 13},
        "width": width - 60,
        "height": 150,
        "data": {"values": rows},
        "layer": [
            {"transform": [{"filter": "datum.when == 'baseline'"}], "mark": bars, "encoding": {"x": x, "y": y}},
            {"transform": [{"filter": "datum.when == 'since'"}], "mark": since, "encoding": {"x": x, "y": y}},
        ],
    }


def shape_svg(one: Shape, width: int) -> str:
    """A distribution then and now as one accessible inline ``<svg>`` element."""
    whole = {**shape_specification(one, width), "$schema": SCHEMA, "padding": 4, "config": CONFIG}
    whole.pop("title")
    moved = max(zip(one.labels, one.then, one.now, strict=True), key=lambda part: abs(part[2] - part[1]))
    said = f"{one.signal}: {moved[0]} was {moved[1]:.1%} of rows in the baseline and is {moved[2]:.1%} since"
    return _labelled(drawable(whole), said)


def svg(chart: Chart, width: int) -> str:
    """The chart as one accessible inline ``<svg>`` element."""
    return _labelled(drawable(specification(chart, width)), chart.sentence())


def drawable(whole: Mapping[str, object]) -> str:
    """A specification as the renderer takes it: of values and names that others chose, controls are escaped."""
    return json.dumps(_visible(whole), sort_keys=True)


def _visible(part: object) -> object:
    if isinstance(part, str):
        return _NO_XML.sub(lambda found: found[0].encode("unicode_escape").decode(), part)
    if isinstance(part, Mapping):
        return {name: _visible(one) for name, one in part.items()}
    return [_visible(one) for one in part] if isinstance(part, Sequence) else part


def _labelled(specification_json: str, sentence: str) -> str:
    label = escape(sentence, quote=True)
    return _render(specification_json).replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def digest(chart: Chart) -> str:
    """Digest of everything the picture depends on."""
    return hashlib.sha256(json.dumps(specification(chart, WIDE), sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=512)  # one render costs tens of milliseconds and holds the interpreter
def _render(specification_json: str) -> str:
    import vl_convert

    text = vl_convert.vegalite_to_svg(specification_json, allowed_base_urls=[])
    # Inner marks repeat every data point to a screen reader; the figure carries one sentence instead.
    return re.sub(r' (aria-label|role|aria-roledescription)="[^"]*"', "", str(text))


def warm_up() -> None:
    """Start the renderer (half a second) before the first page needs it."""
    svg(Chart("warm-up", "share", (Point("2000-01-01T00:00:00Z", 0.5, 0.4, 0.6),)), NARROW)
