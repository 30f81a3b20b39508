"""Quantiles and tails from special functions alone: the module that has them all takes half a second to import."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import fdtrc, gammainccinv, gammaincinv, polygamma

Floats = npt.NDArray[np.float64]

_STEPS: Final = 50
_NEAR: Final = 1e-12


def chi2_quantile(share: float, free: float | Floats) -> Floats:
    """What a chi-squared variable stays below with this probability.

    Args:
        share: In (0, 1).
        free: Degrees of freedom, > 0, any shape.
    """
    half = np.asarray(free, dtype=np.float64) / 2
    return np.asarray(2 * gammaincinv(half, share), dtype=np.float64)


def chi2_exceeded(tail: float, free: float | Floats) -> Floats:
    """What a chi-squared variable exceeds with this probability, however small.

    Args:
        tail: In (0, 1).
        free: Degrees of freedom, > 0, any shape.
    """
    half = np.asarray(free, dtype=np.float64) / 2
    return np.asarray(2 * gammainccinv(half, tail), dtype=np.float64)


def f_tail(value: float | Floats, above: float | Floats, below: float | Floats) -> Floats:
    """Probability that a ratio of mean squares exceeds a value, all of one shape.

    Args:
        value: At least 0.
        above: Degrees of freedom of the numerator, > 0.
        below: Of the denominator, > 0.
    """
    return np.asarray(fdtrc(above, below, value), dtype=np.float64)


def trigamma_inverse(value: float) -> float:
    """The x > 0 whose trigamma is ``value``, by Newton's method on ``1 / trigamma``, which is nearly a line.

    Args:
        value: > 0.

    References:
        Smyth, G. K. (2004). Linear models and empirical Bayes methods. Stat. Appl. Genet. Mol. Biol. 3(1), 3, appendix.
    """
    x = 0.5 + 1 / value
    for _ in range(_STEPS):
        here = float(polygamma(1, x))
        step = here * (1 - here / value) / float(polygamma(2, x))
        x += step
        if abs(step) <= _NEAR * x:
            break
    return x
