from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from assay.inference.evidence import (
    LOOK_BACKS,
    START,
    TILTS,
    Watch,
    cap_of,
    e_bh,
    log_evidence,
    mixed,
    over_look_backs,
    paths,
)
from assay.inference.natural import Natural, grouped


def _known(p: float = 0.1, *, rows: float = 1e9, design: float = 1.0, windows: int = 60) -> Natural:
    one = np.array([p])
    size, window, groups = np.array([rows]), np.array([1000.0]), np.array([[p], [1 - p], [1.0]]) * rows / design
    return Natural(one, one[None], np.array([design]), one * rows, size, window, windows, groups)


def _watch(natural: Natural, *, floor: float = 0.0, sign: float = 1.0, cap: float | None = None, n: int = 1) -> Watch:
    return Watch(natural, np.array([floor]), np.array([sign]), np.zeros(n, dtype=np.intp), cap, np.array([np.nan]))


def _at(events: float, rows: float, watch: Watch) -> float:
    path = paths(np.array([[events]]), np.array([[rows]]), watch)
    return float(log_evidence(path, np.array([0]), np.array([0]))[0, 0])


def test_with_a_known_share_it_is_the_mixture_of_likelihood_ratios() -> None:
    p, s, n = 0.1, 150.0, 1000.0
    wanted = np.log(np.mean(np.exp(TILTS * s - n * np.log(1 - p + p * np.exp(TILTS)))))
    assert _at(s, n, _watch(_known(p))) == pytest.approx(wanted, rel=1e-5)


def test_a_fall_is_the_rise_of_the_others() -> None:
    down = _at(60, 1000, _watch(_known(0.1), floor=0.01, sign=-1.0))
    up = _at(940, 1000, _watch(_known(0.9), floor=0.01))
    assert down == pytest.approx(up, rel=1e-9)


def test_e_has_expectation_at_most_one_at_the_edge_of_the_floor() -> None:
    # Exact, by summing over all outcomes of one window.
    from scipy.stats import binom

    p, floor, n = 0.05, 0.01, 200
    events = np.arange(n + 1, dtype=float)
    path = paths(events[:, None], np.full((n + 1, 1), float(n)), _watch(_known(p), floor=floor, n=n + 1))
    index = np.arange(n + 1)
    e = np.exp(log_evidence(path, index, index)[:, 0])
    assert float(binom.pmf(events, n, p + floor) @ e) <= 1 + 1e-9


@pytest.mark.parametrize("weaker", [_known(rows=5000.0), _known(design=4.0)])
def test_a_small_baseline_and_natural_variation_both_lower_the_evidence(weaker: Natural) -> None:
    assert _at(150, 1000, _watch(weaker)) < _at(150, 1000, _watch(_known())) - 0.5


def test_one_window_brings_no_more_than_the_cap() -> None:
    assert _at(900, 1000, _watch(_known(), cap=5.0)) <= 5.0 < _at(900, 1000, _watch(_known()))


def test_a_cap_is_kept_without_knowledge_of_variation_too() -> None:
    assert _at(900, 1000, _watch(_known(windows=2), cap=5.0)) <= 5.0


def test_events_that_came_together_are_one() -> None:
    events = np.array([[0.0], [1.0], [5.0], [24.0], [48.0]])
    assert grouped(events, np.full((5, 1), 24.0))[:, 0] == pytest.approx([0, 1, 1, 1, 2])
    assert grouped(events, np.ones((5, 1))) == pytest.approx(events)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_of_what_the_baseline_never_had_whole_windows_are_tries(sign: float) -> None:
    # Windows of 1,000 rows that are events all or none: exact, E has expectation 1 at the limit.
    limit, p = 0.03, 1e-6 if sign > 0 else 1 - 1e-6
    watch = replace(_watch(_known(p, design=1000.0), sign=sign), limit=np.array([limit]))
    none, every = ((0.0, 1000.0), (1000.0, 0.0))[sign < 0]
    quiet, loud = _at(none, 1000, watch), _at(every, 1000, watch)
    assert loud == pytest.approx(np.log(np.mean(np.exp(TILTS - np.log1p(limit * np.expm1(TILTS))))))
    assert (1 - limit) * np.exp(quiet) + limit * np.exp(loud) <= 1 + 1e-9
    assert _at(abs(none - 50), 1000, watch) == pytest.approx(loud)  # a part of a day is a day
    assert loud < _at(every, 1000, _watch(_known(p), sign=sign)) / 100


def test_empty_windows_say_nothing() -> None:
    assert _at(0, 0, _watch(_known())) == pytest.approx(0.0)


def test_look_backs_that_do_not_fit_have_no_evidence() -> None:
    path = paths(np.full((5, 1), 300.0), np.full((5, 1), 1000.0), _watch(_known(), n=5))
    out = over_look_backs(lambda a, b: log_evidence(path, a, b)[:, 0], 5)
    for i, back in enumerate(LOOK_BACKS):
        assert (out[i, : back - 1] == 0).all()
        assert (out[i, back - 1 :] > 0).all()


@pytest.mark.parametrize("rising", [1, 6])  # few of eight, and most of them
def test_only_what_has_gained_is_weighed_and_is_worth_the_same(rising: int) -> None:
    events = np.where(np.arange(8) < rising, 140.0, 90.0)[None] + np.array([[0.0], [4.0], [9.0]])
    natural = _known(0.1, rows=20_000.0, design=1.3).pick(np.zeros(8, dtype=np.intp))
    watch = Watch(natural, np.full(8, 0.01), np.ones(8), np.zeros(3, dtype=np.intp), 5.0, np.full(8, np.nan))
    path = paths(events, np.full((3, 8), 1000.0), watch)
    for first, last in ((np.array([0, 1, 2]), np.array([2, 2, 2])), (np.array([0, 0, 1]), np.array([0, 1, 1]))):
        every, some = log_evidence(path, first, last), log_evidence(path, first, last, idle=False)
        assert (some[:, :rising] == every[:, :rising]).all()  # bit for bit
        assert np.isneginf(some[:, rising:]).all()
        assert (every[:, rising:] < 0).all()
        assert mixed(some) == pytest.approx(mixed(every[:, :rising]) + np.log(rising / 8))
    assert (mixed(np.full((2, 3), -np.inf)) < -30).all()


def test_up_to_48_windows_a_fifth_of_the_evidence_is_lost_between_starts_at_most() -> None:
    near = [back for back in LOOK_BACKS if back <= 48]
    assert near[:4] == [1, 2, 3, 4]
    assert all(1 - a / b <= 0.2 + 1e-9 for a, b in pairwise(near[3:]))
    assert LOOK_BACKS[-1] == 512
    assert START * len(LOOK_BACKS) == pytest.approx(18)  # closer ones are no more evidence


def test_split_windows_bring_the_same_evidence_as_whole_ones() -> None:
    whole = _at(150, 1000, _watch(_known(rows=20000.0)))
    path = paths(np.array([[60.0], [90.0]]), np.array([[400.0], [600.0]]), _watch(_known(rows=20000.0), n=2))
    assert float(log_evidence(path, np.array([0]), np.array([1]))[0, 0]) == pytest.approx(whole)


def test_the_cap_is_a_share_of_what_an_alarm_needs() -> None:
    assert cap_of(365.0, 1 / 8) == pytest.approx(0.6 * np.log(365 * 8))
    assert cap_of(1.5, 1.0) == 1.0


@pytest.mark.parametrize(
    ("evidence", "listed"),
    [
        ([10.0, 1.0, 0.0], ()),
        ([100.0, 1.0, 0.0], (0,)),
        ([50.0, 60.0, 0.0], (1, 0)),
        ([34.0, 34.0, 34.0], (0, 1, 2)),
    ],
)
def test_e_bh_lists_the_largest_r_that_reach_the_limit_together(evidence: list[float], listed: tuple[int, ...]) -> None:
    assert e_bh(np.array(evidence), np.ones(3), 100.0) == listed
