"""Monitoring a model of the project: windows, alarms, replay, curves, and what a second run may change."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
import pytest
from tests.small_project import CONFIG, REFERENCE_DAYS, ROWS_A_DAY, TODAY, Small, build

from assay.errors import BaselineError, ConfigError, VerificationError
from assay.monitoring.floors import SENSITIVE
from assay.monitoring.store import load_windows
from assay.project.baselines import baseline_of, learn_baseline
from assay.project.curves import curves, levels
from assay.project.health import last_diagnosis, project_health
from assay.project.monitoring import monitored_models
from assay.project.portraits import portrait
from assay.project.reference import reference_table
from assay.project.watching import Watched, diagnose_model

DAY = timedelta(days=1)
QUIET, END = TODAY + 5 * DAY, TODAY + 12 * DAY


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Small, Watched, Watched]:
    """Five quiet days, then seven on which another model answers than the one deployed."""
    small = build(tmp_path_factory.mktemp("watched"))
    small.go_live()
    small.serve(5, start=TODAY)
    quiet = small.project.monitor("spam", QUIET)
    small.serve(7, start=QUIET, seed=6, wrong=True)
    return small, quiet, small.project.monitor("spam", END)


def test_quiet_days_raise_nothing(watched: tuple[Small, Watched, Watched]) -> None:
    _, quiet, _ = watched
    assert (quiet.evaluation.windows, quiet.new, quiet.diagnosis) == (5, (), None)


def test_replay_names_tampering_from_the_first_window_it_is_in(watched: tuple[Small, Watched, Watched]) -> None:
    small, _, found = watched
    differs = [finding for finding in found.findings if finding.rule == "replay.differs"]
    assert len(differs) == 7
    assert f"{QUIET:%Y-%m-%d}" in differs[0].detail
    assert found.diagnosis is not None
    assert (found.diagnosis.verdict, found.diagnosis.escalate) == ("model-tampering", True)
    known = last_diagnosis(small.project, "spam")
    assert known is not None
    assert known.verdict == "model-tampering"
    (entry,) = small.project.log.entries(kinds=["diagnosis.made"])
    assert entry.position == known.position


def test_run_twice_changes_nothing(watched: tuple[Small, Watched, Watched]) -> None:
    small, _, first = watched
    size = small.project.log.size()
    again = small.reopened(now=END).monitor("spam", END)
    assert (again.new, again.diagnosis) == ((), None)
    assert again.evaluation.windows == first.evaluation.windows
    assert small.project.log.size() == size


def test_alarms_open_incidents_and_integrity_is_told_to_security(watched: tuple[Small, Watched, Watched]) -> None:
    small, _, found = watched
    assert found.new
    small.project.tell(END)
    kinds = {incident.kind for incident in small.project.desk.list()}
    assert "integrity" in kinds
    assert any("model-tampering" in line for line in small.alerts("security"))


def test_curves_have_every_window_and_the_level_of_the_baseline(watched: tuple[Small, Watched, Watched]) -> None:
    small, _, _ = watched
    drawn = curves(small.project, "spam")
    assert [one.rows for one in drawn] == [ROWS_A_DAY] * 12
    assert [one.start for one in drawn] == sorted(one.start for one in drawn)
    value, low, high = drawn[0].values["accuracy"]
    assert 0 <= low <= value <= high <= 1
    assert drawn[-1].values["accuracy"][0] < value
    assert 0.6 < levels(small.project, "spam")["accuracy"] <= 1


def test_the_diagnosis_on_demand_agrees(watched: tuple[Small, Watched, Watched]) -> None:
    small, _, _ = watched
    assert diagnose_model(small.project, "spam", now=END).verdict == "model-tampering"


def test_the_floors_of_a_model_are_those_of_all_its_judgements(tmp_path: Path) -> None:
    small = build(tmp_path, config=f"{CONFIG}\n[models.spam.monitor]\nfloors = 'sensitive'\n")
    small.go_live()
    small.serve(1, start=TODAY, shift=2.0)
    found = small.project.monitor("spam", TODAY + DAY)
    assert found.evaluation.budget.floors == SENSITIVE
    assert found.new  # from one window
    seen = portrait(small.project, "spam")
    assert seen is not None
    assert seen.alarms == found.evaluation.alarms
    assert diagnose_model(small.project, "spam", now=TODAY + DAY).onset is not None


def test_a_known_good_copy_that_was_tampered_with_is_said_and_not_opened(
    watched: tuple[Small, Watched, Watched], tmp_path: Path
) -> None:
    small, _, _ = watched
    folder = tmp_path / "copy"
    shutil.copytree(small.folder, folder)
    other = Small(folder, small.project, small.keys).reopened(now=END)
    (vault,) = (folder / ".assay" / "vault" / "spam").iterdir()
    (vault / "files" / "labels.txt").write_text("spam\nham\n")
    found = other.monitor("spam", END)
    assert "replay.no-copy" in {finding.rule for finding in found.findings}


def test_the_reference_without_predictions_is_filled_in_by_the_verified_model(small: Small) -> None:
    small.sign()
    source = reference_table(small.project, "spam", now=TODAY)
    filled = pyarrow.parquet.read_table(source.paths[0])
    assert filled.num_rows == REFERENCE_DAYS * ROWS_A_DAY
    assert {"pred", "p"} <= set(filled.column_names)
    assert "pred" not in pyarrow.parquet.read_table(small.folder / "data" / "reference.parquet").column_names
    (small.model / "labels.txt").write_text("spam\nham\n")
    with pytest.raises(VerificationError):  # a refused model's answers never become what is normal
        reference_table(small.project, "spam", now=TODAY)


def test_a_reference_with_predictions_is_taken_as_it_is(small: Small) -> None:
    small.sign()
    filled = reference_table(small.project, "spam", now=TODAY).paths[0]
    shutil.copyfile(filled, small.folder / "data" / "reference.parquet")
    (small.model / "labels.txt").write_text("spam\nham\n")  # the model is not asked
    assert reference_table(small.project, "spam", now=TODAY).paths == (
        str(small.folder / "data" / "reference.parquet"),
    )


def test_a_baseline_is_learned_once_and_logged(small: Small) -> None:
    small.sign()
    first = baseline_of(small.project, "spam", now=TODAY)
    assert baseline_of(small.project, "spam", now=TODAY + DAY).digest == first.digest
    (entry,) = small.project.log.entries(kinds=["baseline.learned"])
    assert entry.entry.data["digest"] == first.digest
    assert len(first.windows) == REFERENCE_DAYS


def test_windows_before_the_deployment_are_not_judged_as_this_version(small: Small) -> None:
    small.serve(5, start=TODAY - 5 * DAY, seed=8)
    small.go_live()
    small.serve(2, start=TODAY)
    assert small.project.monitor("spam", TODAY + 2 * DAY).evaluation.windows == 2


def test_no_complete_window_is_told_and_is_not_a_pass(small: Small) -> None:
    small.sign()
    small.serve(1, start=TODAY)
    learned = learn_baseline(small.project, "spam", now=TODAY)
    found = small.project.monitor("spam", TODAY + timedelta(hours=6))
    assert found.evaluation.windows == 0
    assert load_windows(small.project.state, "spam", learned.digest) == ()
    check = project_health(small.project, now=TODAY).models[0].checks["monitoring"]
    assert (check.outcome, check.detail) == ("unknown", "no complete window yet")


def without(small: Small, *lines: str) -> Small:
    path = small.folder / "assay.toml"
    text = path.read_text()
    for line in lines:
        assert line in text
        text = text.replace(line, "")
    path.write_text(text)
    return Small(small.folder, small.reopened(), small.keys)


def test_a_model_without_reference_says_where_to_name_one(small: Small) -> None:
    bare = without(small, 'reference = "data/reference.parquet"\n')
    bare.sign()
    for learn in (baseline_of, learn_baseline):
        with pytest.raises(BaselineError, match=r'set reference = "'):
            learn(bare.project, "spam", now=TODAY)


def test_a_model_without_predictions_is_not_monitored(small: Small) -> None:
    text = (small.folder / "assay.toml").read_text()
    table = text[text.index("[models.spam.predictions]") : text.index("[models.spam.policy]")]
    bare = without(small, table)
    assert monitored_models(bare.project) == []
    assert monitored_models(small.project) == ["spam"]
    with pytest.raises(ConfigError, match=r"\[models\.spam\] names no predictions"):
        bare.project.monitor("spam", TODAY)


def test_a_reference_between_the_monitored_rows_is_refused_unless_told(tmp_path: Path) -> None:
    small = build(tmp_path)
    path = small.folder / "data" / "reference.parquet"
    whole = pyarrow.parquet.read_table(path)
    odd = pa.array(np.random.default_rng(1).random(len(whole)) < 0.5)
    pyarrow.parquet.write_table(whole.filter(odd), path)
    (small.folder / "predictions").mkdir(exist_ok=True)
    pyarrow.parquet.write_table(whole.filter(pc.invert(odd)), small.folder / "predictions" / "rest.parquet")
    small.sign()
    with pytest.raises(BaselineError, match=r"random split.*the rows that are monitored.*--random-split"):
        learn_baseline(small.project, "spam", now=TODAY)
    learned = learn_baseline(small.project, "spam", now=TODAY, random_split=True)
    assert "baseline.random-split" in {finding.rule for finding in learned.findings}


def test_a_reference_between_the_training_rows_is_refused(tmp_path: Path) -> None:
    small = build(tmp_path)
    path = small.folder / "data" / "reference.parquet"
    whole = pyarrow.parquet.read_table(path)
    odd = pa.array(np.random.default_rng(1).random(len(whole)) < 0.3)
    pyarrow.parquet.write_table(whole.filter(odd), path)
    pyarrow.csv.write_csv(whole.filter(pc.invert(odd)), small.folder / "data" / "training.csv")
    small.sign()
    with pytest.raises(BaselineError, match=r"random split.*the model was trained on"):
        learn_baseline(small.project, "spam", now=TODAY)


def test_rows_that_stop_coming_are_not_nothing(small: Small) -> None:
    small.go_live()
    small.serve(8, start=TODAY)
    found = small.project.monitor("spam", TODAY + 11 * DAY)
    assert [alarm.signal for alarm in found.new] == ["volume"]
    assert found.diagnosis is not None
    what, _, do = found.diagnosis.explanation
    assert found.diagnosis.verdict == "intact"
    assert "another number of rows comes: 40 rows a window in the baseline, 0 since" in what
    assert found.diagnosis.actions == (do,)
    assert do.startswith("Find out what sends the rows")
