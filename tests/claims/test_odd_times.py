"""One row with a wrong time spoils no comparison of two tables: it is told, and the rest is judged without it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.small_project import TODAY, build
from tests.unit.cli.prompt import Answer, at, typed
from tests.unit.monitoring.streams import START, requests

pytestmark = pytest.mark.xdist_group("odd-times")

DAY = timedelta(days=1)
LATER = START + 30 * DAY
NOW = LATER + 60 * DAY
BORN, FAR = datetime(1970, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)
ODD = {
    "1970": ([BORN], ["time.stray"]),
    "a year off": ([LATER - 365 * DAY], ["time.stray"]),
    "2099": ([FAR], ["time.future"]),
    "next week": ([NOW + 7 * DAY], ["time.future"]),
    "all of them": ([BORN, BORN, LATER - 365 * DAY, NOW + DAY, FAR], ["time.stray", "time.future"]),
}


def with_rows(table: pa.Table, *stamps: datetime) -> pa.Table:
    """The table, and its first rows once more at other times."""
    more = table.slice(0, len(stamps)).set_column(0, "ts", pa.array(stamps, table.schema.field("ts").type))
    return pa.concat_tables([table, more])


def without(table: pa.Table, first: datetime, last: datetime) -> pa.Table:
    return table.filter(pa.array([not first <= at < last for at in table["ts"].to_pylist()]))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd-times")
    reference, current = requests(30), requests(20, start=LATER, seed=1)
    made = {"reference": reference, "current": current, "down": without(current, LATER + 8 * DAY, LATER + 13 * DAY)}
    for name, (stamps, _) in ODD.items():
        made[f"reference {name}"] = with_rows(reference, *stamps)
        made[f"current {name}"] = with_rows(current, *stamps)
    made["down 1970"] = with_rows(made["down"], BORN)
    made["few"] = current.take(list(range(0, current.num_rows, 180)))
    made["few 1970"] = with_rows(made["few"], BORN)
    for column in ("y", "p", "lat", "err"):
        made[f"without {column}"] = current.drop_columns([column])
    made["no label yet"] = current.set_column(8, "y", pa.nulls(current.num_rows, pa.string()))
    came = [at + 2 * DAY for at in reference["ts"].to_pylist()]
    made["reference labelled"] = reference.append_column("came", pa.array(came, reference.schema.field("ts").type))
    came = [at + 2 * DAY for at in current["ts"].to_pylist()]
    came[:5] = [at - 9 * DAY for at in came[:5]]
    came[10:13] = [NOW + DAY] * 3
    made["labelled"] = current.append_column("came", pa.array(came, current.schema.field("ts").type))
    made["soon"] = requests(20, start=NOW - 10 * DAY, seed=1)
    made["all soon"] = requests(20, start=NOW + DAY, seed=1)
    for name, table in made.items():
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


@pytest.fixture
def here(tables: Path) -> Iterator[Path]:
    with at(tables, now=NOW):
        yield tables


def ad_hoc(reference: str, current: str, *more: str) -> Answer:
    files = ("--reference", f"{reference}.parquet", "--current", f"{current}.parquet")
    return typed(
        "monitor", *files, "--time", "ts", "--prediction", "pred", "--label", "y", "--error", "err", *more, "--json"
    )


def told(answer: Answer) -> dict[str, tuple[str, int, str]]:
    """Severity, rows and words of every finding, by rule and subject."""
    findings = cast("list[dict[str, object]]", answer.data["findings"])
    numbers = (cast("dict[str, int]", one["numbers"]).get("rows", 0) for one in findings)
    return {
        f"{one['rule']} {one['subject']}": (str(one["severity"]), rows, str(one["detail"]))
        for one, rows in zip(findings, numbers, strict=True)
    }


def about_times(answer: Answer) -> list[tuple[str, int, str]]:
    findings = cast("list[dict[str, object]]", answer.data["findings"])
    odd = [one for one in findings if str(one["rule"]) in {"time.stray", "time.future"}]
    return [(str(one["rule"]), cast("dict[str, int]", one["numbers"])["rows"], str(one["detail"])) for one in odd]


def judged(answer: Answer) -> dict[str, object]:
    return {part: answer.data[part] for part in ("windows", "alarms", "budget")}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("window", ["1d", "400rows"])
@pytest.mark.parametrize("name", ODD)
def test_rows_of_another_time_are_told_and_the_rest_is_judged_without_them(name: str, window: str) -> None:
    wanted = ad_hoc("reference", "current", "--window", window)
    assert (wanted.code, wanted.data["alarms"], about_times(wanted)) == (0, [], [])
    stamps, rules = ODD[name]
    for tables in (("reference", f"current {name}"), (f"reference {name}", "current")):
        answer = ad_hoc(*tables, "--window", window)
        assert (answer.code, judged(answer)) == (0, judged(wanted))
        told = about_times(answer)
        assert ([rule for rule, _, _ in told], sum(rows for _, rows, _ in told)) == (rules, len(stamps))
        assert all("not judged" in detail for _, _, detail in told)
        assert all(("in the reference, " in detail) == (tables[1] == "current") for _, _, detail in told)
        if BORN in stamps:
            assert "1970-01-01" in told[0][2]
        if FAR in stamps:
            assert "2099-01-01" in told[-1][2]
        assert all("waiting" not in one["rule"] for one in cast("list[dict[str, str]]", answer.data["findings"]))


@pytest.mark.usefixtures("here")
def test_a_service_that_was_down_for_days_is_still_an_alarm() -> None:
    for current in ("down", "down 1970"):
        answer = ad_hoc("reference", current)
        assert answer.code == 1
        alarms = cast("list[dict[str, str]]", answer.data["alarms"])
        assert {alarm["signal"] for alarm in alarms} == {"volume"}
        assert all(str(LATER + 8 * DAY)[:10] <= alarm["window"] < str(LATER + 13 * DAY)[:10] for alarm in alarms)


@pytest.mark.usefixtures("here")
def test_a_table_of_few_rows_is_judged_as_ever() -> None:
    plain, odd = ad_hoc("reference", "few", "--window", "7d"), ad_hoc("reference", "few 1970", "--window", "7d")
    assert (odd.code, judged(odd)) == (plain.code, judged(plain))
    assert (about_times(plain), [rows for _, rows, _ in about_times(odd)]) == ([], [1])


@pytest.mark.usefixtures("here")
def test_windows_of_the_future_are_not_judged_but_when_the_clock_must_be_wrong() -> None:
    soon = ad_hoc("reference", "soon")
    assert soon.data["windows"] == 10
    assert [(rule, rows) for rule, rows, _ in about_times(soon)] == [("time.future", 1999)]  # one is of this instant
    assert "not judged" in about_times(soon)[0][2]
    ahead = ad_hoc("reference", "all soon")
    assert (ahead.code, ahead.data["windows"]) == (0, 20)
    assert "all are judged; is the clock wrong?" in json.dumps(ahead.data["findings"])


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("column", "what"),
    [("y", "performance"), ("p", "confidence and calibration"), ("lat", "latency"), ("err", "what failed")],
)
def test_what_cannot_be_judged_without_a_column_is_never_a_quiet_success(column: str, what: str) -> None:
    declared = ("--confidence", "p", "--latency", "lat")
    assert ad_hoc("reference", "current", *declared).code == 0
    answer = ad_hoc("reference", f"without {column}", *declared)
    assert answer.code == 3
    severity, _, detail = told(answer)[f"column.missing {column}"]
    assert severity == "error"
    assert f"no column '{column}'" in detail
    assert f"{what} cannot be judged" in detail


@pytest.mark.usefixtures("here")
def test_labels_that_nobody_gave_are_no_quiet_success_either() -> None:
    answer = ad_hoc("reference", "no label yet")
    assert answer.code == 3
    assert told(answer)["column.all-null y"][0] == "error"
    # A reference that has none cannot miss them.
    assert ad_hoc("without y", "no label yet").code == 0


@pytest.mark.usefixtures("here")
def test_labels_of_odd_times_are_told() -> None:
    found = told(ad_hoc("reference labelled", "labelled", "--label-time", "came"))
    # Two days after the last row: labels of the last two days, but for those of the future, came in no window.
    assert {key: (severity, rows) for key, (severity, rows, _) in found.items() if key.startswith("label.")} == {
        "label.early came": ("warning", 5),
        "label.future came": ("warning", 3),
        "label.after labels": ("info", 400),
    }
    assert "in no window that is over" in found["label.future came"][2]
    assert "judged without them" in found["label.after labels"][2]


def test_rows_of_a_project_that_come_too_late_or_of_1970_are_told(tmp_path: Path) -> None:
    began = TODAY - 36 * DAY
    small = build(tmp_path, today=began)
    small.sign(now=began)
    small.serve(36, start=began)
    file = next((tmp_path / "predictions").glob("*.parquet"))
    table = pq.read_table(file)
    pq.write_table(with_rows(table.slice(7), BORN), file)
    with at(tmp_path, now=TODAY + timedelta(hours=1)):
        assert typed("baseline", "spam").code == 0
        first = typed("monitor", "spam", "--json")
        assert (first.code, first.data["windows"]) == (0, 36)
        assert told(first)["time.stray ts"][:2] == ("warning", 1)
        pq.write_table(table.slice(0, 7), file.with_name("late.parquet"))
        answer = typed("monitor", "spam", "--json")
        assert answer.code == 0
        assert told(answer)["rows.late rows"][:2] == ("warning", 7)
        assert told(answer)["rows.before rows"][:2] == ("info", 1)
        assert "7 rows came too late to be counted" in typed("monitor", "spam").out
