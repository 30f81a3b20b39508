"""What is watched of a column of texts: length, characters and tokens, without a language and without keeping a word.

The vocabulary is a sketch of 65,536 bits: a token's bit is told by its digest, so no word can be read from a baseline.
It is made of one text in sixteen, drawn by their digests; the unseen share is counted of the others alone, in the
baseline as in live rows. If the baseline's rows were counted against their own words, live rows would always look new.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from typing import Final

from assay.engines.base import Engine, Quantity, Source, Text
from assay.engines.made import BUCKETS, HEAD, NO_TOKEN, SKETCH_BITS, TEXT_WORDS, DrawnToken, TextFigure, TextWord
from assay.engines.making import LEARNED_FROM, TOKENS
from assay.monitoring.bins import QUANTILES, edges_of
from assay.monitoring.signals import SignalSpec

SAMPLE: Final = 20_000
"""Rows of the baseline that the vocabulary is drawn from."""
PROSE: Final = 3.0
"""A column of mostly different values is one of texts, when half of them have so many tokens or more."""
SHARES: Final[frozenset[TextWord]] = frozenset({"letters", "digits", "spaces", "beyond-ascii", "unseen"})

_MIDDLE: Final = 0.5
_HEX: Final = re.compile(r"\\x\{([0-9A-F]+)\}")
_TOKENS: Final = re.compile(_HEX.sub(lambda match: f"\\U{int(match[1], 16):08x}", TOKENS))
_LOWER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def tokens(text: str) -> list[str]:
    """The tokens of a text as the engines find them; see `assay.engines.made.DrawnToken`."""
    return _TOKENS.findall(text[:HEAD].translate(_LOWER))


def sketch(texts: Iterable[str]) -> str:
    """The vocabulary of those texts that it is made of, one in sixteen: `SKETCH_BITS` bits in hexadecimal."""
    bits = bytearray(SKETCH_BITS // 8)
    for text in texts:
        if _digest(text)[0] != LEARNED_FROM:
            continue
        for token in tokens(text):
            place = int(_digest(token)[:4], 16)
            bits[place // 8] |= 128 >> place % 8
    return bits.hex()


def _digest(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def is_prose(engine: Engine, source: Source, column: str) -> bool:
    """Whether a column of mostly different values holds texts, and not identifiers.

    Raises:
        TableError: When the table cannot be read.
    """
    quantity = TextFigure(column, "tokens")
    found = engine.profile(source, {"tokens": quantity}, quantiles=(_MIDDLE,))["tokens"]
    return bool(found.quantiles) and found.quantiles[0] >= PROSE


def learn(engine: Engine, source: Source, column: str) -> tuple[SignalSpec, ...]:
    """The signals of one column of texts; none where it has no text.

    Args:
        engine: What reads the table.
        source: Rows of when the model was known to work.
        column: Which.

    Raises:
        TableError: When the table cannot be read.
    """
    sample = engine.rows(source, columns=[column], limit=SAMPLE).column(0).to_pylist()
    seen = sketch(text for text in sample if isinstance(text, str))
    figures = {word: TextFigure(column, word, seen if word == "unseen" else "") for word in TEXT_WORDS}
    asked: dict[str, Quantity | Text] = {word: figures[word] for word in TEXT_WORDS}
    known = engine.profile(source, asked, quantiles=QUANTILES)
    edges = {word: edges_of(known[word], low=0.0, high=1.0 if word in SHARES else math.inf) for word in TEXT_WORDS}
    if not edges["length"]:
        return ()
    name = f"feature:{column}"
    specs = [
        SignalSpec(f"{name}:{word}", "inputs", "ordered", column, edges=edges[word], of=figures[word])
        for word in TEXT_WORDS
        if edges[word]
    ]
    buckets = (*BUCKETS, NO_TOKEN)
    specs.append(SignalSpec(f"{name}:token", "inputs", "values", column, values=buckets, of=DrawnToken(column)))
    null = SignalSpec(f"{name}:null", "inputs", "rate", column, edges=edges["length"], of=figures["length"])
    return (*specs, null)
