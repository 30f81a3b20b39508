from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from assay.inference.intervals import clopper_pearson, newcombe, wilson

LEVEL = 0.95


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (1, 10), (81, 263), (15, 148), (29, 29), (500, 1000)])
def test_intervals_of_a_rate_agree_with_scipy(successes: int, n: int) -> None:
    test = binomtest(successes, n)
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        theirs = test.proportion_ci(confidence_level=LEVEL, method=method)  # type: ignore[arg-type] # a literal in their stubs
        assert ours(successes, n, LEVEL) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


# Newcombe (1998), Table II, method 10 (score, no continuity correction), as printed to four places.
@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((6, 7, 2, 7), 0.0582, 0.8062),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((0, 10, 0, 20), -0.1611, 0.2775),
        ((0, 10, 0, 10), -0.2775, 0.2775),
        ((10, 10, 0, 20), 0.6791, 1.0000),
        ((10, 10, 0, 10), 0.6075, 1.0000),
    ],
)
def test_newcombe_gives_the_paper_s_table(counts: tuple[int, int, int, int], low: float, high: float) -> None:
    assert newcombe(*counts, LEVEL) == pytest.approx((low, high), abs=6e-5)


def test_no_rows_know_nothing() -> None:
    assert wilson(0, 0, LEVEL) == (0.0, 1.0)
    assert clopper_pearson(0, 0, LEVEL) == (0.0, 1.0)
    assert newcombe(0, 0, 3, 10, LEVEL) == (-1.0, 1.0)
    assert newcombe(3, 10, 0, 0, LEVEL) == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("successes", "n", "level"), [(-1, 5, 0.9), (6, 5, 0.9), (1, 5, 0.0), (1, 5, 1.0), (math.nan, 5, 0.9)]
)
def test_what_is_no_count_or_no_level_is_refused(successes: float, n: int, level: float) -> None:
    with pytest.raises(ValueError, match=r"level|count"):
        wilson(successes, n, level)
    with pytest.raises(ValueError, match=r"level|count"):
        newcombe(1, 2, successes, n, level)
    with pytest.raises(ValueError, match=r"level|count"):
        clopper_pearson(successes, n, level)  # type: ignore[arg-type] # NaN is what is tested


@given(st.integers(0, 300), st.integers(0, 300), st.floats(0.5, 0.999))
def test_the_rate_is_inside_and_the_mirror_image_is_mirrored(a: int, b: int, level: float) -> None:
    n = a + b
    low, high = wilson(a, n, level)
    assert 0 <= low <= (a / n if n else 0.5) <= high <= 1
    assert wilson(b, n, level) == pytest.approx((1 - high, 1 - low), abs=1e-12)
    gap = newcombe(a, n, b, n, level)
    assert newcombe(b, n, a, n, level) == pytest.approx((-gap[1], -gap[0]), abs=1e-12)


@pytest.mark.parametrize("n", [5, 30, 200])
@pytest.mark.parametrize("rate", [0.02, 0.3, 0.5])
def test_clopper_pearson_never_covers_less_than_promised(n: int, rate: float) -> None:
    # Exact: sums the binomial over all outcomes, no simulation error.
    covered = sum(
        float(binom.pmf(k, n, rate))
        for k in range(n + 1)
        if clopper_pearson(k, n, LEVEL)[0] <= rate <= clopper_pearson(k, n, LEVEL)[1]
    )
    assert covered >= LEVEL
