"""Scenarios of the world and of the pipeline: nothing, drift, and faults of data.

Each changes the recent period only and says which verdicts count as right (the table of the design).
"""

from __future__ import annotations

import numpy as np
from worlds import Floats, Ints, Stream, World, scenario


@scenario("intact")
def no_change(_world: World, stream: Stream) -> Stream:
    """Nothing happens."""
    return stream


@scenario("intact")
def no_change_again(_world: World, stream: Stream) -> Stream:
    """A second helping: small windows differ by chance."""
    return stream


def drifted(world: World, x: Floats, amount: Floats, columns: Ints | None = None) -> Floats:
    """Inputs moved as the world moves them, by ``amount`` (n, 1): images slide and blur, measures shift in spreads."""
    if world.side:
        image = x.reshape(-1, world.side, world.side)
        down, right = [(0, 1), (1, 0), (-1, 0), (0, -1)][world.rng.integers(4)]
        slid = np.roll(image, (down, right), axis=(1, 2)).reshape(x.shape)
        return np.round((1 - 0.6 * amount) * x + 0.6 * amount * slid)
    move = world.rng.normal(size=x.shape[1]) * world.spread
    move[np.setdiff1d(np.arange(x.shape[1]), world.importance if columns is None else columns)] = 0.0
    pool = world.pool[0]
    whole, positive = (pool == np.round(pool)).all(axis=0), pool.min(axis=0) >= 0
    moved = x + amount * move
    moved = np.where(whole, np.round(moved), moved)  # counts stay counts
    return np.where(positive, np.abs(moved), moved)


def mix(world: World, y: Floats, rows: Floats) -> Floats:
    """A new relation: each class means the next one."""
    return np.where(rows, (y + 1) % world.k, y)


@scenario("concept-drift")
def concept_gradual(world: World, stream: Stream) -> Stream:
    """One half of the inputs slowly takes on a new meaning."""
    ramp = np.linspace(0.1, 1.0, len(stream.y))
    side = stream.x[:, world.varied[1]] > np.median(world.pool[0][:, world.varied[1]])
    stream.y = mix(world, stream.y, side & (world.rng.random(len(ramp)) < ramp))
    return stream


@scenario("concept-drift")
def concept_sudden(world: World, stream: Stream) -> Stream:
    """A large part of the inputs means something else from one moment to the next."""
    column = world.rng.choice(world.varied)
    side = stream.x[:, column] > np.quantile(world.pool[0][:, column], 0.4)
    stream.y = mix(world, stream.y, side)
    return stream


@scenario("concept-drift")
def concept_global(world: World, stream: Stream) -> Stream:
    """Two classes trade places almost everywhere, as growth moves a threshold."""
    a, b = world.rng.permutation(world.k)[:2]
    share = world.rng.uniform(0.8, 1.0)
    one_way = world.k > 2 and world.rng.random() < 0.5  # of two classes one way would be a stuck label
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
    column = world.rng.choice(world.varied)
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
    column = world.rng.choice(world.varied)
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


def top(world: World, k: int) -> Ints:
    """Some of the columns that matter and that vary."""
    columns = [j for j in world.importance if np.unique(world.train[0][:, j]).size > 2][: max(8, k)]
    return np.array(columns)[world.rng.permutation(len(columns))[:k]]


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
    a, b = world.importance[0], world.importance[-1 if not world.side else 1]
    others = world.rng.permutation(world.importance[: max(2, len(world.names) // 2)])[:2]
    stream.x = stream.x.copy()
    stream.x[:, [a, b]] = stream.x[:, [b, a]]
    stream.x[:, others] = stream.x[:, others[::-1]]
    return stream


@scenario("data-fault")
def columns_rotated(world: World, stream: Stream) -> Stream:
    """Every number column holds what its neighbour held."""
    columns = world.data.numbers
    stream.x = stream.x.copy()
    stream.x[:, columns] = np.roll(stream.x[:, columns], -1, axis=1)
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


@scenario("concept-drift")
def concept_late_labels(world: World, stream: Stream) -> Stream:
    """The relation changes and only the labels of the first third have come."""
    stream = concept_sudden(world, stream)
    stream.unlabelled = np.arange(len(stream.y)) >= len(stream.y) // 3
    return stream
