"""What models answer, brought into one form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from assay.errors import LoadError
from assay.frameworks.base import Prediction

if TYPE_CHECKING:
    import numpy as np


def labelled(labels: np.ndarray) -> np.ndarray:
    """Labels as one dimension; a single column counts as one."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels  # noqa: PLR2004


def from_probabilities(labels: np.ndarray, scores: np.ndarray, classes: Sequence[object]) -> Prediction:
    """Labels with the probability of each class.

    The confidence is the probability of the label the model answered with, which need not be the
    largest one; NaN where the label is none of the classes.

    Args:
        labels: Shape (rows,).
        scores: Probabilities, shape (rows, classes), each 0 to 1.
        classes: The class of each column.
    """
    import numpy as np

    if scores.ndim != 2 or scores.shape[1] != len(classes):  # noqa: PLR2004
        raise LoadError(f"the model gives probabilities of shape {scores.shape} for {len(classes)} classes")
    column = {label: index for index, label in enumerate(classes)}
    places = np.array([column.get(label, -1) for label in labels.tolist()], dtype=np.intp)
    confidence = np.full(len(labels), np.nan)
    known = places >= 0
    confidence[known] = scores[np.flatnonzero(known), places[known]]
    return Prediction(labels, confidence, scores, tuple(classes))


def from_scores(scores: np.ndarray, classes: Sequence[object] | None) -> Prediction:
    """A bare matrix of scores: the best column is the label.

    They count as probabilities, and give a confidence, only when every row is a distribution.

    Args:
        scores: Shape (rows,) or (rows, 1) are numbers a regression answers; else (rows, classes).
        classes: The class of each column; None names them 0, 1, 2 ...
    """
    import numpy as np

    if scores.ndim == 1 or (scores.ndim == 2 and scores.shape[1] == 1):  # noqa: PLR2004
        return Prediction(labelled(scores))
    if scores.ndim != 2:  # noqa: PLR2004
        raise LoadError(f"the model answered with shape {scores.shape}; one row of scores for each row is wanted")
    named = tuple(range(scores.shape[1])) if classes is None else tuple(classes)
    if len(named) != scores.shape[1]:
        raise LoadError(f"the model gives {scores.shape[1]} scores a row for {len(named)} classes")
    best = scores.argmax(axis=1)
    labels = np.asarray(named)[best]
    # 1e-3: the rounding of a softmax over thousands of classes in 32 bits stays far below it.
    distribution = bool((scores >= 0).all() and (np.abs(scores.sum(axis=1) - 1) < 1e-3).all())  # noqa: PLR2004
    confidence = scores[np.arange(len(best)), best] if distribution else None
    return Prediction(labels, confidence, scores, named)


def of_yes(probabilities: np.ndarray) -> Prediction:
    """Probabilities of class 1 of the classes 0 and 1: the likelier is the label, 0 at one half.

    Args:
        probabilities: Shape (rows,), each 0 to 1.
    """
    import numpy as np

    if probabilities.ndim != 1:
        raise LoadError(f"the model answered with shape {probabilities.shape}; one probability for each row is wanted")
    return from_probabilities(
        (probabilities > 0.5).astype(np.int64),  # noqa: PLR2004
        np.column_stack([1 - probabilities, probabilities]),
        (0, 1),
    )
