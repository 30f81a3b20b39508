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
        habit: ``plain``, ``narrow``, ``device``, ``edits``, ``edge``, ``retries``.
        hourly: Mean queries an hour at day.
        batch: Queries once a day, at the hour of its name; 0 for none.
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
        if self.batch and hour % 24 == hash(self.name) % 24:
            n += self.batch
        if not n:
            return np.empty((0, WIDTH))
        if self.habit == "narrow":
            self.place = world.rows(rng, 1) if self.place is None else self.place
            return self.place + world.rows(rng, n) * 0.08
        if self.habit == "device":  # a machine that reports as it goes, each case much like the one before
            latent = np.zeros((n + 1, WIDTH))
            latent[0] = rng.normal(size=WIDTH) if self.place is None else self.place
            for i in range(n):
                latent[i + 1] = 0.95 * latent[i] + 0.31 * rng.normal(size=WIDTH)
            self.place = latent[-1]
            return latent[1:] @ world.mixing[0] + world.centres[0]
        if self.habit == "edge":  # cases that are sent because they are hard
            many = world.rows(rng, 6 * n)
            return many[np.argsort(np.abs(world.share(many) - 0.5))[: 2 * n]][rng.permutation(2 * n)[:n]]
        rows = world.rows(rng, n)
        if self.habit == "edits":  # a form, sent again with one field changed
            again = rng.random(n) < 0.25
            again[0] = False
            for i in np.flatnonzero(again):
                rows[i] = rows[i - 1]
                rows[i, rng.integers(0, WIDTH)] += rng.normal(0, 0.5)
        if self.habit == "retries":
            again = rng.random(n) < 0.4
            again[0] = False
            for i in np.flatnonzero(again):
                rows[i] = rows[i - 1]
        return rows


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
    """A hundred seeds, then steps along the sign of a substitute's slope, doubling four times (Papernot et al. 2017)."""
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
