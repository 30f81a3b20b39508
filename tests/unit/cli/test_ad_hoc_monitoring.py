"""``assay monitor --reference … --current …``: two tables, no project, nothing stored."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather
import pytest
from tests.small_project import rows
from tests.unit.cli.prompt import FAULT, at, typed

pytestmark = pytest.mark.xdist_group("cli-ad-hoc")

COLUMNS = ("--time", "ts", "--prediction", "pred", "--label", "y")
START, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)


def predicted(days: int, *, start: datetime, seed: int, wrong: float = 0.1) -> pa.Table:
    """Rows with a prediction that is wrong for a share of them."""
    table = rows(days, start=start, seed=seed)
    truth = np.asarray(table.column("y"))
    other = np.where(truth == "spam", "ham", "spam")
    answers = np.where(np.random.default_rng(seed).random(len(truth)) < wrong, other, truth)
    return table.append_column("pred", pa.array(answers.tolist()))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ad-hoc") / "tables"
    folder.mkdir()
    reference, calm = predicted(56, start=START, seed=1), predicted(4, start=LATER, seed=2)
    odd = {
        "reference": reference,
        "calm": calm,
        "worse": predicted(6, start=LATER, seed=3, wrong=0.6),
        "day": predicted(1, start=LATER, seed=3, wrong=0.6),
        "empty": calm.slice(0, 0),
        "unpredicted": calm.drop_columns(["pred"]),
        "unlabelled": calm.drop_columns(["y"]),
        "moved": calm.set_column(calm.column_names.index("a"), "a", pc.add(calm["a"], 3.0)).drop_columns(["pred", "y"]),
        "early": predicted(3, start=START, seed=5),
        "between": predicted(56, start=START + timedelta(minutes=7), seed=4),
        "timeless": calm.set_column(0, "ts", pa.array(["soon"] * len(calm))),
        "one-class": reference.set_column(3, "y", pa.array(["ham"] * len(reference))).set_column(
            4, "pred", pa.array(["ham"] * len(reference))
        ),
    }
    odd["nan"] = calm.set_column(calm.column_names.index("y"), "y", pa.array([float("nan")] * len(calm)))
    odd["null"] = calm.set_column(calm.column_names.index("y"), "y", pa.array([None] * len(calm), pa.string()))
    numbered = calm.append_column("id", pa.array([f"r{number}" for number in range(len(calm))]))
    odd["twice"] = pa.concat_tables([numbered, numbered.slice(0, 80)])
    served = reference.append_column("p", pa.array([0.9] * len(reference)))
    odd["served"] = served.append_column("took", pa.array([0.02] * len(reference)))
    sure = calm.append_column("p", pa.array([1.5, -0.5, None, *[0.9] * (len(calm) - 3)]))
    sure = sure.append_column("took", pa.array([-0.1, None, *[0.02] * (len(calm) - 2)]))
    odd["impossible"] = sure.append_column("gust", pa.array([1.0] * len(calm)))
    for name, table in odd.items():
        pyarrow.csv.write_csv(table, folder / f"{name}.csv")
    (folder / "noise.csv").write_bytes(b"\x00\xff\x01" * 99)
    (folder / "nothing.csv").write_bytes(b"")
    for name in ("spoiled", "spoiled-reference"):
        (folder / name).mkdir()
        (folder / name / "noise.parquet").write_bytes(b"PAR1 nonsense")
    pyarrow.csv.write_csv(calm, folder / "spoiled" / "calm.csv")
    pyarrow.csv.write_csv(reference, folder / "spoiled-reference" / "reference.csv")
    (folder / "noise.parquet").write_bytes(b"PAR1 nonsense")
    (folder / "folder.csv").mkdir()
    return folder


@pytest.fixture
def here(tables: Path) -> Iterator[Path]:
    before = sorted(tables.rglob("*"))
    with at(tables, now=LATER + timedelta(days=60)):
        yield tables
    assert sorted(tables.rglob("*")) == before  # nothing was stored


def ad_hoc(reference: str, current: str, *more: str) -> tuple[str, ...]:
    return ("monitor", "--reference", reference, "--current", current, *COLUMNS, *more)


@pytest.mark.usefixtures("here")
def test_calm_days_raise_nothing() -> None:
    answer = typed(*ad_hoc("reference.csv", "calm.csv", "--json"))
    assert (answer.code, answer.data["windows"], answer.data["alarms"]) == (0, 4, [])
    assert set(answer.data) == {"model", "windows", "alarms", "budget", "silent", "findings"}
    assert "4 windows" in typed(*ad_hoc("reference.csv", "calm.csv")).out


@pytest.mark.usefixtures("here")
def test_a_fall_is_an_alarm_with_exit_code_1() -> None:
    answer = typed(*ad_hoc("reference.csv", "worse.csv", "--json"))
    alarms = answer.data["alarms"]
    assert answer.code == 1
    assert isinstance(alarms, list)
    assert "error" in {alarm["signal"] for alarm in alarms}
    assert all(alarm["window"].startswith("2026-03-0") and alarm["window"].endswith("Z") for alarm in alarms)
    spoken = typed(*ad_hoc("reference.csv", "worse.csv", "--window", "40rows", "--feature", "a"))
    assert spoken.code == 1
    assert "error" in spoken.out


@pytest.mark.usefixtures("here")
def test_a_budget_below_ten_windows_is_said_in_hours() -> None:
    said = typed(*ad_hoc("reference.csv", "calm.csv", "--false-alarm-every", "1h")).out
    assert "the budget is one false alarm in 1 hour: one in 10 windows is used" in said


@pytest.mark.usefixtures("here")
def test_without_floors_one_window_may_do_and_the_answer_says_so() -> None:
    patient = ad_hoc("reference.csv", "day.csv")
    assert typed(*patient).code == 0
    assert "floors" not in typed(*patient).out
    answer = typed(*patient, "--floors", "sensitive", "--json")
    assert answer.code == 1
    assert answer.data["budget"]["floors"]["one_window"] is True  # type: ignore[index]
    assert "floors of its own: rate_relative 0, rate_points 0, " in typed(*patient, "--floors", "sensitive").out


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (ad_hoc("missing.csv", "calm.csv"), 2, "missing.csv"),
        (ad_hoc("reference.csv", "missing.csv"), 2, "missing.csv"),
        (ad_hoc("reference.csv", "none-*.csv"), 2, "none-*.csv"),
        (ad_hoc("reference.csv", "noise.csv"), 2, "noise.csv"),
        (ad_hoc("noise.parquet", "calm.csv"), 2, "noise.parquet"),
        (ad_hoc("reference.csv", "nothing.csv"), 2, "nothing.csv"),
        (ad_hoc("reference.csv", "folder.csv"), 2, "folder.csv"),
        (ad_hoc("timeless.csv", "calm.csv"), 3, "has a readable time in column 'ts': write ISO 8601"),
        (ad_hoc("empty.csv", "calm.csv"), 3, "no rows"),
        (ad_hoc("reference.csv", "calm.csv", "--confidence", "nope"), 2, "nope"),
        (ad_hoc("reference.csv", "calm.csv", "--slice", "nope"), 2, "nope"),
        (ad_hoc("reference.csv", "calm.csv", "--feature", "nope"), 2, "nope"),
        (ad_hoc("reference.csv", "calm.csv", "--window", "daily"), 2, "daily"),
        (ad_hoc("reference.csv", "calm.csv", "--window", "0rows"), 2, "0rows"),
        (ad_hoc("reference.csv", "calm.csv", "--false-alarm-every", "never"), 2, "never"),
        (ad_hoc("reference.csv", "calm.csv", "--false-alarm-every", "0d"), 2, "longer than zero"),
        (ad_hoc("reference.csv", "calm.csv", "--false-alarm-every", "-1y"), 2, "'-1y'"),
        (ad_hoc("reference.csv", "calm.csv", "--tolerance", "1"), 2, "--tolerance is for --task regression"),
        (ad_hoc("reference.csv", "calm.csv", "--task", "regression", "--tolerance", "nan"), 2, "`tolerance` is nan"),
        (ad_hoc("reference.csv", "calm.csv", "--positive", "spam"), 2, "--positive is for --task binary"),
        (ad_hoc("reference.csv", "calm.csv", "--time", "nope"), 2, "nope"),
        (ad_hoc("reference.csv", "calm.csv", "--prediction", "nope"), 2, "nope"),
    ],
)
def test_what_cannot_be_used_is_named(words: tuple[str, ...], code: int, said: str) -> None:
    typed(*words).refused(code, said)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("current", ["empty.csv", "unlabelled.csv", "nan.csv", "null.csv"])
def test_odd_rows_are_told_and_are_no_fault_of_ours(current: str) -> None:
    answer = typed(*ad_hoc("reference.csv", current, "--json"))
    assert FAULT not in answer.err
    assert answer.data["findings"] or "error" in answer.data, answer


@pytest.mark.usefixtures("here")
def test_without_predictions_inputs_alone_are_compared_and_it_is_said() -> None:
    words = ("monitor", "--reference", "reference.csv", "--time", "ts", "--feature", "a", "--feature", "b")
    calm = typed(*words, "--current", "unpredicted.csv", "--json")
    assert (calm.code, calm.data["alarms"]) == (0, [])
    assert "baseline.inputs-only" in {found["rule"] for found in cast("list[dict[str, str]]", calm.data["findings"])}
    moved = typed(*words, "--current", "moved.csv", "--json")
    assert moved.code == 1
    alarms = cast("list[dict[str, str]]", moved.data["alarms"])
    assert {alarm["signal"].split(":")[1] for alarm in alarms} == {"a"}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("words", [("--label", "y"), ("--slice", "a"), ("--query", "a"), ("--tolerance", "1")])
def test_what_needs_predictions_says_so(words: tuple[str, ...]) -> None:
    typed("monitor", "--reference", "reference.csv", "--current", "calm.csv", "--time", "ts", *words).refused(
        2, f"{words[0]} needs --prediction"
    )


@pytest.mark.usefixtures("here")
def test_a_reference_of_one_class_is_no_fault_of_ours() -> None:
    answer = typed(*ad_hoc("one-class.csv", "calm.csv", "--json"))
    assert FAULT not in answer.err
    assert answer.code in {1, 2, 3}


@pytest.mark.usefixtures("here")
def test_a_current_table_without_its_predictions_is_not_called_fine() -> None:
    answer = typed(*ad_hoc("reference.csv", "unpredicted.csv", "--json"))
    findings = answer.data["findings"]
    assert isinstance(findings, list)
    assert answer.code in {1, 3}
    assert any("'pred'" in one["detail"] for one in findings)


@pytest.mark.usefixtures("here")
def test_a_current_table_without_a_readable_time_is_nothing_that_can_be_told() -> None:
    said = typed(*ad_hoc("reference.csv", "timeless.csv"))
    assert said.code == 3
    assert "0 windows" in said.out
    assert "rows have no readable time" in said.out


@pytest.mark.usefixtures("here")
def test_an_empty_current_table_is_nothing_that_can_be_told() -> None:
    said = typed(*ad_hoc("reference.csv", "empty.csv"))
    assert said.code == 3
    assert "0 windows" in said.out


@pytest.mark.usefixtures("here")
def test_two_tables_that_were_exchanged_are_told() -> None:
    said = "the rows to judge all lie before the reference: were the two tables exchanged?"
    assert said in typed(*ad_hoc("calm.csv", "early.csv")).out
    assert said not in typed(*ad_hoc("early.csv", "calm.csv")).out


@pytest.mark.usefixtures("here")
def test_requests_that_come_twice_are_told() -> None:
    words = ad_hoc("reference.csv", "twice.csv", "--feature", "a", "--feature", "b")
    findings = cast("list[dict[str, str]]", typed(*words, "--request-id", "id", "--json").data["findings"])
    assert [one["detail"] for one in findings if one["rule"] == "rows.repeated"] == [
        "80 rows repeat a request id: each row is counted"
    ]


@pytest.mark.usefixtures("here")
def test_impossible_values_and_new_columns_are_told_and_are_no_alarm() -> None:
    words = ad_hoc("served.csv", "impossible.csv", "--confidence", "p", "--latency", "took")
    said = typed(*words)
    assert said.code == 0
    assert "warning  confidence.outside: 1 values of 'p' (in the window of 2026-03-01) are above 1" in said.out
    assert "warning  confidence.outside: 1 values of 'p' (in the window of 2026-03-01) are below 0" in said.out
    assert "warning  latency.negative: 1 values of 'took' (in the window of 2026-03-01) are below 0 seconds" in said.out
    assert "info     confidence.missing" in said.out
    assert "info     latency.missing" in said.out
    assert "info     column.new: new since the baseline" in said.out
    assert "it: 'gust'" in said.out


@pytest.mark.usefixtures("here")
def test_a_damaged_file_among_others_is_told_and_the_others_are_judged() -> None:
    said = typed(*ad_hoc("reference.csv", "spoiled"))
    assert said.code == 3
    assert "4 windows" in said.out
    assert "error    table.damaged: cannot read spoiled/noise.parquet: it is damaged, or only half written" in said.out
    # What is normal is learned from all of a reference, or not at all.
    typed(*ad_hoc("spoiled-reference", "calm.csv")).refused(2, "spoiled-reference/noise.parquet")


@pytest.mark.usefixtures("here")
def test_a_random_split_is_refused_unless_told() -> None:
    typed(*ad_hoc("reference.csv", "between.csv")).refused(3, "--random-split")
    meant = typed(*ad_hoc("reference.csv", "between.csv", "--random-split", "--json"))
    findings = meant.data["findings"]
    assert isinstance(findings, list)
    assert "baseline.random-split" in {one["rule"] for one in findings}


def test_scores_and_texts_are_judged_without_a_project(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    for name, days, start in (("reference", 15, START), ("current", 5, LATER)):
        n = days * 60
        y = (rng.random(n) < 0.4).astype(int)
        score = np.clip(0.3 * y + 0.35 + 0.2 * rng.normal(size=n), 0, 1)
        body = [" ".join(f"word{i}" for i in rng.integers(0, 90, 9)) for _ in range(n)]
        ts = pa.array([start + timedelta(days=1) / 60 * i for i in range(n)], pa.timestamp("us", "UTC"))
        pyarrow.feather.write_feather(
            pa.table({"ts": ts, "s": score, "y": y, "body": body}), str(tmp_path / f"{name}.feather")
        )
    tables = ("--reference", str(tmp_path / "reference.feather"), "--current", str(tmp_path / "current.feather"))
    columns = ("--time", "ts", "--prediction", "s", "--label", "y", "--task", "binary")
    command = ("monitor", *tables, *columns, "--json")
    answer = typed(*command, "--text", "body")
    assert (answer.code, answer.data["windows"], answer.data["alarms"]) == (0, 5, [])
    assert "body" not in {finding["subject"] for finding in answer.data["findings"]}  # type: ignore[attr-defined]  # JSON
    typed(*command, "--positive", "yes").refused(3, "never says")
    typed(*command, "--text", "nothing").refused(2, "nothing")
    typed(*command, "--tolerance", "1").refused(2, "--tolerance is for --task regression")


def test_a_password_of_an_address_is_never_told() -> None:
    address = "postgresql://anna:tops3cret@127.0.0.1:1/base?connect_timeout=1#live"
    answer = typed("monitor", "--reference", address, "--current", address, "--time", "ts", "--prediction", "p")
    assert answer.code == 2
    assert "127.0.0.1:1/base#live" in answer.err
    assert "tops3cret" not in answer.out + answer.err
