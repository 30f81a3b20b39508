"""A comparison as a picture: one strip for each kind of tensor, one cell for each layer. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from assay.artifacts.diff.change import Status, TensorChange, kind_of
from assay.artifacts.diff.diff import ModelDiff
from assay.artifacts.names import shown

NARROW, WIDE = 340, 880  # widths in px: a phone, and a desk
MOST_STRIPS = 48
_ROW, _CELL, _LETTER = 22, 16, 6.4  # px: of a strip, of a cell's height, of a letter's width

# Relative L2 change up to which a step is used, how strong it is drawn, and what the legend says.
STEPS: tuple[tuple[float, float, str], ...] = (
    (1e-3, 0.22, "below 0.1 %"),
    (1e-2, 0.42, "to 1 %"),
    (1e-1, 0.64, "to 10 %"),
    (1.0, 0.85, "to 100 %"),
    (float("inf"), 1.0, "more"),
)
_SIGNS = {Status.ADDED: "+", Status.REMOVED: "\u2212", Status.RESHAPED: "\u2260"}

LIGHT: Mapping[str, str] = {
    "ink": "#1c2430",
    "quiet": "#5b6675",
    "line": "#cfd6de",
    "heat": "#b3261e",
    "odd": "#2f6db3",
    "paper": "#ffffff",
}
DARK: Mapping[str, str] = {
    "ink": "#e8ecf1",
    "quiet": "#9fabba",
    "line": "#3a4755",
    "heat": "#ff8b80",
    "odd": "#74aee8",
    "paper": "#10151c",
}
GROUNDS = ("#ffffff", "#19212b")


@dataclass(frozen=True, slots=True)
class Strip:
    """Tensors that play the same part in every layer.

    Attributes:
        label: Their name with ``*`` for the layer's number.
        cells: By the layer's number; a tensor outside any layer has number -1.
    """

    label: str
    cells: Mapping[int, TensorChange]


def strips(changes: Sequence[TensorChange]) -> tuple[Strip, ...]:
    """Every tensor, sorted into strips, in the order of the model."""
    found: dict[str, dict[int, TensorChange]] = {}
    for one in changes:
        label, number = kind_of(one.name)
        layer = -1 if number is None else number
        if layer in found.get(label, {}):  # the same name in two files
            label = f"{one.place.file}: {label}"
        found.setdefault(label, {})[layer] = one
    return tuple(
        Strip(next(iter(cells.values())).name, {-1: next(iter(cells.values()))})
        if len(cells) == 1
        else Strip(label, cells)
        for label, cells in found.items()
    )


def sentence(diff: ModelDiff) -> str:
    """What the picture shows, for who cannot see it."""
    moved = [one for one in diff.changed if one.status is not Status.RENAMED]
    return f"{diff.reading.kind.value}: {len(moved)} of {len(diff.tensors)} tensors differ. {diff.reading.reason}."


def svg(diff: ModelDiff, width: int = WIDE, *, colours: Mapping[str, str] | None = None) -> str:
    """The picture as one ``<svg>`` element.

    Args:
        diff: The comparison.
        width: In px.
        colours: Colours by name, as :data:`LIGHT`; None writes ``var(--name)``, for a page that defines them.
    """
    every = strips(diff.tensors)
    chosen = [strip for strip in every if any(one.status is not Status.SAME for one in strip.cells.values())]
    rest = [strip for strip in every if strip not in chosen]
    kept = (chosen + rest)[:MOST_STRIPS] if len(every) > MOST_STRIPS else list(every)
    drawing = _Drawing(width, kept, colours)
    more = len(every) - len(kept)
    return drawing.text(sentence(diff), f"and {more} more kinds of tensor" if more else "")


def document(diff: ModelDiff, width: int = WIDE) -> str:
    """The picture as a file of its own: follows the viewer's light or dark mode."""
    light, dark = (";".join(f"--{name}:{value}" for name, value in side.items()) for side in (LIGHT, DARK))
    style = (
        f"<style>svg{{{light};background:{GROUNDS[0]}}}"
        f"@media(prefers-color-scheme:dark){{svg{{{dark};background:{GROUNDS[1]}}}}}</style>"
    )
    return svg(diff, width).replace("</title>", f"</title>{style}", 1) + "\n"


def fixed(diff: ModelDiff, width: int = WIDE) -> str:
    """The picture in fixed colours on white, for what knows no style sheets."""
    text = svg(diff, width, colours=LIGHT)
    return text.replace("</title>", f'</title><rect width="100%" height="100%" fill="{GROUNDS[0]}"/>', 1)


class _Drawing:
    """Puts strips below each other: label beside them where there is room, else above."""

    def __init__(self, width: int, kept: Sequence[Strip], colours: Mapping[str, str] | None) -> None:
        self._width, self._strips, self._colours = width, kept, colours
        self._beside = width > NARROW
        self._left = 300 if self._beside else 8
        layers = sorted({layer for strip in kept for layer in strip.cells if layer >= 0})
        self._column = {layer: at for at, layer in enumerate(layers)}
        self._step = (width - self._left - 8) / max(len(layers), 1)
        self._row = _ROW if self._beside else _ROW + 16
        self._parts: list[str] = []

    def _colour(self, name: str) -> str:
        return f"var(--{name})" if self._colours is None else self._colours[name]

    def text(self, title: str, more: str) -> str:
        y = 8.0
        for strip in self._strips:
            self._strip(strip, y)
            y += self._row
        y = self._numbers(y)
        if more:
            self._words(8, y + 12, more)
            y += 20
        y = self._legend(y + 10)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{self._width}" height="{y:.0f}" '
            f'viewBox="0 0 {self._width} {y:.0f}" font-family="system-ui, DejaVu Sans, sans-serif" font-size="11">'
            f"<title>{escape(title)}</title>{''.join(self._parts)}</svg>"
        )

    def _words(self, x: float, y: float, text: str, anchor: str = "start", colour: str = "quiet") -> None:
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{self._colour(colour)}">{escape(text)}</text>'
        )

    def _strip(self, strip: Strip, y: float) -> None:
        room = (self._left - 16 if self._beside else self._width - 16) / _LETTER
        label = shortened(shown(strip.label), int(room))
        moved = any(one.status is not Status.SAME for one in strip.cells.values())
        if self._beside:
            self._words(self._left - 8, y + 12, label, "end", "ink" if moved else "quiet")
        else:
            self._words(8, y + 10, label, colour="ink" if moved else "quiet")
            y += 16
        for layer, one in strip.cells.items():
            if layer < 0:
                self._cell(self._left, y, self._width - self._left - 8, one)
            else:
                self._cell(self._left + self._column[layer] * self._step, y, self._step, one)

    def _cell(self, x: float, y: float, width: float, one: TensorChange) -> None:
        gap = 2 if width > 8 else 0.5  # noqa: PLR2004 - px
        inner = max(width - gap, 0.5)
        sign = _SIGNS.get(one.status)
        strength = 1.0 if sign else heat(one)
        fill = self._colour("odd" if sign else "heat") if strength else "none"
        line = f' stroke="{self._colour("line")}" stroke-width="1"' if not strength else ""
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{inner:.1f}" height="{_CELL}" rx="{min(3, inner / 4):.1f}" '
            f'fill="{fill}" fill-opacity="{strength}"{line}><title>{escape(told(one))}</title></rect>'
        )
        if sign and inner > 10:  # noqa: PLR2004 - px
            self._parts.append(
                f'<text x="{x + inner / 2:.1f}" y="{y + 12:.1f}" text-anchor="middle" fill="{self._colour("paper")}" '
                f'font-weight="700" pointer-events="none">{sign}</text>'
            )

    def _numbers(self, y: float) -> float:
        """The layers' numbers below the strips, as many as there is room for."""
        layers = list(self._column)
        if not layers:
            return y
        every = max(1, round(28 / self._step))
        for at, layer in enumerate(layers):
            if at % every == 0:
                self._words(self._left + (at + 0.5) * self._step, y + 10, str(layer), "middle")
        name = "layer"
        self._words(
            self._left - 8 if self._beside else 8,
            y + 10 + (0 if self._beside else 14),
            name,
            "end" if self._beside else "start",
        )
        return y + (18 if self._beside else 32)

    def _legend(self, y: float) -> float:
        entries = [("none", 0.0, "the same")]
        entries += [("heat", strength, said) for _, strength, said in STEPS]
        entries += [("odd", 1.0, "+ added, \u2212 removed, \u2260 other shape")]
        self._words(8, y + 10, "Change relative to the tensor (L2)")
        x, y = 8.0, y + 20
        for name, strength, said in entries:
            length = 20 + len(said) * _LETTER + 14
            if x + length > self._width:
                x, y = 8.0, y + 20
            fill = "none" if name == "none" else self._colour(name)
            self._parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="14" height="12" rx="3" fill="{fill}" fill-opacity="{strength}" '
                f'stroke="{self._colour("line")}"/>'
            )
            self._words(x + 20, y + 10, said)
            x += length
        return y + 24


def heat(one: TensorChange) -> float:
    """How strong a cell is drawn: 0 for a tensor that is the same."""
    if one.measures is None or not one.measures.changed:
        return 0.0
    relative = one.measures.relative
    if relative is None:  # packed: as many bytes as changed
        relative = one.measures.share
    return next((strength for limit, strength, _ in STEPS if relative <= limit), 1.0)


def told(one: TensorChange) -> str:
    """One cell in words."""
    name, place = shown(one.name), one.place
    if one.measures is None:
        return f"{name} {list(place.shape)} {shown(place.dtype)}: {one.status.value}"
    found = one.measures
    relative = "" if found.relative is None else f", L2 {100 * found.relative:.3g} %"
    unit = "elements" if found.exact else "bytes"
    return f"{name} {list(place.shape)} {shown(place.dtype)}: {100 * found.share:.3g} % of {unit} differ{relative}"


def shortened(text: str, room: int) -> str:
    """The text, its middle left out where there is no room: beginnings and ends of names tell most."""
    if len(text) <= room:
        return text
    tail = max(1, (room - 1) * 2 // 3)
    return f"{text[: max(0, room - 1 - tail)]}\u2026{text[-tail:]}"
