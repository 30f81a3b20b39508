"""Recorded days are deleted when nobody needs them, and never before, unless somebody says why."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.small_project import CONFIG, TODAY, Small, build
from tests.unit.cli.prompt import at, typed

from assay.cli import predictions
from assay.cli.here import open_project
from assay.engines import direct
from assay.engines.base import CountQuery, Question
from assay.engines.files import REPLACED
from assay.errors import ConfigError, StorageError
from assay.monitoring import compaction
from assay.monitoring import retention as days
from assay.monitoring.compaction import GRACE, compact
from assay.monitoring.partitions import recorded_files, settle, write_whole
from assay.monitoring.recorder import Recorder
from assay.project import retention
from assay.project.project import Project
from assay.project.retention import needs_of, prune, recorded_folder, tidy

DAY = timedelta(days=1)
MIDDLE = TODAY + 6 * DAY
NOW = TODAY + 12 * DAY
RECORDED = CONFIG.replace('path = "predictions/*.parquet"', 'path = "recorded/date=*/**/*.parquet"')
RECORDED = RECORDED.replace('time = "ts"', 'time = "time"').replace('prediction = "pred"', 'prediction = "prediction"')
RECORDED = RECORDED.replace('confidence = "p"\nlabel = "y"', 'confidence = "confidence"\nfeatures = ["a", "b"]')


def written(folder: Path, start: datetime, number: int) -> None:
    """So many days of forty rows, two files a day."""
    with Recorder(folder, model="ab" * 32) as recorder:
        for day in range(number):
            for half in range(2):
                for row in range(20):
                    when = start + day * DAY + half * DAY / 2 + row * timedelta(minutes=1)
                    said = {"prediction": "spam" if row % 2 else "ham", "confidence": 0.75}
                    recorder.log({"a": row / 10, "b": -row / 10, "time": when, **said})
                recorder.flush()


@pytest.fixture
def small(tmp_path: Path) -> Small:
    """A project whose predictions a Recorder writes: twelve days of them."""
    made = build(tmp_path)
    (made.folder / "assay.toml").write_text(RECORDED.replace("ALERTS", str(made.folder / "alerts")), encoding="utf-8")
    reference = pq.read_table(made.folder / "data" / "reference.parquet").rename_columns(["time", "a", "b", "y"])
    pq.write_table(reference, made.folder / "data" / "reference.parquet")
    written(made.folder / "recorded", TODAY, 12)
    return made


def project(small: Small, now: datetime) -> Project:
    return small.reopened(now=now)


def there(small: Small) -> list[str]:
    return sorted(path.name.removeprefix("date=") for path in (small.folder / "recorded").glob("date=*"))


@pytest.fixture
def watched(small: Small) -> Project:
    """The same, with a baseline, and every day counted."""
    small.sign()
    opened = project(small, NOW)
    opened.monitor("spam", NOW)
    return opened


def test_nothing_is_deleted_before_a_baseline_has_counted_it(small: Small) -> None:
    opened = project(small, NOW)
    with pytest.raises(ConfigError, match="none may be deleted") as refused:
        prune(opened, "spam", before=MIDDLE, now=NOW, whole=True)
    assert [finding.subject for finding in refused.value.findings] == ["windows"]
    assert prune(opened, "spam", before=MIDDLE, now=NOW).doomed.files == ()
    assert len(there(small)) == 12


def test_what_windows_may_reach_back_to_stays(small: Small, watched: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prune(watched, "spam", before=NOW, now=NOW).doomed.rows == 0  # twelve windows are fewer than 512
    monkeypatch.setattr(retention, "LOOK_BACK", 4)
    done = prune(watched, "spam", before=NOW, now=NOW)
    assert (done.doomed.rows, done.doomed.first, done.doomed.before) == (320, TODAY, TODAY + 8 * DAY)
    assert done.wanted == NOW
    assert there(small) == [f"2026-03-{day}" for day in (10, 11, 12, 13)]
    windows, alarms = watched.monitor("spam", NOW).evaluation.windows, watched.monitor("spam", NOW).new
    assert (windows, alarms) == (12, ())  # what was counted stays counted


def test_the_act_is_in_the_log_before_it_is_done(
    small: Small, watched: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LOOK_BACK", 8)

    def refuses(folder: Path, doomed: days.Doomed) -> int:
        del folder, doomed
        raise StorageError("the disk refused")

    with monkeypatch.context() as patched:
        patched.setattr(retention, "delete", refuses)
        with pytest.raises(StorageError):
            prune(watched, "spam", before=NOW, now=NOW)
    done = prune(watched, "spam", before=NOW, now=NOW)
    first, second = watched.log.entries(kinds=["predictions.pruned"], subject="spam")
    assert second.position == done.log
    assert dict(first.entry.data) == dict(second.entry.data)
    assert first.entry.actor == "mlops@acme.example"
    data = first.entry.data
    assert (data["rows"], data["files"], data["first"]) == (160, 8, "2026-03-02T00:00:00.000000Z")
    assert (data["before"], data["below_floor"]) == ("2026-03-06T00:00:00.000000Z", None)
    assert len(str(data["digest"])) == 64
    assert len(there(small)) == 8


def test_an_open_incident_keeps_the_days_since_it_began(
    small: Small, watched: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LOOK_BACK", 1)
    since = "2026-03-05T00:00:00.000000Z"
    for one in watched.tell(NOW):  # what was opened on the way here
        watched.desk.resolve(one, "anna@acme.example", "it was a test", NOW)
    watched.log.append("monitor.alarm", "spam", {"signal": "volume", "since": since}, actor="assay", now=NOW)
    (incident,) = watched.tell(NOW)
    needs = {need.what: need.since for need in needs_of(watched, "spam", now=NOW)}
    assert needs == {"windows": NOW - DAY, f"incident {incident}": datetime(2026, 3, 5, tzinfo=UTC)}
    with pytest.raises(ConfigError, match="those before 2026-03-05 may be deleted"):
        prune(watched, "spam", before=MIDDLE, now=NOW, whole=True)
    assert prune(watched, "spam", before=MIDDLE, now=NOW).doomed.before == datetime(2026, 3, 5, tzinfo=UTC)
    watched.desk.resolve(incident, "anna@acme.example", "it was a test", NOW)
    assert prune(watched, "spam", before=MIDDLE, now=NOW).doomed.before == MIDDLE
    assert there(small)[0] == "2026-03-08"


def labelled_late(small: Small, days: int) -> Project:
    """The same project, whose labels come so many days late: the reference tells."""
    path = small.folder / "data" / "reference.parquet"
    table = pq.read_table(path)
    table = table.rename_columns(["time", "a", "b", "label"])
    came = pc.add(table["time"], pa.scalar(timedelta(days=days), pa.duration("us")))
    pq.write_table(table.append_column("label_time", came), path)
    toml = small.folder / "assay.toml"
    labels = 'confidence = "confidence"\nlabel = "label"\nlabel_time = "label_time"'
    toml.write_text(toml.read_text().replace('confidence = "confidence"', labels))
    small.sign()
    opened = project(small, NOW)
    opened.monitor("spam", NOW)
    return opened


def test_rows_that_still_wait_for_their_labels_stay(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "LOOK_BACK", 1)
    monkeypatch.setattr(retention, "RECOUNTED", 2)
    opened = labelled_late(small, 5)
    needs = {need.what: (need.since, need.detail) for need in needs_of(opened, "spam", now=NOW)}
    assert needs["labels"][0] == TODAY + 5 * DAY  # of the twelve days the last two, and five before
    assert "labels come up to 5 days after their rows" in needs["labels"][1]
    assert prune(opened, "spam", before=NOW, now=NOW).doomed.before == TODAY + 5 * DAY


def test_labels_that_were_recorded_tell_how_late_they_come(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "LOOK_BACK", 1)
    monkeypatch.setattr(retention, "RECOUNTED", 2)
    opened = labelled_late(small, 0)
    folder = small.folder / "recorded"
    with Recorder(folder, model="ab" * 32) as recorder:
        rows = [row for path in recorded_files(folder)[:6] for row in pq.read_table(path).to_pylist()]
        for place, row in enumerate(rows):
            recorder.label(row["request_id"], "ham", row["time"] + (100 if place == 7 else 4) * DAY)
    settle(folder)
    needs = {need.what: need.since for need in needs_of(opened, "spam", now=NOW)}
    assert needs["labels"] == TODAY + 6 * DAY  # one of 120 was forgotten for long: it keeps no day


def test_days_that_are_deleted_while_others_are_counted_fail_no_run(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = labelled_late(small, 0)  # with times of labels, every file is read
    folder, counts = small.folder / "recorded", direct.counts
    written(folder, NOW, 1)
    with Recorder(folder, model="ab" * 32) as recorder:
        for path in recorded_files(folder):
            recorder.label(str(pq.read_table(path)["request_id"][0]), "ham", NOW)
    settle(folder)
    asked: list[bool] = []

    def deleting(files: Sequence[str], query: CountQuery, wanted: Sequence[Question]) -> object:
        asked.append(True)
        if len(asked) in {1, 3}:  # listed, and gone before they are read: of the windows, and of labels to come
            Path(files[0]).unlink()
        return counts(files, query, wanted)

    monkeypatch.setattr(direct, "counts", deleting)
    assert opened.monitor("spam", NOW + DAY).evaluation.windows == 13
    assert len(asked) == 4


def test_on_a_full_disk_the_days_that_are_not_kept_make_room(
    small: Small, watched: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LOOK_BACK", 8)
    first = small.folder / "recorded" / "date=2026-03-02"
    write = write_whole

    def full(table: pa.Table, path: Path) -> None:
        if first.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        write(table, path)

    monkeypatch.setattr(compaction, "write_whole", full)
    with pytest.raises(StorageError, match="cannot be compacted"):
        tidy(watched, "spam", now=NOW)  # everything is kept
    path = small.folder / "assay.toml"
    path.write_text(path.read_text().replace('time = "time"', 'time = "time"\nkeep = "7d"'))
    done = tidy(project(small, NOW), "spam", now=NOW)
    assert done.pruned is not None
    assert (done.pruned.doomed.rows, done.pruned.log is not None) == (160, True)
    assert done.compacted.made == 7


def test_days_that_the_reference_is_made_of_stay(
    small: Small, watched: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LOOK_BACK", 1)
    path = small.folder / "assay.toml"
    path.write_text(path.read_text().replace("data/reference.parquet", "recorded/date=2026-03-0[456]/**/*.parquet"))
    opened = project(small, NOW)
    assert prune(opened, "spam", before=NOW, now=NOW).doomed.before == datetime(2026, 3, 4, tzinfo=UTC)
    del watched


def test_days_that_a_reference_reaches_by_links_stay(
    small: Small, watched: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LOOK_BACK", 1)
    path = small.folder / "assay.toml"
    path.write_text(path.read_text().replace("data/reference.parquet", "known"))
    (small.folder / "known").mkdir()
    for place, file in enumerate(sorted((small.folder / "recorded" / "date=2026-03-05").glob("**/*.parquet"))):
        (small.folder / "known" / f"{place}.parquet").symlink_to(file)
    opened = project(small, NOW)
    assert prune(opened, "spam", before=NOW, now=NOW).doomed.before == datetime(2026, 3, 5, tzinfo=UTC)
    del watched


def test_days_that_another_model_of_the_same_folder_needs_stay(
    small: Small, watched: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LOOK_BACK", 1)
    path = small.folder / "assay.toml"
    text = path.read_text()
    second = text[text.index("[models.spam]") : text.index("[alerts]")].replace("models.spam", "models.challenger")
    path.write_text(text.replace("[alerts]", f"{second}\n[alerts]"))
    opened = project(small, NOW)
    with pytest.raises(ConfigError, match="none may be deleted") as refused:
        prune(opened, "spam", before=MIDDLE, now=NOW, whole=True)
    assert [finding.detail for finding in refused.value.findings] == [
        "challenger: there is no baseline: no row was counted yet"
    ]
    del watched


def test_below_the_floor_only_with_a_reason_that_is_logged(small: Small, watched: Project) -> None:
    done = prune(watched, "spam", before=MIDDLE, now=NOW, whole=True, reason="asked for by the people in it")
    assert (done.doomed.rows, there(small)[0]) == (240, "2026-03-08")
    (entry,) = watched.log.entries(kinds=["predictions.pruned"])
    assert entry.entry.data["below_floor"] == "asked for by the people in it"


def test_a_dry_run_deletes_and_logs_nothing(small: Small, watched: Project) -> None:
    done = prune(watched, "spam", before=MIDDLE, now=NOW, reason="to see", dry=True)
    assert (done.doomed.rows, done.log) == (240, None)
    assert len(there(small)) == 12
    assert watched.log.entries(kinds=["predictions.pruned"]) == []


def test_the_future_is_not_deleted(small: Small, watched: Project) -> None:
    prune(watched, "spam", before=NOW + 99 * DAY, now=NOW - 2 * DAY, reason="a wrong date")
    assert there(small) == ["2026-03-12", "2026-03-13"]


def test_compacted_days_and_those_under_way_are_deleted_whole_with_their_labels(small: Small, watched: Project) -> None:
    folder = small.folder / "recorded"
    with Recorder(folder, model="ab" * 32) as recorder:
        recorder.label("nobody", 1, MIDDLE - DAY)
        recorder.label("somebody", 1, MIDDLE)
    compact(folder, now=NOW)
    (folder / "date=2026-03-02" / "mine.txt").write_text("not the Recorder's")
    done = prune(watched, "spam", before=MIDDLE, now=NOW, reason="test")
    assert (done.doomed.rows, len(done.doomed.files), done.labels) == (240, 6 * 3, 1)
    assert there(small)[:2] == ["2026-03-02", "2026-03-08"]
    assert [path.name for path in (folder / "date=2026-03-02").iterdir()] == ["mine.txt"]
    assert settle(folder).waiting == 1
    assert not (folder / "date=2026-03-03" / REPLACED).exists()
    assert sum(pq.read_metadata(path).num_rows for path in recorded_files(folder)) == 240


def test_tidying_does_all_of_it_as_assay_toml_says(
    small: Small, watched: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LOOK_BACK", 8)
    folder = small.folder / "recorded"
    with Recorder(folder, model="ab" * 32) as recorder:
        recorder.label(str(pq.read_table(recorded_files(folder)[-1])["request_id"][0]), "ham", NOW)
    assert tidy(watched, "spam", now=NOW).pruned is None
    path = small.folder / "assay.toml"
    path.write_text(path.read_text().replace('time = "time"', 'time = "time"\nkeep = "7d"'))
    opened = project(small, NOW)
    done = tidy(opened, "spam", now=NOW + GRACE)
    assert done.pruned is not None
    assert (done.settled.joined, done.compacted.removed, done.pruned.doomed.rows) == (0, 22, 160)
    assert len(recorded_files(folder)) == 8  # one for each day that is left
    assert "label" in pq.read_schema(recorded_files(folder)[-1]).names


def test_tick_tidies_where_it_may_write(small: Small) -> None:
    small.sign()
    opened = project(small, NOW)
    found = {one.what: (one.outcome, one.detail) for one in opened.run_due(NOW)}
    assert found["tidy the predictions of spam"] == ("pass", "0 labels joined, 22 files compacted")


def test_a_tick_that_finds_a_damaged_file_is_no_pass(small: Small) -> None:
    small.sign()
    damaged = recorded_files(small.folder / "recorded")[0]
    damaged.write_bytes(b"PAR1")
    with Recorder(small.folder / "recorded", model="ab" * 32) as recorder:
        recorder.label("nobody", "spam", NOW)
    found = {one.what: (one.outcome, one.detail) for one in project(small, NOW).run_due(NOW)}
    outcome, detail = found["tidy the predictions of spam"]
    assert outcome == "unknown"
    assert "2 findings, first table.damaged" in detail  # by labels and by compaction


def test_only_a_recorders_predictions_are_touched(tmp_path: Path) -> None:
    other = build(tmp_path)
    assert recorded_folder(other.project.config.model("spam")) is None
    with pytest.raises(ConfigError, match="not a Recorder's"):
        tidy(other.project, "spam", now=NOW)


def test_what_is_kept_for_ages_is_no_error(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small.folder / "assay.toml"
    path.write_text(path.read_text().replace('time = "time"', 'time = "time"\nkeep = "9000y"'))
    opened: list[Project] = []

    def once() -> Project:
        opened.append(open_project())
        return opened[-1]

    monkeypatch.setattr(predictions, "open_project", once)
    with at(small.folder, now=NOW):
        assert "no recorded day" in typed("predictions", "prune", "spam").out
        assert len(opened) == 1
        assert typed("predictions", "prune", "spam", "--keep", "9000y").code == 0
        assert typed("predictions", "tidy", "spam").code == 0


def test_the_verbs_say_what_they_do(small: Small) -> None:
    small.sign()
    with at(small.folder, now=NOW):
        typed("predictions", "prune", "spam").refused(2, "say what to delete", "--keep 2y")
        typed("predictions", "prune", "spam", "--before", "soon").refused(2, "a day like 2026-01-31")
        typed("predictions", "prune", "spam", "--before", "2026-03-07", "--keep", "1d").refused(2, "not both")
        typed("predictions", "prune", "spam", "--keep", "1d", "--below-floor").refused(2, "go together")
        typed("predictions", "prune", "spam", "--before", "2026-03-07").refused(2, "retention.needed", "no baseline")
        tidied = typed("predictions", "tidy", "spam", "--json")
        assert tidied.code == 0
        assert set(tidied.data) == {"model", "labels", "compacted", "pruned", "findings"}
        dry = typed(
            "predictions", "prune", "spam", "--before", "2026-03-07", "--dry-run", "--below-floor", "--reason", "x"
        )
        assert "would delete 200 rows" in dry.out
        told = typed(
            "predictions", "prune", "spam", "--before", "2026-03-07", "--below-floor", "--reason", "asked for", "--json"
        )
        assert told.code == 0
        assert (told.data["rows"], told.data["deleted"], told.data["first"]) == (
            200,
            True,
            "2026-03-02T00:00:00.000000Z",
        )
        assert typed("predictions", "tidy", "spam").out.startswith("spam: 0 labels joined")
        assert typed("log", "verify").code in {0, 3}
