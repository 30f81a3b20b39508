from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import pytest
import rfc8785

from assay.errors import LoadError, SuiteError, TableError
from assay.findings import Finding, Severity
from assay.frameworks.base import Prediction, Predictor
from assay.signing.statement import VALIDATION, Statement
from assay.validation.checks.asking import take
from assay.validation.checks.regression import Metric
from assay.validation.load import load_suite
from assay.validation.report import CheckResult, Outcome, Report, report_statement
from assay.validation.suite import Suite

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
ROOT = "cd" * 32
TABLE = pa.table({"x": np.arange(100.0), "y": [0] * 50 + [1] * 50})


class Threshold:
    """Says 1 from 50 on."""

    def predict(self, table: pa.Table) -> Prediction:
        x = table.column("x").to_numpy()
        return Prediction((x >= 50).astype(int), np.full(len(x), 0.9))


class Crashing:
    def predict(self, table: pa.Table) -> Prediction:
        raise RuntimeError(f"secret {table.num_rows}")


class Short:
    def predict(self, table: pa.Table) -> Prediction:
        return Prediction(np.zeros(table.num_rows - 1))


class Refusing:
    def predict(self, table: pa.Table) -> Prediction:
        raise LoadError(f"no answer of the right shape for {table.num_columns} columns")


def metric(at_least: float = 0.9, name: str = "accuracy") -> Metric:
    return Metric(TABLE, "y", at_least=at_least, name=name)


def test_every_check_is_run_and_the_report_binds_model_time_and_results() -> None:
    report = Suite("spam", metric(), metric(0.999, "strict")).run(Threshold(), model_root=ROOT, now=NOW)
    assert [(r.name, r.outcome) for r in report.results] == [
        ("accuracy", Outcome.PASS),
        ("strict", Outcome.INSUFFICIENT),
    ]
    assert report.outcome is Outcome.INSUFFICIENT
    assert (report.suite, report.model_root, report.created) == ("spam", ROOT, "2026-03-01T09:30:00.000000Z")
    assert all(result.seconds > 0 for result in report.results)


@pytest.mark.parametrize(
    ("model", "message"),
    [(Crashing(), "failed on 100 rows (RuntimeError)"), (Short(), "99 of 100"), (Refusing(), "right shape")],
)
def test_a_model_that_crashes_or_refuses_fails_the_check_and_not_the_suite(model: Predictor, message: str) -> None:
    report = Suite("spam", metric(), metric(name="again")).run(model, model_root=ROOT, now=NOW)
    assert [result.outcome for result in report.results] == [Outcome.FAIL, Outcome.FAIL]
    assert message in report.results[0].detail
    assert "secret" not in json.dumps(report.to_json())
    assert report.results[0].findings[0].severity is Severity.ERROR


def test_a_suite_that_would_check_nothing_is_refused() -> None:
    with pytest.raises(SuiteError, match="no checks"):
        Suite("empty")
    with pytest.raises(SuiteError, match="needs a name"):
        Suite("", metric())
    with pytest.raises(SuiteError, match="two checks named 'accuracy'"):
        Suite("twice", metric(), metric())
    with pytest.raises(SuiteError, match="str, which is no check"):
        Suite("odd", "accuracy")  # type: ignore[arg-type] # what is tested
    with pytest.raises(ValueError, match="without results"):
        Report("spam", ROOT, "2026", ())


def report(*outcomes: Outcome, detail: str = "as told") -> Report:
    results = [
        CheckResult(
            f"check {at}", "golden", outcome, detail, (Finding("a.b", "x", Severity.ERROR, detail),), {"n": 1.5}
        )
        for at, outcome in enumerate(outcomes)
    ]
    return Report("spam", ROOT, "2026-03-01T09:30:00.000000Z", tuple(results))


P, F, I = Outcome.PASS, Outcome.FAIL, Outcome.INSUFFICIENT  # noqa: E741 - a table of verdicts


@pytest.mark.parametrize(
    ("outcomes", "whole", "word"),
    [((P, P), P, "PASSED"), ((P, I), I, "WARNED"), ((I, F, P), F, "FAILED"), ((I,), I, "WARNED")],
)
def test_fail_beats_insufficient_beats_pass(outcomes: tuple[Outcome, ...], whole: Outcome, word: str) -> None:
    found = report(*outcomes)
    assert found.outcome is whole
    statement = Statement.parse(report_statement(found).payload())
    assert statement.predicate_type == VALIDATION
    assert statement.subjects[0].digest == {"sha256": ROOT}
    predicate = statement.predicate
    assert predicate["result"] == word
    names = [f"check {at}" for at in range(len(outcomes))]
    for field, outcome in (("passedTests", P), ("failedTests", F), ("warnedTests", I)):
        assert predicate[field] == [name for name, each in zip(names, outcomes, strict=True) if each is outcome]
    assert predicate["configuration"] == [{"name": "spam", "digest": {"sha256": found.digest}}]
    assert hashlib.sha256(rfc8785.dumps(predicate["report"])).hexdigest() == found.digest  # type: ignore[arg-type] # JSON


def test_any_change_of_a_report_changes_its_digest() -> None:
    assert len({report(P).digest, report(F).digest, report(P, P).digest, report(P, detail="other").digest}) == 4


def test_junit_counts_what_could_not_be_told_as_an_error() -> None:
    suite = ET.fromstring(report(P, F, I).to_junit())[0]  # noqa: S314 - our own text
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == (
        "3",
        "1",
        "1",
        "0",
    )
    assert [[inner.tag for inner in case] for case in suite] == [[], ["failure"], ["error"]]
    assert suite[1][0].get("message") == "as told"


def test_hostile_text_cannot_leave_its_place() -> None:
    found = report(F, detail='</failure>\x00|<script> & "q"\n# *new*')
    assert ET.fromstring(found.to_junit())[0][0][0].get("message") is not None  # noqa: S314 - our own text
    row = next(line for line in found.to_markdown().splitlines() if line.startswith("| check 0"))
    assert "<script>" not in row
    assert row.replace("\\|", "").count("|") == 6
    assert not any(line.startswith("# ") for line in found.to_markdown().splitlines())


def test_markdown_tells_outcome_and_findings() -> None:
    text = report(P, F).to_markdown()
    assert "## spam: fail" in text
    assert "| check 1 | golden | fail | as told | 0.00 |" in text
    assert "- **error** check 1, x: as told" in text


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_cannot_be_signed_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        CheckResult("a", "golden", P, "", (), {"n": bad})


GOOD = """
import pyarrow as pa
from assay.validation.suite import Suite
from assay.validation.checks.asking import take
from assay.validation.checks.regression import Metric
suite = Suite("mine", Metric(pa.table({"x": [1.0], "y": [1]}), "y", at_least=0.5))
other = 3
"""


def test_a_suite_is_loaded_from_a_file_by_name(tmp_path: Path) -> None:
    (tmp_path / "checks.py").write_text(GOOD)
    assert load_suite(f"{tmp_path}/checks.py:suite").name == "mine"
    assert load_suite(f"{tmp_path}/checks.py").name == "mine"


@pytest.mark.parametrize(
    ("text", "spec", "message"),
    [
        (GOOD, "none.py:suite", r"none\.py: no such file"),
        (GOOD, "checks.py:nothing", r"'nothing' is not there"),
        (GOOD, "checks.py:other", r"'other' is a int, wanted"),
        (GOOD, "checks.txt:suite", r"wanted FILE\.py:NAME"),
        (GOOD, "checks.py:", r"wanted FILE\.py:NAME"),
        (GOOD, "", r"wanted FILE\.py:NAME"),
        ("1 +", "checks.py:suite", r"SyntaxError"),
        ("\n1 / 0", "checks.py:suite", r"ZeroDivisionError: line 2: division by zero"),
        ("raise SystemExit(0)", "checks.py:suite", r"SystemExit"),
        ("\0", "checks.py:suite", r"checks\.py"),
        (GOOD.replace("pa.table({", "'gone.csv' or ({"), "checks.py:suite", r"gone\.csv: no such file"),
        ("import no_such_module", "checks.py:suite", r"ModuleNotFoundError: line 1"),
    ],
)
def test_what_is_no_suite_is_refused(text: str, spec: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "checks.py").write_text(text)
    with pytest.raises(SuiteError, match=message):
        load_suite(f"{tmp_path}/{spec}" if spec else "")


def test_a_table_may_be_a_pandas_frame_and_nothing_odd() -> None:
    frame = TABLE.to_pandas()[10:]
    assert Metric(frame, "y", at_least=0.5).run(Threshold(), model_root=ROOT).numbers["rows"] == 90
    assert take(frame).column_names == ["x", "y"]  # and not the frame's own row numbers
    with pytest.raises(SuiteError, match="not a dict"):
        Metric({"x": [1], "y": [1]}, "y", at_least=0.5)


def write(text: str) -> Callable[[Path], Path]:
    def to(folder: Path) -> Path:
        (folder / "t.csv").write_text(text)
        return folder / "t.csv"

    return to


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none.csv", r"none\.csv: no such file"),
        (write("x,y\n1,0\n2,NaN\n3,\n"), r"label 'y' is missing in 2 rows: 1, 2"),
        (write("x,z\n1,0\n"), r"t\.csv: no column 'y'; it has x, z"),
        (write("x,y\n"), r"t\.csv: the table has no rows"),
        (write("x,y\n1\n"), r"t\.csv: cannot be read as CSV"),
        (lambda _: pa.table({"x": pa.array([], pa.float64()), "y": pa.array([], pa.int8())}), "no rows"),
        (lambda _: pa.table({"x": [1.0], "y": [float("nan")]}), r"label 'y' is missing in 1 rows: 0"),
        (lambda _: pa.table({"y": [1]}), "no feature columns"),
    ],
)
def test_a_check_s_table_that_cannot_be_used_is_named(
    make: Callable[[Path], Path | pa.Table], message: str, tmp_path: Path
) -> None:
    with pytest.raises(TableError, match=message):
        Metric(make(tmp_path), "y", at_least=0.9)
