from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from tests.unit.diagnosis.small_world import NAMES, World

from assay.diagnosis.columns import compare_inputs, find_faults
from assay.diagnosis.learners import Floats, Ints

BLOCKS = tuple(np.arange(i, i + 250) for i in range(0, 1000, 250))


def faults(trusted: Floats, recent: Floats, blocks: Sequence[Ints] = BLOCKS) -> dict[str, str]:
    found, _ = find_faults(NAMES, trusted, recent, blocks, compare_inputs(trusted, recent, blocks))
    return {fault.column: fault.kind for fault in found}


@pytest.fixture
def trusted(world: World) -> Floats:
    return world.inputs(1000)


def test_rows_like_the_trusted_ones_have_no_fault(world: World, trusted: Floats) -> None:
    assert faults(trusted, world.inputs(300)) == {}


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("nulls", lambda x: np.where(np.arange(len(x)) % 3 == 0, np.nan, x)),
        ("missing", lambda x: np.full_like(x, np.nan)),
        ("stuck", lambda x: np.full_like(x, 0.5)),
        ("rescaled", lambda x: x * 1000),
        ("rescaled", lambda x: x / 3.2808),
        ("outside", lambda x: np.where(np.arange(len(x)) % 3 == 0, 99.0 + x, x)),
    ],
)
def test_a_broken_column_is_named_with_what_is_wrong(
    world: World, trusted: Floats, kind: str, spoil: Callable[[Floats], Floats]
) -> None:
    recent = world.inputs(300)
    recent[:, 0] = spoil(recent[:, 0])
    assert faults(trusted, recent) == {"heat": kind}


def test_moved_columns_are_named_with_their_sources(world: World, trusted: Floats) -> None:
    recent = np.roll(world.inputs(300), -1, axis=1)
    found, _ = find_faults(NAMES, trusted, recent, BLOCKS, compare_inputs(trusted, recent, BLOCKS))
    assert {fault.column: fault.source for fault in found} == dict(zip(NAMES, (*NAMES[1:], NAMES[0]), strict=True))


def test_a_month_that_is_one_month_is_not_stuck(world: World, trusted: Floats) -> None:
    recent = world.inputs(250)
    for i, block in enumerate(BLOCKS):
        trusted[block, 0] = i
    recent[:, 0] = 1.0
    assert faults(trusted, recent) == {}


def test_a_moderate_natural_shift_is_no_fault(world: World, trusted: Floats) -> None:
    assert faults(trusted, world.inputs(300, {"heat": 0.7, "damp": 0.9})) == {}


def test_choosing_rows_narrows_a_column_without_a_change_of_unit(world: World, trusted: Floats) -> None:
    warm = world.inputs(900)
    assert "rescaled" not in faults(trusted, warm[warm[:, 0] > 0.3]).values()
