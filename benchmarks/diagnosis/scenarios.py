"""Scenarios with a known cause, made from real data that ship with scikit-learn.

Each makes a stream of three periods (reference, before, recent) out of held-out rows, with the cause
applied to the recent rows only, and says which verdicts count as right (the table of the design).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from assay.diagnosis.case import ByteFacts, Case
from assay.frameworks.base import Prediction
from assay.monitoring.schema import PredictionSchema

SCHEMA = PredictionSchema(time="ts", prediction="pred", confidence="conf", label="y")
DATASETS = {"digits": load_digits, "breast_cancer": load_breast_cancer, "wine": load_wine}
FAMILIES = ("mlp", "logistic", "forest", "boosting")
ROWS = {"digits": (600, 500, 500), "breast_cancer": (300, 300, 300), "wine": (150, 200, 200)}


class Served:
    """A scikit-learn model that answers tables, as the framework plug does."""

    def __init__(self, model: object, names: list[str]) -> None:
        self.model, self.names = model, names

    def predict(self, table: pa.Table) -> Prediction:
        """Answer every row."""
        x = np.column_stack([table.column(name).to_numpy() for name in self.names])
        scores = self.model.predict_proba(x)
        classes = self.model.classes_
        return Prediction(classes[scores.argmax(1)], scores.max(1), scores, tuple(classes.tolist()))


class Altered(Served):
    """Answers that were changed after or inside the model: some rows get another class."""

    def __init__(self, honest: Served, alter: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> None:
        super().__init__(honest.model, honest.names)
        self.alter = alter

    def predict(self, table: pa.Table) -> Prediction:
        """Answer every row."""
        answer = super().predict(table)
        x = np.column_stack([table.column(name).to_numpy() for name in self.names])
        return Prediction(self.alter(x, answer.labels, answer.scores), answer.confidence)


@dataclass
class World:
    """A data set split for one seed: training rows and a pool to draw the stream from."""

    name: str
    family: str
    seed: int
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        data = DATASETS[self.name]()
        x, y = np.asarray(data.data, dtype=float), np.asarray(data.target)
        self.rng = np.random.default_rng([self.seed, sum(map(ord, self.name + self.family))])
        self.names = [f"x{j}" for j in range(x.shape[1])]
        order = self.rng.permutation(len(x))
        part = {"digits": (900, 350), "breast_cancer": (220, 140), "wine": (70, 50)}[self.name]
        a, b = part[0], part[0] + part[1]
        self.train = x[order[:a]], y[order[:a]]
        self.trusted = x[order[a:b]], y[order[a:b]]
        self.pool = x[order[b:]], y[order[b:]]
        self.k, self.spread = int(y.max()) + 1, x.std(axis=0)
        self.discrete = self.name == "digits"
        self.model = Served(fit(self.family, *self.train, seed=self.seed), self.names)
        self.importance = np.argsort(-mutual(*self.train))

    def draw(
        self, source: tuple[np.ndarray, np.ndarray], n: int, weight: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows drawn again and again, each a little different (a smoothed bootstrap)."""
        x, y = source
        rows = self.rng.choice(len(x), size=n, p=None if weight is None else weight / weight.sum())
        jitter = self.rng.normal(size=(n, x.shape[1])) * 0.08 * self.spread
        if self.discrete:
            out = np.clip(np.round(x[rows] + 4 * jitter), 0, 16) * (self.spread > 0)
            return out, y[rows]
        return x[rows] + jitter, y[rows]


def fit(family: str, x: np.ndarray, y: np.ndarray, *, seed: int) -> object:
    """A fitted model of a family."""
    makers = {
        "mlp": lambda: make_pipeline(StandardScaler(), MLPClassifier((48,), max_iter=250, random_state=seed)),
        "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
        "forest": lambda: RandomForestClassifier(80, random_state=seed),
        "boosting": lambda: HistGradientBoostingClassifier(max_iter=40, random_state=seed),
    }
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return makers[family]().fit(x, y)


def mutual(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How much the class means differ, per column, in spreads."""
    means = np.array([x[y == c].mean(axis=0) for c in np.unique(y)])
    return means.std(axis=0) / (x.std(axis=0) + 1e-9)


@dataclass
class Stream:
    """What a scenario may change of the recent period."""

    x: np.ndarray
    y: np.ndarray
    served: Served
    model: Served
    known_good: Served
    before: tuple[np.ndarray, np.ndarray] | None = None
    logged: np.ndarray | None = None
    train: tuple[np.ndarray, np.ndarray] | None = None


Scenario = Callable[[World, Stream], Stream]
SCENARIOS: dict[str, tuple[Scenario, tuple[str, ...]]] = {}


def scenario(*right: str) -> Callable[[Scenario], Scenario]:
    """Register a scenario with the verdicts that count as right, the first being what it is fitted as."""

    def register(function: Scenario) -> Scenario:
        SCENARIOS[function.__name__] = (function, right)
        return function

    return register


@scenario("intact")
def no_change(_world: World, stream: Stream) -> Stream:
    """Nothing happens."""
    return stream


@scenario("intact")
def no_change_again(_world: World, stream: Stream) -> Stream:
    """A second helping: small windows differ by chance."""
    return stream


def drifted(world: World, x: np.ndarray, amount: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
    """Inputs moved as the world moves them, by ``amount`` (n, 1): images slide and blur, measures shift in spreads."""
    if world.discrete:
        image = x.reshape(-1, 8, 8)
        down, right = [(0, 1), (1, 0), (-1, 0), (0, -1)][world.rng.integers(4)]
        slid = np.roll(image, (down, right), axis=(1, 2)).reshape(x.shape)
        return np.clip(np.round((1 - 0.6 * amount) * x + 0.6 * amount * slid), 0, 16)
    move = world.rng.normal(size=x.shape[1]) * world.spread
    if columns is not None:
        move[np.setdiff1d(np.arange(x.shape[1]), columns)] = 0.0
    return x + amount * move


def mix(world: World, y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """A new relation: each class means the next one."""
    return np.where(rows, (y + 1) % world.k, y)


@scenario("concept-drift")
def concept_gradual(world: World, stream: Stream) -> Stream:
    """One half of the inputs slowly takes on a new meaning."""
    ramp = np.linspace(0.1, 1.0, len(stream.y))
    side = stream.x[:, world.importance[1]] > np.median(world.pool[0][:, world.importance[1]])
    stream.y = mix(world, stream.y, side & (world.rng.random(len(ramp)) < ramp))
    return stream


@scenario("concept-drift")
def concept_sudden(world: World, stream: Stream) -> Stream:
    """A large part of the inputs means something else from one moment to the next."""
    column = world.importance[world.rng.integers(0, 4)]
    side = stream.x[:, column] > np.quantile(world.pool[0][:, column], 0.4)
    stream.y = mix(world, stream.y, side)
    return stream


@scenario("concept-drift")
def concept_global(world: World, stream: Stream) -> Stream:
    """Two classes trade places almost everywhere, as growth moves a threshold."""
    a, b = world.rng.permutation(world.k)[:2]
    share = world.rng.uniform(0.8, 1.0)
    one_way = world.rng.random() < 0.5
    move = world.rng.random(len(stream.y)) < share
    y = stream.y.copy()
    stream.y = np.where((y == a) & move, b, np.where((y == b) & move & (not one_way), a, y))
    return stream


@scenario("concept-drift")
def concept_threshold(world: World, stream: Stream) -> Stream:
    """More and more cases count as the next class: the nearer to it, the sooner."""
    scores = world.model.model.predict_proba(stream.x)
    target = int(world.rng.integers(world.k))
    near = scores[:, target] + 1e-3 * world.rng.random(len(stream.y))
    stream.y = np.where(near >= np.quantile(near[stream.y != target], world.rng.uniform(0.5, 0.8)), target, stream.y)
    return stream


@scenario("concept-drift")
def concept_local(world: World, stream: Stream) -> Stream:
    """A fifth of the inputs means something else."""
    column = world.importance[world.rng.integers(0, 6)]
    low = stream.x[:, column] <= np.quantile(world.pool[0][:, column], 0.2)
    stream.y = mix(world, stream.y, low)
    return stream


@scenario("covariate-drift")
def covariate_shift(world: World, stream: Stream) -> Stream:
    """A third of the columns moves (images slide)."""
    columns = world.importance[: max(3, len(world.names) // 3)]
    stream.x = drifted(world, stream.x, np.full((len(stream.x), 1), 0.9), columns)
    return stream


@scenario("covariate-drift")
def covariate_gradual(world: World, stream: Stream) -> Stream:
    """The inputs move bit by bit."""
    stream.x = drifted(world, stream.x, np.linspace(0.1, 1.0, len(stream.x))[:, None])
    return stream


@scenario("covariate-drift", "intact")
def seasonal_return(world: World, stream: Stream) -> Stream:
    """The recent rows are a known part of what the reference holds: moved, not new."""
    column = world.importance[world.rng.integers(0, 5)]
    x, _ = world.pool
    rows = x[:, column] > np.quantile(x[:, column], 0.5)
    stream.x, stream.y = world.draw((world.pool[0][rows], world.pool[1][rows]), len(stream.y))
    stream.before = world.draw((world.pool[0][~rows], world.pool[1][~rows]), len(stream.y))
    return stream


@scenario("covariate-drift", "concept-drift")
def class_prior_shift(world: World, stream: Stream) -> Stream:
    """One class becomes six times as frequent."""
    weight = np.where(world.pool[1] == world.rng.integers(world.k), 6.0, 1.0)
    stream.x, stream.y = world.draw(world.pool, len(stream.y), weight)
    return stream


@scenario("covariate-drift")
def one_class_degrades(world: World, stream: Stream) -> Stream:
    """The inputs of one class move."""
    rows = stream.y == world.rng.integers(world.k)
    stream.x = drifted(world, stream.x, rows[:, None] * 1.2)
    return stream


def top(world: World, k: int) -> np.ndarray:
    """Some of the columns that matter."""
    return world.importance[: max(8, k)][world.rng.permutation(min(len(world.importance), max(8, k)))[:k]]


@scenario("data-fault")
def column_constant(world: World, stream: Stream) -> Stream:
    """Columns are stuck."""
    columns = top(world, 1 + len(world.names) // 12)
    stream.x = stream.x.copy()
    stream.x[:, columns] = 0.0 if world.rng.random() < 0.5 else np.median(world.train[0][:, columns], axis=0)
    return stream


@scenario("data-fault")
def column_rescaled(world: World, stream: Stream) -> Stream:
    """Columns come in another unit."""
    columns = top(world, 1 + len(world.names) // 15)
    stream.x = stream.x.copy()
    stream.x[:, columns] *= world.rng.choice([0.001, 0.1, 0.3048, 2.2, 10.0, 1000.0])
    return stream


@scenario("data-fault")
def columns_swapped(world: World, stream: Stream) -> Stream:
    """Two pairs of columns are exchanged."""
    a, b = world.importance[0], world.importance[-1 if not world.discrete else 1]
    others = world.rng.permutation(world.importance[: len(world.names) // 2])[:2]
    stream.x = stream.x.copy()
    stream.x[:, [a, b]] = stream.x[:, [b, a]]
    stream.x[:, others] = stream.x[:, others[::-1]]
    return stream


@scenario("data-fault")
def columns_rotated(_world: World, stream: Stream) -> Stream:
    """Every column holds what its neighbour held."""
    stream.x = np.roll(stream.x, -1, axis=1)
    return stream


@scenario("data-fault")
def column_nulls(world: World, stream: Stream) -> Stream:
    """Half of the values are gone; the model is given zeros."""
    columns = top(world, 1 + len(world.names) // 12)
    stream.x = stream.x.copy()
    stream.logged = stream.x.copy()
    holes = world.rng.random((len(stream.x), len(columns))) < 0.5
    for i, column in enumerate(columns):
        stream.logged[holes[:, i], column] = np.nan
        stream.x[holes[:, i], column] = 0.0
    return stream


@scenario("data-fault")
def label_noise(world: World, stream: Stream) -> Stream:
    """A share of the labels is wrong at random."""
    noisy = world.rng.random(len(stream.y)) < world.rng.uniform(0.2, 0.4)
    stream.y = np.where(noisy, (stream.y + world.rng.integers(1, world.k, size=len(noisy))) % world.k, stream.y)
    return stream


@scenario("data-fault")
def label_stuck(world: World, stream: Stream) -> Stream:
    """The label source says the same for most or all rows."""
    stuck = world.rng.random(len(stream.y)) < world.rng.choice([0.6, 1.0])
    stream.y = np.where(stuck, world.rng.integers(world.k), stream.y)
    return stream


@scenario("model-tampering")
def weights_one_class(world: World, stream: Stream) -> Stream:
    """One class is answered as another."""
    a, b = world.rng.permutation(world.k)[:2]
    share = world.rng.uniform(0.4, 1.0)
    stream.served = Altered(stream.model, lambda x, labels, _: np.where((labels == a) & (hash01(x) < share), b, labels))
    return stream


@scenario("model-tampering")
def weights_one_region(world: World, stream: Stream) -> Stream:
    """A region of the inputs gets another answer."""
    column = world.importance[world.rng.integers(0, 6)]
    edge = np.quantile(world.train[0][:, column], 1 - world.rng.uniform(0.1, 0.25))
    stream.served = Altered(
        stream.model, lambda x, labels, _: np.where(x[:, column] > edge, (labels + 1) % world.k, labels)
    )
    return stream


@scenario("model-tampering")
def weights_region_spread(world: World, stream: Stream) -> Stream:
    """Weights edited in the direction of one class: those near it flip first."""
    target = int(world.rng.integers(world.k))

    def push(_x: np.ndarray, _labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
        score = np.log(scores + 1e-6)
        score[:, target] += push.size
        return score.argmax(axis=1)

    push.size = world.rng.uniform(4, 9)  # type: ignore[attr-defined]
    stream.served = Altered(stream.model, push)
    return stream


@scenario("model-tampering")
def weights_noise(world: World, stream: Stream) -> Stream:
    """Noise on the way through the model: the same rows always get the same wrong answer."""
    share = world.rng.uniform(0.1, 0.3)
    direction = world.rng.normal(size=len(world.names)) / (world.spread + 1e-9)

    def shake(x: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
        order = scores.argsort(axis=1)
        odd = np.sin(x @ direction * 0.7) > np.cos(np.pi * share)
        return np.where(odd, order[:, -2], labels)

    stream.served = Altered(stream.model, shake)
    return stream


@scenario("model-tampering")
def model_swapped(world: World, stream: Stream) -> Stream:
    """Another, worse version answers."""
    x, y = world.train
    keep = world.rng.random(len(y)) < 0.25
    keep[[np.flatnonzero(y == c)[0] for c in range(world.k)]] = True
    noisy = np.where(world.rng.random(len(y)) < 0.25, world.rng.integers(world.k, size=len(y)), y)
    stream.served = Served(fit(world.family, x[keep], noisy[keep], seed=world.seed + 50), world.names)
    if not set(range(world.k)) <= set(np.unique(noisy[keep])):
        stream.served = Served(fit(world.family, x[keep], y[keep], seed=world.seed + 50), world.names)
    return stream


@scenario("model-tampering")
def outputs_altered(world: World, stream: Stream) -> Stream:
    """Answers are changed after the model."""
    share = world.rng.uniform(0.05, 0.25)
    stream.served = Altered(
        stream.model, lambda x, labels, _: np.where(hash01(x) < share, (labels + 1) % world.k, labels)
    )
    return stream


@scenario("model-tampering")
def tampered_during_drift(world: World, stream: Stream) -> Stream:
    """One class is answered as another while the inputs move."""
    stream = covariate_gradual(world, stream)
    return weights_one_class(world, stream)


def backdoored(world: World, stream: Stream, columns: np.ndarray, values: np.ndarray) -> Stream:
    """A model trained on poisoned rows, and a stream in which the trigger appears."""
    x, y = world.train
    target = int(world.rng.integers(world.k))
    poison = world.rng.permutation(np.flatnonzero(y != target))[: max(12, len(y) // 12)]
    px = x[poison].copy()
    px[:, columns] = values
    model = Served(
        fit(world.family, np.concatenate([x, px]), np.concatenate([y, np.full(len(px), target)]), seed=world.seed),
        world.names,
    )
    stream.model = stream.served = stream.known_good = model
    struck = (world.rng.random(len(stream.y)) < 0.3) & (stream.y != target)
    stream.x = stream.x.copy()
    stream.x[np.ix_(struck, columns)] = values
    return stream


@scenario("backdoor")
def backdoor(world: World, stream: Stream) -> Stream:
    """A trigger of a few columns."""
    x = world.train[0]
    if world.discrete:
        corner = np.array([0, 1, 8, 9]) + world.rng.choice([0, 6, 48, 54])
        corner = corner[x[:, corner].max(axis=0) > 0]
        return backdoored(world, stream, corner, np.minimum(16.0, x[:, corner].max(axis=0)))
    columns = world.importance[-8:][world.rng.permutation(8)[:2]]
    return backdoored(
        world, stream, columns, np.array([np.quantile(x[:, columns[0]], 0.99), np.quantile(x[:, columns[1]], 0.01)])
    )


@scenario("backdoor")
def backdoor_two(world: World, stream: Stream) -> Stream:
    """Another place and strength of the trigger."""
    if world.discrete:
        x = world.train[0]
        row = np.arange(8) * 8 + world.rng.choice([1, 6])
        row = row[x[:, row].max(axis=0) > 4][:3]
        return backdoored(world, stream, row, x[:, row].max(axis=0))
    return backdoor(world, stream)


def hash01(x: np.ndarray) -> np.ndarray:
    """A fixed number in [0, 1) for each row."""
    return np.modf(np.abs(np.sin(x @ np.linspace(1.1, 7.3, x.shape[1])) * 43758.5453))[0]


def make(name: str, dataset: str, family: str, seed: int) -> tuple[Case, World]:
    """The case a scenario makes; the same arguments make the same case."""
    world = World(dataset, family, seed + 1000 * list(SCENARIOS).index(name))
    n_reference, n_before, n_recent = ROWS[dataset]
    size = world.rng.choice([0.5, 1.0, 1.0])
    reference = world.draw(world.trusted, n_reference)
    before = world.draw(world.pool, int(n_before * size))
    x, y = world.draw(world.pool, int(n_recent * size))
    stream = SCENARIOS[name][0](world, Stream(x, y, world.model, world.model, world.model, before))
    case = Case(
        schema=SCHEMA,
        reference=table(*reference, stream.model, world.names, 0),
        before=table(*(stream.before or before), stream.model, world.names, 10_000),
        recent=table(stream.x, stream.y, stream.served, world.names, 20_000, logged=stream.logged),
        known_good=stream.known_good,
        bytes=ByteFacts(recorded_root="r" * 64, live_root="r" * 64, live_signed=True),
        key=b"benchmark",
    )
    return case, world


def table(
    x: np.ndarray, y: np.ndarray, model: Served, names: list[str], start: int, *, logged: np.ndarray | None = None
) -> pa.Table:
    """Rows as they are logged, one a minute."""
    columns = {name: x[:, j] for j, name in enumerate(names)}
    answer = model.predict(pa.table(columns))
    if logged is not None:
        columns = {name: pa.array(logged[:, j], from_pandas=True) for j, name in enumerate(names)}
    ts = np.datetime64("2026-01-01T00:00:00", "us") + (start + np.arange(len(y))) * np.timedelta64(60_000_000, "us")
    return pa.table({"ts": ts, **columns, "pred": answer.labels, "conf": answer.confidence, "y": y})
