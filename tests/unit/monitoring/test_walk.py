from __future__ import annotations

import numpy as np

from assay.inference.evidence import LOOK_BACKS
from assay.monitoring.walk import CALM_WINDOWS, walk


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
