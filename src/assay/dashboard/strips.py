"""Pictures of evidence drawn by hand as SVG: bars then and now, a course in time, digests as colours.

Thirteen of them stand on a page, which the chart renderer would take a second for. What is drawn comes
from the state and is taken for what a stranger wrote: numbers are checked, words escaped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

WIDTH: Final = 560
LABEL: Final = 190  # px to the left of the bars
BAR: Final = 14
GAP: Final = 8
RIGHT: Final = 95  # px for the numbers
HEIGHT: Final = 110
MOST: Final = 40
"""Bars or strips drawn; points may be five times as many."""
SHORT: Final = 32  # characters of a label that fit
CELLS: Final = 16
LEAST_SHARE: Final = 0.05  # of the width's scale: a thousandth must not look like much
FIRST_S: Final = 86_400.0  # earlier "times" are row numbers
COLOURS: Final[Mapping[str, str]] = {"then": "currentColor", "now": "var(--accent)", "": "var(--warn)"}
FAINT: Final[Mapping[str, str]] = {"then": "0.35", "now": "0.9", "": "0.8"}


def picture_svg(picture: object) -> str:
    """One picture as an accessible inline ``<svg>`` element; "" when there is nothing to draw.

    Args:
        picture: As `assay.diagnosis.pictures.Picture.as_json` wrote it.
    """
    if not isinstance(picture, Mapping):
        return ""
    bars = _rows(picture.get("bars"))
    points = _points(picture.get("points"))
    strips = [pair for pair in _list(picture.get("strips"))[:MOST] if isinstance(pair, list) and len(pair) == 2]  # noqa: PLR2004 - what and its digest
    title = str(picture.get("title", ""))[:200]
    percent = picture.get("percent") is True
    if strips:
        inside, height, said = _strips(strips)
    elif points:
        inside, height, said = _course(points, _number(picture.get("mark_s")))
    elif bars:
        inside, height, said = _bars(bars, _number(picture.get("level")), percent=percent)
    else:
        return ""
    label = escape(f"{title}: {said}", quote=True)
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-size="11" fill="currentColor"><title>{escape(title)}</title>{inside}</svg>'
    )


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _rows(value: object) -> list[tuple[str, float, str, float | None, float | None]]:
    """(label, value, when, low, high) of each bar that has a value."""
    found = []
    for bar in _list(value)[:MOST]:
        number = _number(bar.get("value")) if isinstance(bar, Mapping) else None
        if isinstance(bar, Mapping) and number is not None:
            when = str(bar.get("when"))
            ends = (_number(bar.get("low")), _number(bar.get("high")))
            found.append((str(bar.get("label", "")), number, when if when in COLOURS else "", *ends))
    return found


def _points(value: object) -> list[tuple[float, float]]:
    pairs = [point for point in _list(value)[: 5 * MOST] if isinstance(point, list) and len(point) == 2]  # noqa: PLR2004 - when and how much
    numbers = [(_number(pair[0]), _number(pair[1])) for pair in pairs]
    return [(at, how) for at, how in numbers if at is not None and how is not None]


def _told(value: float, *, percent: bool) -> str:
    return f"{100 * value:.1f} %" if percent else f"{value:.3g}"


def _bars(
    bars: Sequence[tuple[str, float, str, float | None, float | None]], level: float | None, *, percent: bool
) -> tuple[str, int, str]:
    ends = [end for bar in bars for end in (bar[1], bar[3], bar[4]) if end is not None]
    least_shown = LEAST_SHARE if percent else 0.0
    low, high = min(0.0, *ends, level or 0.0), max(least_shown, *ends, level or 0.0)
    room = WIDTH - LABEL - RIGHT
    scale = room / (high - low) if high > low else 0.0

    def x(value: float) -> float:
        return round(LABEL + (value - low) * scale, 1)

    drawn: list[str] = []
    top, before = 4, None
    for label, value, when, least, most in bars:
        if before is not None and label != before:
            top += GAP
        if label != before:
            short = label if len(label) <= SHORT else label[: SHORT - 1] + "…"
            drawn.append(f'<text x="{LABEL - 8}" y="{top + 11}" text-anchor="end">{escape(short)}</text>')
        before = label
        left, width = min(x(0.0), x(value)), abs(x(value) - x(0.0))
        drawn.append(
            f'<rect x="{left}" y="{top}" width="{max(width, 1.0):.1f}" height="{BAR - 2}" '
            f'fill="{COLOURS[when]}" opacity="{FAINT[when]}"/>'
        )
        if least is not None and most is not None:
            middle = top + BAR // 2 - 1
            drawn.append(f'<path d="M{x(least)} {middle}H{x(most)}" stroke="currentColor" stroke-width="1.5"/>')
        words = f"{_told(value, percent=percent)}{f' {when}' if when else ''}"
        drawn.append(f'<text x="{WIDTH - RIGHT + 6}" y="{top + 11}">{escape(words)}</text>')
        top += BAR
    if level is not None:
        drawn.append(f'<path d="M{x(level)} 0V{top}" stroke="currentColor" stroke-dasharray="3 3" opacity="0.6"/>')
    said = "; ".join(f"{bar[0]} {bar[2]} {_told(bar[1], percent=percent)}".replace("  ", " ") for bar in bars)
    return "".join(drawn), top + 4, said


def _course(points: Sequence[tuple[float, float]], mark: float | None) -> tuple[str, int, str]:
    first, last = points[0][0], points[-1][0]
    high = max(0.01, *(value for _, value in points))
    span = (last - first) or 1.0

    def x(at: float) -> float:
        return round(50 + (at - first) / span * (WIDTH - 70), 1)

    def y(value: float) -> float:
        return round(HEIGHT - 22 - max(value, 0.0) / high * (HEIGHT - 34), 1)

    line = " ".join(f"{x(at)},{y(value)}" for at, value in points)
    drawn = [
        f'<polyline points="{line}" fill="none" stroke="var(--accent)" stroke-width="1.6"/>',
        f'<path d="M50 {y(0.0)}H{WIDTH - 20}" stroke="currentColor" opacity="0.4"/>',
        f'<text x="44" y="{y(high) + 4}" text-anchor="end">{_told(high, percent=True)}</text>',
        f'<text x="44" y="{y(0.0)}" text-anchor="end">0 %</text>',
        f'<text x="50" y="{HEIGHT - 6}">{_date(first)}</text>',
        f'<text x="{WIDTH - 20}" y="{HEIGHT - 6}" text-anchor="end">{_date(last)}</text>',
    ]
    said = f"from {_told(points[0][1], percent=True)} to {_told(points[-1][1], percent=True)}"
    if mark is not None and first <= mark <= last:
        drawn.append(f'<path d="M{x(mark)} 4V{y(0.0)}" stroke="var(--bad)" stroke-width="1.5"/>')
        said += f", begins about {_date(mark)}" if mark >= FIRST_S else ""
    return "".join(drawn), HEIGHT, said


def _date(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d}" if seconds >= FIRST_S else f"row {seconds:.0f}"
    except (OverflowError, ValueError, OSError):
        return ""


def _strips(strips: Sequence[Sequence[object]]) -> tuple[str, int, str]:
    drawn: list[str] = []
    for row, (what, digest) in enumerate(strips):
        top = 4 + row * 24
        word = "".join(one for one in str(digest).lower() if one in "0123456789abcdef")[: 2 * CELLS].ljust(
            2 * CELLS, "0"
        )
        label = str(what)[:SHORT]
        drawn.append(f'<text x="{LABEL - 8}" y="{top + 12}" text-anchor="end">{escape(label)}</text>')
        for cell in range(CELLS):
            byte = int(word[2 * cell : 2 * cell + 2], 16)
            hue, light = byte * 360 // 256, 40 + byte % 5 * 8
            drawn.append(
                f'<rect x="{LABEL + cell * 16}" y="{top}" width="15" height="16" fill="hsl({hue},65%,{light}%)"/>'
            )
        drawn.append(f'<text x="{LABEL + CELLS * 16 + 8}" y="{top + 12}">{word[:12]}</text>')
    same = len({str(digest) for _, digest in strips}) == 1
    return "".join(drawn), 8 + 24 * len(strips), "all the same" if same else "they differ"
