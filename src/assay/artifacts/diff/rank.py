"""The rank of a difference: how many directions it moves a matrix in.

A small matrix is held whole and its singular values are exact. Of a large one only a random sketch
``D @ omega`` with a few columns is taken, row by row: when the rank of ``D`` is well below that
number, the sketch has the same rank (with probability 1) and singular values close to those of
``D``; when it is not, all that is said is that the rank is larger.

References:
    Halko, N., Martinsson, P. G., Tropp, J. A. (2011). Finding structure with randomness:
    probabilistic algorithms for constructing approximate matrix decompositions. SIAM Review 53, 217-288.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assay.artifacts.diff.decode import Floats

ENERGY = 0.99
WHOLE_ELEMENTS = 2**21  # 16 MB of F64
WHOLE_SIDE = 768  # its singular values take about half a second
SKETCH = 128
SKETCH_TRUSTED = 96  # three quarters: beyond, the sketch is as full as that of any matrix
MOST_COLUMNS = 2**18  # bounds the memory of the random matrix to 128 MB
_ROUNDING = 4.0  # rounding of the stored sum and of the edit itself, with a margin
_ARITHMETIC = 1e-12  # relative energy that double precision leaves in a Gram matrix
_DROWNED = 0.25  # share of the energy from where on rounding may be all there is


@dataclass(frozen=True, slots=True)
class Rank:
    """What could be said about the rank.

    Attributes:
        energy: Singular values that hold 99 % of the energy; None when unknown.
        exact: Singular values above the rounding of the stored type; None when unknown.
        beyond: When both are None: the rank is larger than this; 0 when rounding drowns the difference.
    """

    energy: int | None
    exact: int | None
    beyond: int = 0


class Spread:
    """Takes the rows of a difference, then says its rank.

    Args:
        rows: Rows of the matrix.
        columns: Columns of the matrix, at most :data:`MOST_COLUMNS`.
        seed: Of the random sketch.
    """

    def __init__(self, rows: int, columns: int, *, seed: int = 0) -> None:
        self._whole = rows * columns <= WHOLE_ELEMENTS and min(rows, columns) <= WHOLE_SIDE
        self.full = False  # whether the rows taken already have a larger rank than a sketch can tell
        self._rows, self._look_at = 0, 4 * SKETCH
        self._noise = 0.0
        self._held: list[Floats] = []
        width = min(SKETCH, rows, columns)
        if not self._whole:
            random = np.random.default_rng(seed)
            self._omega = random.standard_normal((columns, width), dtype=np.float32)
        self._gram: Floats = np.zeros((width, width))

    def take(self, rows: Floats, noise: float = 0.0) -> None:
        """Take the next rows.

        Args:
            rows: The difference; what is not finite must have been set to zero.
            noise: Energy (sum of squares) that rounding these rows to the stored type explains.
        """
        self._noise += noise
        if self._whole:
            self._held.append(rows)
            return
        if self.full:
            return
        # The scale keeps single precision from overflowing where an exponent was flipped.
        scale = max(float(rows.max(initial=0.0)), -float(rows.min(initial=0.0)))
        if scale:
            sketch = ((rows / scale).astype(np.float32) @ self._omega).astype(np.float64)
            self._gram += (sketch.T @ sketch) * scale**2
        self._rows += rows.shape[0]
        if self._rows >= self._look_at:
            self._look_at = 4 * self._rows
            self.full = self.rank().beyond > 0

    def rank(self) -> Rank:
        """The rank of all rows taken."""
        noise = self._noise
        if self._whole:
            matrix = np.concatenate(self._held) if self._held else np.zeros((1, 1))
            with np.errstate(over="ignore", invalid="ignore"):
                self._gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
        elif self.full:
            return Rank(None, None, SKETCH_TRUSTED)
        else:
            noise *= self._gram.shape[0]  # each of the sketch's columns sees all of it
        if not np.isfinite(self._gram).all():
            return Rank(None, None)
        energies = np.clip(np.linalg.eigvalsh(self._gram)[::-1], 0.0, None)
        total = float(energies.sum())
        if not total:
            return Rank(0, 0)
        floor = max(_ROUNDING * noise, _ARITHMETIC * total)
        if floor > _DROWNED * total:
            return Rank(None, None)
        left = np.append(total - np.cumsum(energies), 0.0)
        exact = int(np.argmax(left <= floor)) + 1
        energy = int(np.argmax(left <= max((1.0 - ENERGY) * total, floor))) + 1
        if not self._whole and exact > SKETCH_TRUSTED:
            return Rank(energy if energy <= SKETCH_TRUSTED // 2 else None, None, SKETCH_TRUSTED)
        return Rank(energy, exact)
