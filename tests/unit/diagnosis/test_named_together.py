"""Two rules of the verdict: both kinds of drift count together, and impossible labels are a fact."""

from __future__ import annotations

import numpy as np
from tests.unit.diagnosis.small_world import RuleModel, World

from assay.diagnosis.comparison import Comparison
from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.evidence.labels import gather
from assay.diagnosis.verdict import decide
from assay.diagnosis.weights import Weights

CAUSES = ("intact", "covariate-drift", "concept-drift", "data-fault", "model-tampering", "backdoor")
FELL = Evidence("concept", 1.0, numbers={"fall": 1.0, "fall_at_least": 0.5}, detail="accuracy fell.")
AGREES = Evidence("replay", 0.0, numbers={"agrees": 1.0}, detail="the copy agrees.")
SURROGATE = Evidence("surrogate", 0.0, detail="no better.")


def weighed(**scores: float) -> Weights:
    """Causes that score so, whatever is seen; the others score 0."""
    return Weights(
        verdicts=CAUSES,
        measures=("concept.fall",),
        middle=np.zeros(1),
        spread=np.ones(1),
        coefficients=np.zeros((6, 1)),
        intercepts=np.array([scores.get(cause.replace("-", "_"), 0.0) for cause in CAUSES]),
        alone={},
        made={},
    )


def test_two_kinds_of_drift_that_are_likely_together_are_not_unknown() -> None:
    both = weighed(covariate_drift=3.0, concept_drift=3.1, data_fault=1.0)
    for proof in (AGREES, SURROGATE):
        diagnosis = decide([proof, FELL], weights=both)
        assert diagnosis.verdict == "concept-drift"
        assert diagnosis.probabilities["concept-drift"] < 0.5
        assert "that it is natural" in diagnosis.explanation[0]
        assert not diagnosis.escalate


def test_they_count_together_only_where_something_clears_the_model() -> None:
    both = weighed(covariate_drift=3.0, concept_drift=3.1)
    assert decide([FELL], weights=both).verdict == "unknown"


def test_they_count_together_only_from_two_thirds_on() -> None:
    hardly = weighed(covariate_drift=0.2, concept_drift=0.3)
    diagnosis = decide([AGREES, FELL], weights=hardly)
    assert sum(diagnosis.probabilities[name] for name in ("covariate-drift", "concept-drift")) < 2 / 3
    assert diagnosis.verdict == "unknown"


def test_two_kinds_of_attack_that_are_likely_together_are_not_unknown() -> None:
    both = weighed(model_tampering=3.3, backdoor=3.6, data_fault=1.0)
    diagnosis = decide([SURROGATE, FELL], weights=both)
    assert max(diagnosis.probabilities.values()) < 0.5
    assert diagnosis.verdict in ("model-tampering", "backdoor")
    assert diagnosis.escalate
    hardly = weighed(model_tampering=0.7, backdoor=1.0)
    assert decide([SURROGATE, FELL], weights=hardly).verdict == "unknown"


def test_a_majority_says_only_how_sure_it_is() -> None:
    diagnosis = decide([AGREES, FELL], weights=weighed(concept_drift=5.0))
    assert diagnosis.verdict == "concept-drift"
    assert "that it is natural" not in diagnosis.explanation[0]


def test_a_fact_about_labels_does_not_call_security() -> None:
    stuck = Evidence("labels", 0.9, decides="data-fault", detail="every recent label is 'rain'.")
    diagnosis = decide([AGREES, stuck, FELL], weights=weighed())
    assert (diagnosis.verdict, diagnosis.escalate) == ("data-fault", False)
    differs = Evidence("replay", 0.2, decides="model-tampering", detail="outputs differ.")
    assert decide([differs, stuck, FELL], weights=weighed()).verdict == "model-tampering"


def test_labels_of_one_kind_against_answers_that_used_to_be_right_are_a_fact() -> None:
    world = World(3)
    x = world.inputs(300)
    stuck = world.table(x, RuleModel(), start=2_000, y=np.ones(300, dtype=np.int64))
    found = gather(Comparison(world.case(recent=stuck)))
    assert found.decides == "data-fault"
    assert found.detail.startswith("every recent label is '1', against what the model answers")


def test_a_season_of_one_kind_that_the_model_sees_too_is_no_fact() -> None:
    world = World(3)
    x = world.inputs(300, shift={"heat": 9.0})  # so hot that the answer is always 1, and true
    drought = world.table(x, RuleModel(), start=2_000)
    found = gather(Comparison(world.case(recent=drought)))
    assert found.numbers["one_sided"] == 1.0
    assert found.decides is None
