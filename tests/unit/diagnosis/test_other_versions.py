"""Outputs that the recorded version does not give and another signed one does: when that one is excused by them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.diagnosis.small_world import RuleModel, World

from assay.diagnosis.case import ByteFacts, DeploymentFact
from assay.diagnosis.comparison import Comparison
from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.evidence.replay import gather
from assay.diagnosis.verdict import decide
from assay.frameworks.base import Prediction, Predictor

A, B = "a" * 64, "b" * 64
OLD, NEW = RuleModel(), RuleModel(weights=(-2.0, 1.0, 1.0, 0.0, 0.5, 0.0))
LATE = datetime(2026, 3, 1, tzinfo=UTC)


def test_outputs_of_another_signed_version_are_an_unrecorded_deployment(world: World) -> None:
    """Recorded late, or an older one put back: the rows are not those of the version recorded for their time."""
    old, new = RuleModel(), RuleModel(weights=(-2.0, 1.0, 1.0, 0.0, 0.5, 0.0))
    late = datetime(2026, 3, 1, tzinfo=UTC)
    case = replace(
        world.case(facts=ByteFacts(B, B, live_signed=True), recent=world.table(world.inputs(500), new, start=20_000)),
        known_good=new,
        copies={A: old},
        deployments=(DeploymentFact(A, datetime(2025, 1, 1, tzinfo=UTC), late), DeploymentFact(B, late)),
    )
    found = gather(Comparison(case))
    assert (found.decides, found.notes["other_version"]) == ("unrecorded-deployment", B)
    assert (
        "The signed copy of another version gives them: bbbbbbbbbbbb, recorded as live since 2026-03-01" in found.detail
    )
    diagnosis = decide([found])
    assert (diagnosis.verdict, diagnosis.escalate) == ("unrecorded-deployment", True)
    third = RuleModel(weights=(-2.0, 1.0, 1.0, 0.0, 1.5, 0.0))
    edited = world.table(world.inputs(500), third, start=20_000)
    assert gather(Comparison(replace(case, recent=edited))).decides == "model-tampering"
    honest = replace(case.schema, model="model")
    says = case.recent.append_column("model", [[A] * 500])  # the rows say themselves which version answered
    assert gather(Comparison(replace(case, schema=honest, recent=says))).decides == "model-tampering"


def exchanged(
    world: World, served: Predictor, *, rows: int | None = None, copy: Predictor = NEW, own: str | None = None
) -> Evidence:
    """What replay says where A is recorded and something else answered so many of the rows that show it.

    Args:
        world: Draws the rows.
        served: What answered them; A the others.
        rows: How many; all of them where nothing is said.
        copy: The copy of B, which is recorded as live later on.
        own: What a hundred of the rows say which version answered them; nothing where nothing is said.
    """
    x = world.inputs(500)
    recent, honest = world.table(x, served, start=20_000), world.table(x, OLD, start=20_000)
    if rows is not None:
        shown = np.flatnonzero(np.asarray(recent["pred"]) != np.asarray(honest["pred"]))[:rows]
        places = np.arange(500)
        places[shown] += 500
        recent = pa.concat_tables([honest, recent]).take(pa.array(places))
    case = world.case(facts=ByteFacts(B, B, live_signed=True), recent=recent)
    if own is not None:
        recent = recent.append_column("model", pa.array([own] * 100 + [None] * 400, pa.string()))
        case = replace(case, schema=replace(case.schema, model="model"), recent=recent)
    deployments = (DeploymentFact(A, datetime(2025, 1, 1, tzinfo=UTC), LATE), DeploymentFact(B, LATE))
    return gather(Comparison(replace(case, known_good=copy, copies={A: OLD}, deployments=deployments)))


@pytest.mark.parametrize(("rows", "cause"), [(9, "model-tampering"), (10, "unrecorded-deployment")])
def test_a_few_outputs_of_another_version_may_be_its_by_chance(world: World, rows: int, cause: str) -> None:
    found = exchanged(world, NEW, rows=rows)
    assert (found.notes["hard"], found.decides) == (rows, cause)


def test_an_older_version_put_back_is_an_unrecorded_deployment(world: World) -> None:
    recent = world.table(world.inputs(500), OLD, start=20_000)
    case = replace(
        world.case(facts=ByteFacts(B, B, live_signed=True), recent=recent),
        before=world.table(world.inputs(500), NEW, start=10_000),
        known_good=NEW,
        copies={A: OLD},
        deployments=(DeploymentFact(B, datetime(2025, 1, 1, tzinfo=UTC)),),
    )
    found = gather(Comparison(case))
    assert (found.decides, found.notes["other_version"]) == ("unrecorded-deployment", A)


def test_almost_another_version_is_none(world: World) -> None:
    """Whoever edits a version a little and serves it in place of the one recorded is not excused by it."""
    assert exchanged(world, NEW).decides == "unrecorded-deployment"
    edited = RuleModel(weights=(-2.001, 1.0, 1.0, 0.0, 0.5, 0.0))
    assert exchanged(world, edited).decides == "model-tampering"


def test_a_version_is_excused_only_by_answers_to_all_of_the_rows(world: World) -> None:
    """A hundred rows say that the recorded one answered them, which is not so."""
    assert exchanged(world, NEW, own=B).decides == "unrecorded-deployment"
    assert exchanged(world, NEW, own=A).decides == "model-tampering"


class Turning:
    """A copy that gives its answers at every other asking only, and others between."""

    def __init__(self) -> None:
        self.asked = 0

    def predict(self, table: pa.Table) -> Prediction:
        self.asked += 1
        return (NEW if self.asked % 2 else OLD).predict(table)


def test_a_copy_that_answers_in_another_way_each_time_excuses_nothing(world: World) -> None:
    assert exchanged(world, NEW, copy=Turning()).decides == "model-tampering"


def test_no_version_is_named_for_what_is_no_fact(world: World) -> None:
    """The copy was converted, and that of another version was not: it gives just what is served."""
    converted = RuleModel(weights=(2.001, 1.0, -1.0, 0.0, 0.5, 0.0))
    found = gather(Comparison(replace(world.case(), known_good=converted, copies={B: RuleModel()})))
    assert found.decides is None
    assert cast("int", found.notes["differing"]) > 10
    assert "other_version" not in found.notes
    assert "another version" not in found.detail
