from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.evidence.shelf import CAN_SHOW, EVIDENCE
from assay.diagnosis.verdict import ATTACKS, VERDICTS, certainty, decide
from assay.diagnosis.weights import Weights, shipped
from assay.errors import DiagnosisError

CAUSES = ("intact", "covariate-drift", "concept-drift", "data-fault", "model-tampering", "backdoor")


def weights(**rows: list[float]) -> Weights:
    """Two measures, concept.fall and inputs.told_apart, weighed as given."""
    return Weights(
        verdicts=CAUSES,
        measures=("concept.fall", "inputs.told_apart"),
        middle=np.zeros(2),
        spread=np.ones(2),
        coefficients=np.array([rows.get(cause.replace("-", "_"), [0.0, 0.0]) for cause in CAUSES]),
        intercepts=np.zeros(6),
        alone={"concept": 0.5},
        made={},
    )


SURE = weights(concept_drift=[8.0, 0.0], covariate_drift=[0.0, 8.0])
FELL = Evidence("concept", 1.0, numbers={"fall": 1.0, "fall_at_least": 0.5}, detail="accuracy fell.")
AGREES = Evidence("replay", 0.0, numbers={"agrees": 1.0}, detail="the copy agrees.")
DIFFERS = Evidence("replay", 0.2, decides="model-tampering", detail="outputs differ.")
OTHER_BYTES = Evidence("bytes", 1.0, decides="unrecorded-deployment", detail="other bytes, validly signed.")
SURROGATE = Evidence("surrogate", 0.0, detail="no better.")
MOVED = Evidence("inputs", 0.9, numbers={"told_apart": 1.0}, detail="the inputs moved.")


def test_a_fact_beats_every_statistic() -> None:
    diagnosis = decide([DIFFERS, FELL], weights=SURE)
    assert diagnosis.verdict == "model-tampering"
    assert diagnosis.probabilities["model-tampering"] > 0.98
    assert diagnosis.escalate


def test_bytes_come_before_replay() -> None:
    # A validly signed version served unrecorded answers otherwise than the recorded copy, and lawfully so.
    diagnosis = decide([OTHER_BYTES, DIFFERS], weights=SURE)
    assert diagnosis.verdict == "unrecorded-deployment"
    assert diagnosis.escalate


def test_without_a_fact_the_likeliest_cause_wins() -> None:
    diagnosis = decide([AGREES, FELL], weights=SURE)
    assert diagnosis.verdict == "concept-drift"
    assert diagnosis.favours["concept"] == "concept-drift"
    assert sum(diagnosis.probabilities.values()) == pytest.approx(1.0)


def test_no_cause_under_a_half_is_named() -> None:
    diagnosis = decide([AGREES, FELL], weights=weights())
    assert diagnosis.verdict == "unknown"
    assert "cannot be told" in diagnosis.explanation[0]


def test_without_copy_reference_and_labels_nothing_about_the_model_is_named() -> None:
    calm = weights(intact=[0.0, 8.0])
    assert decide([MOVED, AGREES], weights=calm).verdict == "intact"
    assert decide([MOVED], weights=calm).verdict == "unknown"


def test_labels_alone_cannot_tell_the_model_from_the_world() -> None:
    tampered = weights(model_tampering=[8.0, 0.0])
    assert decide([FELL], weights=tampered).verdict == "unknown"
    assert decide([FELL, SURROGATE], weights=tampered).verdict == "model-tampering"


def test_nobody_is_accused_of_an_attack_that_changed_nothing() -> None:
    tampered = weights(model_tampering=[8.0, 0.0])
    steady = replace(FELL, numbers={"fall": 1.0, "fall_at_least": 0.0})
    assert decide([steady, SURROGATE], weights=tampered).verdict == "unknown"


def test_inputs_alone_can_show_a_covariate_shift() -> None:
    assert decide([MOVED], weights=SURE).verdict == "covariate-drift"


def test_a_prior_moves_the_probability_and_must_be_positive() -> None:
    even = weights(concept_drift=[1.0, 0.0])
    low = decide([AGREES, FELL], weights=even, priors={"concept-drift": 0.1})
    high = decide([AGREES, FELL], weights=even, priors={"concept-drift": 10.0})
    assert low.probabilities["concept-drift"] < 0.1
    assert high.probabilities["concept-drift"] > 0.8
    with pytest.raises(ValueError, match="above 0"):
        decide([AGREES, FELL], weights=even, priors={"intact": 0.0})


def test_where_the_model_is_proven_and_nothing_fell_no_cause_is_looked_for() -> None:
    steady = Evidence("concept", 0.0, numbers={"fall": 0.0, "fall_at_least": 0.0}, detail="accuracy is steady.")
    share = decide([AGREES, steady], weights=weights(), priors={}).probabilities["intact"]
    assert share > 2 * decide([SURROGATE, steady], weights=weights(), priors={}).probabilities["intact"]
    assert decide([AGREES, FELL], weights=weights(), priors={}).probabilities["intact"] < 0.2


def test_security_is_called_when_an_attack_is_possible_and_something_fell() -> None:
    maybe = weights(concept_drift=[3.0, 0.0], model_tampering=[1.2, 0.0])
    assert decide([SURROGATE, FELL], weights=maybe).escalate
    steady = replace(FELL, numbers={"fall": 1.0, "fall_at_least": 0.0})
    assert not decide([SURROGATE, steady], weights=maybe).escalate
    assert not decide([SURROGATE, FELL], weights=SURE).escalate


def test_a_copy_that_gives_every_answer_that_was_served_clears_the_model_of_tampering() -> None:
    tampered = weights(model_tampering=[3.0, 0.0], backdoor=[-3.0, 0.0])
    assert decide([SURROGATE, FELL], weights=tampered).verdict == "model-tampering"
    assert decide([SURROGATE, FELL], weights=tampered).escalate
    cleared = decide([AGREES, FELL], weights=tampered)
    assert cleared.probabilities["model-tampering"] < 0.05
    assert not cleared.escalate


def test_who_hides_in_rows_that_cannot_be_replayed_is_not_cleared() -> None:
    tampered = weights(model_tampering=[3.0, 0.0])
    few = replace(AGREES, notes={"rows": 100, "skipped": 400})
    assert decide([few, FELL], weights=tampered).verdict == "model-tampering"
    assert decide([replace(few, notes={"rows": 400, "skipped": 100}), FELL], weights=tampered).verdict == "unknown"


def test_what_fell_for_certain_is_not_intact() -> None:
    calm = weights(intact=[3.0, 0.0])
    assert decide([SURROGATE, FELL], weights=calm).probabilities["intact"] < 0.05
    within = replace(FELL, numbers={"fall": 1.0, "fall_at_least": 0.02})
    assert decide([SURROGATE, within], weights=calm).verdict == "intact"


def test_the_verdict_prints_with_the_documented_keys() -> None:
    missing = Evidence("labels", missing="wait for labels")
    body = json.loads(json.dumps(decide([AGREES, FELL, missing], weights=SURE).to_json()))
    assert {"verdict", "scope", "silent", "probabilities", "evidence", "escalate", "actions"} <= set(body)
    assert set(body["probabilities"]) == set(VERDICTS) - {"unknown"}
    assert all({"name", "value", "favours", "detail", "missing"} <= set(item) for item in body["evidence"])
    assert body["evidence"][2]["missing"] == "wait for labels"
    assert body["evidence"][2]["contribution"] is None


@pytest.mark.parametrize("evidence", [[DIFFERS], [OTHER_BYTES], [AGREES, FELL], [FELL]])
def test_three_sentences_tell_what_why_and_what_to_do(evidence: list[Evidence]) -> None:
    diagnosis = decide(evidence, weights=SURE)
    assert len(diagnosis.explanation) == 3
    assert all(len(sentence) > 10 and sentence.endswith(".") for sentence in diagnosis.explanation)
    assert diagnosis.actions


def test_an_intact_model_whose_performance_was_not_judged_is_not_praised() -> None:
    calm, gap = weights(intact=[0.0, 8.0]), Evidence("concept", missing="wait for labels")
    assert "could not be judged (wait for labels)" in decide([AGREES, MOVED, gap], weights=calm).explanation[0]


def test_what_to_do_about_an_unknown_cause_depends_on_what_is_missing() -> None:
    assert "more rows" in decide([AGREES, FELL], weights=weights()).actions[0]
    gap = Evidence("labels", missing="wait for labels")
    assert "missing evidence" in decide([AGREES, FELL, gap], weights=weights()).actions[0]


def test_weights_survive_the_file_and_damage_is_said() -> None:
    text = json.dumps(SURE.to_json())
    assert Weights.parse(text).coefficients.tolist() == SURE.coefficients.tolist()
    for bad in (b"", b"{}", b"[1]", text.replace('"spread"', '"sp"')):
        with pytest.raises(DiagnosisError, match="damaged"):
            Weights.parse(bad)


def test_a_missing_measure_speaks_for_nothing_and_a_huge_one_for_three() -> None:
    assert SURE.standardised([Evidence("inputs", missing="none")]).tolist() == [0.0, 0.0]
    assert SURE.standardised([Evidence("concept", numbers={"fall": 1e9})])[0] == 3.0


def test_the_shipped_weights_say_how_they_were_made_and_scored() -> None:
    made: Any = shipped().made
    assert made["by"] == "benchmarks/diagnosis/run.py"
    assert made["left_out"]["all"]["attacks_found"] >= 0.95
    assert made["left_out"]["all"]["attacks_false"] <= 0.01
    assert set(shipped().verdicts) == set(CAUSES)


def test_one_odd_output_accuses_nobody_but_is_not_called_intact() -> None:
    calm = weights(intact=[-8.0, 0.0])
    still = Evidence("concept", -1.0, numbers={"fall": -1.0, "fall_at_least": -1.0}, detail="nothing fell.")
    odd = Evidence("replay", 1 / 60, notes={"hard": 1}, detail="1 of 60 outputs differs.")
    assert decide([AGREES, still], weights=calm).verdict == "intact"
    assert decide([odd, still], weights=calm).verdict == "unknown"


def test_a_sampling_model_that_differs_from_itself_alone_may_be_intact() -> None:
    calm = weights(intact=[-8.0, 0.0])
    still = Evidence("concept", -1.0, numbers={"fall": -1.0, "fall_at_least": -1.0}, detail="nothing fell.")
    draws = Evidence("replay", 0.3, notes={"hard": 90, "varies": 0.3}, detail="it differs from itself.")
    assert decide([draws, still], weights=calm).verdict == "intact"
    assert decide([replace(draws, notes={"hard": 90, "varies": 0.0}), still], weights=calm).verdict == "unknown"


def test_answers_that_left_the_imitation_in_one_region_are_reason_to_ask() -> None:
    attack = weights(model_tampering=[0.0, 4.0])
    moved = Evidence("inputs", 1.0, numbers={"told_apart": 1.0}, detail="something moved.")
    place = Evidence("mimic", 0.0, numbers={"place_rise": 0.4}, detail="one region left.")
    assert decide([AGREES, moved, place], weights=attack).escalate
    assert not decide([AGREES, moved, replace(place, numbers={"place_rise": 0.05})], weights=attack).escalate


def test_a_backdoor_is_named_only_where_a_mark_forces_an_answer() -> None:
    marked = Evidence("trigger", 0.8, numbers={"forced_and_explained": 0.6}, detail="a mark forces one answer.")
    backdoor = weights(backdoor=[0.0, 2.5])
    assert decide([AGREES, FELL, MOVED, marked], weights=backdoor).verdict == "backdoor"
    faint = replace(marked, numbers={"forced_and_explained": 0.05})
    assert decide([AGREES, FELL, MOVED, faint], weights=backdoor).verdict != "backdoor"


@pytest.mark.parametrize(
    ("fault", "one_sided", "fall_at_least", "named"),
    [
        (0.0, 0.0, 0.0, "covariate-drift"),
        (0.5, 0.0, 0.0, "data-fault"),
        (0.0, 0.5, 0.0, "data-fault"),
        (0.0, 0.0, 0.1, "data-fault"),
    ],
)
def test_a_data_fault_shows_in_the_columns_or_in_the_labels_or_is_none(
    fault: float, one_sided: float, fall_at_least: float, named: str
) -> None:
    faulty = weights(data_fault=[0.0, 4.0], covariate_drift=[0.0, 2.5])
    columns = Evidence("pipeline", fault, numbers={"fault": fault})
    labels = Evidence("labels", 0.5, numbers={"one_sided": one_sided})
    concept = Evidence("concept", 0.1, numbers={"fall": 0.1, "fall_at_least": fall_at_least})
    assert decide([AGREES, MOVED, columns, labels, concept], weights=faulty).verdict == named
    assert (
        decide([AGREES, MOVED, columns, concept], weights=faulty).verdict == "data-fault"
    )  # labels were not looked at


def test_certainty_counts_causes_together_that_ask_for_the_same() -> None:
    shares = {"intact": 0.1, "covariate-drift": 0.3, "concept-drift": 0.4, "model-tampering": 0.15, "backdoor": 0.05}
    assert certainty("concept-drift", shares) == certainty("covariate-drift", shares) == pytest.approx(0.7)
    assert certainty("backdoor", shares) == pytest.approx(0.2)
    assert certainty("intact", shares) == pytest.approx(0.1)
    assert certainty("unknown", shares) == 0.0


def test_what_the_copy_does_with_a_mark_outranks_what_its_carriers_were_answered() -> None:
    marked = Evidence("trigger", 0.8, numbers={"forced_and_explained": 0.6, "planted": 0.6}, detail="one answer.")
    refuted = Evidence("stamp", 0.0, numbers={"flip": 0.0, "flip_and_rare": 0.0, "stamped": 0.0}, detail="none flips.")
    backdoor = weights(backdoor=[0.0, 2.5])
    assert decide([AGREES, FELL, MOVED, marked], weights=backdoor).verdict == "backdoor"
    assert decide([AGREES, FELL, MOVED, marked, refuted], weights=backdoor).verdict != "backdoor"
    confirmed = replace(refuted, numbers={"flip": 0.0, "flip_and_rare": 0.0, "stamped": 0.4})
    assert decide([AGREES, FELL, MOVED, marked, confirmed], weights=backdoor).verdict == "backdoor"


def test_a_planted_mark_is_reason_to_ask_though_nothing_fell_for_certain() -> None:
    steady = Evidence("concept", 0.0, numbers={"fall": 0.0, "fall_at_least": 0.0}, detail="accuracy is steady.")
    planted = Evidence("trigger", 0.1, numbers={"forced_and_explained": 0.0, "planted": 0.3}, detail="one answer.")
    backdoor = weights(backdoor=[0.0, 3.0])
    assert decide([AGREES, steady, MOVED, planted], weights=backdoor).verdict == "backdoor"
    faint = replace(planted, numbers={"forced_and_explained": 0.0, "planted": 0.05})
    assert not decide([AGREES, steady, MOVED, faint], weights=backdoor).escalate


def test_answers_that_changed_for_certain_while_the_inputs_did_not_are_the_models_doing() -> None:
    noise = weights(concept_drift=[3.0, 0.0])
    still = Evidence("inputs", 0.5, numbers={"told_apart": 0.0}, detail="the inputs are in place.")
    sound = Evidence("pipeline", 0.0, numbers={"fault": 0.0}, detail="the columns are sound.")
    left = Evidence("mimic", 0.2, numbers={"sure_familiar": 5.0}, detail="answers left the imitation.")
    world = [SURROGATE, FELL, still, sound]
    assert decide(world, weights=noise).verdict == "concept-drift"
    for numbers in ({"sure_familiar": 5.0}, {"confidence_sure": 5.0}, {"pair_rise": 0.2}):
        assert decide([*world, replace(left, numbers=numbers)], weights=noise).verdict in ATTACKS
    for faint in ({"sure_familiar": 2.0}, {"confidence_sure": 2.0}, {"pair_rise": 0.05}):
        assert decide([*world, replace(left, numbers=faint)], weights=noise).verdict == "concept-drift"
    # Inputs that moved, a column at fault and a copy that agrees each explain it otherwise.
    shifted = replace(still, numbers={"told_apart": 0.3})
    assert decide([SURROGATE, FELL, shifted, sound, left], weights=noise).verdict == "concept-drift"
    broken = replace(sound, numbers={"fault": 1.0})
    assert decide([SURROGATE, FELL, still, broken, left], weights=noise).verdict == "concept-drift"
    assert decide([AGREES, FELL, still, sound, left], weights=noise).verdict == "concept-drift"


@pytest.mark.parametrize(("even", "even_but_one", "named"), [(0.2, 0.3, "concept-drift"), (0.2, 0.9, "data-fault")])
def test_what_is_wrong_with_labels_spares_no_ground(even: float, even_but_one: float, named: str) -> None:
    torn = weights(data_fault=[1.5, 0.0], concept_drift=[1.0, 0.0])
    columns = Evidence("pipeline", 0.0, numbers={"fault": 0.0})
    labels = Evidence("labels", 0.9, numbers={"one_sided": 0.0, "even": even, "even_but_one": even_but_one})
    assert decide([AGREES, FELL, columns, labels], weights=torn).verdict == named
    moved = replace(columns, value=0.5, numbers={"fault": 0.5})
    assert decide([AGREES, FELL, moved, labels], weights=torn).verdict == "data-fault"  # a column tells by itself


def test_a_piece_of_evidence_is_said_to_speak_only_for_what_it_looks_at() -> None:
    """The weights also raise causes that a measure merely does not contradict: a broken column shows no backdoor."""
    assert set(CAN_SHOW) == set(EVIDENCE)
    measures = shipped().measures
    for name, causes in CAN_SHOW.items():
        own = [measure.removeprefix(f"{name}.") for measure in measures if measure.startswith(f"{name}.")]
        for far in (-1e6, 1e6):
            item = Evidence(name, 0.5, detail="seen.", numbers=dict.fromkeys(own, far))
            assert decide([item]).favours[name] in {"", *causes}
