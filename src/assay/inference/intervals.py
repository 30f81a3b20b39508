"""Confidence intervals of rates and of differences of two rates, from counts alone.

All levels are two-sided coverage in (0, 1): ``level=0.95`` leaves 2.5 % on each side. No data gives the
whole range, never an error: an interval that knows nothing is an honest answer.
"""

from __future__ import annotations

from functools import lru_cache
from math import sqrt
from statistics import NormalDist


@lru_cache(maxsize=64)
def _deviations(level: float) -> float:
    """Standard deviations that a normal variable stays within, at this two-sided level."""
    return NormalDist().inv_cdf(0.5 + level / 2)


def wilson(successes: float, n: float, level: float) -> tuple[float, float]:
    """Interval of a rate, by the score test.

    Use it for charts and metrics; use ``clopper_pearson`` where coverage may never fall below ``level``.

    Args:
        successes: How many of ``n``, in [0, n].
        n: Independent trials, >= 0.
        level: Two-sided coverage in (0, 1).

    Returns:
        Lower and upper end, within [0, 1]; (0, 1) when ``n`` is 0.

    Raises:
        ValueError: The counts are no counts, or the level is outside (0, 1).

    References:
        Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference. JASA 22, 209-212.
    """
    _refuse(successes, n, level)
    if n == 0:
        return 0.0, 1.0
    z = _deviations(level)
    rate = successes / n
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # At 0 or n successes the exact end is 0 or 1; rounding must not move it inwards.
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == n else min(1.0, middle + half)
    return low, high


def newcombe(successes1: float, n1: float, successes2: float, n2: float, level: float) -> tuple[float, float]:
    """Interval of the difference of two independent rates, first minus second.

    Args:
        successes1: How many of ``n1``, in [0, n1].
        n1: Independent trials of the first group, >= 0.
        successes2: How many of ``n2``, in [0, n2].
        n2: Independent trials of the second group, >= 0.
        level: Two-sided coverage in (0, 1).

    Returns:
        Lower and upper end, within [-1, 1]; (-1, 1) when either group is empty.

    Raises:
        ValueError: The counts are no counts, or the level is outside (0, 1).

    References:
        Newcombe, R. G. (1998). Interval estimation for the difference between independent proportions:
        comparison of eleven methods. Statistics in Medicine 17, 873-890 (method 10).
    """
    low1, high1 = wilson(successes1, n1, level)
    low2, high2 = wilson(successes2, n2, level)
    if n1 == 0 or n2 == 0:
        return -1.0, 1.0
    rate1, rate2 = successes1 / n1, successes2 / n2
    gap = rate1 - rate2
    low = gap - sqrt((rate1 - low1) ** 2 + (high2 - rate2) ** 2)
    high = gap + sqrt((high1 - rate1) ** 2 + (rate2 - low2) ** 2)
    return max(-1.0, low), min(1.0, high)


def clopper_pearson(successes: int, n: int, level: float) -> tuple[float, float]:
    """Exact interval of a rate: covers with at least ``level``, at the price of width.

    Args:
        successes: How many of ``n``, in [0, n].
        n: Independent trials, >= 0.
        level: Two-sided coverage in (0, 1).

    Returns:
        Lower and upper end, within [0, 1]; (0, 1) when ``n`` is 0.

    Raises:
        ValueError: The counts are no counts, or the level is outside (0, 1).

    References:
        Clopper, C. J., Pearson, E. S. (1934). The use of confidence or fiducial limits illustrated in the
        case of the binomial. Biometrika 26, 404-413.
    """
    _refuse(successes, n, level)
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 1 - tail))
    return low, high


def _refuse(successes: float, n: float, level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"a level is a coverage between 0 and 1, not {level}")
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no count of successes")
