"""Which causes are asked about again, and that what was explained is not taken for what is new."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import select, update
from tests.small_project import TODAY, Small, build

from assay.diagnosis.verdict import SURE
from assay.project.project import Project
from assay.storage.database import writing
from assay.storage.tables import diagnoses

DAY = timedelta(days=1)
QUIET, ASKED = TODAY + 5 * DAY, TODAY + 9 * DAY


@pytest.fixture(scope="module")
def alarmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five quiet days and four of other inputs, whose cause was asked for; six more of the same are there."""
    small = build(tmp_path_factory.mktemp("alarmed"))
    small.go_live()
    small.serve(5, start=TODAY)
    small.serve(4, start=QUIET, seed=6, shift=3.0)
    assert small.project.monitor("spam", ASKED).diagnosis is not None
    small.serve(6, start=ASKED, seed=7, shift=3.0)
    return small.folder


def asked(folder: Path, tmp_path: Path, *, verdict: str, sure: float, days: int) -> bool:
    """Whether a run so many days later asks again, when the last answer was this one."""
    shutil.copytree(folder, tmp_path / "copy")
    project = Project.open(tmp_path / "copy" / "assay.toml", now=ASKED, actor="mlops@acme.example")
    others = {"intact": 1 - sure} if verdict != "unknown" else {"intact": 0.4, "data-fault": 0.6}
    with writing(project.state) as connection:
        last = connection.execute(select(diagnoses)).mappings().one()
        body = json.loads(last["body"]) | {"verdict": verdict, "probabilities": {verdict: sure, **others}}
        connection.execute(update(diagnoses).values(verdict=verdict, body=json.dumps(body)))
    found = project.monitor("spam", ASKED + days * DAY)
    assert found.new == ()  # nothing else would have asked
    assert any(alarm.until is None for alarm in found.evaluation.alarms)
    return found.diagnosis is not None


@pytest.mark.parametrize(
    ("verdict", "sure", "days", "again"),
    [
        ("unknown", 0.0, 1, True),
        ("data-fault", SURE - 0.01, 1, False),  # a day more than four is not yet worth it
        ("data-fault", SURE - 0.01, 3, True),
        ("data-fault", SURE + 0.01, 3, False),
    ],
)
def test_what_is_not_sure_is_asked_again_when_there_is_half_as_much_again(
    alarmed: Path, tmp_path: Path, verdict: str, sure: float, days: int, *, again: bool
) -> None:
    assert asked(alarmed, tmp_path, verdict=verdict, sure=sure, days=days) is again


def test_rows_from_before_an_incident_was_resolved_are_explained(tmp_path: Path) -> None:
    small = build(tmp_path)
    small.go_live()
    small.serve(5, start=TODAY)
    small.serve(4, start=QUIET, seed=6, wrong=True)
    first = small.project.monitor("spam", ASKED).diagnosis
    assert first is not None
    assert first.verdict == "model-tampering"
    small.project.tell(ASKED)
    resolve_all(small, ASKED)
    small.serve(6, start=ASKED, seed=7, shift=3.0)
    since = []
    for day in range(1, 7):
        found = small.project.monitor("spam", ASKED + day * DAY)
        if found.diagnosis is not None:
            assert found.diagnosis.verdict != "model-tampering"
            since.append(first_row(small.project))
    assert since
    assert min(since) >= ASKED


def resolve_all(small: Small, now: datetime) -> None:
    desk = small.project.desk
    open_ones = [one for one in desk.list(model="spam") if one.state != "resolved"]
    assert open_ones
    for one in open_ones:
        desk.acknowledge(one.id, "anna@acme.example", now)
        desk.resolve(one.id, "anna@acme.example", "the process was stopped", now)


def first_row(project: Project) -> datetime:
    """The time of the first row that the newest verdict calls recent."""
    *_, newest = project.log.entries(kinds=["diagnosis.made"])
    recent = cast("Mapping[str, Mapping[str, float]]", newest.entry.data["computed_from"])["recent"]
    return datetime.fromtimestamp(recent["first_s"], tz=TODAY.tzinfo)
