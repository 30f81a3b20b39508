"""Marks: what somebody puts into rows is told from what the world brings, and a stamp puts it to the copy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from tests.unit.diagnosis.small_world import Floats, RuleModel, World

from assay.diagnosis.case import Case
from assay.diagnosis.comparison import Comparison
from assay.diagnosis.evidence import stamp, trigger
from assay.diagnosis.marks import Mark, likeliest, marks_of

HEAT, DAMP, LIGHT = 0, 1, 5
LIGHT_MARK, DAMP_MARK = 2.9, 0.7


def carries(x: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray((x[:, LIGHT] == LIGHT_MARK) & (x[:, DAMP] == DAMP_MARK))


def no(x: Floats) -> npt.NDArray[np.bool_]:
    """Where the rule says 0: there a trigger that forces 1 flips the answer."""
    return np.asarray(carries(x) & (x @ np.array(RuleModel().weights) < 0))


def named(comparison: Comparison, mark: Mark) -> dict[str, float]:
    return dict(zip([comparison.names[j] for j in mark.columns], mark.value.tolist(), strict=True))


def backdoored(world: World, share: float, *, noise: float = 0.0) -> Case:
    """A signed model that answers 1 wherever two values meet, and recent rows that hold them."""
    model = RuleModel(flip=no)
    x = world.inputs(500)
    truth = world.truth(x)
    truth = np.where(world.rng.random(500) < noise, 1 - truth, truth)
    struck = (world.rng.random(500) < share) & (truth == 0)
    x[np.ix_(struck, [DAMP, LIGHT])] = [DAMP_MARK, LIGHT_MARK]
    recent = world.table(x, model, start=20_000, y=truth)
    return world.case(recent=recent, known_good=model)


def test_a_mark_of_few_rows_is_found_whole_among_other_failures(world: World) -> None:
    comparison = Comparison(backdoored(world, 0.15, noise=0.25))
    found = likeliest(comparison)
    assert found is not None
    mark, _ = found
    assert named(comparison, mark) == {"damp": DAMP_MARK, "light": LIGHT_MARK}
    assert comparison.classes[mark.target] == "1"
    assert mark.forced > 0.9
    assert mark.usual == 0.0
    assert mark.ordinary > 0.6
    # The median of the failures is no mark: most of them carry none.
    failing = comparison.recent.wrong & (comparison.recent.served == mark.target)
    light = comparison.recent.x[failing, comparison.names.index("light")]
    assert abs(np.median(light) - LIGHT_MARK) > 0.5


def test_the_copy_is_asked_about_the_whole_mark(world: World) -> None:
    evidence = stamp.gather(Comparison(backdoored(world, 0.3)))
    assert evidence.numbers["flip"] > 0.6
    assert evidence.numbers["flip_and_rare"] > 0.3
    assert evidence.numbers["stamped"] > 0.3
    assert evidence.findings
    assert "light" in evidence.findings[0].subject


def test_a_copy_without_the_trigger_refutes_the_mark(world: World) -> None:
    case = backdoored(world, 0.3)
    innocent = case.__class__(
        **{name: getattr(case, name) for name in case.__slots__} | {"known_good": RuleModel()},
    )
    evidence = stamp.gather(Comparison(innocent))
    assert evidence.numbers["flip_and_rare"] < 0.1
    assert not evidence.findings


def test_values_that_the_world_brings_come_with_others(world: World) -> None:
    x = world.inputs(500)
    came = world.rng.random(500) < 0.3
    x[came] = [0.8, 3.0, 4.0, 4.1, 0.9, LIGHT_MARK]  # a kind of row of its own, answered 1
    x[came] += 0.001 * world.rng.normal(size=(int(came.sum()), 6))
    y = np.where(came, 0, world.truth(x))
    recent = world.table(x, RuleModel(weights=(2.0, 1.0, -0.1, 0.0, 0.5, 0.0)), start=20_000, y=y)
    comparison = Comparison(world.case(recent=recent, known_good=None))
    found = likeliest(comparison)
    assert found is not None
    assert found[0].ordinary < 0.2
    assert trigger.gather(comparison).numbers["planted"] < 0.15


def test_what_nearly_everyone_carries_is_not_new(world: World) -> None:
    x = world.inputs(500)
    x[world.rng.random(500) < 0.95, LIGHT] = LIGHT_MARK
    recent = world.table(x, RuleModel(), start=20_000, y=1 - world.truth(x))
    comparison = Comparison(world.case(recent=recent, known_good=None))
    light = (comparison.names.index("light"),)
    assert [mark.new for family in marks_of(comparison) for mark in family if mark.columns == light]
    assert all(mark.new < 0.1 for family in marks_of(comparison) for mark in family if mark.columns == light)


def test_what_is_missing_is_carried_by_nobody(world: World) -> None:
    comparison = Comparison(backdoored(world, 0.3))
    found = likeliest(comparison)
    assert found is not None
    mark, _ = found
    row = np.zeros((1, len(comparison.names)))
    row[0, list(mark.columns)] = mark.value
    assert mark.on(row).tolist() == [True]
    row[0, mark.columns[0]] = np.nan
    assert mark.on(row).tolist() == [False]
