"""Learned sets and bets on a mean: the evidence that combines bins freely."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from assay.inference import learnedset, meanbet
from assay.inference.distribution import Distribution, from_half_lines, from_values
from assay.inference.evidence import over_look_backs
from assay.inference.natural import learn

FLAT = np.zeros(200, dtype=np.intp)


def _even(bins: int = 20, rows: float = 20_000.0, design: float = 1.0) -> Distribution:
    return Distribution(np.full((1, bins), 1 / bins), rows, design, 1000.0)


def test_half_lines_and_single_values_tell_the_same_distribution() -> None:
    rng = np.random.default_rng(1)
    counts = rng.multinomial(1000, [0.1, 0.2, 0.3, 0.4], size=40).astype(float)
    rows = counts.sum(1, keepdims=True)
    by_value = from_values(learn(counts, np.repeat(rows, 4, 1)))
    by_line = from_half_lines(learn(np.cumsum(counts, 1)[:, :3], np.repeat(rows, 3, 1)))
    assert by_line.share == pytest.approx(by_value.share, abs=1e-3)
    assert by_line.share.sum() == pytest.approx(1.0)


def test_a_scattered_change_is_found_by_a_learned_set() -> None:
    rng = np.random.default_rng(2)
    share = np.full(20, 0.05) + 0.012 * np.where(np.arange(20) % 2 == 0, 1, -1)  # total variation 0.12
    counts = rng.multinomial(1000, share, size=12).astype(float)
    watch = learnedset.prepare(counts, _even(), floor=0.02, at=FLAT[:12], cap=None)
    out = over_look_backs(lambda a, b: learnedset.log_evidence(watch, a, b), 12)
    assert out[:, 6].max() > 1e4
    assert set(np.flatnonzero(watch.sets[6])) <= set(range(0, 20, 2))


def test_rows_that_chose_a_set_never_count_for_it() -> None:
    counts = np.full((2, 20), 50.0)
    counts[1] = 0
    counts[1, 3] = 1000
    watch = learnedset.prepare(counts, _even(), floor=0.02, at=FLAT[:2], cap=None)
    # The burst in bin 3 is in window 1; the set for a start at window 1 was chosen before it.
    assert not watch.sets[1, 3]
    assert learnedset.log_evidence(watch, np.array([1]), np.array([1]))[0] < 1


def test_learned_sets_keep_quiet_on_a_baseline_with_its_own_error() -> None:
    # 20 streams x 200 windows, each against its own baseline of 5,000 rows: E above 1,000 in 2 % of them at most.
    rng = np.random.default_rng(3)
    seen = 0
    for _ in range(20):
        share = rng.multinomial(5000, np.full(20, 0.05)) / 5000
        counts = rng.multinomial(1000, np.full(20, 0.05), size=200).astype(float)
        known = Distribution(share[None], 5000.0, 1.0, 1000.0)
        watch = learnedset.prepare(counts, known, floor=0.005, at=FLAT, cap=None)
        seen += over_look_backs(lambda a, b, w=watch: learnedset.log_evidence(w, a, b), 200).max() > 1000  # type: ignore[misc]  # bound early
    assert seen <= 1


def test_the_cap_holds_for_learned_sets() -> None:
    counts = np.full((3, 20), 50.0)
    counts[1:, 3] = 3000
    watch = learnedset.prepare(counts, _even(), floor=0.02, at=FLAT[:3], cap=4.0)
    assert learnedset.log_evidence(watch, np.array([2]), np.array([2]))[0] == pytest.approx(4.0)


def _scores(shift: float, windows: int, seed: int) -> tuple[np.ndarray, np.ndarray, Distribution]:
    edges = np.linspace(0.5, 0.975, 19)
    values = np.concatenate([[0.49], (edges[1:] + edges[:-1]) / 2, [0.99]])

    def bins(mean: float) -> np.ndarray:
        return np.diff(np.concatenate([[0.0], norm.cdf((edges - mean) / 0.1), [1.0]]))

    counts = np.random.default_rng(seed).multinomial(1000, bins(0.8 + shift), size=windows).astype(float)
    return counts, values, Distribution(bins(0.8)[None], 20_000.0, 1.0, 1000.0)


@pytest.mark.parametrize(("shift", "sides"), [(-0.02, "both"), (-0.02, "down"), (0.02, "up"), (0.02, "both")])
def test_a_mean_that_moves_by_two_hundredths_is_found_in_four_windows(shift: float, sides: str) -> None:
    counts, values, known = _scores(shift, 4, seed=4)
    watch = meanbet.prepare(counts, values, known, floor=0.005, at=FLAT[:4], cap=None, sides=sides)
    assert meanbet.log_evidence(watch, np.array([0]), np.array([3]))[0] > 10


def test_a_mean_that_moves_the_harmless_way_is_not() -> None:
    counts, values, known = _scores(0.02, 4, seed=5)
    watch = meanbet.prepare(counts, values, known, floor=0.005, at=FLAT[:4], cap=None, sides="down")
    assert meanbet.log_evidence(watch, np.array([0]), np.array([3]))[0] < 0


def test_a_mean_within_the_floor_brings_no_evidence() -> None:
    counts, values, known = _scores(-0.003, 100, seed=6)
    watch = meanbet.prepare(counts, values, known, floor=0.005, at=FLAT[:100], cap=None, sides="both")
    assert over_look_backs(lambda a, b: meanbet.log_evidence(watch, a, b), 100).max() < 100


def test_no_bet_can_lose_more_than_it_has() -> None:
    counts = np.array([[1000.0, 0.0], [0.0, 1000.0]])
    known = Distribution(np.array([[0.01, 0.99]]), 1e6, 1.0, 1000.0)
    watch = meanbet.prepare(counts, np.array([0.0, 1.0]), known, floor=0.0, at=FLAT[:2], cap=None, sides="both")
    assert np.isfinite(meanbet.log_evidence(watch, np.array([0, 1]), np.array([0, 1]))).all()
