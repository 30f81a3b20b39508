"""How well numbers and scores predict: regressions, ranked lists, and scores of a class. All of it as sums of counts.

The area under the ROC curve is no sum: it is made of pairs of rows. Two things that are sums tell what it tells. Where
the positives' scores lie, and where the negatives' do, in the baseline's bins: with F the baseline's distribution of
scores, the mean of F over positives less that over negatives is AUC - 1/2 (each mean is an average of placement values;
Hanley, Hajian-Tilaki 1997). And which share of the rows of each tenth of the scores is positive: calibration, which
holds while inputs move lawfully and breaks when a score no longer means what it meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import sqrt
from typing import Final

import numpy as np

from assay.engines.base import Profile, Quantity, Text
from assay.engines.made import Difference, OfQuery, QueryWord
from assay.errors import BaselineError
from assay.inference.natural import Floats
from assay.monitoring.bins import edges_of, middle
from assay.monitoring.schema import PredictionSchema
from assay.monitoring.signals import SignalSpec

FIGURES: Final[tuple[QueryWord, ...]] = ("ndcg", "mrr")
POSITIVE: Final = ("1", "true", "True", "TRUE", "yes", "y", "positive")
"""Labels that stand for what a score is high for, when none is declared."""
TENTHS: Final = range(1, 18, 2)
"""Places of the tenths among the twentieths that numbers are asked for."""
POSITIVES: Final = "ranking:positives"
NEGATIVES: Final = "ranking:negatives"

_LARGEST: Final = 1e308


def of_query(schema: PredictionSchema, figure: QueryWord) -> OfQuery | None:
    """A figure of ranked lists; None where no query or label is declared."""
    if schema.query is None or schema.label is None:
        return None
    return OfQuery(schema.query, schema.prediction, schema.label, figure, schema.time, schema.label_time)


def quantities(schema: PredictionSchema, task: str, columns: Mapping[str, object]) -> dict[str, Quantity | Text]:
    """What must be known of the answers of a task that is no classification, by name.

    Args:
        schema: What the columns mean.
        task: ``regression``, ``ranking`` or ``binary``.
        columns: The columns there are.
    """
    if schema.label not in columns or schema.label is None or schema.prediction not in columns:
        return {}
    if task == "regression":
        return {"residual": Difference(schema.label, schema.prediction)}
    if task == "binary":
        return {"label": Text(schema.label)}
    came = schema.label_time is None or schema.label_time in columns
    asked = {figure: of_query(schema, figure) for figure in FIGURES if schema.query in columns and came}
    return {figure: of for figure, of in asked.items() if of is not None}


def residuals(schema: PredictionSchema, known: Mapping[str, Profile]) -> Iterator[SignalSpec]:
    """What a regression misses by, with its sign: overall and in each value of each slice."""
    edges = edges_of(known["residual"]) if "residual" in known else ()
    if not edges:
        return
    span = middle(known["residual"])
    tolerance = schema.tolerance if span is not None else None
    label = schema.label or ""
    yield SignalSpec("residual", "errors", "ordered", label, edges=edges, span=span, tolerance=tolerance)
    for column in schema.slices:
        profile = known.get(f"slice {column}")
        for value, rows in profile.top if profile is not None else ():
            if rows >= 2 * len(edges):  # a few rows a bin, or there is nothing to know
                yield SignalSpec(
                    f"residual:slice:{column}={value}",
                    "slices",
                    "ordered",
                    column,
                    edges=edges,
                    values=(value,),
                    slice={column: value},
                    span=span,
                    tolerance=tolerance,
                )


def rankings(schema: PredictionSchema, known: Mapping[str, Profile]) -> Iterator[SignalSpec]:
    """NDCG and reciprocal rank of the queries: means between 0 and 1, and how they are spread."""
    for figure in FIGURES:
        edges = edges_of(known[figure], low=0.0, high=1.0) if figure in known else ()
        if edges:
            yield SignalSpec(
                figure, "errors", "ordered", schema.label or "", edges=edges, sides="down", span=(0.0, 1.0)
            )


def binaries(schema: PredictionSchema, known: Mapping[str, Profile]) -> Iterator[SignalSpec]:
    """Where positives and negatives score, and what share of each tenth of the scores is positive.

    Raises:
        BaselineError: When there are not two labels, or none says which is positive.
    """
    if "label" not in known or not known["label"].distinct:
        return
    label, scores = schema.label or "", known["prediction"]
    positive = _positive(schema, known["label"], label)
    edges = edges_of(scores)
    yield SignalSpec(
        POSITIVES, "errors", "ordered", label, edges=edges, values=(positive,), sides="down", span=middle(scores)
    )
    yield SignalSpec(
        NEGATIVES, "errors", "ordered", label, edges=edges, values=(positive,), sides="up", span=middle(scores)
    )
    inner = sorted({scores.quantiles[place] for place in TENTHS if place < len(scores.quantiles)})
    ends = (-_LARGEST, *(end for end in inner if abs(end) < _LARGEST), _LARGEST)
    for low, high in pairwise(ends):
        where = f"<={high:.6g}" if high < _LARGEST else f">{low:.6g}"
        yield SignalSpec(f"calibration:{where}", "errors", "rate", label, edges=(low, high), values=(positive,))


def _positive(schema: PredictionSchema, profile: Profile, label: str) -> str:
    found = [value for value, _ in profile.top]
    if profile.distinct != 2:  # noqa: PLR2004 - positive and negative
        raise BaselineError(f"column {label!r} has {profile.distinct} labels in the reference, 2 are wanted")
    if schema.positive is not None:
        if schema.positive not in found:
            raise BaselineError(f"column {label!r} never says what is declared as positive in the reference")
        return schema.positive
    told = [value for value in POSITIVE if value in found]
    if len(told) != 1:
        raise BaselineError(f"which label of {label!r} is positive? say it: positive = …")
    return told[0]


def area(positives: Floats, negatives: Floats) -> tuple[float, float, float] | None:
    """The area under the ROC curve of one window and its 95 % interval, from counts in the same bins.

    Rows of one bin count half. None without positives or negatives.

    Args:
        positives: Rows per bin, (B,).
        negatives: Rows per bin, (B,).

    References:
        Hanley, J. A. and McNeil, B. J. (1982). The meaning and use of the area under a ROC curve. Radiology 143, 29-36.
    """
    most, fewest = float(positives.sum()), float(negatives.sum())
    if not most or not fewest:
        return None
    below = np.cumsum(negatives) - negatives / 2
    value = float(positives @ below) / (most * fewest)
    one, both = value / (2 - value), 2 * value**2 / (1 + value)
    spread = value * (1 - value) + (most - 1) * (one - value**2) + (fewest - 1) * (both - value**2)
    half = 1.959963984540054 * sqrt(max(spread, 0.0) / (most * fewest))
    return value, max(0.0, value - half), min(1.0, value + half)
