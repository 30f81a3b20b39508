"""Probes: requests that are asked again and again, and what a model replies to them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from assay.errors import AnswerError, FingerprintError
from assay.frameworks.base import Prediction, Predictor

Row = Mapping[str, object]
Ask = Callable[[Sequence[int]], "list[Reply]"]

OTHER = ""
"""Stands for every answer that no stored one was like."""

MOST_SYMBOLS = 256  # different answers that are told apart
FAMILIAR = 0.6  # share of stored answers that must be like another one, or they are cut shorter
CUTS = ("whole", "word", "8", "4", "2", "1")
"""What of an answer is compared: all of it, its first word, or so many of its first characters."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said to one request.

    Attributes:
        label: The answer, as JSON text.
        numbers: Probabilities by class, or the number a regression answers under ``""``; empty when there are none.
    """

    label: str
    numbers: Mapping[str, float] = field(default_factory=dict)


def ask(predictor: Predictor, rows: Sequence[Row]) -> list[Reply]:
    """Ask a model about each row.

    Raises:
        AssayError: It cannot be asked, or its answers are none.
    """
    return replies(predictor.predict(pa.Table.from_pylist([dict(row) for row in rows])), len(rows))


def replies(found: Prediction, rows: int) -> list[Reply]:
    """Bring a prediction into the form that is kept and compared.

    Raises:
        AnswerError: An answer is no text, number or truth value.
    """
    labels = found.labels.tolist()
    if len(labels) != rows:
        raise AnswerError(f"the model answered {len(labels)} of {rows} requests")
    names = [str(name) for name in found.classes or ()]
    scores = found.scores if found.scores is not None and names else None
    answers = []
    for at, label in enumerate(labels):
        if not isinstance(label, (str, int, float)) or label != label:  # noqa: PLR0124 - not a number
            raise AnswerError("the model answered no text, number or truth value")
        numbers = {} if scores is None else dict(zip(names, map(float, scores[at]), strict=True))
        if not numbers and isinstance(label, float):
            numbers = {"": label}
        if not all(np.isfinite(value) for value in numbers.values()):
            raise AnswerError("the model answered a number that is none")
        answers.append(Reply(json.dumps(label, ensure_ascii=False), numbers))
    return answers


def plain_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows as they are kept: JSON, the same when read back. Rows that are no plain JSON are left out."""
    kept: list[Row] = []
    for row in rows:
        try:
            text = json.dumps(dict(row), allow_nan=False, ensure_ascii=False)
            text.encode()
        except (TypeError, ValueError):
            continue
        kept.append(json.loads(text, parse_int=_number, parse_float=_number))
    return [row for row in kept if row]


def choose(asked: Sequence[Sequence[Reply]], wanted: int) -> list[int]:
    """Which requests make the best probes: those whose answers are least certain, and no two of them alike.

    Args:
        asked: For each candidate its replies, at least one.
        wanted: How many.

    Returns:
        Their places, the most uncertain first.
    """
    entropies = [_entropy(found) for found in asked]
    seen: Counter[str] = Counter()
    order = []
    for at in range(len(asked)):
        seen[asked[at][0].label] += 1
        order.append((-round(entropies[at], 2), seen[asked[at][0].label], at))
    return [at for _, _, at in sorted(order)[:wanted]]


def _entropy(found: Sequence[Reply]) -> float:
    """In nats: of the stated probabilities, or of how often each answer came."""
    numbers = found[0].numbers
    if len(numbers) > 1 and all(value >= 0 for value in numbers.values()) and sum(numbers.values()) > 0:
        shares = np.array(list(numbers.values())) / sum(numbers.values())
    else:
        counts = np.array(list(Counter(one.label for one in found).values()), dtype=np.float64)
        shares = counts / counts.sum()
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def cut(label: str, how: str) -> str:
    """The part of an answer that is compared, as JSON text."""
    if how == "whole":
        return label
    said = json.loads(label)
    if not isinstance(said, str):
        return label
    if how == "word":
        return json.dumps((said.split() or [""])[0], ensure_ascii=False)
    return json.dumps(said.lstrip()[: int(how)], ensure_ascii=False)


def alphabet(labels: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """How much of each answer to compare, and the answers then known, from stored ones used for nothing else.

    Raises:
        FingerprintError: The answers are all different, however short they are cut.
    """
    for how in CUTS:
        counts = Counter(cut(one, how) for one in labels)
        if sum(count for count in counts.values() if count > 1) >= FAMILIAR * len(labels):
            known = sorted(counts, key=lambda one: (-counts[one], one))[: MOST_SYMBOLS - 1]
            return how, (*known, OTHER)
    raise FingerprintError(
        "the answers are all different, so nothing can be compared: ask for shorter ones, or for probabilities"
    )


def _number(digits: str) -> int | float:
    """As canonical JSON (RFC 8785) gives it back: 1.0 and 1 are the same."""
    number = float(digits)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
