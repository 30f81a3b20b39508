"""Half-lines together, as a detector: patience with odd days, and whom it asks what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from assay.inference.natural import learn
from assay.inference.ranks import spans_of, terms_of_ranks
from assay.monitoring.detectors.base import View
from assay.monitoring.detectors.fixed import FixedWatcher
from assay.monitoring.detectors.rank import PATIENCE, Rank
from assay.monitoring.floors import SENSITIVE, Floors
from assay.monitoring.signals import SignalSpec

EDGES = tuple(float(x) for x in norm.ppf(np.arange(1, 20) / 20))
NUMBER = SignalSpec("feature:x", "inputs", "ordered", "x", edges=EDGES)


def _counts(windows: int, *, shift: float = 0.0, seed: int = 1) -> np.ndarray:
    share = np.diff(norm.cdf(np.array([-np.inf, *EDGES, np.inf]) - shift))
    return np.random.default_rng(seed).multinomial(1000, share, size=windows).astype(float)


def _watch(
    live: np.ndarray,
    *,
    spec: SignalSpec = NUMBER,
    cap: float | None = None,
    baseline: int = 20,
    floors: Floors | None = None,
) -> FixedWatcher:
    natural = learn(*Rank().tally(spec, _counts(baseline, seed=2)), signals=1)
    return Rank().watch(View(spec, live, natural, floors or Floors(), np.zeros(len(live), dtype=np.intp), cap))


def test_one_window_brings_half_of_what_it_may_elsewhere() -> None:
    every = np.arange(3)
    watcher = _watch(_counts(3, shift=1.0), cap=8.0)
    assert watcher.log_evidence(every, every).max() <= PATIENCE * 8.0 + 1e-9
    assert watcher.log_evidence(np.array([0]), np.array([2]))[0] > 2 * PATIENCE * 8.0
    assert _watch(_counts(3, shift=1.0)).log_evidence(every, every).min() > 8.0


@pytest.mark.parametrize(("shift", "side"), [(0.3, "down"), (-0.3, "up")])
def test_the_half_line_in_the_middle_speaks_for_all(shift: float, side: str) -> None:
    question = _watch(_counts(8, shift=shift)).strongest(0, 7)
    assert question.side == side
    assert question.label.startswith("x <= ")
    assert 5 <= len(question.bins) <= 15


@pytest.mark.parametrize(("sides", "harmful"), [("up", 0.3), ("down", -0.3)])
def test_only_the_harmful_direction_is_asked(sides: str, harmful: float) -> None:
    spec = replace(NUMBER, sides=sides)  # type: ignore[arg-type]  # one of its words
    at = np.array([0]), np.array([7])
    assert _watch(_counts(8, shift=harmful), spec=spec).log_evidence(*at)[0] > 10
    assert _watch(_counts(8, shift=-harmful), spec=spec).log_evidence(*at)[0] < 0


def test_a_few_edges_and_means_with_a_tolerance_of_their_own_are_left_to_others() -> None:
    assert not Rank().covers(replace(NUMBER, edges=(0.0, 1.0)))
    assert not Rank().covers(replace(NUMBER, span=(-1.0, 1.0), tolerance=0.1))
    assert Rank().covers(NUMBER)


def test_a_baseline_that_knows_no_half_line_asks_nothing() -> None:
    spec, live = NUMBER, _counts(2)
    natural = learn(*Rank().tally(spec, _counts(1)[:, ::-1] * 0.02), signals=1)  # 20 rows
    watcher = Rank().watch(View(spec, live, natural, Floors(), np.zeros(2, dtype=np.intp), None))
    assert np.isneginf(watcher.log_evidence(np.array([0]), np.array([1]))).all()


def test_without_windows_enough_to_know_nature_three_standard_errors_more_are_tolerated() -> None:
    known = _watch(_counts(12, shift=0.12), baseline=20)
    short = _watch(_counts(12, shift=0.12), baseline=7)
    at = np.array([0]), np.array([11])
    assert short.log_evidence(*at)[0] < known.log_evidence(*at)[0]
    for windows in (7, 20):  # what a row costs where nothing is tolerated but that
        natural = learn(*Rank().tally(NUMBER, _counts(windows, seed=2)), signals=1)
        error = np.sqrt(natural.share * (1 - natural.share) / natural.rows)
        asked = [(some, sign) for some in spans_of(natural) for sign in (1.0, -1.0)]
        wanted, _ = terms_of_ranks(natural, asked, floor=3 * error * (windows < 14), cap=None)
        terms = _watch(_counts(1), baseline=windows, floors=SENSITIVE).terms
        assert terms is not None
        assert terms.beyond == pytest.approx(wanted.beyond)


@pytest.mark.parametrize("shift", [0.025, -0.025])
def test_a_shift_that_stays_within_the_tolerance_is_none(shift: float) -> None:
    """A hundredth more below the median: less than the two of the tolerance, and plain in 100,000 rows."""
    at, live = (np.array([0]), np.array([99])), _counts(100, shift=shift)
    assert _watch(live, baseline=400).log_evidence(*at)[0] < 0
    assert _watch(live, baseline=400, floors=SENSITIVE).log_evidence(*at)[0] > 5


def test_each_window_is_held_against_the_shares_of_its_own_hour() -> None:
    hours = norm.cdf(np.array(EDGES) - np.array([[0.5], [-0.5]]))
    natural = replace(learn(*Rank().tally(NUMBER, _counts(20, seed=2)), signals=1), strata=hours)
    live = np.concatenate([_counts(4, shift=0.5, seed=3), _counts(4, shift=-0.5, seed=4)])
    for at, quiet in ((np.repeat([0, 1], 4), True), (np.repeat([1, 0], 4), False)):
        watcher = Rank().watch(View(NUMBER, live, natural, Floors(), at, None))
        assert (watcher.log_evidence(np.array([0, 4]), np.array([3, 7])).max() < 0) == quiet
