"""Confidence sequence of a rate: an interval that may be looked at after every row."""

from __future__ import annotations

from collections.abc import Callable
from math import lgamma, log

_A = _B = 0.5  # Jeffreys' mixture
_HALVINGS = 60


def rate_sequence(
    events: float, rows: float, *, level: float = 0.95, design: float = 1.0, starts: int = 1
) -> tuple[float, float]:
    """Interval of a rate that holds at all times together, and for every start of a search among many.

    It inverts the Beta mixture of likelihood ratios: all rates ``q`` with
    ``log B(a+s, b+n-s) - log B(a, b) - s log q - (n-s) log(1-q) <= log(1/alpha)``.
    Use ``assay.inference.intervals.wilson`` for one look at a fixed time.

    Args:
        events: Events ``s`` since the start, in [0, rows].
        rows: Rows ``n`` since the start; 0 gives (0, 1).
        level: Coverage over all times together, in (0, 1).
        design: How many rows count as one independent one, >= 1.
        starts: The start was chosen by the data as the ``starts``-th window back: the error is split as
            1/(l (l+1)) over starts, >= 1; 0 when the start was fixed beforehand.

    Raises:
        ValueError: The counts are no counts, or level, design or starts are out of range.

    References:
        Robbins, H. (1970). Statistical methods related to the law of the iterated logarithm. Ann. Math. Stat. 41, 1397.
        Howard, S. R., Ramdas, A., McAuliffe, J. and Sekhon, J. (2021). Time-uniform, nonparametric, nonasymptotic
        confidence sequences. Annals of Statistics 49(2), 1055-1080.
    """
    if not 0 <= events <= rows:
        raise ValueError(f"events must be within 0 and rows, got {events} of {rows}")
    if not 0 < level < 1 or design < 1 or starts < 0:
        raise ValueError(f"need 0 < level < 1, design >= 1, starts >= 0; got {level}, {design}, {starts}")
    if rows == 0:
        return 0.0, 1.0
    s, n = events / design, rows / design
    alpha = (1 - level) / (starts * (starts + 1) if starts else 1)
    room = log(1 / alpha) - _log_beta(_A + s, _B + n - s) + _log_beta(_A, _B)
    rate = s / n

    def inside(q: float) -> bool:
        fit = (s * log(q) if s > 0 else 0.0) + ((n - s) * log(1 - q) if n - s > 0 else 0.0)
        return -fit <= room

    low = 0.0 if s == 0 else _border(0.0, rate, inside)
    high = 1.0 if s == n else _border(1.0, rate, inside)
    return low, high


def _border(outer: float, inner: float, inside: Callable[[float], bool]) -> float:
    """Where a convex set ends between a point outside and one inside, rounded outwards."""
    for _ in range(_HALVINGS):
        middle = (outer + inner) / 2
        if 0 < middle < 1 and inside(middle):
            inner = middle
        else:
            outer = middle
    return outer


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
