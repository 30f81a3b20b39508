"""The learners a diagnosis fits for itself; the only file of this folder that imports scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import MissingExtraError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

TREES = 60
FOLDS = 3
TREES_PER_FOLD = 30  # three folds: 90 trees vote over the rows, at a third of the cost of three full forests


class Forest:
    """A forest of extremely randomised trees on class codes: a stand-in that needs no tuning.

    Args:
        leaf: Fewest rows in a leaf; 1 to predict well, 5 and more for smooth probabilities.
        seed: Seed of the trees.
        trees: How many trees.

    References:
        Geurts, P., Ernst, D., Wehenkel, L. (2006). Extremely randomized trees. Machine Learning 63, 3-42.
    """

    def __init__(self, *, leaf: int = 1, seed: int = 0, trees: int = TREES) -> None:
        self._leaf, self._seed, self._trees = leaf, seed, trees
        self._classes = np.zeros(0, dtype=np.int64)
        self._model: Any = None

    def fit(self, x: Floats, y: Ints) -> Forest:
        """Learn the class codes ``y`` (n,) from ``x`` (n, d); one class alone is learned as a constant."""
        try:
            from sklearn.ensemble import ExtraTreesClassifier
        except ImportError as err:
            raise MissingExtraError("diagnosis", "monitor") from err
        self._classes = np.unique(y)
        self._model = None
        if len(self._classes) > 1:
            self._model = ExtraTreesClassifier(
                n_estimators=self._trees, min_samples_leaf=self._leaf, random_state=self._seed, n_jobs=1
            ).fit(x, y)
        return self

    def shares(self, x: Floats) -> Floats:
        """Probability of each class of ``classes``, shape (n, number of classes)."""
        if self._model is None:
            return np.ones((len(x), 1))
        return np.asarray(self._model.predict_proba(x), dtype=np.float64)

    def predict(self, x: Floats) -> Ints:
        """The likeliest class code of each row."""
        if not len(x):
            return np.zeros(0, dtype=np.int64)
        return np.asarray(self._classes[self.shares(x).argmax(axis=1)], dtype=np.int64)


class Linear:
    """A linear stand-in on class codes, columns brought to one scale: what a forest imitates badly, it imitates well.

    Args:
        rounds: Most steps of the fit.

    References:
        Cox, D. R. (1958). The regression analysis of binary sequences. Journal of the Royal Statistical
        Society B 20, 215-242.
    """

    def __init__(self, *, rounds: int = 60) -> None:
        self._rounds = rounds
        self._classes = np.zeros(0, dtype=np.int64)
        self._middle, self._spread = np.zeros(0), np.ones(0)
        self._model: Any = None

    def fit(self, x: Floats, y: Ints) -> Linear:
        """Learn the class codes ``y`` (n,) from ``x`` (n, d); one class alone is learned as a constant."""
        import warnings

        try:
            from sklearn.exceptions import ConvergenceWarning
            from sklearn.linear_model import LogisticRegression
        except ImportError as err:
            raise MissingExtraError("diagnosis", "monitor") from err
        self._classes = np.unique(y)
        self._middle, spread = x.mean(axis=0), x.std(axis=0)
        self._spread = np.where(spread > 0, spread, np.inf)
        self._model = None
        if len(self._classes) > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # an unfinished fit is judged like any other
                self._model = LogisticRegression(max_iter=self._rounds).fit(self._scaled(x), y)
        return self

    def predict(self, x: Floats) -> Ints:
        """The likeliest class code of each row."""
        if self._model is None or not len(x):
            return np.full(len(x), self._classes[0] if len(self._classes) else 0, dtype=np.int64)
        return np.asarray(self._model.predict(self._scaled(x)), dtype=np.int64)

    def _scaled(self, x: Floats) -> Floats:
        # Far beyond what was seen a straight line goes on for ever; the world does not.
        return np.asarray(np.clip((x - self._middle) / self._spread, -5.0, 5.0), dtype=np.float64)


def imitate(x: Floats, y: Ints, *, seed: int) -> tuple[Forest | Linear, Ints]:
    """The better of a forest and a linear learner at rows it has not seen, and what it says of each such row."""
    forest = out_of_fold(x, y, seed=seed)
    linear, fold = np.zeros(len(y), dtype=np.int64), folds(y, FOLDS, seed)
    for i in range(FOLDS):
        inside = fold == i
        if inside.any() and not inside.all():
            linear[inside] = Linear().fit(x[~inside], y[~inside]).predict(x[inside])
    if (linear != y).sum() < (forest != y).sum():
        return Linear().fit(x, y), linear
    return Forest(seed=seed).fit(x, y), forest


def folds(y: Ints, k: int, seed: int) -> Ints:
    """A fold number in [0, k) for each row, every class spread evenly over the folds."""
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(y)), y))
    fold = np.empty(len(y), dtype=np.int64)
    fold[order] = np.arange(len(y)) % k
    return fold


def out_of_fold(x: Floats, y: Ints, *, seed: int, k: int = 3, leaf: int = 1) -> Ints:
    """Class of each row predicted by a forest that has not seen that row's fold."""
    answer = np.zeros(len(y), dtype=np.int64)
    fold = folds(y, k, seed)
    for i in range(k):
        inside = fold == i
        if inside.any() and not inside.all():
            answer[inside] = (
                Forest(leaf=leaf, seed=seed + i, trees=TREES_PER_FOLD).fit(x[~inside], y[~inside]).predict(x[inside])
            )
    return answer


def out_of_fold_share(x: Floats, event: Bools, *, seed: int, k: int = 3, leaf: int = 5, trees: int = 40) -> Floats:
    """Probability of ``event`` of each row, by a forest that has not seen that row's fold."""
    y = event.astype(np.int64)
    share = np.full(len(y), float(event.mean()) if len(y) else 0.0)
    if not 0 < int(event.sum()) < len(y):
        return share
    fold = folds(y, k, seed)
    for i in range(k):
        inside = fold == i
        if len(np.unique(y[~inside])) == 2 and inside.any():  # noqa: PLR2004 - both kinds are there to learn from
            share[inside] = (
                Forest(leaf=leaf, seed=seed + i, trees=trees).fit(x[~inside], y[~inside]).shares(x[inside])[:, 1]
            )
    return share


def auc(score: Floats, event: Bools) -> float:
    """Chance that an event scores higher than a non-event, ties counting half; 0.5 when one kind is absent.

    References:
        Mann, H. B., Whitney, D. R. (1947). On a test of whether one of two random variables is stochastically
        larger than the other. Annals of Mathematical Statistics 18, 50-60.
    """
    m, n = int(event.sum()), int((~event).sum())
    if m == 0 or n == 0:
        return 0.5
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((rank[event].sum() - m * (m + 1) / 2) / (m * n))


class Regions:
    """Regions of the inputs where an event is frequent: the leaves of a shallow tree.

    Args:
        leaves: At most so many regions.
        rows: Fewest rows in a region.
        seed: Seed of the tree's ties.
    """

    def __init__(self, *, leaves: int = 8, rows: int = 20, seed: int = 0) -> None:
        self._leaves, self._rows, self._seed = leaves, rows, seed
        self._tree: Any = None

    def fit(self, x: Floats, event: Floats) -> Regions:
        """Cut the inputs where the mean of ``event`` (n,) differs most."""
        from sklearn.tree import DecisionTreeRegressor

        self._tree = DecisionTreeRegressor(
            max_leaf_nodes=self._leaves, min_samples_leaf=self._rows, random_state=self._seed
        ).fit(x.astype(np.float32), event)
        return self

    def of(self, x: Floats) -> Ints:
        """The region number of each row."""
        return np.asarray(self._tree.apply(x.astype(np.float32)), dtype=np.int64)

    def rule(self, region: int, names: Sequence[str]) -> list[tuple[str, str, float]]:
        """The bounds of a region: (column, "<=" or ">", value), the tightest of each kind."""
        tree = self._tree.tree_
        parent: dict[int, tuple[int, str]] = {}
        for node in range(int(tree.node_count)):
            if tree.children_left[node] >= 0:
                parent[int(tree.children_left[node])] = (node, "<=")
                parent[int(tree.children_right[node])] = (node, ">")
        bounds: dict[tuple[str, str], float] = {}
        node = region
        while node in parent:
            node, side = parent[node]
            # Climbing meets the tightest bound of a kind first.
            bounds.setdefault((names[int(tree.feature[node])], side), float(tree.threshold[node]))
        return [(column, side, value) for (column, side), value in reversed(bounds.items())]
