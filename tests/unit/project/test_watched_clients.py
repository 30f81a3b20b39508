"""A project whose log says who asked: a client that probes becomes an incident for security, once."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from sqlalchemy import func, select
from tests.small_project import CONFIG, TODAY, Small, build, rows

from assay.errors import ConfigError
from assay.monitoring.clients import counting
from assay.monitoring.clients.sight import NEWCOMERS
from assay.project import clients
from assay.project.clients import watch_clients
from assay.project.config import parse
from assay.project.due import run_due
from assay.project.health import project_health
from assay.storage.database import reading
from assay.storage.tables import windows

WITH_CLIENTS = CONFIG.replace(
    'label = "y"\n\n[models.spam.policy]', 'label = "y"\nclient = "who"\n\n[models.spam.policy]'
)
NOW = TODAY + timedelta(days=3)


def log_of(small: Small, *, attacked: bool) -> None:
    """Three days of ten honest clients; on the third somebody sends varied copies of rows."""
    table = rows(3, start=TODAY, seed=5)
    honest = small._answers(table, wrong=False)
    names = [f"user-{i % 10}" for i in range(len(honest))]
    tables = [honest.append_column("who", pa.array(names))]
    if attacked:
        rng = np.random.default_rng(9)
        seeds = rng.normal(0, 1, (60, 2))
        points = np.concatenate([seeds, *(seeds + rng.normal(0, 0.003, seeds.shape) for _ in range(5))])
        step = timedelta(hours=12) / len(points)
        start = TODAY + timedelta(days=2, hours=12)
        times = pa.array([start + i * step for i in range(len(points))], pa.timestamp("us", tz="UTC"))
        labels = pa.array(["ham"] * len(points))
        probe = pa.table({"ts": times, "a": points[:, 0], "b": points[:, 1], "y": labels})
        probe = small._answers(probe, wrong=False)
        tables.append(probe.append_column("who", pa.array(["mallory"] * len(probe))))
    folder = small.folder / "predictions"
    folder.mkdir(exist_ok=True)
    pa.parquet.write_table(pa.concat_tables(tables), folder / "log.parquet")


@pytest.fixture
def small(tmp_path: Path) -> Small:
    made = build(tmp_path, config=WITH_CLIENTS)
    made.go_live()
    return made


def test_a_client_that_probes_is_an_incident_for_security_told_once(small: Small) -> None:
    log_of(small, attacked=True)
    watched = small.project.monitor("spam", NOW)
    small.project.tell(NOW)
    found = [one for one in watched.findings if one.rule.startswith("client.")]
    assert {one.rule for one in found} == {"client.copies"}
    assert any("client mallory" in one.detail for one in found)
    logged = small.project.log.entries(kinds=["client.alarm"])
    assert {one.entry.data["client"] for one in logged} <= {"mallory", None}  # all are new here: also all together
    assert "mallory" in {one.entry.data["client"] for one in logged}
    (incident,) = [one for one in small.project.desk.list() if "copying" in one.title]
    assert incident.kind == "integrity"
    assert any("mallory" in line for line in small.alerts("security"))
    again = small.project.monitor("spam", NOW)
    assert [one for one in again.findings if one.rule.startswith("client.")] == []
    assert small.project.log.entries(kinds=["client.alarm"]) == logged
    health = project_health(small.project, now=NOW).models[0]
    assert health.checks["clients"].outcome == "fail"
    assert "mallory" in health.checks["clients"].detail


def test_a_client_that_has_calmed_is_not_passed_over(small: Small) -> None:
    log_of(small, attacked=True)
    later = NOW + timedelta(days=2)  # two days without a query
    watch_clients(small.project, "spam", later)
    found = project_health(small.project, now=later).models[0].checks["clients"]
    assert found.outcome == "pass"
    assert "none beyond what any client may do now; " in found.detail
    assert re.search(r"(client mallory|all clients that are new, together) did, until \d{4}-\d\d-\d\d", found.detail)


def test_honest_clients_raise_nothing_and_the_light_is_good(small: Small) -> None:
    log_of(small, attacked=False)
    small.project.monitor("spam", NOW)
    seen = watch_clients(small.project, "spam", NOW)
    assert (seen.clients, seen.new, seen.windows) == (10, (), 72)
    assert project_health(small.project, now=NOW).models[0].checks["clients"].light(NOW) == "good"


def test_rows_that_come_late_are_counted_and_a_second_process_sees_the_same(small: Small) -> None:
    log_of(small, attacked=False)
    watch_clients(small.project, "spam", NOW)
    log_of(small, attacked=True)  # the same rows, and those of mallory of the last day
    later = small.reopened(now=NOW)
    first = watch_clients(later, "spam", NOW + timedelta(hours=1))
    assert {one.client for one in first.new} == {"mallory", NEWCOMERS}
    assert watch_clients(small.project, "spam", NOW + timedelta(hours=1)).new == ()


def test_what_is_due_looks_at_clients_every_hour(small: Small) -> None:
    log_of(small, attacked=True)
    done = {one.what: one for one in run_due(small.project, NOW)}
    assert done["watch the clients of spam"].outcome == "fail" or done["monitor spam"].outcome == "fail"
    again = run_due(small.project, NOW + timedelta(hours=1, minutes=1))
    assert [one.what for one in again] == ["watch the clients of spam"]


def test_a_trusted_client_is_left_alone(tmp_path: Path) -> None:
    made = build(tmp_path, config=WITH_CLIENTS + '\n[models.spam.clients]\ntrusted = ["mallory"]\nwindow = "2h"\n')
    made.go_live()
    log_of(made, attacked=True)
    seen = watch_clients(made.project, "spam", NOW)
    assert {one.client for one in seen.alarms} <= {NEWCOMERS}
    assert seen.windows == 36


def test_a_log_without_the_column_is_said_and_is_never_good(small: Small) -> None:
    small.serve(2)
    seen = watch_clients(small.project, "spam", NOW)
    assert [one.rule for one in seen.findings] == ["client.not-judged"]
    assert "no column 'who'" in seen.findings[0].detail
    assert project_health(small.project, now=NOW).models[0].checks["clients"].light(NOW) == "uncertain"


def test_the_table_without_the_column_is_a_mistake() -> None:
    table = {"path": "p", "time": "t", "prediction": "y"}
    model = {"path": "m", "predictions": table, "clients": {"window": "1h"}}
    with pytest.raises(ConfigError, match="set client in"):
        parse({"models": {"spam": model}}, root=Path())
    with pytest.raises(ConfigError, match="unknown key 'windows'"):
        parse({"models": {"spam": {**model, "clients": {"windows": "1h"}}}}, root=Path())


def test_a_model_without_clients_has_no_such_check(tmp_path: Path) -> None:
    made = build(tmp_path)
    now = datetime.fromisoformat("2026-03-05T00:00:00+00:00")
    assert "clients" not in project_health(made.project, now=now).models[0].checks
    assert watch_clients(made.project, "spam", now).findings == ()


def test_a_crowd_of_invented_clients_is_said_and_bounded(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    log_of(small, attacked=True)
    monkeypatch.setattr(counting, "MOST_SEEN", 20)
    monkeypatch.setattr(clients, "MOST_SEEN", 20)
    monkeypatch.setattr(clients, "MOST_CLIENTS", 5)
    seen = watch_clients(small.project, "spam", NOW)
    assert 1 <= seen.windows < 20
    assert "client.too-many" in {one.rule for one in seen.findings}
    with reading(small.project.state) as connection:
        kept = connection.execute(select(func.count()).where(windows.c.baseline.startswith("clients:"))).scalar_one()
    assert kept == seen.windows + 1  # and the reference
    again = watch_clients(small.project, "spam", NOW)
    assert (again.windows, again.alarms, again.new) == (seen.windows, seen.alarms, ())


def moved_log(small: Small, *, clients: int) -> None:
    """Three days; from the second on the world is another one, for all who ask."""
    before, after = rows(1, start=TODAY, seed=5), rows(2, start=TODAY + timedelta(days=1), seed=6, shift=6.0)
    answers = small._answers(pa.concat_tables([before, after]), wrong=False)
    names = pa.array([f"user-{i % clients}" for i in range(len(answers))])
    folder = small.folder / "predictions"
    folder.mkdir(exist_ok=True)
    pa.parquet.write_table(answers.append_column("who", names), folder / "log.parquet")


def test_who_is_alone_in_a_world_that_moved_is_not_accused_and_nobody_says_all_is_well(small: Small) -> None:
    moved_log(small, clients=1)
    seen = watch_clients(small.project, "spam", NOW)
    assert seen.alarms == ()
    assert {one.rule for one in seen.findings} == {"client.untold"}
    assert "client user-0" in seen.findings[0].detail
    assert project_health(small.project, now=NOW).models[0].checks["clients"].light(NOW) == "uncertain"
    done = {one.what: one for one in run_due(small.project, NOW + timedelta(hours=1))}
    assert done["watch the clients of spam"].outcome == "unknown"


def test_a_small_crowd_in_a_world_that_moved_is_told_so_and_nobody_is_accused(small: Small) -> None:
    moved_log(small, clients=4)
    seen = watch_clients(small.project, "spam", NOW)
    assert seen.alarms == ()
    said = {one.rule: one for one in seen.findings}
    assert "client.world" in said
    assert "assay baseline spam" in said["client.world"].detail
    assert small.project.log.entries(kinds=["client.alarm"]) == []


def test_a_trusted_client_is_no_newcomer(tmp_path: Path) -> None:
    made = build(tmp_path, config=WITH_CLIENTS + '\n[models.spam.clients]\ntrusted = ["mallory"]\n')
    made.go_live()
    log_of(made, attacked=True)
    assert watch_clients(made.project, "spam", NOW).alarms == ()


def test_names_that_differ_only_by_case_are_told_once_a_run(small: Small) -> None:
    honest = small._answers(rows(1, start=TODAY, seed=5), wrong=False)
    names = pa.array([("Anna", "anna ", None, " ")[i % 4] for i in range(len(honest))])
    (small.folder / "predictions").mkdir()
    pa.parquet.write_table(honest.append_column("who", names), small.folder / "predictions" / "log.parquet")
    seen = watch_clients(small.project, "spam", NOW)
    assert [one.rule for one in seen.findings] == ["client.unnamed", "client.alike"]
    assert '"Anna" and "anna "' in seen.findings[1].detail
    assert "20 rows do not say" in seen.findings[0].detail
