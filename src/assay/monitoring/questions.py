"""What an engine is asked for a signal, and which bin of the signal an answer belongs to. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from assay.engines.base import (
    MISSING,
    NEGATIVE_INFINITY,
    NOT_A_NUMBER,
    POSITIVE_INFINITY,
    UNREADABLE,
    Bins,
    Code,
    Distance,
    Failed,
    Gap,
    Number,
    Quantity,
    Question,
    Text,
    Values,
    Wrong,
)
from assay.engines.made import Along, Difference, DrawnToken, QueryWord, TextFigure
from assay.monitoring.quantities import Corner
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.scores import FIGURES, NEGATIVES, POSITIVES, of_query
from assay.monitoring.signals import SignalSpec

ABSENT = frozenset({MISSING, NOT_A_NUMBER, UNREADABLE})
"""Codes of rows that have no usable value: they are nulls of their feature."""

Beyond = Literal["null", "below", "above"]
"""What of a role's value nobody judges as such: that it is missing, or that it lies where none can lie."""

ROUNDED: Final = 1e-6
"""So far a probability may lie beyond 0 and 1: a softmax of 32 bits that sums to 1.0000001 is no fault."""
POSSIBLE: Final[Mapping[str, tuple[float, float]]] = {
    "confidence": (-ROUNDED, 1 + ROUNDED),
    "latency_s": (-1e-300, math.inf),
}
"""By role, what its values are above, and at most: outside of that none can be right."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A signal as a question to an engine.

    Attributes:
        question: What is counted. Signals with the same question share one answer.
        bin_of: The bin of the signal that rows with these codes belong to; None for rows it is not about.
        columns: The columns the question needs besides the time.
        wanted: What a value that cannot be read is not, for a person; empty where that is no fault.
        within: All codes but the last of the only rows it is about; None where other codes may be.
        role: Which role its column plays, where its nulls are in no signal; else empty.
        beyond: Codes of values that are missing where nothing else tells it, or that are impossible.
    """

    question: Question
    bin_of: Callable[[tuple[int, ...]], int | None]
    columns: tuple[str, ...]
    wanted: str = "numbers"
    within: tuple[int, ...] | None = None
    role: str = ""
    beyond: Mapping[int, Beyond] = field(default_factory=dict)


def ask(specs: Sequence[SignalSpec], schema: PredictionSchema) -> dict[str, Asked]:
    """The questions of all signals by name, but for ``volume``, which is told by the windows themselves.

    Signals about one column share one question: it is counted once. Confidence and latency are asked as well whether
    they are possible: one of their signals asks it, else a question of its own, which is in no signal.

    Args:
        specs: The signals of a baseline.
        schema: What the columns mean.

    Raises:
        ValueError: When a signal is of no kind that `assay.monitoring.learning` makes.
    """
    listed: dict[str, list[str]] = defaultdict(list)
    for spec in specs:
        if spec.family in {"classes", "slices"} and spec.kind != "cells":
            for column, value in _part(spec):
                listed[column].append(value)
    found = {spec.name: _ask(spec, schema, listed) for spec in specs if spec.kind != "volume"}
    for role in POSSIBLE:
        column = getattr(schema, role)
        if column is not None:
            named = (spec for spec in specs if spec.name == role or spec.name.startswith(f"{role}:"))
            mine = [spec for spec in named if spec.column == column and spec.edges]
            found |= {spec.name: replace(found[spec.name], role=role) for spec in mine}
            name, edges = (mine[0].name, mine[0].edges) if mine else (f"{role}:possible", ())
            found[name] = _possible(name, role, column, found.get(name), edges)
    return found


def _possible(name: str, role: str, column: str, asked: Asked | None, edges: tuple[float, ...]) -> Asked:
    """A question about a role's number that also tells what cannot be right, with the same bins as before.

    Args:
        name: Of the question.
        role: ``confidence`` or ``latency_s``.
        column: Its column.
        asked: The question of a signal; None for none.
        edges: Where its bins end.
    """
    low, high = POSSIBLE[role]
    ends = tuple(sorted({*edges, *(end for end in (low, high) if math.isfinite(end))}))
    before = [bisect_left(edges, end) for end in ends] + [len(edges)]
    beyond: dict[int, Beyond] = {MISSING: "null"}
    beyond |= {code: "below" for code, end in enumerate(ends) if end <= low}
    beyond |= {code + 1: "above" for code, end in enumerate(ends) if end >= high}

    def bin_of(codes: tuple[int, ...]) -> int | None:
        if asked is None:
            return None
        return asked.bin_of((before[codes[0]] if codes[0] >= 0 else codes[0],))

    return Asked(Question(name, (Bins(Number(column), ends),)), bin_of, (column,), role=role, beyond=beyond)


def _part(spec: SignalSpec) -> tuple[tuple[str, str], ...]:
    """The columns and their values that a class or a slice is told by."""
    return tuple(spec.slice.items()) if spec.slice else ((spec.column, spec.values[0]),)


def _ask(  # noqa: C901, PLR0911 - a table of cases
    spec: SignalSpec, schema: PredictionSchema, listed: Mapping[str, Sequence[str]]
) -> Asked:
    if spec.name == "failures":
        return _flag(Question(spec.name, (Failed(spec.column),)), (spec.column,))
    if spec.family in {"inputs", "outputs", "service"}:
        return _column(spec)
    if schema.label is None:
        raise ValueError(f"signal {spec.name} needs a label column")
    both = (schema.prediction, schema.label)
    if spec.kind == "cells":
        return _cells(spec, both)
    if spec.family in {"classes", "slices"}:
        return _within(spec, listed, both)
    if spec.name in {POSITIVES, NEGATIVES} or spec.name.startswith("calibration:"):
        return _of_class(spec, schema.prediction, schema.label)
    if spec.name in FIGURES:
        return _of_queries(spec, schema)
    if spec.name == "residual":
        return _binned(spec, Difference(schema.label, schema.prediction), "label", both)
    if spec.name == "calibration" and schema.confidence is not None:
        return _binned(spec, Gap(schema.confidence, *both), "label", (schema.confidence, *both))
    if spec.kind == "ordered":
        return _binned(spec, Distance(*both), "label", both)
    return _flag(Question(spec.name, (Wrong(*both),), "label"), both)


def _column(spec: SignalSpec) -> Asked:
    """A column's values, or a rate about them. Rates carry the edges or values too, so that all ask the same."""
    if isinstance(spec.of, Corner):
        return _corner(spec, spec.of)
    of = spec.of if isinstance(spec.of, TextFigure | Along) else Number(spec.column)
    asked = _binned(spec, of, "time", (spec.column,)) if spec.edges else _listed(spec)
    if isinstance(of, Along):
        asked = replace(asked, wanted="vectors of the baseline's length")
    elif isinstance(of, TextFigure):  # the texts that a vocabulary is made of have no unseen share, by design
        asked = replace(asked, wanted="" if of.figure == "unseen" else "texts")
    if spec.kind == "rate" and spec.name.endswith(":null"):
        return replace(asked, bin_of=_is_absent)
    if spec.kind == "rate" and spec.name.endswith(":infinite"):
        return replace(asked, bin_of=_is_infinite)
    if spec.kind == "rate" and spec.name.endswith(":unseen"):
        other = len(spec.values)
        return replace(asked, bin_of=lambda codes: None if codes[0] in ABSENT else int(codes[0] == other))
    return asked


def _within(spec: SignalSpec, listed: Mapping[str, Sequence[str]], both: tuple[str, str]) -> Asked:
    """Wrong answers among the rows that have one value in each of some columns; a regression's, beyond its edge.

    Of an ordered signal, what those rows miss by.
    """
    if spec.kind == "ordered":
        inner = _binned(spec, Difference(both[1], both[0]), "label", both)
        wrong: Code = inner.question.codes[0]
    else:
        inner = None
        wrong = Bins(Distance(*both), spec.edges) if spec.edges else Wrong(*both)
    part = _part(spec)
    values = [tuple(sorted(set(listed[column]))) for column, _ in part]
    places = tuple(known.index(value) for known, (_, value) in zip(values, part, strict=True))
    lists = (Values(Text(column), known) for (column, _), known in zip(part, values, strict=True))
    question = Question(spec.name, (*lists, wrong), "label")

    def bin_of(codes: tuple[int, ...]) -> int | None:
        if codes[:-1] != places:
            return None
        if inner is not None:
            return inner.bin_of(codes[-1:])
        if codes[-1] == POSITIVE_INFINITY:
            return 1
        return codes[-1] if codes[-1] >= 0 else None

    return Asked(question, bin_of, (*(column for column, _ in part), *both), within=places)


def _of_class(spec: SignalSpec, score: str, label: str) -> Asked:
    """Scores of the rows of one of two classes; or of the rows of one tenth of the scores, which are positive."""
    question = Question(spec.name, (Values(Text(label), spec.values), Bins(Number(score), spec.edges)), "label")
    ends = {NEGATIVE_INFINITY: 0, POSITIVE_INFINITY: len(spec.edges)}

    def bin_of(codes: tuple[int, ...]) -> int | None:
        place = ends.get(codes[1], codes[1])
        if place < 0 or codes[0] < 0:
            return None
        if spec.kind == "ordered":
            return place if (codes[0] == 0) == (spec.name == POSITIVES) else None
        return int(codes[0] == 0) if place == 1 else None

    return Asked(question, bin_of, (label, score))


def _of_queries(spec: SignalSpec, schema: PredictionSchema) -> Asked:
    """A figure of each query, told once at one of its rows."""
    word: QueryWord = "ndcg" if spec.name == "ndcg" else "mrr"
    of = of_query(schema, word)
    if of is None:
        raise ValueError(f"signal {spec.name} needs a query column")
    columns = (of.query, of.score, of.label, *((of.label_time,) if of.label_time else ()))
    return _binned(spec, of, "label", columns)


def _cells(spec: SignalSpec, both: tuple[str, str]) -> Asked:
    """Wrong answers in every cell of some axes; rows beyond the listed values are in no cell."""
    wrong = Bins(Distance(*both), spec.edges) if spec.edges else Wrong(*both)
    codes = (
        Values(Text(axis.column), axis.values) if axis.values else Bins(Number(axis.column), axis.edges)
        for axis in spec.axes
    )
    sizes = [len(axis.levels) for axis in spec.axes]

    def bin_of(codes: tuple[int, ...]) -> int | None:
        *places, wrong = codes
        wrong = 1 if wrong == POSITIVE_INFINITY else wrong
        cell = 0
        for axis, place, size in zip(spec.axes, places, sizes, strict=True):
            beyond = {} if axis.values else {NEGATIVE_INFINITY: 0, POSITIVE_INFINITY: size - 1}
            level = beyond.get(place, place)
            if not 0 <= level < size:
                return None
            cell = cell * size + level
        return None if wrong < 0 else 2 * cell + wrong

    return Asked(Question(spec.name, (*codes, wrong), "label"), bin_of, (*(a.column for a in spec.axes), *both))


def _corner(spec: SignalSpec, of: Corner) -> Asked:
    """The corner a vector lies in; one that is not finite is in none."""
    codes = tuple(Bins(length, (cut,)) for length, cut in zip(of.lengths, of.cuts, strict=True))

    def bin_of(codes: tuple[int, ...]) -> int | None:
        if min(codes) < 0:
            return None
        return sum(code << place for place, code in enumerate(reversed(codes)))

    return Asked(Question(spec.name, codes), bin_of, (spec.column,), wanted="vectors of the baseline's length")


def _flag(question: Question, columns: tuple[str, ...]) -> Asked:
    return Asked(question, lambda codes: codes[0] if codes[0] >= 0 else None, columns)


def _listed(spec: SignalSpec) -> Asked:
    of = spec.of if isinstance(spec.of, DrawnToken) else Text(spec.column)
    question = Question(spec.name, (Values(of, spec.values),))
    return Asked(question, lambda codes: codes[0] if codes[0] >= 0 else None, (spec.column,))


def _binned(spec: SignalSpec, of: Quantity, clock: str, columns: tuple[str, ...]) -> Asked:
    """Bins of a number; infinities are in the outer bins. A rate asks "above the edge" or "outside the edges"."""
    question = Question(spec.name, (Bins(of, spec.edges),), "label" if clock == "label" else "time")
    last = len(spec.edges)

    def bin_of(codes: tuple[int, ...]) -> int | None:
        place = {NEGATIVE_INFINITY: 0, POSITIVE_INFINITY: last}.get(codes[0], codes[0])
        if place < 0:
            return None
        if spec.kind == "ordered":
            return place
        return int(place == last) if last == 1 else int(place in {0, last})

    return Asked(question, bin_of, columns)


def _is_absent(codes: tuple[int, ...]) -> int | None:
    return int(codes[0] in ABSENT)


def _is_infinite(codes: tuple[int, ...]) -> int | None:
    return None if codes[0] in ABSENT else int(codes[0] in {NEGATIVE_INFINITY, POSITIVE_INFINITY})
