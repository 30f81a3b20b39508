from __future__ import annotations

import numpy as np
import pytest

from assay.inference.evidence import LOOK_BACKS
from assay.monitoring.walk import CALM_LOOK_BACK, CALM_WINDOWS, walk


def _evidence(signals: int, windows: int) -> np.ndarray:
    return np.zeros((signals, len(LOOK_BACKS), windows))


def test_idle_signals_never_add_up_to_an_alarm() -> None:
    quiet = _evidence(10, 600)
    quiet[:] = 1.0  # no rows at all: E is 1 for every look-back
    assert walk(quiet, np.full(10, 0.1), 12.0) == ()


def test_one_cause_opens_one_incident_until_it_is_calm() -> None:
    e = _evidence(2, 60)
    e[0, 0, 5:20] = 1e6
    opened = walk(e, np.array([0.5, 0.5]), 365.0)
    assert [(o.signal, o.window, o.calm) for o in opened] == [(0, 5, 19 + CALM_WINDOWS)]


def test_after_calm_it_can_open_again_and_reaches_back_no_further() -> None:
    e = _evidence(1, 60)
    e[0, 0, [5, 40]] = 1e6
    first, second = walk(e, np.array([1.0]), 365.0)
    assert (first.window, second.window) == (5, 40)
    assert second.start == (first.calm or 0) + 1


def test_a_look_back_behind_the_restart_does_not_count() -> None:
    e = _evidence(1, 40)
    e[0, 0, 5] = 1e6
    e[0, LOOK_BACKS.index(16), 20] = 1e6
    assert len(walk(e, np.array([1.0]), 365.0)) == 1


def test_an_open_incident_does_not_hide_another_signal() -> None:
    e = _evidence(2, 60)
    e[0, 0, 5:] = 1e6
    e[1, 0, 9:] = 1e6
    assert [(o.signal, o.window) for o in walk(e, np.array([0.5, 0.5]), 365.0)] == [(0, 5), (1, 9)]


def test_many_weak_signals_together_reach_the_limit() -> None:
    e = _evidence(4, 3)
    e[:, 0, 2] = 400.0
    opened = walk(e, np.full(4, 0.25), 365.0)
    assert {o.signal for o in opened} == {0, 1, 2, 3}  # the e-BH list: 4 of 100 each reach 365 / 4
    assert walk(e * 0.9, np.full(4, 0.25), 365.0) == ()


def test_an_incident_found_by_a_long_look_back_stays_open_while_that_speaks() -> None:
    e = _evidence(1, 120)
    e[0, LOOK_BACKS.index(32), 40:] = 1e6
    assert [(o.window, o.calm) for o in walk(e, np.array([1.0]), 365.0)] == [(40, None)]


@pytest.mark.parametrize(("back", "closed"), [(CALM_LOOK_BACK, None), (20, 5 + CALM_WINDOWS)])
def test_it_is_calm_when_no_look_back_up_to_sixteen_windows_speaks(back: int, closed: int | None) -> None:
    """Also where one window was enough to open it; what only longer ones say keeps nothing open."""
    e = _evidence(1, 60)
    e[0, 0, 5] = 1e6
    e[0, LOOK_BACKS.index(back), 6:] = 3.0
    (opened,) = walk(e, np.array([1.0]), 365.0)
    assert (opened.window, opened.calm) == (5, closed)


def test_a_single_loud_window_begins_the_calm_anew() -> None:
    e = _evidence(1, 60)
    e[0, 0, 5] = 1e6
    e[0, 0, 5 + CALM_WINDOWS - 1] = 3.0
    (opened,) = walk(e, np.array([1.0]), 365.0)
    assert opened.calm == 5 + 2 * CALM_WINDOWS - 1
    assert CALM_WINDOWS == 8  # as the documents say


def test_behind_the_restart_evidence_counts_from_the_first_window_that_may() -> None:
    """Closed after window 13: in 14 only the look-back of one window begins behind it, in 15 that of two."""
    e = _evidence(1, 40)
    e[0, 0, 5] = 1e6
    for window, back, opens in ((14, 2, False), (14, 1, True), (15, 3, False), (15, 2, True)):
        again = e.copy()
        again[0, LOOK_BACKS.index(back), window] = 1e6
        opened = walk(again, np.array([1.0]), 365.0)
        assert [(one.window, one.start) for one in opened] == [(5, 0), *([(window, 14)] if opens else [])]


def test_what_is_open_is_kept_open_by_look_backs_behind_the_restart_too() -> None:
    """A cause that goes on is no second incident; the bad days of the first keep the second open while they speak."""
    e = _evidence(1, 60)
    e[0, 0, [5, 15]] = 1e6
    e[0, LOOK_BACKS.index(12), 15:30] = 3.0
    first, second = walk(e, np.array([1.0]), 365.0)
    assert (first.calm, second.window, second.calm) == (13, 15, 29 + CALM_WINDOWS)


def test_a_signal_that_opens_again_must_be_calm_as_long_again() -> None:
    e = _evidence(1, 80)
    e[0, 0, [5, 40]] = 1e6
    assert [one.calm for one in walk(e, np.array([1.0]), 365.0)] == [5 + CALM_WINDOWS, 40 + CALM_WINDOWS]


def test_where_none_is_listed_the_strongest_open_until_the_rest_is_below_the_limit() -> None:
    """By e-BH not even one stands for itself: 300, 2 x 40 and 3 x 30 are below 365. Their sum is not."""
    e = _evidence(3, 3)
    e[:, 0, 2] = np.array([30.0, 300.0, 40.0]) * 3
    assert [(one.signal, one.level) for one in walk(e, np.full(3, 1 / 3), 365.0)] == [(1, 900.0)]
    assert [one.signal for one in walk(e, np.full(3, 1 / 3), 370.0)] == [1]  # reached, not exceeded
    assert walk(e, np.full(3, 1 / 3), 370.5) == ()
    assert [one.signal for one in walk(e, np.full(3, 1 / 3), 60.0)] == [1, 2, 0]


def test_a_signal_counts_by_its_share_of_the_budget() -> None:
    e = _evidence(2, 3)
    e[:, 0, 2] = 1000.0
    assert [one.signal for one in walk(e, np.array([0.9, 0.1]), 365.0)] == [0]
