"""Counts of a classifier in the cells of some columns, with one slice planted that falls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from tests.unit.monitoring.drifting import MONDAY, Normal

from assay.monitoring.signals import Axis, SignalSpec, WindowCounts


@dataclass(frozen=True)
class SlicedStream:
    """A classifier of rows in ``columns`` x ``levels`` cells, all columns independent of each other.

    Attributes:
        seed: Of everything.
        columns: Columns that are searched.
        levels: Levels of each, the last one rarer the more there are.
        rows: Rows of a window.
        planted: Column and level of a slice, by their numbers.
        worse: Its error from the live window ``at`` on; .05 before and elsewhere.
        at: When.
        shares: Share of each level.
        day_sd: Variation of the error of whole days, in log-odds.
    """

    seed: int
    columns: int = 8
    rows: int = 1000
    planted: Mapping[int, int] = field(default_factory=dict)
    worse: float = 0.05
    at: int = 0
    shares: tuple[float, ...] = (0.4, 0.25, 0.173, 0.177)
    day_sd: float = 0.0

    def specs(self) -> tuple[SignalSpec, ...]:
        values = tuple(str(level) for level in range(len(self.shares)))
        axes = [Axis(f"c{i}", values=values) for i in range(self.columns)]
        cells = tuple(
            SignalSpec("cells:" + "&".join(a.column for a in group), "slices", "cells", "", sides="up", axes=group)
            for group in combinations(axes, min(3, self.columns))
        )
        return (SignalSpec("error", "errors", "rate", "label", sides="up"), *cells)

    def windows(self, baseline: int, live: int) -> tuple[Normal, tuple[WindowCounts, ...]]:
        """The reference and the live windows after it."""
        rng = np.random.default_rng(self.seed)
        specs, size = self.specs(), len(self.shares)
        out = []
        for t in range(baseline + live):
            level = rng.choice(size, (self.rows, self.columns), p=self.shares)
            inside = np.ones(self.rows, dtype=bool)
            for column, wanted in self.planted.items():
                inside &= level[:, column] == wanted
            chance = np.full(self.rows, expit(logit(0.05) + self.day_sd * rng.normal()))
            if self.planted and t >= baseline + self.at:
                chance[inside] = self.worse
            wrong = rng.random(self.rows) < chance
            counts: dict[str, tuple[int, ...]] = {"error": (int((~wrong).sum()), int(wrong.sum()))}
            for spec in specs[1:]:
                counts[spec.name] = _counted(level, [int(axis.column[1:]) for axis in spec.axes], wrong, size)
            start = MONDAY + timedelta(days=t)
            out.append(WindowCounts(_text(start), _text(start + timedelta(days=1)), self.rows, counts))
        return Normal(specs, tuple(out[:baseline])), tuple(out[baseline:])

    @property
    def name(self) -> str:
        """The planted slice as an alarm names it."""
        return "accuracy:slice:" + "&".join(f"c{column}={level}" for column, level in sorted(self.planted.items()))


def _counted(
    level: npt.NDArray[np.int64], columns: list[int], wrong: npt.NDArray[np.bool_], size: int
) -> tuple[int, ...]:
    cell = np.zeros(len(level), dtype=np.int64)
    for column in columns:
        cell = cell * size + level[:, column]
    return tuple(int(n) for n in np.bincount(2 * cell + wrong, minlength=2 * size ** len(columns)))


def _text(at: object) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"
