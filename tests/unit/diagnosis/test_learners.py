from __future__ import annotations

import numpy as np
import pytest

from assay.diagnosis.learners import Forest, Regions, auc, folds, out_of_fold, out_of_fold_share


def test_auc_counts_pairs_and_ties_half() -> None:
    event = np.array([False, True, False, True])
    assert auc(np.array([0.1, 0.9, 0.2, 0.8]), event) == 1.0
    assert auc(np.array([0.1, 0.1, 0.1, 0.1]), event) == 0.5
    assert auc(np.array([0.1, 0.2, 0.3, 0.4]), event) == 0.75
    assert auc(np.array([1.0, 2.0]), np.array([True, True])) == 0.5


def test_folds_hold_every_class_evenly() -> None:
    y = np.array([0] * 30 + [1] * 9)
    fold = folds(y, 3, 0)
    assert np.bincount(fold[y == 1]).tolist() == [3, 3, 3]
    assert np.bincount(fold).tolist() == [13, 13, 13]


def test_a_row_never_teaches_its_own_answer() -> None:
    # Labels are noise: whoever sees its own row is right always, whoever does not half the time.
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 4)), rng.integers(0, 2, 400)
    assert (Forest().fit(x, y).predict(x) == y).mean() == 1.0
    assert (out_of_fold(x, y, seed=0) == y).mean() == pytest.approx(0.5, abs=0.1)  # standard error .025
    assert auc(out_of_fold_share(x, y == 1, seed=0), y == 1) == pytest.approx(0.5, abs=0.12)


def test_one_class_alone_is_learned_as_a_constant() -> None:
    forest = Forest().fit(np.zeros((5, 1)), np.full(5, 3))
    assert forest.predict(np.ones((2, 1))).tolist() == [3, 3]
    assert out_of_fold_share(np.zeros((4, 1)), np.zeros(4, dtype=bool), seed=0).tolist() == [0.0] * 4


def test_a_region_is_told_by_its_bounds() -> None:
    x = np.random.default_rng(1).uniform(size=(500, 3))
    regions = Regions(leaves=2).fit(x, (x[:, 1] > 0.7).astype(float))
    region = int(regions.of(np.array([[0.5, 0.9, 0.5]]))[0])
    ((column, side, value),) = regions.rule(region, ("a", "b", "c"))
    assert (column, side) == ("b", ">")
    assert value == pytest.approx(0.7, abs=0.02)
