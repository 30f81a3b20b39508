from __future__ import annotations

import numpy as np
import pytest

from assay.inference.sequence import rate_sequence


def test_no_rows_say_nothing() -> None:
    assert rate_sequence(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("events", "rows"), [(0, 50), (50, 50), (3, 50), (500, 10_000)])
def test_the_observed_rate_is_inside(events: int, rows: int) -> None:
    low, high = rate_sequence(events, rows)
    assert 0 <= low <= events / rows <= high <= 1
    assert low < high


def test_it_covers_the_truth_at_all_times_together() -> None:
    # 300 runs of 500 rows looked at after every tenth: at most 5 % may ever miss; the standard error is 1.3 %.
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(300):
        path = np.cumsum(rng.random(500) < 0.2)
        bounds = [rate_sequence(int(path[n - 1]), n) for n in range(10, 501, 10)]
        missed += any(not low <= 0.2 <= high for low, high in bounds)
    assert missed / 300 <= 0.05 + 0.03


@pytest.mark.parametrize("wider", [{"design": 4.0}, {"starts": 10}, {"level": 0.99}])
def test_what_makes_it_less_certain_makes_it_wider(wider: dict[str, float]) -> None:
    low, high = rate_sequence(100, 1000)
    wide_low, wide_high = rate_sequence(100, 1000, **wider)  # type: ignore[arg-type]  # one of three keywords
    assert wide_low < low < high < wide_high


@pytest.mark.parametrize("wrong", [{"events": 11.0}, {"events": -1.0}, {"level": 1.0}, {"design": 0.5}, {"starts": -1}])
def test_what_is_no_count_is_refused(wrong: dict[str, float]) -> None:
    arguments = {"events": 5.0, "rows": 10.0} | wrong
    with pytest.raises(ValueError, match=r"must be|need"):
        rate_sequence(**arguments)  # type: ignore[arg-type]  # the point of the test
