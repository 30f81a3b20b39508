"""Queries of simulated clients: honest ones of every habit, and those that copy or probe the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
WIDTH = 8
ATTACKS = ("random", "marginals", "jacobian", "boundary", "members", "natural", "diluted")


@dataclass(frozen=True)
class World:
    """Where honest rows come from, and the model that answers."""

    mixing: Floats
    centres: Floats
    weights: Floats
    training: Floats

    @classmethod
    def made(cls, rng: np.random.Generator) -> World:
        """Three kinds of cases with correlated columns, and a model that is not linear."""
        mixing = rng.normal(size=(3, WIDTH, WIDTH)) * 0.5
        world = cls(mixing, rng.normal(size=(3, WIDTH)) * 1.5, rng.normal(size=WIDTH), np.empty((0, WIDTH)))
        return cls(mixing, world.centres, world.weights, world.rows(rng, 2000))

    def rows(self, rng: np.random.Generator, n: int) -> Floats:
        """Honest rows."""
        kind = rng.integers(0, 3, n)
        return np.einsum("ni,nij->nj", rng.normal(size=(n, WIDTH)), self.mixing[kind]) + self.centres[kind]

    def share(self, rows: Floats) -> Floats:
        """The model: probability of the one class."""
        score = rows @ self.weights + 0.4 * rows[:, 0] * rows[:, 1] - 0.3 * rows[:, 2] ** 2 + 0.3
        return 1 / (1 + np.exp(-score))


@dataclass
class Client:
    """Somebody who asks.

    Attributes:
        name: Who.
        habit: One of `HABITS`.
        hourly: Mean queries an hour at day.
        batch: Queries once a day, at the hour of its name; 0 for none.
        place: Where it is, for habits that have one.
    """

    name: str
    habit: str
    hourly: float
    batch: int = 0
    place: Floats | None = None

    def ask(self, world: World, rng: np.random.Generator, hour: int) -> Floats:
        """Its queries of one hour."""
        at_day = 1.0 if 7 <= hour % 24 < 19 else 0.2
        n = int(rng.poisson(self.hourly * at_day))
        if self.batch and hour % 24 == (len(self.name) + ord(self.name[-1])) % 24:
            n += self.batch
        if not n:
            return np.empty((0, WIDTH))
        if self.place is None:
            self.place = world.rows(rng, 1)
        rows, self.place = HABITS[self.habit](world, rng, n, self.place)
        return rows


def _plain(world: World, rng: np.random.Generator, n: int, place: Floats) -> tuple[Floats, Floats]:
    return world.rows(rng, n), place


def _narrow(world: World, rng: np.random.Generator, n: int, place: Floats) -> tuple[Floats, Floats]:
    return place + world.rows(rng, n) * 0.08, place


def _device(world: World, rng: np.random.Generator, n: int, place: Floats) -> tuple[Floats, Floats]:
    """A machine that reports as it goes, each case much like the one before."""
    latent = np.zeros((n + 1, WIDTH))
    latent[0] = place[-1]
    for i in range(n):
        latent[i + 1] = 0.95 * latent[i] + 0.31 * rng.normal(size=WIDTH)
    return latent[1:] @ world.mixing[0] + world.centres[0], latent[-1:]


def _stepper(world: World, rng: np.random.Generator, n: int, place: Floats) -> tuple[Floats, Floats]:
    """The same, with hardly any difference."""
    del world
    walk = place + np.cumsum(rng.normal(0, 0.02, (n, WIDTH)), axis=0)
    return walk, walk[-1:]


def _edge(world: World, rng: np.random.Generator, n: int, place: Floats) -> tuple[Floats, Floats]:
    """Cases that are sent because they are hard."""
    many = world.rows(rng, 6 * n)
    return many[np.argsort(np.abs(world.share(many) - 0.5))[: 2 * n]][rng.permutation(2 * n)[:n]], place


def _foreign(world: World, rng: np.random.Generator, n: int, place: Floats) -> tuple[Floats, Floats]:
    rows = world.rows(rng, n)
    rows[:, 0] += 4 * world.training[:, 0].std()
    return rows, place


def _retries(world: World, rng: np.random.Generator, n: int, place: Floats) -> tuple[Floats, Floats]:
    rows = world.rows(rng, n)
    for i in range(1, n):
        if rng.random() < 0.4:
            rows[i] = rows[i - 1]
    return rows, place


def _edits(world: World, rng: np.random.Generator, n: int, place: Floats) -> tuple[Floats, Floats]:
    """A form, now and then sent again with one field changed."""
    return _edited(world.rows(rng, n), rng, rng.random(n) < 0.25, 0.5), place


def _tuner(world: World, rng: np.random.Generator, n: int, place: Floats) -> tuple[Floats, Floats]:
    """The same ten times over, by little."""
    return _edited(world.rows(rng, n), rng, np.arange(n) % 10 > 0, 0.1), place


def _edited(rows: Floats, rng: np.random.Generator, again: npt.NDArray[np.bool_], by: float) -> Floats:
    for i in range(1, len(rows)):
        if again[i]:
            rows[i] = rows[i - 1]
            rows[i, rng.integers(0, WIDTH)] += rng.normal(0, by)
    return rows


HABITS = {
    "plain": _plain,
    "narrow": _narrow,
    "device": _device,
    "stepper": _stepper,
    "edge": _edge,
    "foreign": _foreign,
    "retries": _retries,
    "edits": _edits,
    "tuner": _tuner,
}


def people(rng: np.random.Generator, hour: int) -> list[Client]:
    """Those who are there from the beginning, or begin at an hour: one new client in two days."""
    if hour:
        habit = str(rng.choice(["plain", "plain", "plain", "retries", "narrow", "edits"]))
        return [Client(f"new-{hour}", habit, float(rng.lognormal(0.5, 1)))] if rng.random() < 1 / 48 else []
    out = [Client(f"user-{i}", "plain", float(rng.lognormal(0.5, 1))) for i in range(30)]
    out += [Client(f"heavy-{i}", "plain", 40.0) for i in range(2)]
    out += [Client(f"batch-{i}", "plain", 0.0, 400) for i in range(2)]
    out += [Client(f"narrow-{i}", "narrow", 6.0) for i in range(2)]
    out += [Client(f"edits-{i}", "edits", 4.0) for i in range(2)]
    out += [Client(f"retries-{i}", "retries", 6.0) for i in range(2)]
    return [*out, Client("device", "device", 6.0), Client("edge", "edge", 4.0)]


def attack(kind: str, world: World, rng: np.random.Generator) -> Iterator[Floats]:
    """One query after the other, without end."""
    if kind == "diluted":  # three honest queries for each of the attack's
        inner = attack("jacobian", world, rng)
        while True:
            yield from world.rows(rng, 3)
            yield next(inner)
    low, high = np.quantile(world.training, [0.01, 0.99], axis=0)
    while True:
        if kind == "random":
            yield rng.uniform(low, high)
        elif kind == "marginals":
            yield np.array([rng.choice(world.training[:, column]) for column in range(WIDTH)])
        elif kind == "natural":
            yield world.rows(rng, 1)[0]
        elif kind == "jacobian":
            yield from _augmented(world, rng)
        elif kind == "boundary":
            yield from _boundary(world, rng)
        else:
            row = world.training[rng.integers(0, len(world.training))]
            yield row
            yield from row + rng.normal(0, 0.05, (5, WIDTH)) * world.training.std(0)


def _augmented(world: World, rng: np.random.Generator) -> Iterator[Floats]:
    """A hundred seeds, then steps along a substitute's slope, doubling four times (Papernot et al. 2017)."""
    rows = world.rows(rng, 100)
    yield from rows
    for _ in range(4):
        slope = world.weights + rng.normal(0, 0.5, WIDTH)
        rows_new = rows + 0.1 * world.training.std(0) * np.sign(slope) * rng.choice([-1, 1], (len(rows), 1))
        yield from rows_new
        rows = np.concatenate([rows, rows_new])


def _boundary(world: World, rng: np.random.Generator) -> Iterator[Floats]:
    """Halve the way between two classes, feel around there, step on (as HopSkipJump, Chen et al. 2020)."""
    many = world.rows(rng, 200)
    said = world.share(many) > 0.5
    if said.all() or not said.any():
        return
    original = many[said][0]
    other = many[~said][0]
    for _ in range(6):
        a, b = original, other
        for _ in range(10):
            middle = (a + b) / 2
            yield middle
            if world.share(middle[None])[0] > 0.5:
                a = middle
            else:
                b = middle
        felt = b + rng.normal(0, 0.1, (20, WIDTH))
        yield from felt
        votes = np.where(world.share(felt) > 0.5, -1.0, 1.0)[:, None]
        other = b + 0.3 * (votes * (felt - b)).mean(0) / 0.1
        if world.share(other[None])[0] > 0.5:
            other = b
