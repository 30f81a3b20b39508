from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.diagnosis.small_world import ROOT, RuleModel, World

from assay.diagnosis.case import ByteFacts, DeploymentFact
from assay.diagnosis.comparison import Comparison
from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.evidence.replay import gather
from assay.diagnosis.frames import Texts
from assay.diagnosis.replaying import compare_outputs, replay_sample, replay_samples, roots_of
from assay.errors import TableError
from assay.frameworks.base import Prediction, Predictor
from assay.monitoring.schema import PredictionSchema

A, B = "a" * 64, "b" * 64


def texts(*values: str) -> Texts:
    return np.array(values, dtype=object)


def test_an_unchanged_model_agrees_on_every_row(world: World) -> None:
    case = world.case()
    replay = replay_sample(case.recent, case)
    assert len(replay) == 500
    assert not replay.differs.any()
    assert gather(Comparison(case)).numbers == {"agrees": 1.0}


def test_edited_weights_are_a_fact_and_the_place_is_named(world: World) -> None:
    evidence = gather(Comparison(world.case(served=RuleModel(flip=lambda x: x[:, 4] > 0.3))))
    assert evidence.decides == "model-tampering"
    assert evidence.value is not None
    assert 0.1 < evidence.value < 0.25
    assert any("press > 0.2" in found.subject or "press > 0.3" in found.subject for found in evidence.findings)
    assert evidence.onset_s is not None


def test_two_odd_rows_are_no_fact(world: World) -> None:
    case = world.case()
    pred = case.recent.column("pred").to_numpy().copy()
    pred[:2] = 1 - pred[:2]
    at = case.recent.column_names.index("pred")
    case = replace(case, recent=case.recent.set_column(at, "pred", pa.array(pred)), before=case.before.slice(0, 0))
    assert gather(Comparison(case)).decides is None


def test_the_sample_is_repeatable_and_unguessable(world: World) -> None:
    case = world.case()
    first, again = replay_sample(case.recent, case, rows=50), replay_sample(case.recent, case, rows=50)
    other = replay_sample(case.recent, replace(case, key=b"another secret"), rows=50)
    assert first.row.tolist() == again.row.tolist()
    assert first.row.tolist() != other.row.tolist()


def test_half_of_the_sample_is_spread_over_classes_and_slices(world: World) -> None:
    case = world.case()
    site = np.array(["south"] * 500, dtype=object)
    site[:6] = "north"
    at = case.recent.column_names.index("site")
    table = case.recent.set_column(at, "site", pa.array(site))
    replay = replay_sample(table, case, rows=40)
    assert len(replay) == 40
    # 6 of 500 rows are north: a uniform sample of 40 holds all six about never, round robin takes them all.
    assert set(range(6)) <= set(replay.row.tolist())


def test_rows_with_new_nulls_are_left_to_the_pipeline(world: World) -> None:
    case = world.case()
    heat = case.recent.column("heat").to_numpy().copy()
    heat[:100] = np.nan
    at = case.recent.column_names.index("heat")
    recent = case.recent.set_column(at, "heat", pa.array(heat, from_pandas=True))
    replay = replay_sample(recent, case, rows=1000)
    assert (len(replay), replay.skipped) == (400, 100)
    assert not replay.differs.any()
    assert len(replay_sample(recent, replace(case, reference=recent), rows=1000)) == 500


def test_rows_of_versions_without_a_copy_are_counted_not_judged(world: World) -> None:
    case = world.case()
    table = case.recent.append_column("model", pa.array([A] * 400 + [B] * 100))
    case = replace(case, schema=replace(case.schema, model="model"), recent=table)
    replay = replay_sample(table, case, rows=1000)
    assert (len(replay), replay.skipped) == (400, 100)


def test_rows_without_an_answer_are_not_replayed(world: World) -> None:
    case = world.case()
    at = case.recent.column_names.index("pred")
    served = pa.array([None] * 50 + case.recent.column("pred").to_pylist()[50:])
    replay = replay_sample(case.recent.set_column(at, "pred", served), case, rows=1000)
    assert replay.row.tolist() == list(range(50, 500))


def test_rows_that_one_of_two_copies_cannot_answer_are_counted_not_judged(world: World) -> None:
    case = world.case()
    table = case.recent.append_column("model", pa.array([ROOT] * 400 + [B] * 100))
    case = replace(case, schema=replace(case.schema, model="model"), copies={B: Refusing()})
    replay = replay_sample(table, case, rows=1000)
    assert (len(replay), replay.skipped, replay.trouble) == (400, 100, None)
    assert len(replay.unanswered) == 1


def test_each_row_is_put_to_the_copy_of_the_version_that_served_it(world: World) -> None:
    old, new = RuleModel(), RuleModel(weights=(-2.0, 1.0, 1.0, 0.0, 0.5, 0.0))
    x = world.inputs(200)
    table = pa.concat_tables([world.table(x[:100], old, start=0), world.table(x[100:], new, start=100)])
    half = datetime(2026, 1, 1, 1, 40, tzinfo=UTC)
    case = replace(
        world.case(facts=ByteFacts(B, B, live_signed=True)),
        known_good=new,
        copies={A: old},
        deployments=(DeploymentFact(A, datetime(2025, 1, 1, tzinfo=UTC), half), DeploymentFact(B, half)),
    )
    replay = replay_sample(table, case, rows=1000)
    assert len(replay) == 200
    assert not replay.differs.any()
    assert replay_sample(table, replace(case, deployments=()), rows=1000).differs.any()


class Counting:
    """A copy that counts how often it is asked, and takes no row whose first column is above ``most``."""

    def __init__(self, most: float = np.inf, refusal: Exception | None = None) -> None:
        self.model, self.most, self.asked = RuleModel(), most, 0
        self.refusal = refusal or TableError("too hot")

    def predict(self, table: pa.Table) -> Prediction:
        self.asked += 1
        if max(table.column("heat").to_pylist()) > self.most:
            raise self.refusal
        return self.model.predict(table)


def test_windows_replayed_together_say_what_each_says_alone(world: World) -> None:
    case = world.case(served=RuleModel(flip=lambda x: x[:, 4] > 0.3))
    windows = [case.recent.slice(0, 200), case.recent.slice(0, 0), case.recent.slice(200, 300)]
    together = replay_samples(windows, case, rows=150)
    assert [len(one) for one in together] == [150, 0, 150]
    for window, one in zip(windows, together, strict=True):
        alone = replay_sample(window, case, rows=150)
        assert (one.row.tolist(), one.differs.tolist()) == (alone.row.tolist(), alone.differs.tolist())
        assert (one.hard.tolist(), one.pairs, one.trouble) == (alone.hard.tolist(), alone.pairs, alone.trouble)
    assert together[0].differs.any()


def test_a_copy_is_asked_about_all_windows_at_once(world: World) -> None:
    copy = Counting()
    case = replace(world.case(), known_good=copy)
    replay_samples([case.recent.slice(at, 100) for at in range(0, 500, 100)], case)
    assert copy.asked == 2, "once about all, and once more about the first rows"


def test_windows_are_asked_about_in_groups_that_fit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assay.diagnosis.replaying.ASKED_AT_ONCE", 200)
    copy = Counting()
    case = replace(world.case(), known_good=copy)
    found = replay_samples([case.recent.slice(at, 100) for at in range(0, 500, 100)], case)
    assert copy.asked == 6
    assert [len(one) for one in found] == [100] * 5
    assert not any(one.differs.any() for one in found)


@pytest.mark.parametrize("windows", [2, 3])
@pytest.mark.parametrize("refusal", [TableError, ValueError, TypeError, ZeroDivisionError])
def test_a_window_the_copy_cannot_answer_leaves_the_others_alone(
    world: World, windows: int, refusal: type[Exception]
) -> None:
    case = world.case()
    heat = case.recent.column("heat").to_numpy().copy()
    heat[120] = 1000.0
    table = case.recent.set_column(case.recent.column_names.index("heat"), "heat", pa.array(heat))
    copy = Counting(500.0, refusal("too hot"))
    found = replay_samples([table.slice(100 * at, 100) for at in range(windows)], replace(case, known_good=copy))
    others = windows - 2
    assert [len(one) for one in found] == [100, 0, *[100] * others]
    assert "too hot" in str(found[1].trouble)
    assert [bool(one.unanswered) for one in found] == [False, True, *[False] * others]
    assert copy.asked == 1 + 2 * windows - 1, "together, then each by itself and twice, but for the one it refuses"


def test_windows_whose_columns_are_others_are_not_asked_about_together(world: World) -> None:
    """A service that logs one more column, or a number in another type, from some day on."""
    copy = Counting()
    case = replace(world.case(), known_good=copy)
    table = case.recent.slice(0, 100)
    whole = pa.array(np.round(table.column("light").to_numpy()).astype(np.int64))
    typed = table.set_column(table.column_names.index("light"), "light", whole)
    found = replay_samples([table, typed, table.append_column("more", whole), table], case)
    assert [(len(one), one.trouble) for one in found] == [(100, None)] * 4
    assert copy.asked == 8


def test_a_window_holds_what_its_own_rows_came_to(world: World) -> None:
    """Of answers that come together, each window takes its own; one version that draws lots is told for both."""
    dice, case = Sampling(RuleModel()), world.case(n=400)
    roots = [ROOT] * 200 + [B] * 200
    table = case.recent.append_column("model", pa.array(roots))
    case = replace(case, schema=replace(case.schema, model="model"), copies={B: dice})
    steady, both = replay_samples([table.slice(0, 200), table], case)
    assert steady.varies == 0 < both.varies
    assert not both.differs[:200].any()
    assert both.differs[200:].any()


def test_a_row_without_a_deployment_belongs_to_the_recorded_version() -> None:
    table = pa.table({"ts": pa.array([0, 1], pa.timestamp("us")), "pred": [0, 1]})
    schema = PredictionSchema(time="ts", prediction="pred")
    assert roots_of(table, schema, (), A) == [A, A]
    assert roots_of(table, schema, (DeploymentFact(B, datetime(1999, 1, 1, tzinfo=UTC)),), A) == [A, A]


def test_rounded_confidence_and_single_precision_are_lawful() -> None:
    again = Prediction(np.array([1, 0]), np.array([0.91234567, 0.70000001]))
    differs, hard = compare_outputs(texts("1", "0"), np.array([0.912, 0.7]), again)
    assert not differs.any()
    assert not hard.any()
    differs, _ = compare_outputs(texts("1", "0"), np.array([0.91234567, 0.7012345678]), again)
    assert differs.tolist() == [False, True]


def test_another_class_at_a_tie_is_soft_and_away_from_it_hard() -> None:
    again = Prediction(np.array([1, 1]), None, np.array([[0.49, 0.51], [0.1, 0.9]]), (0, 1))
    differs, hard = compare_outputs(texts("0", "0"), None, again)
    assert differs.tolist() == [True, True]
    assert hard.tolist() == [False, True]


def test_scores_that_are_no_probabilities_excuse_nothing() -> None:
    again = Prediction(np.array([1]), None, np.array([[-3.0, -2.99]]), (0, 1))
    assert compare_outputs(texts("0"), None, again)[1].tolist() == [True]


def test_a_predicted_number_may_lose_single_precision_and_no_more() -> None:
    again = Prediction(np.array([1234.5678, 1234.5678]))
    differs, _ = compare_outputs(texts("1234.5679", "1234.9"), None, again)
    assert differs.tolist() == [False, True]


def test_a_converted_copy_that_differed_before_too_is_no_tampering(world: World) -> None:
    # The copy is a slightly other build: confidences are off by a thousandth at most, then as now.
    case = replace(world.case(), known_good=RuleModel(weights=(2.001, 1.0, -1.0, 0.0, 0.5, 0.0)))
    evidence = gather(Comparison(case))
    assert evidence.value is not None
    assert evidence.value > 0.2
    assert evidence.decides is None
    assert evidence.numbers == {}


def test_small_changes_that_begin_with_the_recent_rows_are_tampering(world: World) -> None:
    case = world.case(served=RuleModel(weights=(2.01, 1.0, -1.0, 0.0, 0.5, 0.0)))
    assert gather(Comparison(case)).decides == "model-tampering"


@pytest.mark.parametrize(("rows", "cause"), [(49, None), (50, "model-tampering")])
def test_small_changes_are_news_only_beside_rows_enough_of_before(world: World, rows: int, cause: str | None) -> None:
    case = world.case(served=RuleModel(weights=(2.01, 1.0, -1.0, 0.0, 0.5, 0.0)))
    assert gather(Comparison(replace(case, before=case.before.slice(0, rows)))).decides == cause


@pytest.mark.parametrize(("rows", "cause"), [(2, None), (3, "model-tampering")])
def test_two_small_changes_are_no_fact_however_few_the_rows(world: World, rows: int, cause: str | None) -> None:
    case = world.case()
    recent = case.recent.slice(0, 50)
    confidence = recent.column("conf").to_numpy().copy()
    confidence[:rows] -= 0.01
    recent = recent.set_column(recent.column_names.index("conf"), "conf", pa.array(confidence))
    found = gather(Comparison(replace(case, recent=recent)))
    assert (found.notes["differing"], found.notes["hard"], found.decides) == (rows, 0, cause)


def test_fewer_than_fifty_rows_are_missing_evidence(world: World) -> None:
    case = world.case(served=RuleModel(flip=lambda x: x[:, 4] > 0))
    few = gather(Comparison(replace(case, recent=case.recent.slice(0, 49))))
    assert (few.decides, few.missing) == (None, "only 49 rows could be replayed, 50 are needed")
    assert gather(Comparison(replace(case, recent=case.recent.slice(0, 50)))).decides == "model-tampering"


class Sampling:
    """A model that rolls dice for every tenth answer."""

    def __init__(self, honest: Predictor) -> None:
        self.honest, self.rng = honest, np.random.default_rng(0)

    def predict(self, table: pa.Table) -> Prediction:
        labels = self.honest.predict(table).labels
        odd = self.rng.random(len(labels)) < 0.1
        return Prediction(np.where(odd, 1 - labels, labels))


def test_a_sampling_model_is_compared_with_itself(world: World) -> None:
    dice = Sampling(RuleModel())
    evidence = gather(Comparison(replace(world.case(served=dice), known_good=dice)))
    assert evidence.notes["varies"] != 0
    assert evidence.decides is None
    shifted = replace(world.case(served=RuleModel(flip=lambda x: x[:, 0] > 0)), known_good=dice)
    assert gather(Comparison(shifted)).decides == "model-tampering"


class Refusing:
    def predict(self, table: pa.Table) -> Prediction:
        raise TableError(f"{table.num_rows} rows lack a column")


def test_a_copy_that_cannot_answer_is_missing_evidence(world: World) -> None:
    evidence = gather(Comparison(replace(world.case(), known_good=Refusing())))
    assert evidence.missing is not None
    assert "cannot answer" in evidence.missing


class Drawing(RuleModel):
    """Draws its answer from its own probabilities, anew at every call; `turned` of the ones are then served as 0."""

    def __init__(self, seed: int, turned: float = 0.0) -> None:
        super().__init__()
        self.rng, self.turned = np.random.default_rng(seed), turned

    def predict(self, table: pa.Table) -> Prediction:
        answer = super().predict(table)
        assert answer.scores is not None
        share = 0.25 + 0.5 * answer.scores[:, 1]
        label = (self.rng.random(len(share)) < share) & (self.rng.random(len(share)) >= self.turned)
        return Prediction(label.astype(np.int64))


def drawn(seed: int, turned: float) -> Evidence:
    world = World(seed)
    before, recent = Drawing(seed), Drawing(seed + 1, turned)
    case = replace(
        world.case(recent=world.table(world.inputs(800), recent, start=20_000)),
        before=world.table(world.inputs(800), before, start=10_000),
        known_good=Drawing(seed + 2),
    )
    return gather(Comparison(case))


def test_a_sampling_model_that_leans_to_a_class_is_a_fact_and_one_that_only_draws_is_none() -> None:
    # Half of the ones turned: of a model that differs from itself in four of ten rows, hardly more do so.
    assert [drawn(seed, 0.0).decides for seed in range(10)] == [None] * 10
    leaning = [drawn(seed, 0.5) for seed in range(10)]
    assert [evidence.decides for evidence in leaning] == ["model-tampering"] * 10
    honest = drawn(0, 0.0)
    assert honest.value is not None
    assert honest.value > 0.3


def test_a_lean_that_was_there_before_is_no_news() -> None:
    world, copy = World(1), Drawing(5)
    rows = {"before": 10_000, "recent": 20_000}
    tables = {name: world.table(world.inputs(800), Drawing(at, 0.3), start=at) for name, at in rows.items()}
    case = replace(world.case(), known_good=copy, **tables)
    assert gather(Comparison(case)).decides is None
