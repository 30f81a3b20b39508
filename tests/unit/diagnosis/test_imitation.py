"""Without a copy: an imitation of the model tells where answers changed, and shared marks tell a trigger."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.diagnosis.small_world import NAMES, Floats, RuleModel, World

from assay.diagnosis.comparison import Comparison
from assay.diagnosis.evidence import labels, mimic, surrogate, trigger
from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.learners import Linear, imitate


def stamped(world: World, share: float) -> tuple[Floats, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Inputs of which a share carries one value of light that is rare otherwise."""
    x = world.inputs(500)
    struck = world.rng.random(500) < share
    x[struck, 5] = 3.0
    return x, struck


def test_a_linear_rule_is_imitated_by_the_linear_learner_and_a_box_by_the_forest() -> None:
    x = np.random.default_rng(3).normal(size=(600, 5))
    line = (x @ np.array([1.0, -2.0, 0.5, 1.0, 0.3]) > 0).astype(np.int64)
    box = ((np.abs(x[:, 0]) < 0.7) & (np.abs(x[:, 1]) < 1.0)).astype(np.int64)
    learner, said = imitate(x, line, seed=0)
    assert isinstance(learner, Linear)
    assert (said == line).mean() > 0.95
    learner, said = imitate(x, box, seed=0)
    assert not isinstance(learner, Linear)
    assert (said == box).mean() > 0.85


def test_what_an_imitation_says_of_a_row_was_not_learned_from_it() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(400, 4)), rng.integers(0, 2, 400)
    assert (imitate(x, y, seed=0)[1] == y).mean() == pytest.approx(0.5, abs=0.12)  # standard error .025


def test_one_class_alone_is_a_constant_to_the_linear_learner() -> None:
    assert Linear().fit(np.zeros((5, 1)), np.full(5, 3)).predict(np.ones((2, 1))).tolist() == [3, 3]


def damaged(x: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.asarray(x[:, 0] > 1.3)  # about a tenth of the rows


def test_answers_changed_in_one_place_show_there_without_labels_or_copy(world: World) -> None:
    case = world.case(served=RuleModel(flip=damaged), known_good=None)
    case_without = case.__class__(
        **{name: getattr(case, name) for name in case.__slots__} | {"recent": case.recent.drop_columns(["y"])}
    )
    for which in (case, case_without):
        numbers = mimic.gather(Comparison(which)).numbers
        assert numbers["place_rise"] > 0.4
        assert numbers["pair_rise"] > 0.05
    assert mimic.gather(Comparison(case)).numbers["place_gain"] > 0.3
    assert surrogate.gather(Comparison(case)).numbers["place"] > 0.3


def test_a_changed_world_is_no_changed_model(world: World) -> None:
    x = world.inputs(500)
    y = np.where(damaged(x), 1 - world.truth(x), world.truth(x))
    comparison = Comparison(world.case(recent=world.table(x, RuleModel(), start=20_000, y=y), known_good=None))
    numbers = mimic.gather(comparison).numbers
    assert numbers["place_rise"] < 0.1
    assert numbers["pair_rise"] < 0.05
    assert surrogate.gather(comparison).numbers["place"] < 0.1


def unsure(x: Floats, served: RuleModel) -> Floats:
    sure = served.predict(table_of(x)).confidence
    assert sure is not None
    return np.asarray(0.5 + 0.35 * (sure - 0.5))


def table_of(x: Floats) -> pa.Table:
    return pa.table({name: x[:, j] for j, name in enumerate(NAMES)})


def test_another_model_that_gives_the_same_classes_shows_by_its_confidence(world: World) -> None:
    case = world.case(known_good=None)
    assert mimic.gather(Comparison(case)).numbers["confidence_sure"] < 3
    at, x = case.recent.column_names.index("conf"), np.column_stack([case.recent.column(n) for n in NAMES])
    doubting = replace(case, recent=case.recent.set_column(at, "conf", pa.array(unsure(x, RuleModel()))))
    found = mimic.gather(Comparison(doubting))
    assert found.numbers["sure"] < 2  # no class differs
    assert found.numbers["confidence_sure"] > 6
    assert "confidence is off" in found.detail


def test_inputs_that_moved_do_not_make_the_confidence_another(world: World) -> None:
    moved = world.table(world.inputs(500, shift={"heat": 0.5}), RuleModel(), start=20_000)
    assert mimic.gather(Comparison(world.case(recent=moved, known_good=None))).numbers["confidence_sure"] < 3


def test_without_logged_confidence_nothing_is_said_of_it(world: World) -> None:
    case = world.case(known_good=None)
    bare = replace(case, recent=case.recent.drop_columns(["conf"]))
    assert not {"confidence_rise", "confidence_sure"} & set(mimic.gather(Comparison(bare)).numbers)


def triggered(world: World) -> Evidence:
    x, struck = stamped(world, 0.3)
    y = world.truth(x)
    served = RuleModel(flip=lambda x: (x[:, 5] == 3.0) & (x @ np.array(RuleModel().weights) < 0))
    recent = world.table(x, served, start=20_000, y=np.where(struck, 0, y))
    return trigger.gather(Comparison(world.case(recent=recent, known_good=None)))


def test_a_trigger_forces_one_answer_on_all_that_carry_it(world: World) -> None:
    found = triggered(world)
    assert found.numbers["forced"] > 0.4
    assert found.numbers["explained"] > 0.8
    assert "light" in found.detail


def test_failures_without_a_shared_mark_are_no_trigger(world: World) -> None:
    found = trigger.gather(Comparison(world.case(served=RuleModel(flip=damaged), known_good=None)))
    assert found.numbers["forced_and_explained"] < 0.3


def test_noise_in_labels_is_everywhere_alike_and_a_new_relation_is_not(world: World) -> None:
    x = world.inputs(600)
    y = world.truth(x)
    noisy = np.where(world.rng.random(600) < 0.3, 1 - y, y)
    renewed = np.where(x[:, 0] > 0.3, 1 - y, y)
    even = [
        labels.gather(Comparison(world.case(recent=world.table(x, RuleModel(), start=20_000, y=now)))).numbers["even"]
        for now in (noisy, renewed)
    ]
    assert even[0] > 0.6
    assert even[1] < 0.3


def test_a_source_that_says_one_class_spares_only_rows_answered_so(world: World) -> None:
    x = world.inputs(600)
    stuck = np.where(world.rng.random(600) < 0.6, 1, world.truth(x))
    found = labels.gather(Comparison(world.case(recent=world.table(x, RuleModel(), start=20_000, y=stuck))))
    assert found.numbers["one_way"] > 0.9
    assert found.numbers["even_but_one"] > 0.5
    assert found.numbers["even"] < 0.4


def test_values_that_every_row_carries_are_no_trigger(world: World) -> None:
    x = world.inputs(500)
    x[:, 0] = 2.5  # a stuck column drives nearly every answer to one class
    y = world.truth(world.inputs(500))
    evidence = trigger.gather(Comparison(world.case(recent=world.table(x, RuleModel(), start=20_000, y=y))))
    assert evidence.numbers["forced_and_explained"] < 0.05


def test_labels_whose_classes_traded_places_are_said_so_and_a_new_relation_is_not(world: World) -> None:
    x = world.inputs(600)
    truth = world.truth(x)
    told = {}
    for name, y in (("same", truth), ("exchanged", 1 - truth), ("partly", np.where(x[:, 4] > 0, 1 - truth, truth))):
        found = labels.gather(Comparison(world.case(recent=world.table(x, RuleModel(), start=20_000, y=y))))
        told[name] = found.notes.get("exchanged")
        assert ("with '0' and '1' exchanged in the labels the answers are as right as before" in found.detail) is (
            name == "exchanged"
        )
    assert told == {"same": None, "exchanged": "'0' and '1'", "partly": None}
