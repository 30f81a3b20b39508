from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from assay.errors import LoadError
from assay.frameworks.answers import from_probabilities, from_scores
from assay.frameworks.base import Prediction
from assay.frameworks.columns import matrix

LABELS = np.array([0, 1])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Prediction(np.zeros((2, 2))), "one label a row"),
        (lambda: Prediction(LABELS, np.zeros(3)), "do not belong together"),
        (lambda: Prediction(LABELS, None, np.zeros((3, 2))), "do not belong together"),
        (lambda: Prediction(LABELS, None, np.zeros(2)), "do not belong together"),
        (lambda: Prediction(LABELS, None, np.zeros((2, 2)), (0,)), "1 classes need one column"),
        (lambda: Prediction(LABELS, None, None, (0, 1)), "2 classes need one column"),
        (lambda: from_probabilities(LABELS, np.zeros((2, 3)), [0, 1]), "for 2 classes"),
        (lambda: from_probabilities(LABELS, np.zeros(2), [0, 1]), "for 2 classes"),
        (lambda: from_scores(np.zeros((2, 2, 2)), None), "one row of scores"),
        (lambda: from_scores(np.zeros((2, 2)), ["a"]), "2 scores a row for 1 classes"),
    ],
)
def test_answers_that_do_not_fit_the_rows_are_refused(make: Callable[[], Prediction], words: str) -> None:
    with pytest.raises(LoadError, match=words):
        make()


def test_the_confidence_is_that_of_the_label_not_the_largest() -> None:
    found = from_probabilities(np.array(["a", "b", "c"]), np.array([[0.2, 0.8]] * 3), ["a", "b"])
    assert found.confidence is not None
    assert np.array_equal(found.confidence, [0.2, 0.8, np.nan], equal_nan=True)


def test_the_best_column_names_the_label() -> None:
    assert from_scores(np.array([[0.1, 0.9]]), ["no", "yes"]).labels.tolist() == ["yes"]
    assert from_scores(np.array([[3.5], [1.0]]), None).labels.tolist() == [3.5, 1.0]
    assert from_scores(np.array([2.0, 3.0]), None).labels.tolist() == [2.0, 3.0]


def test_negative_scores_that_sum_to_one_are_no_probabilities() -> None:
    assert from_scores(np.array([[-1.0, 2.0]]), None).confidence is None


def test_nulls_are_nan_among_numbers_and_none_among_texts() -> None:
    numbers = matrix(pa.table({"a": [1, None], "b": [True, None], "c": [0.5, None]}))
    assert numbers.dtype == np.float64
    assert np.isnan(numbers[1]).all()
    assert matrix(pa.table({"a": [1, None], "b": ["x", None]})).tolist() == [[1, "x"], [None, None]]
