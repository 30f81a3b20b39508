from __future__ import annotations

import pytest

from assay.cli.diagnose import print_diagnosis
from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.explanation import ACTIONS, actions_for, explain


def told(
    probabilities: dict[str, float], *, verdict: str | None = None, escalate: bool = False
) -> tuple[str, str, str]:
    verdict = verdict or max(probabilities, key=lambda name: probabilities[name])
    return explain(
        verdict=verdict,
        probabilities=probabilities,
        force=(),
        missing=(),
        scope="global",
        silent=False,
        slices=(),
        onset=None,
        gradual=False,
        actions=ACTIONS[verdict],
        escalate=escalate,
    )


def test_nobody_is_sent_to_retrain_on_labels_that_may_be_of_other_rows() -> None:
    last = told({"concept-drift": 0.71, "data-fault": 0.29})[2]
    assert last.startswith("First rule out a data fault, which is 29% likely")
    assert "is each label that of its own request" in last
    assert last.endswith("Then retrain on labels from after the onset; old labels teach the old relation.")


def test_an_unlikely_fault_holds_nobody_up() -> None:
    assert told({"concept-drift": 0.85, "data-fault": 0.15})[2] == ACTIONS["concept-drift"][0]
    assert told({"intact": 0.7, "data-fault": 0.3})[2] == ACTIONS["intact"][0]


def test_a_model_that_fell_in_part_is_not_praised() -> None:
    uniformity = Evidence("uniformity", notes={"scope": "local"})
    (action,) = actions_for("intact", [uniformity])
    said = explain(
        verdict="intact",
        probabilities={"intact": 0.6},
        force=(),
        missing=(),
        scope="local",
        silent=False,
        slices=[{"where": "age > 40"}],
        onset=None,
        gradual=False,
        actions=(action,),
        escalate=False,
    )
    assert said[0].endswith("not everything is as well as it was: it fell mostly where age > 40.")
    assert said[2].startswith("Look at the rows where it fell, and at the alarms that stand")
    assert actions_for("intact", [Evidence("uniformity", notes={"scope": "global"})]) == ACTIONS["intact"]


@pytest.mark.parametrize("escalate", [False, True])
@pytest.mark.parametrize("fault", [0.0, 0.3])
def test_what_to_do_first_is_printed_once(escalate: bool, fault: float, capsys: pytest.CaptureFixture[str]) -> None:
    chances = {"concept-drift": 0.7, "data-fault": fault}
    actions = ACTIONS["concept-drift"]
    explanation = told(chances, escalate=escalate)
    print_diagnosis(
        "spam",
        {
            "verdict": "concept-drift",
            "explanation": explanation,
            "actions": actions,
            "probabilities": chances,
            "evidence": [],
        },
    )
    out = capsys.readouterr().out
    assert out.count("etrain on labels from after the onset") == 1
    assert f"  → {actions[1]}" in out


@pytest.mark.parametrize(
    ("probabilities", "words"),
    [
        ({"model-tampering": 0.998, "concept-drift": 0.002}, "likeliest is model-tampering (100%), but without"),
        (
            {"data-fault": 0.7, "covariate-drift": 0.3},
            "(70%) and covariate-drift (30%), but what would show it is missing.",
        ),
        ({"data-fault": 0.4, "intact": 0.35}, "likeliest are data-fault (40%) and intact (35%)."),
    ],
)
def test_unknown_says_what_is_likely_and_why_it_is_not_the_verdict(probabilities: dict[str, float], words: str) -> None:
    said = told(probabilities, verdict="unknown")[0]
    assert words in said
    assert "(0%)" not in said


def test_exchanged_labels_are_asked_about_before_anybody_retrains() -> None:
    labels = Evidence("labels", 0.5, notes={"exchanged": "'0' and '1'"})
    first, *others = actions_for("concept-drift", [labels])
    assert first.startswith("Before anything else ask the source of the labels whether '0' and '1' were exchanged")
    assert tuple(others) == ACTIONS["concept-drift"]
    assert actions_for("model-tampering", [labels]) == ACTIONS["model-tampering"]


def test_without_labels_nobody_is_told_that_there_is_nothing_to_do() -> None:
    assert actions_for("intact", [Evidence("concept", 0.0)]) == ACTIONS["intact"]
    (action,) = actions_for("intact", [Evidence("concept", missing="too few labels")])
    assert "load labels and diagnose again" in action
