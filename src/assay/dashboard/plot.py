"""One picture of a monitor run, to be kept: signals with tolerance and alarms, distributions then and now."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from assay.dashboard.charts import CONFIG, Chart, Mark, Point, drawable, shape_specification, specification
from assay.errors import ConfigError, MissingExtraError, StorageError
from assay.monitoring.alarms import Alarm
from assay.monitoring.estimate import ESTIMATED
from assay.monitoring.monitor import Evaluation
from assay.monitoring.portrait import Shape

KINDS = (".svg", ".png", ".html")
MOST_ALARMED = 6
WIDTH = 760
# Colours of a picture that stands alone; on a page of ours they follow its theme.
FIXED = {"var(--accent)": "#2f6db3", "var(--bad)": "#b3261e", "var(--good)": "#1f7a47", "var(--warn)": "#8a5a00"}
INK = "#1c2430"
LEGEND = "Grey bands never raise an alarm; shaded bands are 95 % intervals of one window; red lines are alarms."
USUAL = (
    ("accuracy", "Accuracy"),
    (ESTIMATED, "Accuracy estimated from confidence, without labels"),
    ("confidence", "Mean confidence"),
    ("failures", "Failed requests"),
    ("latency_s:p95", "Requests slower than the baseline's 95th percentile"),
)
_STYLE = """:root { color-scheme: light dark; --ground: #fff; --ink: #1c2430; --quiet: #5c6875; --line: #d9dee5;
  --accent: #2f6db3; --good: #1f7a47; --bad: #b3261e; --warn: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ground: #10151c; --ink: #e8ecf1; --quiet: #9fabba; --line: #2c3744;
  --accent: #74aee8; --good: #6fd39b; --bad: #ff8b80; --warn: #f0be5a; } }
body { font: 15px/1.45 system-ui, sans-serif; background: var(--ground); color: var(--ink); margin: 1.2rem auto;
  max-width: 52rem; padding: 0 1rem; }
svg { max-width: 100%; min-width: 34rem; height: auto; } p { color: var(--quiet); } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; } th, td { text-align: left; padding: .3rem .7rem .3rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; min-width: 6rem; }
td:nth-child(-n+2) { white-space: nowrap; min-width: 0; }"""


def check(path: Path) -> None:
    """Refuse a picture of a kind that is not drawn.

    Raises:
        ConfigError: The ending is none of `KINDS`.
    """
    if path.suffix.lower() not in KINDS:
        raise ConfigError(f"{path}: found the ending {path.suffix or 'none'!r}; a picture is {', '.join(KINDS)}")


def write(path: Path, name: str, said: Evaluation) -> None:
    """Draw what a run saw.

    Args:
        path: The file; its ending says which kind it is.
        name: What was monitored, for the heading.
        said: The run.

    Raises:
        ConfigError: The ending is none of `KINDS`, or there is nothing to draw.
        MissingExtraError: The renderer is not installed.
        StorageError: The file cannot be written.
    """
    check(path)
    drawn = charts(said)
    if not drawn:
        raise ConfigError(f"{name} has no complete window to draw")
    try:
        import vl_convert
    except ModuleNotFoundError as err:
        raise MissingExtraError("drawing", "serve") from err
    stacked, kind = _stacked(drawn, said.shapes), path.suffix.lower()
    if kind != ".html":
        stacked["title"] = {
            "text": name,
            "subtitle": [_budget(said), LEGEND],
            "anchor": "start",
            "fontSize": 16,
            "offset": 18,
        }
    text = drawable(stacked)
    if kind != ".html":
        text = _alone(text)
    try:
        if kind == ".png":
            path.write_bytes(vl_convert.vegalite_to_png(text, scale=2, allowed_base_urls=[]))
            return
        picture = str(vl_convert.vegalite_to_svg(text, allowed_base_urls=[]))
        path.write_text(picture if kind == ".svg" else _page(name, said, picture, drawn), encoding="utf-8")
    except OSError as err:
        raise StorageError(f"{path} cannot be written: {err.strerror or err}") from err


def _budget(said: Evaluation) -> str:
    budget = said.budget
    return (
        f"{said.windows} windows, {budget.signals} signals; at most one false alarm in "
        f"{budget.windows_per_alarm:,.0f} windows is to be expected"
    )


def charts(said: Evaluation) -> list[Chart]:
    """The usual signals, then those with an alarm, each with what it may do without one."""
    alarmed = list(dict.fromkeys(_figure(alarm) for alarm in said.alarms))
    names = dict(USUAL) | {name: name for name in alarmed[:MOST_ALARMED] if name not in dict(USUAL)}
    found = []
    for name, title in names.items():
        points = tuple(
            Point(one.start, one.values[name].value, one.values[name].low, one.values[name].high)
            for one in said.series
            if name in one.values
        )
        if not points:
            continue
        marks = tuple(Mark(alarm.window, "alarm", alarm.signal) for alarm in said.alarms if _figure(alarm) == name)
        known = said.tolerances.get("accuracy" if name == ESTIMATED else name)
        level, band = (None, None) if known is None else (known.value, (known.low, known.high))
        shares = name != "volume"
        found.append(
            Chart(
                _titled(title),
                "rows" if not shares else "share",
                points,
                marks,
                level,
                percent=shares,
                measured=name != ESTIMATED,
                band=None if name == ESTIMATED else band,
            )
        )
    return found


def _figure(alarm: Alarm) -> str:
    return "accuracy" if alarm.signal == "error" else alarm.signal


def _titled(name: str) -> str:
    if name.startswith("feature:") and name.count(":") == 1:
        return f"{name.removeprefix('feature:')}: distance from the baseline (total variation)"
    return name


def _stacked(drawn: Sequence[Chart], shapes: Sequence[Shape]) -> dict[str, object]:
    parts: list[dict[str, object]] = []
    for chart in drawn:
        one = {key: value for key, value in specification(chart, WIDTH).items() if key not in {"config", "$schema"}}
        one.pop("padding")
        parts.append({**one, "title": {"text": chart.title, "anchor": "start", "fontSize": 13}})
    parts += [shape_specification(one, WIDTH) for one in shapes[:MOST_ALARMED]]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "padding": 12,
        "spacing": 26,
        "vconcat": parts,
        "config": {**CONFIG, "title": {"color": "currentColor", "fontWeight": 600}},
    }


def _alone(text: str) -> str:
    """Fixed colours on white: where there is no page, there is no theme."""
    for name, colour in FIXED.items():
        text = text.replace(name, colour)
    return text.replace("currentColor", INK).replace('"background": "transparent"', '"background": "white"')


def _page(name: str, said: Evaluation, picture: str, drawn: Sequence[Chart]) -> str:
    rows = "".join(
        f"<tr><td>{escape(one.window[:10])}</td><td>{escape(one.since[:10])}</td><td>{escape(one.signal)}</td>"
        f"<td>{escape(one.detail)}</td></tr>"
        for one in said.alarms
    )
    heads = "<tr><th>window</th><th>since</th><th>signal</th><th>what was seen</th></tr>"
    alarms = f"<div class='wide'><table>{heads}{rows}</table></div>" if rows else "<p>No alarm.</p>"
    sentences = "".join(f"<li>{escape(chart.sentence())}</li>" for chart in drawn)
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escape(name)}</title>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<style>{_STYLE}</style></head><body><h1>{escape(name)}</h1>"
        f"<p>{_budget(said)}. {LEGEND}</p>"
        f"{alarms}<div class='wide'>{picture}</div><details><summary>In words</summary><ul>{sentences}</ul></details>"
        "</body></html>\n"
    )
