"""Numbers and values that an engine makes of a row before it counts: of texts, vectors and the rows of a query.

Every engine makes the same, bit for bit: texts are read by fixed tables of characters (no Unicode version, no
language), vectors in whole numbers, whose sum has no order, and ranks with ties at their worst place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

TextWord = Literal["length", "letters", "digits", "spaces", "beyond-ascii", "variety", "tokens", "unseen"]
QueryWord = Literal["ndcg", "mrr"]

TEXT_WORDS: Final[tuple[TextWord, ...]] = (
    "length",
    "letters",
    "digits",
    "spaces",
    "beyond-ascii",
    "variety",
    "tokens",
    "unseen",
)
HEAD: Final = 1024
"""Characters of a text that are looked at; its length is that of the whole."""
VARIETY_HEAD: Final = 256
"""Characters of a text that its variety is told from."""
SKETCH_BITS: Final = 1 << 16
"""Bits of a vocabulary: a token's place is the first 16 bits of its MD5."""
BUCKETS: Final = "0123456789abcdef"
"""Buckets of tokens: the first digit of the MD5 of a token."""
NO_TOKEN: Final = "none"  # noqa: S105 - a word of a text, no secret
"""The bucket of a text without tokens."""
UNIT: Final = 1024
"""Length of a direction, in its own whole numbers."""
CLIP: Final = 1 << 19
"""Largest coordinate in steps. Squares of 2^15 of them still add up exactly in a double (2^53)."""
MOST_DIMENSIONS: Final = 1 << 15
DEPTH: Final = 10
"""NDCG looks at the first ten."""
MOST_RELEVANT: Final = 15
"""Relevance is a whole number from 0 to 15; more counts as 15."""


@dataclass(frozen=True, slots=True)
class TextFigure:
    """A figure of a text; nothing where the column holds no texts.

    Attributes:
        column: Of texts.
        figure: ``length``: characters (code points). Of the first `HEAD` of them: ``letters`` (of any script),
            ``digits`` (0 to 9), ``spaces`` (ASCII white space) and ``beyond-ascii``: shares, 0 to 1. ``variety``:
            effective number of different characters in the first `VARIETY_HEAD`, ``1 / sum p^2`` (Hill 1973, order
            2), an entropy without logarithms. ``tokens``: how many. ``unseen``: the share of them that the
            vocabulary lacks, 0 to 1; 0 without tokens; nothing of the texts that vocabularies are made of, which
            are those whose MD5 begins with 0.
        seen: The vocabulary, `SKETCH_BITS` bits in hexadecimal, for ``unseen``.
    """

    column: str
    figure: TextWord
    seen: str = ""

    def __post_init__(self) -> None:
        if self.figure not in TEXT_WORDS:
            raise ValueError(f"no figure of a text is called {self.figure!r}")
        if (self.figure == "unseen") != bool(self.seen):
            raise ValueError("the unseen share needs a vocabulary, and nothing else does")
        if self.seen and (len(self.seen) * 4 != SKETCH_BITS or not set(self.seen) <= set(BUCKETS)):
            raise ValueError(f"a vocabulary is {SKETCH_BITS} bits in hexadecimal")


@dataclass(frozen=True, slots=True)
class DrawnToken:
    """The bucket of one token of a text, drawn by the digest of the text: each row gives one, whatever its length.

    A token is a run of letters and digits in lower case (ASCII), or one sign of a script that is written without
    spaces. Its bucket is one of `BUCKETS`, or `NO_TOKEN`. No word of a text leaves the engine.
    """

    column: str


@dataclass(frozen=True, slots=True)
class Along:
    """How far a vector reaches along a direction; nothing where it has another length.

    Coordinates are rounded down to whole steps first. NaN or null in it makes NaN, an infinity an infinity.

    Attributes:
        column: Of lists of numbers.
        direction: Whole numbers, one a dimension, about `UNIT` long together. All zero stands for the norm.
        scale: Steps in 1; a power of two.
    """

    column: str
    direction: tuple[int, ...]
    scale: float

    def __post_init__(self) -> None:
        if not 1 <= len(self.direction) <= MOST_DIMENSIONS or any(abs(w) > 2 * UNIT for w in self.direction):
            raise ValueError(f"a direction has 1 to {MOST_DIMENSIONS} whole numbers up to {2 * UNIT}")
        if not (0 < self.scale < 2.0**900 and self.scale.hex().split("p")[0] == "0x1.0000000000000"):
            raise ValueError("a scale is a power of two")


@dataclass(frozen=True, slots=True)
class Difference:
    """How much one numeric column exceeds another: ``left - right``."""

    left: str
    right: str


@dataclass(frozen=True, slots=True)
class OfQuery:
    """How well the rows of one query are ranked, told once for each query, at the row whose label came last.

    Rows of equal score count at the worst of their places. A row without label is not relevant; a query without any
    label says nothing.

    Attributes:
        query: Column that rows of one query share.
        score: Column that they are ranked by, the largest first.
        label: Column of their relevance: a whole number from 0, or whether they are relevant.
        figure: ``mrr``: one over the place of the first relevant row, 0 without any. ``ndcg``: of the first `DEPTH`,
            with gains ``2^relevance - 1`` (Järvelin, Kekäläinen 2002; Burges et al. 2005); nothing where no row is
            relevant.
        time: Column of the time.
        label_time: Column of when labels came; None stands for ``time``.
    """

    query: str
    score: str
    label: str
    figure: QueryWord
    time: str
    label_time: str | None = None

    def __post_init__(self) -> None:
        if self.figure not in {"ndcg", "mrr"}:
            raise ValueError(f"no figure of a query is called {self.figure!r}")


Made = TextFigure | DrawnToken | Along | OfQuery
"""What is made in a statement of its own before rows are counted."""
