"""Each piece of evidence that is there has a picture, and the words to do say what is broken."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest
from tests.unit.diagnosis.small_world import NAMES, RuleModel, World

from assay.diagnosis.diagnose import gather_all
from assay.diagnosis.evidence.base import Evidence
from assay.diagnosis.explanation import actions_for, addressed
from assay.diagnosis.verdict import decide
from assay.findings import Finding, Severity


def pictures(evidence: tuple[Evidence, ...]) -> dict[str, Mapping[str, object]]:
    found = {item.name: item.notes.get("picture") for item in evidence if item.missing is None}
    return {name: picture for name, picture in found.items() if isinstance(picture, Mapping)}


@pytest.fixture(scope="module")
def rescaled() -> tuple[Evidence, ...]:
    """A world in which one column changed its unit."""
    world = World(2)
    x = world.inputs(500)
    y = world.truth(x)
    x[:, NAMES.index("heat")] = 32 + 1.8 * 40 * x[:, NAMES.index("heat")]
    return gather_all(world.case(recent=world.table(x, RuleModel(), start=20_000, y=y)))


def test_every_piece_of_evidence_that_is_there_has_a_picture(rescaled: tuple[Evidence, ...]) -> None:
    there = {item.name for item in rescaled if item.missing is None and item.value is not None}
    assert {"bytes", "replay", "inputs", "pipeline", "concept"} <= there
    assert there <= set(pictures(rescaled))
    for name, picture in pictures(rescaled).items():
        assert picture["title"], name
        assert picture["bars"] or picture["points"] or picture["strips"], name


def test_pictures_are_json_and_go_where_the_diagnosis_goes(rescaled: tuple[Evidence, ...]) -> None:
    body = json.loads(json.dumps(decide(rescaled).to_json(), allow_nan=False))
    assert all(one["missing"] or one["notes"]["picture"] for one in body["evidence"] if one["value"] is not None)


def test_the_picture_of_a_broken_column_shows_it_then_and_now(rescaled: tuple[Evidence, ...]) -> None:
    picture = pictures(rescaled)["pipeline"]
    assert "'heat'" in str(picture["title"])
    bars = picture["bars"]
    assert isinstance(bars, list)
    for when in ("then", "now"):
        assert sum(bar["value"] for bar in bars if bar["when"] == when) == pytest.approx(1.0, abs=0.01)


def test_the_course_of_errors_marks_when_it_began() -> None:
    world = World(4)
    x = world.inputs(600)
    y = world.truth(x)
    y[300:] = np.where(x[300:, 0] > 0, 1 - y[300:], y[300:])
    evidence = gather_all(world.case(recent=world.table(x, RuleModel(), start=20_000, y=y)))
    picture = pictures(evidence)["onset"]
    points, mark = picture["points"], picture["mark_s"]
    assert isinstance(points, list)
    assert isinstance(mark, float)
    assert points[0][0] < mark < points[-1][0]
    assert [at for at, _ in points] == sorted(at for at, _ in points)


def test_what_to_do_names_the_broken_column() -> None:
    said = Finding("diagnosis.column-rescaled", "heat", Severity.ERROR, "'heat' is multiplied by about 1.8")
    first = actions_for("data-fault", [Evidence("pipeline", 1.0, findings=(said,))])[0]
    assert "repair column 'heat': 'heat' is multiplied by about 1.8" in first


def test_what_to_do_names_where_each_column_of_a_rotation_belongs() -> None:
    moved = tuple(
        Finding("diagnosis.column-moved", a, Severity.ERROR, f"{a!r} now holds what {b!r} held")
        for a, b in zip("abcdefghij", "bcdefghija", strict=True)
    )
    first = actions_for("data-fault", [Evidence("pipeline", 1.0, findings=moved)])[0]
    assert "repair 10 columns: 'a' now holds what 'b' held" in first
    assert first.endswith("; and 2 more.")


def test_what_to_do_names_the_labels_where_they_are_what_is_broken() -> None:
    one = Finding("diagnosis.labels-one-sided", "again", Severity.ERROR, "100.0% of recent labels are 'again'")
    column = Finding("diagnosis.column-outside", "heat", Severity.WARNING, "'heat' lies outside")
    stuck = Evidence("labels", 0.9, decides="data-fault", findings=(one,))
    first = actions_for("data-fault", [stuck, Evidence("pipeline", 0.1, findings=(column,))])[0]
    assert "repair the source of the labels: 100.0% of recent labels are 'again'" in first


def test_commands_are_written_as_they_are_typed() -> None:
    words = ("`assay rollback NAME --reason WHY`, not NAME elsewhere.", "nothing to type")
    assert addressed(words, "spam") == ("`assay rollback spam --reason WHY`, not NAME elsewhere.", "nothing to type")
    assert "`assay rollback 'my model; rm' --reason" in addressed(words, "my model; rm")[0]
    assert "\\1" in addressed(("`assay deploy NAME`",), "\\1")[0]
