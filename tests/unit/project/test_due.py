"""What is due is done once, by one process, and one failure does not stop the rest."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pyarrow.parquet as pq
from tests.small_project import TODAY, Small

from assay.project.health import project_health
from assay.storage.timers import Timers

DAY = timedelta(days=1)


def done(small: Small, days: float) -> dict[str, str]:
    return {one.what: one.outcome for one in small.project.run_due(TODAY + timedelta(days=days))}


def test_everything_configured_comes_due_and_then_not_again(small: Small) -> None:
    small.go_live()
    small.serve(2, start=TODAY)
    assert done(small, 2) == {
        "verify the log": "pass",
        "verify spam": "pass",
        "verify the training data of spam": "pass",
        "validate spam": "pass",
        "monitor spam": "pass",
    }
    assert done(small, 2) == {}
    assert set(done(small, 3)) == {"verify the log", "verify spam", "monitor spam"}
    assert "validate spam" in done(small, 10)


def test_a_monitor_run_that_could_not_judge_all_is_no_pass(small: Small) -> None:
    small.go_live()
    small.serve(1, start=TODAY)  # one window: too little for an alarm
    for file in (small.folder / "predictions").glob("*.parquet"):
        pq.write_table(pq.read_table(file).drop_columns(["a"]), file)
    (found,) = (one for one in small.project.run_due(TODAY + DAY) if one.what == "monitor spam")
    assert found.outcome == "unknown"
    assert "column.missing (a)" in found.detail
    known = project_health(small.project, now=TODAY + DAY).models[0].checks["monitoring"]
    assert known.outcome == "unknown"
    assert "could not be judged: the table has no column 'a'" in known.detail


def test_two_schedulers_do_each_turn_once(small: Small) -> None:
    small.go_live()
    moment = TODAY + DAY
    others = [small.reopened(now=moment) for _ in range(4)]
    assert len({id(one.state) for one in others}) == 4  # each process has its own connections
    with ThreadPoolExecutor(4) as pool:
        rounds = list(pool.map(lambda one: one.run_due(moment), others))
    what = [one.what for turn in rounds for one in turn]
    assert len(what) == len(set(what)) == 5


def test_a_failing_check_does_not_stop_the_others_and_opens_its_incident(small: Small) -> None:
    small.go_live()
    small.serve(2, start=TODAY)
    (small.model / "labels.txt").write_text("spam\nham\n")
    found = done(small, 2)
    assert found["verify spam"] == "fail"
    assert found["validate spam"] == "fail"
    assert found["verify the log"] == "pass"
    assert found["verify the training data of spam"] == "pass"
    assert found["monitor spam"] in {"pass", "fail", "unknown"}
    assert [one.kind for one in small.project.desk.list()].count("integrity") == 1


def test_what_cannot_be_read_is_unknown_and_no_pass(small: Small) -> None:
    small.go_live()
    (small.folder / "data" / "training.csv").unlink()
    found = done(small, 1)
    assert found["verify the training data of spam"] == "unknown"
    assert found["verify spam"] == "pass"
    assert found["monitor spam"] == "unknown"  # no predictions are there yet


def test_a_check_that_could_not_run_is_not_shown_as_it_was(small: Small) -> None:
    """A table that cannot be read any more must not leave the old green light standing."""
    small.go_live()
    (small.folder / "data" / "training.csv").unlink()
    (small.folder / "checks" / "spam.py").unlink()
    done(small, 1)
    found = project_health(small.project, now=TODAY + DAY).models[0].checks
    lights = {kind: check.light(TODAY + DAY).value for kind, check in found.items()}
    assert lights == {**lights, "data": "uncertain", "validation": "uncertain", "monitoring": "uncertain"}


def test_a_place_that_takes_no_files_stops_neither_the_round_nor_the_log(small: Small) -> None:
    small.go_live()
    small.serve(2, start=TODAY)
    for name in ("reports", "references"):
        folder = small.folder / ".assay" / name
        if folder.is_dir():
            shutil.rmtree(folder)
        folder.write_text("no folder")
    found = done(small, 2)
    assert found == {**found, "validate spam": "unknown", "monitor spam": "unknown", "verify spam": "pass"}
    assert len(found) == 5


def test_a_failure_is_not_washed_away_by_a_table_that_cannot_be_read(small: Small) -> None:
    small.go_live()
    table = small.folder / "data" / "training.csv"
    table.write_text(table.read_text().replace('"ham"', '"spam"', 1))
    assert done(small, 1)["verify the training data of spam"] == "fail"
    table.unlink()
    assert done(small, 9)["verify the training data of spam"] == "unknown"
    check = project_health(small.project, now=TODAY + DAY).models[0].checks["data"]
    assert check.light(TODAY + DAY).value == "bad"


def test_a_rewritten_log_is_found_and_told(small: Small) -> None:
    small.go_live()
    outside = small.folder / "outside"
    assert any(outside.rglob("*.checkpoint"))
    small.project.log.close()
    for file in (small.folder / ".assay").glob("audit.db*"):
        file.unlink()
    fresh = small.reopened(now=TODAY + DAY)
    found = {one.what: one.outcome for one in fresh.run_due(TODAY + DAY)}
    assert found["verify the log"] == "fail"
    assert set(found) >= {"verify spam", "validate spam"}
    assert "audit" in {one.kind for one in fresh.desk.list()}
    assert any("log" in line for line in small.alerts("security"))


def test_a_model_taken_out_of_the_file_leaves_no_timer(small: Small) -> None:
    done(small, 0)
    (small.folder / "assay.toml").write_text('[project]\nname = "small"\n[log]\ncheckpoints = ["outside"]\n')
    later = small.reopened(now=TODAY + 8 * DAY)
    assert {one.what for one in later.run_due(TODAY + 8 * DAY)} == {"verify the log"}
    assert Timers(later.state).due(TODAY + 30 * DAY) == ["verify the log"]


def test_what_nobody_acknowledged_escalates(small: Small) -> None:
    small.go_live()
    (small.model / "labels.txt").write_text("spam\nham\n")
    done(small, 1)
    told = len(small.alerts("security"))
    small.project.run_due(TODAY + DAY + timedelta(minutes=16))
    assert len(small.alerts("security")) > told
    assert small.project.desk.list()[0].level == 1
