"""What of a column is counted, when it is more than its value: in words for a person, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, cast

from assay.engines.made import Along, DrawnToken, TextFigure, TextWord


@dataclass(frozen=True, slots=True)
class Corner:
    """Where in its space a vector lies: on which side of a cut along each of some directions.

    Attributes:
        lengths: The directions.
        cuts: A cut for each, in the unit of the vector: at most it is the lower side.
    """

    lengths: tuple[Along, ...]
    cuts: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.lengths or len(self.lengths) != len(self.cuts):
            raise ValueError("a corner needs directions, and a cut for each")

    @property
    def corners(self) -> tuple[str, ...]:
        """All corners, the last direction fastest: ``+--`` is above the first cut only."""
        return tuple("".join(signs) for signs in product("-+", repeat=len(self.cuts)))


Of = TextFigure | DrawnToken | Along | Corner
"""A figure of a text, a token drawn from it, a vector's length along a direction, or the corner it lies in."""

_WORDS: Final[Mapping[TextWord, str]] = {
    "length": "characters of {}",
    "letters": "share of letters in {}",
    "digits": "share of digits in {}",
    "spaces": "share of white space in {}",
    "beyond-ascii": "share of characters beyond ASCII in {}",
    "variety": "effective number of different characters in {}",
    "tokens": "tokens of {}",
    "unseen": "share of tokens in {} that the baseline lacks",
}


def worded(of: Of) -> str:
    """What it is, as a question says it before ``<= 12.3``."""
    if isinstance(of, TextFigure):
        return _WORDS[of.figure].format(of.column)
    if isinstance(of, DrawnToken):
        return f"bucket of a token of {of.column}"
    if isinstance(of, Corner):
        return f"corner of {of.lengths[0].column}"
    return f"length of {of.column}" if not any(of.direction) else f"{of.column} along a direction"


def to_json(of: Of) -> dict[str, object]:
    """It as JSON types, without the column; `parse` reads it back."""
    if isinstance(of, TextFigure):
        return {"text": of.figure} | ({"seen": of.seen} if of.seen else {})
    if isinstance(of, DrawnToken):
        return {"text": "drawn-token"}
    if isinstance(of, Corner):
        return {"corner": [to_json(length) for length in of.lengths], "cuts": list(of.cuts)}
    return {"direction": list(of.direction), "scale": of.scale}


def parse(data: object, column: str) -> Of:
    """Read what `to_json` wrote.

    Raises:
        KeyError: When something is missing.
        TypeError: When something is of the wrong type.
        ValueError: When something is out of range.
    """
    raw = cast("Mapping[str, object]", data)
    if "corner" in raw:
        lengths = tuple(_length(one, column) for one in cast("Sequence[Mapping[str, object]]", raw["corner"]))
        return Corner(lengths, tuple(float(x) for x in cast("Sequence[float]", raw["cuts"])))
    if "direction" in raw:
        return _length(raw, column)
    if raw["text"] == "drawn-token":
        return DrawnToken(column)
    return TextFigure(column, cast("TextWord", str(raw["text"])), str(raw.get("seen", "")))


def _length(raw: Mapping[str, object], column: str) -> Along:
    direction = tuple(int(w) for w in cast("Sequence[int]", raw["direction"]))
    return Along(column, direction, float(cast("float", raw["scale"])))
