"""One list of promises, kept by every check on the shelf."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import rfc8785

from assay.errors import AssayError, SuiteError, TableError
from assay.frameworks.base import Prediction
from assay.validation.checks.base import Check
from assay.validation.checks.shelf import TABLE, find
from assay.validation.report import Outcome

ROOT = "aa" * 32
ROWS = 400
X = np.linspace(-2, 2, ROWS)
DATA = pa.table(
    {
        "x": X,
        "g": ["a", "b"] * (ROWS // 2),
        "y": (X > 0).astype(np.float64),
        "assay_prediction": (X > 0).astype(np.float64),
    }
)

MAKE: Mapping[str, Callable[[type, pa.Table], Check]] = {
    "directional": lambda kind, data: kind(data.select(["x"]), "x", change=1.0, direction="up"),
    "edge": lambda kind, data: kind(data.select(["x"])),
    "fairness": lambda kind, data: kind(data.drop(["assay_prediction"]), "y", "g", metric="accuracy", delta=0.1),
    "golden": lambda kind, data: kind(data.drop(["y"])),
    "mean-error": lambda kind, data: kind(data.select(["x", "y"]), "y", at_most=0.1),
    "metric": lambda kind, data: kind(data.select(["x", "y"]), "y", at_least=0.9),
    "perturbation": lambda kind, data: kind(data.select(["x"]), noise_sd=1e-6),
}


class Right:
    def predict(self, table: pa.Table) -> Prediction:
        return Prediction((np.nan_to_num(table.column("x").to_numpy()) > 0).astype(np.float64))


class Noise:
    """Answers at random, but is right about group a where it can see it."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def predict(self, table: pa.Table) -> Prediction:
        noise = self.rng.normal(size=table.num_rows)
        if "g" not in table.column_names:
            return Prediction(noise)
        ours = np.array(table.column("g").to_pylist()) == "a"
        return Prediction(np.where(ours, Right().predict(table).labels, noise))


class Crashing:
    def predict(self, table: pa.Table) -> Prediction:
        raise MemoryError(table.num_rows)


@pytest.fixture(params=sorted(TABLE))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def made(kind: str, data: pa.Table = DATA) -> Check:
    return MAKE[kind](find(kind), data)


def test_the_shelf_says_its_name(kind: str) -> None:
    check = made(kind)
    assert isinstance(check, Check)
    assert check.kind == kind
    assert check.name


def test_a_good_model_passes_and_twice_alike(kind: str) -> None:
    first, second = (made(kind).run(Right(), model_root=ROOT) for _ in range(2))
    assert first.outcome is Outcome.PASS
    assert replace(first, seconds=0.0) == replace(second, seconds=0.0)
    assert first.kind == kind


def test_a_model_that_answers_noise_does_not_pass_and_is_told_why(kind: str) -> None:
    try:
        result = made(kind).run(Noise(), model_root=ROOT)
    except AssayError as err:
        assert err.message  # noqa: PT017 - refusing is as good as failing
        return
    assert result.outcome is Outcome.FAIL
    assert result.findings
    assert all(finding.rule.startswith(f"validation.{kind}") for finding in result.findings)
    assert rfc8785.dumps(result.to_json())  # type: ignore[arg-type] # plain JSON


def test_a_crash_of_the_model_never_passes_nor_escapes(kind: str) -> None:
    try:
        result = made(kind).run(Crashing(), model_root=ROOT)
    except AssayError as err:
        assert "MemoryError" in err.message  # noqa: PT017 - one of two right answers
        return
    assert result.outcome is Outcome.FAIL


def test_an_empty_table_is_refused_when_the_check_is_made(kind: str) -> None:
    with pytest.raises(TableError, match="no rows"):
        made(kind, DATA.slice(0, 0))


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SuiteError, match="golden, mean-error, metric"):
        find("vibes")
