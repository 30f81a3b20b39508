"""A data set, a model and a stream of three periods; scenarios change the recent one and register here."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Bools, Data, Floats, Ints, load

from assay.diagnosis.case import ByteFacts, Case
from assay.frameworks.base import Prediction
from assay.monitoring.schema import PredictionSchema

SCHEMA = PredictionSchema(time="ts", prediction="pred", confidence="conf", label="y")
FAMILIES = ("mlp", "logistic", "forest", "boosting")
# Of small sets: rows to train on, rows of the trusted reference; the rest is the pool the stream is drawn from.
SMALL = {"digits": (900, 350), "breast_cancer": (220, 140), "wine": (70, 50)}
SMALL_ROWS = {"digits": (600, 500, 500), "breast_cancer": (300, 300, 300), "wine": (150, 200, 200)}
TRAIN, REFERENCE, WINDOW = 1_500, 1_000, 800
SIZES = (0.5, 1.0, 1.0)
Rows = tuple[Floats, Ints]


class Served:
    """A scikit-learn model that answers tables, as the framework plug does."""

    def __init__(self, model: object, data: Data) -> None:
        self.model, self.data = model, data

    def inputs(self, table: pa.Table) -> Floats:
        """The columns as numbers: text by its code, what is missing as 0."""
        return np.column_stack([self._column(table.column(name), j) for j, name in enumerate(self.data.names)])

    def _column(self, column: pa.ChunkedArray, j: int) -> Floats:
        if j in self.data.words:
            column = pc.index_in(column.cast(pa.string()), pa.array(self.data.words[j]))
        return np.asarray(pc.fill_null(column.cast(pa.float64()), 0.0), dtype=np.float64)

    def predict(self, table: pa.Table) -> Prediction:
        """Answer every row."""
        scores = self.model.predict_proba(self.inputs(table))
        classes = self.model.classes_
        return Prediction(classes[scores.argmax(1)], scores.max(1), scores, tuple(classes.tolist()))


class Altered(Served):
    """Answers that were changed after or inside the model: some rows get another class."""

    def __init__(self, honest: Served, alter: Callable[[Floats, Ints, Floats], Ints]) -> None:
        super().__init__(honest.model, honest.data)
        self.alter = alter

    def predict(self, table: pa.Table) -> Prediction:
        """Answer every row."""
        answer = super().predict(table)
        return Prediction(self.alter(self.inputs(table), answer.labels, answer.scores), answer.confidence)


class Sampling(Served):
    """A model that draws its answer from its own probabilities, anew at every call."""

    def __init__(self, honest: Served, rng: np.random.Generator) -> None:
        super().__init__(honest.model, honest.data)
        self.rng = rng

    def predict(self, table: pa.Table) -> Prediction:
        """Answer every row."""
        answer = super().predict(table)
        at = (answer.scores.cumsum(axis=1) < self.rng.random((len(answer.labels), 1))).sum(axis=1)
        at = np.minimum(at, answer.scores.shape[1] - 1)
        return Prediction(np.asarray(answer.classes)[at], answer.scores[np.arange(len(at)), at])


@cache
def fitted(family: str, name: str, seed: int) -> tuple[Served, Rows, Rows, Rows]:
    """The model of a data set and a seed, and its training rows, trusted rows and pool."""
    data = load(name)
    order = np.random.default_rng([seed, sum(map(ord, name))]).permutation(len(data.y))
    a, b = SMALL.get(name, (min(TRAIN, len(order) // 3), min(REFERENCE, len(order) // 4)))
    train, trusted, pool = ((data.x[rows], data.y[rows]) for rows in (order[:a], order[a : a + b], order[a + b :]))
    return Served(fit(family, *train, seed=seed), data), train, trusted, pool


def fit(family: str, x: Floats, y: Ints, *, seed: int) -> object:
    """A fitted model of a family."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    makers = {
        "mlp": lambda: make_pipeline(StandardScaler(), MLPClassifier((48,), max_iter=100, random_state=seed)),
        "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)),
        "forest": lambda: RandomForestClassifier(60, random_state=seed),
        "boosting": lambda: HistGradientBoostingClassifier(max_iter=30, random_state=seed),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return makers[family]().fit(x, y)


class World:
    """A data set split for one seed: training rows and a pool to draw the stream from."""

    def __init__(self, name: str, family: str, seed: int, salt: int) -> None:
        self.name, self.family, self.seed = name, family, seed
        self.data = load(name)
        self.rng = np.random.default_rng([seed, salt, sum(map(ord, name + family))])
        self.model, self.train, self.trusted, self.pool = fitted(family, name, seed)
        self.k, self.side, self.names = int(self.data.y.max()) + 1, self.data.side, list(self.data.names)
        self.spread = self.data.x.std(axis=0)
        self.left = self.rng.permutation(len(self.pool[1]))

    @cached_property
    def importance(self) -> Ints:
        """Number columns, those whose class means differ most first."""
        x, y = self.train
        means = np.array([x[y == c].mean(axis=0) for c in np.unique(y)])
        order = np.argsort(-means.std(axis=0) / (x.std(axis=0) + 1e-9))
        return order[np.isin(order, self.data.numbers)]

    @cached_property
    def varied(self) -> Ints:
        """The first six number columns, by importance, whose values spread out: they can cut the inputs in parts."""
        low, high = np.quantile(self.train[0], [0.2, 0.8], axis=0)
        return np.array([j for j in self.importance if low[j] < high[j]])[:6]

    def draw(self, source: Rows, n: int, weight: Floats | None = None) -> Rows:
        """Rows of a small set again and again, each a little different; of a large one each row once."""
        x, y = source
        share = None if weight is None else weight / weight.sum()
        if not self.data.small:
            rows = self.rng.choice(len(x), size=min(n, len(x)), replace=False, p=share)
            return x[rows], y[rows]
        rows = self.rng.choice(len(x), size=n, p=share)
        jitter = self.rng.normal(size=(n, x.shape[1])) * 0.08 * self.spread
        if self.side:
            return np.clip(np.round(x[rows] + 4 * jitter), 0, 16) * (self.spread > 0), y[rows]
        return x[rows] + jitter, y[rows]

    def fresh(self, n: int) -> Rows:
        """Rows of the pool that no other period holds (of a small set: drawn again)."""
        if self.data.small:
            return self.draw(self.pool, n)
        rows, self.left = self.left[:n], self.left[n:]
        return self.pool[0][rows], self.pool[1][rows]


@dataclass
class Stream:
    """What a scenario may change of the recent period.

    Attributes:
        x: Inputs as the model gets them.
        y: Labels.
        served: What answers now.
        model: What answered before.
        known_good: The verified copy.
        before: Rows from before the change, where the scenario chooses them.
        logged: Inputs as the log holds them, when that differs from ``x``; NaN is null.
        unlabelled: Rows whose label has not come yet.
    """

    x: Floats
    y: Ints
    served: Served
    model: Served
    known_good: Served
    before: Rows | None = None
    logged: Floats | None = None
    unlabelled: Bools | None = None


Scenario = Callable[[World, Stream], Stream]
SCENARIOS: dict[str, tuple[Scenario, tuple[str, ...]]] = {}


def scenario(*right: str) -> Callable[[Scenario], Scenario]:
    """Register a scenario with the verdicts that count as right, the first being what it is fitted as."""

    def register(function: Scenario) -> Scenario:
        SCENARIOS[function.__name__] = (function, right)
        return function

    return register


def make(name: str, dataset: str, family: str, seed: int) -> tuple[Case, World]:
    """The case a scenario makes; the same arguments make the same case."""
    world = World(dataset, family, seed, list(SCENARIOS).index(name))
    sizes = SMALL_ROWS.get(dataset, (REFERENCE, WINDOW, WINDOW))
    size = world.rng.choice(SIZES)
    reference = world.draw(world.trusted, sizes[0])
    before = world.fresh(int(sizes[1] * size))
    x, y = world.fresh(int(sizes[2] * size))
    stream = SCENARIOS[name][0](world, Stream(x, y, world.model, world.model, world.model, before))
    recent = table(stream.x, stream.y, stream.served, 20_000, logged=stream.logged, unlabelled=stream.unlabelled)
    case = Case(
        schema=SCHEMA,
        reference=table(*reference, stream.model, 0),
        before=table(*(stream.before or before), stream.model, 10_000),
        recent=recent,
        known_good=stream.known_good,
        bytes=ByteFacts(recorded_root="r" * 64, live_root="r" * 64, live_signed=True),
        key=b"benchmark",
    )
    return case, world


def table(
    x: Floats,
    y: Ints,
    model: Served,
    start: int,
    *,
    logged: Floats | None = None,
    unlabelled: Bools | None = None,
) -> pa.Table:
    """Rows as they are logged, one a minute."""
    answer = model.predict(pa.table(columns_of(x, model.data)))
    columns = columns_of(x if logged is None else logged, model.data)
    ts = np.datetime64("2026-01-01T00:00:00", "us") + (start + np.arange(len(y))) * np.timedelta64(60_000_000, "us")
    labels = pa.array(y, mask=unlabelled)
    return pa.table({"ts": ts, **columns, "pred": answer.labels, "conf": answer.confidence, "y": labels})


def columns_of(x: Floats, data: Data) -> dict[str, pa.Array]:
    """Inputs as the log's columns: codes as their text, NaN as null."""
    columns = {}
    for j, name in enumerate(data.names):
        values = pa.array(x[:, j], from_pandas=True)
        if j in data.words:
            values = pa.array(data.words[j]).take(values.cast(pa.int64()))
        columns[name] = values
    return columns
