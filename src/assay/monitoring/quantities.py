"""What of a column is counted, when it is more than its value: in words for a person, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

from assay.engines.made import Along, DrawnToken, TextFigure, TextWord

Of = TextFigure | DrawnToken | Along
"""A figure of a text, a token drawn from it, or a vector's length along a direction."""

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
    return f"length of {of.column}" if not any(of.direction) else f"{of.column} along a direction"


def to_json(of: Of) -> dict[str, object]:
    """It as JSON types, without the column; `parse` reads it back."""
    if isinstance(of, TextFigure):
        return {"text": of.figure} | ({"seen": of.seen} if of.seen else {})
    if isinstance(of, DrawnToken):
        return {"text": "drawn-token"}
    return {"direction": list(of.direction), "scale": of.scale}


def parse(data: object, column: str) -> Of:
    """Read what `to_json` wrote.

    Raises:
        KeyError: When something is missing.
        TypeError: When something is of the wrong type.
        ValueError: When something is out of range.
    """
    raw = cast("Mapping[str, object]", data)
    if "direction" in raw:
        direction = tuple(int(w) for w in cast("Sequence[int]", raw["direction"]))
        return Along(column, direction, float(cast("float", raw["scale"])))
    if raw["text"] == "drawn-token":
        return DrawnToken(column)
    return TextFigure(column, cast("TextWord", str(raw["text"])), str(raw.get("seen", "")))
