from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from assay.inference.natural import learn
from assay.inference.seasons import Calendar, Season


def _binomial(seed: int, shares: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.binomial(rows, shares).astype(float), np.full(shares.shape, float(rows))


def _weekdays(windows: int) -> Calendar:
    day = np.arange(windows)
    season = Season("weekday", day % 7, day // 7)
    return Calendar((season,), np.arange(7)[:, None], day % 7)


def test_independent_rows_have_no_design_effect_worth_speaking_of() -> None:
    events, rows = _binomial(1, np.full((60, 40), 0.1), 1000)
    learned = learn(events, rows)
    assert learned.share == pytest.approx(np.full(40, 0.1), abs=0.01)
    assert 1 <= np.median(learned.design) < 1.4


def test_day_effects_show_as_the_variance_they_add() -> None:
    rng = np.random.default_rng(2)
    p = 0.1
    events, rows = _binomial(3, expit(logit(p) + 0.2 * rng.normal(size=(90, 40))), 1000)
    added = 1 + 1000 * p * (1 - p) * 0.2**2  # delta method: 4.6
    assert added * 0.9 < np.median(learn(events, rows).design) < added * 2


def test_effects_that_persist_count_for_more_than_their_variance() -> None:
    rng = np.random.default_rng(4)
    noise, effect = rng.normal(size=(90, 40)), np.zeros((90, 40))
    effect[0] = 0.2 * noise[0]
    for t in range(1, 90):
        effect[t] = 0.7 * effect[t - 1] + np.sqrt(1 - 0.49) * 0.2 * noise[t]
    at_once = learn(*_binomial(5, expit(logit(0.1) + 0.2 * noise), 1000))
    persisting = learn(*_binomial(5, expit(logit(0.1) + effect), 1000))
    assert np.median(persisting.design) > 2.5 * np.median(at_once.design)


def test_a_weekday_pattern_is_taken_out_of_the_variation() -> None:
    rng = np.random.default_rng(6)
    day = np.arange(84) % 7
    pattern = 0.4 * rng.normal(size=(7, 20))
    events, rows = _binomial(7, expit(logit(0.2) + pattern[day]), 1000)
    blind, seeing = learn(events, rows), learn(events, rows, calendar=_weekdays(84))
    assert np.median(seeing.design) < 2 < np.median(blind.design)
    assert seeing.strata.shape == (7, 20)
    assert np.abs(logit(seeing.strata) - logit(0.2) - pattern).mean() < 0.1


def test_without_a_pattern_strata_stay_near_the_share() -> None:
    events, rows = _binomial(8, np.full((84, 20), 0.2), 1000)
    learned = learn(events, rows, calendar=_weekdays(84))
    assert np.abs(learned.strata - learned.share).max() < 0.02


def test_many_signals_that_agree_are_known_better_than_few() -> None:
    events, rows = _binomial(11, np.full((200, 40), 0.1), 1000)
    few, many = (np.median(learn(events[:, :n], rows[:, :n]).design) for n in (3, 40))
    assert many < 1.12 < few


def test_a_signal_that_varies_keeps_its_design_effect_among_many_that_do_not() -> None:
    rng = np.random.default_rng(12)
    shares = np.full((60, 40), 0.1)
    shares[:, 0] = expit(logit(0.1) + 0.4 * rng.normal(size=60))  # 1 + 1000 x .09 x .16 = 15
    design = learn(*_binomial(13, shares, 1000)).design
    assert design[0] > 8
    assert np.median(design[1:]) < 1.6


def test_one_that_stands_out_makes_the_others_borrow_less() -> None:
    rng = np.random.default_rng(14)
    shares = np.full((28, 40), 0.1)
    quiet = learn(*_binomial(15, shares, 1000)).design
    shares[:, 0] = expit(logit(0.1) + 0.5 * rng.normal(size=28))
    among = learn(*_binomial(15, shares, 1000)).design
    assert np.median(among[1:]) > np.median(quiet)
    assert among[0] > 5 * np.median(quiet)


def test_one_signal_alone_borrows_no_certainty() -> None:
    events, rows = _binomial(9, np.full((20, 60), 0.1), 1000)
    alone = [learn(events[:, [i]], rows[:, [i]]).design[0] for i in range(60)]
    assert np.mean(alone) > learn(events, rows).design.mean() + 0.1


@pytest.mark.parametrize("windows", [1, 2, 3])
def test_a_few_windows_claim_nothing_about_variation(windows: int) -> None:
    learned = learn(*_binomial(10, np.full((windows, 5), 0.1), 1000))
    assert not learned.varies
    assert (learned.design == 1).all()


def test_a_short_baseline_assumes_that_its_variation_persists() -> None:
    rng = np.random.default_rng(11)
    shares = expit(logit(0.1) + 0.3 * rng.normal(size=(12, 30)))
    short = learn(*_binomial(12, shares, 1000))
    assert short.short
    assert short.varies
    assert np.median(short.design) > 1.5 * (1 + 1000 * 0.09 * 0.3**2)


def test_windows_without_rows_of_a_question_do_not_make_it_look_steady() -> None:
    rng = np.random.default_rng(13)
    events, rows = _binomial(14, expit(logit(0.1) + 0.3 * rng.normal(size=(60, 20))), 1000)
    whole = learn(events, rows)
    events[::2], rows[::2] = 0, 0
    assert np.median(learn(events, rows).design) > 0.6 * np.median(whole.design)


def test_rare_answers_take_the_design_effect_of_their_kind() -> None:
    rng = np.random.default_rng(15)
    events, rows = _binomial(16, expit(logit(0.1) + 0.3 * rng.normal(size=(60, 20))), 1000)
    events[:, 0] = 0
    learned = learn(events, rows)
    assert learned.design[0] == pytest.approx(np.median(learned.design[1:]))


def test_the_design_effect_grows_with_the_window() -> None:
    events, rows = _binomial(17, np.full((30, 2), 0.1), 500)
    learned = learn(events, rows)
    half = learned.design_at(np.full((1, 2), 250.0))
    assert half == pytest.approx(1 + (learned.design[None] - 1) / 2)


def test_no_window_varies_more_than_if_all_its_rows_were_one() -> None:
    events = np.where(np.arange(12)[:, None] % 2 == 0, 30.0, 0.0) * np.ones((12, 3))
    learned = learn(events, np.full((12, 3), 30.0))
    assert learned.design.max() < 30 * 4  # a window's rows x what persists and is measured on few windows


@pytest.mark.parametrize(("elsewhere", "taken", "groups"), [(7.0, 7.0, 9 / 7 + 1), (1e9, 500.0, 2.0), (0.2, 1.0, 13.0)])
def test_what_is_rare_borrows_how_its_column_varies_and_what_is_known_does_not(
    elsewhere: float, taken: float, groups: float
) -> None:
    """At most as if all rows of a window were one, and never less than rows that do not depend on each other."""
    rng = np.random.default_rng(16)
    often = rng.binomial(500, expit(logit(0.1) + 0.3 * rng.normal(size=40))).astype(float)
    rare, rows = np.zeros(40), np.full((40, 3), 500.0)
    rare[[3, 20]] = [9.0, 4.0]
    events = np.column_stack([often, rare, 500 - rare])
    known = learn(events, rows)
    assert known.known.tolist() == [True, False, False]
    borrowed = known.borrow(elsewhere, events, rows)
    assert borrowed.design.tolist() == [known.design[0], taken, taken]
    assert (borrowed.share == known.share).all()
    assert (borrowed.events == known.events).all()
    assert borrowed.clusters[0, 1] == pytest.approx(groups)
    assert borrowed.clusters[1, 2] == borrowed.clusters[0, 1]
    assert borrowed.clusters[2] == pytest.approx(20_000 / borrowed.design)
