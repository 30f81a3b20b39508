"""Steps of a season: what repeats is kept, what does not is noise, also when a whole month of it looks alike."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from assay.inference.seasons import Season, clear, learn_steps, strata_shares


def _counted(seed: int, shares: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    events = np.random.default_rng(seed).binomial(rows, shares).astype(float)
    size = np.full(shares.shape, float(rows))
    return events, size, (events.sum(0) + 0.5) / (size.sum(0) + 1)


def _hours(windows: int) -> Season:
    at = np.arange(windows)
    return Season("hour", at % 24, at // 24)


def test_an_hourly_pattern_is_learned_and_clear() -> None:
    pattern = 0.5 * np.random.default_rng(1).normal(size=(24, 10))
    events, rows, share = _counted(2, expit(logit(0.1) + pattern[np.arange(24 * 14) % 24]), 500)
    (step,) = learn_steps(events, rows, share, [_hours(24 * 14)])
    assert step.keep.min() > 0.8
    assert clear([step], 10) == (True,)
    strata = strata_shares(share, [step], np.arange(24)[:, None])
    apart = logit(strata) - logit(0.1) - pattern
    assert np.abs(apart - apart.mean(0)).mean() < 0.1


def test_without_a_pattern_hours_are_hardly_told_apart() -> None:
    # 200 runs of 10 questions: a pattern is called clear in 1 % of runs; 8 or more has a chance of less than .001.
    kept, called = [], 0
    for seed in range(200):
        events, rows, share = _counted(seed, np.full((24 * 14, 10), 0.1), 500)
        (step,) = learn_steps(events, rows, share, [_hours(24 * 14)])
        kept.append(step.keep.mean())
        called += clear([step], 10)[0]
    assert np.mean(kept) < 0.15
    assert called <= 7


def test_a_month_that_was_warm_once_is_no_season() -> None:
    # Three years of days; every month of every year has its own level, and none comes back. 300 runs, 1 % allowed.
    day = np.arange(1095)
    month, year = day % 365 // 31, day // 365
    season = Season("month", month, year)
    called = 0
    for seed in range(300):
        level = 0.3 * np.random.default_rng(seed).normal(size=(3, 12, 1))
        events, rows, share = _counted(seed, expit(logit(0.1) + level[year, month]), 300)
        (step,) = learn_steps(events, rows, share, [season])
        called += clear([step], 1)[0]
    assert called <= 9


def test_seasons_add_up_each_on_what_those_before_leave() -> None:
    at = np.arange(24 * 56)
    hour, day = 0.4 * np.sin(at / 24 * 2 * np.pi), 0.3 * (at // 24 % 7 >= 5)
    events, rows, share = _counted(3, expit(logit(0.2) + hour + day)[:, None], 2000)
    days = Season("weekday", at // 24 % 7, at // 168)
    steps = learn_steps(events, rows, share, [_hours(len(at)), days])
    assert steps[0].effect[6] - steps[0].effect[18] == pytest.approx(0.8, abs=0.1)
    assert steps[1].effect[6] - steps[1].effect[0] == pytest.approx(0.3, abs=0.06)


def test_what_hardly_ever_happens_has_no_pattern() -> None:
    events, rows, share = _counted(4, np.full((24 * 14, 5), 1e-4), 500)
    (step,) = learn_steps(events, rows, share, [_hours(24 * 14)])
    assert (step.effect == 0).all()
    assert clear([step], 5) == (False,)


def test_hours_without_rows_are_no_evidence() -> None:
    events, rows, share = _counted(5, np.full((24 * 14, 5), 0.1), 500)
    events[np.arange(24 * 14) % 24 < 8], rows[np.arange(24 * 14) % 24 < 8] = 0, 0
    (step,) = learn_steps(events, rows, share, [_hours(24 * 14)])
    assert (step.places == 16).all()
    assert np.abs(step.effect[:8]).max() < 1e-6
