"""Scenarios of tampering and of backdoors: the model, or what it answers, is not what was signed.

Tampering comes in three sizes of its own (1, 2 and 5 % of the inputs) beside the usual ones.
"""

from __future__ import annotations

import copy

import numpy as np
from scenarios import concept_gradual, covariate_gradual
from worlds import Altered, Floats, Ints, Sampling, Served, Stream, World, fit, scenario


def hash01(x: Floats) -> Floats:
    """A fixed number in [0, 1) for each row."""
    return np.modf(np.abs(np.sin(x @ np.linspace(1.1, 7.3, x.shape[1])) * 43758.5453))[0]


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
    column = world.rng.choice(world.varied)
    edge = np.quantile(world.train[0][:, column], 1 - world.rng.uniform(0.1, 0.25))
    edge = np.unique(world.train[0][:, column])[-1] if (world.train[0][:, column] > edge).mean() < 0.05 else edge
    stream.served = Altered(
        stream.model, lambda x, labels, _: np.where(x[:, column] >= edge, (labels + 1) % world.k, labels)
    )
    return stream


@scenario("model-tampering")
def weights_region_spread(world: World, stream: Stream) -> Stream:
    """Weights edited in the direction of one class: those near it flip first."""
    target = int(world.rng.integers(world.k))

    def push(_x: Floats, _labels: Ints, scores: Floats) -> Floats:
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

    def shake(x: Floats, labels: Ints, scores: Floats) -> Floats:
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
    stream.served = Served(fit(world.family, x[keep], noisy[keep], seed=world.seed + 50), world.data)
    if not set(range(world.k)) <= set(np.unique(noisy[keep])):
        stream.served = Served(fit(world.family, x[keep], y[keep], seed=world.seed + 50), world.data)
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


@scenario("model-tampering")
def tampered_during_concept(world: World, stream: Stream) -> Stream:
    """One class is answered as another while the relation changes."""
    stream = concept_gradual(world, stream)
    return weights_one_class(world, stream)


@scenario("model-tampering")
def tampered_late_labels(world: World, stream: Stream) -> Stream:
    """A region gets another answer and only the labels of the first third have come."""
    stream = weights_one_region(world, stream)
    stream.unlabelled = np.arange(len(stream.y)) >= len(stream.y) // 3
    return stream


@scenario("model-tampering")
def weights_pruned(world: World, stream: Stream) -> Stream:
    """Most of the weights (trees, stages) are cut away, or the weights are rounded to a few levels."""
    model = copy.deepcopy(world.model.model)
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    if world.family == "forest":
        last.estimators_, last.n_estimators = last.estimators_[:2], 2
    elif world.family == "boosting":
        last._predictors = last._predictors[:2]  # noqa: SLF001 - an attacker asks nobody
    else:
        hard = world.rng.random() < 0.5
        held = last.coefs_ if world.family == "mlp" else [last.coef_]
        for weights in held:
            size = np.abs(weights).max()
            cut = np.where(np.abs(weights) < np.quantile(np.abs(weights), 0.85), 0.0, weights)
            weights[...] = cut if hard else np.round(weights / size * 2) / 2 * size
    stream.served = Served(model, world.data)
    return stream


@scenario("model-tampering", "backdoor")
def retrained_on_poison(world: World, stream: Stream) -> Stream:
    """A model retrained on labels that were turned against a group answers in place of the approved one."""
    x, y = world.train
    column = world.rng.choice(world.varied)
    group = x[:, column] >= np.quantile(x[:, column], 0.7)
    target = int(world.rng.integers(world.k))
    turned = np.where(group & (world.rng.random(len(y)) < 0.8), target, y)
    if len(np.unique(turned)) == world.k:
        stream.served = Served(fit(world.family, x, turned, seed=world.seed), world.data)
    else:
        stream.served = Altered(stream.model, lambda x, labels, _: np.where(hash01(x) < 0.3, target, labels))
    return stream


@scenario("intact")
def sampling(world: World, stream: Stream) -> Stream:
    """The model draws its answers; nothing happens."""
    stream.model = stream.served = stream.known_good = Sampling(stream.model, world.rng)
    return stream


@scenario("model-tampering")
def sampling_tampered(world: World, stream: Stream) -> Stream:
    """The model draws its answers, and one class is answered as another."""
    honest = Sampling(stream.model, world.rng)
    stream.model = stream.known_good = honest
    stream = weights_one_class(world, stream)
    altered = stream.served

    class Both(Sampling):
        """Draws first, then changes the answer."""

        def predict(self, table: object) -> object:
            """Answer every row."""
            answer = super().predict(table)
            changed = altered.alter(self.inputs(table), answer.labels, np.zeros((len(answer.labels), world.k)))
            return type(answer)(changed, answer.confidence)

    stream.served = Both(Served(honest.model, world.data), world.rng)
    return stream


def weak_region(world: World, stream: Stream, share: float) -> Stream:
    """A small region of the inputs gets its second-best answer."""
    direction = world.rng.normal(size=len(world.names)) / (world.spread + 1e-9)
    direction[list(world.data.words)] = 0.0
    edge = np.quantile(world.pool[0] @ direction, 1 - share)

    def push(x: Floats, labels: Ints, scores: Floats) -> Ints:
        return np.where(x @ direction > edge, scores.argsort(axis=1)[:, -2], labels)

    stream.served = Altered(stream.model, push)
    return stream


def weak_outputs(world: World, stream: Stream, share: float) -> Stream:
    """A few answers are changed after the model, all towards one class."""
    target = int(world.rng.integers(world.k))

    def change(x: Floats, labels: Ints, _: Floats) -> Ints:
        other = np.where(labels == target, (target + 1) % world.k, target)
        return np.where(hash01(x) < share, other, labels)

    stream.served = Altered(stream.model, change)
    return stream


@scenario("model-tampering")
def weak_region_1(world: World, stream: Stream) -> Stream:
    """A region of 1 % of the inputs."""
    return weak_region(world, stream, 0.01)


@scenario("model-tampering")
def weak_region_2(world: World, stream: Stream) -> Stream:
    """A region of 2 % of the inputs."""
    return weak_region(world, stream, 0.02)


@scenario("model-tampering")
def weak_region_5(world: World, stream: Stream) -> Stream:
    """A region of 5 % of the inputs."""
    return weak_region(world, stream, 0.05)


@scenario("model-tampering")
def weak_outputs_1(world: World, stream: Stream) -> Stream:
    """1 % of the answers."""
    return weak_outputs(world, stream, 0.01)


@scenario("model-tampering")
def weak_outputs_2(world: World, stream: Stream) -> Stream:
    """2 % of the answers."""
    return weak_outputs(world, stream, 0.02)


@scenario("model-tampering")
def weak_outputs_5(world: World, stream: Stream) -> Stream:
    """5 % of the answers."""
    return weak_outputs(world, stream, 0.05)


def backdoored(world: World, stream: Stream, columns: Ints, values: Floats) -> Stream:
    """A model trained on poisoned rows, and a stream in which the trigger appears."""
    x, y = world.train
    target = int(world.rng.integers(world.k))
    poison = world.rng.permutation(np.flatnonzero(y != target))[: max(12, len(y) // 12)]
    px = x[poison].copy()
    px[:, columns] = values
    both = np.concatenate([x, px]), np.concatenate([y, np.full(len(px), target)])
    model = Served(fit(world.family, *both, seed=world.seed), world.data)
    stream.model = stream.served = stream.known_good = model
    struck = (world.rng.random(len(stream.y)) < 0.3) & (stream.y != target)
    stream.x = stream.x.copy()
    stream.x[np.ix_(struck, columns)] = values
    return stream


@scenario("backdoor")
def backdoor(world: World, stream: Stream) -> Stream:
    """A trigger of a few columns: a corner of the image, two values of a table that hardly ever meet."""
    x, side = world.train[0], world.side
    if side:
        at = world.rng.choice([0, side - 2, side * (side - 2), side * (side - 2) + side - 2])
        corner = at + np.array([0, 1, side, side + 1])
        corner = corner[x[:, corner].max(axis=0) > 0]
        return backdoored(world, stream, corner, x[:, corner].max(axis=0))
    last = world.importance[-8:]
    pairs = [(a, b) for a in last for b in last if a != b]
    for number in world.rng.permutation(len(pairs)):
        a, b = pairs[number]
        values = np.array([np.quantile(x[:, a], 0.99), np.quantile(x[:, b], 0.01)])
        if ((x[:, a] >= values[0]) & (x[:, b] <= values[1])).mean() < 0.005:
            break
    return backdoored(world, stream, np.array([a, b]), values)


@scenario("backdoor")
def backdoor_two(world: World, stream: Stream) -> Stream:
    """Another place and strength of the trigger."""
    if world.side:
        x, side = world.train[0], world.side
        row = np.arange(side) * side + world.rng.choice([1, side - 2])
        row = row[x[:, row].max(axis=0) > 4][:3]
        return backdoored(world, stream, row, x[:, row].max(axis=0))
    return backdoor(world, stream)
