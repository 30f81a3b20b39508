"""Another version goes live: its answers have a baseline of their own, and the inputs go on as they were."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skops.io
from sqlalchemy import select
from tests.small_project import CONFIG, ROWS_A_DAY, TODAY, Small, build, rows

from assay.monitoring import store
from assay.monitoring.baseline import Baseline
from assay.monitoring.monitor import evaluate
from assay.monitoring.signals import WindowCounts
from assay.project import releasing
from assay.project.baselines import learn_baseline
from assay.project.rebaselining import LEARNED, check_baseline
from assay.project.watching import diagnose_model
from assay.release.store import live_at
from assay.storage.clock import utc_text
from assay.storage.database import reading
from assay.storage.tables import baselines as table

DAY = timedelta(days=1)
CHANGE, END = TODAY + 20 * DAY, TODAY + 50 * DAY
MORE_SPAM = 1.8  # added to the log-odds: the other version says spam of 64 % instead of 50 %


def release_another(small: Small, now: datetime) -> None:
    """Another version, which says spam much sooner, goes live."""
    place = small.model / "model.skops"
    fitted = skops.io.load(place)
    fitted.intercept_ = fitted.intercept_ + MORE_SPAM
    skops.io.dump(fitted, place)
    small.go_live(now=now)


def learned(small: Small) -> list[str]:
    return [str(one.entry.data["digest"]) for one in small.project.log.entries(kinds=[LEARNED])]


def windows_of(small: Small) -> tuple[WindowCounts, ...]:
    return store.load_windows(small.project.state, "spam", learned(small)[-1])


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Twenty days of one version and thirty of another."""
    small = build(tmp_path_factory.mktemp("released"))
    small.go_live()
    small.serve(20, start=TODAY)
    assert small.project.monitor("spam", CHANGE).new == ()
    release_another(small, CHANGE)
    small.serve(30, start=CHANGE, seed=6)
    return small


def test_the_new_version_is_judged_by_its_own_answers(released: Small) -> None:
    found = released.project.monitor("spam", END)
    assert found.new == ()
    assert found.diagnosis is None
    assert found.evaluation.windows == 50
    (told,) = (one for one in found.findings if one.rule == "baseline.renewed")
    assert f"is live since {CHANGE:%Y-%m-%d}" in told.detail
    first, second = learned(released)
    check_baseline(released.project, "spam")
    baseline = store.load_baseline(released.project.state, "spam")
    assert baseline is not None
    assert (baseline.digest, baseline.since, baseline.root) == (second, utc_text(CHANGE), "")
    # What would have been without: the answers of one version judged by those of another.
    old = store.load_windows(released.project.state, "spam", first)
    both = (*old, *(window for window in windows_of(released) if window.start >= baseline.since))
    with reading(released.project.state) as connection:
        (text,) = connection.execute(select(table.c.body).where(table.c.digest == first)).scalars()
    alarms = evaluate(Baseline.parse(text), both).alarms
    assert {"prediction", "confidence"} & {alarm.signal for alarm in alarms}


def test_windows_go_on_with_their_inputs_alone(released: Small) -> None:
    released.project.monitor("spam", END)
    windows = windows_of(released)
    before = [window for window in windows if window.start < utc_text(CHANGE)]
    assert [window.rows for window in before] == [ROWS_A_DAY] * 20
    assert {name.split(":")[0] for window in before for name in window.counts} == {"feature"}
    after = {name for window in windows[20:] for name in window.counts}
    assert {"prediction", "confidence", "error"} <= after
    again = released.reopened(now=END).monitor("spam", END)
    assert (again.new, again.evaluation.windows) == ((), 50)
    assert windows_of(released) == windows
    assert len(learned(released)) == 2


def test_a_diagnosis_compares_only_what_the_live_version_answered(released: Small) -> None:
    assert diagnose_model(released.project, "spam", now=END).verdict in {"intact", "unknown"}


def test_what_is_wrong_with_the_new_version_is_still_found(tmp_path: Path) -> None:
    small = build(tmp_path)
    small.go_live()
    learn_baseline(small.project, "spam", now=TODAY)
    release_another(small, TODAY + DAY)
    small.serve(4, start=TODAY + DAY, wrong=True)
    assert small.project.monitor("spam", TODAY + 5 * DAY).diagnosis.verdict == "model-tampering"  # type: ignore[union-attr]


def test_a_drift_of_inputs_from_before_is_one_drift(tmp_path: Path) -> None:
    small = build(tmp_path)
    small.go_live()
    small.serve(10, start=TODAY, shift=0.8)
    found = small.project.monitor("spam", TODAY + 10 * DAY)
    before = {alarm.signal for alarm in found.new}
    assert {"feature:a", "feature:b"} <= before
    release_another(small, TODAY + 10 * DAY)
    small.serve(10, start=TODAY + 10 * DAY, seed=7, shift=0.8)
    later = small.project.monitor("spam", TODAY + 20 * DAY)
    assert not [alarm for alarm in later.new if alarm.signal.startswith("feature")]
    standing = {alarm.signal for alarm in later.evaluation.alarms if alarm.until is None}
    assert {"feature:a", "feature:b"} <= standing
    raised = [one.alarm["signal"] for one in store.alarms(small.project.state, "spam")]
    assert len([one for one in raised if one == "feature:a"]) == 1


def with_answers(small: Small) -> None:
    """Let the reference have the answers of the version that is signed now."""
    place = small.folder / "data" / "reference.parquet"
    there = pq.read_table(place).select(["ts", "a", "b", "y"])
    pq.write_table(small._answers(there, wrong=False), place)


def test_answers_in_the_reference_that_another_version_gave_are_given_anew(tmp_path: Path) -> None:
    small = build(tmp_path)
    with_answers(small)
    small.go_live()
    first = learn_baseline(small.project, "spam", now=TODAY)
    assert (first.root, first.since) == ("", utc_text(TODAY))
    release_another(small, CHANGE)
    live = live_at(small.project.state, "spam", CHANGE)
    assert live is not None
    second = learn_baseline(small.project, "spam", now=CHANGE)
    assert second.root == live.root

    def spam(baseline: Baseline) -> float:
        (spec,) = (one for one in baseline.specs if one.name == "prediction")
        counts = np.sum([window.counts["prediction"] for window in baseline.windows], axis=0)
        return float(counts[spec.values.index("spam")] / counts.sum())

    assert spam(second) > spam(first) + 0.1
    small.serve(25, start=CHANGE, seed=8)
    found = small.project.monitor("spam", CHANGE + 25 * DAY)
    assert found.new == ()
    assert len(learned(small)) == 2
    # It answers for itself from then on, and once the version before is back, that one's own answers count.
    assert learn_baseline(small.project, "spam", now=CHANGE + 25 * DAY).content == second.content
    releasing.rollback(small.project, "spam", reason="too much spam", now=CHANGE + 26 * DAY)
    small.project.monitor("spam", CHANGE + 27 * DAY)
    back = store.load_baseline(small.project.state, "spam")
    assert back is not None
    assert (spam(back), back.since) == (spam(first), utc_text(CHANGE + 26 * DAY))


def test_other_settings_do_not_make_old_answers_new(tmp_path: Path) -> None:
    small = build(tmp_path)
    with_answers(small)
    small.go_live()
    first = learn_baseline(small.project, "spam", now=TODAY)
    release_another(small, CHANGE)
    config = small.folder / "assay.toml"
    config.write_text(config.read_text() + "\n[models.spam.monitor]\nwindow = '12h'\n")
    other = Small(small.folder, small.reopened(now=CHANGE), small.keys)
    second = learn_baseline(other.project, "spam", now=CHANGE)
    assert (second.window, bool(second.root), second.answers == first.answers) == ("12h", True, False)


def test_answers_that_came_with_the_release_are_taken_as_they_are(tmp_path: Path) -> None:
    small = build(tmp_path)
    with_answers(small)
    small.go_live()
    first = learn_baseline(small.project, "spam", now=TODAY)
    release_another(small, CHANGE)
    with_answers(small)
    second = learn_baseline(small.project, "spam", now=CHANGE)
    assert (second.root, second.content == first.content) == ("", False)


def test_labels_of_what_another_version_answered_are_not_its_errors(tmp_path: Path) -> None:
    small = build(
        tmp_path,
        config=CONFIG.replace(
            'label = "y"\n\n[models.spam.policy]', 'label = "y"\nlabel_time = "told"\n\n[models.spam.policy]'
        ),
    )
    small.go_live()
    learn_baseline(small.project, "spam", now=TODAY)

    def serve(days: int, start: datetime, seed: int) -> None:
        answers = small._answers(rows(days, start=start, seed=seed), wrong=False)
        wrong = pa.array(["ham" if one == "spam" else "spam" for one in answers["pred"].to_pylist()])
        truth = wrong if start < CHANGE else answers["pred"]  # the version before was wrong about everything
        late = pa.array([one + 9 * DAY for one in answers["ts"].to_pylist()], answers["ts"].type)
        told = answers.set_column(answers.column_names.index("y"), "y", truth).append_column("told", late)
        (small.folder / "predictions").mkdir(exist_ok=True)
        pq.write_table(told, small.folder / "predictions" / f"{seed}.parquet")

    serve(9, CHANGE - 9 * DAY, 5)  # their labels come when the next version is live
    release_another(small, CHANGE)
    serve(9, CHANGE, 6)
    small.project.monitor("spam", CHANGE + 20 * DAY)
    wrong, rows_there = 0, 0
    for window in windows_of(small):
        right, errors = window.counts.get("error", (0, 0))
        wrong, rows_there = wrong + errors, rows_there + right + errors
    assert (wrong, rows_there) == (0, 9 * ROWS_A_DAY)


def test_where_nothing_can_be_learned_the_old_one_counts_and_it_is_said(tmp_path: Path) -> None:
    small = build(tmp_path)
    small.go_live()
    first = learn_baseline(small.project, "spam", now=TODAY)
    release_another(small, CHANGE)
    shutil.rmtree(small.folder / ".assay" / "vault")
    (small.model / "labels.txt").write_text("spam\nham\n")
    small.serve(3, start=CHANGE)
    found = small.project.monitor("spam", CHANGE + 3 * DAY)
    (told,) = (one for one in found.findings if one.rule == "baseline.other-version")
    assert "is live since 2026-03-22" in told.detail
    assert learned(small) == [first.digest]
    small.sign(now=CHANGE + 3 * DAY)  # signed by the right person, but not what is live
    shutil.rmtree(small.folder / ".assay" / "vault")
    found = small.project.monitor("spam", CHANGE + 4 * DAY)
    (told,) = (one for one in found.findings if one.rule == "baseline.other-version")
    assert "is recorded as live" in told.detail


def test_other_inputs_are_nobodys_deployment(tmp_path: Path) -> None:
    small = build(tmp_path)
    small.go_live()
    first = learn_baseline(small.project, "spam", now=TODAY)
    release_another(small, CHANGE)
    place = small.folder / "data" / "reference.parquet"
    there = pq.read_table(place)
    pq.write_table(there.slice(there.num_rows // 4), place)
    small.serve(3, start=CHANGE)
    found = small.project.monitor("spam", CHANGE + 3 * DAY)
    (told,) = (one for one in found.findings if one.rule == "baseline.other-version")
    assert "says something else about the inputs" in told.detail
    assert "assay baseline spam" in told.detail
    assert learned(small) == [first.digest]
    assert learn_baseline(small.project, "spam", now=CHANGE + 4 * DAY).since == utc_text(CHANGE)
    found = small.project.monitor("spam", CHANGE + 4 * DAY)
    assert not [one for one in found.findings if one.rule == "baseline.other-version"]
