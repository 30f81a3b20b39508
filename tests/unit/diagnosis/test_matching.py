from __future__ import annotations

import numpy as np
import pytest
from tests.unit.diagnosis.small_world import World

from assay.diagnosis.matching import ks, match_columns, rank_correlation

ALL = np.arange(6)


@pytest.mark.parametrize("shift", [1, -1, 2])
def test_rotated_columns_are_matched_to_where_they_came_from(world: World, shift: int) -> None:
    old, new = world.inputs(800), np.roll(world.inputs(600), shift, axis=1)
    match = match_columns(old, new, ALL)
    assert match.source.tolist() == np.roll(np.arange(6), shift).tolist()
    assert len(match.moved) == 6


def test_two_swapped_columns_leave_the_others_in_place(world: World) -> None:
    new = world.inputs(600)[:, [0, 1, 5, 3, 4, 2]]
    match = match_columns(world.inputs(800), new, ALL)
    assert {int(j): int(match.source[j]) for j in match.moved} == {2: 5, 5: 2}


def test_columns_in_place_and_columns_alike_are_not_called_moved(world: World) -> None:
    assert not len(match_columns(world.inputs(800), world.inputs(600), ALL).moved)
    rng = np.random.default_rng(1)
    alike, later = rng.normal(size=(500, 6)), rng.normal(size=(500, 6))
    assert not len(match_columns(alike, later[:, ::-1], ALL).moved)


def test_a_shift_of_all_columns_is_not_explained_by_moving_them(world: World) -> None:
    assert not len(match_columns(world.inputs(800), world.inputs(600) + 1.5, ALL).moved)


def test_the_distance_of_two_samples() -> None:
    assert ks(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 1.0
    assert ks(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0, np.nan])) == pytest.approx(0.25)
    assert ks(np.array([np.nan]), np.array([1.0])) == 0.0


def test_a_constant_column_goes_with_nothing() -> None:
    x = np.column_stack([np.arange(5.0), np.ones(5), -(np.arange(5.0) ** 3)])
    assert rank_correlation(x) == pytest.approx(np.array([[1, 0, -1], [0, 0, 0], [-1, 0, 1.0]]))
