"""Ids that several windows have, counted as windows come and go."""

from __future__ import annotations

import random
from collections import Counter

from assay.monitoring.looking import Met


def anew(windows: list[frozenset[object]]) -> int:
    """How often an id is in one more of these windows, counted from nothing."""
    times = Counter(one for ids in windows for one in ids)
    return sum(count - 1 for count in times.values())


def test_an_id_of_three_windows_is_there_twice_too_often() -> None:
    assert Met().again([frozenset("ab"), frozenset("bc"), frozenset("bd")]) == 2


def test_windows_that_go_take_their_ids_along() -> None:
    met, first, second, third = Met(), frozenset("ab"), frozenset("ab"), frozenset("a")
    assert met.again([first, second, third]) == 3
    assert met.again([second, third]) == 1
    assert met.again([third]) == 0
    assert met.again([]) == 0
    assert met.again([first]) == 0
    assert met.again([first, third]) == 1


def test_what_was_known_before_changes_no_answer() -> None:
    draw = random.Random(5)  # noqa: S311 - no secret is made of it
    met, windows = Met(), list[frozenset[object]]()
    for _ in range(300):
        windows = [one for one in windows if draw.random() > 0.2]
        windows += [frozenset(draw.choices(range(40), k=draw.randrange(12))) for _ in range(draw.randrange(3))]
        assert met.again(windows) == anew(windows)
