"""One list of demands on every piece of evidence of the shelf."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
import pytest

from assay.diagnosis.case import ByteFacts, Case
from assay.diagnosis.comparison import Comparison
from assay.diagnosis.evidence.shelf import EVIDENCE, gatherers
from assay.diagnosis.verdict import VERDICTS
from assay.frameworks.base import Prediction
from assay.monitoring.schema import PredictionSchema

PLUGS = dict(gatherers())


class Threshold:
    def predict(self, table: pa.Table) -> Prediction:
        share = 1 / (1 + np.exp(-2 * np.nan_to_num(table.column("a").to_numpy(zero_copy_only=False).astype(float))))
        return Prediction((share > 0.5).astype(int), np.maximum(share, 1 - share))


def rows(n: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=n), rng.normal(size=n)
    kind = rng.choice(["x", "y", "z"], size=n)
    ts = np.datetime64("2026-01-01", "us") + (seed * 100_000 + np.arange(n)) * np.timedelta64(1_000_000, "us")
    inputs = pa.table({"a": a, "b": b, "kind": kind})
    answer = Threshold().predict(inputs)
    y = (a + 0.3 * rng.normal(size=n) > 0).astype(int)
    return pa.table(
        {
            "ts": ts,
            **dict(zip(inputs.column_names, inputs.columns, strict=True)),
            "pred": answer.labels,
            "conf": answer.confidence,
            "y": y,
        }
    )


SCHEMA = PredictionSchema(time="ts", prediction="pred", confidence="conf", label="y", slices=("kind",))
WHOLE = Case(
    schema=SCHEMA,
    reference=rows(200, 1),
    before=rows(200, 2),
    recent=rows(200, 3),
    known_good=Threshold(),
    bytes=ByteFacts("a" * 64, "a" * 64, live_signed=True),
    key=b"k",
)


def nulled(table: pa.Table, name: str) -> pa.Table:
    at = table.column_names.index(name)
    return table.set_column(at, name, pa.nulls(table.num_rows, table.schema.field(name).type))


CASES = {
    "whole": WHOLE,
    "no labels": replace(
        WHOLE,
        schema=replace(SCHEMA, label=None),
        **{which: getattr(WHOLE, which).drop_columns(["y"]) for which in ("reference", "before", "recent")},
    ),
    "labels not there yet": replace(WHOLE, recent=nulled(WHOLE.recent, "y")),
    "no copy": replace(WHOLE, known_good=None),
    "nothing before": replace(WHOLE, before=WHOLE.before.slice(0, 0)),
    "no reference": replace(WHOLE, reference=WHOLE.reference.slice(0, 0)),
    "nothing to compare with": replace(WHOLE, reference=WHOLE.reference.slice(0, 0), before=WHOLE.before.slice(0, 0)),
    "a reference without answers": replace(WHOLE, reference=WHOLE.reference.drop_columns(["pred", "conf"])),
    "a column gone": replace(WHOLE, recent=WHOLE.recent.drop_columns(["b"])),
    "a column empty": replace(WHOLE, recent=nulled(WHOLE.recent, "a")),
    "a column retyped": replace(
        WHOLE, recent=WHOLE.recent.set_column(1, "a", WHOLE.recent.column("a").cast(pa.string()))
    ),
    "failed requests": replace(WHOLE, recent=nulled(WHOLE.recent, "pred")),
    "twenty rows": replace(WHOLE, recent=WHOLE.recent.slice(0, 20)),
    "one class": replace(
        WHOLE, recent=WHOLE.recent.set_column(WHOLE.recent.column_names.index("y"), "y", pa.array([1] * 200))
    ),
    "the same time in every row": replace(
        WHOLE,
        recent=WHOLE.recent.set_column(
            0, "ts", pa.array([WHOLE.recent.column("ts")[0].as_py()] * 200, pa.timestamp("us"))
        ),
    ),
}


@cache
def comparison(case: str) -> Comparison:
    return Comparison(CASES[case])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", PLUGS)
def test_every_plug_answers_every_case(name: str, case: str) -> None:
    evidence = PLUGS[name](comparison(case))
    assert evidence.name == name
    assert (evidence.missing is None) == bool(evidence.detail)
    assert all(math.isfinite(value) for value in evidence.numbers.values())
    assert evidence.missing is None or not evidence.numbers
    assert evidence.decides is None or evidence.decides in VERDICTS
    assert evidence.value is None or math.isfinite(evidence.value)
    assert not evidence.findings or case != "whole"


@pytest.mark.parametrize("name", PLUGS)
def test_the_same_case_gives_the_same_evidence(name: str) -> None:
    assert PLUGS[name](Comparison(WHOLE)) == PLUGS[name](comparison("whole"))


def test_the_table_lists_the_strongest_evidence_first() -> None:
    assert list(EVIDENCE)[:2] == ["bytes", "replay"]
